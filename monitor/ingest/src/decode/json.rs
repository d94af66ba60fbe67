//! JSON: one object a message, read by the configured paths.
//!
//! Before: [`crate::Message`] from the consumer. After: [`super::batch`]. The way of a payload:
//! bounds and UTF-8 here → [`walk`] finds the values → [`record`] reads them → the batch appends
//! them, all or none.
//!
//! Not accepted yet: several records in one message, as an array (refused as `wrong_type`) or
//! separated by newlines (refused as `invalid_json`: trailing characters).

mod record;
mod trie;
mod value;
mod walk;

#[cfg(test)]
mod oracle;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use driftd_catalog::ModelId;

use self::record::{Place, Record};
use self::trie::Trie;
use self::value::Kind;
use self::walk::Slots;
use super::batch::{Accepted, OpenBatch};
use super::builders::Cell;
use super::{Decode, DecodeLimits, Decoded, Message};
use crate::path::FieldPath;
use crate::rejection::{Refusal, RejectReason, Rejection};
use crate::schema::{FeatureKind, ModelSchema, SourceSchema, TimeFormat, VersionField};

/// Decodes the JSON records of one partition.
///
/// Absent and null features and segments are Arrow nulls; absent and null event time, model and
/// version refuse the record. Of repeated keys the last counts. A path that meets another kind of
/// value than it goes through refuses the record; an array that is too short does not.
pub struct JsonDecoder {
    limits: DecodeLimits,
    plan: Plan,
    batch: OpenBatch,
    // Reused from record to record.
    slots: Slots,
    cells: Vec<Cell>,
    added: String,
}

/// What the schema asks for, and where a walk leaves it.
struct Plan {
    trie: Trie,
    event_time: Place,
    time_format: TimeFormat,
    model: Option<Place>,
    models: Vec<ModelPlan>,
    /// Indexes into `models` and the schema's.
    models_by_name: BTreeMap<Arc<str>, usize>,
}

struct ModelPlan {
    version: VersionPlan,
    features: Vec<(Place, FeatureKind)>,
    /// Places and the segments' names.
    segments: Vec<(Place, Arc<str>)>,
}

enum VersionPlan {
    Fixed(Arc<str>),
    At(Place),
}

impl JsonDecoder {
    /// Plans the decoding of the schema's paths.
    pub fn new(schema: Arc<SourceSchema>, limits: DecodeLimits) -> Self {
        let plan = Plan::new(&schema);
        Self {
            limits,
            slots: Slots::new(&plan.trie),
            plan,
            batch: OpenBatch::new(schema),
            cells: Vec::new(),
            added: String::new(),
        }
    }

    /// Appends the message's record to the batch, or says why not and leaves the batch as it was.
    fn read(&mut self, message: &Message<'_>) -> Result<(), Refusal> {
        let Self { limits, plan, batch, slots, cells, added } = self;
        let payload = checked_text(message.payload, *limits)?;
        let kind = walk::walk(&plan.trie, payload, slots).map_err(|error| invalid_json(&error))?;
        if kind != Kind::Object {
            return Err(not_an_object(kind));
        }
        added.clear();
        let mut record = Record { payload, trie: &plan.trie, slots, added };
        let index = plan.model_index(&mut record)?;
        let model = &plan.models[index];
        let version = match &model.version {
            VersionPlan::Fixed(version) => record.add_text(version),
            VersionPlan::At(place) => record.version(place)?,
        };
        let event_time = record.event_time(&plan.event_time, plan.time_format)?;
        model.read_cells(&mut record, cells)?;
        let texts = record.texts();
        let version = texts.get(&version);
        batch.accept(message, &Accepted { model: index, event_time, version, cells, texts })
    }
}

impl Decode for JsonDecoder {
    fn decode(&mut self, message: &Message<'_>) -> Option<&Rejection> {
        self.batch.begin(message);
        match self.read(message) {
            Ok(()) => None,
            Err(refusal) => self.batch.reject(message, refusal),
        }
    }

    fn messages(&self) -> usize {
        self.batch.messages()
    }

    fn finish(&mut self) -> Decoded {
        self.batch.finish()
    }
}

impl Plan {
    fn new(schema: &SourceSchema) -> Self {
        let source_paths = schema.model.iter().chain([&schema.event_time]);
        let trie = Trie::new(source_paths.chain(schema.models.iter().flat_map(model_paths)));
        let place = |path: &FieldPath| Place { slot: trie.slot(path), path: path.clone() };
        let model = |model: &ModelSchema| ModelPlan {
            version: match &model.version {
                VersionField::Fixed(version) => VersionPlan::Fixed(Arc::clone(version)),
                VersionField::Path(path) => VersionPlan::At(place(path)),
            },
            features: model.features.iter().map(|it| (place(&it.path), it.kind)).collect(),
            segments: model
                .segments
                .iter()
                .map(|it| (place(&it.path), Arc::clone(&it.name)))
                .collect(),
        };
        Self {
            event_time: place(&schema.event_time),
            time_format: schema.time_format,
            model: schema.model.as_ref().map(place),
            models: schema.models.iter().map(model).collect(),
            models_by_name: schema.models.iter().map(|it| Arc::clone(&it.name)).zip(0..).collect(),
            trie,
        }
    }

    /// Returns whose record it is: an index into the schema's models.
    fn model_index(&self, record: &mut Record<'_>) -> Result<usize, Refusal> {
        let Some(place) = &self.model else { return Ok(0) };
        let name = record.model(place)?;
        let name = record.texts().get(&name);
        self.models_by_name.get(name).copied().ok_or_else(|| unknown_model(place, name))
    }
}

impl ModelPlan {
    /// Reads the features, then the segments: one cell a column.
    fn read_cells(&self, record: &mut Record<'_>, cells: &mut Vec<Cell>) -> Result<(), Refusal> {
        cells.clear();
        for (place, kind) in &self.features {
            cells.push(record.feature(place, *kind)?);
        }
        for (place, name) in &self.segments {
            cells.push(record.segment(place, name)?);
        }
        Ok(())
    }
}

fn model_paths(model: &ModelSchema) -> impl Iterator<Item = &FieldPath> {
    let version = match &model.version {
        VersionField::Fixed(_) => None,
        VersionField::Path(path) => Some(path),
    };
    let features = model.features.iter().map(|feature| &feature.path);
    let segments = model.segments.iter().map(|segment| &segment.path);
    version.into_iter().chain(features).chain(segments)
}

/// Returns the payload as text within the limits.
fn checked_text(payload: Option<&[u8]>, limits: DecodeLimits) -> Result<&str, Refusal> {
    let payload = payload.ok_or_else(|| {
        Refusal::new(RejectReason::EmptyPayload, format_args!("no payload: a tombstone"))
    })?;
    let (bytes, bytes_max) = (payload.len(), limits.payload_bytes_max);
    if payload.is_empty() {
        return Err(Refusal::new(RejectReason::EmptyPayload, format_args!("a payload of 0 bytes")));
    }
    if bytes_max < bytes {
        let detail = format_args!("a payload of {bytes} bytes, more than {bytes_max}");
        return Err(Refusal::new(RejectReason::Oversized, detail));
    }
    std::str::from_utf8(payload).map_err(|error| {
        let at = error.valid_up_to();
        Refusal::new(RejectReason::InvalidUtf8, format_args!("not UTF-8 from byte {at} of {bytes}"))
    })
}

/// Says what `serde_json` met and where; its syntax errors do not quote the text.
fn invalid_json(error: &serde_json::Error) -> Refusal {
    Refusal::new(RejectReason::InvalidJson, format_args!("{error}"))
}

/// Tells a name that no model could have from one that no model has.
fn unknown_model(at: &Place, name: &str) -> Refusal {
    let (path, bytes) = (&at.path, name.len());
    match ModelId::try_new(name, "any") {
        Ok(_) => Refusal::new(
            RejectReason::UnknownModel,
            format_args!("`{path}`: no configured model has this name of {bytes} bytes"),
        ),
        Err(_) => Refusal::new(
            RejectReason::InvalidName,
            format_args!(
                "`{path}`: no name, or too long or with a control character, of {bytes} bytes"
            ),
        ),
    }
}

fn not_an_object(found: Kind) -> Refusal {
    let hint = if found == Kind::Array { "; a message holds one record" } else { "" };
    Refusal::new(
        RejectReason::WrongType,
        format_args!("the record: expected an object, found {found}{hint}"),
    )
}
