//! What a formula is made of, and the identity that follows from it alone.
//!
//! Two formulas are the same when they have the same materials at the same concentrations, in
//! whatever order and however the numbers are written. Concentrations are exact decimals of up
//! to [`CONCENTRATION_DIGITS`] digits and never become binary floats, which would make different ones
//! equal. What was submitted is kept as it was (see [`json::compact`]); what is here serves
//! comparison only.

use serde::de::IgnoredAny;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

use crate::codec::hex;
use crate::json;
use crate::limits::{CONCENTRATION_DIGITS, CONCENTRATION_EXPONENT, MATERIAL_NAME_BYTES};

/// The materials of a formula and how much there is of each, in a form that compares: two
/// make-ups are equal exactly when they make the same formula.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Makeup {
    /// Concentrations, as by [`canonical`], by trimmed name.
    materials: BTreeMap<String, String>,
}

/// Why materials make no formula.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MakeupError {
    /// Which material is at fault (counted from 0) and what to do about it, for people.
    pub message: String,
}

impl Makeup {
    /// Reads the text of a request's `materials` (as accepted by [`json::parse_line`]): an array
    /// of at least one `{"name": string, "concentration": number or string holding one}`.
    /// Outer Unicode white space does not count in names, and does not belong in numbers.
    ///
    /// # Errors
    ///
    /// For any other form, a key that is missing or unknown, a name that is empty or longer than
    /// [`MATERIAL_NAME_BYTES`], a concentration that is not above 0 or beyond [`CONCENTRATION_DIGITS`] or
    /// [`CONCENTRATION_EXPONENT`], and a material that is listed twice.
    pub fn parse(raw: &str) -> Result<Makeup, MakeupError> {
        let given = json::array(raw).filter(|given| !given.is_empty());
        let given = given.ok_or_else(|| MakeupError {
            message: "materials must be an array of at least one \
                {\"name\": string, \"concentration\": number}"
                .to_owned(),
        })?;
        let mut materials = BTreeMap::new();
        for (index, raw) in given.into_iter().enumerate() {
            let refuse = |reason: String| MakeupError {
                message: format!("material {index} (counted from 0): {reason}"),
            };
            let (name, concentration) = material(raw).map_err(refuse)?;
            if materials.insert(name, concentration).is_some() {
                return Err(refuse("its name is already there; list each material once".to_owned()));
            }
        }
        Ok(Makeup { materials })
    }

    /// The formula's id, 64 lower-case hexadecimal digits: SHA-256 of the materials in the order
    /// of their names' bytes. In full, so that nobody can make two formulas with one id. It is
    /// stored in logs: a change here would make known formulas new.
    #[must_use]
    pub fn id(&self) -> String {
        let mut hash = Sha256::new();
        for (name, concentration) in &self.materials {
            // With its length in front, no text can be taken for a part of another.
            for text in [name, concentration] {
                hash.update((text.len() as u64).to_le_bytes());
                hash.update(text);
            }
        }
        hex(&hash.finalize())
    }
}

/// The trimmed name and the canonical concentration of one material, or what to do about it.
fn material(raw: &str) -> Result<(String, String), String> {
    let object = json::object(raw).ok_or("must be an object with the keys \"name\" and \"concentration\"")?;
    let known = |key| matches!(key, "name" | "concentration");
    if object.iter().any(|(key, _)| !known(key)) {
        return Err("has an unknown key; only \"name\" and \"concentration\" are known".into());
    }
    let name = object.get("name").and_then(json::as_string);
    let name = name.ok_or("needs a \"name\" that is a string")?;
    let name = name.trim();
    if name.is_empty() || name.len() > MATERIAL_NAME_BYTES {
        return Err(format!("the name must have 1 to {MATERIAL_NAME_BYTES} bytes without outer white space"));
    }
    let concentration = object.get("concentration");
    let concentration = concentration.ok_or("needs a \"concentration\"")?;
    let number = json::as_string(concentration).unwrap_or(concentration.into());
    Ok((name.to_owned(), canonical(&number)?))
}

/// The one way to write the value of `number`: its digits, without zeros at either end, `e`, and
/// the power of ten that they count. So 15.5, 15.50 and 1.55e1 are all `155e-1`.
fn canonical(number: &str) -> Result<String, String> {
    if !is_number(number) {
        return Err("the concentration must be a number, like 15.5 or \"1.55e1\"".into());
    }
    let (mantissa, exponent) = number.split_once(['e', 'E']).unwrap_or((number, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let all = format!("{whole}{fraction}");
    let digits = all.trim_matches('0');
    if all.starts_with('-') || digits.is_empty() {
        return Err("the concentration must be greater than 0".into());
    }
    if all.len() > CONCENTRATION_DIGITS {
        return Err(format!("the concentration must have at most {CONCENTRATION_DIGITS} digits"));
    }
    // One with more digits than an i32 holds does not parse, and is too large in any case.
    let exponent = exponent.parse::<i32>().ok();
    let exponent =
        exponent.filter(|exponent| (-CONCENTRATION_EXPONENT..=CONCENTRATION_EXPONENT).contains(exponent));
    let exponent = exponent.ok_or_else(|| {
        format!("the concentration's exponent must be between -{CONCENTRATION_EXPONENT} and {CONCENTRATION_EXPONENT}")
    })?;
    let trailing_zeros = all.len() - all.trim_end_matches('0').len();
    // At most 1000 digits each.
    let places = |count: usize| i32::try_from(count).unwrap_or(i32::MAX / 2);
    let power = exponent + places(trailing_zeros) - places(fraction.len());
    Ok(format!("{digits}e{power}"))
}

/// Whether `text` is a number by JSON's grammar, and nothing else, not even white space.
fn is_number(text: &str) -> bool {
    let digit_at_end = text.ends_with(|last: char| last.is_ascii_digit());
    let number_at_start = text.starts_with(|first: char| first == '-' || first.is_ascii_digit());
    number_at_start && digit_at_end && serde_json::from_str::<IgnoredAny>(text).is_ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn id(materials: &str) -> String {
        Makeup::parse(materials).unwrap().id()
    }

    fn message(materials: &str) -> String {
        Makeup::parse(materials).unwrap_err().message
    }

    fn one(concentration: &str) -> String {
        format!("[{{\"name\":\"a\",\"concentration\":{concentration}}}]")
    }

    #[test]
    fn order_spacing_and_the_way_numbers_are_written_do_not_count() {
        let formula = id(r#"[{"name":"Iso E","concentration":15.5},{"name":"b","concentration":1}]"#);
        assert_eq!(formula.len(), 64);
        for same in [
            r#"[{"concentration":"1","name":"\u0062"},{"name":"Iso E","concentration":15.50}]"#,
            r#"[ {"name":" Iso E\u00a0\u3000","concentration":1.55e1},{"name":"b","concentration":"0.001e+3"}]"#,
            r#"[{"name":"Iso E","concentration":"\u0031550E-02"},{"name":"b","concentration":1.000}]"#,
        ] {
            assert_eq!(id(same), formula, "{same}");
        }
        for other in [
            r#"[{"name":"iso E","concentration":15.5},{"name":"b","concentration":1}]"#,
            r#"[{"name":"Iso  E","concentration":15.5},{"name":"b","concentration":1}]"#,
            r#"[{"name":"Iso E","concentration":1},{"name":"b","concentration":15.5}]"#,
            r#"[{"name":"Iso E","concentration":15.5}]"#,
        ] {
            assert_ne!(id(other), formula, "{other}");
        }
    }

    #[test]
    fn an_id_stays_what_it_is_in_stored_logs() {
        let known = "1a136e05045fa46d65df9abc57d441c8f7a859d0f4469ffa6aaeee52a82745b6";
        assert_eq!(id(&one("15.50")), known);
    }

    #[test]
    fn concentrations_keep_every_digit() {
        let nines = "9".repeat(CONCENTRATION_DIGITS - 1);
        assert_ne!(id(&one(&format!("{nines}8"))), id(&one(&format!("{nines}9"))));
        assert_ne!(id(&one("0.1")), id(&one("0.1000000000000000055511151231257827")));
        assert_ne!(id(&one("1e-1000")), id(&one("1e-999")));
        assert_eq!(id(&one("10e999")), id(&one("1.0e1000")));
    }

    #[test]
    fn a_concentration_is_a_positive_number_by_the_grammar_of_json() {
        for bad in [
            "0",
            "-1",
            "-0",
            "0.000",
            "\"0e5\"",
            "\"\"",
            "\" 1\"",
            "\"1 \"",
            "\"+1\"",
            "\".5\"",
            "\"5.\"",
            "\"01\"",
            "\"1e\"",
            "\"0x1\"",
            "\"1,5\"",
            "\"NaN\"",
            "\"[1]\"",
            "\"1 2\"",
            "null",
            "true",
            "[1]",
            "\"\u{661}\"",
            "{\"a\":1}",
        ] {
            assert!(message(&one(bad)).starts_with("material 0 "), "{bad}");
        }
    }

    #[test]
    fn digits_and_exponents_are_bounded_as_written() {
        for good in ["1e1000", "1E-1000", "1e+0000000000000001000"] {
            assert!(Makeup::parse(&one(good)).is_ok(), "{good}");
        }
        for bad in ["1e1001", "1e-1001", "0.1e1001", "1e99999999999999999999", "1e-2147483648"] {
            assert!(message(&one(bad)).contains("exponent"), "{bad}");
        }
        let digits = "0".repeat(CONCENTRATION_DIGITS - 2);
        assert!(Makeup::parse(&one(&format!("0.{digits}1"))).is_ok());
        assert!(message(&one(&format!("0.{digits}10"))).contains("digits"));
    }

    #[test]
    fn a_refusal_names_the_material_and_what_to_do() {
        let second =
            |material: &str| message(&format!("[{{\"name\":\"a\",\"concentration\":1}},{material}]"));
        for (material, expected) in [
            (r#"{"name":" a\n","concentration":2}"#, "once"),
            (r#"{"name":"b"}"#, "needs a \"concentration\""),
            (r#"{"concentration":1}"#, "needs a \"name\""),
            (r#"{"name":7,"concentration":1}"#, "needs a \"name\""),
            (r#"{"name":"b","concentration":1,"unit":"g"}"#, "unknown key"),
            (r#"{"name":" \u2003","concentration":1}"#, "1 to 1024 bytes"),
            ("7", "must be an object"),
        ] {
            let message = second(material);
            assert!(message.starts_with("material 1 ") && message.contains(expected), "{message}");
        }
        for none in ["[]", "{}", "null", "\"a\""] {
            assert!(message(none).contains("at least one"));
        }
    }

    #[test]
    fn names_are_measured_in_bytes_after_trimming() {
        let named = |name: &str| format!("[{{\"name\":\" {name} \",\"concentration\":1}}]");
        assert!(Makeup::parse(&named(&"\u{e9}".repeat(512))).is_ok());
        assert!(message(&named(&"\u{e9}".repeat(513))).contains("1 to 1024 bytes"));
    }

    proptest! {
        #[test]
        fn two_numbers_have_one_canonical_form_exactly_when_they_are_equal(
            (left, left_places) in (1u64..2000, 0u32..4),
            (right, right_places) in (1u64..2000, 0u32..4),
        ) {
            let plain = |units: u64, places: u32| format!("{units}e-{places}");
            let equal = left * 10u64.pow(3 - left_places) == right * 10u64.pow(3 - right_places);
            let left = canonical(&plain(left, left_places));
            let right = canonical(&plain(right, right_places));
            prop_assert_eq!(left == right, equal);
        }

        #[test]
        fn moving_the_point_and_adding_zeros_changes_nothing(
            digits in "[1-9][0-9]{0,30}", places in 1usize..30,
            zeros in 0usize..5, exponent in -99i32..99,
        ) {
            let padded = format!("{digits:0>width$}", width = places + 1);
            let (whole, fraction) = padded.split_at(padded.len() - places);
            let trailing = "0".repeat(zeros);
            let moved = format!("{whole}.{fraction}{trailing}E{}", exponent + places as i32);
            prop_assert_eq!(canonical(&moved), canonical(&format!("{digits}e{exponent}")));
        }

        #[test]
        fn the_order_of_materials_does_not_count(
            names in prop::collection::btree_set("[a-z]{1,4}", 1..6), turn: usize,
        ) {
            let material = |(index, name)| {
                format!("{{\"name\":\"{name}\",\"concentration\":{index}.5}}")
            };
            let mut given: Vec<_> = names.iter().enumerate().map(material).collect();
            let formula = id(&format!("[{}]", given.join(",")));
            let places = turn % given.len();
            given.rotate_left(places);
            prop_assert_eq!(id(&format!("[{}]", given.join(","))), formula);
        }
    }
}
