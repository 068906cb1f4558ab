//! The guard, step by step, with allocations counted. `cargo bench --bench guard`; names of benchmarks select some.

#![allow(clippy::disallowed_methods, reason = "a benchmark measures in real time")]

#[path = "support/in_process.rs"]
mod in_process;

use std::sync::Arc;

use actix_web::dev::Payload;
use actix_web::test::TestRequest;
use actix_web::{FromRequest, HttpRequest};
use chrono::Utc;
use divan::counter::ItemsCount;
use divan::{AllocProfiler, Bencher, black_box};
use futures_util::FutureExt;
use hallpass::testing::Mint;
use hallpass::token::{Algorithm, Expected, Grant, Issuer, KeyMaterial, Keyring, SigningKey, verify};
use hallpass::{AuthUser, CachedUser, Claims, Guard, Unavailable, UserSource};
use in_process::Case;

#[global_allocator]
static ALLOCATOR: AllocProfiler = AllocProfiler::system();

fn main() {
    divan::main();
}

const ALGORITHMS: [Algorithm; 3] = [Algorithm::EdDsa, Algorithm::Es256, Algorithm::Hs256];

/// A whole token: signature, header and claims, as when it is seen for the first time.
#[divan::bench(args = ALGORITHMS)]
fn verify_a_new_token(bencher: Bencher<'_, '_>, algorithm: Algorithm) {
    let material = KeyMaterial::generate(algorithm).unwrap();
    let kid = SigningKey::fresh_kid(algorithm, &material).unwrap();
    let key = Arc::new(SigningKey::with_kid(kid, algorithm, &material).unwrap());
    let grant = Grant { subject: "ada".into(), email: Some("ada@example.com".into()), ..Grant::default() };
    let token =
        Issuer::new("i", "a", chrono::Duration::hours(1)).issue(&key, &grant, Utc::now()).unwrap().token;
    let (keys, expected) = (Keyring::from(key), Expected::new("i", "a"));
    bencher.bench(|| verify(black_box(&token), &keys, &expected, Utc::now()).unwrap());
}

/// A user of an app's own.
struct Member;

/// Members: all of them in memory, or none at all.
struct Members(Option<Arc<Member>>);

impl UserSource for Members {
    type User = Member;

    fn cached(&self, _: &Claims) -> CachedUser<Member> {
        self.0.as_ref().map_or(CachedUser::Gone, |member| CachedUser::Found(Arc::clone(member)))
    }

    async fn find(&self, _: &Claims) -> Result<Option<Arc<Member>>, Unavailable> {
        Ok(self.0.clone())
    }
}

/// The extractor alone, on a request with this header, in an app with this guard.
fn extract<U: Send + Sync + 'static>(bencher: Bencher<'_, '_>, guard: &Guard<U>, authorization: &str) {
    let request = || -> HttpRequest {
        let request = TestRequest::get().app_data(guard.clone());
        request.insert_header(("authorization", authorization)).to_http_request()
    };
    bencher.with_inputs(request).bench_local_refs(|request| {
        AuthUser::<U>::from_request(request, &mut Payload::None).now_or_never().unwrap().is_ok()
    });
}

#[divan::bench]
fn extract_a_known_token(bencher: Bencher<'_, '_>) {
    let mint = Mint::new();
    extract(bencher, &mint.guard(), &format!("Bearer {}", mint.token_for("ada")));
}

#[divan::bench]
fn extract_a_known_token_and_find_its_user(bencher: Bencher<'_, '_>) {
    let mint = Mint::new();
    let guard = mint.builder().users(Members(Some(Arc::new(Member)))).build().unwrap();
    extract(bencher, &guard, &format!("Bearer {}", mint.token_for("ada")));
}

#[divan::bench]
fn refuse_a_user_who_is_gone(bencher: Bencher<'_, '_>) {
    let mint = Mint::new();
    let guard = mint.builder().users(Members(None)).build().unwrap();
    extract(bencher, &guard, &format!("Bearer {}", mint.token_for("ada")));
}

#[divan::bench]
fn refuse_an_expired_token(bencher: Bencher<'_, '_>) {
    let mint = Mint::new();
    extract(bencher, &mint.guard(), &format!("Bearer {}", mint.token_for("ada").expired()));
}

#[divan::bench(args = ["", "Basic dXNlcjpwYXNz", "Bearer not.a.token", "Bearer two words"])]
fn refuse(bencher: Bencher<'_, '_>, authorization: &str) {
    extract(bencher, &Mint::new().guard(), authorization);
}

/// Whole requests on one connection, through actix's HTTP/1 code: the cases of `.ci/instructions`, among them the
/// middleware added one by one.
#[divan::bench(args = Case::NAMES, sample_count = 50)]
fn request(bencher: Bencher<'_, '_>, name: &str) {
    const REQUESTS: usize = 200;
    let system = actix_rt::System::new();
    let case = system.block_on(Case::prepare(name));
    bencher.counter(ItemsCount::new(REQUESTS)).bench_local(|| system.block_on(case.run(REQUESTS)));
}
