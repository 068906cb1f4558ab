//! The OpenAPI 3.1 document: what every route takes and answers. Each file of routes describes its operations beside its
//! handlers; the integration tests hold the document against every answer they get. OPTIONS, HEAD and what every path does
//! alike (404, 405) are said once, in the document's own description.

mod document;
mod operation;
mod samples;

pub use document::{document, json};
pub(crate) use operation::Operation;
pub(crate) use samples::{EMAIL, PASSWORD, SESSION, TIME, a_user, some_tokens};
