//! The OpenAPI 3.1 document: requests and answers of every route. Each file of routes describes its operations next
//! to its handlers. The integration tests check every answer that they get against the document. OPTIONS, HEAD and the
//! answers that every path has (404, 405) are in the description of the document only.

#[cfg(feature = "testing")]
mod audited;
mod document;
mod operation;
mod samples;

#[cfg(feature = "testing")]
pub(crate) use audited::routes;
pub use document::{document, json};
pub(crate) use operation::Operation;
pub(crate) use samples::{CHALLENGE, EMAIL, PASSWORD, SESSION, TIME, a_session, a_user, some_tokens};
