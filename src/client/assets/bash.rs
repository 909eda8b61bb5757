//! Completions for bash, with or without the package bash-completion.

use super::entries::{Entry, Named, Value, beginnings, entries, first_words, globals, nouns, verbs};

/// The script.
#[must_use]
pub fn script() -> String {
    let (entries, of_globals) = (entries(), globals());
    let values = of_globals.iter().map(|option| ("*".to_owned(), option_value(option))).chain(
        entries.iter().flat_map(|entry| {
            entry.offered().map(|option| (format!("'{}'", entry.words), option_value(option)))
        }),
    );
    let values: String = values
        .filter_map(|(command, (name, action))| {
            Some(format!("        {command}' --{name}') {} ;;\n", action?))
        })
        .collect();
    let words: String = nouns()
        .into_iter()
        .map(|noun| {
            format!("        '{noun}' | 'help {noun}') words='{}' ;;\n", verbs(&entries, noun).join(" "))
        })
        .chain(entries.iter().map(|entry| format!("        '{}') {} ;;\n", entry.words, positional(entry))))
        .collect();
    let optional: Vec<String> = entries
        .iter()
        .filter(|entry| !entry.options.is_empty())
        .map(|entry| format!("        '{}') options+=' {}' ;;\n", entry.words, dashed(entry.offered())))
        .collect();
    TEMPLATE
        .replace("{beginnings}", &format!("'{}'", beginnings().join("' | '")))
        .replace("{values}", &values)
        .replace("{first}", &first_words(&entries).join(" "))
        .replace("{words}", &words)
        .replace("{globals}", &dashed(of_globals.iter()))
        .replace("{options}", &optional.concat())
}

fn dashed<'a>(options: impl Iterator<Item = &'a Named>) -> String {
    options.map(|option| format!("--{}", option.name)).collect::<Vec<_>>().join(" ")
}

/// What to do behind an option; nothing behind a flag.
fn option_value(option: &Named) -> (&str, Option<String>) {
    (&option.name, action(&option.value))
}

fn action(value: &Value) -> Option<String> {
    match value {
        Value::Nothing => None,
        Value::File => Some("_msglog_files -f; return".into()),
        Value::Folder => Some("_msglog_files -d; return".into()),
        Value::Words(choices) => Some(format!("words='{}' options=; globals=", choices.join(" "))),
        Value::Command | Value::Any => Some("return".into()),
    }
}

/// What to do where a command takes something by position.
fn positional(entry: &Entry) -> String {
    match entry.values.first() {
        Some(Value::File) => "[[ $word == -* ]] || { _msglog_files -f; return; }".into(),
        Some(Value::Folder) => "[[ $word == -* ]] || { _msglog_files -d; return; }".into(),
        Some(Value::Words(choices)) => format!("words='{}'", choices.join(" ")),
        _ => "words=".into(),
    }
}

const TEMPLATE: &str = r#"# bash completion for msglog, made by `msglog completions bash`

_msglog_files() {
    local IFS=$'\n'
    compopt -o filenames 2>/dev/null
    COMPREPLY=($(compgen "$1" -- "$word"))
}

_msglog() {
    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]}
    local command='' words='' options='' globals='{globals}' index=1 piece
    COMPREPLY=()
    # Bash takes an option and its value apart at the equals sign, which is a word of its own then.
    if [[ $word == = ]]; then
        word=
    elif [[ $before == = ]]; then
        before=${COMP_WORDS[COMP_CWORD-2]}
    fi
    # The command is the first word, and where that is a noun the second one too.
    while ((index < COMP_CWORD)); do
        piece=${COMP_WORDS[index]}
        case $piece in
            --)
                # What is behind the dashes is a command with its own arguments.
                if ((index + 1 == COMP_CWORD)); then
                    COMPREPLY=($(compgen -c -- "$word"))
                else
                    _msglog_files -f
                fi
                return ;;
            --socket | --timeout) [[ ${COMP_WORDS[index+1]} == = ]] || index=$((index + 1)) ;;
            =) index=$((index + 1)) ;;
            -*) ;;
            *)
                case $command in
                    '' | {beginnings}) command=${command:+$command }$piece ;;
                esac ;;
        esac
        index=$((index + 1))
    done
    case "$command $before" in
{values}    esac
    if [[ -z $words ]]; then
        case $command in
        '' | help) words='{first}' ;;
{words}        esac
        case $command in
{options}        esac
    fi
    if [[ $word == -* ]]; then
        words="$options $globals"
    fi
    COMPREPLY=($(compgen -W "$words" -- "$word"))
}

complete -F _msglog msglog
"#;
