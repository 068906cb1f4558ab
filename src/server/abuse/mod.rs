//! Protection against abuse: rate limits.

mod limit;
mod limiter;

pub use limiter::RateLimiter;
