//! Generated credentials: none that nobody signed is accepted.

use actix_web::FromRequest;
use actix_web::dev::Payload;
use actix_web::http::header::HeaderValue;
use actix_web::test::TestRequest;
use futures_util::FutureExt;
use hallpass::{AuthUser, Guard, Refusal, User};
use proptest::prelude::*;

use super::support::TestIssuer;

/// The reason for which the guard refuses a request with this header; `None` if it accepts it.
fn refusal(guard: &Guard, value: &[u8]) -> Option<Refusal> {
    let value = HeaderValue::from_bytes(value).ok()?;
    let request =
        TestRequest::get().insert_header(("authorization", value)).app_data(guard.clone()).to_http_request();
    let decision = AuthUser::<User>::from_request(&request, &mut Payload::None);
    // For a user from the claims, the decision is made in the first poll.
    decision.now_or_never().unwrap().err().map(|refused| refused.reason())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn no_header_that_nobody_signed_passes_or_panics(
        scheme in prop_oneof![Just("Bearer "), Just("bearer  "), Just(""), Just("Basic ")],
        value in prop_oneof![
            "[\\x20-\\x7e]{0,80}",
            "[A-Za-z0-9_-]{0,60}\\.[A-Za-z0-9_-]{0,60}\\.[A-Za-z0-9_-]{0,90}",
        ],
    ) {
        let guard = TestIssuer::new().builder().accept_bare(true).build().unwrap();
        let header = [scheme.as_bytes(), value.as_bytes()].concat();
        prop_assert!(refusal(&guard, &header).is_some());
    }

    #[test]
    fn no_token_of_which_a_byte_was_changed_passes(position in any::<prop::sample::Index>(), byte in 0x21_u8..0x7f) {
        let issuer = TestIssuer::new();
        let mut header = issuer.bearer().into_bytes();
        prop_assert_eq!(refusal(&issuer.guard(), &header), None, "the control");
        let position = "Bearer ".len() + position.index(header.len() - "Bearer ".len());
        prop_assume!(header[position] != byte);
        header[position] = byte;
        prop_assert!(refusal(&issuer.guard(), &header).is_some());
    }
}
