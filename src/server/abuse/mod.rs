//! Protection against abuse: rate limits.

mod delay;
mod limit;
mod limiter;
mod network;

pub(crate) use limiter::Attempt;
pub use limiter::RateLimiter;
