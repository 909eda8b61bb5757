//! What messages say.

use std::io::Read;

use flate2::read::GzDecoder;
use serde_json::Value;

/// A message, ready to be sent: the body also as JSON without its quotes.
pub struct Text {
    pub originator: String,
    pub recipient: String,
    body: String,
    json: String,
    /// The beginning of `json`.
    short: String,
}

/// Messages to send again and again, each time a little different.
pub struct Texts {
    pub source: String,
    all: Vec<Text>,
}

impl Texts {
    /// Real ones where there are some.
    pub fn load() -> Texts {
        match std::env::var_os("MSGLOGD_SAMPLE_DATA") {
            Some(folder) => Texts::read(&std::path::Path::new(&folder).join("messages.jsonl.gz")),
            None => Texts::make_up(),
        }
    }

    fn read(path: &std::path::Path) -> Texts {
        let file = std::fs::File::open(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let mut lines = String::new();
        GzDecoder::new(file).read_to_string(&mut lines).expect("a compressed text");
        let field = |line: &Value, name: &str| match &line[name] {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        let all = lines.lines().map(|line| {
            let line: Value = serde_json::from_str(line).expect("JSON");
            text(field(&line, "originator"), field(&line, "recipient"), field(&line, "body"))
        });
        let all: Vec<Text> = all.collect();
        Texts { source: format!("{} real ones", all.len()), all }
    }

    /// Words of a language that nobody speaks; a few are common, most are rare.
    fn make_up() -> Texts {
        let mut state = 1;
        let mut next = |below: u64| {
            state += 1;
            mix(state) % below
        };
        let all: Vec<Text> = (0..50_000)
            .map(|_| {
                let count = 3 + next(30);
                let words: Vec<String> = (0..count)
                    .map(|_| {
                        let rank = 1 << next(15);
                        format!("w{}", mix(next(rank)) % 100_000)
                    })
                    .collect();
                text(format!("u{}", next(5000)), format!("{}", next(9000)), words.join(" "))
            })
            .collect();
        Texts { source: "made-up ones".to_owned(), all }
    }

    /// The text that message `number` is made of.
    pub fn of(&self, number: u64) -> &Text {
        &self.all[usize::try_from(number).expect("small") % self.all.len()]
    }

    /// Where message `number` begins to read its text: at another word each time around.
    fn turn<'t>(&self, number: u64, text: &'t str) -> (&'t str, &'t str) {
        let round = usize::try_from(number).expect("small") / self.all.len();
        let place = match round {
            0 => None,
            _ => text.match_indices(' ').nth((round * 3) % 16).map(|(place, _)| place + 1),
        };
        let (last, first) = text.split_at(place.unwrap_or(0));
        (first, last)
    }

    /// Appends the body of message `number`.
    pub fn body(&self, number: u64, out: &mut Vec<u8>) {
        let (first, last) = self.turn(number, &self.of(number).body);
        out.extend_from_slice(first.as_bytes());
        out.extend_from_slice(last.as_bytes());
    }

    /// Appends the same as JSON, without quotes. Escapes hold no space, so it turns at the same word.
    pub fn json(&self, number: u64, out: &mut Vec<u8>) {
        let (first, last) = self.turn(number, &self.of(number).json);
        out.extend_from_slice(first.as_bytes());
        out.extend_from_slice(last.as_bytes());
    }

    /// Appends the value of key `number`: a JSON object of about 100 bytes.
    pub fn value(&self, number: u64, out: &mut Vec<u8>) {
        let text = &self.of(number).short;
        out.extend_from_slice(format!("{{\"n\":{number},\"text\":\"{text}\"}}").as_bytes());
    }
}

/// Key `number`: neighbours in number are far apart in order.
pub fn key(number: u64) -> String {
    format!("key:{:016x}", mix(number))
}

fn text(originator: String, recipient: String, body: String) -> Text {
    let json = |body: &str| {
        let quoted = serde_json::to_string(body).expect("JSON");
        quoted[1..quoted.len() - 1].to_owned()
    };
    let short: String = body.chars().take(70).collect();
    Text { originator, recipient, json: json(&body), short: json(&short), body }
}

/// A number that looks random, another for every other (`SplitMix64`).
pub fn mix(number: u64) -> u64 {
    let mut mixed = number.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}
