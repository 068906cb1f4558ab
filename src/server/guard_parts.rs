//! The guard of a server: it asks the server's keys and state, and counts its verdicts.

use std::sync::Arc;

use super::config::{Settings, seconds};
use super::http::require_second_factor;
use super::metrics::Counters;
use super::state::{ServerKeys, State};
use crate::clock::Clock;
use crate::guard::{Guard, GuardBuilder, Refusal, User};

/// The parts of a guard of this server.
pub(super) struct GuardParts<'a> {
    pub(super) settings: &'a Settings,
    pub(super) clock: &'a Clock,
    pub(super) state: &'a Arc<State>,
    pub(super) keys: &'a Arc<ServerKeys>,
    pub(super) verdicts: &'a Arc<Counters>,
}

impl GuardParts<'_> {
    /// Starts to build such a guard.
    pub(super) fn builder(&self, issuer: &str, audience: &str) -> GuardBuilder<User> {
        let (checked_by, remembered_by) = (Arc::clone(self.state), Arc::clone(self.state));
        let counted = Arc::clone(self.verdicts);
        let token = &self.settings.token;
        let builder = Guard::builder()
            .keys(Arc::new(Arc::clone(self.keys)))
            .issuer(issuer)
            .audience(audience)
            .leeway(seconds(token.leeway))
            .realm(&token.realm)
            .accept_bare(token.accept_bare)
            .check_claims(move |claims| checked_by.check_claims(claims))
            .on_verdict(move |verdict| {
                counted.count(verdict.map_or_else(Refusal::code, |()| "accepted"));
            })
            .remember_while(move || remembered_by.version())
            .clock(self.clock.clone());
        require_second_factor(builder, &self.settings.second_factor.required_roles, self.state)
    }
}
