//! The parts of bodies that the routes of second factors share.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::server::credentials::Password;
use crate::server::error::Error;
use crate::server::http::body::given;
use crate::server::http::fields::Checked;

/// The body of a request that asks for the password once more.
#[derive(Deserialize, ToSchema)]
#[schema(as = ConfirmPasswordRequest)]
pub(super) struct PasswordRequest {
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = String, required = true, format = Password)]
    password: Option<Password>,
}

impl PasswordRequest {
    pub(super) fn checked(self) -> Result<Password, Error> {
        let mut checked = Checked::default();
        let password = checked.presented("password", self.password);
        checked.verdict().map(|()| password)
    }
}

/// Reads the response of an authenticator. One that cannot be read is a 422, like other values that are not acceptable.
pub(super) fn credential<T: DeserializeOwned>(given: Option<Map<String, Value>>) -> Result<T, Error> {
    let mut checked = Checked::default();
    let credential = checked.required("credential", given);
    let read = serde_json::from_value(Value::Object(credential)).ok();
    let read = checked.exactly_one("credential", "is not one of navigator.credentials, as JSON", read);
    checked.verdict()?;
    // Without one, the verdict has refused.
    read.ok_or(Error::SecondFactorInvalid)
}
