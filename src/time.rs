//! Points in time: microseconds since 1970 in UTC, written as RFC 3339 text.

use jiff::civil::DateTime;
use jiff::fmt::temporal::DateTimePrinter;

/// A point in time, in microseconds since 1970-01-01 00:00 UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Timestamp(pub u64);

static PRINTER: DateTimePrinter = DateTimePrinter::new().precision(Some(6));

impl Timestamp {
    /// So many milliseconds later.
    #[must_use]
    pub fn plus_ms(self, milliseconds: u64) -> Self {
        Timestamp(self.0.saturating_add(milliseconds.saturating_mul(1000)))
    }

    /// Appends the time as `2026-01-31T12:00:00.000000Z`: UTC, six digits, ending in `Z`.
    pub fn write(self, out: &mut Vec<u8>) {
        // The last is at the end of the year 9999.
        let last = jiff::Timestamp::MAX;
        let microseconds = i64::try_from(self.0).unwrap_or(i64::MAX).min(last.as_microsecond());
        let time = jiff::Timestamp::from_microsecond(microseconds).unwrap_or(last);
        // Writing to a vector cannot fail.
        let _ = PRINTER.print_timestamp(&time, jiff::fmt::StdIoWrite(out));
    }

    /// Reads RFC 3339 with any offset; a space may stand for the `T`. Digits behind the sixth round up, so that
    /// bounds of a range hold. `None` when it is none.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (moment, rest) = text.as_bytes().split_at_checked(19)?;
        let two = |place: usize| digits(moment.get(place..place + 2)?);
        let marks = [4, 7, 10, 13, 16].map(|place| moment[place]);
        let year = digits(&moment[..4])?;
        let (month, day, hour, minute, second) = (two(5)?, two(8)?, two(11)?, two(14)?, two(17)?);
        let [b'-', b'-', b'T' | b't' | b' ', b':', b':'] = marks else { return None };
        if second > 60 {
            return None;
        }
        let small = |number: i64| i8::try_from(number).ok();
        let civil = DateTime::new(
            i16::try_from(year).ok()?,
            small(month)?,
            small(day)?,
            small(hour)?,
            small(minute)?,
            small(second.min(59))?,
            0,
        );
        // A leap second has no number of its own: it is the first one behind it, as bounds of a range then hold.
        let leap = i64::from(second == 60);
        let seconds = civil.ok()?.duration_since(DateTime::constant(1970, 1, 1, 0, 0, 0, 0)).as_secs() + leap;
        let (fraction, offset) = match rest.split_first()? {
            (b'.', rest) => rest.split_at(rest.iter().position(|byte| !byte.is_ascii_digit())?),
            _ => (&[0_u8; 0][..], rest),
        };
        if rest.first() == Some(&b'.') && fraction.is_empty() {
            return None;
        }
        let sixth = fraction.len().min(6);
        let microseconds = digits(&fraction[..sixth]).unwrap_or(0)
            * [1_000_000, 100_000, 10_000, 1000, 100, 10, 1][sixth]
            + i64::from(fraction[sixth..].iter().any(|digit| *digit != b'0'));
        let ahead = match offset {
            [b'Z' | b'z'] => 0,
            [sign @ (b'+' | b'-'), hours @ .., b':', tens, ones] if hours.len() == 2 => {
                let (hours, minutes) = (digits(hours)?, digits(&[*tens, *ones])?);
                if hours > 23 || minutes > 59 {
                    return None;
                }
                (hours * 3600 + minutes * 60) * if *sign == b'-' { -1 } else { 1 }
            }
            _ => return None,
        };
        // A time before 1970 is before everything in the log.
        Some(Timestamp(u64::try_from((seconds - ahead) * 1_000_000 + microseconds).unwrap_or(0)))
    }

    /// What the system's clock says now. The writer and the start of the daemon ask; everything
    /// below is told.
    #[must_use]
    pub fn now() -> Self {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        Timestamp(u64::try_from(since.as_micros()).unwrap_or(u64::MAX))
    }
}

/// The number that some digits are. `None` when there are none, or others.
fn digits(text: &[u8]) -> Option<i64> {
    let number = std::str::from_utf8(text).ok().filter(|_| text.iter().all(u8::is_ascii_digit))?;
    number.parse().ok()
}

impl std::fmt::Display for Timestamp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut text = Vec::with_capacity(27);
        self.write(&mut text);
        f.write_str(&String::from_utf8_lossy(&text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_written_with_six_digits_and_reads_back() {
        let time = Timestamp(1_700_000_000_000_120);
        assert_eq!(time.to_string(), "2023-11-14T22:13:20.000120Z");
        assert_eq!(Timestamp::parse(&time.to_string()), Some(time));
        assert_eq!(Timestamp(1_700_000_000_000_000).to_string(), "2023-11-14T22:13:20.000000Z");
    }

    #[test]
    fn every_time_of_four_digit_years_is_read_to_any_digit() {
        let micros = |text: &str| Timestamp::parse(text).map(|time| time.0);
        assert_eq!(micros("9999-12-31T23:59:59.999999Z"), Some(253_402_300_799_999_999));
        assert_eq!(micros("9999-12-31T23:59:59-23:59"), Some(253_402_387_139_000_000));
        assert_eq!(micros("0000-01-01T00:00:00Z"), Some(0));
        assert_eq!(micros("1970-01-01T00:00:00.12345600000Z"), Some(123_456));
        assert_eq!(micros("1970-01-01T00:00:00.1234560000001Z"), Some(123_457));
        assert_eq!(micros("1970-01-01 00:00:00.5-00:00"), Some(500_000));
        assert_eq!(micros("2016-12-31t23:59:60.5z"), micros("2017-01-01T00:00:00.5Z"), "a leap second");
        let last = Timestamp(u64::MAX).to_string();
        assert!(last.starts_with("9999-12-3"), "{last}");
    }

    #[test]
    fn any_offset_is_read_and_other_forms_are_not() {
        let utc = Timestamp::parse("2024-02-29T12:00:00Z");
        assert!(utc.is_some());
        assert_eq!(Timestamp::parse("1970-01-01T00:00:00.0000011Z"), Some(Timestamp(2)));
        assert_eq!(Timestamp::parse("2024-02-29T14:30:00+02:30"), utc);
        let wrong = "|2024-02-29|2024-02-30T12:00:00Z|yesterday|2024-02-29T12:00:00|12:00:00Z|2024-02-29T24:00:00Z\
             |2024-02-29T12:00:61Z|2024-02-29T12:00:00+0000|2024-02-29T12:00:00+00|2024-02-29T12:00:00,5Z\
             |2024-02-29T12:00:00.Z|2024-02-29T12:00:00+24:00|2024-02-29T12:00:00+10:60\
             |2024-02-29T12:00:00+00:00:30|2024-02-29T12:00:00ZZ|2024-02-29X12:00:00Z|+024-02-29T12:00:00Z\
             |2024-02-29T12:00:00.5|2024-02-29T12:00:00Z[UTC]|2024-02-29T12:00:0\u{e9}Z";
        for wrong in wrong.split('|') {
            assert_eq!(Timestamp::parse(wrong), None, "{wrong}");
        }
    }
}
