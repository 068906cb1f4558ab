//! Accounts: the acts of their owners, and those of the operator.
//!
//! | file | what it owns |
//! |---|---|
//! | `fields` | what an e-mail address, a name and a role may be |
//! | `own` | registration, change of name and password, deletion, by the account's owner |
//! | `by_mail` | reset of a password, verification and change of an address, by links in mails |
//! | `admin` | users added, changed, disabled, enabled, imported and deleted by the operator or an admin |
//! | `last_admin` | the last admin stays |
//! | `passkeys` | passkeys, by the account's owner |
//! | `second_factors` | authenticator app and recovery codes, by the account's owner |
//! | `export` | everything that is stored of a user |
//! | `directory`, `terms` | the list of all users; the words by which they are found |

mod admin;
mod by_mail;
mod directory;
mod export;
mod fields;
mod last_admin;
mod own;
mod passkeys;
mod second_factors;
mod terms;

pub(crate) use admin::ImportCounts;
pub use admin::{Actor, NewUser, UserAdmin, UserChanges};
pub use directory::{Directory, UserSearch};
pub(crate) use export::Export;
pub(crate) use fields::{MAX_EMAIL_BYTES, parse_email, parse_name, parse_roles};
pub(crate) use last_admin::Admin;
pub(crate) use own::{Accounts, Registered, SecondFactorRules};
pub(crate) use second_factors::{RecoveryCodes, TotpEnrolment};
