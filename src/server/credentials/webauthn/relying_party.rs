//! The party that credentials are made for, and its pages.

use std::net::IpAddr;

use crate::server::config::Settings;

/// The RP ID where there is no name with a certificate. Browsers trust its pages over plain HTTP.
const LOCALHOST: &str = "localhost";

/// The party that credentials are made for, and the pages that may use them.
#[derive(Debug, Clone)]
pub(crate) struct RelyingParty {
    /// The RP ID: a host name.
    pub id: String,
    /// The origins of its pages. Empty for `localhost`, whose pages may be on any port.
    pub origins: Vec<String>,
}

/// The reason why browsers would not accept the settings of passkeys, and what they accept.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct PasskeyError(String);

impl RelyingParty {
    /// Returns the party of the settings `passkey.rp_id` and `passkey.origins`. Without them, it is that of the page at
    /// `server.public_url`; or `localhost`, if that page has no passkeys.
    ///
    /// # Errors
    /// What is wrong with them.
    pub(crate) fn new(settings: &Settings) -> Result<Self, PasskeyError> {
        let page = settings.server.public_url.as_deref().map(origin_of);
        let page = page.as_deref().filter(|page| has_passkeys(page));
        let id = settings.passkey.rp_id.as_deref().or(page.map(host_of)).unwrap_or(LOCALHOST);
        let mut origins: Vec<_> = settings.passkey.origins.iter().map(|origin| origin_of(origin)).collect();
        for origin in &origins {
            check(origin, id)?;
        }
        if origins.is_empty() && id != LOCALHOST {
            let page = page.filter(|page| is_below(host_of(page), id));
            origins.push(page.map_or_else(|| format!("https://{id}"), str::to_owned));
        }
        Ok(Self { id: id.to_owned(), origins })
    }

    /// Tells whether a page of this origin may use the credentials.
    pub(super) fn accepts(&self, origin: &str) -> bool {
        if self.origins.is_empty() {
            let rest = ["http://", "https://"].iter().find_map(|scheme| origin.strip_prefix(scheme));
            let port = rest.and_then(|rest| rest.strip_prefix(LOCALHOST));
            let is_port = |port: &str| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
            return port.is_some_and(|port| port.is_empty() || port.strip_prefix(':').is_some_and(is_port));
        }
        self.origins.iter().any(|known| known == origin)
    }
}

/// Checks the settings of passkeys. Returns a warning where the page at `server.public_url` will have none.
///
/// # Errors
/// What is wrong with `passkey.rp_id` and `passkey.origins`.
pub(crate) fn check_passkeys(settings: &Settings) -> Result<Option<String>, PasskeyError> {
    RelyingParty::new(settings)?;
    let page = settings.server.public_url.as_deref().map(origin_of).filter(|page| !has_passkeys(page));
    let page =
        page.filter(|page| !host_of(page).parse::<IpAddr>().is_ok_and(|address| address.is_loopback()));
    Ok(page.map(|page| {
        format!(
            "server.public_url is {page}, where browsers offer no passkeys: they do over https for a host name, and over \
             http on localhost alone"
        )
    }))
}

/// Checks that browsers let pages of `origin` use passkeys of `id`.
fn check(origin: &str, id: &str) -> Result<(), PasskeyError> {
    let host = host_of(origin);
    let reason = if host.parse::<IpAddr>().is_ok() {
        "browsers make passkeys for names, not for IP addresses; on this computer, http://localhost has one"
            .into()
    } else if !is_below(host, id) {
        format!("browsers let pages of {id} and of its subdomains alone use passkeys of {id} (passkey.rp_id)")
    } else if !has_passkeys(origin) {
        "browsers offer passkeys over https, and over http on localhost alone".into()
    } else {
        return Ok(());
    };
    Err(PasskeyError(format!("passkey.origins has {origin}: {reason}")))
}

/// Tells whether browsers offer passkeys on pages of this origin.
fn has_passkeys(origin: &str) -> bool {
    let host = host_of(origin);
    let is_secure = origin.starts_with("https://") || is_below(host, LOCALHOST);
    is_secure && host.parse::<IpAddr>().is_err()
}

/// Tells whether `host` is `name`, or a subdomain of it.
fn is_below(host: &str, name: &str) -> bool {
    host.strip_suffix(name).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

/// Returns the origin as browsers write it: without the port that its scheme has anyway.
fn origin_of(url: &str) -> String {
    let url = url.trim_end_matches('/');
    let port = if url.starts_with("https://") { ":443" } else { ":80" };
    url.strip_suffix(port).unwrap_or(url).to_owned()
}

/// Returns the host of an origin, without its port.
fn host_of(origin: &str) -> &str {
    let host = origin.strip_prefix("https://").or_else(|| origin.strip_prefix("http://")).unwrap_or_default();
    let port = host.rsplit_once(':').filter(|(_, port)| port.bytes().all(|byte| byte.is_ascii_digit()));
    port.map_or(host, |(host, _)| host).trim_start_matches('[').trim_end_matches(']')
}
