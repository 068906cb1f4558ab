//! The HTTP code that the guard and the server share: the JSON body of a failure, the request id, and the middleware that
//! adds both. It imports neither guard nor server.

mod envelope;
mod failure;
pub(crate) mod payload;
mod request_id;

pub(crate) use envelope::DEFAULT_CHALLENGE;
pub use envelope::Envelope;
pub use failure::{Failure, Fields, UNAUTHORIZED_MESSAGE};
pub use request_id::{RequestId, X_REQUEST_ID};
