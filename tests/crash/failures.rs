//! Calls that fail on purpose.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use super::client::Trouble;
use super::faulty_storage::{Call, Fault, FaultyStorage};
use super::machine::{SharedClient, lock};

/// Which call fails, and how.
#[derive(Debug, Clone, Copy)]
pub struct Case {
    /// Its number, from 1.
    pub number: usize,
    pub fault: Fault,
    /// Whether all calls after it fail, too.
    pub lasting: bool,
}

/// A case at work. Says what it was when a test fails.
pub struct Failing {
    case: Case,
    /// The first call that failed.
    call: Arc<Mutex<Option<String>>>,
}

/// Whether this is a segment that the writer writes, and no compaction.
pub fn is_log(path: &Path) -> bool {
    let is_segment = path.extension().is_some_and(|extension| extension == "log");
    is_segment && path.file_stem().is_some_and(|stem| stem.len() == 20)
}

/// Fails calls as the case says. A failed sync of the log is told to the client, so that it does
/// not take anything for written after it.
pub fn fail(storage: &FaultyStorage, client: &SharedClient, case: Case) -> Failing {
    let failing = Failing { case, call: Arc::default() };
    let sync_failed = Arc::new(AtomicBool::new(false));
    lock(client).trouble = Trouble::Calls(Arc::clone(&sync_failed));
    let (mut number, told) = (0, Arc::clone(&failing.call));
    storage.fail(move |call, path| {
        number += 1;
        let fails = number == case.number || (case.lasting && number > case.number);
        if number == case.number {
            *told.lock().expect("nobody panicked") = Some(format!("{call:?} of {}", path.display()));
        }
        if fails && call == Call::Sync && is_log(path) {
            sync_failed.store(true, Ordering::Relaxed);
        }
        fails.then_some(case.fault)
    });
    failing
}

impl Failing {
    /// Whether a call has failed.
    pub fn happened(&self) -> bool {
        self.call.lock().expect("nobody panicked").is_some()
    }

    /// From the next start on no call fails.
    pub fn is_over(&self, client: &SharedClient) {
        lock(client).trouble = Trouble::None;
    }
}

impl Drop for Failing {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let call = self.call.lock().map(|call| call.clone()).unwrap_or_default().unwrap_or_default();
            eprintln!("this was {:?}: {call}", self.case);
        }
    }
}
