//! A verdict that costs its signature's check once: tokens found genuine are remembered, whole, for as long as the
//! keys stay what they are.
//!
//! Only tokens that passed are remembered, so strangers fill nothing. What may change without a new key (the
//! time) is asked again each time; a ring of other keys empties the memory, so a revoked key leaves nothing behind.

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use chrono::{DateTime, Utc};
use quick_cache::Weighter;
use quick_cache::sync::Cache;

use super::claims::Claims;
use super::error::TokenError;
use super::expected::Expected;
use super::keyring::Keyring;
use super::verify::verify;

/// About how many tokens are remembered, and how many bytes of them at most.
const TOKENS: usize = 16_384;
const BYTES: u64 = 16 << 20;

/// Verifies tokens of one kind, and remembers the genuine ones.
pub(crate) struct VerifiedTokens {
    expected: Expected,
    known: Cache<Box<str>, Known, ByLength>,
    /// The ring that what is remembered was verified with.
    current: ArcSwapOption<Current>,
}

struct Current {
    ring: Arc<Keyring>,
    /// Tells what was remembered under this ring from what slipped in under another.
    generation: u64,
}

#[derive(Clone)]
struct Known {
    claims: Arc<Claims>,
    generation: u64,
}

#[derive(Clone)]
struct ByLength;

impl Weighter<Box<str>, Known> for ByLength {
    fn weight(&self, token: &Box<str>, _: &Known) -> u64 {
        // The claims take about as much again as the text that they were read from.
        2 * token.len() as u64
    }
}

impl VerifiedTokens {
    /// A verifier of tokens that are what is `expected`.
    pub(crate) fn new(expected: Expected) -> Self {
        Self {
            expected,
            known: Cache::with_weighter(TOKENS, BYTES, ByLength),
            current: ArcSwapOption::empty(),
        }
    }

    /// What its tokens must be.
    pub(crate) fn expected(&self) -> &Expected {
        &self.expected
    }

    /// As [`verify()`], by another way where the token is known.
    ///
    /// # Errors
    /// As [`verify()`].
    pub(crate) fn verify(
        &self,
        token: &str,
        ring: &Arc<Keyring>,
        now: DateTime<Utc>,
    ) -> Result<Arc<Claims>, TokenError> {
        let current = self.current.load();
        let generation = match &*current {
            Some(current) if Arc::ptr_eq(&current.ring, ring) => current.generation,
            _ => self.begin(ring),
        };
        if let Some(known) = self.known.get(token).filter(|known| known.generation == generation) {
            return self.expected.admit(&known.claims, now).map(|()| known.claims);
        }
        let claims = Arc::new(verify(token, ring, &self.expected, now)?);
        self.known.insert(token.into(), Known { claims: Arc::clone(&claims), generation });
        Ok(claims)
    }

    /// Forgets everything: from now on `ring` is the one that counts.
    fn begin(&self, ring: &Arc<Keyring>) -> u64 {
        let before = self.current.rcu(|current| {
            let generation = current.as_ref().map_or(0, |current| current.generation) + 1;
            Some(Arc::new(Current { ring: Arc::clone(ring), generation }))
        });
        self.known.clear();
        before.map_or(0, |before| before.generation) + 1
    }
}

impl std::fmt::Debug for VerifiedTokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("VerifiedTokens").field("expected", &self.expected).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use chrono::Duration;
    use proptest::prelude::*;

    use super::super::algorithm::Algorithm;
    use super::super::issue::{Grant, Issuer};
    use super::super::signing_key::SigningKey;
    use super::*;

    fn start() -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000, 0).unwrap()
    }

    fn token(key: &SigningKey, subject: &str) -> String {
        let issuer = Issuer::new("issuer", "audience", Duration::minutes(1));
        let grant = Grant { subject: subject.into(), ..Grant::default() };
        issuer.issue(key, &grant, start()).unwrap().token
    }

    fn verifier() -> VerifiedTokens {
        VerifiedTokens::new(Expected::new("issuer", "audience"))
    }

    #[test]
    fn a_known_token_still_expires_and_is_not_good_before_its_time() {
        let (verifier, key) = (verifier(), SigningKey::random(Algorithm::EdDsa));
        let ring = Arc::new(Keyring::from(Arc::clone(&key)));
        let token = token(&key, "ada");
        let at = |seconds| verifier.verify(&token, &ring, start() + Duration::seconds(seconds)).map(|_| ());
        assert_eq!(at(0), Ok(()));
        assert_eq!(at(59), Ok(()));
        assert_eq!(at(60), Err(TokenError::Expired));
        assert_eq!(at(-61), Err(TokenError::NotYetValid));
        assert_eq!(at(1), Ok(()));
    }

    #[test]
    fn a_known_token_is_not_verified_again_and_one_that_failed_is_not_known() {
        let (verifier, key) = (verifier(), SigningKey::random(Algorithm::EdDsa));
        let ring = Arc::new(Keyring::from(Arc::clone(&key)));
        let token = token(&key, "ada");
        let (message, signature) = token.rsplit_once('.').unwrap();
        let other = if signature.starts_with('A') { 'B' } else { 'A' };
        let forged = format!("{message}.{other}{}", &signature[1..]);
        for _ in 0..2 {
            assert!(verifier.verify(&forged, &ring, start()).is_err());
        }
        assert_eq!(verifier.known.len(), 0);
        let first = verifier.verify(&token, &ring, start()).unwrap();
        let second = verifier.verify(&token, &ring, start()).unwrap();
        assert!(Arc::ptr_eq(&first, &second), "the same claims, not read again");
    }

    #[test]
    fn another_ring_forgets_every_token_also_one_that_is_no_more_in_it() {
        let (verifier, old, new) =
            (verifier(), SigningKey::random(Algorithm::EdDsa), SigningKey::random(Algorithm::Es256));
        let (before, after) =
            (Arc::new(Keyring::from(Arc::clone(&old))), Arc::new(Keyring::from(Arc::clone(&new))));
        let token = token(&old, "ada");
        assert!(verifier.verify(&token, &before, start()).is_ok());
        assert_eq!(verifier.verify(&token, &after, start()).map(|_| ()), Err(TokenError::KeyUnknown));
        assert_eq!(verifier.known.len(), 0, "nothing is left behind");
        // What a slow thread still verifies with the old ring is of no use under the new one.
        assert!(verifier.verify(&token, &before, start()).is_ok());
        assert_eq!(verifier.verify(&token, &after, start()).map(|_| ()), Err(TokenError::KeyUnknown));
    }

    #[test]
    fn the_memory_is_bounded() {
        let (verifier, key) = (verifier(), SigningKey::random(Algorithm::Hs256));
        let ring = Arc::new(Keyring::from(Arc::clone(&key)));
        let long = "x".repeat(4_000);
        for number in 0..5_000 {
            verifier.verify(&token(&key, &format!("{number}{long}")), &ring, start()).unwrap();
        }
        assert!(verifier.known.weight() <= BYTES, "{}", verifier.known.weight());
        assert!(verifier.known.len() < 5_000);
    }

    proptest! {
        /// The faster path against the plain one, over tokens good and spoilt, times and rotations.
        #[test]
        fn the_verdict_is_that_of_verify_whatever_came_before(
            steps in proptest::collection::vec((0_usize..4, 0_usize..3, proptest::option::of((0_usize..400, 0_u8..8)), -120_i64..120), 1..60),
        ) {
            let keys = [SigningKey::random(Algorithm::EdDsa), SigningKey::random(Algorithm::Es256), SigningKey::random(Algorithm::Hs256)];
            let rings: Vec<_> = (0..3)
                .map(|last| Arc::new(Keyring::new(keys[..=last].iter().map(|key| key.verifying_key().clone())).unwrap()))
                .collect();
            let verifier = verifier();
            for (user, place, spoilt, seconds) in steps {
                let mut token = token(&keys[user % 3], &format!("user {user}")).into_bytes();
                if let Some((at, bit)) = spoilt {
                    let at = at % token.len();
                    token[at] ^= 1 << bit;
                }
                let Ok(token) = String::from_utf8(token) else { continue };
                let now = start() + Duration::seconds(seconds);
                // Twice, so that what is remembered is asked.
                for _ in 0..2 {
                    prop_assert_eq!(
                        verifier.verify(&token, &rings[place], now).map(|claims| (*claims).clone()),
                        verify(&token, &rings[place], &verifier.expected, now)
                    );
                }
            }
        }
    }
}
