use super::*;
use crate::token::{Claims, Expected, TokenError, verify};

const SECRET: &[u8] = b"thirty-two bytes, or rather more of them";

/// Verifies as a guard does that has the maximum leeway, five minutes.
fn verified(mint: &Mint, token: Token) -> Result<Claims, TokenError> {
    let expected =
        Expected::new(&*mint.issuer, &*mint.audience).with_type(mint.typ).with_leeway(Duration::seconds(300));
    verify(&token.to_string(), &mint.keys().keys().unwrap(), &expected, mint.clock().now())
}

#[test]
fn under_every_algorithm_a_token_is_valid_unless_a_fault_was_asked_for() {
    type Wrong = fn(Token) -> Token;
    let es256 = Mint::with_key(fresh_key(Algorithm::Es256));
    let cases: [(&str, Wrong, Option<TokenError>); 5] = [
        ("good", |token| token, None),
        ("expired", Token::expired, Some(TokenError::Expired)),
        ("not yet valid", Token::not_yet_valid, Some(TokenError::NotYetValid)),
        ("forged", Token::forged, Some(TokenError::SignatureWrong)),
        ("foreign", Token::foreign, Some(TokenError::KeyUnknown)),
    ];
    for mint in [Mint::new(), es256, Mint::shared_secret(SECRET)] {
        for (name, wrong, expected) in cases {
            let found = verified(&mint, wrong(mint.token_for("ada"))).err();
            assert_eq!(found, expected, "{name}, {}", mint.key.algorithm());
        }
    }
}

#[test]
fn a_foreign_token_is_refused_by_a_guard_without_key_ids_and_by_one_that_has_its_key() {
    let mint = Mint::shared_secret(SECRET);
    let token = mint.token_for("ada").foreign().to_string();
    let keys = Keyring::from(crate::token::VerifyingKey::hs256(SECRET).unwrap());
    let expected = Expected::new(ISSUER, AUDIENCE);
    let unnamed = verify(&token, &keys, &expected, mint.clock().now());
    assert_eq!(unnamed, Err(TokenError::SignatureWrong));

    let payload = URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap();
    let payload: Value = serde_json::from_slice(&payload).unwrap();
    assert_eq!(payload["iss"], "https://another-issuer.test");
    let elsewhere = Mint { issuer: "https://another-issuer.test".to_owned(), ..mint.clone() };
    assert_eq!(verified(&mint, elsewhere.token_for("ada")), Err(TokenError::IssuerWrong));
}

#[test]
fn a_token_has_the_claims_that_were_set() {
    let mint = Mint::new().with_issuer("https://id.example").with_audience("https://api.example");
    let now = mint.clock().now();
    let token = mint
        .token_for(7)
        .email("ada@example.com")
        .roles(["admin", "editor"])
        .session("s1")
        .signed_in_ago(Duration::minutes(11))
        .signed_in_by(["pwd", "otp"])
        .lifetime(Duration::minutes(5))
        .claim("tenant", 3);
    let claims = verified(&mint, token).unwrap();
    assert_eq!((claims.iss.as_str(), claims.sub.as_str()), ("https://id.example", "7"));
    assert_eq!(claims.aud, "https://api.example".into());
    assert_eq!(claims.email.as_deref(), Some("ada@example.com"));
    assert_eq!((claims.roles.len(), claims.has_role("admin")), (2, true));
    assert_eq!(claims.sid.as_deref(), Some("s1"));
    assert_eq!(claims.issued_at(), Some(now));
    assert_eq!(claims.expires_at(), now + Duration::minutes(5));
    let custom: Value = claims.custom().unwrap();
    assert_eq!(custom["tenant"], 3);
    assert_eq!(claims.authenticated_at(), Some(now - Duration::minutes(11)));
    assert_eq!(claims.amr, ["pwd", "otp"]);
}

#[test]
fn a_claim_replaces_the_mints_own() {
    let mint = Mint::new();
    let wrong = |name, value: &str| verified(&mint, mint.token_for("ada").claim(name, value)).unwrap_err();
    assert_eq!(wrong("aud", "https://elsewhere.example"), TokenError::AudienceWrong);
    assert_eq!(wrong("exp", "tomorrow"), TokenError::ClaimInvalid("exp"));
}

#[test]
fn a_token_ages_with_the_mints_clock() {
    let mint = Mint::new();
    let token = mint.token_for("ada");
    let early = token.to_string();
    mint.clock().advance(Duration::hours(2));
    let keys = mint.keys().keys().unwrap();
    let expected = Expected::new(ISSUER, AUDIENCE);
    assert_eq!(verify(&early, &keys, &expected, mint.clock().now()), Err(TokenError::Expired));
    assert!(verified(&mint, token).is_ok(), "signed when it is written");
}

#[test]
fn two_mints_do_not_trust_each_other() {
    let (one, other) = (Mint::new(), Mint::new());
    let token = other.token_for("ada").to_string();
    let expected = Expected::new(ISSUER, AUDIENCE);
    let result = verify(&token, &one.keys().keys().unwrap(), &expected, one.clock().now());
    assert_eq!(result, Err(TokenError::KeyUnknown));
}

#[test]
fn a_token_has_the_type_that_the_guard_expects() {
    for typ in [TokenType::AtJwt, TokenType::Jwt, TokenType::Any] {
        let mint = Mint::new().with_token_type(typ);
        assert!(verified(&mint, mint.token_for("ada")).is_ok(), "{typ:?}");
    }
    let mint = Mint::new().with_token_type(TokenType::Jwt);
    let token = mint.token_for("ada").to_string();
    let expected = Expected::new(ISSUER, AUDIENCE);
    let result = verify(&token, &mint.keys().keys().unwrap(), &expected, mint.clock().now());
    assert_eq!(result, Err(TokenError::TypeRefused));
}

#[test]
#[should_panic(expected = "a shared secret of 5 bytes is too short")]
fn a_secret_that_no_guard_accepts_panics_with_the_reason() {
    let _ = Mint::shared_secret(b"short");
}
