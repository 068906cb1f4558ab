//! The OpenAPI document as a Postman collection (v2.1): each request once, and a run of checks.
//!
//! Requests, bodies, texts, examples and expected answers come from the document. This file has only the order of the
//! checks, and the requests that are wrong on purpose.

use serde_json::{Value, json};

use super::document::{entries, examples, list, operations, own_body};

/// Runs before each request: refreshes the tokens if the access token has expired.
const REFRESH_TOKENS: &str = r"
const expires = Number(pm.collectionVariables.get('token_expires_at'));
const refresh_token = pm.collectionVariables.get('refresh_token');
if (refresh_token && expires && Date.now() >= expires && !pm.request.url.getPath().startsWith('/auth/')) {
  pm.sendRequest({
    url: pm.variables.get('base_url') + '/auth/refresh',
    method: 'POST',
    header: { 'Content-Type': 'application/json' },
    body: { mode: 'raw', raw: JSON.stringify({ refresh_token }) },
  }, (error, answer) => {
    const next = !error && answer.code === 200 ? answer.json().data : {};
    pm.collectionVariables.set('token', next.token || '');
    pm.collectionVariables.set('refresh_token', next.refresh_token || '');
    pm.collectionVariables.set('token_expires_at', next.token ? String(Date.now() + next.expires_in * 1000) : '');
  });
}";

/// Runs after each answer: checks what every answer must have, and stores its tokens.
const KEEP_TOKENS: &str = r"
pm.test('has a request id', () => pm.response.to.have.header('X-Request-Id'));
const kept = (pm.response.headers.get('Content-Type') || '').startsWith('application/json') ? pm.response.json() : {};
if (kept.data && kept.data.token) {
  pm.collectionVariables.set('token', kept.data.token);
  pm.collectionVariables.set('refresh_token', kept.data.refresh_token || '');
  pm.collectionVariables.set('token_expires_at', String(Date.now() + kept.data.expires_in * 1000));
}
if (pm.response.code === 401) {
  pm.test('has a challenge', () => pm.expect(pm.response.headers.get('WWW-Authenticate')).to.match(/^Bearer realm=/));
}";

/// Sets `totp_code` to the code of `totp_secret`, as an authenticator app computes it (RFC 6238); `totp_ahead` steps from now.
const TOTP: &str = r"
const crypto = require('crypto-js');
const letters = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567';
const bits = [...pm.collectionVariables.get('totp_secret')].map((letter) => letters.indexOf(letter).toString(2).padStart(5, '0')).join('');
const key = bits.match(/.{8}/g).map((byte) => parseInt(byte, 2).toString(16).padStart(2, '0')).join('');
const step = Math.floor(Date.now() / 30000) + Number(pm.collectionVariables.get('totp_ahead') || 0);
const message = crypto.enc.Hex.parse(step.toString(16).padStart(16, '0'));
const hash = crypto.HmacSHA1(message, crypto.enc.Hex.parse(key)).toString();
const offset = parseInt(hash.slice(-1), 16) * 2;
const number = parseInt(hash.slice(offset, offset + 8), 16) & 0x7fffffff;
pm.collectionVariables.set('totp_code', String(number % 1000000).padStart(6, '0'));";

const ABOUT: &str = "\
Generated from the server's OpenAPI document by `hallpass openapi --postman`.

**Requests** has each request once: set the variables `email` and `password` of this collection, send *Sign in*, then any \
other. An environment may set `base_url`, `email` and `password` too; it counts more. **Checks** tests an account from \
registration to deletion. It registers and deletes the account itself, and also sends requests that must fail.";

/// The variables of the collection, with which it works alone: name, value and meaning.
const VARIABLES: &[(&str, &str, &str)] = &[
    ("base_url", "http://127.0.0.1:8080", "where the server is"),
    ("email", "ada@example.com", "the address of your account"),
    ("password", "", "its password; set the current value only, which stays on your machine"),
    ("new_password", "", "the password that Change the password sets"),
    ("token", "", "the access token, kept by the sign-in"),
    ("refresh_token", "", "the refresh token, kept by the sign-in"),
    ("mail_token", "", "the token of a link in a mail"),
    ("token_expires_at", "", "when the access token expires, ms since 1970"),
];

/// The collection.
pub(super) fn collection(document: &Value) -> Value {
    json!({
        "info": {
            "name": "Hallpass",
            "description": ABOUT,
            "version": document["info"]["version"],
            "schema": "https://schema.getpostman.com/json/collection/v2.1.0/collection.json",
        },
        "auth": bearer("{{token}}"),
        "variable": VARIABLES.iter().map(|(key, value, about)| {
            json!({"key": key, "value": value, "type": "string", "description": about})
        }).collect::<Vec<_>>(),
        "event": [event("prerequest", REFRESH_TOKENS), event("test", KEEP_TOKENS)],
        "item": [
            {"name": "Requests", "item": requests(document)},
            {"name": "Checks", "item": checks(document)},
        ],
    })
}

/// Returns each request once, by chapter, with an example of each answer.
fn requests(document: &Value) -> Vec<Value> {
    let mut folders = Vec::new();
    for tag in list(&document["tags"]) {
        let mut items = Vec::new();
        for (chapter, path, method, operation) in operations(document) {
            if tag["name"] != chapter {
                continue;
            }
            let body = examples(&operation["requestBody"]["content"]["application/json"]).next();
            let request = request(
                path,
                method,
                operation,
                body.map(|(_, example)| format!("{:#}", own_body(path, method, example))),
            );
            let statuses: Vec<_> = entries(&operation["responses"]).map(|(status, _)| status).collect();
            let test = format!(
                "pm.test('is documented', () => pm.expect([{}]).to.include(pm.response.code));",
                statuses.join(", ")
            );
            items.push(json!({
                "name": operation["summary"],
                "request": request,
                "response": saved(operation),
                "event": [event("test", &test)],
            }));
        }
        folders.push(json!({"name": tag["name"], "description": tag["description"], "item": items}));
    }
    folders
}

fn request(path: &str, method: &str, operation: &Value, body: Option<String>) -> Value {
    let mut url = json!({
        "raw": format!("{{{{base_url}}}}{}", path.replace('{', ":").replace('}', "")),
        "host": ["{{base_url}}"],
        "path": path[1..].split('/').map(|part| part.replace('{', ":").replace('}', "")).collect::<Vec<_>>(),
    });
    let variables: Vec<_> = list(&operation["parameters"])
        .filter(|parameter| parameter["in"] == "path")
        .map(|parameter| json!({"key": parameter["name"], "value": parameter["example"]}))
        .collect();
    if !variables.is_empty() {
        url["variable"] = json!(variables);
    }
    let mut request = json!({
        "method": method.to_uppercase(),
        "url": url,
        "header": [],
        "description": operation["description"],
    });
    if list(&operation["security"]).all(|scheme| scheme.get("hallpass").is_none()) {
        request["auth"] = json!({"type": "noauth"});
    }
    if let Some(body) = body {
        request["header"] = json!([{"key": "Content-Type", "value": "application/json"}]);
        request["body"] = json!({"mode": "raw", "raw": body, "options": {"raw": {"language": "json"}}});
    }
    request
}

/// Returns the document's examples as saved answers.
fn saved(operation: &Value) -> Vec<Value> {
    let mut saved = Vec::new();
    for (status, response) in entries(&operation["responses"]) {
        let json = &response["content"]["application/json"];
        let headers: Vec<_> = entries(&response["headers"])
            .map(|(name, header)| json!({"key": name, "value": header["example"]}))
            .collect();
        let bodies: Vec<_> = examples(json).map(|(name, body)| (name, format!("{body:#}"))).collect();
        let bodies = if bodies.is_empty() { vec![("", String::new())] } else { bodies };
        for (name, body) in bodies {
            saved.push(json!({
                "name": format!("{status} {name}").trim_end(),
                "code": status.parse::<u16>().unwrap_or_default(),
                "status": status,
                "header": headers,
                "body": body,
                "_postman_previewlanguage": "json",
            }));
        }
    }
    saved
}

/// One step of the checks.
struct Check {
    name: &'static str,
    method: &'static str,
    path: &'static str,
    status: u16,
    /// The expected `error`; empty for a success.
    error: &'static str,
    /// The body as it is sent; empty for none.
    body: &'static str,
    /// The media type, if it is not JSON.
    media_type: &'static str,
    headers: &'static [(&'static str, &'static str)],
    /// The token, if it is not the stored one; `-` for none.
    token: &'static str,
    /// A script to run before the request, and one after the answer.
    before: &'static str,
    after: &'static str,
}

const LOGIN: &str = r#"{"email": "{{check_email}}", "password": "{{check_password}}"}"#;
const CONFIRM: &str = r#"{"password": "{{check_password}}"}"#;
const CSRF_HEADER: &[(&str, &str)] = &[("X-Hallpass", "1")];
const UNKNOWN_LINK: &str = r#"{"token": "none of ours"}"#;
const REFRESH: &str = r#"{"refresh_token": "{{refresh_token}}"}"#;

#[rustfmt::skip]
const CHECKS: &[(&str, &[Check])] = &[
    ("Registration", &[
        Check { name: "Register", method: "post", path: "/auth/register", status: 201,
            body: r#"{"email": "{{check_email}}", "password": "{{check_password}}", "name": "Ada"}"#,
            before: "pm.collectionVariables.set('check_email', `check-${Date.now()}@example.com`);\n\
                     pm.collectionVariables.set('check_password', 'correct horse battery');",
            after: "pm.test('says where the user is', () => pm.response.to.have.header('Location', '/user/'));",
            ..NONE },
        Check { name: "Register the same address again", method: "post", path: "/auth/register", status: 409,
            error: "email_taken", body: LOGIN, ..NONE },
        Check { name: "Register with a common password", method: "post", path: "/auth/register", status: 422,
            error: "validation_failed", body: r#"{"email": "other@example.com", "password": "password"}"#,
            after: "pm.test('names the field', () => pm.expect(pm.response.json().fields).to.have.keys('password'));",
            ..NONE },
        Check { name: "Rate a password", method: "post", path: "/auth/password-strength", status: 200,
            body: r#"{"password": "password"}"#,
            after: "pm.test('says why not', () => pm.expect(pm.response.json().data.reason).to.match(/tried first/));", ..NONE },
        Check { name: "Register with a body that is not JSON", method: "post", path: "/auth/register", status: 400,
            error: "json_malformed", body: "{\"email\":", ..NONE },
        Check { name: "Register with a form", method: "post", path: "/auth/register", status: 415,
            error: "unsupported_media_type", body: "email=ada", media_type: "application/x-www-form-urlencoded", ..NONE },
        Check { name: "Register with a body that is too large", method: "post", path: "/auth/register", status: 413,
            error: "body_too_large", body: r#"{"email": "{{long}}"}"#,
            before: "pm.variables.set('long', 'x'.repeat(70000));", ..NONE },
    ]),
    // The cookie is `Secure`: it travels over https, and over http to this machine alone.
    ("By cookie", &[
        Check { name: "Sign in by cookie", method: "post", path: "/auth/login", status: 200,
            body: r#"{"email": "{{check_email}}", "password": "{{check_password}}", "cookie": true}"#,
            after: "pm.test('the refresh token is in the cookie alone', () => {\n  \
                      pm.expect(pm.response.json().data).to.not.have.property('refresh_token');\n  \
                      pm.expect(pm.response.headers.get('Set-Cookie')).to.match(/^__Host-hallpass=.*HttpOnly/);\n});",
            ..NONE },
        Check { name: "Refresh by cookie without X-Hallpass", method: "post", path: "/auth/refresh", status: 403,
            error: "csrf_rejected", ..NONE },
        Check { name: "Refresh by cookie and body at once", method: "post", path: "/auth/refresh", status: 400,
            error: "request_invalid", body: r#"{"refresh_token": "another"}"#, ..NONE },
        Check { name: "Refresh by cookie", method: "post", path: "/auth/refresh", status: 200, headers: CSRF_HEADER, ..NONE },
        Check { name: "Sign out by cookie", method: "post", path: "/auth/logout", status: 204, headers: CSRF_HEADER, token: "-",
            after: "pm.test('the cookie is gone', () => pm.expect(pm.response.headers.get('Set-Cookie')).to.match(/^__Host-hallpass=;/));",
            ..NONE },
    ]),
    ("Sign-in", &[
        Check { name: "Sign in with a wrong password", method: "post", path: "/auth/login", status: 401,
            error: "credentials_invalid", body: r#"{"email": "{{check_email}}", "password": "wrong"}"#, ..NONE },
        Check { name: "Sign in on another device", method: "post", path: "/auth/login", status: 200, body: LOGIN, ..NONE },
        Check { name: "Sign in", method: "post", path: "/auth/login", status: 200, body: LOGIN,
            after: "pm.test('the token is stored', () => pm.expect(pm.collectionVariables.get('token')).to.eql(pm.response.json().data.token));",
            ..NONE },
    ]),
    // The account of the checks is no admin.
    ("Without the role", &[
        Check { name: "List the users", method: "get", path: "/admin/users", status: 403, error: "role_missing", ..NONE },
        Check { name: "Add a user", method: "post", path: "/admin/users", status: 403, error: "role_missing",
            body: r#"{"email": "other@example.com", "password": "{{check_password}}"}"#, ..NONE },
        Check { name: "Show another user", method: "get", path: "/admin/users/{id}", status: 403, error: "role_missing", ..NONE },
        Check { name: "Change another user", method: "patch", path: "/admin/users/{id}", status: 403, error: "role_missing",
            body: r#"{"disabled": true}"#, ..NONE },
        Check { name: "Delete another user", method: "delete", path: "/admin/users/{id}", status: 403, error: "role_missing", ..NONE },
        Check { name: "Set another user's password", method: "post", path: "/admin/users/{id}/password", status: 403, error: "role_missing",
            body: r#"{"new_password": "{{check_password}}"}"#, ..NONE },
        Check { name: "List another user's sessions", method: "get", path: "/admin/users/{id}/sessions", status: 403, error: "role_missing", ..NONE },
        Check { name: "List the events", method: "get", path: "/admin/events", status: 403, error: "role_missing", ..NONE },
        Check { name: "Show the statistics", method: "get", path: "/admin/stats", status: 403, error: "role_missing", ..NONE },
        Check { name: "End another user's sessions", method: "delete", path: "/admin/users/{id}/sessions", status: 403, error: "role_missing", ..NONE },
        Check { name: "End everybody's sessions", method: "delete", path: "/admin/sessions", status: 403, error: "role_missing", ..NONE },
    ]),
    ("With the token", &[
        Check { name: "Show the user", method: "get", path: "/user/", status: 200,
            after: "pm.test('it is the user', () => pm.expect(pm.response.json().data.email).to.eql(pm.collectionVariables.get('check_email')));",
            ..NONE },
        Check { name: "Show the user without a token", method: "get", path: "/user/", status: 401,
            error: "token_missing", token: "-", ..NONE },
        Check { name: "Show the user with a malformed token", method: "get", path: "/user/", status: 401,
            error: "token_invalid", token: "not.a.token", ..NONE },
        Check { name: "Verify the token for a reverse proxy", method: "get", path: "/auth/verify", status: 204,
            after: "pm.test('it is the user', () => pm.response.to.have.header('X-Auth-User-Email', pm.collectionVariables.get('check_email')));",
            ..NONE },
        Check { name: "Download what is stored", method: "get", path: "/user/export", status: 200,
            after: "pm.test('it is the user', () => pm.expect(pm.response.json().data.user.email).to.eql(pm.collectionVariables.get('check_email')));",
            ..NONE },
        Check { name: "Change the name", method: "patch", path: "/user/", status: 200, body: r#"{"name": "Ada Lovelace"}"#,
            after: "pm.test('it has changed', () => pm.expect(pm.response.json().data.name).to.eql('Ada Lovelace'));",
            ..NONE },
        Check { name: "Change the name to nothing", method: "patch", path: "/user/", status: 422,
            error: "validation_failed", body: "{}", ..NONE },
        Check { name: "List the sessions", method: "get", path: "/user/sessions", status: 200,
            after: "const sessions = pm.response.json().data;\n\
                    pm.test('there are two, one of them this', () => {\n  \
                      pm.expect(sessions).to.have.lengthOf(2);\n  \
                      pm.expect(sessions.filter((session) => session.current)).to.have.lengthOf(1);\n});\n\
                    pm.collectionVariables.set('check_session', sessions.find((session) => !session.current).id);",
            ..NONE },
        Check { name: "End the other session", method: "delete", path: "/user/sessions/{id}", status: 204, ..NONE },
        Check { name: "End it again", method: "delete", path: "/user/sessions/{id}", status: 404, error: "not_found", ..NONE },
        Check { name: "Change the password with a wrong one", method: "post", path: "/user/password", status: 403,
            error: "password_wrong", body: r#"{"current_password": "wrong", "new_password": "seventeen blue lanterns"}"#,
            ..NONE },
        Check { name: "Change the password", method: "post", path: "/user/password", status: 200,
            body: r#"{"current_password": "{{check_password}}", "new_password": "seventeen blue lanterns"}"#,
            before: "pm.collectionVariables.set('old_token', pm.collectionVariables.get('token'));",
            after: "pm.collectionVariables.set('check_password', 'seventeen blue lanterns');", ..NONE },
        Check { name: "Show the user with an earlier token", method: "get", path: "/user/", status: 401,
            error: "token_revoked", token: "{{old_token}}", ..NONE },
    ]),
    ("Mail", &[
        Check { name: "Ask for a link to reset the password", method: "post", path: "/auth/password/forgot", status: 202,
            body: r#"{"email": "{{check_email}}"}"#, ..NONE },
        Check { name: "Ask for a link to an address without an account", method: "post", path: "/auth/password/forgot",
            status: 202, body: r#"{"email": "nobody@example.com"}"#, ..NONE },
        Check { name: "Ask for a link to what is no address", method: "post", path: "/auth/password/forgot", status: 422,
            error: "validation_failed", body: r#"{"email": "nobody"}"#, ..NONE },
        Check { name: "Reset the password with an unknown link", method: "post", path: "/auth/password/reset", status: 400,
            error: "link_invalid", body: r#"{"token": "none of ours", "new_password": "seventeen blue lanterns"}"#, ..NONE },
        Check { name: "Ask for another link to verify the address", method: "post", path: "/auth/email/resend", status: 202,
            ..NONE },
        Check { name: "Verify the address with an unknown link", method: "post", path: "/auth/email/verify", status: 400,
            error: "link_invalid", body: UNKNOWN_LINK, ..NONE },
        Check { name: "Ask for another address with a wrong password", method: "post", path: "/user/email", status: 403,
            error: "password_wrong", body: r#"{"email": "other@example.com", "password": "wrong"}"#, ..NONE },
        Check { name: "Ask for another address", method: "post", path: "/user/email", status: 202,
            body: r#"{"email": "other@example.com", "password": "{{check_password}}"}"#, ..NONE },
        Check { name: "Change the address with an unknown link", method: "post", path: "/auth/email/change", status: 400,
            error: "link_invalid", body: UNKNOWN_LINK, ..NONE },
        Check { name: "Take a change back with an unknown link", method: "post", path: "/auth/email/change/undo", status: 400,
            error: "link_invalid", body: UNKNOWN_LINK, ..NONE },
        Check { name: "Ask for a link and a code to sign in", method: "post", path: "/auth/link", status: 202,
            body: r#"{"email": "{{check_email}}"}"#, ..NONE },
        Check { name: "Sign in with an unknown link", method: "post", path: "/auth/link/redeem", status: 400,
            error: "link_invalid", body: UNKNOWN_LINK, ..NONE },
        Check { name: "Sign in with a wrong code", method: "post", path: "/auth/link/redeem", status: 400,
            error: "link_invalid", body: r#"{"email": "nobody@example.com", "code": "000000"}"#, ..NONE },
    ]),
    ("Refresh", &[
        Check { name: "Refresh the tokens", method: "post", path: "/auth/refresh", status: 200, body: REFRESH,
            // Set here, because the collection's script runs before the next request's own.
            after: "pm.collectionVariables.set('old_token', pm.collectionVariables.get('token'));\n\
                    pm.collectionVariables.set('token_expires_at', '1');",
            ..NONE },
        Check { name: "Show the user with an expired token, which is refreshed first", method: "get", path: "/user/", status: 200,
            after: "pm.test('it is another', () => pm.expect(pm.collectionVariables.get('token')).to.be.a('string').that.is.not.oneOf(['', pm.collectionVariables.get('old_token')]));",
            ..NONE },
        Check { name: "Refresh with an unknown refresh token", method: "post", path: "/auth/refresh", status: 401,
            error: "refresh_invalid", body: r#"{"refresh_token": "none of ours"}"#, ..NONE },
    ]),
    ("Second factor", &[
        Check { name: "Make the secret of an authenticator app", method: "post", path: "/user/totp", status: 201, body: CONFIRM,
            after: "pm.collectionVariables.set('totp_secret', pm.response.json().data.secret);\npm.collectionVariables.set('totp_ahead', '0');",
            ..NONE },
        Check { name: "Confirm it with a wrong code", method: "post", path: "/user/totp/confirm", status: 401,
            error: "second_factor_invalid", body: r#"{"code": "12345"}"#, ..NONE },
        Check { name: "Confirm it", method: "post", path: "/user/totp/confirm", status: 200,
            body: r#"{"code": "{{totp_code}}"}"#, before: TOTP,
            after: "pm.test('there are ten codes', () => pm.expect(pm.response.json().data.recovery_codes).to.have.lengthOf(10));\n\
                    pm.collectionVariables.set('recovery_code', pm.response.json().data.recovery_codes[0]);",
            ..NONE },
        Check { name: "Sign in with the password", method: "post", path: "/auth/login", status: 401,
            error: "second_factor_required", body: LOGIN,
            after: "pm.test('says what is needed', () => pm.expect(pm.response.json().methods).to.eql(['totp', 'recovery_code']));\n\
                    pm.collectionVariables.set('challenge', pm.response.json().challenge);",
            ..NONE },
        Check { name: "Sign in with a code that was used", method: "post", path: "/auth/second-factor", status: 401,
            error: "second_factor_invalid", body: r#"{"challenge": "{{challenge}}", "code": "{{totp_code}}"}"#,
            after: "pm.collectionVariables.set('totp_ahead', '1');", ..NONE },
        Check { name: "Sign in with the next code", method: "post", path: "/auth/second-factor", status: 200,
            body: r#"{"challenge": "{{challenge}}", "code": "{{totp_code}}"}"#, before: TOTP, ..NONE },
        Check { name: "Add another app", method: "post", path: "/user/totp", status: 409, error: "already_enrolled",
            body: CONFIRM, ..NONE },
        Check { name: "Make new recovery codes", method: "post", path: "/user/recovery-codes", status: 200, body: CONFIRM,
            after: "pm.test('they are others', () => pm.expect(pm.response.json().data.recovery_codes).to.not.include(pm.collectionVariables.get('recovery_code')));",
            ..NONE },
        Check { name: "Remove the second factors of another user", method: "delete", path: "/admin/users/{id}/second-factors",
            status: 403, error: "role_missing", ..NONE },
        Check { name: "Remove the app", method: "delete", path: "/user/totp", status: 204, body: CONFIRM, ..NONE },
        Check { name: "Remove it again", method: "delete", path: "/user/totp", status: 404, error: "not_found", body: CONFIRM,
            after: "for (const name of ['totp_secret', 'totp_code', 'totp_ahead', 'challenge', 'recovery_code']) pm.collectionVariables.unset(name);",
            ..NONE },
        Check { name: "List the passkeys", method: "get", path: "/user/passkeys", status: 200,
            after: "pm.test('there is none', () => pm.expect(pm.response.json().data).to.eql([]));", ..NONE },
        Check { name: "Begin to add a passkey", method: "post", path: "/user/passkeys/options", status: 200, body: CONFIRM,
            after: "pm.test('asks for no attestation', () => pm.expect(pm.response.json().data.attestation).to.eql('none'));", ..NONE },
        Check { name: "Add what is no passkey", method: "post", path: "/user/passkeys", status: 422, error: "validation_failed",
            body: r#"{"name": "Phone", "credential": {}}"#, ..NONE },
        Check { name: "Rename a passkey that is not there", method: "patch", path: "/user/passkeys/{id}", status: 404,
            error: "not_found", body: r#"{"name": "Phone"}"#, ..NONE },
        Check { name: "Remove it", method: "delete", path: "/user/passkeys/{id}", status: 404, error: "not_found", ..NONE },
        Check { name: "Begin a sign-in by passkey", method: "post", path: "/auth/passkey/options", status: 200, body: "{}",
            after: "pm.test('asks for a PIN or the like', () => pm.expect(pm.response.json().data.userVerification).to.eql('required'));",
            ..NONE },
        Check { name: "Sign in by what is no passkey", method: "post", path: "/auth/passkey", status: 422,
            error: "validation_failed", body: r#"{"credential": {}}"#, ..NONE },
    ]),
    ("Service", &[
        Check { name: "The public keys", method: "get", path: "/.well-known/jwks.json", status: 200, ..NONE },
        Check {
            name: "The metadata of the issuer",
            method: "get",
            path: "/.well-known/oauth-authorization-server",
            status: 200,
            ..NONE
        },
        Check { name: "Liveness", method: "get", path: "/health/live", status: 200, ..NONE },
        Check { name: "Readiness", method: "get", path: "/health/ready", status: 200, ..NONE },
        Check { name: "The OpenAPI document", method: "get", path: "/openapi.json", status: 200,
            after: "pm.test('is OpenAPI 3.1', () => pm.expect(pm.response.json().openapi).to.match(/^3\\.1\\./));", ..NONE },
        Check { name: "This collection", method: "get", path: "/postman.json", status: 200,
            after: "pm.test('has the address of the server', () => pm.expect(pm.response.json().variable[0].value).to.eql(pm.variables.get('base_url')));", ..NONE },
        Check { name: "The page that shows the document", method: "get", path: "/docs", status: 200, ..NONE },
        Check { name: "A path that does not exist", method: "get", path: "/nowhere", status: 404, error: "not_found", ..NONE },
        Check { name: "A method that the path does not have", method: "put", path: "/auth/login", status: 405,
            error: "method_not_allowed",
            after: "pm.test('says which it takes', () => pm.response.to.have.header('Allow', 'POST, OPTIONS'));", ..NONE },
    ]),
    ("Sign-out and deletion", &[
        Check { name: "Sign out", method: "post", path: "/auth/logout", status: 204,
            before: "pm.collectionVariables.set('old_token', pm.collectionVariables.get('token'));", ..NONE },
        Check { name: "Show the user after the sign-out", method: "get", path: "/user/", status: 401,
            error: "token_revoked", token: "{{old_token}}", ..NONE },
        Check { name: "Refresh with an earlier refresh token", method: "post", path: "/auth/refresh", status: 401,
            error: "refresh_invalid", body: REFRESH, ..NONE },
        Check { name: "Sign in once more", method: "post", path: "/auth/login", status: 200, body: LOGIN, ..NONE },
        Check { name: "Sign out everywhere", method: "post", path: "/auth/logout-all", status: 204, ..NONE },
        Check { name: "Sign in a last time", method: "post", path: "/auth/login", status: 200, body: LOGIN, ..NONE },
        Check { name: "Delete the account with a wrong password", method: "delete", path: "/user/", status: 403,
            error: "password_wrong", body: r#"{"password": "wrong"}"#, ..NONE },
        Check { name: "Delete the account", method: "delete", path: "/user/", status: 204,
            body: r#"{"password": "{{check_password}}"}"#, ..NONE },
        Check { name: "Sign in to the deleted account", method: "post", path: "/auth/login", status: 401,
            error: "credentials_invalid", body: LOGIN,
            after: "for (const name of ['token', 'refresh_token', 'token_expires_at']) pm.collectionVariables.set(name, '');", ..NONE },
    ]),
];

/// The defaults of a check.
const NONE: Check = Check {
    name: "",
    method: "",
    path: "",
    status: 0,
    error: "",
    body: "",
    media_type: "",
    headers: &[],
    token: "",
    before: "",
    after: "",
};

fn checks(document: &Value) -> Vec<Value> {
    let folder = |(name, steps): &(&str, &[Check])| {
        let items: Vec<_> = steps.iter().map(|check| item(document, check)).collect();
        json!({"name": name, "item": items})
    };
    CHECKS.iter().map(folder).collect()
}

fn item(document: &Value, check: &Check) -> Value {
    let operation = &document["paths"][check.path][check.method];
    let body = Some(check.body.to_owned()).filter(|body| !body.is_empty());
    let mut request = request(check.path, check.method, operation, body);
    if let Some(id) = request.pointer_mut("/url/variable/0/value") {
        *id = json!("{{check_session}}");
    }
    match check.token {
        "" => {}
        "-" => request["auth"] = json!({"type": "noauth"}),
        token => request["auth"] = bearer(token),
    }
    if !check.media_type.is_empty() {
        request["header"] = json!([{"key": "Content-Type", "value": check.media_type}]);
    }
    for (name, value) in check.headers {
        request["header"].as_array_mut().expect("a list").push(json!({"key": name, "value": value}));
    }
    let mut events = vec![event("test", &[&tests(document, operation, check), check.after].join("\n"))];
    if !check.before.is_empty() {
        events.insert(0, event("prerequest", check.before));
    }
    json!({"name": check.name, "request": request, "response": [], "event": events})
}

/// Returns the test script of a check. The expected answer comes from the document.
fn tests(document: &Value, operation: &Value, check: &Check) -> String {
    let response = &operation["responses"][check.status.to_string()];
    let content = &response["content"]["application/json"];
    if !check.error.is_empty() {
        let (status, error) = (check.status, check.error);
        let message = match &content["examples"][error]["value"]["message"] {
            // Its message names the mistake and its place, which differ.
            Value::String(message) if error != "json_malformed" => format!("to.eql({})", json!(message)),
            _ => "to.be.a('string').that.is.not.empty".to_owned(),
        };
        return format!(
            "pm.test('{status} {error}', () => {{\n  pm.response.to.have.status({status});\n  \
             const body = pm.response.json();\n  pm.expect(body.code).to.eql({status});\n  \
             pm.expect(body.error).to.eql('{error}');\n  pm.expect(body.message).{message};\n}});"
        );
    }
    let mut script = format!("pm.test('{0}', () => pm.response.to.have.status({0}));", check.status);
    for (name, _) in entries(&response["headers"]) {
        script.push_str(&format!("\npm.test('has {name}', () => pm.response.to.have.header('{name}'));"));
    }
    let data = &content["schema"]["properties"]["data"];
    if let Some(name) = data["$ref"].as_str().and_then(|reference| reference.rsplit('/').next()) {
        let required = &document["components"]["schemas"][name]["required"];
        script.push_str(&format!(
            "\npm.test('is as documented', () => pm.expect(pm.response.json().data).to.include.all.keys({required}));"
        ));
    }
    script
}

fn bearer(token: &str) -> Value {
    json!({"type": "bearer", "bearer": [{"key": "token", "value": token, "type": "string"}]})
}

fn event(listen: &str, script: &str) -> Value {
    let lines: Vec<_> = script.trim().lines().collect();
    json!({"listen": listen, "script": {"type": "text/javascript", "exec": lines}})
}
