//! Retraining triggers: from open episodes to at most one request a cooldown.
//!
//! Before: [`crate::Episodes`]. After: the core dresses a [`RetrainRequest`] as an event and has it
//! published; the launcher takes it from the topic.

use std::collections::BTreeMap;
use std::sync::Arc;

use driftd_catalog::{ModelId, SegmentId, Timestamp, WindowId, WindowSpan};
use serde::{Deserialize, Serialize};

use crate::episode::Episode;
use crate::identity;

/// When to ask for a retraining.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetrainPolicy {
    /// Name of the policy: part of the request's identity, and a metric label.
    pub name: Arc<str>,
    /// Open episodes that it takes; 0 counts as 1.
    pub minimum_features: u32,
    /// The features that count; `None` is all of them.
    pub features: Option<Vec<Arc<str>>>,
    /// Event time after a request in which none is made again for the same model, whatever its
    /// version; negative counts as 0.
    pub cooldown_millis: i64,
    /// Event time after which a request without a final status no longer holds the next one back;
    /// 0 or negative: a request in flight does not hold back.
    pub expiry_millis: i64,
}

/// What one window means for retraining.
#[derive(Clone, Debug, PartialEq)]
pub enum RetrainDecision {
    /// Not enough episodes are open.
    None,
    /// Ask for a retraining.
    Request(RetrainRequest),
    /// Enough episodes are open, but a request was made already.
    Suppressed {
        /// Event time from which the next request can be made.
        until: Timestamp,
        /// What holds it back.
        hold: Hold,
    },
}

/// Why a request is held back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hold {
    /// The last request is too recent.
    Cooldown,
    /// The last request has no final status yet.
    InFlight,
}

/// A request for a retraining.
#[derive(Clone, Debug, PartialEq)]
pub struct RetrainRequest {
    /// Id of the event: a Kubernetes name of at most 52 characters.
    pub id: String,
    /// `<model>/<version>/<policy>/<end>`: the window's end, rounded down to a whole cooldown.
    pub dedupe_key: String,
    /// Name of the policy.
    pub policy: Arc<str>,
    /// Model version whose traffic drifted.
    pub model: ModelId,
    /// Segment whose episodes counted.
    pub segment: SegmentId,
    /// The window in which the decision fell.
    pub window: WindowSpan,
    /// The open episodes that counted, by feature name.
    pub episodes: Vec<Episode>,
    /// 1 for the first request, one more for each that follows while the drift goes on.
    pub attempt: u32,
    /// Event time before which the policy asks no more.
    pub cooldown_until: Timestamp,
    /// Event time after which the request is no longer in flight; absent without expiry.
    pub expires: Option<Timestamp>,
}

/// Applies one policy to the windows of all models.
#[derive(Clone, Debug, PartialEq)]
pub struct RetrainTrigger {
    policy: RetrainPolicy,
    memory: RetrainMemory,
}

/// What a [`RetrainTrigger`] remembers, in a form that can be stored: the last request by model
/// name. A new version must not start a second job while the first cools down.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RetrainMemory(BTreeMap<Arc<str>, LastRequest>);

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct LastRequest {
    id: String,
    segment: SegmentId,
    version: Arc<str>,
    cooldown_until: Timestamp,
    in_flight_until: Option<Timestamp>,
    /// Requests since the last window without enough episodes.
    attempts: u32,
}

impl RetrainTrigger {
    /// Returns the state before the first window.
    pub fn new(policy: RetrainPolicy) -> Self {
        Self::restore(policy, RetrainMemory::default())
    }

    /// Goes on with what was remembered.
    pub const fn restore(policy: RetrainPolicy, memory: RetrainMemory) -> Self {
        Self { policy, memory }
    }

    /// Returns the name of the policy.
    pub const fn name(&self) -> &Arc<str> {
        &self.policy.name
    }

    /// Returns everything that is remembered.
    pub const fn memory(&self) -> &RetrainMemory {
        &self.memory
    }

    /// Decides for one closed window, given all open episodes of its model and segment.
    ///
    /// Windows of one model must come in order.
    pub fn observe(&mut self, window: &WindowId, open: &[Episode]) -> RetrainDecision {
        let episodes: Vec<Episode> =
            open.iter().filter(|episode| self.policy.counts(episode)).cloned().collect();
        let needed = usize::try_from(self.policy.minimum_features.max(1)).unwrap_or(usize::MAX);
        if episodes.len() < needed {
            self.drift_is_gone(window);
            return RetrainDecision::None;
        }
        if let Some((until, hold)) = self.hold(window) {
            return RetrainDecision::Suppressed { until, hold };
        }
        RetrainDecision::Request(self.request(window, episodes))
    }

    /// Notes the final status of a request, so that it is no longer in flight.
    /// Returns whether the request was one of this trigger.
    pub fn settle(&mut self, request_id: &str) -> bool {
        let last = self.memory.0.values_mut().find(|last| last.id == request_id);
        last.map(|last| last.in_flight_until = None).is_some()
    }

    fn hold(&self, window: &WindowId) -> Option<(Timestamp, Hold)> {
        let last = self.memory.0.get(window.model.name())?;
        let now = window.span.end();
        let in_flight_until = last.in_flight_until.filter(|until| now < *until);
        let until = last.cooldown_until.max(in_flight_until.unwrap_or(Timestamp::MIN));
        if now < last.cooldown_until {
            Some((until, Hold::Cooldown))
        } else {
            in_flight_until.map(|until| (until, Hold::InFlight))
        }
    }

    fn request(&mut self, window: &WindowId, episodes: Vec<Episode>) -> RetrainRequest {
        let end = window.span.end();
        let cooldown_until = end.plus_millis(self.policy.cooldown_millis.max(0));
        let expires =
            (0 < self.policy.expiry_millis).then(|| end.plus_millis(self.policy.expiry_millis));
        let attempt = match self.memory.0.get(window.model.name()) {
            Some(last) if last.is_for(window) => last.attempts.saturating_add(1),
            _ => 1,
        };
        let dedupe_key = self.policy.dedupe_key(window);
        let id = identity::event_id("rt", &window.model, &dedupe_key);
        let last = LastRequest {
            id: id.clone(),
            segment: window.segment.clone(),
            version: window.model.version().into(),
            cooldown_until,
            in_flight_until: expires,
            attempts: attempt,
        };
        self.memory.0.insert(window.model.name().into(), last);
        RetrainRequest {
            id,
            dedupe_key,
            policy: self.policy.name.clone(),
            model: window.model.clone(),
            segment: window.segment.clone(),
            window: window.span,
            episodes,
            attempt,
            cooldown_until,
            expires,
        }
    }

    fn drift_is_gone(&mut self, window: &WindowId) {
        if let Some(last) = self.memory.0.get_mut(window.model.name())
            && last.is_for(window)
        {
            last.attempts = 0;
        }
    }
}

impl LastRequest {
    fn is_for(&self, window: &WindowId) -> bool {
        &*self.version == window.model.version() && self.segment == window.segment
    }
}

impl RetrainPolicy {
    fn counts(&self, episode: &Episode) -> bool {
        self.features.as_ref().is_none_or(|features| features.contains(&episode.feature))
    }

    /// Two requests of one model version are at least a cooldown apart, by the ends of their
    /// windows, so they never share a rounded end; a process that lost its memory and decides a few
    /// windows later computes the same key, and the launcher drops the repeat.
    fn dedupe_key(&self, window: &WindowId) -> String {
        let end = window.span.end().as_millis();
        let bucket = match self.cooldown_millis {
            cooldown if 0 < cooldown => end.div_euclid(cooldown).saturating_mul(cooldown),
            _ => end,
        };
        format!("{}/{}/{}", window.model, self.name, Timestamp::from_millis(bucket))
    }
}

#[cfg(test)]
mod tests;
