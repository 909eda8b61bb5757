//! The `text` of a search: words, phrases, prefixes, exclusions, alternatives, in every script.

mod common;

use common::{Client, Daemon, Value, json};

/// Posts the bodies; a search answers with their places in this list.
struct Bodies {
    client: Client,
    seqs: Vec<u64>,
    _daemon: Daemon,
}

impl Bodies {
    fn post(bodies: &[&str]) -> Bodies {
        let daemon = Daemon::start();
        let mut client = daemon.connect();
        let post = |body: &&str| {
            client.ok(json!({"cmd": "message.post", "originator": "a", "recipient": "b", "body": body})).seq()
        };
        let seqs = bodies.iter().map(post).collect();
        Bodies { client, seqs, _daemon: daemon }
    }

    #[track_caller]
    fn assert_found(&mut self, text: &str, expected: &[usize]) {
        let reply = self.client.ok(json!({"cmd": "message.search", "text": text, "order": "oldest"}));
        let seqs: Vec<Value> = expected.iter().map(|place| json!(self.seqs[*place])).collect();
        assert_eq!(reply.column("messages", "seq"), seqs, "{text:?}\n{reply}");
    }

    #[track_caller]
    fn assert_refused(&mut self, text: &str) {
        let reply = self.client.refused_field(json!({"cmd": "message.search", "text": text}), "text");
        let offset = usize::try_from(reply.number("offset")).expect("an offset");
        assert!(offset <= text.len(), "byte {offset} is outside of {text:?}\n{reply}");
    }
}

#[test]
fn clauses_are_words_phrases_prefixes_exclusions_and_alternatives() {
    let mut bodies = Bodies::post(&[
        "The quick brown fox jumps",
        "quick thinking, brown bread",
        "Bergamot oil from the fox",
        "bread or butter",
    ]);
    let cases: &[(&str, &[usize])] = &[
        ("quick", &[0, 1]),
        ("QUICK", &[0, 1]),
        ("quic", &[]),
        ("quick brown", &[0, 1]),
        ("brown quick", &[0, 1]),
        ("  quick\t\nbrown\r\n ", &[0, 1]),
        ("quick quick", &[0, 1]),
        ("quick missing", &[]),
        ("\"quick brown\"", &[0]),
        ("\"brown quick\"", &[]),
        ("\"thinking brown\"", &[1]),
        ("\"brown fo\"", &[]),
        ("\"fox\"", &[0, 2]),
        ("\"the quick brown fox jumps\"", &[0]),
        ("berg*", &[2]),
        ("b*", &[0, 1, 2, 3]),
        ("fox*", &[0, 2]),
        ("foxy*", &[]),
        ("quick -fox", &[1]),
        ("-fox quick", &[1]),
        ("quick -\"brown fox\"", &[1]),
        ("quick -thin*", &[0]),
        ("b* -quick -bergamot", &[3]),
        ("fox OR bread", &[0, 1, 2, 3]),
        ("bergamot OR butter", &[2, 3]),
        ("bergamot OR butter OR jumps", &[0, 2, 3]),
        ("brown fox OR bread", &[0, 1]),
        ("fox OR bread brown", &[0, 1]),
        ("quick OR bergamot fox OR butter", &[0, 2]),
        ("\"brown fox\" OR butt*", &[0, 3]),
        ("fox OR bread -quick", &[2, 3]),
        ("missing OR fox", &[0, 2]),
        ("bread or butter", &[3]),
        ("fox or bread", &[]),
        ("Or", &[3]),
    ];
    for (text, expected) in cases {
        bodies.assert_found(text, expected);
    }
}

#[test]
fn a_clause_of_several_words_is_their_phrase() {
    let mut bodies = Bodies::post(&[
        "write to ann@example.com today",
        "example, com",
        "com example",
        "don't panic",
        "exam company",
        "snake_case_name",
    ]);
    let cases: &[(&str, &[usize])] = &[
        ("example.com", &[0, 1]),
        ("ann@example.com", &[0]),
        ("...example...com...", &[0, 1]),
        ("don't", &[3]),
        ("don", &[3]),
        ("t", &[3]),
        ("exam.com*", &[4]),
        ("exam.com", &[]),
        ("exam*", &[0, 1, 2, 4]),
        ("snake_case", &[5]),
        ("case_snake", &[]),
        ("com -example.com", &[2]),
        ("panic OR example.com", &[0, 1, 3]),
    ];
    for (text, expected) in cases {
        bodies.assert_found(text, expected);
    }
}

#[test]
fn every_letter_of_a_script_without_spaces_is_a_word() {
    let (tokyo_to, kyoto, tokyo) = ("\u{6771}\u{4eac}\u{90fd}", "\u{4eac}\u{90fd}", "\u{6771}\u{4eac}");
    let mut bodies = Bodies::post(&[
        tokyo_to,
        kyoto,
        "abc\u{6771}def",
        "\u{3072}\u{3089}\u{304c}\u{306a} \u{30ab}\u{30bf}\u{30ab}\u{30ca}",
        "\u{e20}\u{e32}\u{e29}\u{e32}\u{e17}\u{e35}\u{e48}",
        "\u{eaa}\u{e9a} \u{1798}\u{17bb} \u{1019}\u{103c}",
    ]);
    let cases: &[(&str, &[usize])] = &[
        (tokyo_to, &[0]),
        (kyoto, &[0, 1]),
        (tokyo, &[0]),
        ("\u{6771}", &[0, 2]),
        ("\u{4eac}\u{6771}", &[]),
        ("\u{6771} \u{90fd}", &[0]),
        ("\u{6771}\u{4eac}*", &[0]),
        ("abc", &[2]),
        ("abc\u{6771}def", &[2]),
        ("abcdef", &[]),
        ("\u{3089}\u{304c}", &[3]),
        ("\u{30bf}\u{30ab}", &[3]),
        ("\u{e29}", &[4]),
        ("\u{e20}\u{e32}", &[4]),
        ("\u{e17}\u{e35}\u{e48}", &[4]),
        ("\u{e17}", &[]),
        ("\u{eaa}", &[5]),
        ("\u{1798}", &[]),
        ("\u{1798}\u{17bb}", &[5]),
        ("\u{1019}\u{103c}", &[5]),
    ];
    for (text, expected) in cases {
        bodies.assert_found(text, expected);
    }
}

#[test]
fn words_are_lower_cased_and_otherwise_left_as_they_are() {
    let mut bodies = Bodies::post(&[
        "\u{39f}\u{394}\u{39f}\u{3a3}",
        "Stra\u{df}e \u{c9}TUDE",
        "e\u{301}tude",
        "\u{41f}\u{440}\u{438}\u{432}\u{435}\u{442}",
        "\u{d55c}\u{ad6d}\u{c5b4}",
        "room 4711, \u{2167} and \u{bd}",
        "caf\u{e9} cafe",
        "\u{1f600}x\u{1f600}",
    ]);
    let cases: &[(&str, &[usize])] = &[
        ("\u{3bf}\u{3b4}\u{3bf}\u{3c3}", &[0]),
        ("\u{3bf}\u{3b4}\u{3bf}\u{3c2}", &[0]),
        ("\u{39f}\u{394}\u{39f}\u{3a3}", &[0]),
        ("stra\u{df}e", &[1]),
        ("strasse", &[]),
        ("\u{e9}tude", &[1]),
        ("\u{c9}tude", &[1]),
        ("etude", &[]),
        ("e\u{301}tude", &[2]),
        ("\u{43f}\u{440}\u{438}\u{432}\u{435}\u{442}", &[3]),
        ("\u{d55c}\u{ad6d}\u{c5b4}", &[4]),
        ("\u{d55c}\u{ad6d}", &[]),
        ("\u{d55c}\u{ad6d}*", &[4]),
        ("4711", &[5]),
        ("47*", &[5]),
        ("\u{2177}", &[5]),
        ("\u{bd}", &[5]),
        ("cafe", &[6]),
        ("caf\u{e9}", &[6]),
        ("x", &[7]),
    ];
    for (text, expected) in cases {
        bodies.assert_found(text, expected);
    }
}

#[test]
fn what_the_grammar_does_not_know_is_refused_with_its_place() {
    let mut bodies = Bodies::post(&["quick brown fox"]);
    for text in [
        "",
        " ",
        "\t",
        "\"",
        "\"quick",
        "quick\"",
        "quick \"brown",
        "\"\"",
        "\" \"",
        "*",
        "quick *",
        "-",
        "quick -",
        "!!",
        "quick !!",
        "\u{1f600}",
        "\"!!\"",
        "-fox",
        "-fox -brown",
        "-\"quick brown\"",
        "OR",
        "quick OR",
        "OR quick",
        "quick OR OR fox",
        "quick OR -fox",
        "*fox",
        "f*x",
        "qui\"ck brown\"",
    ] {
        bodies.assert_refused(text);
    }
    bodies.assert_found("quick", &[0]);
}

#[test]
fn a_text_has_at_most_64_clauses_and_256_words() {
    let words: Vec<String> = (0..300).map(|n| format!("w{n}")).collect();
    let everything = words.join(" ");
    let mut bodies = Bodies::post(&[&everything]);
    bodies.assert_found(&words[..64].join(" "), &[0]);
    bodies.assert_found(&words[..64].join(" OR "), &[0]);
    bodies.assert_found(&format!("\"{}\"", words[..256].join(" ")), &[0]);
    for text in [words[..65].join(" "), format!("\"{}\"", words[..257].join(" ")), words[..257].join(".")] {
        bodies.client.refused_field(json!({"cmd": "message.search", "text": text}), "text");
    }
}

#[test]
fn a_substring_is_found_behind_very_many_messages_that_have_its_words_or_its_symbols() {
    let (wanted, other) = (
        "alpha beta gamma (see: x) it is mainly with things",
        "alpha-beta delta) see(: x it is only with things",
    );
    let mut bodies: Vec<&str> = vec![other; 600];
    [3, 150, 590].into_iter().for_each(|place| bodies[place] = wanted);
    let mut bodies = Bodies::post(&bodies);
    let seqs_of = |is_wanted: bool, seqs: &[u64]| -> Vec<Value> {
        let places = (0..600).filter(|place| [3, 150, 590].contains(place) == is_wanted);
        places.map(|place: usize| json!(seqs[place])).collect()
    };
    let (with, without) = (seqs_of(true, &bodies.seqs), seqs_of(false, &bodies.seqs));
    for (piece, expected) in [
        ("pha beta gam", &with),
        // What both have between their words sets the same bits.
        ("mainly with t", &with),
        ("y with thi", &(bodies.seqs.iter().map(|seq| json!(seq)).collect())),
        ("pha beta gal", &vec![]),
        ("a-beta de", &without),
        ("(s", &with),
        ("(:", &without),
        (":(", &vec![]),
        ("t(: ", &vec![]),
    ] {
        for order in ["oldest", "newest"] {
            let reply = bodies
                .client
                .ok(json!({"cmd": "message.search", "substring": piece, "order": order, "limit": 1000}));
            let mut found = reply.column("messages", "seq");
            if order == "newest" {
                found.reverse();
            }
            assert_eq!(&found, expected, "{piece} {order}");
        }
    }
}

#[test]
fn a_substring_has_at_most_1024_bytes_and_knows_every_script() {
    let long = "x".repeat(1500);
    let mut bodies = Bodies::post(&[&long, "\u{6771}\u{4eac}\u{90fd} \u{1f600} \u{c9}t\u{e9}", "plain"]);
    let cases: &[(&str, &[usize])] = &[
        (&long[..1024], &[0]),
        ("\u{4eac}", &[1]),
        ("\u{4eac}\u{90fd} \u{1f600}", &[1]),
        ("\u{1f600}", &[1]),
        ("\u{e9}T\u{c9}", &[1]),
        ("ain", &[2]),
        ("p", &[2]),
    ];
    for (piece, expected) in cases {
        let request = json!({"cmd": "message.search", "substring": piece, "order": "oldest"});
        let reply = bodies.client.ok(request);
        let seqs: Vec<Value> = expected.iter().map(|place| json!(bodies.seqs[*place])).collect();
        assert_eq!(reply.column("messages", "seq"), seqs, "{piece:?}\n{reply}");
    }
    bodies.client.refused_field(json!({"cmd": "message.search", "substring": &long[..1025]}), "substring");
}
