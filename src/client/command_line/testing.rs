//! For unit tests: what command lines are read as.

use std::ffi::OsString;

use super::{Action, Invocation};
use crate::client::failure::{Failure, Result};

pub fn parse(words: &[&str]) -> Result<Invocation> {
    Invocation::parse(words.iter().map(OsString::from).collect())
}

pub fn usage_of(words: &[&str]) -> String {
    match parse(words) {
        Err(Failure::Usage(text)) => text,
        other => panic!("{words:?} gave {other:?}"),
    }
}

pub fn help_of(words: &[&str]) -> Vec<String> {
    match parse(words).unwrap().action {
        Action::Help(words) => words,
        other => panic!("{words:?} gave {other:?}"),
    }
}
