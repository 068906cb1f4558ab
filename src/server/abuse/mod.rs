//! Protection against abuse: rate limits.

mod delay;
mod limit;
mod limiter;
mod network;

pub use limiter::RateLimiter;
