//! The OpenAPI 3.1 document: requests and answers of every route. Each file of routes describes its operations beside
//! its handlers; the integration tests check every answer that they get against the document. OPTIONS, HEAD and the
//! answers of every path (404, 405) are described once, in the description of the document.

mod document;
mod operation;
mod samples;

pub use document::{document, json};
pub(crate) use operation::Operation;
pub(crate) use samples::{EMAIL, PASSWORD, SESSION, TIME, a_user, some_tokens};
