//! `msglogd repair`: makes a damaged data folder one that a daemon starts on. Without `--yes` it only
//! says what it would do.

use std::fmt::Write;
use std::path::Path;
use std::sync::Arc;

use super::data_folder::{lock_to_change, lock_to_look, other_owner};
use super::{Exit, print};
use crate::limits::SEGMENT_BYTES_DEFAULT;
use crate::log::recovery::Failure;
use crate::maintenance::checkpoint::NEEDLESS;
use crate::maintenance::repair::{self, Finding, Findings};
use crate::paths::{for_shell, shell_word};
use crate::storage::{Disk, Storage};
use crate::store::{self, Folders, Progress};

/// Repairs the log in `data`, or says what it would do.
///
/// # Errors
/// `Damage` when there is damage and nothing was done about it, `Busy` when a daemon has the folder, `Usage` when
/// root would repair what is another user's, `Io`.
pub fn run(data: &Path, carry_out: bool) -> Result<(), Exit> {
    if carry_out && let Some(owner) = other_owner(data) {
        return Err(Exit::Usage(format!(
            "{} belongs to user {owner}, who could not have what root makes in it; run: {} msglogd repair --data {} \
             --yes",
            data.display(),
            as_user(owner),
            for_shell(data)
        )));
    }
    let _lock = if carry_out { lock_to_change(data)? } else { lock_to_look(data)? };
    let folders = Folders::new(data);
    let storage: Arc<dyn Storage> = Arc::new(Disk);
    let uid = crate::paths::own_uid();
    let (mut printed, mut aside) = (Ok(()), String::new());
    let mut say = |finding: &Finding| {
        if printed.is_ok() {
            printed = print(&described(finding, carry_out));
        }
        for (_, bytes, file) in &finding.aside {
            let _ = writeln!(aside, "{}: {bytes} bytes were set aside here", file.display());
        }
    };
    let found = repair::look(&storage, &folders, uid, &mut say).map_err(failed)?;
    printed?;
    let Findings { files, lost, needless } = found;
    if let Some(path) = needless {
        return Err(Exit::Damage(format!("{}: this is damaged or missing; {NEEDLESS}", path.display())));
    }
    if files == 0 {
        print(&format!("{}: the log is whole: there is nothing to repair\n", folders.log.display()))?;
    }
    if files == 0 && !carry_out {
        return Ok(());
    }
    if !carry_out {
        return Err(Exit::Damage(format!(
            "events lost: {lost}, in damaged files: {files}; nothing was changed; to repair, run: \
             msglogd repair --yes --data {}",
            for_shell(data)
        )));
    }
    repair::carry_out(&storage, &folders, uid).map_err(failed)?;
    print(&aside)?;
    let opened = store::open(&storage, &folders, SEGMENT_BYTES_DEFAULT, &mut Printed).map_err(failed)?;
    print(&format!(
        "events lost: {lost}; the log in {} goes to event {}, and a daemon starts on it\n",
        data.display(),
        opened.snapshot.last
    ))
}

/// How root runs a command as a user.
fn as_user(uid: u32) -> String {
    let user = nix::unistd::User::from_uid(uid.into()).ok().flatten();
    user.map_or_else(
        || format!("setpriv --reuid {uid} --clear-groups"),
        |user| format!("runuser -u {} --", shell_word(&user.name)),
    )
}

fn failed(failure: Failure) -> Exit {
    match failure {
        Failure::Damage { .. } => Exit::Damage(format!(
            "this cannot be repaired: {failure}; where nothing else helps, restore a backup"
        )),
        Failure::Io { .. } => Exit::Io(failure.to_string()),
    }
}

fn described(finding: &Finding, carry_out: bool) -> String {
    let mut text = String::new();
    let shown = finding.path.display();
    let verb = if carry_out { "will" } else { "would" };
    for (offset, bytes, file) in &finding.aside {
        let end = offset + bytes;
        let _ = writeln!(
            text,
            "{shown}: bytes {offset} to {end} hold damage: they {verb} be set aside in {}",
            file.display()
        );
    }
    for (first, last) in &finding.lost {
        let _ = match last - first {
            0 => writeln!(text, "{shown}: event {first} is lost"),
            more => writeln!(text, "{shown}: events {first} to {last} are lost ({} events)", more + 1),
        };
    }
    if let Some(untold) = finding.untold {
        let _ = writeln!(
            text,
            "{shown}: its table {verb} be made anew from the events that are left; {}",
            loss(untold)
        );
    } else if finding.unnamed {
        let _ = writeln!(
            text,
            "{shown}: messages to recipients that it held are lost, too; without the index nothing tells of them"
        );
    } else if finding.lost.is_empty() {
        let _ = writeln!(text, "{shown}: no event is lost");
    }
    text
}

/// What is lost with a table that knew of so many events more than are left.
fn loss(untold: u64) -> String {
    if untold == 0 {
        return "nothing is lost".to_owned();
    }
    format!(
        "lost is what only {untold} events said that were removed by a compaction: how often a job was delivered \
         that is not leased, and its place among those whose lease ran out; the largest numbers of chats and \
         messages that were deleted, which may be given again; queues without jobs and settings; when applications \
         and chats were made that were renamed"
    )
}

/// What the start says, line by line.
struct Printed;

impl Progress for Printed {
    fn say(&mut self, line: &str) {
        // What cannot be told now is told at the end.
        let _ = print(&format!("{line}\n"));
    }
}
