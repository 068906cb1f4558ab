//! The cost of checking a stored hash, on this machine. An import needs it before anybody signs in with the hash.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use super::foreign::{Digest2, Foreign};
use super::password::ours;

/// The least work that counts as enough (OWASP Password Storage Cheat Sheet; PBKDF2 and scrypt lower, since hashes of
/// the usual frameworks at their earlier defaults would all be named).
const LEAST_BCRYPT_COST: u32 = 10;
const LEAST_PBKDF2_ROUNDS: u64 = 100_000;
const LEAST_SCRYPT_WORK: u64 = 1 << 17;
const LEAST_ARGON2_WORK: u64 = 35_000;

/// The cost of one stored hash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cost {
    /// The function and its number, for a person: "bcrypt of cost 4".
    pub name: String,
    /// The work is so little that whoever steals the hash tries many passwords.
    pub is_weak: bool,
    /// About how long one check keeps a core busy.
    pub time: Duration,
}

/// The times of the functions on this machine, each measured when it is first asked for.
#[derive(Debug, Default)]
pub(crate) struct Costs {
    per_unit: Vec<(Function, f64)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Function {
    Bcrypt,
    Argon2id,
    Scrypt,
    Pbkdf2(Digest2),
}

impl Costs {
    /// Returns the cost of a stored hash; `None` where it is not one that is accepted.
    pub(crate) fn of(&mut self, stored: &str) -> Option<Cost> {
        let foreign = ours(stored).map_or_else(|| Foreign::parse(stored), Foreign::parse).ok()?;
        let (function, work, name, is_weak) = match &foreign {
            Foreign::Bcrypt { hash, .. } => {
                let parts: bcrypt::HashParts = hash.parse().ok()?;
                let cost = parts.get_cost();
                (Function::Bcrypt, 1 << cost, format!("bcrypt of cost {cost}"), cost < LEAST_BCRYPT_COST)
            }
            Foreign::Argon2id { memory_kib, passes, .. } => {
                let work = u64::from(*memory_kib) * u64::from(*passes);
                let name = format!("argon2id of {memory_kib} KiB and passes {passes}");
                (Function::Argon2id, work, name, work < LEAST_ARGON2_WORK)
            }
            Foreign::Scrypt { log_n, r, p, .. } => {
                let work = (1 << log_n) * u64::from(*r) * u64::from(*p);
                let name = format!("scrypt of N 2^{log_n}, r {r} and p {p}");
                (Function::Scrypt, work, name, work < LEAST_SCRYPT_WORK)
            }
            Foreign::Pbkdf2 { digest, rounds, hash, .. } => {
                // One more run for each further block of output.
                let blocks = hash.len().div_ceil(digest.len()) as u64;
                let name = format!("PBKDF2 of rounds {rounds}");
                let is_weak = u64::from(*rounds) < LEAST_PBKDF2_ROUNDS;
                (Function::Pbkdf2(*digest), u64::from(*rounds) * blocks, name, is_weak)
            }
        };
        Some(Cost { name, is_weak, time: Duration::from_secs_f64(self.per_unit(function) * work as f64) })
    }

    /// Returns the seconds of one unit of work.
    fn per_unit(&mut self, function: Function) -> f64 {
        if let Some((_, seconds)) = self.per_unit.iter().find(|(known, _)| *known == function) {
            return *seconds;
        }
        let (sample, work) = function.sample();
        let began = thread_time();
        let _ = sample.verify("a password");
        let seconds = (thread_time() - began).as_secs_f64() / work as f64;
        self.per_unit.push((function, seconds));
        seconds
    }
}

/// Returns the time for which this thread has run. Unlike the time of day, it does not grow while others have the core.
fn thread_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}

impl Function {
    /// Returns a hash that is checked within some milliseconds, and its work.
    fn sample(self) -> (Foreign, u64) {
        let (salt, hash) = (b"salt of a sample".to_vec(), vec![0; 20]);
        match self {
            Self::Bcrypt => {
                let hash = "$2b$08$ECHSTyW86PwweIgxmnh2Lex0vxKuMNEEPr5XQx.T1FKwR2SvYtGEq".to_owned();
                (Foreign::Bcrypt { hash: hash.into(), prehashed: false }, 1 << 8)
            }
            Self::Argon2id => {
                (Foreign::Argon2id { memory_kib: 4_096, passes: 1, lanes: 1, salt, hash: hash.into() }, 4_096)
            }
            Self::Scrypt => (Foreign::Scrypt { log_n: 10, r: 8, p: 1, salt, hash: hash.into() }, 8 << 10),
            Self::Pbkdf2(digest) => {
                (Foreign::Pbkdf2 { digest, rounds: 10_000, salt, hash: hash.into() }, 10_000)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_work_of_a_hash_is_named_with_its_number_and_the_weak_ones_are_known() {
        let mut costs = Costs::default();
        let tail = "ECHSTyW86PwweIgxmnh2Lex0vxKuMNEEPr5XQx.T1FKwR2SvYtGEq";
        for (stored, name, is_weak) in [
            (format!("$2b$04${tail}"), "bcrypt of cost 4", true),
            (format!("$2b$10${tail}"), "bcrypt of cost 10", false),
            (format!("$hallpass$1$2b$09${tail}"), "bcrypt of cost 9", true),
            (
                "pbkdf2_sha256$1$saltsalt$+07ad3o8iOzWcExe4oPtbkGAEQv1mlPImPt/gur0FmQ=".to_owned(),
                "PBKDF2 of rounds 1",
                true,
            ),
            (
                "$argon2id$v=19$m=19456,t=2,p=1$ktaeBLfnO9ZWO+iQlEo2Eg$w2COAm1j8pANP/zSt7on6lRFicdQpMJUz0E4zutRMvI"
                    .to_owned(),
                "argon2id of 19456 KiB and passes 2",
                false,
            ),
        ] {
            let cost = costs.of(&stored).unwrap();
            assert_eq!((cost.name.as_str(), cost.is_weak), (name, is_weak));
        }
        assert_eq!(costs.of("plain"), None);
    }

    #[test]
    fn each_step_of_bcrypts_cost_doubles_the_time() {
        let mut costs = Costs::default();
        let mut of = |cost: &str| {
            let stored = format!("$2b${cost}$ECHSTyW86PwweIgxmnh2Lex0vxKuMNEEPr5XQx.T1FKwR2SvYtGEq");
            costs.of(&stored).unwrap().time
        };
        let ratio = of("15").as_secs_f64() / of("14").as_secs_f64();
        assert!((1.99..2.01).contains(&ratio), "{ratio}");
    }
}
