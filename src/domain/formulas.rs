//! Formulas: stored once, whoever submits them under whatever name, each with one job.

use super::draft::Draft;
use super::event::Fact;
use super::queues;
use super::table::{Facts, Table, number_in, number_value, tag};
use crate::codec::write_ordered;
use crate::error::{Error, Result, shown};
use crate::json::fields::Fields;

/// The queue that gets a job for every new formula.
pub const QUEUE: &str = "formulas";

fn id_key(formula: &str) -> Vec<u8> {
    [&[tag::FORMULA], formula.as_bytes()].concat()
}

/// The table's key of a formula's place in the order of creation.
#[must_use]
pub fn order_key(seq: u64) -> Vec<u8> {
    let mut key = vec![tag::FORMULA_ORDER];
    write_ordered(&mut key, seq);
    key
}

/// The seq of the event that stored a formula.
///
/// # Errors
/// What reading the table says.
pub fn seq_of(facts: &dyn Facts, formula: &str) -> Result<Option<u64>> {
    facts.get(&id_key(formula))?.map(|value| number_in(&value)).transpose()
}

/// The same, or the refusal.
///
/// # Errors
/// `not_found`.
pub fn require(facts: &dyn Facts, formula: &str) -> Result<u64> {
    let missing = || Error::not_found(format!("there is no formula with id {:?}", shown(formula)));
    seq_of(facts, formula)?.ok_or_else(missing)
}

/// `formula.submit`: stores it and puts its job, or finds that it is there.
///
/// # Errors
/// `queue_full`, for a new formula.
pub fn submit(draft: &mut Draft<'_>, formula: String, name: String, materials: String) -> Result<()> {
    let found = seq_of(draft, &formula)?;
    let seq = if let Some(seq) = found {
        seq
    } else {
        let mut body = b"{\"type\":\"formula_created\"".to_vec();
        let at = draft.at();
        Fields(&mut body)
            .text("formula", &formula)
            .text("name", &name)
            .raw("materials", materials.as_bytes())
            .time("at", at);
        body.push(b'}');
        let seq = draft.emit(Fact::FormulaCreated { formula: formula.clone(), name, materials })?;
        queues::put(draft, QUEUE.to_owned(), String::from_utf8_lossy(&body).into_owned(), 0, 0)?;
        // The job's own reply is not this command's.
        draft.reply().clear();
        seq
    };
    Fields(draft.reply()).text("formula", &formula).flag("created", found.is_none()).number("seq", seq);
    Ok(())
}

/// Applies that a formula was stored.
pub fn apply(seq: u64, fact: &Fact, table: &mut dyn Table) {
    if let Fact::FormulaCreated { formula, .. } = fact {
        table.put(id_key(formula), Some(number_value(seq)));
        table.put(order_key(seq), Some(formula.clone().into_bytes()));
        table.counts_mut().formulas += 1;
    }
}
