//! Which column of a file is which value of a source's records.
//!
//! Before: [`super::Table`] knows a file's columns, the configuration a source's paths. After:
//! [`super::records`] reads the columns found here. A column is found by the feature's name, or
//! else by the last element of its path; everything that has no name of its own by the last element
//! of its path.

use std::sync::Arc;

use arrow::datatypes::DataType;
use driftd_ingest::{FeatureKind, FieldPath, ModelSchema, SourceSchema, TimeFormat, VersionField};

use super::{Table, TableError, is_text};

/// What the command line says about records that do not say it themselves.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    /// Model of all records, where the file has no column for it.
    pub model: Option<String>,
    /// Version of all records, where neither the file nor the configuration tells it.
    pub version: Option<String>,
}

/// The columns of one source in one file, by their position in the file.
#[derive(Clone, Debug)]
pub struct Layout {
    pub(super) event_time: usize,
    pub(super) model: ModelColumn,
    /// One entry a model of the source; `None` for models that no record of the file can be of.
    pub(super) models: Vec<Option<ModelLayout>>,
}

/// How a record's model is known.
#[derive(Clone, Debug)]
pub(super) enum ModelColumn {
    /// All records are of this model of the source.
    Fixed(u16),
    /// The record says it.
    At(usize),
}

/// The columns of one model.
#[derive(Clone, Debug)]
pub(super) struct ModelLayout {
    pub(super) version: VersionColumn,
    pub(super) features: Vec<usize>,
    pub(super) segments: Vec<usize>,
}

/// How a record's version is known.
#[derive(Clone, Debug)]
pub(super) enum VersionColumn {
    /// All records are of this version.
    Fixed(Arc<str>),
    /// The record says it.
    At(usize),
}

impl Layout {
    /// Finds all columns of a source's records in a file, and checks their types.
    pub fn find(
        table: &Table,
        schema: &SourceSchema,
        overrides: &Overrides,
    ) -> Result<Self, TableError> {
        let event_time = required(table, &schema.event_time, "the event time")?;
        check_time(table, event_time, schema.written_time())?;
        let model = model_column(table, schema, overrides)?;
        let models = schema
            .models
            .iter()
            .enumerate()
            .map(|(index, it)| match model {
                ModelColumn::Fixed(only) if usize::from(only) != index => Ok(None),
                ModelColumn::Fixed(_) | ModelColumn::At(_) => {
                    ModelLayout::find(table, it, overrides).map(Some)
                }
            })
            .collect::<Result<_, _>>()?;
        Ok(Self { event_time, model, models })
    }

    /// Returns the positions of all columns to be read, ascending.
    pub fn positions(&self) -> Vec<usize> {
        let mut positions = vec![self.event_time];
        if let ModelColumn::At(position) = self.model {
            positions.push(position);
        }
        for model in self.models.iter().flatten() {
            if let VersionColumn::At(position) = model.version {
                positions.push(position);
            }
            positions.extend(model.features.iter().chain(&model.segments));
        }
        positions.sort_unstable();
        positions.dedup();
        positions
    }

    /// Returns the layout in a batch that has only the columns at [`Layout::positions`].
    pub(super) fn projected(&self) -> Self {
        let positions = self.positions();
        let moved = |position: usize| positions.partition_point(|it| *it < position);
        let all = |columns: &[usize]| columns.iter().map(|it| moved(*it)).collect();
        Self {
            event_time: moved(self.event_time),
            model: match self.model {
                ModelColumn::Fixed(index) => ModelColumn::Fixed(index),
                ModelColumn::At(position) => ModelColumn::At(moved(position)),
            },
            models: self
                .models
                .iter()
                .map(|model| {
                    model.as_ref().map(|model| ModelLayout {
                        version: match &model.version {
                            VersionColumn::Fixed(version) => {
                                VersionColumn::Fixed(Arc::clone(version))
                            }
                            VersionColumn::At(position) => VersionColumn::At(moved(*position)),
                        },
                        features: all(&model.features),
                        segments: all(&model.segments),
                    })
                })
                .collect(),
        }
    }
}

impl ModelLayout {
    fn find(
        table: &Table,
        schema: &ModelSchema,
        overrides: &Overrides,
    ) -> Result<Self, TableError> {
        let version = match (&schema.version, &overrides.version) {
            (VersionField::Fixed(version), _) => VersionColumn::Fixed(Arc::clone(version)),
            (VersionField::Path(path), given) => {
                let role = format!("the version of model `{}` (or give `--version`)", schema.name);
                match (position(table, &last_element(path)), given) {
                    (Some(position), _) => VersionColumn::At(position),
                    (None, Some(version)) => VersionColumn::Fixed(version.as_str().into()),
                    (None, None) => return Err(missing(table, role, &[last_element(path)])),
                }
            }
        };
        let features = schema
            .features
            .iter()
            .map(|feature| feature_column(table, &feature.name, &feature.path, feature.kind));
        let segments = schema.segments.iter().map(|it| segment_column(table, &it.name, &it.path));
        Ok(Self {
            version,
            features: features.collect::<Result<_, _>>()?,
            segments: segments.collect::<Result<_, _>>()?,
        })
    }
}

fn model_column(
    table: &Table,
    schema: &SourceSchema,
    overrides: &Overrides,
) -> Result<ModelColumn, TableError> {
    let column = schema.model.as_ref().map(last_element);
    if let Some(position) = column.as_ref().and_then(|it| position(table, it)) {
        return Ok(ModelColumn::At(position));
    }
    let named = overrides.model.as_ref();
    let index = match named {
        Some(name) => schema.models.iter().position(|it| *it.name == **name),
        None => (schema.models.len() == 1).then_some(0),
    };
    match index.and_then(|it| u16::try_from(it).ok()) {
        Some(index) => Ok(ModelColumn::Fixed(index)),
        None => Err(missing(
            table,
            "the model's name (or give `--model`)".to_owned(),
            &[column.unwrap_or_default()],
        )),
    }
}

/// Returns the position of a feature's column: by its name, or else by the last element of its
/// path.
pub(crate) fn feature_column(
    table: &Table,
    name: &str,
    path: &FieldPath,
    kind: FeatureKind,
) -> Result<usize, TableError> {
    let last = last_element(path);
    let found = position(table, name).or_else(|| position(table, &last));
    let role = format!("feature `{name}`");
    let position = found.ok_or_else(|| missing(table, role, &[name.to_owned(), last]))?;
    check_kind(table, position, kind, name)?;
    Ok(position)
}

/// Returns the position of the column that tells a record's segment: by the last element of its
/// path, or else by its name.
pub(crate) fn segment_column(
    table: &Table,
    name: &str,
    path: &FieldPath,
) -> Result<usize, TableError> {
    let last = last_element(path);
    let found = position(table, &last).or_else(|| position(table, name));
    let role = format!("segment `{name}`");
    let position = found.ok_or_else(|| missing(table, role, &[last, name.to_owned()]))?;
    check_kind(table, position, FeatureKind::Categorical, name)?;
    Ok(position)
}

fn required(table: &Table, path: &FieldPath, role: &str) -> Result<usize, TableError> {
    let name = last_element(path);
    position(table, &name).ok_or_else(|| missing(table, role.to_owned(), &[name]))
}

fn position(table: &Table, name: &str) -> Option<usize> {
    table.columns().fields().iter().position(|field| field.name() == name)
}

fn missing(table: &Table, role: String, names: &[String]) -> TableError {
    let mut names: Vec<_> = names.iter().map(|it| format!("`{it}`")).collect();
    names.dedup();
    TableError::MissingColumn {
        path: table.path().to_owned(),
        role,
        expected: names.join(" or "),
        columns: table.column_names(),
    }
}

/// Returns the last element of a path, as it names a column: `a.b` is `b`, `a.b\.c` is `b.c`,
/// `a.b[2]` is `b[2]`. That a message has several records is not part of it: `b[]` is `b`.
pub(crate) fn last_element(path: &FieldPath) -> String {
    let mut element = String::new();
    let mut characters = path.as_str().chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '\\' => element.extend(characters.next()),
            '.' => element.clear(),
            '[' if characters.peek() == Some(&']') => drop(characters.next()),
            other => element.push(other),
        }
    }
    element
}

fn check_time(table: &Table, position: usize, format: TimeFormat) -> Result<(), TableError> {
    let data_type = table.columns().field(position).data_type();
    let is_number = data_type.is_integer() || data_type.is_floating();
    let fits = match format {
        TimeFormat::Rfc3339 => is_text(data_type),
        TimeFormat::UnixSeconds
        | TimeFormat::UnixMillis
        | TimeFormat::UnixMicros
        | TimeFormat::UnixNanos => is_text(data_type) || is_number,
    };
    if fits || is_time(data_type) {
        return Ok(());
    }
    Err(TableError::ColumnType {
        path: table.path().to_owned(),
        column: table.columns().field(position).name().clone(),
        found: Box::new(data_type.clone()),
        role: "the event time".to_owned(),
        expected: "a date with time, RFC 3339 text, or a number of a Unix time format",
        hint: "set the source's `event_time.format`, or store the column as one of these",
    })
}

fn is_time(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Timestamp(_, _) | DataType::Date32 | DataType::Date64)
}

fn check_kind(
    table: &Table,
    position: usize,
    kind: FeatureKind,
    name: &str,
) -> Result<(), TableError> {
    let data_type = table.columns().field(position).data_type();
    let is_number = data_type.is_integer() || data_type.is_floating();
    let (fits, expected) = match kind {
        FeatureKind::Float32 | FeatureKind::Float64 | FeatureKind::Integer => {
            (is_number || is_text(data_type), "numbers")
        }
        FeatureKind::Categorical => (
            is_number || is_text(data_type) || *data_type == DataType::Boolean,
            "text, numbers or booleans",
        ),
        FeatureKind::Boolean => (is_text(data_type) || *data_type == DataType::Boolean, "booleans"),
    };
    if fits {
        return Ok(());
    }
    Err(TableError::ColumnType {
        path: table.path().to_owned(),
        column: table.columns().field(position).name().clone(),
        found: Box::new(data_type.clone()),
        role: format!("`{name}`"),
        expected,
        hint: "change its `type` in the configuration, or the column in the file",
    })
}
