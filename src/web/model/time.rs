//! Timestamps as the API writes and reads them (`spec/rest-api.md` 1.10).

use jiff::{Timestamp, civil, fmt::rfc2822, tz::TimeZone};
use jovis_actors::domain::Moment;

/// ISO 8601 in UTC with microseconds and `Z`; a whole second without fraction.
pub(crate) fn wire(moment: Moment) -> String {
    let stamp = Timestamp::from_microsecond(moment.0).unwrap_or(Timestamp::UNIX_EPOCH);
    let micros = moment.0.rem_euclid(1_000_000);
    let whole = stamp.strftime("%Y-%m-%dT%H:%M:%S");
    if micros == 0 { format!("{whole}Z") } else { format!("{whole}.{micros:06}Z") }
}

/// The same, or null.
pub(crate) fn wire_or_null(moment: Option<Moment>) -> serde_json::Value {
    moment.map(wire).into()
}

/// For people whose browser runs no scripts.
pub(crate) fn plain(moment: Moment) -> String {
    let stamp = Timestamp::from_microsecond(moment.0).unwrap_or(Timestamp::UNIX_EPOCH);
    stamp.strftime("%Y-%m-%d %H:%M UTC").to_string()
}

/// What a client sent: ISO 8601 with `T` or a blank, with an offset or `Z`, or without (UTC then); a date alone is its
/// midnight; also the form of e-mail dates.
pub(crate) fn parse(text: &str) -> Option<Moment> {
    let text = text.trim();
    let stamp = text
        .parse::<Timestamp>()
        .ok()
        .or_else(|| {
            let civil: civil::DateTime = text.parse().ok()?;
            Some(civil.to_zoned(TimeZone::UTC).ok()?.timestamp())
        })
        .or_else(|| rfc2822::parse(text).ok().map(|zoned| zoned.timestamp()))?;
    Some(Moment(stamp.as_microsecond()))
}

/// The date form of HTTP headers.
pub(crate) fn http_date(seconds: i64) -> String {
    let stamp = Timestamp::from_second(seconds).unwrap_or(Timestamp::UNIX_EPOCH);
    stamp.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fraction_appears_only_where_there_is_one() {
        assert_eq!(wire(Moment(1_795_289_105_717_815)), "2026-11-21T19:25:05.717815Z");
        assert_eq!(wire(Moment(1_795_289_105_000_015)), "2026-11-21T19:25:05.000015Z");
        assert_eq!(wire(Moment(1_795_289_105_000_000)), "2026-11-21T19:25:05Z");
    }

    #[test]
    fn dates_are_read_leniently() {
        let moment = Some(Moment(1_795_289_105_717_815));
        for text in [
            "2026-11-21T19:25:05.717815Z",
            "2026-11-21T20:25:05.717815+01:00",
            "2026-11-21T19:25:05.717815",
            "2026-11-21 19:25:05.717815",
        ] {
            assert_eq!(parse(text), moment, "{text}");
        }
        assert_eq!(parse("1970-01-02"), Some(Moment(86_400_000_000)));
        for text in ["", "yesterday", "12", "2026-13-01"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn header_dates_are_http_dates() {
        assert_eq!(http_date(784_111_777), "Sun, 06 Nov 1994 08:49:37 GMT");
    }
}
