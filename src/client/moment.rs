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
