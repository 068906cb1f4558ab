//! `/` and `/console`: the console. `/client`: the browser client, for the console and any other page.

use actix_web::http::Method;
use actix_web::web::{self, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};

use crate::server::error::Error;
use crate::server::http::ApiError;
use crate::server::http::endpoint::endpoint;
use crate::server::http::pages::File;

/// The Content-Security-Policy of the console: it loads from this server only, and no text can become a
/// script. A QR code is an image in a `data:` URL.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
                      form-action 'none'; base-uri 'none'; frame-ancestors 'none'; \
                      require-trusted-types-for 'script'; trusted-types 'none'";

/// The Content-Security-Policy of the client's files, if a browser opens them as pages: it allows nothing.
const NOTHING: &str = "default-src 'none'; frame-ancestors 'none'";

macro_rules! files {
    ($folder:literal: $($name:literal),* $(,)?) => {
        &[$(($name, include_str!(concat!("../../../../web/", $folder, $name)))),*]
    };
}

const CONSOLE: &[(&str, &str)] = files!("console/": "index.html", "console.css", "icon.svg", "main.js", "admin.js",
    "ask.js", "chart.js", "dom.js", "entry.js", "events.js", "overview.js", "password.js", "profile.js",
    "security.js", "sessions.js", "strength.js", "token.js", "user.js", "users.js");

const CLIENT: &[(&str, &str)] = files!("": "hallpass.js", "hallpass.d.ts");

/// Registers the console.
pub(crate) fn configure(config: &mut ServiceConfig) {
    config
        .service(endpoint("/", [(Method::GET, web::to(index))]))
        .service(endpoint("/console/{file}", [(Method::GET, web::to(file))]));
}

/// Registers the client.
pub(crate) fn configure_client(config: &mut ServiceConfig) {
    config.service(endpoint("/client/{file}", [(Method::GET, web::to(client))]));
}

async fn index(request: HttpRequest) -> Result<HttpResponse, ApiError> {
    Ok(find(CONSOLE, "index.html")?.answer(&request, POLICY))
}

async fn file(request: HttpRequest, name: web::Path<String>) -> Result<HttpResponse, ApiError> {
    Ok(find(CONSOLE, &name)?.answer(&request, POLICY))
}

async fn client(request: HttpRequest, name: web::Path<String>) -> Result<HttpResponse, ApiError> {
    Ok(find(CLIENT, &name)?.answer(&request, NOTHING))
}

fn find(files: &[(&'static str, &'static str)], name: &str) -> Result<File, Error> {
    let found = files.iter().find(|(own, _)| *own == name);
    found.map(|(name, text)| File::own(name, text)).ok_or(Error::NotFound)
}
