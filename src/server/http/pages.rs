//! Files that browsers load, compiled in and compressed: their media types, their Content-Security-Policy, and
//! conditional requests.

use std::borrow::Cow;
use std::sync::OnceLock;

use actix_web::http::header::{
    AcceptEncoding, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, Encoding,
    EntityTag, Header, HeaderName, IfNoneMatch, REFERRER_POLICY, VARY, X_CONTENT_TYPE_OPTIONS,
};
use actix_web::{HttpRequest, HttpResponse};
use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::server::error::Error;

const CROSS_ORIGIN_OPENER_POLICY: HeaderName = HeaderName::from_static("cross-origin-opener-policy");

/// The files of `web/`, as `build.rs` has compressed them.
pub(super) mod web {
    use super::Compiled;

    include!(concat!(env!("OUT_DIR"), "/web.rs"));
}

/// A file of `web/`: its name, its text, and the same compressed.
pub(super) struct Compiled {
    pub(super) name: &'static str,
    text: &'static [u8],
    gzip: &'static [u8],
    brotli: &'static [u8],
    tag: OnceLock<String>,
}

impl Compiled {
    const fn new(
        name: &'static str,
        text: &'static [u8],
        gzip: &'static [u8],
        brotli: &'static [u8],
    ) -> Self {
        Self { name, text, gzip, brotli, tag: OnceLock::new() }
    }

    /// Returns the file of this name in a folder.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub(super) fn find(folder: &'static [Self], name: &str) -> Result<&'static Self, Error> {
        folder.iter().find(|file| file.name == name).ok_or(Error::NotFound)
    }

    /// Returns the answer to `request`, compressed if the browser accepts that. `policy` is the file's
    /// Content-Security-Policy.
    pub(super) fn answer(&'static self, request: &HttpRequest, policy: &'static str) -> HttpResponse {
        let encodings = [Encoding::brotli(), Encoding::gzip(), Encoding::identity()];
        let accepted = AcceptEncoding::parse(request).ok();
        let chosen = accepted.and_then(|accepted| accepted.negotiate(encodings.iter()));
        let (encoding, bytes) = match chosen {
            Some(encoding) if encoding == Encoding::brotli() => (Some("br"), self.brotli),
            Some(encoding) if encoding == Encoding::gzip() => (Some("gzip"), self.gzip),
            _ => (None, self.text),
        };
        answer(request, &Sent { name: self.name, bytes, encoding, tag: hash(&self.tag, self.text), policy })
    }
}

/// A file of a dependency, which is compressed there.
pub(super) struct Packaged {
    name: &'static str,
    bytes: Cow<'static, [u8]>,
    is_gzipped: bool,
    tag: OnceLock<String>,
}

impl Packaged {
    pub(super) fn new(name: &'static str, bytes: Cow<'static, [u8]>, is_gzipped: bool) -> Self {
        Self { name, bytes, is_gzipped, tag: OnceLock::new() }
    }

    /// Returns the answer to `request`, as [`Compiled::answer`] does.
    pub(super) fn answer(&'static self, request: &HttpRequest, policy: &'static str) -> HttpResponse {
        let encoding = self.is_gzipped.then_some("gzip");
        let tag = hash(&self.tag, &self.bytes);
        answer(request, &Sent { name: self.name, bytes: &self.bytes, encoding, tag, policy })
    }
}

/// Returns the hash of a file, which is computed at its first request.
fn hash<'a>(known: &'a OnceLock<String>, bytes: &[u8]) -> &'a str {
    known.get_or_init(|| URL_SAFE_NO_PAD.encode(&digest(&SHA256, bytes).as_ref()[..16]))
}

/// The representation of a file that is sent.
struct Sent<'a> {
    name: &'static str,
    bytes: &'static [u8],
    encoding: Option<&'static str>,
    tag: &'a str,
    policy: &'static str,
}

/// Returns the answer: 304 if the browser has the file already (RFC 9110 §13.1.2).
fn answer(request: &HttpRequest, sent: &Sent<'_>) -> HttpResponse {
    // Each encoding is a representation of its own, with a tag of its own (RFC 9110 §8.8.3.3).
    let tag = match sent.encoding {
        Some(encoding) => format!("{}-{encoding}", sent.tag),
        None => sent.tag.to_owned(),
    };
    let tag = EntityTag::new_strong(tag);
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
        .insert_header((VARY, "accept-encoding"))
        .insert_header((CONTENT_SECURITY_POLICY, sent.policy))
        .insert_header((CROSS_ORIGIN_OPENER_POLICY, "same-origin"))
        .insert_header((REFERRER_POLICY, "no-referrer"))
        .insert_header((X_CONTENT_TYPE_OPTIONS, "nosniff"));
    if is_known {
        return response.finish();
    }
    if let Some(encoding) = sent.encoding {
        response.insert_header((CONTENT_ENCODING, encoding));
    }
    response.insert_header((CONTENT_TYPE, media_type(sent.name))).body(sent.bytes)
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
