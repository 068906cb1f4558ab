//! The OpenAPI document as a `.http` file: each request once, for VS Code's REST Client and the editors that read the
//! same.

use std::fmt::Write as _;

use serde_json::Value;

use super::document::{examples, list, operations, own_body};

const HEAD: &str = "\
# Every request of the server, for editors that send them: VS Code with REST Client, and those that read the same format.
# Generated with `hallpass openapi --http >tests/postman/hallpass.http`.
#
# Set the variables, send \"Sign in\", then any other: each takes the token from the answer to that.

@base_url = http://127.0.0.1:8080
@email = ada@example.com
@password =
@new_password =
@mail_token =
@token = {{login.response.body.data.token}}
@refresh_token = {{login.response.body.data.refresh_token}}
";

/// Returns the file.
pub(super) fn requests(document: &Value) -> String {
    let mut file = HEAD.to_owned();
    for (chapter, path, method, operation) in operations(document) {
        let text = |name: &str| operation[name].as_str().unwrap_or_default();
        let _ = write!(file, "\n### {chapter}: {}\n# @name {}\n", text("summary"), text("operationId"));
        let mut address = path.to_owned();
        for parameter in list(&operation["parameters"]).filter(|parameter| parameter["in"] == "path") {
            let value = parameter["example"].as_str().unwrap_or_default();
            address =
                address.replace(&format!("{{{}}}", parameter["name"].as_str().unwrap_or_default()), value);
        }
        let _ = writeln!(file, "{} {{{{base_url}}}}{address}", method.to_uppercase());
        if list(&operation["security"]).any(|scheme| scheme.get("hallpass").is_some()) {
            file.push_str("Authorization: Bearer {{token}}\n");
        }
        if let Some((_, example)) = examples(&operation["requestBody"]["content"]["application/json"]).next()
        {
            let _ = write!(file, "Content-Type: application/json\n\n{:#}\n", own_body(path, method, example));
        }
    }
    file
}
