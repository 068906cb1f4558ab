//! The leaked passwords that nobody may choose: `data/leaked-passwords.filter`, a binary fuse filter over the 474,743
//! passwords of eight characters or more in a list of the million most common ones. `data/README.md` names the list,
//! its licence, and how the filter is made from it.
//!
//! The filter knows 16 bits of each password. So it finds every password of the list, and of others about one in
//! 65,536.

use std::sync::LazyLock;

use aws_lc_rs::digest::{SHA256, digest};
use xorf::{BinaryFuse16, BinaryFuse16Ref, DmaSerializable, Filter, FilterRef};

use super::Password;

/// The bytes of the filter, aligned as its numbers must be.
#[repr(align(8))]
struct Aligned<T: ?Sized>(T);

static BYTES: &Aligned<[u8]> = &Aligned(*include_bytes!("../../../data/leaked-passwords.filter"));

/// The numbers of the description, filled up so that those behind it are aligned.
const HEAD: usize = BinaryFuse16::DESCRIPTOR_LEN.next_multiple_of(8);

static FILTER: LazyLock<BinaryFuse16Ref<'static>> = LazyLock::new(|| {
    let (head, fingerprints) = BYTES.0.split_at(HEAD);
    BinaryFuse16Ref::from_dma(&head[..BinaryFuse16::DESCRIPTOR_LEN], fingerprints)
});

/// Tells whether `password`, in upper or lower case, is in the list.
pub(super) fn contains(password: &Password) -> bool {
    // The file's numbers are little-endian.
    cfg!(target_endian = "little") && FILTER.contains(&key(password.expose()))
}

fn key(password: &str) -> u64 {
    let password = zeroize::Zeroizing::new(password.to_lowercase());
    let sum = digest(&SHA256, password.as_bytes());
    let first = sum.as_ref().first_chunk().expect("a SHA-256 has 32 bytes");
    u64::from_le_bytes(*first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leaked_passwords_are_found_in_any_case() {
        for password in ["zrhfcjnrf17", "ZRHFCJNRF17", "Fktrcfylhf", "1q2w3e4r5t6y", "liverpool1892"] {
            assert!(contains(&password.into()), "{password}");
        }
    }

    #[test]
    fn of_passwords_that_are_not_in_the_list_one_in_65_536_is_found() {
        let found =
            (0..200_000).filter(|number| FILTER.contains(&key(&format!("no such password {number}"))));
        let found = found.count();
        assert!(found <= 12, "{found}, about 3 are expected");
    }

    /// Makes the filter, if there is a list: see `data/README.md`.
    #[test]
    fn the_filter_is_made_of_the_list_that_the_environment_names() {
        let Ok(list) = std::env::var("HALLPASS_TEST_LEAKED_LIST") else { return };
        let list = std::fs::read(list).unwrap();
        let lines = list.split(|byte| *byte == b'\n').filter_map(|line| std::str::from_utf8(line).ok());
        let lines = lines.map(|line| line.trim_end_matches('\r'));
        // A shorter one is refused for its length.
        let mut keys: Vec<u64> = lines.filter(|line| line.chars().count() >= 8).map(key).collect();
        keys.sort_unstable();
        keys.dedup();
        let filter = BinaryFuse16::try_from(&keys).unwrap();
        let mut bytes = vec![0; HEAD];
        filter.dma_copy_descriptor_to(&mut bytes[..BinaryFuse16::DESCRIPTOR_LEN]);
        bytes.extend_from_slice(filter.dma_fingerprints());
        std::fs::write(concat!(env!("CARGO_MANIFEST_DIR"), "/data/leaked-passwords.filter"), bytes).unwrap();
        assert_eq!(keys.len(), 474_743, "the number in this file and in the documents");
    }
}
