//! Texts for those who have no sample: words of a few syllables, few of them often and most rarely.

use crate::corpus::Message;
use crate::dice::Dice;

const SYLLABLES: [&str; 16] = [
    "ba", "Ra", "lin", "tor", "ge", "su", "mo", "kan", "e\u{301}", "\u{e9}s", "7", "x", "ing", "un", "er",
    "qui",
];
const BETWEEN: [&str; 12] = [" ", " ", " ", " ", " ", " ", ", ", ". ", " -- ", "\n", " -> ", " \u{1f600} "];
const HAN: [&str; 8] =
    ["\u{6771}", "\u{4eac}", "\u{4eba}", "\u{6709}", "\u{6743}", "\u{5229}", "\u{7531}", "\u{81ea}"];

/// So many messages.
pub fn messages(count: usize) -> Vec<Message> {
    let mut dice = Dice::named("made up");
    let one = |_| Message {
        originator: format!("u{}", dice.uneven(5000)),
        recipient: (4_000_000_000 + dice.uneven(8000)).to_string(),
        body: body(&mut dice),
    };
    (0..count).map(one).collect()
}

fn body(dice: &mut Dice) -> String {
    if dice.below(300) == 0 {
        let count = 20 + dice.below(60);
        return (0..count).map(|_| *dice.pick(&HAN)).collect();
    }
    let count = 1 + dice.uneven(60);
    (0..count).map(|_| word(dice) + BETWEEN[dice.below(BETWEEN.len())]).collect()
}

fn word(dice: &mut Dice) -> String {
    let (first, second) = (dice.uneven(400), dice.uneven(400));
    let mut number = if dice.below(3) == 0 { first * second } else { first };
    let mut word = String::new();
    loop {
        word.push_str(SYLLABLES[number % SYLLABLES.len()]);
        number /= SYLLABLES.len();
        if number == 0 {
            return word;
        }
    }
}
