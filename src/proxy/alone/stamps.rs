//! Moments as the REST API has them. Pure.

use jiff::{Timestamp, civil, tz::TimeZone};

/// ISO 8601 with milliseconds, as JavaScript writes it: `2026-11-29T23:17:08.123Z`.
pub(super) fn text(ms: i64) -> String {
    let moment = Timestamp::from_millisecond(ms).unwrap_or(Timestamp::UNIX_EPOCH);
    moment.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()
}

/// Milliseconds since 1970 of what a client means: a moment, a date (its beginning, UTC), a month or a year. A moment
/// without a zone is taken for UTC.
pub(super) fn parse(text: &str) -> Option<i64> {
    let text = text.trim();
    // A plus in a query may stand for a blank; here it can only be an offset's.
    let spaced = |at: usize| text.len() > 11 && text.as_bytes().get(at) == Some(&b' ');
    let plus = text.rfind(' ').filter(|at| *at > 11 && spaced(*at)).map(|at| {
        let (before, after) = text.split_at(at);
        format!("{before}+{}", &after[1..])
    });
    let digits = |text: &str, size: usize| {
        text.len() == size && text.bytes().all(|byte| byte.is_ascii_digit())
    };
    let midnight = |date: civil::Date| {
        date.to_zoned(TimeZone::UTC).ok().map(|zoned| zoned.timestamp().as_millisecond())
    };
    if digits(text, 4) {
        return midnight(civil::Date::new(text.parse().ok()?, 1, 1).ok()?);
    }
    if let Some((year, month)) = text.split_once('-')
        && digits(year, 4)
        && digits(month, 2)
    {
        return midnight(civil::Date::new(year.parse().ok()?, month.parse().ok()?, 1).ok()?);
    }
    let moment = |text: &str| text.parse::<Timestamp>().ok().map(|it| it.as_millisecond());
    let local = || {
        let local: civil::DateTime = text.parse().ok()?;
        Some(local.to_zoned(TimeZone::UTC).ok()?.timestamp().as_millisecond())
    };
    let mail = || {
        let zoned = jiff::fmt::rfc2822::parse(text).ok()?;
        Some(zoned.timestamp().as_millisecond())
    };
    moment(text).or_else(|| plus.as_deref().and_then(moment)).or_else(local).or_else(mail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_read_and_written() {
        assert_eq!(text(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(text(1_764_458_228_007), "2025-11-29T23:17:08.007Z");
        for (said, ms) in [
            ("1970-01-01T00:00:01Z", Some(1000)),
            ("1970-01-01T00:00:01.5Z", Some(1500)),
            ("1970-01-01T01:00:01+01:00", Some(1000)),
            ("1970-01-01T01:00:01 01:00", Some(1000)),
            ("1970-01-01T00:00:01", Some(1000)),
            ("1970-01-01 00:00:01", Some(1000)),
            ("1970-01-02", Some(86_400_000)),
            ("1971", Some(31_536_000_000)),
            ("1970-02", Some(2_678_400_000)),
            ("2100", Some(4_102_444_800_000)),
            ("Thu, 01 Jan 1970 00:00:01 GMT", Some(1000)),
            ("yesterday", None),
            ("", None),
            ("1970-13-01", None),
        ] {
            assert_eq!(parse(said), ms, "{said}");
        }
    }
}
