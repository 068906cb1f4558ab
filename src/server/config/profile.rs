//! Profiles: named sets of settings for conformance to a document. A setting that the operator gives overrides the
//! profile's, unless it does not conform.

use std::time::Duration;

use super::Settings;

/// A profile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Profile {
    /// NIST SP 800-63B-4, for accounts with a password alone: see `docs/nist.md`.
    Nist,
}

/// The shortest password that is the only factor, in characters (§3.1.1.2).
const NIST_LEAST_CHARS: usize = 15;

/// The longest session (§2.1.3).
const NIST_LONGEST_SESSION: Duration = Duration::from_secs(30 * 86_400);

impl Profile {
    /// Returns the profile of this name.
    ///
    /// # Errors
    /// What is accepted.
    pub(super) fn named(name: &str) -> Result<Self, &'static str> {
        match name {
            "nist" => Ok(Self::Nist),
            _ => Err("nist is accepted"),
        }
    }

    /// Returns its settings as text, by name.
    pub(super) fn settings(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Nist => &[
                ("password.min_length", "15"),
                ("password.nfc", "true"),
                ("session.refresh_lifetime_s", "2592000"),
            ],
        }
    }

    /// Returns the name of a setting that does not conform, with what does.
    pub(super) fn objection(self, settings: &Settings) -> Option<(&'static str, &'static str)> {
        match self {
            Self::Nist if settings.password.min_length < NIST_LEAST_CHARS => {
                Some(("password.min_length", "15 or more is accepted"))
            }
            Self::Nist if !settings.password.nfc => Some(("password.nfc", "true is accepted")),
            Self::Nist if settings.session.refresh_lifetime > NIST_LONGEST_SESSION => {
                Some(("session.refresh_lifetime_s", "2592000, 30 days, or less is accepted"))
            }
            Self::Nist => None,
        }
    }
}
