//! What a word is: the one place that cuts texts into words and lower-cases them.
//!
//! Bodies and queries both pass through here, so that they agree on every border. The rules:
//!
//! - A word is a maximal run of letters, numbers and marks (general categories L, N and M).
//!   Borders are found in the text as it is; only then is the word lower-cased.
//! - In the scripts written without spaces (Script property Han, Hiragana, Katakana, Thai, Lao,
//!   Khmer, Myanmar; not `Script_Extensions`) every letter is a word of its own, together with the
//!   marks that follow it, whatever script those have (a voiced sound mark is Inherited).
//! - Only letters stand alone. Numbers of these scripts (Thai digits, the ideographic zero) run
//!   together with what is next to them like any other number.
//! - A letter that stands alone cuts the run: Latin, Han, Latin is three words. What follows its
//!   marks begins a new word, and marks never reach back across that border.
//! - A mark with no letter or number before it begins a word like an ordinary letter does. So the
//!   variation selector behind an emoji, or the mark at the start of a text, is a word or opens one.
//! - Letters of script Common are ordinary ones even where those scripts use them. The prolonged
//!   sound mark U+30FC is a word, or the start of one, between two Katakana letters.
//! - Everything else but white space is a symbol. Joiners and other format characters (U+200D,
//!   U+200B, U+00AD), controls and unassigned characters are symbols: they end a word.
//!
//! Lower-casing is the default mapping of each character for itself: a capital sigma is always a
//! small sigma and never the final one, a final sigma is a sigma too, U+0130 becomes two characters.
//! There is no normalization and no other folding.

use std::char::ToLowercase;
use std::sync::LazyLock;

use unicode_properties::{GeneralCategoryGroup, UnicodeGeneralCategory};
use unicode_script::{Script, UnicodeScript};

/// Version of the tables that decide where words begin and end: major, minor, update.
pub const UNICODE_VERSION: (u8, u8, u8) = narrow(unicode_properties::UNICODE_VERSION);

/// A piece of a text, as [`tokens`] hands it out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Token<'a> {
    /// A word, lower-cased, never empty, without white space in it.
    Word(&'a str),
    /// A character that is neither part of a word nor white space.
    Symbol {
        /// It, lower-cased where it has a lower case (circled letters do).
        symbol: char,
        /// The symbol that it follows directly, if it follows one.
        behind: Option<char>,
    },
}

/// The character is part of words: letter, number or mark.
const WORD: u8 = 1;
/// A letter of a script written without spaces: a word of its own.
const ALONE: u8 = 1 << 1;
/// A mark: belongs to the letter before it.
const MARK: u8 = 1 << 2;
/// White space.
const SPACE: u8 = 1 << 3;
/// Lower-casing changes the character.
const CASED: u8 = 1 << 4;
/// In [`ASCII`] only: the byte is part of a longer character.
const WIDE: u8 = 1 << 5;

/// Classes of bytes, so that ASCII text needs neither decoding nor property tables.
static ASCII: [u8; 256] = ascii_classes();

/// Classes of the Basic Multilingual Plane, one byte each: the property tables are searched once
/// a character here, not once an occurrence. Filled at the first character beyond ASCII.
static PLANE: LazyLock<[u8; 0x1_0000]> = LazyLock::new(|| {
    let mut classes = [0; 0x1_0000];
    for (class, character) in classes.iter_mut().zip(0..) {
        // Surrogates are no characters and are never looked up.
        *class = char::from_u32(character).map_or(0, class_by_property);
    }
    classes
});

/// Calls `each` with every word and symbol of `text`, in order.
///
/// Allocates nothing but room in `scratch`, which holds words that had to be lower-cased; its
/// content before and after means nothing. Takes time in proportion to the text.
pub fn tokens(text: &str, scratch: &mut String, mut each: impl FnMut(Token<'_>)) {
    let bytes = text.as_bytes();
    let mut start = 0;
    // The symbol that ends where the rest begins.
    let mut behind = None;
    while start < bytes.len() {
        let mut end = start;
        let mut seen = 0;
        let mut stop = SPACE;
        while end < bytes.len() {
            let class = ASCII[usize::from(bytes[end])];
            if class & WORD == 0 {
                stop = class;
                break;
            }
            seen |= class;
            end += 1;
        }
        if stop & WIDE != 0 {
            // The character may be part of the word so far, so the whole word is read again.
            start = wide_token(text, start, &mut behind, scratch, &mut each);
            continue;
        }
        if end > start {
            emit_word(&text[start..end], seen, scratch, &mut each);
            behind = None;
        }
        if stop & SPACE == 0 {
            let symbol = char::from(bytes[end]);
            each(Token::Symbol { symbol, behind });
            behind = Some(symbol);
        } else {
            behind = None;
        }
        start = end + 1;
    }
}

/// The words of `text`, in order, each in a string of its own. For short texts such as queries;
/// [`tokens`] is for bodies.
#[must_use]
pub fn words(text: &str) -> Vec<String> {
    first_words(text, usize::MAX)
}

/// The first `most` words of `text`, as [`words`] has them.
#[must_use]
pub fn first_words(text: &str, most: usize) -> Vec<String> {
    let mut words = Vec::new();
    tokens(text, &mut String::new(), |token| {
        if let Token::Word(word) = token
            && words.len() < most
        {
            words.push(word.to_owned());
        }
    });
    words
}

/// Whether `character` is part of words: a letter, a number or a mark.
#[must_use]
pub fn is_word_character(character: char) -> bool {
    class_of(character) & WORD != 0
}

/// `text` lower-cased character by character, as words and substrings are.
#[must_use]
pub fn lower(text: &str) -> String {
    let mut lowered = String::with_capacity(text.len());
    lower_into(text, &mut lowered);
    lowered
}

/// Appends `text`, lower-cased as by [`lower`], to `out`.
pub fn lower_into(text: &str, out: &mut String) {
    let mut rest = text;
    while !rest.is_empty() {
        let length = ascii_length(rest);
        let begin = out.len();
        out.push_str(&rest[..length]);
        out[begin..].make_ascii_lowercase();

        rest = &rest[length..];
        let wide = rest.find(|character: char| character.is_ascii());
        let (run, after) = rest.split_at(wide.unwrap_or(rest.len()));
        for character in run.chars() {
            if class_of(character) & CASED == 0 {
                out.push(character);
            } else {
                out.extend(lowered(character));
            }
        }
        rest = after;
    }
}

/// The lower-case mapping of one character. A final sigma is a sigma, so that a word in capitals is
/// found however it is written.
fn lowered(character: char) -> ToLowercase {
    match character {
        '\u{3c2}' => '\u{3c3}',
        other => other,
    }
    .to_lowercase()
}

/// Emits the token that begins at byte `start`, reading characters; returns where it ends. White
/// space is passed over without a token. `behind` is the symbol that ends at `start`, and then the one that ends
/// where this does.
fn wide_token(
    text: &str,
    start: usize,
    behind: &mut Option<char>,
    scratch: &mut String,
    each: &mut impl FnMut(Token<'_>),
) -> usize {
    let mut characters = text[start..].chars();
    let Some(first) = characters.next() else {
        return text.len();
    };
    let class = class_of(first);
    let mut end = start + first.len_utf8();
    if class & WORD == 0 {
        if class & SPACE != 0 {
            *behind = None;
            return end;
        }
        let mut emit = |symbol| each(Token::Symbol { symbol, behind: behind.replace(symbol) });
        if class & CASED == 0 {
            emit(first);
        } else {
            lowered(first).for_each(emit);
        }
        return end;
    }
    *behind = None;
    // A letter that stands alone takes only marks, a run takes all but such letters.
    let (mask, wanted) = if class & ALONE != 0 { (MARK, MARK) } else { (WORD | ALONE, WORD) };
    let mut seen = class;
    for character in characters {
        let class = class_of(character);
        if class & mask != wanted {
            break;
        }
        seen |= class;
        end += character.len_utf8();
    }
    emit_word(&text[start..end], seen, scratch, each);
    end
}

/// Emits one word; `seen` is the union of its characters' classes.
fn emit_word(word: &str, seen: u8, scratch: &mut String, each: &mut impl FnMut(Token<'_>)) {
    if seen & CASED == 0 {
        each(Token::Word(word));
    } else {
        scratch.clear();
        lower_into(word, scratch);
        each(Token::Word(scratch));
    }
}

/// Bytes before the first character beyond ASCII.
fn ascii_length(text: &str) -> usize {
    if text.is_ascii() {
        return text.len();
    }
    text.bytes().take_while(u8::is_ascii).count()
}

/// The class of any character.
fn class_of(character: char) -> u8 {
    match PLANE.get(character as usize) {
        Some(&class) => class,
        None => class_by_property(character),
    }
}

/// The class of a character from the property tables: right for all, but slow.
fn class_by_property(character: char) -> u8 {
    let class = match character.general_category_group() {
        GeneralCategoryGroup::Letter if is_alone(character.script()) => WORD | ALONE,
        GeneralCategoryGroup::Letter | GeneralCategoryGroup::Number => WORD,
        GeneralCategoryGroup::Mark => WORD | MARK,
        _ if character.is_whitespace() => SPACE,
        _ => 0,
    };
    if lowered(character).eq([character]) { class } else { class | CASED }
}

/// Whether `script` is written without spaces between words.
fn is_alone(script: Script) -> bool {
    use Script::{Han, Hiragana, Katakana, Khmer, Lao, Myanmar, Thai};
    matches!(script, Han | Hiragana | Katakana | Thai | Lao | Khmer | Myanmar)
}

const fn ascii_classes() -> [u8; 256] {
    let mut classes = [WIDE; 256];
    let mut byte: u8 = 0;
    while byte.is_ascii() {
        classes[byte as usize] = match byte {
            b'0'..=b'9' | b'a'..=b'z' => WORD,
            b'A'..=b'Z' => WORD | CASED,
            // White space as `char::is_whitespace` has it, the vertical tab too.
            b'\t'..=b'\r' | b' ' => SPACE,
            _ => 0,
        };
        byte += 1;
    }
    classes
}

#[allow(clippy::cast_possible_truncation, reason = "versions of Unicode are small, and this is a constant")]
/// The crates state versions in 64 bits and the standard library in 8, which is enough.
const fn narrow(version: (u64, u64, u64)) -> (u8, u8, u8) {
    (version.0 as u8, version.1 as u8, version.2 as u8)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, PartialEq)]
    enum Owned {
        Word(String),
        Symbol(char, Option<char>),
    }

    fn collect(run: impl FnOnce(&mut dyn FnMut(Token<'_>))) -> Vec<Owned> {
        let mut all = Vec::new();
        run(&mut |token| {
            all.push(match token {
                Token::Word(word) => Owned::Word(word.to_owned()),
                Token::Symbol { symbol, behind } => Owned::Symbol(symbol, behind),
            });
        });
        all
    }

    fn tokens_of(text: &str) -> Vec<Owned> {
        collect(|each| tokens(text, &mut String::from("left over"), each))
    }

    /// The path for characters beyond ASCII, taken for all of them.
    fn tokens_without_fast_path(text: &str) -> Vec<Owned> {
        let mut start = 0;
        let (mut behind, mut scratch) = (None, String::new());
        collect(|mut each| {
            while start < text.len() {
                start = wide_token(text, start, &mut behind, &mut scratch, &mut each);
            }
        })
    }

    /// The rules, one character at a time, written to be read.
    fn tokens_by_the_rules(text: &str) -> Vec<Owned> {
        #[derive(PartialEq)]
        enum Open {
            Nothing,
            Run,
            Alone,
        }
        let mut all = Vec::new();
        let (mut open, mut behind) = (Open::Nothing, None);
        for character in text.chars() {
            let group = character.general_category_group();
            let letter = group == GeneralCategoryGroup::Letter;
            let number = group == GeneralCategoryGroup::Number;
            let mark = group == GeneralCategoryGroup::Mark;
            let scripts = ["Han", "Hiragana", "Katakana", "Thai", "Lao", "Khmer", "Myanmar"];
            let alone = letter && scripts.contains(&character.script().full_name());
            let lowered: String =
                if character == '\u{3c2}' { "\u{3c3}".into() } else { character.to_lowercase().collect() };
            if letter || number || mark {
                let joins = match open {
                    Open::Nothing => false,
                    Open::Run => !alone,
                    Open::Alone => mark,
                };
                match all.last_mut() {
                    Some(Owned::Word(word)) if joins => word.push_str(&lowered),
                    _ => {
                        all.push(Owned::Word(lowered));
                        open = if alone { Open::Alone } else { Open::Run };
                    }
                }
            } else {
                open = Open::Nothing;
                if !character.is_whitespace() {
                    let symbols = lowered.chars().map(|symbol| Owned::Symbol(symbol, behind.replace(symbol)));
                    all.extend(symbols);
                    continue;
                }
            }
            behind = None;
        }
        all
    }

    /// Texts where every rule meets every other: a few characters of each kind, often the same.
    fn mixed_text() -> impl Strategy<Value = String> {
        let characters: Vec<char> = concat!(
            "abzAZ09 \t\n\u{b}.-*\"_'",
            "\u{e9}\u{c9}\u{df}\u{1e9e}\u{130}\u{131}\u{3a3}\u{3c3}\u{3c2}\u{212a}\u{a0}\u{ad}\u{85}",
            "\u{301}\u{307}\u{fe0f}\u{20e3}\u{3099}\u{e0100}\u{200d}\u{200b}\u{2028}\u{2160}\u{b2}",
            "\u{6771}\u{4eac}\u{3005}\u{3006}\u{3007}\u{3042}\u{30ab}\u{30fc}\u{ff76}\u{ff9e}\u{32d0}",
            "\u{e01}\u{e34}\u{e33}\u{e51}\u{e81}\u{eb4}\u{ed1}\u{1780}\u{17d2}\u{17e1}\u{1000}\u{1031}",
            "\u{915}\u{94d}\u{93f}\u{966}\u{628}\u{64e}\u{24b6}\u{24d0}\u{2764}\u{1f600}\u{20000}",
            "\u{10400}\u{10428}\u{e000}\u{378}",
        )
        .chars()
        .collect();
        let one = prop_oneof![4 => prop::sample::select(characters), 1 => any::<char>()];
        prop::collection::vec(one, 0..40).prop_map(String::from_iter)
    }

    proptest! {
        #[test]
        fn tokens_follow_the_rules(text in mixed_text()) {
            prop_assert_eq!(tokens_of(&text), tokens_by_the_rules(&text));
        }

        #[test]
        fn tokens_of_ascii_are_the_same_on_both_paths(text in "[ -~\t\n\u{b}\u{0}]{0,60}") {
            prop_assert_eq!(tokens_of(&text), tokens_without_fast_path(&text));
        }

        #[test]
        fn a_lower_cased_text_has_the_same_tokens(text in mixed_text()) {
            prop_assert_eq!(tokens_of(&lower(&text)), tokens_of(&text));
        }

        #[test]
        fn lower_is_the_mapping_of_each_character(text in mixed_text()) {
            let mapped: String = text.chars().flat_map(char::to_lowercase).collect();
            prop_assert_eq!(lower(&text), mapped.replace('\u{3c2}', "\u{3c3}"));
        }
    }

    #[test]
    fn every_character_alone_follows_the_rules() {
        for character in '\0'..=char::MAX {
            let text = character.to_string();
            assert_eq!(tokens_of(&text), tokens_by_the_rules(&text), "{character:?}");
        }
    }

    #[test]
    fn both_property_tables_are_of_one_unicode_version() {
        assert_eq!(unicode_properties::UNICODE_VERSION, unicode_script::UNICODE_VERSION);
        let (major, minor, update) = UNICODE_VERSION;
        let widened = (u64::from(major), u64::from(minor), u64::from(update));
        assert_eq!(widened, unicode_properties::UNICODE_VERSION);
    }

    #[test]
    fn a_text_without_words_has_no_words() {
        for text in ["", " \t\r\n", "!!", "\u{3000}\u{a0}\u{2028}", "\u{200d}\u{ad}", "\u{1f600}"] {
            assert!(words(text).is_empty(), "{text:?}");
        }
    }

    #[test]
    fn words_are_lower_cased_runs_of_letters_and_digits() {
        assert_eq!(words("Don't PANIC: x86_64, 42nd"), ["don", "t", "panic", "x86", "64", "42nd"]);
        assert_eq!(words("\u{c9}cole NA\u{cf}VE"), ["\u{e9}cole", "na\u{ef}ve"]);
        assert_eq!(words("caf\u{e9}s caf\u{e9}"), ["caf\u{e9}s", "caf\u{e9}"]);
    }

    #[test]
    fn symbols_are_handed_out_in_order_and_white_space_is_not() {
        let all = tokens_of("a.b \u{2019}c\u{3000}\u{1f600}\0");
        let word = |text: &str| Owned::Word(text.to_owned());
        let symbol = Owned::Symbol;
        let expected = [
            word("a"),
            symbol('.', None),
            word("b"),
            symbol('\u{2019}', None),
            word("c"),
            symbol('\u{1f600}', None),
            symbol('\0', Some('\u{1f600}')),
        ];
        assert_eq!(all, expected);
    }

    #[test]
    fn a_circled_capital_is_the_symbol_of_its_lower_case() {
        assert_eq!(tokens_of("\u{24b6}"), [Owned::Symbol('\u{24d0}', None)]);
    }

    #[test]
    fn a_final_sigma_is_lower_cased_like_any_other() {
        let expected = "\u{3c3}\u{3bf}\u{3c6}\u{3bf}\u{3c3}";
        assert_eq!(words("\u{3a3}\u{39f}\u{3a6}\u{39f}\u{3a3}"), [expected]);
        // The final form, where it was written, is left: it is a small letter already.
        assert_eq!(words("\u{3c3}\u{3c2}"), ["\u{3c3}\u{3c3}"]);
    }

    #[test]
    fn the_turkish_dotted_capital_becomes_two_characters() {
        assert_eq!(words("\u{130}stanbul"), ["i\u{307}stanbul"]);
        assert_eq!(lower("\u{130}I\u{131}"), "i\u{307}i\u{131}");
    }

    #[test]
    fn the_kelvin_sign_becomes_an_ascii_letter() {
        assert_eq!(words("300\u{212a}"), ["300k"]);
    }

    #[test]
    fn han_letters_are_words_of_their_own() {
        assert_eq!(words("\u{6771}\u{4eac}"), ["\u{6771}", "\u{4eac}"]);
        assert_eq!(words("abc\u{6771}def"), ["abc", "\u{6771}", "def"]);
        assert_eq!(words("\u{6771}2\u{4eac}"), ["\u{6771}", "2", "\u{4eac}"]);
        assert_eq!(words("\u{20000}\u{3005}"), ["\u{20000}", "\u{3005}"]);
        // A variation selector is a mark.
        assert_eq!(words("\u{845b}\u{e0100}\u{57ce}"), ["\u{845b}\u{e0100}", "\u{57ce}"]);
    }

    #[test]
    fn numbers_of_scripts_without_spaces_run_together() {
        assert_eq!(words("\u{e01}\u{e51}\u{e52}\u{e01}"), ["\u{e01}", "\u{e51}\u{e52}", "\u{e01}"]);
        assert_eq!(words("\u{e51}a1"), ["\u{e51}a1"]);
        assert_eq!(words("\u{4e8c}\u{3007}\u{3007}"), ["\u{4e8c}", "\u{3007}\u{3007}"]);
    }

    #[test]
    fn japanese_is_cut_at_every_letter() {
        assert_eq!(words("\u{3072}\u{3089}\u{304c}\u{306a}").len(), 4);
        // The prolonged sound mark is a letter of no script; a combining voiced mark is a mark.
        let ramen = words("\u{30e9}\u{30fc}\u{30e1}\u{30f3}");
        assert_eq!(ramen, ["\u{30e9}", "\u{30fc}", "\u{30e1}", "\u{30f3}"]);
        assert_eq!(words("\u{30ab}\u{3099}\u{30ab}"), ["\u{30ab}\u{3099}", "\u{30ab}"]);
        assert_eq!(words("\u{ff76}\u{ff9e}"), ["\u{ff76}", "\u{ff9e}"]);
    }

    #[test]
    fn southeast_asian_letters_keep_their_marks() {
        assert_eq!(words("\u{e01}\u{e34}\u{e48}\u{e19}"), ["\u{e01}\u{e34}\u{e48}", "\u{e19}"]);
        assert_eq!(words("\u{e40}\u{e01}"), ["\u{e40}", "\u{e01}"]);
        assert_eq!(words("\u{e81}\u{eb4}\u{e99}"), ["\u{e81}\u{eb4}", "\u{e99}"]);
        // The Khmer sign that subscribes the next letter is a mark of the letter before it.
        assert_eq!(words("\u{1781}\u{17d2}\u{1798}"), ["\u{1781}\u{17d2}", "\u{1798}"]);
        assert_eq!(words("\u{1000}\u{1031}\u{1010}"), ["\u{1000}\u{1031}", "\u{1010}"]);
    }

    #[test]
    fn marks_are_inside_the_words_of_other_scripts() {
        let namaste = "\u{928}\u{92e}\u{938}\u{94d}\u{924}\u{947}";
        assert_eq!(words(namaste), [namaste]);
        let arabic = "\u{643}\u{64e}\u{62a}\u{64e}\u{628}\u{64e}";
        assert_eq!(words(&format!("{arabic} {arabic}")), [arabic, arabic]);
        assert_eq!(words("e\u{301}A\u{301}"), ["e\u{301}a\u{301}"]);
    }

    #[test]
    fn a_mark_with_nothing_before_it_begins_a_word() {
        assert_eq!(words("\u{301}abc"), ["\u{301}abc"]);
        assert_eq!(words("\u{301}\u{6771}"), ["\u{301}", "\u{6771}"]);
        assert_eq!(words("\u{2764}\u{fe0f} a"), ["\u{fe0f}", "a"]);
        assert_eq!(words("1\u{fe0f}\u{20e3}"), ["1\u{fe0f}\u{20e3}"]);
    }

    #[test]
    fn joiners_and_soft_hyphens_end_a_word() {
        assert_eq!(words("a\u{200d}b"), ["a", "b"]);
        assert_eq!(words("a\u{200c}b\u{ad}c\u{200b}d"), ["a", "b", "c", "d"]);
    }

    #[test]
    fn lower_into_appends() {
        let mut out = String::from("A");
        lower_into("\u{c9}B\u{c9}", &mut out);
        assert_eq!(out, "A\u{e9}b\u{e9}");
    }
}
