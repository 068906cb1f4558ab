//! Accounts: what their owners do with them, and what the operator does.
//!
//! | file | what it owns |
//! |---|---|
//! | `fields` | what an e-mail address, a name and a role may be |
//! | `own` | registration, change of name and password, deletion, by the account's owner |
//! | `admin` | users added, listed, disabled, enabled, imported and deleted by the operator |

mod admin;
mod fields;
mod own;

pub(crate) use admin::ImportCounts;
pub use admin::{NewUser, UserAdmin};
pub(crate) use fields::{MAX_EMAIL_BYTES, parse_email, parse_name, parse_roles};
pub(crate) use own::Accounts;
