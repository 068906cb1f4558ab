//! A cache of verified tokens: the signature of a token is verified once, as long as the keys stay the same.
//!
//! Only tokens that an issuer has signed are cached, so invalid ones cannot fill it. Times are checked at every call. A
//! new keyring clears the cache, so no token of a revoked key remains.

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use chrono::{DateTime, Utc};
use quick_cache::Weighter;
use quick_cache::sync::Cache;

use super::claims::Claims;
use super::error::TokenError;
use super::expected::{Expected, ValidTimes};
use super::keyring::Keyring;
use super::verify::verify_whenever;

/// The approximate number of tokens to plan for.
const TOKENS: usize = 16_384;

/// The maximum weight of the cache, in bytes.
const BYTES: u64 = 32 << 20;

/// The memory of a cached token for each of its own bytes: the token and its payload in JSON.
const BYTES_PER_BYTE: u64 = 2;

/// The rest of its memory, for its claims and its place in the cache.
const BYTES_PER_TOKEN: u64 = 1_024;

/// Verifies tokens, and caches those that passed. Whoever asks may leave a note of type `N` with a cached token.
pub(crate) struct VerifiedTokens<N> {
    expected: Expected,
    cache: Cache<Box<[u8]>, Arc<Verified<N>>, ByLength>,
    /// The keyring that the cached tokens were verified with.
    current: ArcSwapOption<Current>,
}

struct Current {
    keys: Arc<Keyring>,
    /// Increases with every keyring. A slow thread may still insert a token that it verified with an earlier one.
    generation: u64,
}

/// A token that passed.
pub(crate) struct Verified<N> {
    pub(crate) claims: Arc<Claims>,
    pub(crate) note: ArcSwapOption<N>,
    valid: ValidTimes,
    generation: u64,
}

impl<N> Verified<N> {
    /// Checks the times of a token whose other claims passed.
    ///
    /// # Errors
    /// [`TokenError::NotYetValid`] and [`TokenError::Expired`].
    pub(crate) fn check_times(&self, now: DateTime<Utc>) -> Result<(), TokenError> {
        self.valid.check(now)
    }
}

#[derive(Clone)]
struct ByLength;

impl<N> Weighter<Box<[u8]>, Arc<Verified<N>>> for ByLength {
    fn weight(&self, token: &Box<[u8]>, _: &Arc<Verified<N>>) -> u64 {
        token.len() as u64 * BYTES_PER_BYTE + BYTES_PER_TOKEN
    }
}

impl<N> VerifiedTokens<N> {
    pub(crate) fn new(expected: Expected) -> Self {
        Self {
            expected,
            cache: Cache::with_weighter(TOKENS, BYTES, ByLength),
            current: ArcSwapOption::empty(),
        }
    }

    /// Returns how many tokens were found in the cache, and how many not.
    #[cfg_attr(not(feature = "server"), allow(dead_code, reason = "for the server's metrics"))]
    pub(crate) fn hits_and_misses(&self) -> (u64, u64) {
        (self.cache.hits(), self.cache.misses())
    }

    pub(crate) fn expected(&self) -> &Expected {
        &self.expected
    }

    /// Returns the token if it is cached: it passed once, with the keys and at the time of then.
    pub(crate) fn cached(&self, token: &[u8]) -> Option<Arc<Verified<N>>> {
        self.cache.get(token)
    }

    /// Returns the token if it is cached, and was verified with `keys`.
    pub(crate) fn cached_with(&self, keys: &Arc<Keyring>, token: &[u8]) -> Option<Arc<Verified<N>>> {
        self.cached(token).filter(|cached| self.is_current(cached, keys))
    }

    /// Tells whether a cached token was verified with `keys`.
    pub(crate) fn is_current(&self, cached: &Verified<N>, keys: &Arc<Keyring>) -> bool {
        let current = self.current.load();
        current.as_ref().is_some_and(|current| {
            Arc::ptr_eq(&current.keys, keys) && current.generation == cached.generation
        })
    }

    /// Returns what [`verify()`] returns, faster for a cached token.
    ///
    /// # Errors
    /// As [`verify()`].
    pub(crate) fn verify(
        &self,
        token: &str,
        keys: &Arc<Keyring>,
        now: DateTime<Utc>,
    ) -> Result<Arc<Verified<N>>, TokenError> {
        let current = self.current.load();
        let generation = match &*current {
            Some(current) if Arc::ptr_eq(&current.keys, keys) => current.generation,
            _ => self.reset(keys),
        };
        let cached = self.cached(token.as_bytes());
        if let Some(cached) = cached.filter(|cached| cached.generation == generation) {
            return cached.check_times(now).map(|()| cached);
        }
        let claims = Arc::new(verify_whenever(token, keys, &self.expected)?);
        let valid = self.expected.valid_times(&claims);
        let verified = Arc::new(Verified { claims, note: ArcSwapOption::empty(), valid, generation });
        // Also if it has expired: a client that keeps sending it does not cost a signature each time.
        self.cache.insert(token.as_bytes().into(), Arc::clone(&verified));
        verified.check_times(now).map(|()| verified)
    }

    /// Clears the cache and makes `keys` the current keyring. Returns its generation.
    fn reset(&self, keys: &Arc<Keyring>) -> u64 {
        let before = self.current.rcu(|current| {
            let generation = current.as_ref().map_or(0, |current| current.generation) + 1;
            Some(Arc::new(Current { keys: Arc::clone(keys), generation }))
        });
        self.cache.clear();
        before.map_or(0, |before| before.generation) + 1
    }
}

impl<N> std::fmt::Debug for VerifiedTokens<N> {
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
    use super::super::verify::verify;
    use super::*;

    fn start() -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000, 0).unwrap()
    }

    fn token(key: &SigningKey, subject: &str) -> String {
        let issuer = Issuer::new("issuer", "audience", Duration::minutes(1));
        let grant = Grant { subject: subject.into(), ..Grant::default() };
        issuer.issue(key, &grant, start()).unwrap().token
    }

    fn verifier() -> VerifiedTokens<()> {
        VerifiedTokens::new(Expected::new("issuer", "audience"))
    }

    #[test]
    fn a_cached_token_still_expires_and_is_not_accepted_before_its_time() {
        let (verifier, key) = (verifier(), SigningKey::random(Algorithm::EdDsa));
        let keys = Arc::new(Keyring::from(Arc::clone(&key)));
        let token = token(&key, "ada");
        let at = |seconds| verifier.verify(&token, &keys, start() + Duration::seconds(seconds)).map(|_| ());
        assert_eq!(at(0), Ok(()));
        assert_eq!(at(59), Ok(()));
        assert_eq!(at(60), Err(TokenError::Expired));
        assert_eq!(at(-61), Err(TokenError::NotYetValid));
        assert_eq!(at(1), Ok(()));
    }

    #[test]
    fn a_cached_token_is_not_verified_again_and_a_refused_token_is_not_cached() {
        let (verifier, key) = (verifier(), SigningKey::random(Algorithm::EdDsa));
        let keys = Arc::new(Keyring::from(Arc::clone(&key)));
        let token = token(&key, "ada");
        let (message, signature) = token.rsplit_once('.').unwrap();
        let other = if signature.starts_with('A') { 'B' } else { 'A' };
        let forged = format!("{message}.{other}{}", &signature[1..]);
        for _ in 0..2 {
            assert!(verifier.verify(&forged, &keys, start()).is_err());
        }
        assert_eq!(verifier.cache.len(), 0);
        let first = verifier.verify(&token, &keys, start()).unwrap();
        let second = verifier.verify(&token, &keys, start()).unwrap();
        assert!(Arc::ptr_eq(&first.claims, &second.claims), "the cached claims");
    }

    #[test]
    fn a_new_keyring_clears_the_cache_also_of_tokens_whose_key_is_gone() {
        let (verifier, old, new) =
            (verifier(), SigningKey::random(Algorithm::EdDsa), SigningKey::random(Algorithm::Es256));
        let (before, after) =
            (Arc::new(Keyring::from(Arc::clone(&old))), Arc::new(Keyring::from(Arc::clone(&new))));
        let token = token(&old, "ada");
        assert!(verifier.verify(&token, &before, start()).is_ok());
        assert_eq!(verifier.verify(&token, &after, start()).map(|_| ()), Err(TokenError::KeyUnknown));
        assert_eq!(verifier.cache.len(), 0, "nothing is left");
        // What a slow thread verifies with the old keyring is not used with the new one.
        assert!(verifier.verify(&token, &before, start()).is_ok());
        assert_eq!(verifier.verify(&token, &after, start()).map(|_| ()), Err(TokenError::KeyUnknown));
    }

    #[test]
    fn the_size_of_the_cache_is_bounded() {
        let (verifier, key) = (verifier(), SigningKey::random(Algorithm::Hs256));
        let keys = Arc::new(Keyring::from(Arc::clone(&key)));
        let long = "x".repeat(4_000);
        for number in 0..5_000 {
            verifier.verify(&token(&key, &format!("{number}{long}")), &keys, start()).unwrap();
        }
        assert!(verifier.cache.weight() <= BYTES, "{}", verifier.cache.weight());
        assert!(verifier.cache.len() < 5_000);
    }

    proptest! {
        /// Compares the cache with `verify`, for valid and damaged tokens, several times and rotations.
        #[test]
        fn the_result_is_that_of_verify_whatever_is_cached(
            steps in proptest::collection::vec((0_usize..4, 0_usize..3, proptest::option::of((0_usize..400, 0_u8..8)), -120_i64..120), 1..60),
        ) {
            let keys = [SigningKey::random(Algorithm::EdDsa), SigningKey::random(Algorithm::Es256), SigningKey::random(Algorithm::Hs256)];
            let keyrings: Vec<_> = (0..3)
                .map(|last| Arc::new(Keyring::new(keys[..=last].iter().map(|key| key.verifying_key().clone())).unwrap()))
                .collect();
            let verifier = verifier();
            for (user, keyring, flipped, seconds) in steps {
                let mut token = token(&keys[user % 3], &format!("user {user}")).into_bytes();
                if let Some((at, bit)) = flipped {
                    let at = at % token.len();
                    token[at] ^= 1 << bit;
                }
                let Ok(token) = String::from_utf8(token) else { continue };
                let now = start() + Duration::seconds(seconds);
                // Twice, so that the second call finds the token in the cache.
                for _ in 0..2 {
                    prop_assert_eq!(
                        verifier.verify(&token, &keyrings[keyring], now).map(|verified| (*verified.claims).clone()),
                        verify(&token, &keyrings[keyring], &verifier.expected, now)
                    );
                }
            }
        }
    }
}
