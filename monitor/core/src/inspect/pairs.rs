//! Requests and responses that are messages of their own, by the types that `KServe`'s logger gives
//! its events.
//!
//! Before: the messages of a topic. After: [`super::proposal`] looks at what two of a partition
//! with the same id are together, as a source with `join` reads them.

use std::collections::{BTreeMap, BTreeSet};

use driftd_ingest::Side;
use serde_json::{Value, json};

use super::body;
use super::encoding::{self, Encoding};
use crate::sample::SampledMessage;

/// Types of the events.
pub(super) const REQUEST: &str = "org.kubeflow.serving.inference.request";
pub(super) const RESPONSE: &str = "org.kubeflow.serving.inference.response";

/// Share of messages, in percent, that must be of these types: a source with `join` refuses others.
const REQUIRED: usize = 90;

/// Where the attributes of events are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Attributes {
    /// In headers.
    Beside,
    /// Around the data.
    Inside,
}

impl Attributes {
    /// Returns the path to the id.
    pub(super) const fn id(self) -> &'static str {
        match self {
            Self::Beside => "$headers.ce_id",
            Self::Inside => "id",
        }
    }

    /// Returns the path to the type.
    pub(super) const fn side(self) -> &'static str {
        match self {
            Self::Beside => "$headers.ce_type",
            Self::Inside => "type",
        }
    }
}

/// Requests with their responses.
#[derive(Debug)]
pub(super) struct Pairs {
    pub(super) attributes: Attributes,
    /// Both as one message, with what is beside the response.
    pub(super) joined: Vec<SampledMessage>,
    /// How many there are, and how many lie in two partitions.
    pub(super) note: String,
}

/// Pairs of which none can be joined.
#[derive(Debug)]
pub(super) struct Apart;

/// One of two.
struct Half<'a> {
    side: Side,
    id: String,
    document: Value,
    message: &'a SampledMessage,
}

/// Finds requests and responses with the same id; none where messages are whole.
pub(super) fn find(messages: &[SampledMessage]) -> Result<Option<Pairs>, Apart> {
    for attributes in [Attributes::Beside, Attributes::Inside] {
        let halves: Vec<_> = messages.iter().filter_map(|it| half(it, attributes)).collect();
        if halves.is_empty() || halves.len() * 100 < messages.len() * REQUIRED {
            continue;
        }
        let joined = joined(&halves);
        let apart = all_ids(&halves).saturating_sub(joined.len());
        if joined.is_empty() {
            return if apart == 0 { Ok(None) } else { Err(Apart) };
        }
        let (pairs, all) = (joined.len(), messages.len());
        let note = if apart == 0 {
            format!("{pairs} pairs in {all} messages")
        } else {
            format!(
                "{pairs} pairs in {all} messages; {apart} more in two partitions: the topic's key \
                 has to be the id"
            )
        };
        return Ok(Some(Pairs { attributes, joined, note }));
    }
    Ok(None)
}

fn half(message: &SampledMessage, attributes: Attributes) -> Option<Half<'_>> {
    let (encoding, mut documents) = encoding::look(message);
    let document = documents.pop().filter(|_| encoding == Encoding::JsonDocument)?;
    let (kind, id) = match attributes {
        Attributes::Beside => (message.header("ce_type")?, message.header("ce_id")?),
        Attributes::Inside => {
            let is_event = body::EVENT.iter().all(|key| document.get(key).is_some());
            let text = |key| document.get(key).and_then(Value::as_str).filter(|_| is_event);
            (text("type")?, text("id")?)
        }
    };
    let side = match kind {
        REQUEST => Side::Request,
        RESPONSE => Side::Response,
        _ => return None,
    };
    let id = Some(id.to_owned()).filter(|it| !it.is_empty())?;
    Some(Half { side, id, document, message })
}

/// Joins those of each partition, the first of each side.
fn joined(halves: &[Half<'_>]) -> Vec<SampledMessage> {
    let mut alone: BTreeMap<(i32, &str), &Half<'_>> = BTreeMap::new();
    let mut joined = Vec::new();
    for half in halves {
        let key = (half.message.partition, half.id.as_str());
        match alone.get(&key) {
            Some(other) if other.side != half.side => {
                joined.push(join(other, half));
                alone.remove(&key);
            }
            Some(_) => {}
            None => {
                alone.insert(key, half);
            }
        }
    }
    joined
}

fn join(first: &Half<'_>, second: &Half<'_>) -> SampledMessage {
    let (request, response) = match second.side {
        Side::Response => (first, second),
        Side::Request => (second, first),
    };
    let document = json!({"request": request.document, "response": response.document});
    let payload = Some(document.to_string().into_bytes());
    SampledMessage { payload, offset: second.message.offset, ..response.message.clone() }
}

/// Returns how many ids there are of both sides, wherever they lie.
fn all_ids(halves: &[Half<'_>]) -> usize {
    let of = |side| -> BTreeSet<&str> {
        halves.iter().filter(|it| it.side == side).map(|it| it.id.as_str()).collect()
    };
    of(Side::Request).intersection(&of(Side::Response)).count()
}
