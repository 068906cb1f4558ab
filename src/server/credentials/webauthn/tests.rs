//! The test vectors of the specification (Web Authentication, level 3, §16), and what is refused of them.

use serde::Deserialize;

use super::*;

#[derive(Deserialize)]
struct Vector {
    name: String,
    id: String,
    create: Create,
    get: Get,
}

#[derive(Deserialize)]
struct Create {
    challenge: String,
    client_data: String,
    attestation_object: String,
}

#[derive(Deserialize)]
struct Get {
    challenge: String,
    client_data: String,
    authenticator_data: String,
    signature: String,
}

fn bytes(hex: &str) -> Vec<u8> {
    data_encoding::HEXLOWER.decode(hex.as_bytes()).unwrap()
}

fn vectors() -> Vec<Vector> {
    serde_json::from_str(include_str!("vectors.json")).unwrap()
}

fn vector(name: &str) -> Vector {
    vectors().into_iter().find(|vector| vector.name == name).unwrap()
}

fn party() -> RelyingParty {
    RelyingParty::new(Some("example.org"), &[], None).unwrap()
}

impl Vector {
    fn registration(&self) -> RegistrationResponse {
        RegistrationResponse {
            id: bytes(&self.id),
            client_data: bytes(&self.create.client_data),
            attestation_object: bytes(&self.create.attestation_object),
        }
    }

    fn assertion(&self) -> AssertionResponse {
        AssertionResponse {
            id: bytes(&self.id),
            user_handle: None,
            client_data: bytes(&self.get.client_data),
            authenticator_data: bytes(&self.get.authenticator_data),
            signature: bytes(&self.get.signature),
        }
    }

    fn register(&self) -> Result<NewCredential, WebauthnError> {
        verify_registration(&party(), &bytes(&self.create.challenge), &self.registration())
    }

    /// The public key and whether it is syncable, whatever the attestation.
    fn key(&self) -> (Vec<u8>, bool) {
        let (_, _, data) = attestation(&bytes(&self.create.attestation_object)).unwrap();
        let data = AuthenticatorData::read(&data).unwrap();
        (data.made.unwrap().public_key, data.flags.backup_eligible())
    }

    fn sign_in(&self, response: &AssertionResponse) -> Result<Assertion, WebauthnError> {
        let (key, syncable) = self.key();
        verify_assertion(&party(), &bytes(&self.get.challenge), response, &key, syncable)
    }
}

#[test]
fn the_vectors_of_the_specification_are_verified() {
    for name in ["ES256", "ES256, self attestation", "a very long id"] {
        let vector = vector(name);
        let made = vector.register().unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!((made.id, made.public_key), (bytes(&vector.id), vector.key().0), "{name}");
    }
    for name in ["ES256", "ES256, self attestation", "a very long id", "RS256", "Ed25519"] {
        let vector = vector(name);
        vector.sign_in(&vector.assertion()).unwrap_or_else(|error| panic!("{name}: {error}"));
    }
}

#[test]
fn what_was_not_asked_for_is_refused() {
    for name in ["RS256", "Ed25519"] {
        assert_eq!(vector(name).register(), Err(WebauthnError::Unsupported("attestation")), "{name}");
    }
    assert_eq!(vector("ES384").register(), Err(WebauthnError::Unsupported("algorithm")));
    for name in ["in a frame of another origin", "in a frame, with the top origin"] {
        let vector = vector(name);
        assert_eq!(vector.register(), Err(WebauthnError::Mismatch("origin")), "{name}");
        assert_eq!(vector.sign_in(&vector.assertion()), Err(WebauthnError::Mismatch("origin")), "{name}");
    }
}

#[test]
fn another_challenge_party_origin_or_ceremony_is_refused() {
    let vector = vector("ES256");
    let (key, syncable) = vector.key();
    let challenge = bytes(&vector.get.challenge);
    let verify = |party: &RelyingParty, challenge: &[u8], response: &AssertionResponse| {
        verify_assertion(party, challenge, response, &key, syncable)
    };
    let good = || vector.assertion();
    assert!(verify(&party(), &challenge, &good()).is_ok());
    assert_eq!(verify(&party(), b"another", &good()), Err(WebauthnError::Mismatch("challenge")));
    let other = RelyingParty { id: "example.com".into(), ..party() };
    assert_eq!(verify(&other, &challenge, &good()), Err(WebauthnError::Mismatch("party")));
    let other = RelyingParty { origins: vec!["https://example.org:8443".into()], ..party() };
    assert_eq!(verify(&other, &challenge, &good()), Err(WebauthnError::Mismatch("origin")));
    let created = AssertionResponse { client_data: bytes(&vector.create.client_data), ..good() };
    assert_eq!(verify(&party(), &challenge, &created), Err(WebauthnError::Mismatch("ceremony")));
    assert_eq!(
        verify_assertion(&party(), &challenge, &good(), &key, !syncable),
        Err(WebauthnError::Mismatch("backup eligibility"))
    );
}

#[test]
fn an_altered_byte_of_what_is_signed_is_refused() {
    let vector = vector("ES256");
    for place in 0..vector.assertion().authenticator_data.len() {
        let mut response = vector.assertion();
        response.authenticator_data[place] ^= 1;
        assert!(vector.sign_in(&response).is_err(), "authenticator data, {place}");
    }
    for place in 0..vector.assertion().client_data.len() {
        let mut response = vector.assertion();
        response.client_data[place] ^= 1;
        assert!(vector.sign_in(&response).is_err(), "client data, {place}");
    }
    let mut response = vector.assertion();
    response.authenticator_data.push(0);
    assert_eq!(vector.sign_in(&response), Err(WebauthnError::Malformed("authenticator data")));
    let response = AssertionResponse { signature: vec![], ..vector.assertion() };
    assert_eq!(vector.sign_in(&response), Err(WebauthnError::Signature));
}

#[test]
fn an_attestation_that_is_cut_short_or_altered_never_panics() {
    for vector in vectors() {
        let whole = bytes(&vector.create.attestation_object);
        for length in 0..whole.len() {
            let cut = RegistrationResponse {
                attestation_object: whole[..length].to_vec(),
                ..vector.registration()
            };
            assert!(
                verify_registration(&party(), &bytes(&vector.create.challenge), &cut).is_err(),
                "{length}"
            );
        }
        for place in 0..whole.len() {
            let mut altered = vector.registration();
            altered.attestation_object[place] ^= 0x80;
            let _ = verify_registration(&party(), &bytes(&vector.create.challenge), &altered);
        }
    }
}

#[test]
fn the_party_is_one_that_browsers_accept() {
    let new = |id: Option<&str>, origins: &[&str]| {
        RelyingParty::new(id, &origins.iter().map(|&origin| origin.to_owned()).collect::<Vec<_>>(), None)
    };
    let local = new(None, &[]).unwrap();
    for (origin, is_accepted) in [
        ("http://localhost", true),
        ("http://localhost:8080", true),
        ("http://localhost:", false),
        ("http://localhost.example", false),
        ("http://localhost:8080.example", false),
        ("https://localhost", false),
        ("http://127.0.0.1:8080", false),
    ] {
        assert_eq!(local.accepts(origin), is_accepted, "{origin}");
    }
    assert_eq!(new(Some("example.com"), &[]).unwrap().origins, ["https://example.com"]);
    let several = ["https://id.example.com", "https://example.com:8443"];
    assert_eq!(new(Some("example.com"), &several).unwrap().origins, several);
    assert!(new(Some("localhost"), &["http://localhost:5173"]).is_ok());
    for (id, origins, reason) in [
        (None, ["https://example.com"], "passkey.rp_id is not set"),
        (Some("example.com"), ["https://example.org"], "of that host and of its subdomains alone"),
        (Some("example.com"), ["https://notexample.com"], "of that host and of its subdomains alone"),
        (Some("example.com"), ["http://example.com"], "over https, and over http on localhost alone"),
    ] {
        let told = new(id, &origins).unwrap_err();
        assert!(told.contains(reason), "{told}");
    }
    let by_url =
        |url| RelyingParty::new(None, &[], Some(url)).map(|party| (party.id, party.origins)).unwrap();
    assert_eq!(
        by_url("https://id.example:8443/"),
        ("id.example".into(), vec!["https://id.example:8443".into()])
    );
    for local in ["http://127.0.0.1:8080", "https://[::1]", "http://localhost:8080", "http://id.example"] {
        assert_eq!(by_url(local), ("localhost".into(), vec![]), "{local}");
    }
}
