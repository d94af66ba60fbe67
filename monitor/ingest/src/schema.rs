//! What the records of one source look like: where the values are and which column each becomes.
//!
//! Before: `driftd-core`'s configuration builds it. After: decoders plan their work from it, and
//! everyone downstream finds columns by their position in it.

mod inference;
mod tensors;

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use driftd_catalog::{ModelId, NameError, SegmentId};

pub use self::inference::{INFERENCE_HEADER, InferenceMessage};
use crate::path::{EnvelopeValue, FieldPath};

/// Name of the column of identities.
const IDENTITY_COLUMN: &str = "prediction_id";

/// Most models of one source: rows name their model by a 16-bit index.
const MODELS_MAX: usize = 1 << 16;

/// How a feature's values are decoded and stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FeatureKind {
    /// Numbers as `Float32`; `"NaN"`, `"Infinity"` and `"-Infinity"` as text.
    Float32,
    /// Numbers as `Float64`; `"NaN"`, `"Infinity"` and `"-Infinity"` as text.
    Float64,
    /// Whole numbers as `Int64`, counted as `f64`.
    Integer,
    /// Text as dictionary levels; numbers and booleans are taken as their JSON text.
    Categorical,
    /// Booleans as the levels `false` and `true`.
    Boolean,
}

impl FeatureKind {
    /// Returns the Arrow type of the feature's column.
    fn data_type(self) -> DataType {
        match self {
            Self::Float32 => DataType::Float32,
            Self::Float64 => DataType::Float64,
            Self::Integer => DataType::Int64,
            Self::Categorical | Self::Boolean => dictionary(),
        }
    }
}

/// How a record writes its event time. Units count from 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TimeFormat {
    /// Text such as `2013-04-01T09:00:00Z` or `2013-04-01T09:00:00.25+02:00`.
    Rfc3339,
    /// A number of seconds, whole or with a fraction.
    UnixSeconds,
    /// A number of milliseconds.
    UnixMillis,
    /// A number of microseconds.
    UnixMicros,
    /// A number of nanoseconds.
    UnixNanos,
}

impl fmt::Display for TimeFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Rfc3339 => "RFC 3339 text",
            Self::UnixSeconds => "Unix seconds",
            Self::UnixMillis => "Unix milliseconds",
            Self::UnixMicros => "Unix microseconds",
            Self::UnixNanos => "Unix nanoseconds",
        })
    }
}

/// How a message is made of documents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// It is one document.
    Document,
    /// Each line is one. Lines of white space alone are passed over.
    Lines,
}

/// A feature (or prediction): one column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeatureField {
    /// Name in configuration, metrics and pages.
    pub name: Arc<str>,
    /// Where the value is. Absent and null values are Arrow nulls.
    pub path: FieldPath,
    /// What the value is.
    pub kind: FeatureKind,
}

/// A value that parts a model's traffic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentField {
    /// Name of the division, as in `name=value`.
    pub name: Arc<str>,
    /// Where the value is. Absent and null values are Arrow nulls.
    pub path: FieldPath,
}

/// A text that is a document itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EmbeddedField {
    /// Where it is: without `[]` and `[key=text]`, and not inside of another one.
    pub path: FieldPath,
    /// How it is written.
    pub form: EmbeddedForm,
}

/// How a document is written as text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EmbeddedForm {
    /// JSON.
    Json,
    /// Comma-separated values without a line of names: a list of lists.
    Csv,
    /// Base64 of JSON.
    Base64Json,
    /// Base64 of comma-separated values.
    Base64Csv,
}

/// Where a record's model version comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VersionField {
    /// Every record is of this version.
    Fixed(Arc<str>),
    /// The record says it: text, or a number taken as its JSON text.
    Path(FieldPath),
}

/// One model's records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelSchema {
    /// The name that records carry at [`SourceSchema::model`].
    pub name: Arc<str>,
    /// Where the version comes from.
    pub version: VersionField,
    /// Where the prediction's identity is, by which a label finds it: text, or a number or boolean
    /// taken as its JSON text. `None` where nobody looks for it.
    pub prediction_id: Option<FieldPath>,
    /// Features, then predictions, in the order of the configuration.
    pub features: Vec<FeatureField>,
    /// Segments, in the order of the configuration.
    pub segments: Vec<SegmentField>,
}

impl ModelSchema {
    /// Returns the columns of the model's batches: one a feature, then one a segment, then the
    /// prediction's identity where there is one, all nullable.
    ///
    /// Categories, segments and identities are `Dictionary(UInt32, Utf8)`. A feature and a segment
    /// may share a name: columns are found by position.
    pub fn arrow_schema(&self) -> SchemaRef {
        let features =
            self.features.iter().map(|it| Field::new(&*it.name, it.kind.data_type(), true));
        let segments = self.segments.iter().map(|it| Field::new(&*it.name, dictionary(), true));
        let identity = self.prediction_id.iter();
        let identity = identity.map(|_| Field::new(IDENTITY_COLUMN, dictionary(), true));
        Arc::new(Schema::new(features.chain(segments).chain(identity).collect::<Vec<_>>()))
    }

    /// Returns how many columns that are.
    pub fn columns(&self) -> usize {
        self.features.len() + self.segments.len() + usize::from(self.prediction_id.is_some())
    }

    /// Returns the paths that values of a record are read at.
    pub(crate) fn read_paths(&self) -> impl Iterator<Item = &FieldPath> {
        let version = match &self.version {
            VersionField::Fixed(_) => None,
            VersionField::Path(path) => Some(path),
        };
        let features = self.features.iter().map(|it| &it.path);
        let segments = self.segments.iter().map(|it| &it.path);
        version.into_iter().chain(features).chain(segments).chain(&self.prediction_id)
    }

    fn check(&self) -> Result<(), SchemaError> {
        let model = || self.name.to_string();
        let invalid_name = |source| SchemaError::InvalidName { model: model(), source };
        let version = match &self.version {
            VersionField::Fixed(version) => version,
            VersionField::Path(_) => "unknown until a record says it",
        };
        ModelId::try_new(&self.name, version).map_err(invalid_name)?;
        for segment in &self.segments {
            SegmentId::try_new(&segment.name, "").map_err(invalid_name)?;
        }
        if self.features.is_empty() {
            return Err(SchemaError::NoFeatures { model: model() });
        }
        if let Some(name) = repeated(self.features.iter().map(|it| &*it.name)) {
            return Err(SchemaError::RepeatedFeature { model: model(), feature: name.to_owned() });
        }
        if let Some(name) = repeated(self.segments.iter().map(|it| &*it.name)) {
            return Err(SchemaError::RepeatedSegment { model: model(), segment: name.to_owned() });
        }
        Ok(())
    }
}

/// Everything a decoder must know about one source. Made by [`SourceSchema::try_new`] only.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SourceSchema {
    /// Where the event time is. Absent or null refuses the record.
    pub event_time: FieldPath,
    /// How the event time is written.
    pub time_format: TimeFormat,
    /// Where the model's name is; `None` when the source has one model.
    pub model: Option<FieldPath>,
    /// The models, at least one; [`crate::Row::model`] is an index into it.
    pub models: Vec<ModelSchema>,
    /// Where a message names the columns of the lists of rows beside the names.
    pub columns: Option<FieldPath>,
    /// How a message is made of documents.
    pub framing: Framing,
    /// Texts that are documents themselves.
    pub embedded: Vec<EmbeddedField>,
    /// Values of tensors, which become lists of rows by the shape beside them: the first dimension
    /// is the rows, and a row is a list of all values of the others.
    pub tensors: Vec<FieldPath>,
    /// Where a message says what became of a row of a table; `None` where messages are no changes.
    pub change: Option<FieldPath>,
    /// What messages without a header that says it are of the Open Inference Protocol; `None` where
    /// they are no bodies of it.
    pub inference: Option<InferenceMessage>,
    /// What is read of a message beside its payload: [`crate::Message::envelope`] has its values in
    /// this order.
    pub envelope: Vec<EnvelopeValue>,
}

impl SourceSchema {
    /// Checks that records can be told apart by model, columns by name, and rows by their values.
    ///
    /// Without `model`, every record belongs to the one model in `models`.
    pub fn try_new(
        event_time: FieldPath,
        time_format: TimeFormat,
        model: Option<FieldPath>,
        models: Vec<ModelSchema>,
    ) -> Result<Self, SchemaError> {
        if models.is_empty() {
            return Err(SchemaError::NoModels);
        }
        if MODELS_MAX < models.len() {
            return Err(SchemaError::TooManyModels { count: models.len() });
        }
        if model.is_none() && 1 < models.len() {
            return Err(SchemaError::NoModelPath { count: models.len() });
        }
        if let Some(name) = repeated(models.iter().map(|it| &*it.name)) {
            return Err(SchemaError::RepeatedModel { model: name.to_owned() });
        }
        models.iter().try_for_each(ModelSchema::check)?;
        check_lists(&event_time, model.as_ref(), &models)?;
        check_times(model.as_ref(), &models)?;
        let framing = Framing::Document;
        let paths = models.iter().flat_map(ModelSchema::read_paths);
        let beside = paths.chain([&event_time]).chain(&model).filter_map(FieldPath::beside);
        let beside: BTreeSet<EnvelopeValue> = beside.cloned().collect();
        let envelope = beside.into_iter().collect();
        Ok(Self {
            event_time,
            time_format,
            model,
            models,
            columns: None,
            framing,
            embedded: Vec::new(),
            tensors: Vec::new(),
            change: None,
            inference: None,
            envelope,
        })
    }

    /// Returns the same without identities of predictions, for whoever looks for none.
    #[must_use]
    pub fn without_identities(&self) -> Self {
        let mut schema = self.clone();
        schema.models.iter_mut().for_each(|model| model.prediction_id = None);
        schema
    }

    /// Returns how the event time is written: Kafka's own is a number of milliseconds.
    pub fn written_time(&self) -> TimeFormat {
        let is_kafkas = self.event_time.beside() == Some(&EnvelopeValue::Time);
        if is_kafkas { TimeFormat::UnixMillis } else { self.time_format }
    }

    /// Returns whether a message's payload is the list of its rows.
    pub fn is_list(&self) -> bool {
        self.read_paths().any(FieldPath::begins_with_each)
    }

    /// Returns the paths that values of a record are read at.
    pub(crate) fn read_paths(&self) -> impl Iterator<Item = &FieldPath> {
        let own = self.models.iter().flat_map(ModelSchema::read_paths);
        own.chain([&self.event_time]).chain(&self.model)
    }

    /// # Panics
    /// When the schema has what only JSON has: names of columns, lines, documents inside of text,
    /// tensors.
    pub(crate) fn assert_without_json(&self) {
        assert!(self.columns.is_none(), "names of columns are of JSON");
        assert_eq!(self.framing, Framing::Document, "lines are of JSON");
        assert!(self.embedded.is_empty(), "documents inside of text are of JSON");
        assert!(self.tensors.is_empty(), "tensors by their shapes are of JSON");
        assert!(self.inference.is_none(), "bodies of the protocol become JSON");
    }

    /// Returns through how many lists paths go.
    pub(crate) fn lists(&self) -> usize {
        self.read_paths().filter_map(FieldPath::list).collect::<BTreeSet<_>>().len()
    }

    /// Has messages read in another framing.
    #[must_use]
    pub fn with_framing(self, framing: Framing) -> Self {
        Self { framing, ..self }
    }

    /// Has texts read as the documents that they are.
    pub fn with_embedded(self, embedded: Vec<EmbeddedField>) -> Result<Self, SchemaError> {
        let paths = || embedded.iter().map(|it| &it.path);
        let invalid = paths().find(|it| !it.has_fixed_place());
        let nested = paths().enumerate().find(|(index, path)| {
            let mut others = paths().enumerate().filter(|(other, _)| other != index);
            others.any(|(_, other)| path.is_inside(other))
        });
        match invalid.or(nested.map(|(_, path)| path)) {
            Some(path) => Err(SchemaError::NotEmbedded { path: path.to_string() }),
            None => Ok(Self { embedded, ..self }),
        }
    }

    /// Has messages read as changes, of which those that bring a new row are records.
    #[must_use]
    pub fn with_change(self, path: FieldPath) -> Self {
        let schema = self.with_beside([&path]);
        Self { change: Some(path), ..schema }
    }

    /// Has this header brought beside a payload too.
    #[must_use]
    pub fn with_header(mut self, name: &str) -> Self {
        let header = EnvelopeValue::Header(name.into());
        if let Err(place) = self.envelope.binary_search(&header) {
            self.envelope.insert(place, header);
        }
        self
    }

    /// Has these values brought beside a payload too, where they are no part of it: whoever joins
    /// messages reads them.
    #[must_use]
    pub fn with_beside<'a>(self, paths: impl IntoIterator<Item = &'a FieldPath>) -> Self {
        let more = paths.into_iter().filter_map(FieldPath::beside).cloned();
        let envelope: BTreeSet<EnvelopeValue> = self.envelope.into_iter().chain(more).collect();
        Self { envelope: envelope.into_iter().collect(), ..self }
    }

    /// Has rows of the lists beside `columns` read by the names that are there.
    pub fn with_columns(self, columns: FieldPath) -> Result<Self, SchemaError> {
        let is_named = |path: &FieldPath| path.is_named_by(&columns);
        let are_rows = self.read_paths().any(|path| path.has_rows_of(&columns));
        if columns.has_each() || are_rows || !self.read_paths().any(is_named) {
            return Err(SchemaError::NothingNamed { columns: columns.to_string() });
        }
        let is_lost = |path: &&FieldPath| {
            self.read_paths().any(|it| is_named(it) && path.has_where_in_row_of(it))
        };
        if let Some(path) = self.read_paths().find(is_lost) {
            let (path, columns) = (path.to_string(), columns.to_string());
            return Err(SchemaError::NotNamed { path, columns });
        }
        Ok(Self { columns: Some(columns), ..self })
    }
}

/// A schema that no decoder could follow.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SchemaError {
    /// Nothing to decode for.
    #[error("the source has no model")]
    NoModels,
    /// Rows name their model by a 16-bit index.
    #[error("the source has {count} models, more than {MODELS_MAX}")]
    TooManyModels {
        /// Models configured.
        count: usize,
    },
    /// Nothing says whose a record is.
    #[error("the source has {count} models and no path to a record's model name")]
    NoModelPath {
        /// Models configured.
        count: usize,
    },
    /// Two models of one source share a name.
    #[error("model `{model}` is configured twice in one source")]
    RepeatedModel {
        /// The shared name.
        model: String,
    },
    /// The model's name, its fixed version or one of its segments' names cannot be a label.
    #[error("model `{model}` has a name, version or segment that cannot be a label")]
    InvalidName {
        /// Name of the model.
        model: String,
        /// What is wrong with the name.
        source: NameError,
    },
    /// A model that nothing would be counted for.
    #[error("model `{model}` has no feature")]
    NoFeatures {
        /// Name of the model.
        model: String,
    },
    /// Two features of one model share a name.
    #[error("model `{model}` has feature `{feature}` twice")]
    RepeatedFeature {
        /// Name of the model.
        model: String,
        /// The shared name.
        feature: String,
    },
    /// Two segments of one model share a name.
    #[error("model `{model}` has segment `{segment}` twice")]
    RepeatedSegment {
        /// Name of the model.
        model: String,
        /// The shared name.
        segment: String,
    },
    /// A message cannot be a list and something else.
    #[error(
        "one value is at `{first}` and another at `{path}`: either all paths begin with `[]` or \
         none"
    )]
    MixedRoots {
        /// One path.
        first: String,
        /// The other path.
        path: String,
    },
    /// Kafka's time as something else than the event time.
    #[error("`$time` is read as the event time only, and not for model `{model}`")]
    TimeElsewhere {
        /// Name of a model that reads it.
        model: String,
    },
    /// Names of columns without a list of rows that is read by them.
    #[error("no path reads a list beside the names of columns at `{columns}` by name")]
    NothingNamed {
        /// Path of the names.
        columns: String,
    },
    /// A row that is a list of values has no element with a text.
    #[error("`{path}` finds an element in a row whose values are named at `{columns}`")]
    NotNamed {
        /// The path.
        path: String,
        /// Path of the names.
        columns: String,
    },
    /// A text that cannot be a document, because there would be several, or one inside of another.
    #[error("the text at `{path}` cannot be a document: it is in a list, in another one or none")]
    NotEmbedded {
        /// Where it is.
        path: String,
    },
    /// Values without a shape, in another tensor, or of which nobody reads one.
    #[error("the values at `{path}` are no tensor: not at a key, in another one, or not read")]
    NoTensor {
        /// Where they are.
        path: String,
    },
    /// A path into a tensor that does not lead to one value of its rows.
    #[error("`{path}` is no value of a row of the tensor at `{tensor}`")]
    NoTensorValue {
        /// The path.
        path: String,
        /// Where the tensor's values are.
        tensor: String,
    },
    /// Rows that differ in nothing that is watched.
    #[error(
        "model `{model}` has a row for each value at `{path}`, and no feature or prediction \
             with a value a row"
    )]
    SameInEachRow {
        /// Name of the model.
        model: String,
        /// The path with `[]`.
        path: String,
    },
}

/// Checks that rows of one message have something of their own to count, and that its list is
/// either the message itself or inside of it.
fn check_lists(
    event_time: &FieldPath,
    model: Option<&FieldPath>,
    models: &[ModelSchema],
) -> Result<(), SchemaError> {
    for schema in models {
        let own: Vec<_> = schema.read_paths().collect();
        let mut all = [event_time].into_iter().chain(model).chain(own.iter().copied());
        let mut inside = all.clone().filter(|it| it.beside().is_none());
        if let Some(first) = inside.next()
            && let Some(other) = inside.find(|it| it.begins_with_each() != first.begins_with_each())
        {
            let (first, path) = (first.to_string(), other.to_string());
            return Err(SchemaError::MixedRoots { first, path });
        }
        let is_counted = schema.features.iter().any(|it| it.path.has_each());
        if let Some(path) = all.find(|it| it.has_each() && !is_counted) {
            let (model, path) = (schema.name.to_string(), path.to_string());
            return Err(SchemaError::SameInEachRow { model, path });
        }
    }
    Ok(())
}

/// Checks that Kafka's time is nobody's feature, segment or name.
fn check_times(model: Option<&FieldPath>, models: &[ModelSchema]) -> Result<(), SchemaError> {
    let is_time = |path: &FieldPath| path.beside() == Some(&EnvelopeValue::Time);
    let reads_it = |schema: &&ModelSchema| schema.read_paths().chain(model).any(is_time);
    match models.iter().find(reads_it) {
        Some(schema) => Err(SchemaError::TimeElsewhere { model: schema.name.to_string() }),
        None => Ok(()),
    }
}

fn dictionary() -> DataType {
    DataType::Dictionary(Box::new(DataType::UInt32), Box::new(DataType::Utf8))
}

fn repeated<'a>(mut names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let mut seen = BTreeSet::new();
    names.find(|&name| !seen.insert(name))
}

#[cfg(test)]
mod tests;
