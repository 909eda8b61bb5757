//! Command lines that show what a command is for.

/// Examples, by the name of the command in the table.
const EXAMPLES: &[(&str, &[&str])] = &[
    (
        "batch",
        &[r#"msglog batch '[{"cmd":"kv.set","key":"a","value":1},{"cmd":"kv.set","key":"b","value":2}]'"#],
    ),
    (
        "kv.set",
        &[
            r#"msglog kv set greeting '"hello"'"#,
            "msglog kv set counter 42 --if-seq 0",
            "msglog kv set page - < page.json",
        ],
    ),
    ("kv.get", &["msglog kv get greeting"]),
    ("kv.delete", &["msglog kv delete greeting"]),
    ("kv.list", &["msglog kv list user/ --limit 20"]),
    (
        "message.post",
        &[
            "msglog message post --originator anna --recipient bob 'see you at noon'",
            "date | msglog message post --originator cron --recipient ops -",
        ],
    ),
    ("message.get", &["msglog message get 17"]),
    ("message.edit", &["msglog message edit --seq 17 'see you at one'"]),
    ("message.delete", &["msglog message delete 17"]),
    (
        "message.search",
        &[
            "msglog message search 'bergamot -spam' --limit 5 --count",
            r#"msglog message search '"see you" noon OR midnight' --recipient bob"#,
            "msglog message search alarm --since 3d --until 2h --readable | less",
        ],
    ),
    ("message.follow", &["msglog message follow --recipient bob", "msglog message follow alarm --from 1"]),
    ("app.create", &["msglog app create support"]),
    ("chat.create", &["msglog chat create TOKEN 'first steps'"]),
    ("formula.submit", &[r#"msglog formula submit Accord '[{"name":"Vanillin","concentration":15.50}]'"#]),
    ("queue.put", &[r#"msglog queue put thumbnails '{"file":"a.png"}' --priority 3"#]),
    ("queue.reserve", &["msglog queue reserve thumbnails --wait-ms 10000"]),
    ("queue.configure", &["msglog queue configure thumbnails --max-attempts 3 --max-jobs null"]),
    ("queue.peek", &["msglog queue peek thumbnails --state dead"]),
    ("log.read", &["msglog log read --from 100 --types kv.set,message.posted"]),
    ("log.follow", &["msglog log follow --from 1 --types kv.set,message.posted"]),
];

/// The examples of a command.
pub fn of(name: &str) -> impl Iterator<Item = &'static str> {
    EXAMPLES.iter().filter(move |(of, _)| *of == name).flat_map(|(_, lines)| *lines).copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::table;

    #[test]
    fn examples_are_of_commands_that_are_there() {
        for (name, lines) in EXAMPLES {
            assert!(table::find(name).is_some(), "{name}");
            let typed = format!("msglog {}", name.replace('.', " "));
            assert!(lines.iter().all(|line| line.contains(&typed)), "{name}");
        }
    }
}
