//! Times for people.

use std::time::Duration;

use crate::time::Timestamp;

/// A time without its fractions of a second, easier on the eyes. Other text stays as it is.
#[must_use]
pub fn short(at: &str) -> String {
    match at.split_once('.') {
        Some((seconds, rest)) if rest.ends_with('Z') => seconds.replace('T', " ") + "Z",
        _ => at.to_owned(),
    }
}

/// How far a time lies from now, such as `5m ago` or `in 3s`. `None` for other text.
#[must_use]
pub fn relative(at: &str, now: Timestamp) -> Option<String> {
    let at = Timestamp::parse(at)?;
    let distance = Duration::from_micros(at.0.abs_diff(now.0));
    Some(if distance < Duration::from_secs(1) {
        "now".into()
    } else if at <= now {
        format!("{} ago", span(distance))
    } else {
        format!("in {}", span(distance))
    })
}

/// The forms that a time may be typed in.
pub const FORMS: &str =
    "2026-01-31T12:00:00Z or with another offset, 2026-01-31, or how long ago: 90s, 30m, 2h, 3d, 2w";

/// A time as it is typed, for the daemon: a day begins at midnight in UTC, and `2h` is so long before now.
/// `None` where it is written in none of the [`FORMS`].
#[must_use]
pub fn in_full(typed: &str, now: Timestamp) -> Option<String> {
    let is_day = typed.len() == 10
        && typed.bytes().zip(*b"dddd-dd-dd").all(|(byte, form)| match form {
            b'd' => byte.is_ascii_digit(),
            other => byte == other,
        });
    let whole = if is_day { format!("{typed}T00:00:00Z") } else { typed.to_owned() };
    if Timestamp::parse(&whole).is_some() {
        return Some(whole);
    }
    ago(typed).map(|ago| Timestamp(now.0.saturating_sub(ago)).to_string())
}

/// The microseconds in `90s`, `30m`, `2h`, `3d` or `2w`.
fn ago(typed: &str) -> Option<u64> {
    let (count, unit) = typed.split_at_checked(typed.len().checked_sub(1)?)?;
    let seconds: u64 = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        "w" => 7 * 86_400,
        _ => return None,
    };
    // A sign is no part of it.
    let count: u64 =
        Some(count).filter(|count| count.bytes().all(|byte| byte.is_ascii_digit()))?.parse().ok()?;
    count.checked_mul(seconds)?.checked_mul(1_000_000)
}

/// A length of time in its largest whole unit.
#[must_use]
pub fn span(length: Duration) -> String {
    let seconds = length.as_secs();
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m", seconds / 60),
        3600..86_400 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_and_distances_are_written_in_full() {
        let now = Timestamp::parse("2026-01-31T12:00:00Z").unwrap();
        for (typed, full) in [
            ("2026-01-01", "2026-01-01T00:00:00Z"),
            ("90s", "2026-01-31T11:58:30.000000Z"),
            ("30m", "2026-01-31T11:30:00.000000Z"),
            ("2h", "2026-01-31T10:00:00.000000Z"),
            ("3d", "2026-01-28T12:00:00.000000Z"),
            ("2w", "2026-01-17T12:00:00.000000Z"),
            ("99999999d", "1970-01-01T00:00:00.000000Z"),
            ("2026-01-31 12:00:00+01:00", "2026-01-31 12:00:00+01:00"),
        ] {
            assert_eq!(in_full(typed, now).as_deref(), Some(full));
        }
        let wrong = ["", "h", "-2h", "+2h", "2y", "yesterday", "2026-1-1", "2026-02-30", "2\u{20ac}"];
        for other in wrong.into_iter().chain(["2026-01-31T12:00:00"]) {
            assert_eq!(in_full(other, now), None, "{other}");
        }
    }

    #[test]
    fn times_lose_their_fractions() {
        assert_eq!(short("2026-01-31T12:00:00.000001Z"), "2026-01-31 12:00:00Z");
        assert_eq!(short("noon"), "noon");
    }

    #[test]
    fn distances_are_in_the_largest_whole_unit_on_either_side_of_now() {
        let now = Timestamp::parse("2026-01-31T12:00:00Z").unwrap();
        let far = |at: &str| relative(at, now).unwrap();
        assert_eq!(far("2026-01-31T11:59:59.500000Z"), "now");
        assert_eq!(far("2026-01-31T11:59:01.000000Z"), "59s ago");
        assert_eq!(far("2026-01-31T10:30:00.000000Z"), "1h ago");
        assert_eq!(far("2026-01-31T12:02:59.000000Z"), "in 2m");
        assert_eq!(far("2025-01-31T12:00:00.000000Z"), "365d ago");
        assert_eq!(relative("noon", now), None);
    }
}
