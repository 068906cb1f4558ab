//! What the guard and the server share of HTTP: the JSON body of a failure, the request id, and the middleware that gives
//! both to every answer. Imports neither of them.

mod envelope;
mod failure;
pub(crate) mod payload;
mod request_id;

pub use envelope::Envelope;
pub(crate) use failure::UNAUTHORIZED_MESSAGE;
pub use failure::{Failure, Fields};
pub use request_id::RequestId;
#[cfg(feature = "server")]
pub(crate) use request_id::X_REQUEST_ID;
