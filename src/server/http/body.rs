//! The JSON body of a request, with the contract's failures: 415 for another media type, 413 for a body that is too
//! large, 400 for one that is not the expected object. The handler answers a missing field (422).

use std::time::Duration;

use actix_web::dev::Payload;
use actix_web::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use actix_web::{FromRequest, HttpRequest, web};
use futures_util::StreamExt;
use futures_util::future::LocalBoxFuture;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use zeroize::Zeroizing;

use super::ApiError;
use crate::server::config;

/// The memory allocated for a body before its bytes come: most bodies fit. A client that announces more and sends nothing
/// costs no more.
const FIRST: usize = 1_024;

/// The body as a `T`. Its bytes are wiped once they are read, because they may contain a password.
#[derive(Debug)]
pub(crate) struct Body<T>(pub T);

/// The body as a `T`; the default `T` if there is no body.
#[derive(Debug)]
pub(crate) struct OptionalBody<T>(pub T);

impl<T: DeserializeOwned + 'static> FromRequest for Body<T> {
    type Error = ApiError;
    type Future = LocalBoxFuture<'static, Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let bytes = collect(request, payload);
        Box::pin(async move { parse(&bytes.await?).map(Self) })
    }
}

impl<T: DeserializeOwned + Default + 'static> FromRequest for OptionalBody<T> {
    type Error = ApiError;
    type Future = LocalBoxFuture<'static, Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let bytes = collect(request, payload);
        Box::pin(async move {
            let bytes = bytes.await?;
            if bytes.is_empty() { Ok(Self(T::default())) } else { parse(&bytes).map(Self) }
        })
    }
}

/// Reads the bytes of a body: at most as many as the settings allow, and of the media type JSON unless it is empty.
fn collect(
    request: &HttpRequest,
    payload: &mut Payload,
) -> impl Future<Output = Result<Zeroizing<Vec<u8>>, ApiError>> + use<> {
    let settings = request.app_data::<web::Data<config::Server>>();
    let (limit, time) = settings.map_or_else(
        || (65_536, Duration::from_secs(15)),
        |settings| (settings.max_body_bytes, settings.body_time),
    );
    let header = |name| request.headers().get(name).and_then(|value| value.to_str().ok());
    let declared: Option<usize> = header(CONTENT_LENGTH).and_then(|length| length.parse().ok());
    let media_type = header(CONTENT_TYPE).map(is_json);
    let payload = payload.take();
    async move {
        if media_type == Some(false) {
            return Err(ApiError::UnsupportedMediaType);
        }
        if declared.is_some_and(|length| length > limit) {
            return Err(ApiError::BodyTooLarge);
        }
        let bytes =
            actix_rt::time::timeout(time, read(payload, declared.unwrap_or(0), limit)).await.unwrap_or_else(
                |_| Err(ApiError::JsonMalformed(format!("it did not arrive within {} s", time.as_secs()))),
            )?;
        if media_type.is_none() && !bytes.is_empty() {
            return Err(ApiError::UnsupportedMediaType);
        }
        Ok(bytes)
    }
}

async fn read(mut payload: Payload, expected: usize, limit: usize) -> Result<Zeroizing<Vec<u8>>, ApiError> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(expected.min(FIRST)));
    while let Some(chunk) = payload.next().await {
        let chunk = chunk.map_err(|_| ApiError::JsonMalformed("it did not arrive completely".into()))?;
        let length = bytes.len() + chunk.len();
        if length > limit {
            return Err(ApiError::BodyTooLarge);
        }
        if length > bytes.capacity() {
            // Growing in place would leave an unwiped copy behind.
            let mut larger = Zeroizing::new(Vec::with_capacity((2 * length).min(limit)));
            larger.extend_from_slice(&bytes);
            bytes = larger;
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

/// Reads a field that is present, for `#[serde(default, deserialize_with = "given")]`. A missing field is `None`.
/// `null` is an error, because no schema of this API allows it.
pub(crate) fn given<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ApiError> {
    // The whole body is checked first, because serde skips unknown fields without decoding their strings.
    let text = std::str::from_utf8(bytes).map_err(|_| ApiError::JsonMalformed("it is not UTF-8".into()))?;
    // serde would accept an array for a struct, field by field.
    match text.bytes().find(|byte| !byte.is_ascii_whitespace()) {
        None => Err(ApiError::JsonMalformed("it is empty; a JSON object is expected".into())),
        Some(b'{') => serde_json::from_str(text).map_err(|error| ApiError::JsonMalformed(reason(&error))),
        Some(_) => Err(ApiError::JsonMalformed("it is not a JSON object".into())),
    }
}

/// Returns the reason and its place in the body, never the text.
fn reason(error: &serde_json::Error) -> String {
    use serde_json::error::Category;

    let what = match error.classify() {
        Category::Data => "a field has the wrong type or occurs twice",
        Category::Eof => "the JSON ends too early",
        Category::Syntax | Category::Io => "it is not JSON",
    };
    format!("{what}, at line {} column {}", error.line(), error.column())
}

fn is_json(content_type: &str) -> bool {
    let mut parts = content_type.split(';').map(str::trim);
    let essence = parts.next().unwrap_or_default().eq_ignore_ascii_case("application/json");
    essence
        && parts.filter(|part| !part.is_empty()).all(|parameter| match parameter.split_once('=') {
            Some((name, value)) if name.eq_ignore_ascii_case("charset") => {
                value.trim_matches('"').eq_ignore_ascii_case("utf-8")
            }
            _ => true,
        })
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    struct Login {
        #[serde(default, deserialize_with = "given")]
        email: Option<String>,
    }

    #[actix_rt::test]
    async fn a_body_that_is_announced_and_does_not_come_takes_no_memory() {
        let bytes = read(Payload::None, 60_000, 65_536).await.unwrap();
        assert_eq!(bytes.capacity(), FIRST);
    }

    #[test]
    fn only_a_json_object_with_fields_of_the_right_type_is_read() {
        let table: &[(&str, &[u8], &str)] = &[
            ("empty", b"", "it is empty"),
            ("blank", b" \n", "it is empty"),
            ("not JSON", b"{email}", "it is not JSON"),
            ("cut off", b"{\"email\":", "the JSON ends too early"),
            ("an array", b"[\"ada@example.com\"]", "it is not a JSON object"),
            ("a string", b"\"ada\"", "it is not a JSON object"),
            ("not UTF-8", b"{\"email\":\"\xff\"}", "it is not UTF-8"),
            ("not UTF-8 in an unknown field", b"{\"more\":\"\xff\"}", "it is not UTF-8"),
            ("a wrong type", b"{\"email\":5}", "a field has the wrong type"),
            ("null", b"{\"email\":null}", "a field has the wrong type"),
            (
                "a field twice",
                b"{\"email\":\"a\",\"email\":\"b\"}",
                "a field has the wrong type or occurs twice",
            ),
            ("something after it", b"{} {}", "it is not JSON"),
        ];
        for (name, bytes, expected) in table {
            match parse::<Login>(bytes) {
                Err(ApiError::JsonMalformed(reason)) => {
                    assert!(reason.starts_with(expected), "{name}: {reason}");
                }
                other => panic!("{name}: {other:?}"),
            }
        }
        assert_eq!(parse::<Login>(b"{}").unwrap().email, None);
        assert_eq!(
            parse::<Login>(b" {\"email\":\"ada\",\"more\":[1]} ").unwrap().email.as_deref(),
            Some("ada")
        );
    }

    #[test]
    fn an_error_never_repeats_what_was_sent() {
        let Err(ApiError::JsonMalformed(reason)) = parse::<Login>(b"{\"email\": true, \"x\": \"hunter2\"}")
        else {
            panic!("a wrong type was accepted");
        };
        assert!(!reason.contains("hunter2") && !reason.contains("true"), "{reason}");
    }

    #[test]
    fn the_media_type_is_compared_without_its_parameters_and_case() {
        for good in
            ["application/json", "Application/JSON; charset=UTF-8", "application/json;charset=\"utf-8\""]
        {
            assert!(is_json(good), "{good}");
        }
        for bad in [
            "text/plain",
            "application/jsonp",
            "application/x-www-form-urlencoded",
            "",
            "application/json; charset=utf-16",
        ] {
            assert!(!is_json(bad), "{bad}");
        }
    }
}
