//! What a topic holds, told from some of its messages, and a configuration that reads it.
//!
//! Before: the edge has read a bounded number of [`SampledMessage`]s. After: `driftd inspect`
//! prints the [`Inspection`]. Messages in, findings out: nothing is read here, and nothing is
//! counted.
//!
//! The way through the files:
//! 1. [`encoding`] tells what the bytes of a message are; [`body`] which protocol's body a document
//!    holds.
//! 2. [`pairs`] joins requests and responses that are messages of their own, and [`tree`] puts all
//!    documents into one tree, with [`values`] at each path, and [`tensors`] by their rows.
//! 3. [`records`] finds the lists whose elements are records, [`fields`] makes paths.
//! 4. [`judge`] says what a field is to the model, [`proposal`] drafts a configuration.
//! 5. [`yaml`] writes it, with [`notes`] of what was seen. It is loaded and tried on the messages.
//!
//! Everything has a bound: paths, keys, depth, different values, models, columns. One that is met
//! is told.

mod body;
mod encoding;
mod fields;
mod judge;
mod notes;
mod pairs;
mod proposal;
mod records;
mod tensors;
#[cfg(test)]
mod tests;
mod tree;
mod values;
mod yaml;

use std::collections::BTreeMap;

pub use self::body::Body;
pub use self::encoding::Encoding;
use crate::config;
use crate::sample::{SampledMessage, Trial, try_out};

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Topic that the messages are of.
    pub topic: String,
    /// Brokers to write into the proposal, each `host:port`.
    pub brokers: Vec<String>,
    /// Names of the connection's further properties, whose values may be secret.
    pub properties: Vec<String>,
    /// What may be shown.
    pub show: Show,
}

/// What of the messages may be shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Show {
    /// Ranges of numbers and frequent texts too.
    Values,
    /// Paths, kinds and counts; of the values only names of models, which a configuration needs.
    Shapes,
}

/// What was found.
#[derive(Clone, Debug, PartialEq)]
pub struct Inspection {
    /// What messages are, most frequent first.
    pub encodings: Vec<SeenEncoding>,
    /// What documents hold, most frequent first.
    pub bodies: Vec<SeenBody>,
    /// A configuration, or why there is none.
    pub proposal: Result<Proposal, String>,
}

/// Messages of one encoding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeenEncoding {
    /// The encoding.
    pub encoding: Encoding,
    /// Messages of it.
    pub count: u64,
    /// Partition of the first.
    pub partition: i32,
    /// Its offset.
    pub offset: i64,
    /// By what it was told, in one line.
    pub evidence: String,
}

/// Documents with one body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeenBody {
    /// The body.
    pub body: Body,
    /// Where it was told; empty at the root of the document.
    pub path: String,
    /// Documents that have it.
    pub count: u64,
}

/// A configuration that passes the checks of `driftd check` that need no connection.
#[derive(Clone, Debug, PartialEq)]
pub struct Proposal {
    /// The file.
    pub yaml: String,
    /// What it makes of the messages.
    pub trial: Trial,
}

/// Bodies that are told apart by body and path.
const BODIES_MAX: usize = 64;

/// Looks at messages of a topic.
pub fn inspect(messages: &[SampledMessage], request: &Request) -> Inspection {
    let mut encodings: BTreeMap<Encoding, SeenEncoding> = BTreeMap::new();
    let mut bodies: BTreeMap<(Body, String), u64> = BTreeMap::new();
    for message in messages {
        let (encoding, documents) = encoding::look(message);
        let seen = encodings.entry(encoding).or_insert_with(|| SeenEncoding {
            encoding,
            count: 0,
            partition: message.partition,
            offset: message.offset,
            evidence: encoding::evidence(encoding, message, request.show),
        });
        seen.count += 1;
        let mut found: Vec<_> = documents.iter().flat_map(body::of_document).collect();
        if body::is_binary_event(message) {
            found.push((Body::BinaryEvent, String::new()));
        }
        for seen in found {
            let is_known = bodies.contains_key(&seen);
            if is_known || bodies.len() < BODIES_MAX {
                *bodies.entry(seen).or_default() += 1;
            }
        }
    }
    let mut encodings: Vec<_> = encodings.into_values().collect();
    encodings.sort_by_key(|it| std::cmp::Reverse(it.count));
    let bodies = bodies.into_iter().map(|((body, path), count)| SeenBody { body, path, count });
    let mut bodies: Vec<_> = bodies.collect();
    bodies.sort_by_key(|it| std::cmp::Reverse(it.count));
    Inspection { encodings, bodies, proposal: propose(messages, request) }
}

fn propose(messages: &[SampledMessage], request: &Request) -> Result<Proposal, String> {
    let draft = proposal::draft(messages, request.show)?;
    let yaml = yaml::write(&draft, request, messages.len());
    let config = config::load(&yaml, &|_| None)
        .map_err(|errors| format!("what was found makes no valid configuration: {errors}"))?;
    let trial = try_out(&config, 0, messages, &mut |_| None);
    Ok(Proposal { yaml, trial })
}
