//! Warnings at start about settings that are accepted but risky.

use super::Settings;

/// The lowest bcrypt cost without a warning (OWASP Password Storage Cheat Sheet).
const LEAST_COST: u32 = 10;

impl Settings {
    /// Returns what to tell the operator of a server that starts: one sentence for each risky setting.
    pub fn warnings(&self) -> Vec<String> {
        let server = &self.server;
        let all = server.trusted_proxies.iter().find(|network| network.prefix_len() == 0);
        let is_open = server.tls_cert.is_none()
            && !server.bind.ip().to_canonical().is_loopback()
            && server.trusted_proxies.is_empty();
        let cost = self.password.bcrypt_cost;
        let warnings = [
            (cost < LEAST_COST).then(|| {
                format!(
                    "password.bcrypt_cost is {cost}: with stolen hashes, an attacker can try {} times as many passwords as \
                     with the default, 12; {LEAST_COST} or more is recommended",
                    1_u32 << (12 - cost)
                )
            }),
            (!self.throttle.on).then(|| {
                "throttle.on is false: passwords can be guessed as fast as they are hashed".to_owned()
            }),
            server.cors_origins.iter().any(|origin| origin == "*").then(|| {
                "server.cors_origins is *: the pages of every site can use this server in their visitors' browsers; \
                 list the origins of your pages"
                    .to_owned()
            }),
            all.map(|network| {
                format!(
                    "server.trusted_proxies has {network}: every client can forge its IP address in rate limits and events; list \
                     only your proxies"
                )
            }),
            (server.http_redirect_bind.is_some() && server.tls_cert.is_none()).then(|| {
                "server.http_redirect_bind sends browsers to HTTPS, and this server has no TLS: set server.tls_cert and \
                 server.tls_key, unless a proxy before it has"
                    .to_owned()
            }),
            is_open.then(|| {
                format!(
                    "server.bind is {}, without TLS and without server.trusted_proxies: passwords and tokens cross the network \
                     in plaintext; put a reverse proxy with TLS in front of it and list it there, or bind the loopback address",
                    server.bind
                )
            }),
        ];
        warnings.into_iter().flatten().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_and_a_server_behind_a_proxy_give_no_warning() {
        assert_eq!(Settings::default().warnings(), Vec::<String>::new());
        let mut settings = Settings::default();
        settings.server.bind = "0.0.0.0:8080".parse().unwrap();
        settings.server.trusted_proxies = vec!["10.0.0.2/32".parse().unwrap()];
        assert_eq!(settings.warnings(), Vec::<String>::new());
        settings.server.trusted_proxies.clear();
        settings.server.tls_cert = Some("cert.pem".into());
        assert_eq!(settings.warnings(), Vec::<String>::new(), "with TLS");
    }

    #[test]
    fn each_risky_setting_is_named_with_its_value() {
        type Case<'a> = (&'a str, fn(&mut Settings), &'a str);
        let table: &[Case<'_>] = &[
            ("a low cost", |settings| settings.password.bcrypt_cost = 9, "password.bcrypt_cost is 9: "),
            ("no limits", |settings| settings.throttle.on = false, "throttle.on is false"),
            ("any origin", |settings| settings.server.cors_origins = vec!["*".into()], "cors_origins is *"),
            (
                "every proxy",
                |settings| settings.server.trusted_proxies = vec!["::/0".parse().unwrap()],
                "trusted_proxies has ::/0",
            ),
            (
                "a redirect to nowhere",
                |settings| settings.server.http_redirect_bind = Some("127.0.0.1:80".parse().unwrap()),
                "this server has no TLS",
            ),
            (
                "a public address",
                |settings| settings.server.bind = "0.0.0.0:8080".parse().unwrap(),
                "server.bind is 0.0.0.0:8080, without TLS",
            ),
        ];
        for (name, change, expected) in table {
            let mut settings = Settings::default();
            change(&mut settings);
            let warnings = settings.warnings();
            assert!(matches!(&warnings[..], [one] if one.contains(expected)), "{name}: {warnings:?}");
        }
    }
}
