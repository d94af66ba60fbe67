//! A configuration for what the messages hold: which field is what, which models there are.
//!
//! Before: [`super::tree`], [`super::fields`] and [`super::judge`]. After: [`super::yaml`] writes
//! the draft, and [`super`] tries it on the messages.

use std::collections::BTreeSet;

use driftd_catalog::ModelId;
use driftd_ingest::{
    ChangeKind, DecodeLimits, FeatureKind, FieldPath, InferenceMessage, TimeFormat, event_time,
};
use serde_json::Value;

use super::body;
use super::encoding::{self, Encoding};
use super::fields::{self, Field, Fields, Skipped};
use super::judge::{self, Judgement, Part, Surroundings};
use super::pairs::{self, Attributes, Pairs};
use super::records;
use super::tree::{NodeId, Tree};
use super::{Show, inference, notes};
use crate::sample::SampledMessage;

/// Most models proposed: a field with more different values names something else.
const MODELS_MAX: u64 = 8;

/// Most versions: what `models[].versions_max` takes.
const VERSIONS_MAX: u64 = 64;

/// Most features and predictions of a model.
const COLUMNS_MAX: usize = 1_000;

/// Share of records, in percent, that must have what refuses a message where it is not.
const REQUIRED: u64 = 90;

/// Longest proposed name, in bytes: room for a number behind it.
const NAME_BYTES: usize = 120;

/// Accepted messages are this large unless the configuration says otherwise, in bytes.
const PAYLOAD_BYTES: usize = 1 << 20;
/// The largest that can be said.
const PAYLOAD_BYTES_MAX: usize = 104_857_600;
/// Records of a message, likewise.
const ROWS: usize = 10_000;

/// Types of `KServe`'s events, which name what a message is, as a model's name does.
const INFERENCE: &str = "serving.inference.";

/// A configuration, before it is text.
#[derive(Debug)]
pub(super) struct Draft {
    pub(super) format: Format,
    pub(super) event_time: EventTime,
    /// Path to the name of the model, and what was seen of it.
    pub(super) model: Option<(String, String)>,
    pub(super) columns: Option<String>,
    /// Paths to values of tensors that are rows by their shape.
    pub(super) tensors: BTreeSet<String>,
    pub(super) payload_bytes_max: Option<usize>,
    pub(super) rows_max: Option<usize>,
    pub(super) models: Vec<Model>,
    pub(super) bounds: BTreeSet<String>,
    /// How requests and responses are joined that are messages of their own.
    pub(super) join: Option<Join>,
    /// Where changes of a table say what became of a row, and what was seen of it.
    pub(super) changes: Option<(String, String)>,
    /// They are there, and no two can be joined.
    pub(super) is_apart: bool,
}

/// Where the two say what they are, and what was seen of them.
#[derive(Debug)]
pub(super) struct Join {
    pub(super) attributes: Attributes,
    pub(super) note: String,
}

/// How messages become documents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Json,
    Ndjson,
    /// Bodies of the protocol, and what those are that no header tells, where that is not JSON.
    OpenInference(Option<InferenceMessage>),
}

impl Format {
    /// Returns what is configured.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Ndjson => "ndjson",
            Self::OpenInference(_) => "open_inference",
        }
    }

    fn documents(self, message: &SampledMessage) -> Vec<Value> {
        let (encoding, documents) = encoding::look(message);
        let Self::OpenInference(unsaid) = self else { return documents };
        let payload = message.payload.as_deref().unwrap_or_default();
        let kind = match (encoding, unsaid) {
            (Encoding::InferenceMessage, _) => return documents,
            (Encoding::InferenceUnsaid, Some(kind)) => kind,
            (_, _) => InferenceMessage::Json,
        };
        inference::document(payload, kind).into_iter().collect()
    }
}

/// Where the event time is.
#[derive(Debug)]
pub(super) struct EventTime {
    pub(super) path: String,
    /// Kafka's own is not written in one.
    pub(super) format: Option<TimeFormat>,
    pub(super) note: String,
}

/// A model of the draft.
#[derive(Debug)]
pub(super) struct Model {
    pub(super) name: String,
    pub(super) version: Option<Version>,
    pub(super) prediction_id: Option<(String, String)>,
    pub(super) features: Vec<Column>,
    pub(super) predictions: Vec<Column>,
    pub(super) left: Vec<Skipped>,
}

/// Where records tell the version.
#[derive(Debug)]
pub(super) struct Version {
    pub(super) path: String,
    pub(super) different: u64,
    pub(super) note: String,
}

/// A feature or prediction.
#[derive(Debug)]
pub(super) struct Column {
    pub(super) name: String,
    pub(super) path: String,
    pub(super) kind: FeatureKind,
    pub(super) note: String,
}

/// The documents of one model.
struct Group {
    name: String,
    tree: Tree,
    lists: BTreeSet<NodeId>,
}

impl Group {
    fn of<'a, D: Iterator<Item = Value> + 'a>(name: &str, documents: impl Fn() -> D) -> Self {
        let mut tree = Tree::new();
        documents().for_each(|it| tree.add(&it));
        let lists = records::find(&tree, documents());
        Self { name: name.to_owned(), tree, lists }
    }

    /// Whether nearly all documents, or elements of their lists, are `CloudEvents`.
    fn are_events(&self) -> bool {
        let root = self.tree.node(Tree::ROOT);
        let is_list = self.lists.contains(&Tree::ROOT);
        let event = root.each.filter(|_| is_list).unwrap_or(Tree::ROOT);
        let is_there = |key: &&str| {
            let found = self.tree.child(event, key).map_or(0, |it| self.tree.node(it).present);
            self.tree.node(event).present * REQUIRED <= found * 100
        };
        body::EVENT.iter().all(is_there)
    }

    fn fields(&self, columns: Option<&str>) -> Fields<'_> {
        fields::find(&self.tree, &self.lists, columns)
    }
}

/// Drafts a configuration, or says why there is nothing to configure.
pub(super) fn draft(messages: &[SampledMessage], topic: &str, show: Show) -> Result<Draft, String> {
    let (format, payload_bytes_max) = (format(messages, topic)?, payload_bytes_max(messages));
    let (is_apart, pairs) = match pairs::find(messages) {
        Ok(pairs) => (false, pairs),
        Err(pairs::Apart) => (true, None),
    };
    let messages = pairs.as_ref().map_or(messages, |it| &it.joined);
    let all_documents = || messages.iter().flat_map(|it| format.documents(it));
    let changes = Changes::find(all_documents);
    let documents = || all_documents().filter(|it| Changes::are_read(changes.as_ref(), it));
    let all = Group::of("model", documents);
    let fields = all.fields(None);
    let attributes_at = attributes_at(&all, pairs.as_ref());
    let named = model_field(&fields, attributes_at == Some(1), &all.lists);
    let groups = match named {
        None => Vec::new(),
        Some(field) => groups(field, &all, documents),
    };
    let groups = if groups.is_empty() { vec![&all] } else { groups.iter().collect() };
    let mut draft = Draft {
        format,
        event_time: EventTime::beside(messages),
        model: named.map(|it| (it.path.clone(), notes::different(it, show))),
        columns: fields.columns.clone(),
        tensors: BTreeSet::new(),
        payload_bytes_max,
        rows_max: rows_max(&all),
        models: Vec::new(),
        bounds: all.tree.bounds.clone(),
        join: None,
        changes: changes.as_ref().map(|it| (it.op.clone(), it.note())),
        is_apart,
    };
    let model_path = named.map(|it| it.path.as_str());
    let event_time = event_time(&fields, groups.len() == 1, &all.lists, false);
    let mut sorted: Vec<_> = groups
        .iter()
        .map(|group| {
            let fields = group.fields(draft.columns.as_deref());
            draft.tensors.extend(fields.tensors.iter().cloned());
            Sorted::of(&group.name, fields, [event_time, named], attributes_at, show)
        })
        .collect();
    // A message has a record an element only where something that is counted differs in them.
    let are_counted = sorted.iter().all(|it| it.counts_lists);
    let event_time = match event_time {
        Some(field) if field.list.is_some() && !are_counted => {
            self::event_time(&fields, false, &BTreeSet::new(), true)
        }
        other => other,
    };
    if let Some(field) = event_time {
        draft.event_time = EventTime::at(field, show);
    }
    draft.bounds.extend(sorted.iter_mut().flat_map(|it| std::mem::take(&mut it.bounds)));
    draft.models = sorted.into_iter().filter_map(|it| it.into_model(model_path)).collect();
    draft.columns = draft.columns.take().filter(|names| draft.reads_by(names));
    let tensors = std::mem::take(&mut draft.tensors);
    // Those of the protocol are rows without being named.
    let is_named = |it: &String| match format {
        Format::Json | Format::Ndjson => draft.reads_values_of(it),
        Format::OpenInference(_) => false,
    };
    draft.tensors = tensors.into_iter().filter(is_named).collect();
    draft.join = pairs.map(|Pairs { attributes, note, .. }| Join { attributes, note });
    if draft.models.is_empty() {
        return Err("no field of the documents looks like a feature or a prediction".to_owned());
    }
    Ok(draft)
}

/// Documents that are changes of a table, and where each says what became of a row.
struct Changes {
    op: String,
    records: u64,
    documents: u64,
}

impl Changes {
    /// Finds out whether nearly all documents are some.
    fn find<D: Iterator<Item = Value>>(documents: impl Fn() -> D) -> Option<Self> {
        let ops = ["op", "payload.op"];
        let count = |op: &str| documents().filter(|it| Self::kind(it, op).is_some()).count() as u64;
        let (op, found) = ops.map(|op| (op, count(op))).into_iter().max_by_key(|it| it.1)?;
        let all = documents().count() as u64;
        if found == 0 || found * 100 < all * REQUIRED {
            return None;
        }
        let is_record = |it: &Value| Self::kind(it, op).is_some_and(ChangeKind::is_record);
        let records = documents().filter(is_record).count() as u64;
        Some(Self { op: op.to_owned(), records, documents: all })
    }

    /// Returns what became of the row, of a document that says it beside the row.
    fn kind(document: &Value, op: &str) -> Option<ChangeKind> {
        let event = if op == "op" { document } else { document.get("payload")? };
        let kind = ChangeKind::of_op(event.get("op")?.as_str()?)?;
        let has_row = event.get("after").is_some() || !kind.is_record();
        (has_row && event.get("source").is_some()).then_some(kind)
    }

    /// Whether what is proposed is to be seen in a document. Where nothing is new, changed rows
    /// show it.
    fn are_read(changes: Option<&Self>, document: &Value) -> bool {
        let Some(Self { op, records, documents: _ }) = changes else { return true };
        *records == 0 || Self::kind(document, op).is_some_and(ChangeKind::is_record)
    }

    fn note(&self) -> String {
        let Self { op: _, records, documents } = self;
        format!("changes of a table: {records} of {documents} bring a new row, the others are none")
    }
}

/// Returns how deep the attributes of events are, where documents are events, or pairs of them.
fn attributes_at(all: &Group, pairs: Option<&Pairs>) -> Option<usize> {
    match pairs.map(|it| it.attributes) {
        Some(Attributes::Inside) => Some(2),
        Some(Attributes::Beside) => None,
        None => all.are_events().then_some(1),
    }
}

impl Draft {
    /// Returns whether any counted path reads rows by these names.
    fn reads_by(&self, names: &str) -> bool {
        let names = FieldPath::parse(names);
        names.is_ok_and(|names| self.paths().any(|it| it.is_named_by(&names)))
    }

    /// Returns whether any counted path reads a value of this tensor.
    fn reads_values_of(&self, tensor: &str) -> bool {
        let tensor = FieldPath::parse(tensor);
        tensor.is_ok_and(|tensor| self.paths().any(|it| it.is_value_of(&tensor, None)))
    }

    fn paths(&self) -> impl Iterator<Item = FieldPath> {
        let columns = self.models.iter().flat_map(|it| it.features.iter().chain(&it.predictions));
        columns.filter_map(|it| FieldPath::parse(&it.path).ok())
    }
}

/// Says how messages are made of documents.
fn format(messages: &[SampledMessage], topic: &str) -> Result<Format, String> {
    let (mut documents, mut lines, mut pretty) = (0_u64, 0_u64, 0_u64);
    let (mut bodies, mut others) = (0_u64, 0_u64);
    for message in messages {
        let (encoding, found) = encoding::look(message);
        bodies += u64::from(encoding.is_inference() && !found.is_empty());
        others += found.iter().filter(|it| !inference::is_document(it)).count() as u64;
        documents += u64::from(encoding.has_documents());
        lines += u64::from(encoding == Encoding::JsonLines);
        let payload = message.payload.as_deref().unwrap_or_default().trim_ascii();
        let is_one = encoding.has_documents() && encoding != Encoding::JsonLines;
        pretty += u64::from(is_one && payload.contains(&b'\n'));
    }
    if others < bodies {
        return Ok(Format::OpenInference(unsaid(messages, topic)));
    }
    if documents == 0 {
        return Err(if messages.is_empty() {
            "no message was read".to_owned()
        } else {
            "no message is of a format that driftd reads".to_owned()
        });
    }
    Ok(if pretty < lines { Format::Ndjson } else { Format::Json })
}

/// Says what bodies are that no header tells, where they are messages of Protobuf.
fn unsaid(messages: &[SampledMessage], topic: &str) -> Option<InferenceMessage> {
    let is_unsaid = |it: &&SampledMessage| encoding::look(it).0 == Encoding::InferenceUnsaid;
    let mut unsaid = messages.iter().filter(is_unsaid).peekable();
    unsaid.peek()?;
    Some(inference::told(unsaid.filter_map(|it| it.payload.as_deref()), topic))
}

/// Returns the field that names the model of a record.
fn model_field<'a, 'b>(
    fields: &'b Fields<'a>,
    is_event: bool,
    lists: &BTreeSet<NodeId>,
) -> Option<&'b Field<'a>> {
    let is_list = lists.contains(&Tree::ROOT);
    let names = |field: &Field<'_>| {
        let values = &field.node.values;
        let is_name = |(name, _): &(&str, u64)| ModelId::try_new(name, "1").is_ok();
        values.texts == values.total()
            && !values.has_more
            && values.different() <= MODELS_MAX
            && field.is_in(REQUIRED)
            && (is_list || field.list.is_none())
            && values.by_frequency().iter().all(is_name)
            && values.longest < NAME_BYTES / 2
    };
    let able = || fields.found.iter().filter(|it| names(it));
    let kinds = |field: &&Field<'_>| {
        let values = field.node.values.by_frequency();
        field.keys == ["type"]
            && 1 < values.len()
            && values.iter().all(|(it, _)| it.contains(INFERENCE))
    };
    if let Some(kinds) = able().filter(|_| is_event).find(kinds) {
        return Some(kinds);
    }
    let ranked = able().filter_map(|it| Some((judge::rank(it, Part::Model)?, it)));
    ranked.min_by_key(|(rank, _)| *rank).map(|(_, field)| field)
}

/// Parts the documents by the name of their model. Records of one list share a tree: their names
/// differ in a message.
fn groups<D: Iterator<Item = Value>>(
    field: &Field<'_>,
    all: &Group,
    documents: impl Fn() -> D,
) -> Vec<Group> {
    let mut names: Vec<_> =
        field.node.values.by_frequency().into_iter().map(|(name, _)| name).collect();
    names.sort_unstable();
    let part = |name: &&str| {
        if field.list.is_some() {
            let (tree, lists) = (all.tree.clone(), all.lists.clone());
            return Group { name: (*name).to_owned(), tree, lists };
        }
        let is_its = |document: &Value| {
            let found = field.keys.iter().try_fold(document, |value, key| value.get(key));
            found.and_then(Value::as_str) == Some(name)
        };
        Group::of(name, || documents().filter(is_its))
    };
    names.iter().map(part).collect()
}

/// Chooses the event time. Inside of a list of records only where `may_be_inside`, or where the
/// message is the list.
fn event_time<'a, 'b>(
    fields: &'b Fields<'a>,
    may_be_inside: bool,
    lists: &BTreeSet<NodeId>,
    only_outside: bool,
) -> Option<&'b Field<'a>> {
    let is_list = lists.contains(&Tree::ROOT);
    let able = |field: &&Field<'_>| {
        (field.list.is_none() || !only_outside && (is_list || may_be_inside))
            && field.is_in(REQUIRED)
            && judge::time_format(field).is_some()
    };
    let ranked = fields.found.iter().filter(able);
    let ranked = ranked.filter_map(|it| Some((judge::rank(it, Part::EventTime)?, it)));
    ranked.min_by_key(|(rank, _)| *rank).map(|(_, field)| field)
}

impl EventTime {
    /// Returns a time that is in no field: that of an event, where messages are events with
    /// attributes in headers, or else Kafka's.
    fn beside(messages: &[SampledMessage]) -> Self {
        const HEADER: &str = "ce_time";
        let is_time = |it: &&SampledMessage| {
            it.header(HEADER).is_some_and(|text| event_time::from_text(text).is_some())
        };
        let (events, all) = (messages.iter().filter(is_time).count(), messages.len());
        if all as u64 * REQUIRED <= events as u64 * 100 {
            return Self {
                path: format!("$headers.{HEADER}"),
                format: Some(TimeFormat::Rfc3339),
                note: format!("in {events} of {all} messages"),
            };
        }
        let note = "no field looks like a time: this is Kafka's, of when a message was sent";
        Self { path: "$time".to_owned(), format: None, note: note.to_owned() }
    }

    fn at(field: &Field<'_>, show: Show) -> Self {
        let format = Some(judge::time_format(field).unwrap_or(TimeFormat::Rfc3339));
        Self { path: field.path.clone(), format, note: notes::time(field, show) }
    }
}

/// The fields of one model, each in its place.
struct Sorted {
    model: Model,
    /// Whether something that is counted has a value for each element of a list, or there is none.
    counts_lists: bool,
    bounds: Vec<String>,
    version_in_list: bool,
    id_in_list: bool,
}

impl Sorted {
    fn of(
        name: &str,
        fields: Fields<'_>,
        taken: [Option<&Field<'_>>; 2],
        attributes_at: Option<usize>,
        show: Show,
    ) -> Self {
        let taken = taken.into_iter().flatten().map(|it| it.path.as_str());
        let mut taken: BTreeSet<String> = taken.map(str::to_owned).collect();
        let version = best(&fields, Part::Version, &taken, is_version);
        taken.extend(version.map(|it| it.path.clone()));
        let id = best(&fields, Part::PredictionId, &taken, is_identity);
        taken.extend(id.map(|it| it.path.clone()));
        let mut sorted = Self {
            model: Model {
                name: name.to_owned(),
                version: version.map(|it| Version {
                    path: it.path.clone(),
                    different: it.node.values.different(),
                    note: notes::different(it, show),
                }),
                prediction_id: id.map(|it| (it.path.clone(), notes::share(it))),
                features: Vec::new(),
                predictions: Vec::new(),
                left: Vec::new(),
            },
            counts_lists: false,
            bounds: Vec::new(),
            version_in_list: version.is_some_and(|it| it.list.is_some()),
            id_in_list: id.is_some_and(|it| it.list.is_some()),
        };
        let around = Surroundings::of(&fields.found, attributes_at);
        let mut names = Names::default();
        for field in fields.found.iter().filter(|it| !taken.contains(&it.path)) {
            sorted.sort(field, judge::judge(field, around), &mut names, show);
        }
        sorted.model.left.extend(fields.skipped);
        sorted
    }

    fn sort(&mut self, field: &Field<'_>, judged: Judgement, names: &mut Names, show: Show) {
        let Model { features, predictions, left, .. } = &mut self.model;
        let count = features.len() + predictions.len();
        let (columns, kind) = match judged {
            Judgement::Left(reason) => {
                return left.push(Skipped { path: field.path.clone(), reason });
            }
            Judgement::Feature(_) | Judgement::Prediction(_) if COLUMNS_MAX <= count => {
                let bound = format!("the first {COLUMNS_MAX} features of a model are proposed");
                return self.bounds.push(bound);
            }
            Judgement::Feature(kind) => (features, kind),
            Judgement::Prediction(kind) => (predictions, kind),
        };
        self.counts_lists |= field.list.is_some();
        let (name, path) = (names.name(field), field.path.clone());
        columns.push(Column { name, path, kind, note: notes::column(field, kind, show) });
    }

    /// Returns the model, unless nothing of it can be counted.
    fn into_model(self, model_path: Option<&str>) -> Option<Model> {
        let Self { mut model, counts_lists, version_in_list, id_in_list, .. } = self;
        let in_root = model_path.is_some_and(|it| it.starts_with("[]"));
        if !counts_lists && !in_root {
            model.version = model.version.filter(|_| !version_in_list);
            model.prediction_id = model.prediction_id.filter(|_| !id_in_list);
        }
        if model.features.is_empty() {
            std::mem::swap(&mut model.features, &mut model.predictions);
        }
        (!model.features.is_empty()).then_some(model)
    }
}

fn best<'a, 'b>(
    fields: &'b Fields<'a>,
    part: Part,
    taken: &BTreeSet<String>,
    is_able: impl Fn(&Field<'_>) -> bool,
) -> Option<&'b Field<'a>> {
    let able = fields.found.iter().filter(|it| !taken.contains(&it.path) && is_able(it));
    let ranked = able.filter_map(|it| Some((judge::rank(it, part)?, it)));
    ranked.min_by_key(|(rank, _)| *rank).map(|(_, field)| field)
}

fn is_version(field: &Field<'_>) -> bool {
    let values = &field.node.values;
    let is_name = |(name, _): &(&str, u64)| ModelId::try_new("m", name).is_ok();
    values.texts + values.numbers() == values.total()
        && !values.has_more
        && values.different() <= VERSIONS_MAX
        && field.is_in(REQUIRED)
        && values.by_frequency().iter().all(is_name)
}

/// Whether hardly two records share a value.
fn is_identity(field: &Field<'_>) -> bool {
    let values = &field.node.values;
    let is_repeated = !values.has_more && values.different() * 2 <= values.total();
    0 < values.texts + values.integers && !(is_repeated && 3 < values.total())
}

/// Names of features, each given once.
#[derive(Default)]
struct Names(BTreeSet<String>);

impl Names {
    fn name(&mut self, field: &Field<'_>) -> String {
        let mut places = String::new();
        for place in &field.places {
            places.extend(["_", &place.to_string()]);
        }
        let own = field.keys.last().map_or("value", String::as_str);
        let short = label(own, &places);
        let long = label(&field.keys.join("_"), &places);
        let numbered = (2_usize..).map(|it| format!("{short}_{it}"));
        let free =
            [short.clone(), long].into_iter().chain(numbered).find(|it| !self.0.contains(it));
        let name = free.unwrap_or(short);
        self.0.insert(name.clone());
        name
    }
}

/// Makes a name that metrics can have.
fn label(text: &str, suffix: &str) -> String {
    let mut name: String = text.chars().map(|c| if c.is_control() { '_' } else { c }).collect();
    name.truncate(name.floor_char_boundary(NAME_BYTES.saturating_sub(suffix.len())));
    if name.is_empty() {
        name.push_str("value");
    }
    name + suffix
}

fn payload_bytes_max(messages: &[SampledMessage]) -> Option<usize> {
    let sizes = messages.iter().filter_map(|it| it.payload.as_ref().map(Vec::len));
    let largest = sizes.max().filter(|largest| PAYLOAD_BYTES < *largest)?;
    Some(largest.next_power_of_two().min(PAYLOAD_BYTES_MAX))
}

fn rows_max(all: &Group) -> Option<usize> {
    let longest = |list: &NodeId| all.tree.node(*list).length.map(|(_, greatest)| greatest);
    let longest = all.lists.iter().filter_map(longest).max()?;
    (ROWS < longest).then(|| (2 * longest).min(DecodeLimits::ROWS_MAX))
}
