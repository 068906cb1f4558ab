//! The socket for plain HTTP, which sends browsers to HTTPS. What carries secrets is never sent on: they have crossed the
//! network in plaintext by then, and whoever sent them has to hear it (OWASP ASVS 5, 4.1.2).

use std::sync::Arc;

use actix_web::http::header::AUTHORIZATION;
use actix_web::http::header::{COOKIE, HOST, LOCATION};
use actix_web::http::{Method, StatusCode};
use actix_web::{HttpRequest, HttpResponse, ResponseError, web};

use crate::http::Failure;

/// The first segments of paths whose requests carry passwords or tokens.
const SECRET: [&str; 3] = ["auth", "user", "admin"];

/// Where to send browsers.
#[derive(Debug, Clone)]
pub(super) struct Target {
    /// `server.public_url`.
    pub public_url: Option<Arc<str>>,
    /// The port of the HTTPS socket, for a server without one.
    pub port: u16,
}

/// Returns the handler of every request.
pub(super) fn handler(target: Target) -> actix_web::Route {
    web::to(move |request: HttpRequest| std::future::ready(answer(&request, &target)))
}

/// A request that is not sent on.
#[derive(Debug, thiserror::Error)]
#[error("a request by plain HTTP was refused")]
struct Refused(StatusCode, &'static str, &'static str);

impl ResponseError for Refused {
    fn error_response(&self) -> HttpResponse {
        Failure::new(self.0, self.1, self.2).response()
    }
}

fn answer(request: &HttpRequest, target: &Target) -> Result<HttpResponse, Refused> {
    let headers = request.headers();
    let has_secret =
        is_secret(request.path()) || headers.contains_key(AUTHORIZATION) || headers.contains_key(COOKIE);
    if has_secret || !matches!(*request.method(), Method::GET | Method::HEAD) {
        return Err(Refused(
            StatusCode::FORBIDDEN,
            "https_required",
            "use https; whatever password or token this request had has crossed the network in plaintext: replace it",
        ));
    }
    let base = match &target.public_url {
        Some(url) => url.trim_end_matches('/').to_owned(),
        None => {
            let host = headers.get(HOST).and_then(|host| host.to_str().ok()).and_then(host_of);
            let host = host.ok_or(Refused(
                StatusCode::BAD_REQUEST,
                "request_invalid",
                "the Host header does not name a host",
            ))?;
            if target.port == 443 {
                format!("https://{host}")
            } else {
                format!("https://{host}:{}", target.port)
            }
        }
    };
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    // A path like //other.example would lead to another host.
    let path = format!("/{}", path.trim_start_matches(['/', '\\']));
    Ok(HttpResponse::PermanentRedirect().insert_header((LOCATION, format!("{base}{path}"))).finish())
}

/// Tells whether a path, with its percent-encoding undone, is one whose requests carry secrets.
fn is_secret(path: &str) -> bool {
    let first = path.split(['/', '\\']).find(|segment| !segment.is_empty()).unwrap_or_default();
    // Whatever is encoded at the start of a path is there to hide it.
    first.contains('%') || SECRET.iter().any(|secret| secret.eq_ignore_ascii_case(first))
}

/// Returns a Host header without its port, if it is a host's name or address.
fn host_of(header: &str) -> Option<&str> {
    let host = match header.strip_prefix('[') {
        Some(rest) => &header[..rest.find(']')? + 2],
        None => header.split(':').next()?,
    };
    let is_host = |byte: u8| byte.is_ascii_alphanumeric() || b"-.[]:".contains(&byte);
    (!host.is_empty() && host.bytes().all(is_host)).then_some(host)
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    fn target(public_url: Option<&str>) -> Target {
        Target { public_url: public_url.map(Into::into), port: 8443 }
    }

    fn asked(request: TestRequest, public_url: Option<&str>) -> Result<String, u16> {
        let answer = answer(&request.to_http_request(), &target(public_url));
        answer
            .map_err(|refused| refused.0.as_u16())
            .map(|response| response.headers().get(LOCATION).unwrap().to_str().unwrap().to_owned())
    }

    #[test]
    fn a_browser_is_sent_to_the_same_page_by_https() {
        let get = |host: &str, path: &str| TestRequest::get().uri(path).insert_header((HOST, host));
        for (host, public_url, path, expected) in [
            ("id.example", None, "/", "https://id.example:8443/"),
            ("id.example:80", None, "/docs?x=1", "https://id.example:8443/docs?x=1"),
            ("[2001:db8::1]:80", None, "/", "https://[2001:db8::1]:8443/"),
            ("forged.example", Some("https://id.example/"), "/docs", "https://id.example/docs"),
            (
                "id.example",
                Some("https://id.example"),
                "//forged.example/",
                "https://id.example/forged.example/",
            ),
        ] {
            assert_eq!(asked(get(host, path), public_url).as_deref(), Ok(expected), "{host} {path}");
        }
        assert_eq!(asked(get("a b", "/"), None), Err(400));
    }

    #[test]
    fn what_carries_a_secret_is_refused_instead() {
        let get = |path: &str| TestRequest::get().uri(path).insert_header((HOST, "id.example"));
        for path in
            ["/auth/login", "/user/", "/admin/users", "//auth/login", "/AUTH/login", "/%61uth/login", "/user"]
        {
            assert_eq!(asked(get(path), None), Err(403), "{path}");
        }
        assert_eq!(asked(get("/").insert_header((AUTHORIZATION, "Bearer x")), None), Err(403));
        assert_eq!(asked(get("/").insert_header((COOKIE, "__Host-hallpass=x")), None), Err(403));
        assert_eq!(asked(TestRequest::post().uri("/").insert_header((HOST, "id.example")), None), Err(403));
    }
}
