//! Numbers as they fit into columns.

/// A whole number with its thousands apart.
#[must_use]
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut shown = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            shown.push(',');
        }
        shown.push(digit);
    }
    shown
}

/// A rate or an average: with one digit behind the point where it is small.
#[must_use]
pub fn rate(value: f64) -> String {
    if value > 0.0 && value < 99.95 {
        return format!("{value:.1}");
    }
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rate is positive")]
    grouped(value.round() as u64)
}

/// Bytes in the largest unit of 1024 that leaves a number before the point.
#[must_use]
#[allow(clippy::cast_precision_loss, reason = "three digits are shown")]
pub fn bytes(bytes: u64) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1023.95 && unit + 1 < units.len() {
        value /= 1024.0;
        unit += 1;
    }
    let name = units.get(unit).copied().unwrap_or_default();
    match value {
        _ if unit == 0 => format!("{bytes} B"),
        0.0..99.95 => format!("{value:.1} {name}"),
        _ => format!("{value:.0} {name}"),
    }
}

/// Microseconds in the unit that they are read most easily in.
#[must_use]
#[allow(clippy::cast_precision_loss, reason = "three digits are shown")]
pub fn microseconds(us: u64) -> String {
    match us {
        0..1000 => format!("{us} us"),
        1000..10_000 => format!("{:.2} ms", us as f64 / 1000.0),
        10_000..1_000_000 => format!("{:.0} ms", us as f64 / 1000.0),
        _ => format!("{:.1} s", us as f64 / 1_000_000.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_have_few_digits_and_a_unit() {
        assert_eq!([0, 999, 1000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!([0.0, 0.25, 99.94, 99.96, 12_345.6].map(rate), ["0", "0.2", "99.9", "100", "12,346"]);
        assert_eq!(
            [0, 1023, 1024, 600_000, 1_048_575, 52_428_800].map(bytes),
            ["0 B", "1023 B", "1.0 KiB", "586 KiB", "1.0 MiB", "50.0 MiB"]
        );
        assert_eq!(bytes(u64::MAX), "16.0 EiB");
        assert_eq!([16, 1024, 16_384, 4_194_304].map(microseconds), ["16 us", "1.02 ms", "16 ms", "4.2 s"]);
    }
}
