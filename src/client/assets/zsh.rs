//! Completions for zsh.

use super::entries::{Entry, Named, Value, beginnings, doc_of, entries, first_words, globals, nouns};

/// The script.
#[must_use]
pub fn script() -> String {
    let entries = entries();
    let of_globals = globals();
    let values = of_globals.iter().map(|option| ("*".to_owned(), option)).chain(
        entries.iter().flat_map(|entry| entry.offered().map(|option| (format!("'{}'", entry.words), option))),
    );
    let values: String = values
        .filter_map(|(command, option)| {
            Some(format!("        ({command}' --{}') {}; return ;;\n", option.name, action(&option.value)?))
        })
        .collect();
    let words: String = nouns().into_iter().map(|noun| verbs_of(&entries, noun)).collect();
    let options: String = entries.iter().map(of_entry).collect();
    let first = first_words(&entries).into_iter().map(|word| described(word, &doc_of(&entries, word)));
    TEMPLATE
        .replace("{beginnings}", &format!("'{}'", beginnings().join("'|'")))
        .replace("{values}", &values)
        .replace("{first}", &lines(first))
        .replace("{words}", &words)
        .replace("{options}", &options)
        .replace("{globals}", &lines(of_globals.iter().map(of_option)))
}

fn verbs_of(entries: &[Entry], noun: &str) -> String {
    let verbs = entries.iter().filter_map(|entry| {
        let verb = entry.words.strip_prefix(noun)?.strip_prefix(' ')?;
        Some(described(verb, &entry.doc))
    });
    format!("        ({noun}|'help {noun}') choices=({}) ;;\n", lines(verbs))
}

fn of_entry(entry: &Entry) -> String {
    let action = match entry.values.first() {
        Some(Value::File) => " files=(_files)".into(),
        Some(Value::Folder) => " files=(_files -/)".into(),
        Some(Value::Words(words)) => format!(" choices=({})", words.join(" ")),
        _ => String::new(),
    };
    format!("        ('{}') options=({}){action} ;;\n", entry.words, lines(entry.offered().map(of_option)))
}

fn of_option(option: &Named) -> String {
    described(&format!("--{}", option.name), &option.doc)
}

/// A word with its description, quoted.
fn described(word: &str, doc: &str) -> String {
    format!("'{word}:{}'", doc.replace('\'', r"'\''"))
}

fn lines(words: impl Iterator<Item = String>) -> String {
    words.flat_map(|word| ["\n            ".to_owned(), word]).collect()
}

/// What to do behind an option; nothing behind a flag.
fn action(value: &Value) -> Option<String> {
    match value {
        Value::Nothing => None,
        Value::File => Some("_files".into()),
        Value::Folder => Some("_files -/".into()),
        Value::Words(words) => Some(format!("compadd -- {}", words.join(" "))),
        Value::Command | Value::Any => Some("_message value".into()),
    }
}

const TEMPLATE: &str = r#"#compdef msglog
# zsh completion for msglog, made by `msglog completions zsh`

_msglog() {
    local command='' piece
    local -a choices options globals files
    integer index=2
    # The command is the first word, and where that is a noun the second one too.
    while (( index < CURRENT )); do
        piece=$words[index]
        case $piece in
            (--)
                # What is behind the dashes is a command with its own arguments.
                shift $index words
                (( CURRENT -= index ))
                _normal
                return ;;
            (--socket|--timeout) (( index += 1 )) ;;
            (-*) ;;
            (*)
                case $command in
                    (''|{beginnings}) command=${command:+$command }$piece ;;
                esac ;;
        esac
        (( index += 1 ))
    done
    case "$command $words[CURRENT-1]" in
{values}    esac
    globals=({globals})
    case $command in
        (''|help) choices=({first}) ;;
{words}{options}    esac
    if [[ $words[CURRENT] == -* ]]; then
        options+=($globals)
        _describe -o option options
    elif (( $#files )); then
        $files
    elif (( $#choices )); then
        _describe command choices
    else
        _message argument
    fi
}

if [[ $funcstack[1] == _msglog ]]; then
    _msglog "$@"
else
    compdef _msglog msglog
fi
"#;
