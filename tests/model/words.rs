//! What a word is, one character at a time, written to be read.

use unicode_properties::{GeneralCategoryGroup, UnicodeGeneralCategory};
use unicode_script::{Script, UnicodeScript};

/// What the last word takes in.
#[derive(PartialEq)]
enum Open {
    /// Nothing: it is closed.
    Nothing,
    /// Letters, numbers and marks.
    Run,
    /// Marks only: it is a letter of a script without spaces.
    Alone,
}

/// Small letters, character by character; a final sigma is a sigma.
pub fn lower(text: &str) -> String {
    text.chars().flat_map(char::to_lowercase).collect::<String>().replace('\u{3c2}', "\u{3c3}")
}

fn stands_alone(letter: char) -> bool {
    use Script::{Han, Hiragana, Katakana, Khmer, Lao, Myanmar, Thai};
    [Han, Hiragana, Katakana, Khmer, Lao, Myanmar, Thai].contains(&letter.script())
}

/// The words of a text, lower-cased.
pub fn words(text: &str) -> Vec<String> {
    use GeneralCategoryGroup::{Letter, Mark, Number};
    let mut words: Vec<String> = Vec::new();
    let mut open = Open::Nothing;
    for character in text.chars() {
        let group = character.general_category_group();
        if ![Letter, Number, Mark].contains(&group) {
            open = Open::Nothing;
            continue;
        }
        let alone = group == Letter && stands_alone(character);
        let joins = match open {
            Open::Nothing => false,
            Open::Run => !alone,
            Open::Alone => group == Mark,
        };
        match words.last_mut() {
            Some(word) if joins => word.push(character),
            _ => {
                words.push(character.to_string());
                open = if alone { Open::Alone } else { Open::Run };
            }
        }
    }
    words.iter().map(|word| lower(word)).collect()
}
