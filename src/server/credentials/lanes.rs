//! bcrypt over up to four passwords at once, in one thread.
//!
//! A single computation of bcrypt leaves most of a core idle: each step of Blowfish waits for a table entry whose
//! address the step before it computed. Four computations in lockstep wait at the same time, so that a core computes
//! about three times as many hashes. No crate does this: `bcrypt` and `blowfish` have one state and no way into it.
//! `benches/lanes.rs` fails if a compiler loses the gain.
//!
//! The digests are those of the crate `bcrypt`, which still reads and judges the stored strings. The algorithm is that
//! of N. Provos and D. Mazières, "A Future-Adaptable Password Scheme", USENIX 1999; Blowfish is B. Schneier's, FSE
//! 1993.

mod pi;

use std::array;

use zeroize::Zeroize;

/// The passwords in one batch. More do not pay: the states of four fill a third of a core's first cache, and their
/// loads nearly all that a core can do.
pub(super) const LANES: usize = 4;

/// The longest key in bytes, its final NUL included where there is room for it.
const MAX_KEY: usize = 72;

/// The steps of a password's work between two calls of [`Lanes::advance`]: a few milliseconds.
const STEPS: u32 = 64;

/// The text that bcrypt encrypts in the end, `OrpheanBeholderScryDoubt`, in blocks.
const TEXT: [[u32; 2]; 3] = [[0x4f727068, 0x65616e42], [0x65686f6c, 0x64657253], [0x63727944, 0x6f756274]];

/// A batch of passwords. Each can be of another cost; one that is done makes room for the next while the others go on.
/// A `T` comes with each password, and is given back with its digest.
pub(super) struct Lanes<T> {
    /// The first `tags.len()` of them are in use, in the order of the tags.
    lanes: Box<[Lane; LANES]>,
    tags: Vec<T>,
}

/// One password: the state of Blowfish, and what is left to do.
struct Lane {
    subkeys: [u32; 18],
    boxes: [[u32; 256]; 4],
    key: [u32; 18],
    salt: [u32; 4],
    left: u32,
}

impl<T> Lanes<T> {
    pub(super) fn new() -> Self {
        Self { lanes: Box::new(array::from_fn(|_| Lane::EMPTY)), tags: Vec::with_capacity(LANES) }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.tags.is_empty()
    }

    pub(super) fn is_full(&self) -> bool {
        self.tags.len() == LANES
    }

    /// Adds a password, of which the first 72 bytes count. `cost` is at most 31, and there is room for one more.
    pub(super) fn add(&mut self, password: &[u8], salt: [u8; 16], cost: u32, tag: T) {
        self.lanes[self.tags.len()].begin(password, salt, cost);
        self.tags.push(tag);
    }

    /// Computes for a few milliseconds. Calls `done` with each digest that is complete.
    pub(super) fn advance(&mut self, mut done: impl FnMut(T, [u8; 23])) {
        let lanes = &mut self.lanes[..self.tags.len()];
        let steps = lanes.iter().map(|lane| lane.left).min().unwrap_or(0).min(STEPS);
        // The number is a constant in each arm, so that the loops over it are unrolled.
        match lanes {
            [one] => run(array::from_mut(one), steps),
            [_, _] => run::<2>(lanes.try_into().expect("two"), steps),
            [_, _, _] => run::<3>(lanes.try_into().expect("three"), steps),
            _ => run::<LANES>(&mut self.lanes, steps),
        }
        for place in (0..self.tags.len()).rev() {
            if self.lanes[place].left == 0 {
                done(self.tags.swap_remove(place), self.lanes[place].digest());
                self.lanes.swap(place, self.tags.len());
                self.lanes[self.tags.len()].zeroize();
            }
        }
    }
}

impl<T> Drop for Lanes<T> {
    fn drop(&mut self) {
        self.lanes.iter_mut().for_each(Zeroize::zeroize);
    }
}

impl Lane {
    const EMPTY: Self = Self { subkeys: [0; 18], boxes: [[0; 256]; 4], key: [0; 18], salt: [0; 4], left: 0 };

    /// Begins with a password: `EksBlowfishSetup` up to its loop.
    fn begin(&mut self, password: &[u8], salt: [u8; 16], cost: u32) {
        let password = &password[..password.len().min(MAX_KEY)];
        let length = (password.len() + 1).min(MAX_KEY);
        let byte = |place: usize| password.get(place % length).copied().unwrap_or(0);
        self.key = array::from_fn(|word| u32::from_be_bytes(array::from_fn(|place| byte(4 * word + place))));
        self.salt = array::from_fn(|word| u32::from_be_bytes(array::from_fn(|place| salt[4 * word + place])));
        let (subkeys, boxes) = pi::PI.split_at(self.subkeys.len());
        self.subkeys.copy_from_slice(subkeys);
        self.boxes.as_flattened_mut().copy_from_slice(boxes);
        self.left = 1 << cost;
        expand(array::from_mut(self), |lane, word| lane.key[word], |lane, word| lane.salt[word % 4]);
    }

    /// Encrypts the text 64 times, which gives the digest. bcrypt drops its last byte.
    fn digest(&self) -> [u8; 23] {
        let mut digest = [0; 24];
        for (text, bytes) in TEXT.into_iter().zip(digest.chunks_exact_mut(8)) {
            let [mut left, mut right] = text.map(|word| [word]);
            for _ in 0..64 {
                encrypt(array::from_ref(self), &mut left, &mut right);
            }
            bytes[..4].copy_from_slice(&left[0].to_be_bytes());
            bytes[4..].copy_from_slice(&right[0].to_be_bytes());
        }
        array::from_fn(|place| digest[place])
    }

    /// The function F of Blowfish. An index of eight bits needs no check.
    #[inline(always)]
    fn substitute(&self, word: u32) -> u32 {
        let entry = |place: usize, byte: u32| self.boxes[place][usize::from(byte as u8)];
        (entry(0, word >> 24).wrapping_add(entry(1, word >> 16)) ^ entry(2, word >> 8))
            .wrapping_add(entry(3, word))
    }
}

impl Zeroize for Lane {
    fn zeroize(&mut self) {
        self.subkeys.zeroize();
        self.boxes.zeroize();
        self.key.zeroize();
        self.salt.zeroize();
        self.left.zeroize();
    }
}

/// Does `steps` steps of the loop of `EksBlowfishSetup` in each lane.
#[inline(never)]
fn run<const N: usize>(lanes: &mut [Lane; N], steps: u32) {
    for _ in 0..steps {
        expand(lanes, |lane, word| lane.key[word], |_, _| 0);
        expand(lanes, |lane, word| lane.salt[word % 4], |_, _| 0);
    }
    for lane in lanes {
        lane.left -= steps;
    }
}

/// Replaces the state of each lane by a chain of encryptions: `ExpandKey` with this key and this salt, word by word.
#[inline(always)]
fn expand<const N: usize>(
    lanes: &mut [Lane; N],
    key: impl Fn(&Lane, usize) -> u32,
    salt: impl Fn(&Lane, usize) -> u32,
) {
    for lane in &mut *lanes {
        for word in 0..18 {
            lane.subkeys[word] ^= key(lane, word);
        }
    }
    let (mut left, mut right) = ([0; N], [0; N]);
    for word in (0..18).step_by(2) {
        encrypt_next(lanes, &mut left, &mut right, &salt, word);
        for n in 0..N {
            lanes[n].subkeys[word] = left[n];
            lanes[n].subkeys[word + 1] = right[n];
        }
    }
    for s_box in 0..4 {
        for word in (0..256).step_by(2) {
            // 18 words of salt are used up, and each box takes a multiple of four.
            encrypt_next(lanes, &mut left, &mut right, &salt, 18 + word);
            for n in 0..N {
                lanes[n].boxes[s_box][word] = left[n];
                lanes[n].boxes[s_box][word + 1] = right[n];
            }
        }
    }
}

/// Encrypts the next block of each lane's chain, salted with two words.
#[inline(always)]
fn encrypt_next<const N: usize>(
    lanes: &[Lane; N],
    left: &mut [u32; N],
    right: &mut [u32; N],
    salt: impl Fn(&Lane, usize) -> u32,
    word: usize,
) {
    for n in 0..N {
        left[n] ^= salt(&lanes[n], word);
        right[n] ^= salt(&lanes[n], word + 1);
    }
    encrypt(lanes, left, right);
}

/// Encrypts one block in each lane. Within a round no lane waits for another, and no subkey waits for a table entry.
#[inline(always)]
fn encrypt<const N: usize>(lanes: &[Lane; N], left: &mut [u32; N], right: &mut [u32; N]) {
    for n in 0..N {
        left[n] ^= lanes[n].subkeys[0];
    }
    for round in (0..16).step_by(2) {
        for n in 0..N {
            right[n] = (right[n] ^ lanes[n].subkeys[round + 1]) ^ lanes[n].substitute(left[n]);
        }
        for n in 0..N {
            left[n] = (left[n] ^ lanes[n].subkeys[round + 2]) ^ lanes[n].substitute(right[n]);
        }
    }
    for n in 0..N {
        right[n] ^= lanes[n].subkeys[17];
    }
    std::mem::swap(left, right);
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::super::password::BASE_64;
    use super::*;

    /// Computes all digests, with as many lanes in use as there are passwords for.
    fn digests(passwords: &[(Vec<u8>, [u8; 16], u32)]) -> Vec<[u8; 23]> {
        let mut lanes = Lanes::new();
        let mut digests = vec![[0; 23]; passwords.len()];
        let mut waiting = passwords.iter().enumerate().peekable();
        while waiting.peek().is_some() || !lanes.is_empty() {
            while !lanes.is_full()
                && let Some((place, (password, salt, cost))) = waiting.next()
            {
                lanes.add(password, *salt, *cost, place);
            }
            lanes.advance(|place, digest| digests[place] = digest);
        }
        digests
    }

    fn by_the_crate((password, salt, cost): &(Vec<u8>, [u8; 16], u32)) -> [u8; 23] {
        let hash = bcrypt::hash_with_salt(password, *cost, *salt).unwrap().to_string();
        let mut digest = [0; 23];
        BASE_64.decode_slice(&hash[29..], &mut digest).unwrap();
        digest
    }

    /// Published with jBCrypt (`TestBCrypt.java`).
    const VECTORS: &[(&str, &str)] = &[
        ("", "$2a$06$DCq7YPn5Rq63x1Lad4cll.TV4S6ytwfsfvkgY8jIucDrjc8deX1s."),
        ("", "$2a$08$HqWuK6/Ng6sg9gQzbLrgb.Tl.ZHfXLhvt/SgVyWhQqgqcZ7ZuUtye"),
        ("a", "$2a$06$m0CrhHm10qJ3lXRY.5zDGO3rS2KdeeWLuGmsfGlMfOxih58VYVfxe"),
        ("a", "$2a$08$cfcvVd2aQ8CMvoMpP2EBfeodLEkkFJ9umNEfPD18.hUF62qqlC/V."),
        ("abc", "$2a$06$If6bvum7DFjUnE9p2uDeDu0YHzrHM6tf.iqN8.yx.jNN1ILEf7h0i"),
        ("abcdefghijklmnopqrstuvwxyz", "$2a$06$.rCVZVOThsIa97pEDOxvGuRRgzG64bvtJ0938xuqzv18d3ZpQhstC"),
        ("abcdefghijklmnopqrstuvwxyz", "$2a$08$aTsUwsyowQuzRrDqFflhgekJ8d9/7Z3GV3UcgvzQW3J5zMyrTvlz."),
        (
            "~!@#$%^&*()      ~!@#$%^&*()PNBFRD",
            "$2a$06$fPIsBO8qRqkjj273rfaOI.HtSV9jLDpTbZn782DC6/t7qT67P6FfO",
        ),
    ];

    #[test]
    fn the_published_vectors_come_out_of_one_batch() {
        let parts = |hash: &str| hash.parse::<bcrypt::HashParts>().unwrap();
        let passwords: Vec<_> = VECTORS
            .iter()
            .map(|(password, hash)| {
                (password.as_bytes().to_vec(), parts(hash).get_salt_raw(), parts(hash).get_cost())
            })
            .collect();
        for ((_, hash), digest) in VECTORS.iter().zip(digests(&passwords)) {
            assert_eq!(BASE_64.encode(digest), hash[29..], "{hash}");
        }
    }

    #[test]
    fn every_length_gives_the_digest_of_the_crate() {
        let passwords: Vec<_> = (0..=80).map(|length| (vec![b'x'; length], [length as u8; 16], 4)).collect();
        for (password, digest) in passwords.iter().zip(digests(&passwords)) {
            assert_eq!(digest, by_the_crate(password), "{}", password.0.len());
        }
    }

    #[test]
    fn what_is_done_is_wiped() {
        let mut lanes = Lanes::new();
        lanes.add(b"short", [1; 16], 4, ());
        lanes.add(b"long", [2; 16], 8, ());
        lanes.advance(|(), _| ());
        assert_eq!(lanes.tags.len(), 1);
        for lane in &lanes.lanes[1..] {
            assert_eq!((lane.key, lane.salt, lane.subkeys), ([0; 18], [0; 4], [0; 18]));
            assert!(lane.boxes.as_flattened().iter().all(|word| *word == 0));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(8))]

        #[test]
        fn any_mix_of_costs_salts_and_lengths_gives_the_digests_of_the_crate(
            passwords in vec((vec(any::<u8>(), 0..100), any::<[u8; 16]>(), 4_u32..7), 1..9),
        ) {
            let expected: Vec<_> = passwords.iter().map(by_the_crate).collect();
            prop_assert_eq!(digests(&passwords), expected);
        }
    }
}
