//! From open episodes to retraining events, and what became of them.
//!
//! Before: [`crate::pipeline`] closes a window. After: the event goes out as an effect; the
//! broker's answer and the launcher's reports come back as events and are shown in the snapshot.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use driftd_alerts::{Episode, RetrainDecision, RetrainMemory, RetrainRequest, RetrainTrigger};
use driftd_catalog::event::{
    CloudEvent, DataRef, EVIDENCE_MAX, Evidence, Links, ModelRef, ReasonKind, ReferenceRef,
    Request, RequestReason, RetrainingRequested, RetrainingState, RetrainingStatus, WindowRef,
};
use driftd_catalog::{ModelId, PartitionId, SegmentId, Timestamp};
use serde::{Deserialize, Serialize};

use crate::config::{Config, Role};
use crate::merge::Merged;
use crate::result::{FeatureResult, WindowResult};
use crate::snapshot::{RETRAINING_ENTRIES_MAX, RetrainOutcomes, RetrainingEntry};

/// Requests whose reports are recognised: more than are under way at once, one a model and policy.
const REQUESTS_MAX: usize = 1_000;

#[derive(Debug)]
pub(crate) struct Retraining {
    triggers: Vec<RetrainTrigger>,
    requests: VecDeque<Followed>,
    entries: Arc<VecDeque<RetrainingEntry>>,
    outcomes: Arc<Outcomes>,
}

/// A request, and what was told of it.
#[derive(Debug)]
struct Followed {
    request: RetrainingEntry,
    reported: Vec<RetrainingState>,
}

/// What is stored of a retraining.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct RetrainingBody {
    triggers: Vec<(Arc<str>, RetrainMemory)>,
    requests: Vec<RequestBody>,
    entries: Vec<RetrainingEntry>,
}

/// A request, and what was told of it.
#[derive(Debug, Serialize, Deserialize)]
struct RequestBody {
    request: RetrainingEntry,
    reported: Vec<RetrainingState>,
}

type Outcomes = BTreeMap<(ModelId, Arc<str>), RetrainOutcomes>;

/// What a launcher's report means for the totals.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Reported {
    pub(crate) succeeded: bool,
    pub(crate) failed: bool,
}

impl Retraining {
    pub(crate) fn new(config: &Config) -> Self {
        let policies = config.retraining.iter().flat_map(|retraining| &retraining.policies);
        let triggers = policies.cloned().map(RetrainTrigger::new).collect();
        Self {
            triggers,
            requests: VecDeque::new(),
            entries: Arc::default(),
            outcomes: Arc::default(),
        }
    }

    /// Goes on with what an earlier run asked for.
    pub(crate) fn restore(config: &Config, body: RetrainingBody) -> Self {
        let mut memories: BTreeMap<Arc<str>, RetrainMemory> = body.triggers.into_iter().collect();
        let policies = config.retraining.iter().flat_map(|retraining| &retraining.policies);
        let triggers = policies.map(|policy| {
            let memory = memories.remove(&policy.name).unwrap_or_default();
            RetrainTrigger::restore(policy.clone(), memory)
        });
        let follow =
            |body: RequestBody| Followed { request: body.request, reported: body.reported };
        let requests = body.requests.into_iter().map(follow);
        Self {
            triggers: triggers.collect(),
            requests: requests.collect(),
            entries: Arc::new(body.entries.into()),
            outcomes: Arc::default(),
        }
    }

    /// Returns what is to be stored.
    pub(crate) fn body(&self) -> RetrainingBody {
        let trigger = |it: &RetrainTrigger| (Arc::clone(it.name()), it.memory().clone());
        let request = |it: &Followed| RequestBody {
            request: it.request.clone(),
            reported: it.reported.clone(),
        };
        RetrainingBody {
            triggers: self.triggers.iter().map(trigger).collect(),
            requests: self.requests.iter().map(request).collect(),
            entries: self.entries.iter().cloned().collect(),
        }
    }

    /// Takes a closed window with the open episodes of its segment; returns the events to send.
    ///
    /// Only the whole traffic asks for a retraining: a segment's drift is part of it, or too small
    /// for it.
    pub(crate) fn observe(
        &mut self,
        config: &Config,
        now: Timestamp,
        result: &WindowResult,
        merged: &Merged,
        open: &[Episode],
    ) -> Vec<CloudEvent<RetrainingRequested>> {
        if result.id.segment != SegmentId::all() {
            return Vec::new();
        }
        let mut events = Vec::new();
        let policies = config.retraining.iter().flat_map(|retraining| &retraining.policies);
        for (trigger, policy) in self.triggers.iter_mut().zip(policies) {
            let key = (result.id.model.clone(), Arc::clone(&policy.name));
            let outcomes = Arc::make_mut(&mut self.outcomes).entry(key).or_default();
            match trigger.observe(&result.id, open) {
                RetrainDecision::None => {}
                RetrainDecision::Suppressed { .. } => outcomes.suppressed += 1,
                RetrainDecision::Request(request) => {
                    let event = event(config, now, result, merged, &request);
                    events.push((entry(now, &request, &event), event));
                }
            }
        }
        let follow = |(entry, event)| {
            self.follow(entry);
            event
        };
        events.into_iter().map(follow).collect()
    }

    /// Notes the broker's answer. An event that it refuses for good holds back no other.
    pub(crate) fn delivered(&mut self, now: Timestamp, id: &str, stored: bool) {
        let Some(followed) = self.requests.iter().rev().find(|it| &*it.request.id == id) else {
            return;
        };
        let request = followed.request.clone();
        self.count_delivery(now, &request, stored);
        let (state, summary) = if stored {
            ("published", "stored in the retraining topic")
        } else {
            self.settle(id);
            ("failed", "the broker did not store the event; see the log")
        };
        let (state, summary) = (state.into(), summary.into());
        self.push(RetrainingEntry { at: now, state, summary, ..request });
    }

    fn settle(&mut self, id: &str) {
        for trigger in &mut self.triggers {
            trigger.settle(id);
        }
    }

    /// Notes a report of the launcher. One that repeats another changes nothing, nor does one on a
    /// request of somebody else: several jobs may share the topic.
    pub(crate) fn reported(&mut self, now: Timestamp, status: &RetrainingStatus) -> Reported {
        let id = status.request_id.as_str();
        let Some(followed) = self.requests.iter_mut().rev().find(|it| &*it.request.id == id) else {
            return Reported::default();
        };
        if followed.reported.contains(&status.state) {
            return Reported::default();
        }
        followed.reported.push(status.state);
        let request = followed.request.clone();
        if status.state.is_final() {
            self.settle(&status.request_id);
        }
        let summary = match (&status.reason, &status.new_version) {
            (Some(reason), _) => reason.clone(),
            (None, Some(version)) => format!("registered version {version}"),
            (None, None) => String::new(),
        };
        self.push(RetrainingEntry {
            at: now,
            state: status.state.as_str().into(),
            summary: summary.into(),
            new_version: status.new_version.as_deref().map(Arc::from),
            ..request
        });
        Reported {
            succeeded: status.state == RetrainingState::Succeeded,
            failed: status.state == RetrainingState::Failed,
        }
    }

    fn count_delivery(&mut self, now: Timestamp, request: &RetrainingEntry, stored: bool) {
        let key = (request.model.clone(), Arc::clone(&request.policy));
        let outcomes = Arc::make_mut(&mut self.outcomes).entry(key).or_default();
        if stored {
            outcomes.published += 1;
            outcomes.last_published = Some(now);
        } else {
            outcomes.failed += 1;
        }
    }

    /// Forgets a model version that is followed no more.
    pub(crate) fn forget(&mut self, model: &ModelId) {
        if self.outcomes.keys().any(|(known, _)| known == model) {
            Arc::make_mut(&mut self.outcomes).retain(|(known, _), _| known != model);
        }
    }

    /// Returns what came of the events so far.
    pub(crate) fn outcomes(&self) -> Arc<Outcomes> {
        Arc::clone(&self.outcomes)
    }

    /// Returns the story so far.
    pub(crate) fn entries(&self) -> Arc<VecDeque<RetrainingEntry>> {
        Arc::clone(&self.entries)
    }

    /// Keeps a request until its end.
    fn follow(&mut self, request: RetrainingEntry) {
        self.push(request.clone());
        self.requests.push_back(Followed { request, reported: Vec::new() });
        while REQUESTS_MAX < self.requests.len() {
            self.requests.pop_front();
        }
    }

    fn push(&mut self, entry: RetrainingEntry) {
        let entries = Arc::make_mut(&mut self.entries);
        entries.push_back(entry);
        while RETRAINING_ENTRIES_MAX < entries.len() {
            entries.pop_front();
        }
    }
}

fn entry(
    now: Timestamp,
    request: &RetrainRequest,
    event: &CloudEvent<RetrainingRequested>,
) -> RetrainingEntry {
    RetrainingEntry {
        at: now,
        model: request.model.clone(),
        id: event.id.as_str().into(),
        policy: Arc::clone(&request.policy),
        window: request.window,
        features: request.episodes.iter().map(|episode| Arc::clone(&episode.feature)).collect(),
        state: "requested".into(),
        summary: event.data.reason.summary.as_str().into(),
        new_version: None,
    }
}

fn event(
    config: &Config,
    now: Timestamp,
    result: &WindowResult,
    merged: &Merged,
    request: &RetrainRequest,
) -> CloudEvent<RetrainingRequested> {
    let model =
        ModelRef { name: request.model.name().into(), version: request.model.version().into() };
    let source = &config.sources[config.models[merged.model].source];
    let data = RetrainingRequested {
        request: Request {
            dedupe_key: request.dedupe_key.clone(),
            attempt: request.attempt,
            policy: Arc::clone(&request.policy),
            cooldown_until: request.cooldown_until,
        },
        model: model.clone(),
        reason: reason(result, request),
        evidence: evidence(result, request),
        window: WindowRef {
            start: request.window.start(),
            end: request.window.end(),
            segment: request.segment.to_string(),
            rows: result.rows,
        },
        reference: reference(config, merged, &request.model),
        data: DataRef { topic: Arc::clone(&source.topic), offsets: offsets(&result.offsets) },
        links: Links::default(),
    };
    let source = config.event_source();
    let mut event =
        CloudEvent::new(&source, request.id.clone(), request.window.end(), &model, data);
    // The launcher waits by the clock on the wall, however old the log is that made it wait.
    event.expirytime = request
        .expires
        .map(|expires| now.plus_millis(expires.as_millis() - request.window.end().as_millis()));
    event
}

fn reference(config: &Config, merged: &Merged, model: &ModelId) -> ReferenceRef {
    let path = config.models[merged.model].references.of(model).display().to_string();
    let (digest, rows) = merged
        .reference
        .as_ref()
        .map(|reference| (reference.digest.to_string(), reference.rows))
        .unwrap_or_default();
    ReferenceRef { id: model.to_string(), digest, rows, uri: Some(path) }
}

fn offsets(offsets: &[(PartitionId, i64, i64)]) -> BTreeMap<String, [i64; 2]> {
    offsets.iter().map(|(id, from, to)| (id.partition.to_string(), [*from, *to])).collect()
}

fn reason(result: &WindowResult, request: &RetrainRequest) -> RequestReason {
    let is_prediction = |episode: &Episode| {
        result.features.iter().any(|it| it.name == episode.feature && it.role == Role::Prediction)
    };
    let kind = if request.episodes.iter().all(is_prediction) {
        ReasonKind::PredictionDrift
    } else {
        ReasonKind::FeatureDrift
    };
    let names: Vec<&str> = request.episodes.iter().map(|episode| &*episode.feature).collect();
    let features_drifted = u32::try_from(names.len()).unwrap_or(u32::MAX);
    let features_monitored = u32::try_from(result.features.len()).unwrap_or(u32::MAX);
    RequestReason {
        kind,
        features_drifted,
        features_monitored,
        summary: format!(
            "{features_drifted} of {features_monitored} watched columns drifted: {}",
            names.join(", ")
        ),
    }
}

fn evidence(result: &WindowResult, request: &RetrainRequest) -> Vec<Evidence> {
    let mut evidence: Vec<(f64, Evidence)> = request
        .episodes
        .iter()
        .filter_map(|episode| {
            let feature = result.features.iter().find(|it| it.name == episode.feature)?;
            let score = feature.verdict.score?;
            Some((score, feature_evidence(feature, episode)?))
        })
        .collect();
    evidence.sort_by(|(left, _), (right, _)| right.total_cmp(left));
    evidence.into_iter().take(EVIDENCE_MAX).map(|(_, evidence)| evidence).collect()
}

fn feature_evidence(feature: &FeatureResult, episode: &Episode) -> Option<Evidence> {
    let verdict = &feature.verdict;
    let deciding = verdict.deciding?;
    let result = verdict.results.iter().find(|it| it.detector == deciding)?;
    Some(Evidence {
        feature: Arc::clone(&feature.name),
        statistic: deciding.as_str().to_owned(),
        value: result.statistic,
        threshold: result.threshold?,
        p_value: result.adjusted_p_value,
        n_reference: verdict.reference_rows,
        n_current: verdict.current_rows,
        windows_breached: episode.windows_breached,
    })
}
