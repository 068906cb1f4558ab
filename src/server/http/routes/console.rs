//! `/` and `/console`: the console, with the operator's name, logo and colour. `/client`: the browser client, for the
//! console and any other page.

use std::path::Path;
use std::sync::Arc;

use actix_web::http::Method;
use actix_web::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use actix_web::web::{self, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};
use serde_json::json;

use crate::server::config;
use crate::server::error::Error;
use crate::server::http::ApiError;
use crate::server::http::endpoint::endpoint;
use crate::server::http::pages::{Compiled, web as web_files};

/// The Content-Security-Policy of the console: it loads from this server only, and no text can become a script. A QR
/// code is an image in a `data:` URL.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
                      form-action 'none'; base-uri 'none'; frame-ancestors 'none'; \
                      require-trusted-types-for 'script'; trusted-types 'none'";

/// The Content-Security-Policy of the client's files, if a browser opens them as pages: it allows nothing.
const NOTHING: &str = "default-src 'none'; frame-ancestors 'none'";

/// The Content-Security-Policy of the logo, whose scripts never run, if a browser opens it as a page.
const LOGO_POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; sandbox; frame-ancestors 'none'";

/// The largest logo, in bytes.
const MAX_LOGO_BYTES: u64 = 262_144;

/// The settings that the console shows.
#[derive(Debug)]
pub(in crate::server) struct Look {
    json: String,
    logo: Option<(&'static str, web::Bytes)>,
}

impl Look {
    /// Reads the logo, which is sent as it is now until the server stops.
    ///
    /// # Errors
    /// The reason, with what is accepted.
    pub(in crate::server) fn read(settings: &config::Settings) -> Result<Self, String> {
        let has_mail = settings.mail.url.is_some();
        let link = has_mail && settings.link.on;
        let settings = &settings.console;
        let logo = settings.logo.as_deref().map(read_logo).transpose()?;
        let look = json!({
            "name": settings.name,
            "accent": settings.accent,
            "logo": logo.is_some(),
            "continue_origins": settings.continue_origins,
            "mail": has_mail,
            "link": link,
        });
        Ok(Self { json: look.to_string(), logo })
    }
}

fn read_logo(path: &Path) -> Result<(&'static str, web::Bytes), String> {
    let name = path.display();
    let media_type = match path.extension().and_then(|ending| ending.to_str()) {
        Some("svg") => "image/svg+xml; charset=utf-8",
        Some("png") => "image/png",
        Some("webp") => "image/webp",
        _ => return Err(format!("{name} is not .svg, .png or .webp")),
    };
    let unreadable = |error: std::io::Error| format!("{name} cannot be read: {error}");
    let size = std::fs::metadata(path).map_err(unreadable)?.len();
    if size > MAX_LOGO_BYTES {
        return Err(format!("{name} has {size} bytes; at most {MAX_LOGO_BYTES} are accepted"));
    }
    Ok((media_type, std::fs::read(path).map_err(unreadable)?.into()))
}

/// Registers the console.
pub(in crate::server) fn configure(config: &mut ServiceConfig, look: Arc<Look>) {
    let look = web::Data::from(look);
    config
        .service(endpoint("/", [(Method::GET, web::to(index))]))
        .service(endpoint("/console/look.json", [(Method::GET, web::to(show_look))]).app_data(look.clone()))
        .service(endpoint("/console/logo", [(Method::GET, web::to(logo))]).app_data(look))
        .service(endpoint("/console/{file}", [(Method::GET, web::to(file))]));
}

async fn show_look(look: web::Data<Look>) -> HttpResponse {
    HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, "application/json"))
        // It changes with the settings alone, but a browser must not show an old name after that.
        .insert_header((CACHE_CONTROL, "no-cache"))
        .body(look.json.clone())
}

async fn logo(look: web::Data<Look>) -> Result<HttpResponse, ApiError> {
    let (media_type, bytes) = look.logo.as_ref().ok_or(Error::NotFound)?;
    Ok(HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, *media_type))
        .insert_header((CACHE_CONTROL, "no-cache"))
        .insert_header((CONTENT_SECURITY_POLICY, LOGO_POLICY))
        .body(bytes.clone()))
}

/// Registers the client.
pub(crate) fn configure_client(config: &mut ServiceConfig) {
    config.service(endpoint("/client/{file}", [(Method::GET, web::to(client))]));
}

async fn index(request: HttpRequest) -> Result<HttpResponse, ApiError> {
    Ok(Compiled::find(&web_files::CONSOLE, "index.html")?.answer(&request, POLICY))
}

async fn file(request: HttpRequest, name: web::Path<String>) -> Result<HttpResponse, ApiError> {
    Ok(Compiled::find(&web_files::CONSOLE, &name)?.answer(&request, POLICY))
}

async fn client(request: HttpRequest, name: web::Path<String>) -> Result<HttpResponse, ApiError> {
    Ok(Compiled::find(&web_files::CLIENT, &name)?.answer(&request, NOTHING))
}
