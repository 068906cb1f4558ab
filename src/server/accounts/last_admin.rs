//! Keeps the last admin: without one, nobody could manage users through the API or the console.

use uuid::Uuid;

use crate::guard::RoleName;
use crate::server::error::Error;
use crate::server::store::Transaction;

/// The role `admin`, which may use `/admin`.
#[derive(Debug)]
pub(crate) struct Admin;

impl RoleName for Admin {
    const NAME: &'static str = "admin";
}

/// Checks that another enabled admin is left once `id` is none. Called first in the transaction of the act: it locks
/// every admin, so that two acts at once cannot both see the other's admin as the one who is left.
///
/// # Errors
/// [`Error::LastAdmin`].
pub(super) async fn check_another_admin(tx: &mut Transaction, id: Uuid) -> Result<(), Error> {
    match tx.lock_admins().await?.as_slice() {
        [last] if *last == id => Err(Error::LastAdmin),
        _ => Ok(()),
    }
}
