//! The parameters of a query string. An invalid value is a 400 that names the parameter and says what is accepted.
//! Unknown parameters are ignored.

use std::future::{Ready, ready};
use std::str::FromStr;

use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpRequest, web};
use chrono::{DateTime, Utc};

use super::ApiError;

/// The longest text of a parameter, in characters.
const MAX_CHARS: usize = 254;

/// The most entries of a page.
pub(crate) const LONGEST_PAGE: u32 = 200;

/// The parameters of a request's query.
#[derive(Debug)]
pub(crate) struct Parameters(Vec<(String, String)>);

impl FromRequest for Parameters {
    type Error = ApiError;
    type Future = Ready<Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let read = web::Query::<Vec<(String, String)>>::from_query(request.query_string());
        let invalid = || ApiError::RequestInvalid("the query is not name=value pairs".into());
        ready(read.map(|pairs| Self(pairs.into_inner())).map_err(|_| invalid()))
    }
}

impl Parameters {
    /// Returns a text; `None` if it is absent or empty.
    pub(crate) fn text(&self, name: &'static str) -> Result<Option<&str>, ApiError> {
        let mut values = self.0.iter().filter(|(own, _)| own == name).map(|(_, value)| value.as_str());
        let value = values.next().filter(|value| !value.is_empty());
        if values.next().is_some() {
            return Err(refused(name, "it may be given once"));
        }
        match value {
            Some(text) if text.chars().count() > MAX_CHARS || text.chars().any(char::is_control) => {
                Err(refused(name, "at most 254 characters are accepted, and no control characters"))
            }
            value => Ok(value),
        }
    }

    /// Returns a value, if it is present; `accepted` says what it may be.
    pub(crate) fn value<T: FromStr>(
        &self,
        name: &'static str,
        accepted: &str,
    ) -> Result<Option<T>, ApiError> {
        self.checked(name, accepted, |text| text.parse().ok())
    }

    /// Returns what `read` makes of a text, if it is present; `accepted` says what it may be.
    pub(crate) fn checked<T>(
        &self,
        name: &'static str,
        accepted: &str,
        read: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>, ApiError> {
        self.text(name)?.map(|text| read(text).ok_or_else(|| refused(name, accepted))).transpose()
    }

    /// Returns `limit`, from 1 to [`LONGEST_PAGE`]; `default` if it is absent.
    pub(crate) fn limit(&self, default: u32) -> Result<u32, ApiError> {
        let read = |text: &str| text.parse().ok().filter(|limit| (1..=LONGEST_PAGE).contains(limit));
        Ok(self.checked("limit", "1 to 200 is accepted", read)?.unwrap_or(default))
    }

    /// Returns a time.
    pub(crate) fn time(&self, name: &'static str) -> Result<Option<DateTime<Utc>>, ApiError> {
        let read = |text: &str| {
            let time = DateTime::parse_from_rfc3339(text).ok()?.to_utc();
            (time >= DateTime::UNIX_EPOCH).then_some(time)
        };
        self.checked(name, "a time like 2026-01-31T09:30:00Z is accepted (a + is written %2B)", read)
    }
}

fn refused(name: &str, accepted: &str) -> ApiError {
    ApiError::RequestInvalid(format!("{name} is not acceptable: {accepted}").into())
}
