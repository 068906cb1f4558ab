use proptest::prelude::*;

use super::*;

const PASSPHRASE: &str = "a river of seventeen blue lanterns";
const SECRET: &[u8] = b"the private key, forty-eight bytes of PKCS#8 DER";

fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(1_900_000_000, 123_456_789).unwrap()
}

fn new_installation() -> (Vault, SealedInstallation, SealedKey) {
    let (vault, installation) =
        Vault::create_with(&PASSPHRASE.into(), KdfParams::for_tests(), now()).unwrap();
    let key = vault.seal_key("kid-1", "EdDSA", "access-token", now(), now(), SECRET).unwrap();
    (vault, installation, key)
}

#[test]
fn the_passphrase_unseals_the_vault_and_the_vault_its_keys() {
    let (vault, installation, key) = new_installation();
    let unsealed = Vault::unseal(&installation, &PASSPHRASE.into()).unwrap();
    assert_eq!(unsealed.id(), vault.id());
    assert_eq!(&**unsealed.unseal_key(&key).unwrap(), SECRET);
}

#[test]
fn the_default_cost_of_stretching_is_that_of_the_contract() {
    let (_, installation) = Vault::create(&PASSPHRASE.into(), now()).unwrap();
    assert_eq!(installation.kdf, KdfParams { memory_kib: 65_536, iterations: 3, lanes: 4 });
    assert!(Vault::unseal(&installation, &PASSPHRASE.into()).is_ok());
}

#[test]
fn any_other_passphrase_is_wrong() {
    let (_, installation, _) = new_installation();
    for wrong in ["", "A river of seventeen blue lanterns", "a river of seventeen blue lanterns "] {
        assert_eq!(
            Vault::unseal(&installation, &wrong.into()).err(),
            Some(VaultError::WrongPassphrase),
            "{wrong:?}"
        );
    }
}

#[test]
fn an_altered_row_does_not_unseal() {
    let (vault, installation, key) = new_installation();
    let (_, other, other_key) = new_installation();
    let second = Duration::seconds(1);
    let altered = [
        ("the kid", SealedKey { kid: "kid-2".into(), ..key.clone() }),
        ("the algorithm", SealedKey { algorithm: "HS256".into(), ..key.clone() }),
        ("the purpose", SealedKey { purpose: "refresh".into(), ..key.clone() }),
        (
            "a character moved between fields",
            SealedKey { kid: "kid-1E".into(), algorithm: "dDSA".into(), ..key.clone() },
        ),
        ("the time it was made", SealedKey { created_at: key.created_at + second, ..key.clone() }),
        ("the time it signs from", SealedKey { signs_from: key.signs_from - second, ..key.clone() }),
        ("the seal of another installation", SealedKey { sealed: other_key.sealed.clone(), ..key.clone() }),
        ("a seal cut short", SealedKey { sealed: key.sealed[..5].to_vec(), ..key.clone() }),
        ("no seal", SealedKey { sealed: vec![], ..key.clone() }),
    ];
    for (what, key) in altered {
        assert_eq!(vault.unseal_key(&key).err(), Some(VaultError::KeyAltered(key.kid.clone())), "{what}");
    }
    let wrong = Some(VaultError::WrongPassphrase);
    let altered = [
        ("the id", SealedInstallation { id: other.id, ..installation.clone() }),
        ("the salt", SealedInstallation { salt: other.salt.clone(), ..installation.clone() }),
        ("the key", SealedInstallation { sealed_key: other.sealed_key.clone(), ..installation.clone() }),
        ("the time", SealedInstallation { created_at: now() + second, ..installation.clone() }),
        ("the generation", SealedInstallation { generation: 2, ..installation.clone() }),
        ("no key", SealedInstallation { sealed_key: vec![], ..installation.clone() }),
    ];
    for (what, installation) in altered {
        assert_eq!(Vault::unseal(&installation, &PASSPHRASE.into()).err(), wrong, "{what}");
    }
}

#[test]
fn a_signing_key_that_was_sealed_before_there_was_a_header_unseals() {
    let (vault, _, key) = new_installation();
    let derived = vault.derive("signing-key seal");
    let data = key.headerless_associated_data(vault.id());
    let old = SealedKey { sealed: seal::encrypt(&*derived, SECRET, &data).unwrap(), ..key.clone() };
    assert_eq!(&**vault.unseal_key(&old).unwrap(), SECRET);
    assert!(!vault.is_current(&old.sealed) && vault.is_current(&key.sealed));
    let altered = SealedKey { kid: "kid-2".into(), ..old };
    assert_eq!(vault.unseal_key(&altered).err(), Some(VaultError::KeyAltered("kid-2".into())));
}

#[test]
fn anything_can_be_sealed_for_its_row_and_purpose() {
    let (vault, ..) = new_installation();
    let sealed = vault.seal(Purpose::TotpSecret, &[b"ada"], SECRET).unwrap();
    assert_eq!(&**vault.open(Purpose::TotpSecret, &[b"ada"], &sealed).unwrap(), SECRET);
    let altered = Some(VaultError::Altered("the secret of an authenticator app"));
    assert_eq!(vault.open(Purpose::TotpSecret, &[b"bob"], &sealed).err(), altered);
    let later = [&sealed[..2], &9_u32.to_be_bytes(), &sealed[6..]].concat();
    let unknown = vault.open(Purpose::TotpSecret, &[b"ada"], &later).err();
    assert_eq!(unknown, Some(VaultError::UnknownGeneration(9)));
}

#[test]
fn an_installation_that_was_sealed_before_there_was_a_header_unseals() {
    let (vault, installation, key) = new_installation();
    let stretched = stretch(&PASSPHRASE.into(), installation.kdf, &installation.salt).unwrap();
    let data = installation.headerless_associated_data();
    let sealed_key = seal::encrypt(&*stretched, &*vault.newest().key, &data).unwrap();
    let old = SealedInstallation { sealed_key, ..installation };
    let unsealed = Vault::unseal(&old, &PASSPHRASE.into()).unwrap();
    assert_eq!(&**unsealed.unseal_key(&key).unwrap(), SECRET);
    let altered = SealedInstallation { generation: 2, ..old };
    assert!(Vault::unseal(&altered, &PASSPHRASE.into()).is_err());
}

#[test]
fn the_next_installation_key_unseals_what_the_earlier_ones_sealed_and_they_nothing_of_it() {
    let (vault, installation, key) = new_installation();
    let throttle = vault.derive("throttle");
    let (next, sealed, earlier) = vault.next(&installation, &PASSPHRASE.into(), now()).unwrap();
    assert_eq!((sealed.generation, sealed.id, earlier.len()), (2, installation.id, 1));
    let later = Vault::unseal(&sealed, &PASSPHRASE.into()).unwrap();
    assert_eq!(later.unseal_key(&key).err(), Some(VaultError::UnknownGeneration(1)));
    later.add_earlier(&earlier).unwrap();
    assert_eq!(&**later.unseal_key(&key).unwrap(), SECRET);
    let new = later.seal(Purpose::PasswordHash, &[], SECRET).unwrap();
    assert_eq!(vault.open(Purpose::PasswordHash, &[], &new).err(), Some(VaultError::UnknownGeneration(2)));
    assert!(later.is_current(&new) && !later.is_current(&key.sealed));
    vault.adopt(next);
    assert_eq!(&**vault.open(Purpose::PasswordHash, &[], &new).unwrap(), SECRET);
    assert_eq!((vault.derive("throttle"), later.derive("throttle")), (throttle.clone(), throttle));
    let moved = [EarlierKey { generation: 3, ..earlier[0].clone() }];
    assert!(later.add_earlier(&moved).is_err());
}

#[test]
fn a_stretching_that_is_too_cheap_or_too_costly_is_refused() {
    let (_, installation, _) = new_installation();
    for (memory_kib, iterations, lanes) in [
        (8, 1, 1),
        (65_535, 3, 4),
        (65_536, 2, 4),
        (65_536, 3, 3),
        (u32::MAX, 3, 4),
        (65_536, u32::MAX, 4),
        (65_536, 3, u32::MAX),
    ] {
        let altered =
            SealedInstallation { kdf: KdfParams { memory_kib, iterations, lanes }, ..installation.clone() };
        assert_eq!(Vault::unseal(&altered, &PASSPHRASE.into()).err(), Some(VaultError::Parameters));
    }
}

#[test]
fn another_passphrase_unseals_the_same_vault_after_resealing() {
    let (vault, installation, key) = new_installation();
    let resealed = vault.reseal(&installation, &"nine copper kettles in the rain".into()).unwrap();
    assert_eq!((resealed.id, resealed.created_at), (installation.id, installation.created_at));
    assert_ne!(resealed.salt, installation.salt);
    let unsealed = Vault::unseal(&resealed, &"nine copper kettles in the rain".into()).unwrap();
    assert_eq!(&**unsealed.unseal_key(&key).unwrap(), SECRET);
    assert!(Vault::unseal(&resealed, &PASSPHRASE.into()).is_err());
}

#[test]
fn each_purpose_and_each_installation_has_a_key_of_its_own() {
    let ((one, ..), (other, ..)) = (new_installation(), new_installation());
    assert_eq!(one.derive("a"), one.derive("a"));
    assert_ne!(one.derive("a"), one.derive("b"));
    assert_ne!(one.derive("a"), other.derive("a"));
}

#[test]
fn rows_and_debug_show_no_secret() {
    let (vault, installation, key) = new_installation();
    let key_bytes = vault.newest().key.to_vec();
    for secret in [SECRET, PASSPHRASE.as_bytes(), &key_bytes] {
        for row in [&installation.sealed_key, &installation.salt, &key.sealed] {
            assert!(!row.windows(8).any(|window| secret.windows(8).any(|piece| piece == window)));
        }
    }
    assert_eq!(format!("{vault:?}"), format!("Vault {{ id: {}, .. }}", vault.id()));
}

proptest! {
    #[test]
    fn no_altered_byte_unseals(position in 0_usize..82, bit in 0_u8..8) {
        let (vault, mut installation, mut key) = new_installation();
        let length = key.sealed.len();
        key.sealed[position % length] ^= 1 << bit;
        prop_assert!(vault.unseal_key(&key).is_err());
        let length = installation.sealed_key.len();
        installation.sealed_key[position % length] ^= 1 << bit;
        prop_assert!(Vault::unseal(&installation, &PASSPHRASE.into()).is_err());
    }
}
