//! The party that credentials are made for, and its pages.

use std::net::IpAddr;

/// The party that credentials are made for, and the pages that may use them.
#[derive(Debug, Clone)]
pub(crate) struct RelyingParty {
    /// The RP ID: a host name.
    pub id: String,
    /// The origins of its pages. Empty for `localhost`, whose pages may be on any port.
    pub origins: Vec<String>,
}

impl RelyingParty {
    /// Returns the party of the settings `passkey.rp_id` and `passkey.origins`. Without them it is that of
    /// `server.public_url`, if that is `https://` and a name, or else `localhost`.
    ///
    /// # Errors
    /// What is wrong with them.
    pub(crate) fn new(
        id: Option<&str>,
        origins: &[String],
        public_url: Option<&str>,
    ) -> Result<Self, String> {
        let Some(id) = id else {
            if let Some(origin) = origins.first() {
                return Err(format!("passkey.origins has {origin}, and passkey.rp_id is not set: set both"));
            }
            // A page without TLS, or by its address, has no passkeys.
            let page = public_url.map(|url| url.trim_end_matches('/'));
            let page =
                page.filter(|url| url.starts_with("https://") && host_of(url).parse::<IpAddr>().is_err());
            return match page {
                Some(page) => Self::new(Some(host_of(page)), &[page.to_owned()], None),
                None => Ok(Self { id: "localhost".to_owned(), origins: vec![] }),
            };
        };
        for origin in origins {
            let host = host_of(origin);
            if host != id && !host.ends_with(&format!(".{id}")) {
                return Err(format!(
                    "passkey.origins has {origin}, and passkey.rp_id is {id}: browsers accept pages of that host and of its \
                     subdomains alone"
                ));
            }
            if origin.starts_with("http://") && host != "localhost" && !host.ends_with(".localhost") {
                return Err(format!(
                    "passkey.origins has {origin}: browsers offer passkeys over https, and over http on localhost alone"
                ));
            }
        }
        let is_local = id == "localhost";
        let default = || if is_local { vec![] } else { vec![format!("https://{id}")] };
        let origins = if origins.is_empty() { default() } else { origins.to_vec() };
        Ok(Self { id: id.to_owned(), origins })
    }

    /// Tells whether a page of this origin may use the credentials.
    pub(super) fn accepts(&self, origin: &str) -> bool {
        if self.origins.is_empty() {
            let rest = origin.strip_prefix("http://localhost");
            let is_port = |port: &str| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
            return rest.is_some_and(|rest| rest.is_empty() || rest.strip_prefix(':').is_some_and(is_port));
        }
        self.origins.iter().any(|known| known == origin)
    }
}

/// Returns the host of an origin, without its port.
fn host_of(origin: &str) -> &str {
    let host = origin.strip_prefix("https://").or_else(|| origin.strip_prefix("http://")).unwrap_or_default();
    let port = host.rsplit_once(':').filter(|(_, port)| port.bytes().all(|byte| byte.is_ascii_digit()));
    port.map_or(host, |(host, _)| host).trim_start_matches('[').trim_end_matches(']')
}
