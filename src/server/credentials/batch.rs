//! What one hashing thread computes at a time: up to four bcrypt hashes in lockstep, or one task of another kind.

use super::error::HashError;
use super::lanes::Lanes;
use super::password::{Bcrypt, verify_foreign};
use super::rules::strength;
use super::{Password, PasswordContext, Strength};

/// A task of the hashing service.
pub(super) enum Task {
    Hash(Password),
    Verify(Password, String),
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
    alone: Option<(Task, A)>,
}

enum Kind {
    Hash,
    Verify,
    /// The rest of the work of a [`Verify`](Self::Verify) at a lower cost, whose verdict this is.
    Rest(bool),
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
        let begun = match &task {
            Task::Hash(password) => Bcrypt::hash(password, self.cost).map(|hash| Some((Kind::Hash, hash))),
            Task::Verify(password, stored) => {
                Bcrypt::verify(password, stored).map(|bcrypt| bcrypt.map(|bcrypt| (Kind::Verify, bcrypt)))
            }
            Task::Estimate(..) => Ok(None),
        };
        match begun {
            Ok(Some((kind, bcrypt))) => {
                let text = bcrypt.text.clone();
                self.lanes.add(text.as_bytes(), bcrypt.salt, bcrypt.cost, (kind, bcrypt, answer));
            }
            Ok(None) => self.alone = Some((task, answer)),
            Err(error) => done(answer, Err(error)),
        }
    }

    /// Computes for some milliseconds, or a whole task of another kind than bcrypt's. Calls `done` with each outcome.
    pub(super) fn advance(&mut self, mut done: impl FnMut(A, Result<Outcome, HashError>)) {
        if !self.lanes.is_empty() {
            let mut unfinished = Vec::new();
            self.lanes.advance(|(kind, mut bcrypt, answer), digest| {
                let (is_right, next) = match kind {
                    Kind::Hash => return done(answer, Ok(Outcome::Hash(bcrypt.stored(digest)))),
                    Kind::Verify => (bcrypt.is_match(digest), bcrypt.cost),
                    Kind::Rest(is_right) => (is_right, bcrypt.cost + 1),
                };
                if next < self.cost {
                    bcrypt.cost = next;
                    unfinished.push((Kind::Rest(is_right), bcrypt, answer));
                } else {
                    done(answer, Ok(Outcome::Verify(is_right)));
                }
            });
            // A hash of a lower cost takes as long as one at the configured cost, so that the time of an answer does not
            // tell who has an account: after cost c, again c and each one up to the configured one, since
            // 2^c + (2^c + … + 2^(C-1)) = 2^C.
            for (kind, bcrypt, answer) in unfinished {
                let text = bcrypt.text.clone();
                self.lanes.add(text.as_bytes(), bcrypt.salt, bcrypt.cost, (kind, bcrypt, answer));
            }
            return;
        }
        let Some((task, answer)) = self.alone.take() else { return };
        let outcome = match &task {
            Task::Verify(password, stored) => verify_foreign(password, stored).map(Outcome::Verify),
            Task::Estimate(password, context) => Ok(Outcome::Estimate(strength(password, context))),
            Task::Hash(_) => unreachable!("a new hash is bcrypt's"),
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
    fn a_hash_below_the_configured_cost_takes_as_long_as_one_at_it() {
        let right = || Password::from("open sesame");
        let rounds = |password: Password, cost: u32| {
            let mut batch = Batch::new(9);
            batch.add(Task::Verify(password, hash(&right(), cost).unwrap()), (), |(), _| {});
            let (mut rounds, mut verdict) = (0, None);
            while !batch.is_empty() {
                rounds += 1;
                batch.advance(|(), outcome| verdict = Some(matches!(outcome, Ok(Outcome::Verify(true)))));
            }
            (rounds, verdict)
        };
        let (full, verdict) = rounds(right(), 9);
        assert_eq!(verdict, Some(true));
        assert!(full > 1, "one round would compare nothing");
        for cost in [4, 7, 8] {
            for (password, is_right) in [(right(), true), ("open says me".into(), false)] {
                let (rounds, verdict) = rounds(password, cost);
                assert_eq!(verdict, Some(is_right), "cost {cost}");
                assert!(rounds >= full, "cost {cost}: {rounds} of {full} rounds");
            }
        }
    }

    #[test]
    fn passwords_of_all_kinds_get_their_own_verdict_in_one_batch() {
        let right = || Password::from("open sesame");
        let at = |cost: u32| hash(&right(), cost).unwrap();
        let plain = bcrypt::hash("open sesame", 5).unwrap();
        let scrypt = "scrypt:16:8:1$salt$00000000000000000000000000000000";
        let ended = order(vec![
            ("dear", Task::Verify(right(), at(9))),
            ("wrong", Task::Verify("open says me".into(), at(4))),
            ("damaged", Task::Verify(right(), "$hallpass$1$2b$".into())),
            ("imported", Task::Verify(right(), plain.clone())),
            ("imported, wrong", Task::Verify("open sesame\0".into(), plain)),
            ("new", Task::Hash(right())),
            ("of another function", Task::Verify(right(), scrypt.into())),
            ("last", Task::Verify(right(), at(4))),
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
}
