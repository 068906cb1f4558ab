//! Files that browsers load, compiled in: their media types, their Content-Security-Policy, and conditional requests.

use std::borrow::Cow;

use actix_web::http::header::{
    CACHE_CONTROL, CONTENT_ENCODING, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, EntityTag, Header,
    HeaderName, IfNoneMatch, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use actix_web::{HttpRequest, HttpResponse};
use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

const CROSS_ORIGIN_OPENER_POLICY: HeaderName = HeaderName::from_static("cross-origin-opener-policy");

/// A file, by the last segment of its path.
pub(super) struct File {
    name: String,
    bytes: Cow<'static, [u8]>,
    is_gzipped: bool,
}

impl File {
    /// A file from `web/`.
    pub(crate) fn own(name: &str, text: &'static str) -> Self {
        Self { name: name.to_owned(), bytes: Cow::Borrowed(text.as_bytes()), is_gzipped: false }
    }

    /// A file from a dependency.
    pub(crate) fn packaged(name: &str, bytes: Cow<'static, [u8]>, is_gzipped: bool) -> Self {
        Self { name: name.to_owned(), bytes, is_gzipped }
    }

    /// Returns the answer to `request`: 304 if the browser has the file already (RFC 9110 §13.1.2). `policy` is its
    /// Content-Security-Policy.
    pub(crate) fn answer(self, request: &HttpRequest, policy: &'static str) -> HttpResponse {
        let sum = digest(&SHA256, &self.bytes);
        let tag = EntityTag::new_strong(URL_SAFE_NO_PAD.encode(&sum.as_ref()[..16]));
        let is_known = match IfNoneMatch::parse(request) {
            Ok(IfNoneMatch::Any) => true,
            Ok(IfNoneMatch::Items(tags)) => tags.iter().any(|known| known.weak_eq(&tag)),
            Err(_) => false,
        };
        let mut response = if is_known { HttpResponse::NotModified() } else { HttpResponse::Ok() };
        response
            // Another version of the server may have another file of this name, so a cache revalidates.
            .insert_header((CACHE_CONTROL, "no-cache"))
            .insert_header((ETAG, tag.to_string()))
            .insert_header((CONTENT_SECURITY_POLICY, policy))
            .insert_header((CROSS_ORIGIN_OPENER_POLICY, "same-origin"))
            .insert_header((REFERRER_POLICY, "no-referrer"))
            .insert_header((X_CONTENT_TYPE_OPTIONS, "nosniff"));
        if is_known {
            return response.finish();
        }
        if self.is_gzipped {
            response.insert_header((CONTENT_ENCODING, "gzip"));
        }
        response.insert_header((CONTENT_TYPE, media_type(&self.name))).body(self.bytes.into_owned())
    }
}

fn media_type(name: &str) -> &'static str {
    match name.rsplit_once('.').map(|(_, ending)| ending) {
        Some("html") => "text/html; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("svg") => "image/svg+xml; charset=utf-8",
        _ => "text/plain; charset=utf-8",
    }
}
