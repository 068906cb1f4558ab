//! `hallpass health`: asks the server of these settings whether it is ready; for a container without other programs.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::Duration;

use super::common::Common;
use super::error::CommandError;
use super::output::print_line;
use crate::server::config::Settings;

/// The longest wait for a connection, and for the answer: the server itself takes two seconds at most.
const TIMEOUT: Duration = Duration::from_secs(5);

pub(super) fn run(common: &Common) -> Result<(), CommandError> {
    print_line(format_args!("{}", ask(&common.settings(None)?)?))
}

/// Asks the server of these settings, and returns what it is.
///
/// # Errors
/// [`CommandError`] says that it is not ready, or that there is none.
pub(super) fn ask(settings: &Settings) -> Result<String, CommandError> {
    let address = reachable(settings.server.bind);
    let failed = |error| CommandError::running(format!("no server answers at {address}: {error}"));
    let mut stream = TcpStream::connect_timeout(&address, TIMEOUT).map_err(failed)?;
    if settings.server.tls_cert.is_some() {
        // Its certificate is for another name than this address.
        return Ok(format!(
            "the server at {address} accepts connections; its health is not asked for by TLS"
        ));
    }
    let limits =
        stream.set_read_timeout(Some(TIMEOUT)).and_then(|()| stream.set_write_timeout(Some(TIMEOUT)));
    limits.map_err(failed)?;
    stream
        .write_all(b"GET /health/ready HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        .map_err(failed)?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).map_err(failed)?;
    match answer.split(' ').nth(1) {
        Some("200") => Ok("ready".to_owned()),
        Some("503") => {
            let body = answer.split("\r\n\r\n").nth(1).unwrap_or_default();
            let message = serde_json::from_str::<serde_json::Value>(body).ok();
            let message = message.as_ref().and_then(|body| body["message"].as_str());
            Err(CommandError::running(message.unwrap_or("not ready")))
        }
        _ => Err(CommandError::running(format!("what answers at {address} is not hallpass"))),
    }
}

/// Returns the address by which a socket is reached from this machine.
fn reachable(mut bind: SocketAddr) -> SocketAddr {
    if bind.ip().is_unspecified() {
        bind.set_ip(match bind.ip() {
            IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    bind
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_on_every_address_is_asked_on_the_loopback_one() {
        for (bind, expected) in
            [("0.0.0.0:80", "127.0.0.1:80"), ("[::]:80", "[::1]:80"), ("192.0.2.1:80", "192.0.2.1:80")]
        {
            assert_eq!(reachable(bind.parse().unwrap()).to_string(), expected);
        }
    }
}
