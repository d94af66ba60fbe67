//! What is sent to topics when a window closes: lines of results and retraining events, as plain
//! data.
//!
//! Before: [`crate::pipeline`] decides. After: the messages wait in the outbox
//! ([`crate::state`]) until a transaction has carried them; what the topics hold already is
//! [`Published`], and is not sent a second time.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use driftd_catalog::Timestamp;
use driftd_catalog::event::{CloudEvent, RetrainingRequested};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::config::{Config, ModelConfig, WindowConfig};
use crate::labels::{PerformanceLine, PerformanceResult};
use crate::line::{FeatureLine, LineHead};
use crate::result::WindowResult;

/// Names the job that wrote a line of results: several may share the topic.
pub const SOURCE_HEADER: &str = "driftd_source";

/// Outputs whose repetition is recognised; 8 bytes each.
const PUBLISHED_MAX: usize = 1 << 22;

/// The topic that a message is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum OutputTopic {
    /// Lines of results.
    Results,
    /// Retraining events.
    Retraining,
}

/// A message that every reader is to see exactly once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutputMessage {
    /// Where it goes.
    pub topic: OutputTopic,
    /// What it says, in a name: equal in every run that decides the same again.
    pub id: Arc<str>,
    /// Orders what is about one model.
    pub key: String,
    /// Its value.
    pub payload: Vec<u8>,
    /// Its headers.
    pub headers: Vec<(String, String)>,
}

impl OutputMessage {
    /// Returns a message for each line of a closed window; `source` is the job's name in events.
    ///
    /// # Panics
    /// Never: every field of a line has a JSON form.
    pub fn lines<'a>(
        source: &'a str,
        result: &'a WindowResult,
    ) -> impl Iterator<Item = Self> + use<'a> {
        FeatureLine::of(result).map(move |line| Self {
            topic: OutputTopic::Results,
            id: line.head().id().into(),
            key: result.id.model.to_string(),
            payload: serde_json::to_vec(&line).expect("lines are made of text and numbers"),
            headers: vec![(SOURCE_HEADER.to_owned(), source.to_owned())],
        })
    }

    /// Returns a message for each line of a window whose labels are all there.
    ///
    /// # Panics
    /// Never: every field of a line has a JSON form.
    pub(crate) fn performance<'a>(
        source: &'a str,
        model: &'a Arc<str>,
        result: &'a PerformanceResult,
    ) -> impl Iterator<Item = Self> + use<'a> {
        PerformanceLine::of(model, result).map(move |line| Self {
            topic: OutputTopic::Results,
            id: line.head().id().into(),
            key: line.key(),
            payload: serde_json::to_vec(&line).expect("lines are made of text and numbers"),
            headers: vec![(SOURCE_HEADER.to_owned(), source.to_owned())],
        })
    }

    /// Returns the message of a retraining event.
    pub fn event(event: &CloudEvent<RetrainingRequested>) -> Self {
        let headers = event.headers().map(|(name, value)| (name.to_owned(), value.to_owned()));
        Self {
            topic: OutputTopic::Retraining,
            id: event.id.as_str().into(),
            key: event.partitionkey.clone(),
            payload: event.to_json(),
            headers: headers.into(),
        }
    }

    /// Returns the memory that it takes.
    pub fn bytes(&self) -> usize {
        let headers = self.headers.iter().map(|(name, value)| name.len() + value.len());
        self.id.len() + self.key.len() + self.payload.len() + headers.sum::<usize>()
    }
}

/// Outputs that the topics hold, written by an earlier run whose state is not here.
///
/// They are needed until every model has closed a window that begins where the newest published
/// one ended: what is decided from there on is new.
#[derive(Debug, Default)]
pub struct Published {
    /// Hashes of the outputs' names, sorted.
    ids: Vec<u64>,
    /// End of the newest window with outputs, by model.
    newest: BTreeMap<Arc<str>, Timestamp>,
    /// Outputs that were too many to be remembered, the oldest of all.
    forgotten: u64,
}

/// Collects [`Published`] from the messages of the topics, oldest first.
#[derive(Debug, Default)]
pub struct Collected {
    ids: VecDeque<u64>,
    newest: BTreeMap<Arc<str>, Timestamp>,
    forgotten: u64,
}

impl Collected {
    /// Takes a message of a topic; `source` is the job's name. What another job wrote, or what is
    /// no output, is passed over.
    pub fn take(&mut self, source: &str, topic: OutputTopic, writer: Option<&str>, payload: &[u8]) {
        let found = match topic {
            OutputTopic::Results if writer == Some(source) => line(payload),
            OutputTopic::Results => None,
            OutputTopic::Retraining => event(source, payload),
        };
        let Some((id, model, end)) = found else { return };
        self.ids.push_back(hash(&id));
        if PUBLISHED_MAX < self.ids.len() {
            self.ids.pop_front();
            self.forgotten += 1;
        }
        let newest = self.newest.entry(model).or_insert(end);
        *newest = end.max(*newest);
    }

    /// Returns what was found.
    pub fn published(self) -> Published {
        let mut ids: Vec<u64> = self.ids.into();
        ids.sort_unstable();
        Published { ids, newest: self.newest, forgotten: self.forgotten }
    }
}

fn line(payload: &[u8]) -> Option<(String, Arc<str>, Timestamp)> {
    let head: LineHead<'_> = serde_json::from_slice(payload).ok()?;
    Some((head.id(), head.model.as_ref().into(), head.window_end))
}

fn event(source: &str, payload: &[u8]) -> Option<(String, Arc<str>, Timestamp)> {
    let event = CloudEvent::<RetrainingRequested>::from_json(payload).ok()?;
    (event.source == source).then_some((event.id, event.data.model.name, event.data.window.end))
}

impl Published {
    /// Returns how many outputs are recognised.
    pub fn count(&self) -> usize {
        self.ids.len()
    }

    /// Returns whether nothing has to be recognised any more.
    pub fn is_over(&self) -> bool {
        self.newest.is_empty()
    }

    /// Returns how many outputs were too many to be recognised.
    pub fn forgotten(&self) -> u64 {
        self.forgotten
    }

    /// Returns the record time from which a source has to be read again to make up for lost state:
    /// no window is left out that came after those with outputs, and as many are decided again as
    /// an episode looks back on. `None` where there are no outputs.
    pub fn begin(&self, config: &Config, source: usize) -> Option<Timestamp> {
        let skew = config.sources[source].time.future_skew_max_millis;
        let windows = i64::from(config.hysteresis.of());
        let is_of = |model: &&ModelConfig| {
            let labels = model.performance.as_ref().map(|it| it.labels.source);
            model.source == source || labels == Some(source)
        };
        let models = config.models.iter().filter(is_of);
        let begins = models.filter_map(|model| {
            let end = self.newest.get(&model.name)?;
            let history = model.deciding().every_millis.saturating_mul(windows);
            let reach = model.windows.iter().map(WindowConfig::reach_millis).max();
            let horizon = model.performance.as_ref().map_or(0, |it| it.horizon_millis);
            let history = history.saturating_add(reach.unwrap_or(0)).saturating_add(horizon);
            Some(Timestamp::from_millis(
                end.as_millis().saturating_sub(history).saturating_sub(skew),
            ))
        });
        begins.min()
    }

    pub(crate) fn holds(&self, id: &str) -> bool {
        self.ids.binary_search(&hash(id)).is_ok()
    }

    /// Notes that a window of `model` closed that every partition has passed.
    pub(crate) fn pass(&mut self, model: &str, start: Timestamp) {
        if self.newest.get(model).is_some_and(|end| *end <= start) {
            self.newest.remove(model);
        }
    }

    /// Forgets models that are watched no more: none of their windows closes again.
    pub(crate) fn retain(&mut self, is_watched: impl Fn(&str) -> bool) {
        self.newest.retain(|model, _| is_watched(model));
    }
}

/// # Panics
/// Never: SHA-256 gives 32 bytes.
fn hash(id: &str) -> u64 {
    let hash = Sha256::digest(id);
    u64::from_le_bytes(*hash.first_chunk().expect("SHA-256 gives 32 bytes"))
}
