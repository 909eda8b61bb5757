//! Completions for fish.

use super::entries::{Named, Value, beginnings, doc_of, entries, first_words, globals, nouns};

/// The script.
#[must_use]
pub fn script() -> String {
    let entries = entries();
    let mut lines = Vec::new();
    for word in first_words(&entries) {
        lines.extend(["", "help"].map(|command| offered(command, word, &doc_of(&entries, word))));
    }
    for noun in nouns() {
        for entry in &entries {
            let verb = entry.words.strip_prefix(noun).and_then(|rest| rest.strip_prefix(' '));
            let commands = [noun.to_owned(), format!("help {noun}")];
            lines.extend(
                verb.iter()
                    .flat_map(|verb| commands.iter().map(move |command| offered(command, verb, &entry.doc))),
            );
        }
    }
    for entry in &entries {
        match entry.values.first() {
            Some(Value::File) => {
                lines.push(format!("complete -c msglog -n \"__msglog_is '{}'\" -F", entry.words));
            }
            Some(Value::Folder) => {
                let folders = "-a '(__fish_complete_directories)'";
                lines.push(format!("complete -c msglog -n \"__msglog_is '{}'\" {folders}", entry.words));
            }
            Some(Value::Words(words)) => {
                lines.extend(words.iter().map(|word| offered(&entry.words, word, "")));
            }
            _ => {}
        }
        lines.extend(entry.offered().map(|option| of_option(Some(&entry.words), option)));
    }
    lines.extend(globals().iter().map(|option| of_option(None, option)));
    TEMPLATE.replace("{beginnings}", &format!("'{}'", beginnings().join("' '"))) + &lines.join("\n") + "\n"
}

/// A word that is offered behind a command.
fn offered(command: &str, word: &str, doc: &str) -> String {
    format!("complete -c msglog -n \"__msglog_is '{command}'\" -a {word} -d {}", quoted(doc))
}

fn of_option(command: Option<&str>, option: &Named) -> String {
    let when = command.map_or(String::new(), |words| format!(" -n \"__msglog_is '{words}'\""));
    let value = match &option.value {
        Value::Nothing => String::new(),
        Value::File => " -r -F".into(),
        Value::Folder => " -x -a '(__fish_complete_directories)'".into(),
        Value::Words(words) => format!(" -x -a {}", quoted(&words.join(" "))),
        Value::Command | Value::Any => " -x".into(),
    };
    format!("complete -c msglog{when} -l {}{value} -d {}", option.name, quoted(&option.doc))
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\\', r"\\").replace('\'', r"\'"))
}

const TEMPLATE: &str = r#"# fish completion for msglog, made by `msglog completions fish`

# Whether this is the command of the line: the first word, and where that is a noun the second too.
function __msglog_is
    set -l command
    set -l skip 0
    for piece in (commandline -opc)[2..-1]
        if test $skip = 1
            set skip 0
        else if contains -- "$piece" --socket --timeout
            set skip 1
        else if test "$piece" = --
            set command (string join ' ' -- $command --)
            break
        else if not string match -q -- '-*' $piece
            if test (count $command) = 0; or contains -- "$command" {beginnings}
                set command (string join ' ' -- $command $piece)
            end
        end
    end
    test "$command" = "$argv[1]"
end

complete -c msglog -f
complete -c msglog -n "__msglog_is 'queue work --'" -F
"#;
