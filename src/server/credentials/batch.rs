//! The batch of one hashing thread: up to four bcrypt hashes in lockstep, or one task of another kind.

use zeroize::Zeroizing;

use super::error::HashError;
use super::lanes::Lanes;
use super::password::{Bcrypt, StoredHash, verify_foreign};
use super::rules::strength;
use super::{Password, PasswordContext, Strength};

/// A task of the hashing service.
pub(super) enum Task {
    Hash(Password),
    Verify(Password, StoredHash),
    Estimate(Password, PasswordContext),
}

/// The outcome of a task of the same name.
pub(super) enum Outcome {
    Hash(String),
    Verify(bool),
    Estimate(Strength),
}

/// The tasks that one thread is computing. An `A` comes with each, and is given back with its outcome.
pub(super) struct Batch<A> {
    /// The cost of new hashes.
    cost: u32,
    lanes: Lanes<(Kind, Bcrypt, A)>,
    /// A task that is not bcrypt's. It is computed when the lanes are empty, and none is added before.
    alone: Option<(Alone, A)>,
}

enum Alone {
    Verify(Password, Zeroizing<String>),
    Estimate(Password, PasswordContext),
}

enum Begun {
    Bcrypt(Kind, Bcrypt),
    Alone(Alone),
}

enum Kind {
    Hash,
    Verify,
    /// Work without a use, which follows a comparison with a hash of a lower cost: its outcome, and the next cost. An
    /// account whose hash is older than the configured cost would otherwise be told by its shorter time.
    MakeUp(bool, u32),
}

impl<A> Batch<A> {
    pub(super) fn new(cost: u32) -> Self {
        Self { cost, lanes: Lanes::new(), alone: None }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.lanes.is_empty() && self.alone.is_none()
    }

    /// Tells whether there is room for one more task.
    pub(super) fn has_room(&self) -> bool {
        !self.lanes.is_full() && self.alone.is_none()
    }

    /// Adds a task, for which there must be room. Calls `done` if it fails at once.
    pub(super) fn add(&mut self, task: Task, answer: A, done: impl FnOnce(A, Result<Outcome, HashError>)) {
        match self.begin(task) {
            Ok(Begun::Bcrypt(kind, bcrypt)) => {
                let text = bcrypt.text.clone();
                self.lanes.add(text.as_bytes(), bcrypt.salt, bcrypt.cost, (kind, bcrypt, answer));
            }
            Ok(Begun::Alone(alone)) => self.alone = Some((alone, answer)),
            Err(error) => done(answer, Err(error)),
        }
    }

    fn begin(&self, task: Task) -> Result<Begun, HashError> {
        Ok(match task {
            Task::Hash(password) => Begun::Bcrypt(Kind::Hash, Bcrypt::hash(&password, self.cost)?),
            Task::Verify(password, stored) => {
                let stored = stored.reveal()?;
                match Bcrypt::verify(&password, &stored)? {
                    Some(bcrypt) => Begun::Bcrypt(Kind::Verify, bcrypt),
                    None => Begun::Alone(Alone::Verify(password, stored)),
                }
            }
            Task::Estimate(password, context) => Begun::Alone(Alone::Estimate(password, context)),
        })
    }

    /// Computes for some milliseconds, or a whole task of another kind than bcrypt's. Calls `done` with each outcome.
    pub(super) fn advance(&mut self, mut done: impl FnMut(A, Result<Outcome, HashError>)) {
        if !self.lanes.is_empty() {
            let mut made_up = Vec::new();
            self.lanes.advance(|(kind, bcrypt, answer), digest| {
                let (is_match, next) = match kind {
                    Kind::Hash => return done(answer, Ok(Outcome::Hash(bcrypt.stored(digest)))),
                    // The costs from here to the configured one add up to it: 2^c + 2^c + 2^(c+1) + … = 2^configured.
                    Kind::Verify => (bcrypt.is_match(digest), bcrypt.cost),
                    Kind::MakeUp(is_match, cost) => (is_match, cost + 1),
                };
                if next < self.cost {
                    made_up.push((Kind::MakeUp(is_match, next), bcrypt, answer));
                } else {
                    done(answer, Ok(Outcome::Verify(is_match)));
                }
            });
            for (kind, bcrypt, answer) in made_up {
                let Kind::MakeUp(_, cost) = kind else { continue };
                let text = bcrypt.text.clone();
                self.lanes.add(text.as_bytes(), bcrypt.salt, cost, (kind, bcrypt, answer));
            }
            return;
        }
        let Some((alone, answer)) = self.alone.take() else { return };
        let outcome = match &alone {
            Alone::Verify(password, stored) => verify_foreign(password, stored).map(Outcome::Verify),
            Alone::Estimate(password, context) => Ok(Outcome::Estimate(strength(password, context))),
        };
        done(answer, outcome);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::credentials::password::hash;

    /// Computes all tasks, as a thread does, and returns the names in the order in which they ended.
    fn order(tasks: Vec<(&'static str, Task)>) -> Vec<(&'static str, bool)> {
        let mut batch = Batch::new(4);
        let mut ended = Vec::new();
        let mut end = |name, outcome: Result<Outcome, HashError>| {
            ended.push((name, matches!(outcome, Ok(Outcome::Verify(true) | Outcome::Hash(_)))));
        };
        let mut waiting = tasks.into_iter().peekable();
        while waiting.peek().is_some() || !batch.is_empty() {
            while batch.has_room()
                && let Some((name, task)) = waiting.next()
            {
                batch.add(task, name, &mut end);
            }
            batch.advance(&mut end);
        }
        ended
    }

    #[test]
    fn passwords_of_all_kinds_get_their_own_verdict_in_one_batch() {
        let right = || Password::from("open sesame");
        let at = |cost: u32| hash(&right(), cost).unwrap();
        let plain = bcrypt::hash("open sesame", 5).unwrap();
        let scrypt = "scrypt:16:8:1$salt$00000000000000000000000000000000";
        let ended = order(vec![
            ("dear", Task::Verify(right(), at(9).into())),
            ("wrong", Task::Verify("open says me".into(), at(4).into())),
            ("damaged", Task::Verify(right(), "$hallpass$1$2b$".to_owned().into())),
            ("imported", Task::Verify(right(), plain.clone().into())),
            ("imported, wrong", Task::Verify("open sesame\0".into(), plain.into())),
            ("new", Task::Hash(right())),
            ("of another function", Task::Verify(right(), scrypt.to_owned().into())),
            ("last", Task::Verify(right(), at(4).into())),
        ]);
        let verdict = |name| ended.iter().find(|(ended, _)| *ended == name).map(|(_, is_right)| *is_right);
        for name in ["dear", "imported", "new", "last"] {
            assert_eq!(verdict(name), Some(true), "{name}");
        }
        for name in ["wrong", "damaged", "imported, wrong", "of another function"] {
            assert_eq!(verdict(name), Some(false), "{name}");
        }
        let place = |name| ended.iter().position(|(ended, _)| *ended == name);
        assert!(place("wrong") < place("dear"), "a cheap one does not wait for a dear one: {ended:?}");
        assert!(place("dear") < place("of another function"), "which waits for the lanes: {ended:?}");
    }

    /// The calls of `advance` until a thread has the outcome of the task.
    fn calls(cost: u32, task: Task) -> u32 {
        let (mut batch, mut calls) = (Batch::new(cost), 0);
        batch.add(task, (), |(), _| panic!("it fails at once"));
        while !batch.is_empty() {
            calls += 1;
            batch.advance(|(), outcome| assert!(matches!(outcome, Ok(Outcome::Verify(true)))));
        }
        calls
    }

    #[test]
    fn a_hash_of_a_lower_cost_is_answered_after_the_work_of_the_configured_one() {
        let verify =
            |cost| Task::Verify("open sesame".into(), hash(&"open sesame".into(), cost).unwrap().into());
        let current = calls(10, verify(10));
        // Each cost below the configured one begins and ends with a call of its own.
        for old in 4..10 {
            let made_up = calls(10, verify(old));
            assert!(
                (current..=current + 10 - old).contains(&made_up),
                "cost {old}: {made_up}, not {current}"
            );
        }
        assert!(calls(4, verify(10)) >= current, "a higher cost takes its own time");
    }
}
