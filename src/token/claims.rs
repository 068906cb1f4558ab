//! The claims of a token, and how they are read from its payload.
//!
//! Reading checks the type and range of each claim. Whether a claim is acceptable is checked in `expected`.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::error::TokenError;
use super::json_object::JsonObject;

/// The last second of the year 9999, the latest time that RFC 3339 can express.
const LAST_SECOND: i64 = 253_402_300_799;

/// The claims of a token (RFC 7519 §4). Times are NumericDate: whole seconds since 1970-01-01T00:00:00Z.
///
/// Claims from [`verify`](super::verify()) are authentic, unexpired, and meant for this audience. Other claims of
/// the token are available from [`custom`](Self::custom).
///
/// # Example: a handler that needs no user record
/// ```
/// use hallpass::Claims;
///
/// async fn who(claims: Claims) -> String {
///     format!("{}, until {}", claims.sub, claims.expires_at())
/// }
/// ```
#[derive(Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Claims {
    /// The issuer (RFC 7519 §4.1.1).
    pub iss: String,
    /// The audience (RFC 7519 §4.1.3).
    pub aud: Audience,
    /// The subject: the user's id, never empty (RFC 7519 §4.1.2).
    pub sub: String,
    /// The user's e-mail address (OpenID Connect Core 1.0 §5.1).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// True if the user proved to read the mail of that address (OpenID Connect Core 1.0 §5.1). Unknown if the token
    /// says nothing, or something that is not a boolean.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub email_verified: Option<bool>,
    /// The user's roles when the token was issued (RFC 9068 §2.2.3.1). Empty if the token has none.
    pub roles: Vec<String>,
    /// The time of issue (RFC 7519 §4.1.6).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub iat: Option<i64>,
    /// The first second in which the token is valid (RFC 7519 §4.1.5).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nbf: Option<i64>,
    /// The first second in which the token is no longer valid (RFC 7519 §4.1.4).
    pub exp: i64,
    /// The token's id (RFC 7519 §4.1.7).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jti: Option<String>,
    /// The session's id (OpenID Connect Front-Channel Logout 1.0 §3).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sid: Option<String>,
    /// The time at which the user last proved who they are in the session. A refresh does not change it (OpenID Connect
    /// Core 1.0 §2).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auth_time: Option<i64>,
    /// How the user proved it, for example `pwd` (RFC 8176 §2). Empty if the token does not tell.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub amr: Vec<String>,
    /// The JSON text of the payload, for [`Claims::custom`].
    #[serde(skip)]
    pub(super) payload: Option<Arc<str>>,
}

impl Claims {
    /// Returns claims with the four that are required. The others are empty and can be set.
    ///
    /// # Example: claims for a test
    /// ```
    /// use hallpass::token::Claims;
    ///
    /// let mut claims = Claims::new("issuer", "audience", "ada", 1_900_000_000);
    /// claims.sid = Some("s1".to_owned());
    /// assert_eq!(claims.expires_at().to_rfc3339(), "2030-03-17T17:46:40+00:00");
    /// ```
    pub fn new(iss: impl Into<String>, aud: impl Into<Audience>, sub: impl Into<String>, exp: i64) -> Self {
        Self {
            iss: iss.into(),
            aud: aud.into(),
            sub: sub.into(),
            email: None,
            email_verified: None,
            roles: Vec::new(),
            iat: None,
            nbf: None,
            exp,
            jti: None,
            sid: None,
            auth_time: None,
            amr: Vec::new(),
            payload: None,
        }
    }

    /// Returns the time of issue, if the token has an `iat`.
    ///
    /// # Example
    /// ```
    /// let mut claims = hallpass::Claims::new("issuer", "audience", "ada", 1_900_000_000);
    /// assert_eq!(claims.issued_at(), None);
    /// claims.iat = Some(1_899_996_400);
    /// assert_eq!((claims.expires_at() - claims.issued_at().unwrap()).num_hours(), 1);
    /// ```
    pub fn issued_at(&self) -> Option<DateTime<Utc>> {
        self.iat.map(to_date_time)
    }

    /// Returns the time from which the token is valid, if it has an `nbf`.
    ///
    /// # Example
    /// ```
    /// let mut claims = hallpass::Claims::new("issuer", "audience", "ada", 1_900_000_000);
    /// claims.nbf = Some(1_899_996_400);
    /// assert!(claims.not_before().unwrap() < claims.expires_at());
    /// ```
    pub fn not_before(&self) -> Option<DateTime<Utc>> {
        self.nbf.map(to_date_time)
    }

    /// Returns the time from which the token is no longer valid.
    ///
    /// # Example
    /// ```
    /// let claims = hallpass::Claims::new("issuer", "audience", "ada", 1_900_000_000);
    /// assert_eq!(claims.expires_at().timestamp(), 1_900_000_000);
    /// ```
    pub fn expires_at(&self) -> DateTime<Utc> {
        to_date_time(self.exp)
    }

    /// Returns the time at which the user last proved who they are in the session, if the token has an `auth_time`.
    ///
    /// # Example
    /// ```
    /// let mut claims = hallpass::Claims::new("issuer", "audience", "ada", 1_900_000_000);
    /// claims.auth_time = Some(1_899_996_400);
    /// assert_eq!(claims.authenticated_at().unwrap().timestamp(), 1_899_996_400);
    /// ```
    pub fn authenticated_at(&self) -> Option<DateTime<Utc>> {
        self.auth_time.map(to_date_time)
    }

    /// Returns true if `roles` contains `role`.
    ///
    /// # Example
    /// ```
    /// let mut claims = hallpass::Claims::new("issuer", "audience", "ada", 1_900_000_000);
    /// claims.roles = vec!["editor".to_owned()];
    /// assert!(claims.has_role("editor") && !claims.has_role("admin"));
    /// ```
    pub fn has_role(&self, role: &str) -> bool {
        self.roles.iter().any(|own| own == role)
    }

    /// Parses the token's payload as a type of the app, for claims that are not fields of this struct.
    ///
    /// Claims made by [`new`](Self::new) have no payload. There, only the fields of this struct can be read.
    ///
    /// # Errors
    /// The payload does not match `T`.
    ///
    /// # Example
    /// ```
    /// # use hallpass::token::Claims;
    /// # let claims = Claims::new("issuer", "audience", "ada", 1_900_000_000);
    /// #[derive(serde::Deserialize)]
    /// struct Tenant { tenant: Option<u32> }
    ///
    /// assert_eq!(claims.custom::<Tenant>()?.tenant, None);
    /// # Ok::<(), serde_json::Error>(())
    /// ```
    pub fn custom<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        match &self.payload {
            Some(payload) => serde_json::from_str(payload),
            None => serde_json::from_value(serde_json::to_value(self)?),
        }
    }

    /// Reads a payload. Call it only after the signature was verified.
    pub(super) fn read(payload: String) -> Result<Self, TokenError> {
        let JsonObject(members) = serde_json::from_str(&payload).map_err(|_| TokenError::Malformed)?;
        let mut claims = Reader(members).claims()?;
        claims.payload = Some(payload.into());
        Ok(claims)
    }
}

impl fmt::Debug for Claims {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Claims")
            .field("iss", &self.iss)
            .field("aud", &self.aud)
            .field("sub", &self.sub)
            .field("email", &self.email)
            .field("email_verified", &self.email_verified)
            .field("roles", &self.roles)
            .field("iat", &self.iat)
            .field("nbf", &self.nbf)
            .field("exp", &self.exp)
            .field("jti", &self.jti)
            .field("sid", &self.sid)
            .field("auth_time", &self.auth_time)
            .field("amr", &self.amr)
            .finish_non_exhaustive()
    }
}

/// The audience of a token: one name or several (RFC 7519 §4.1.3).
///
/// # Example
/// ```
/// use hallpass::token::Audience;
///
/// let several = Audience::Many(vec!["api".to_owned(), "billing".to_owned()]);
/// assert!(several.contains("billing"));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Audience {
    /// A single name.
    One(String),
    /// Any number of names.
    Many(Vec<String>),
}

impl Audience {
    /// Returns true if `name` is one of the names.
    ///
    /// # Example
    /// ```
    /// use hallpass::token::Audience;
    ///
    /// assert!(Audience::from("api").contains("api"));
    /// ```
    pub fn contains(&self, name: &str) -> bool {
        match self {
            Self::One(own) => own == name,
            Self::Many(names) => names.iter().any(|own| own == name),
        }
    }
}

impl From<&str> for Audience {
    fn from(name: &str) -> Self {
        Self::One(name.to_owned())
    }
}

impl From<String> for Audience {
    fn from(name: String) -> Self {
        Self::One(name)
    }
}

impl From<Vec<String>> for Audience {
    fn from(names: Vec<String>) -> Self {
        Self::Many(names)
    }
}

/// Returns true if `seconds` is a time that can also be written as RFC 3339.
pub(super) fn is_numeric_date(seconds: i64) -> bool {
    (0..=LAST_SECOND).contains(&seconds)
}

/// A field set by hand may be out of range for a date. The nearest date is returned then.
fn to_date_time(seconds: i64) -> DateTime<Utc> {
    let nearest = if seconds < 0 { DateTime::<Utc>::MIN_UTC } else { DateTime::<Utc>::MAX_UTC };
    DateTime::from_timestamp(seconds, 0).unwrap_or(nearest)
}

/// Takes the claims out of the members of a payload.
struct Reader<'a>(BTreeMap<Cow<'a, str>, Value>);

impl Reader<'_> {
    fn claims(mut self) -> Result<Claims, TokenError> {
        Ok(Claims {
            iss: self.required("iss", string)?,
            aud: self.required("aud", audience)?,
            sub: self.required("sub", |value| string(value).filter(|sub| !sub.is_empty()))?,
            // `exp` is rounded down and `nbf` up, so that no token is valid for longer than it says.
            exp: self.required("exp", |value| numeric_date(&value, f64::floor))?,
            nbf: self.optional("nbf", |value| numeric_date(&value, f64::ceil))?,
            iat: self.optional("iat", |value| numeric_date(&value, f64::floor))?,
            email: self.nullable("email", string)?,
            // Some issuers write a string, and no check depends on it.
            email_verified: self.0.remove("email_verified").and_then(|value| value.as_bool()),
            roles: self.nullable("roles", strings)?.unwrap_or_default(),
            jti: self.nullable("jti", string)?,
            sid: self.nullable("sid", string)?,
            auth_time: self.nullable("auth_time", |value| numeric_date(&value, f64::floor))?,
            // Some issuers write a string, and no check depends on it.
            amr: self.0.remove("amr").and_then(one_or_more).unwrap_or_default(),
            payload: None,
        })
    }

    fn required<T>(
        &mut self,
        name: &'static str,
        read: impl FnOnce(Value) -> Option<T>,
    ) -> Result<T, TokenError> {
        self.optional(name, read)?.ok_or(TokenError::ClaimMissing(name))
    }

    fn optional<T>(
        &mut self,
        name: &'static str,
        read: impl FnOnce(Value) -> Option<T>,
    ) -> Result<Option<T>, TokenError> {
        let Some(value) = self.0.remove(name) else { return Ok(None) };
        read(value).map(Some).ok_or(TokenError::ClaimInvalid(name))
    }

    /// Like `optional`, but accepts `null`, which some issuers write for a missing value. Only for claims that no
    /// check depends on.
    fn nullable<T>(
        &mut self,
        name: &'static str,
        read: impl FnOnce(Value) -> Option<T>,
    ) -> Result<Option<T>, TokenError> {
        if self.0.get(name).is_some_and(Value::is_null) {
            return Ok(None);
        }
        self.optional(name, read)
    }
}

fn string(value: Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text),
        _ => None,
    }
}

fn strings(value: Value) -> Option<Vec<String>> {
    match value {
        Value::Array(values) => values.into_iter().map(string).collect(),
        _ => None,
    }
}

fn one_or_more(value: Value) -> Option<Vec<String>> {
    match value {
        Value::String(text) => Some(vec![text]),
        values => strings(values),
    }
}

fn audience(value: Value) -> Option<Audience> {
    match value {
        Value::String(name) => Some(Audience::One(name)),
        names => strings(names).map(Audience::Many),
    }
}

/// RFC 7519 §2: a number of seconds, which may have a fraction.
fn numeric_date(value: &Value, round: fn(f64) -> f64) -> Option<i64> {
    // The cast saturates: a number beyond i64 becomes its bound, which is out of range.
    let seconds = value.as_i64().or_else(|| value.as_f64().map(|seconds| round(seconds) as i64))?;
    is_numeric_date(seconds).then_some(seconds)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn payload(member: &str, value: Value) -> String {
        let mut payload = json!({"iss": "i", "aud": "a", "sub": "s", "exp": 2_000_000_000});
        payload[member] = value;
        payload.to_string()
    }

    #[test]
    fn only_issuer_audience_subject_and_expiry_are_required() {
        let read = Claims::read(payload("exp", 2_000_000_000.into())).unwrap();
        let made = Claims { payload: read.payload.clone(), ..Claims::new("i", "a", "s", 2_000_000_000) };
        assert_eq!(read, made);
        for name in ["iss", "aud", "sub", "exp"] {
            let mut payload: Value = serde_json::from_str(&payload("x", Value::Null)).unwrap();
            payload.as_object_mut().unwrap().remove(name);
            assert_eq!(Claims::read(payload.to_string()), Err(TokenError::ClaimMissing(name)));
        }
    }

    #[test]
    fn a_claim_of_the_wrong_type_is_refused_by_name() {
        let cases = [
            ("iss", json!(null)),
            ("iss", json!(["i"])),
            ("aud", json!(5)),
            ("aud", json!(["a", 5])),
            ("sub", json!("")),
            ("sub", json!(7)),
            ("exp", json!("2000000000")),
            ("exp", json!(null)),
            ("nbf", json!([0])),
            ("iat", json!(true)),
            ("email", json!(1)),
            ("roles", json!("admin")),
            ("roles", json!([["admin"]])),
            ("jti", json!(1)),
            ("sid", json!({})),
            ("auth_time", json!("yesterday")),
            ("auth_time", json!(-1)),
        ];
        for (name, value) in cases {
            let read = Claims::read(payload(name, value.clone()));
            assert_eq!(read, Err(TokenError::ClaimInvalid(name)), "{name} {value}");
        }
    }

    #[test]
    fn null_is_accepted_for_claims_that_no_check_depends_on() {
        for name in ["email", "roles", "jti", "sid", "auth_time", "amr"] {
            let read = Claims::read(payload(name, Value::Null)).unwrap();
            assert_eq!(
                (read.email, read.roles, read.jti, read.sid, read.auth_time, read.amr),
                (None, Vec::new(), None, None, None, Vec::new()),
                "{name}"
            );
        }
    }

    #[test]
    fn only_a_boolean_says_whether_an_address_is_verified() {
        for (value, read) in [
            (json!(true), Some(true)),
            (json!(false), Some(false)),
            (json!("true"), None),
            (json!(1), None),
            (Value::Null, None),
        ] {
            let claims = Claims::read(payload("email_verified", value.clone())).unwrap();
            assert_eq!(claims.email_verified, read, "{value}");
        }
    }

    #[test]
    fn the_methods_are_a_list_or_one_text_and_anything_else_tells_nothing() {
        for (value, read) in [
            (json!(["pwd", "otp"]), vec!["pwd", "otp"]),
            (json!("pwd"), vec!["pwd"]),
            (json!([1]), vec![]),
            (json!({}), vec![]),
        ] {
            let claims = Claims::read(payload("amr", value.clone())).unwrap();
            assert_eq!(claims.amr, read, "{value}");
        }
    }

    #[test]
    fn a_time_is_a_number_between_1970_and_the_year_9999() {
        let cases = [
            ("0", Some((0, 0))),
            ("1.5", Some((1, 2))),
            ("1e9", Some((1_000_000_000, 1_000_000_000))),
            ("2.0", Some((2, 2))),
            ("-0.0", Some((0, 0))),
            ("253402300799", Some((LAST_SECOND, LAST_SECOND))),
            ("253402300800", None),
            ("-1", None),
            ("-1.5", None),
            ("9223372036854775807", None),
            ("-9223372036854775808", None),
            ("18446744073709551615", None),
            ("1e300", None),
            ("-1e300", None),
        ];
        for (text, expected) in cases {
            let read = |name| {
                Claims::read(payload(name, json!("T")).replace(r#""T""#, text)).map_err(|error| {
                    assert_eq!(error, TokenError::ClaimInvalid(name), "{name} {text}");
                })
            };
            let exp = read("exp").map(|claims| claims.exp).ok();
            let nbf = read("nbf").map(|claims| claims.nbf.unwrap()).ok();
            assert_eq!(exp.zip(nbf), expected, "{text}");
        }
    }

    #[test]
    fn a_payload_is_one_json_object_without_duplicate_members() {
        let good = payload("email", json!("a@example.com"));
        let cases = [
            ("a known member twice", good.replacen('{', r#"{"sub":"eve","#, 1)),
            ("an unknown member twice", good.replacen('{', r#"{"x":1,"x":1,"#, 1)),
            ("a member twice under escapes", good.replacen('{', r#"{"s\u0075b":"eve","#, 1)),
            ("an array", r#"["i","a","s",2000000000]"#.to_owned()),
            ("a string", r#""i""#.to_owned()),
            ("two objects", good.clone() + &good),
            ("a number beyond any float", good.replace("2000000000", "1e999")),
            ("not a number", good.replace("2000000000", "NaN")),
            ("a comma too many", good.replace('}', ",}")),
            ("too deep", good.replace("2000000000", &"[".repeat(5_000))),
            ("a byte order mark", "\u{feff}".to_owned() + &good),
            ("nothing", String::new()),
        ];
        for (name, payload) in cases {
            assert_eq!(Claims::read(payload), Err(TokenError::Malformed), "{name}");
        }
        assert!(Claims::read(good).is_ok());
    }

    #[test]
    fn custom_claims_are_read_from_the_payload() {
        #[derive(Debug, PartialEq, Deserialize)]
        struct Tenancy {
            tenant: u32,
        }
        let claims = Claims::read(payload("tenant", json!(7))).unwrap();
        assert_eq!(claims.custom::<Tenancy>().unwrap(), Tenancy { tenant: 7 });
        assert!(claims.custom::<Vec<u8>>().is_err());
        assert!(Claims::new("i", "a", "s", 0).custom::<Tenancy>().is_err());
    }

    #[test]
    fn the_payload_is_neither_printed_nor_serialized() {
        let claims = Claims::read(payload("x", json!("hidden"))).unwrap();
        assert!(!format!("{claims:?}").contains("hidden"));
        assert_eq!(
            serde_json::to_value(&claims).unwrap(),
            json!({"iss": "i", "aud": "a", "sub": "s", "roles": [], "exp": 2_000_000_000})
        );
    }

    #[test]
    fn a_time_out_of_range_becomes_the_nearest_date() {
        assert_eq!(Claims::new("i", "a", "s", i64::MAX).expires_at(), DateTime::<Utc>::MAX_UTC);
        assert_eq!(Claims::new("i", "a", "s", i64::MIN).expires_at(), DateTime::<Utc>::MIN_UTC);
    }
}
