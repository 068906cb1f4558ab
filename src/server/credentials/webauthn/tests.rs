//! The test vectors of the specification (Web Authentication, level 3, §16), and what is refused of them.

use serde::Deserialize;
use serde_json::json;

use super::*;
use crate::server::config::Settings;

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
    RelyingParty { id: "example.org".into(), origins: vec!["https://example.org".into()] }
}

impl Vector {
    fn registration(&self) -> RegistrationResponse {
        RegistrationResponse {
            id: bytes(&self.id),
            client_data: bytes(&self.create.client_data),
            attestation_object: bytes(&self.create.attestation_object),
            transports: vec![],
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
        let attestation = Attestation::read(&bytes(&self.create.attestation_object)).unwrap();
        let data = AuthenticatorData::read(&attestation.authenticator_data).unwrap();
        (data.made.unwrap().public_key, data.flags.backup_eligible())
    }

    fn sign_in(&self, response: &AssertionResponse) -> Result<Assertion, WebauthnError> {
        let (key, syncable) = self.key();
        verify_assertion(&party(), &bytes(&self.get.challenge), response, &key, syncable)
    }
}

#[test]
fn the_vectors_of_the_specification_without_attestation_are_registered() {
    for name in ["none-es256", "packed-self-es256", "none-es256-long-credential-id"] {
        let vector = vector(name);
        let made = vector.register().unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!((made.id, made.public_key), (bytes(&vector.id), vector.key().0), "{name}");
    }
}

#[test]
fn the_vectors_of_the_specification_sign_in_by_each_algorithm_that_is_asked_for() {
    for name in [
        "none-es256",
        "packed-self-es256",
        "none-es256-long-credential-id",
        "packed-es256",
        "packed-rs256",
        "packed-eddsa",
        "tpm-es256",
        "android-key-es256",
        "apple-es256",
        "fido-u2f-es256",
    ] {
        let vector = vector(name);
        vector.sign_in(&vector.assertion()).unwrap_or_else(|error| panic!("{name}: {error}"));
    }
}

#[test]
fn what_was_not_asked_for_is_refused() {
    for name in [
        "packed-es256",
        "packed-rs256",
        "packed-eddsa",
        "tpm-es256",
        "android-key-es256",
        "apple-es256",
        "fido-u2f-es256",
    ] {
        assert_eq!(vector(name).register(), Err(WebauthnError::Unsupported("attestation")), "{name}");
    }
    for name in ["packed-es384", "packed-es512", "packed-ed448"] {
        let vector = vector(name);
        assert_eq!(vector.register(), Err(WebauthnError::Unsupported("algorithm")), "{name}");
        let signed_in = vector.sign_in(&vector.assertion());
        assert_eq!(signed_in, Err(WebauthnError::Unsupported("algorithm")), "{name}");
    }
    for name in ["none-es256-crossOrigin", "none-es256-topOrigin"] {
        let vector = vector(name);
        assert_eq!(vector.register(), Err(WebauthnError::Mismatch("origin")), "{name}");
        assert_eq!(vector.sign_in(&vector.assertion()), Err(WebauthnError::Mismatch("origin")), "{name}");
    }
}

#[test]
fn the_signature_of_another_credential_is_refused() {
    let (key, syncable) = vector("none-es256-long-credential-id").key();
    for vector in vectors() {
        let challenge = bytes(&vector.get.challenge);
        let signed_in = verify_assertion(&party(), &challenge, &vector.assertion(), &key, syncable);
        let is_own = vector.name == "none-es256-long-credential-id";
        assert_eq!(signed_in.is_ok(), is_own, "{}", vector.name);
    }
}

#[test]
fn another_challenge_party_origin_or_ceremony_is_refused() {
    let vector = vector("none-es256");
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
    let vector = vector("none-es256");
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

fn settings(id: Option<&str>, origins: &[&str], url: Option<&str>) -> Settings {
    let mut settings = Settings::default();
    settings.passkey.rp_id = id.map(str::to_owned);
    settings.passkey.origins = origins.iter().map(|&origin| origin.to_owned()).collect();
    settings.server.public_url = url.map(str::to_owned);
    settings
}

#[test]
fn without_a_public_url_passkeys_are_of_localhost_on_any_port() {
    let local = RelyingParty::new(&Settings::default()).unwrap();
    assert_eq!(local.id, "localhost");
    for (origin, is_accepted) in [
        ("http://localhost", true),
        ("http://localhost:8080", true),
        ("https://localhost:8443", true),
        ("http://localhost:", false),
        ("http://localhost.example", false),
        ("http://localhost:8080.example", false),
        ("http://127.0.0.1:8080", false),
        ("file://localhost", false),
    ] {
        assert_eq!(local.accepts(origin), is_accepted, "{origin}");
    }
}

#[test]
fn the_party_is_that_of_the_public_url_unless_the_settings_name_another() {
    let table = [
        (None, &[][..], Some("https://id.example:8443/"), "id.example", &["https://id.example:8443"][..]),
        (None, &[], Some("https://id.example:443"), "id.example", &["https://id.example"]),
        (Some("example.com"), &[], None, "example.com", &["https://example.com"]),
        (
            Some("example.com"),
            &[],
            Some("https://id.example.com"),
            "example.com",
            &["https://id.example.com"],
        ),
        (Some("example.com"), &[], Some("http://10.0.0.5"), "example.com", &["https://example.com"]),
        (
            Some("example.com"),
            &["https://id.example.com", "https://example.com:8443"],
            None,
            "example.com",
            &["https://id.example.com", "https://example.com:8443"],
        ),
        (
            None,
            &["https://app.id.example:443"],
            Some("https://id.example"),
            "id.example",
            &["https://app.id.example"],
        ),
        (Some("localhost"), &["http://localhost:5173"], None, "localhost", &["http://localhost:5173"]),
        (None, &["http://app.localhost:5173"], None, "localhost", &["http://app.localhost:5173"]),
        (None, &[], Some("http://127.0.0.1:8080"), "localhost", &[]),
        (None, &[], Some("https://[::1]"), "localhost", &[]),
        (None, &[], Some("http://localhost:8080"), "localhost", &[]),
        (None, &[], Some("http://id.example"), "localhost", &[]),
    ];
    for (id, origins, url, expected, pages) in table {
        let party = RelyingParty::new(&settings(id, origins, url)).unwrap();
        assert_eq!(
            (party.id.as_str(), party.origins),
            (expected, pages.iter().map(|&page| page.into()).collect())
        );
    }
}

#[test]
fn origins_that_browsers_would_not_accept_are_refused_with_the_reason() {
    for (id, origin, reason) in [
        (None, "https://example.com", "pages of localhost and of its subdomains alone"),
        (Some("example.com"), "https://example.org", "pages of example.com and of its subdomains alone"),
        (Some("example.com"), "https://notexample.com", "pages of example.com and of its subdomains alone"),
        (Some("example.com"), "http://example.com", "over https, and over http on localhost alone"),
        (Some("example.com"), "http://id.example.com:8080", "over https, and over http on localhost alone"),
        (None, "http://127.0.0.1:8080", "not for IP addresses; on this computer, http://localhost has one"),
        (None, "https://[2001:db8::1]", "not for IP addresses"),
    ] {
        let told = RelyingParty::new(&settings(id, &[origin], None)).unwrap_err().to_string();
        assert!(
            told.starts_with(&format!("passkey.origins has {origin}: ")) && told.contains(reason),
            "{told}"
        );
    }
}

#[test]
fn a_public_url_whose_page_has_no_passkeys_is_warned_about_unless_it_is_the_loopback() {
    let warning = |url| check_passkeys(&settings(None, &[], Some(url))).unwrap();
    for url in ["http://id.example", "http://10.0.0.5:8080", "https://10.0.0.5"] {
        let told = warning(url).unwrap_or_else(|| panic!("{url}"));
        assert!(
            told.starts_with(&format!("server.public_url is {url}, where browsers offer no passkeys")),
            "{told}"
        );
    }
    for url in ["https://id.example", "http://localhost:8080", "http://127.0.0.1:8080", "http://[::1]:8080"] {
        assert_eq!(warning(url), None, "{url}");
    }
    assert_eq!(check_passkeys(&Settings::default()).unwrap(), None);
}

#[test]
fn the_transports_that_a_browser_names_are_kept_if_they_can_be_some() {
    let read = |transports: serde_json::Value| {
        let response = json!({"clientDataJSON": "", "attestationObject": "", "transports": transports});
        let credential = json!({"rawId": "AQID", "type": "public-key", "response": response});
        serde_json::from_value::<RegistrationResponse>(credential).map(|response| response.transports)
    };
    let named = json!(["usb", "internal", "usb", "smart-card", "a b", "", "USB", "seventeen-letters"]);
    assert_eq!(read(named).unwrap(), ["internal", "smart-card", "usb"]);
    assert_eq!(read(json!([])).unwrap(), Vec::<String>::new());
    assert_eq!(read(json!(('a'..='z').map(String::from).collect::<Vec<_>>())).unwrap().len(), 8);
    assert!(read(json!("usb")).is_err());
}
