//! Who may do what: decided once, when a client connects, by the user and the groups of its process as
//! the kernel attests them.

use std::fs;
use std::io;

use rustix::io::Errno;

/// Whom the options name. Root and the daemon's own user may do everything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Access {
    /// Users who may connect (`--allow-uid`).
    pub allow_uids: Vec<u32>,
    /// Groups whose members may connect (`--allow-gid`).
    pub allow_gids: Vec<u32>,
    /// Groups whose members may verify, compact and back up (`--admin-gid`).
    pub admin_gids: Vec<u32>,
    /// Groups whose members may only read (`--read-only-gid`).
    pub read_only_gids: Vec<u32>,
}

/// The process at the other end of a connection.
#[derive(Debug, Clone)]
pub struct Peer {
    /// Its user.
    pub uid: u32,
    /// Its own group and its supplementary ones.
    pub gids: Vec<u32>,
    /// Whether these are all groups that it has.
    pub all_gids: bool,
}

/// What a client may do beyond reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rights {
    /// Whether it may write.
    pub write: bool,
    /// Whether it may verify, compact and back up.
    pub administer: bool,
}

impl Rights {
    /// Everything.
    pub const ALL: Rights = Rights { write: true, administer: true };
}

impl Access {
    /// What a peer may do. `None`: it may not connect. A member of several groups is bound by each
    /// that restricts; where not all groups are known, the worst is assumed.
    #[must_use]
    pub fn rights(&self, peer: &Peer, own_uid: u32) -> Option<Rights> {
        if peer.uid == 0 || peer.uid == own_uid {
            return Some(Rights::ALL);
        }
        let in_any = |gids: &[u32]| gids.iter().any(|gid| peer.gids.contains(gid));
        let administer = in_any(&self.admin_gids);
        let restricted = in_any(&self.read_only_gids);
        let everyone = self.allow_uids.is_empty() && self.allow_gids.is_empty();
        // A group that is named for a right is named to have it.
        let named =
            self.allow_uids.contains(&peer.uid) || in_any(&self.allow_gids) || administer || restricted;
        if !everyone && !named {
            return None;
        }
        let write = !restricted && (peer.all_gids || self.read_only_gids.is_empty());
        Some(Rights { write, administer })
    }

    /// The groups of the process `pid`, which connected with `uid` and `gid`. No safe wrapper asks the
    /// socket itself for the supplementary ones (`SO_PEERGROUPS`), so they are read from the process
    /// while it lives. One that took its number since counts only when it is the same user's.
    ///
    /// # Errors
    /// What the system says when a shortage keeps them from being read: then nothing is known of its rights.
    pub fn peer(&self, pid: i32, uid: u32, gid: u32) -> io::Result<Peer> {
        let lists = [&self.allow_gids, &self.admin_gids, &self.read_only_gids];
        let others = if lists.iter().all(|list| list.is_empty()) {
            Some(Vec::new())
        } else {
            match fs::read_to_string(format!("/proc/{pid}/status")) {
                Ok(status) => groups_in(&status, uid),
                Err(error) if is_shortage(&error) => return Err(error),
                // It is gone, or may not be looked at.
                Err(_) => None,
            }
        };
        let all_gids = others.is_some();
        let gids = std::iter::once(gid).chain(others.unwrap_or_default()).collect();
        Ok(Peer { uid, gids, all_gids })
    }
}

/// Whether what failed may be done in a moment, since only descriptors or memory are short.
fn is_shortage(error: &io::Error) -> bool {
    let short = [Errno::MFILE, Errno::NFILE, Errno::NOMEM];
    Errno::from_io_error(error).is_some_and(|error| short.contains(&error))
}

/// The supplementary groups in a process's `status` (proc(5)). `None` when it is not this user's process.
fn groups_in(status: &str, uid: u32) -> Option<Vec<u32>> {
    let numbers = |name: &str| -> Option<Vec<u32>> {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_ascii_whitespace().map(|number| number.parse().ok()).collect()
    };
    // Real, effective, saved and file system's.
    let uids = numbers("Uid:")?;
    if uids.get(1) == Some(&uid) { numbers("Groups:") } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: u32 = 990;

    fn peer(uid: u32, gids: &[u32]) -> Peer {
        Peer { uid, gids: gids.to_vec(), all_gids: true }
    }

    fn access() -> Access {
        Access {
            allow_uids: vec![1001],
            allow_gids: vec![50],
            admin_gids: vec![60],
            read_only_gids: vec![70, 71],
        }
    }

    #[test]
    fn without_lists_everyone_writes_and_only_root_and_the_own_user_administer() {
        let access = Access::default();
        assert_eq!(access.rights(&peer(0, &[0]), OWN), Some(Rights::ALL));
        assert_eq!(access.rights(&peer(OWN, &[1]), OWN), Some(Rights::ALL));
        assert_eq!(access.rights(&peer(5, &[0]), OWN), Some(Rights { write: true, administer: false }));
    }

    #[test]
    fn lists_let_in_whom_they_name_and_nobody_else() {
        let rights = |uid, gids: &[u32]| access().rights(&peer(uid, gids), OWN);
        let (writer, reader) =
            (Rights { write: true, administer: false }, Rights { write: false, administer: false });
        assert_eq!(rights(1001, &[1]), Some(writer));
        assert_eq!(rights(1002, &[1, 50]), Some(writer));
        assert_eq!(rights(1002, &[1, 60]), Some(Rights::ALL));
        assert_eq!(rights(1002, &[71]), Some(reader));
        assert_eq!(rights(1001, &[1, 70]), Some(reader));
        assert_eq!(rights(1002, &[1, 60, 70]), Some(Rights { write: false, administer: true }));
        assert_eq!(rights(1002, &[1]), None);
        assert_eq!((rights(0, &[70]), rights(OWN, &[])), (Some(Rights::ALL), Some(Rights::ALL)));
    }

    #[test]
    fn whose_groups_are_not_known_is_bound_by_the_groups_that_restrict() {
        let unknown = Peer { uid: 1001, gids: vec![1], all_gids: false };
        let rights = access().rights(&unknown, OWN);
        assert_eq!(rights, Some(Rights { write: false, administer: false }));
        let free = Access { read_only_gids: Vec::new(), ..access() }.rights(&unknown, OWN);
        assert_eq!(free, Some(Rights { write: true, administer: false }));
    }

    #[test]
    fn the_groups_of_another_users_process_do_not_count() {
        let status = "Name:\tnc\nUid:\t1001\t1001\t1001\t1001\nGid:\t5\t5\t5\t5\nGroups:\t60 70 \nVm:\t1\n";
        assert_eq!(groups_in(status, 1001), Some(vec![60, 70]));
        assert_eq!(groups_in(status, 1002), None);
        assert_eq!(groups_in("Uid:\t1\t1\t1\t1\nGroups:\t\n", 1), Some(vec![]));
        assert_eq!(groups_in("", 1), None);
    }
}
