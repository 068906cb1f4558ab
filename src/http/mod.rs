//! The HTTP code that the guard and the server share: the JSON body of a failure, the request id, and the middleware
//! that adds both. It imports neither guard nor server.

mod envelope;
mod failure;
pub(crate) mod payload;
mod request_id;

pub(crate) use envelope::DEFAULT_CHALLENGE;
pub use envelope::Envelope;
pub(crate) use failure::UNAUTHORIZED_MESSAGE;
pub use failure::{Failure, Fields};
pub use request_id::RequestId;
#[cfg(feature = "server")]
pub(crate) use request_id::X_REQUEST_ID;
