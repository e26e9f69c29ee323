//! Parameters of the path and the query, checked one by one; what is wrong is named, its value never repeated.

use std::collections::BTreeMap;

use axum::extract::{FromRequestParts, Path, Query};
use axum::http::request::Parts;
use chrono::{DateTime, Days, NaiveDate, NaiveTime, TimeDelta, Utc};

use super::error::ApiError;
use crate::domain::types::Instant;
use crate::store::read::PageRequest;

/// Rows of a page when the request does not say.
const DEFAULT_LIMIT: i64 = 100;
/// Rows of a page, at the most.
const MAX_LIMIT: i64 = 1000;
/// Rows that may be left out at the start.
const MAX_SKIP: i64 = 1_000_000_000;
/// Characters of a text parameter, at the most.
const MAX_TEXT: usize = 256;

/// The statuses of a claim.
pub(super) const STATUSES: &[&str] =
    &["submitted", "accepted", "rejected", "paid", "partial", "denied", "recouped", "voided"];
/// The levels of risk.
pub(super) const LEVELS: &[&str] = &["low", "medium", "high", "critical"];

/// The parameters of a query; each is taken out once, and what is left over at the end is unknown.
pub(super) struct Params(BTreeMap<String, String>);

impl<S: Send + Sync> FromRequestParts<S> for Params {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let Query(pairs) = Query::<Vec<(String, String)>>::try_from_uri(&parts.uri)
            .map_err(|_| ApiError::parameter("query", "name=value pairs joined by &"))?;
        let mut params = BTreeMap::new();
        for (name, value) in pairs {
            if let Some(twice) = params.insert(name, value) {
                drop(twice);
                return Err(ApiError::parameter("query", "each parameter once"));
            }
        }
        Ok(Self(params))
    }
}

/// The parameter of a path, as text.
pub(super) struct PathText(pub(super) String);

impl<S: Send + Sync> FromRequestParts<S> for PathText {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let Path(text) = Path::<String>::from_request_parts(parts, state)
            .await
            .map_err(|_| ApiError::parameter("path", "percent-encoded UTF-8"))?;
        plain_text("path", text).map(Self)
    }
}

impl Params {
    /// A text; an empty one is none.
    pub(super) fn text(&mut self, name: &'static str) -> Result<Option<String>, ApiError> {
        match self.0.remove(name) {
            None => Ok(None),
            Some(text) if text.is_empty() => Ok(None),
            Some(text) => plain_text(name, text).map(Some),
        }
    }

    /// One of a closed set of words.
    pub(super) fn word(&mut self, name: &'static str, known: &[&str]) -> Result<Option<String>, ApiError> {
        match self.text(name)? {
            Some(text) if !known.contains(&text.as_str()) => {
                Err(ApiError::parameter(name, &format!("one of {}", known.join(", "))))
            }
            other => Ok(other),
        }
    }

    /// The id of a row.
    pub(super) fn id(&mut self, name: &'static str) -> Result<Option<i64>, ApiError> {
        self.text(name)?.map(|text| id(name, &text)).transpose()
    }

    fn number(&mut self, name: &'static str, default: i64, least: i64, most: i64) -> Result<i64, ApiError> {
        let Some(text) = self.text(name)? else { return Ok(default) };
        let number = text.parse().ok().filter(|number| (least..=most).contains(number));
        number.ok_or_else(|| ApiError::parameter(name, &format!("a whole number from {least} to {most}")))
    }

    /// `skip` and `limit`.
    pub(super) fn page(&mut self) -> Result<PageRequest, ApiError> {
        Ok(PageRequest {
            skip: self.number("skip", 0, 0, MAX_SKIP)?,
            limit: self.number("limit", DEFAULT_LIMIT, 1, MAX_LIMIT)?,
        })
    }

    /// `created_from`: a time, or a day from its first moment (UTC).
    pub(super) fn created_from(&mut self) -> Result<Option<Instant>, ApiError> {
        let moment = self.moment("created_from")?;
        Ok(moment.map(|moment| match moment {
            Moment::Time(time) => time,
            Moment::Day(day) => day.and_time(NaiveTime::MIN).and_utc(),
        }))
    }

    /// `created_to`, as the first moment that is out: a time is in, to the microsecond; a day is in to its end (UTC).
    pub(super) fn created_before(&mut self) -> Result<Option<Instant>, ApiError> {
        let Some(moment) = self.moment("created_to")? else { return Ok(None) };
        let end = match moment {
            Moment::Time(time) => time.checked_add_signed(TimeDelta::microseconds(1)),
            Moment::Day(day) => day.checked_add_days(Days::new(1)).map(|day| day.and_time(NaiveTime::MIN).and_utc()),
        };
        end.map(Some).ok_or_else(|| ApiError::parameter("created_to", MOMENT))
    }

    fn moment(&mut self, name: &'static str) -> Result<Option<Moment>, ApiError> {
        let Some(text) = self.text(name)? else { return Ok(None) };
        // An unescaped `+` of the time zone arrives as a blank.
        let text = text.replace(' ', "+");
        let time = DateTime::parse_from_rfc3339(&text).map(|time| Moment::Time(time.with_timezone(&Utc)));
        let day = || NaiveDate::parse_from_str(&text, "%Y-%m-%d").map(Moment::Day);
        let moment = time.or_else(|_| day()).ok().filter(Moment::can_be_stored);
        moment.map(Some).ok_or_else(|| ApiError::parameter(name, MOMENT))
    }

    /// Refuses parameters that nothing has taken: a misspelt filter must not pass for no filter.
    pub(super) fn finish(self) -> Result<(), ApiError> {
        if self.0.is_empty() {
            return Ok(());
        }
        // A name may be a value that lost its name: only those that look like names are repeated.
        let looks_like_a_name =
            |name: &&String| name.len() <= 32 && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
        let name = self.0.keys().find(looks_like_a_name).map_or("query", String::as_str);
        Err(ApiError::parameter(name, "no parameter of this name; GET /openapi.json lists those of each route"))
    }
}

const MOMENT: &str = "a time such as 2026-11-02T05:50:21Z, or a day such as 2026-11-02";

enum Moment {
    Time(Instant),
    Day(NaiveDate),
}

impl Moment {
    /// Whether PostgreSQL can hold it.
    fn can_be_stored(&self) -> bool {
        let year = match self {
            Self::Time(time) => chrono::Datelike::year(time),
            Self::Day(day) => chrono::Datelike::year(day),
        };
        (1..=9999).contains(&year)
    }
}

/// A text of bounded length without control characters (PostgreSQL stores no NUL).
pub(super) fn plain_text(name: &str, text: String) -> Result<String, ApiError> {
    if text.chars().count() > MAX_TEXT || text.chars().any(char::is_control) {
        return Err(ApiError::parameter(name, "at most 256 characters, no control characters"));
    }
    Ok(text)
}

/// The id of a row, as a path or a query gives it.
pub(super) fn id(name: &str, text: &str) -> Result<i64, ApiError> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let number = if digits { text.parse().ok() } else { None };
    number.ok_or_else(|| ApiError::parameter(name, "the id of a row, a whole number"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn params(pairs: &[(&str, &str)]) -> Params {
        Params(pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
    }

    #[test]
    fn a_page_has_a_hundred_rows_unless_told_and_a_thousand_at_the_most() {
        assert_eq!(params(&[]).page().unwrap(), PageRequest { skip: 0, limit: 100 });
        assert_eq!(params(&[("skip", "7"), ("limit", "1000")]).page().unwrap(), PageRequest { skip: 7, limit: 1000 });
        for bad in ["1001", "0", "-1", "x", "99999999999999999999"] {
            assert!(params(&[("limit", bad)]).page().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_day_counts_to_its_end_and_a_time_to_itself() {
        let day = params(&[("created_to", "2026-11-02")]).created_before().unwrap().unwrap();
        assert_eq!(day.to_rfc3339(), "2026-11-03T00:00:00+00:00");
        let time = params(&[("created_to", "2026-11-02T01:00:00 01:00")]).created_before().unwrap().unwrap();
        assert_eq!(time.timestamp_micros() % 1_000_000, 1);
        assert_eq!(time.timestamp(), 1_793_577_600);
        let from = params(&[("created_from", "2026-11-02")]).created_from().unwrap().unwrap();
        assert_eq!(from.to_rfc3339(), "2026-11-02T00:00:00+00:00");
        assert!(params(&[("created_from", "yesterday")]).created_from().is_err());
    }

    #[test]
    fn a_parameter_that_nothing_knows_is_refused_and_a_value_is_never_repeated() {
        assert!(params(&[]).finish().is_ok());
        let error = format!("{:?}", params(&[("stauts", "denied")]).finish().unwrap_err());
        assert!(error.contains("stauts") && !error.contains("denied"), "{error}");
        let error = format!("{:?}", params(&[("W123456789", "")]).finish().unwrap_err());
        assert!(!error.contains("W123456789"), "{error}");
        let error = format!("{:?}", params(&[("status", "W123456789")]).word("status", STATUSES).unwrap_err());
        assert!(!error.contains("W123456789"), "{error}");
    }

    #[test]
    fn an_id_is_a_whole_number() {
        assert_eq!(id("id", "42").unwrap(), 42);
        for bad in ["", "+1", "-1", "1.0", "abc", "9223372036854775808"] {
            assert!(id("id", bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn text_that_the_database_cannot_hold_is_refused() {
        assert!(params(&[("payer_id", "a\0b")]).text("payer_id").is_err());
        assert!(params(&[("payer_id", &"x".repeat(257))]).text("payer_id").is_err());
    }
}

#[cfg(test)]
#[path = "params_fuzz.rs"]
mod fuzz;
