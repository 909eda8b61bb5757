//! Formulas: the same make-up is the same formula.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::exact::{must, text};
use super::pages::page;
use super::{Answer, Model, refuse, refuse_field};

/// A formula as first submitted.
#[derive(Debug, Clone)]
pub struct Formula {
    /// Its id.
    pub id: String,
    seq: u64,
    at: String,
    name: String,
    materials: Value,
    makeup: BTreeMap<String, (String, i64)>,
}

/// Digits without zeros at their ends, and the power of ten that they count.
fn decimal(text: &str) -> (String, i64) {
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let mut digits = format!("{whole}{fraction}");
    let places = i64::try_from(fraction.len()).expect("few digits");
    let mut power = exponent.parse::<i64>().expect("a small exponent") - places;
    while digits.ends_with('0') {
        digits.pop();
        power += 1;
    }
    (digits.trim_start_matches('0').to_owned(), power)
}

/// Materials by name, with their exact amounts.
pub fn makeup(materials: &Value) -> BTreeMap<String, (String, i64)> {
    let materials = materials.as_array().expect("a list of materials");
    let one = |material: &Value| {
        (must(material, "name").trim().to_owned(), decimal(&must(material, "concentration")))
    };
    materials.iter().map(one).collect()
}

impl Model {
    pub(super) fn submit_formula(&mut self, request: &Value, given: &Value) -> Answer {
        let makeup = makeup(&request["materials"]);
        if let Some(known) = self.formulas.iter().find(|formula| formula.makeup == makeup) {
            return Ok(json!({"formula": known.id, "created": false, "seq": known.seq}));
        }
        if self.is_full("formulas") {
            return refuse("queue_full");
        }
        let id = text(given, "formula").unwrap_or_else(|| format!("none was given for {makeup:?}"));
        let name = must(request, "name");
        assert!(self.formulas.iter().all(|formula| formula.id != id), "two formulas with the id {id}");
        let materials = request["materials"].clone();
        let fields = json!({"formula": id, "name": name, "materials": materials});
        let seq = self.emit("formula.created", fields.clone());
        let job = super::merged(fields, json!({"type": "formula_created", "at": self.at()}));
        self.put("formulas", 0, 0, job)?;
        let at = self.at();
        self.formulas.push(Formula { id: id.clone(), seq, at, name, materials, makeup });
        Ok(json!({"formula": id, "created": true, "seq": seq}))
    }

    pub(super) fn read_formulas(&self, name: &str, request: &Value) -> Answer {
        let find = |id: String| self.formulas.iter().position(|formula| formula.id == id);
        if name == "formula.get" {
            let Some(place) = find(must(request, "formula")) else { return refuse("not_found") };
            return Ok(json!({"formula": self.formulas[place].shown()}));
        }
        let start = match text(request, "after") {
            None => 0,
            Some(id) => match find(id) {
                Some(place) => place + 1,
                None => return refuse_field("not_found", "after"),
            },
        };
        let items = self.formulas[start..].iter().map(|formula| (json!(formula.id), formula.shown()));
        Ok(page("formulas", request, items.collect()))
    }
}

impl Formula {
    fn shown(&self) -> Value {
        let Formula { id, seq, at, name, materials, .. } = self;
        json!({"formula": id, "name": name, "materials": materials, "seq": seq, "at": at})
    }
}
