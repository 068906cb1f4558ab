//! The authenticator data (§6.1): what the authenticator says, and signs.

use aws_lc_rs::digest::{SHA256, digest};
use ciborium::Value;

use super::error::WebauthnError;

const MALFORMED: WebauthnError = WebauthnError::Malformed("authenticator data");

/// The flags.
#[derive(Debug, Clone, Copy)]
pub(super) struct Flags(u8);

impl Flags {
    pub(super) fn user_present(self) -> bool {
        self.0 & 0x01 != 0
    }

    pub(super) fn user_verified(self) -> bool {
        self.0 & 0x04 != 0
    }

    pub(super) fn backup_eligible(self) -> bool {
        self.0 & 0x08 != 0
    }

    pub(super) fn backed_up(self) -> bool {
        self.0 & 0x10 != 0
    }

    fn has_credential(self) -> bool {
        self.0 & 0x40 != 0
    }

    fn has_extensions(self) -> bool {
        self.0 & 0x80 != 0
    }
}

/// The authenticator data.
#[derive(Debug)]
pub(super) struct AuthenticatorData {
    party: [u8; 32],
    pub(super) flags: Flags,
    pub(super) sign_count: u32,
    /// The credential that was made.
    pub(super) made: Option<Made>,
}

/// A credential that was made (§6.5.1).
#[derive(Debug)]
pub(super) struct Made {
    pub(super) id: Vec<u8>,
    /// The COSE_Key.
    pub(super) public_key: Vec<u8>,
}

impl AuthenticatorData {
    pub(super) fn read(bytes: &[u8]) -> Result<Self, WebauthnError> {
        let mut rest = bytes;
        let party = take::<32>(&mut rest)?;
        let [flags] = take::<1>(&mut rest)?;
        let flags = Flags(flags);
        let sign_count = u32::from_be_bytes(take::<4>(&mut rest)?);
        let made = if flags.has_credential() { Some(Made::read(&mut rest)?) } else { None };
        if flags.has_extensions() {
            // Skipped: none is asked for.
            let Value::Map(_) = value(&mut rest)? else { return Err(MALFORMED) };
        }
        if !rest.is_empty() {
            return Err(MALFORMED);
        }
        Ok(Self { party, flags, sign_count, made })
    }

    /// Checks that it is for the party with this id, that the user was there, and that its flags do not contradict each
    /// other.
    pub(super) fn check(&self, party: &str) -> Result<(), WebauthnError> {
        if self.party != digest(&SHA256, party.as_bytes()).as_ref() {
            return Err(WebauthnError::Mismatch("party"));
        }
        if !self.flags.user_present() {
            return Err(WebauthnError::User("present"));
        }
        if self.flags.backed_up() && !self.flags.backup_eligible() {
            return Err(MALFORMED);
        }
        Ok(())
    }
}

impl Made {
    fn read(rest: &mut &[u8]) -> Result<Self, WebauthnError> {
        // The model of the authenticator, which nobody attests to.
        take::<16>(rest)?;
        let length = usize::from(u16::from_be_bytes(take::<2>(rest)?));
        let (id, after) = rest.split_at_checked(length).ok_or(MALFORMED)?;
        let mut after_key = after;
        value(&mut after_key)?;
        let public_key = after[..after.len() - after_key.len()].to_vec();
        *rest = after_key;
        Ok(Self { id: id.to_vec(), public_key })
    }
}

fn take<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], WebauthnError> {
    let (taken, after) = rest.split_first_chunk::<N>().ok_or(MALFORMED)?;
    *rest = after;
    Ok(*taken)
}

/// Reads one value of CBOR.
fn value(rest: &mut &[u8]) -> Result<Value, WebauthnError> {
    ciborium::from_reader(&mut *rest).map_err(|_| MALFORMED)
}
