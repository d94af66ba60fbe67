//! What a schema asks of each message: one tree of paths, and for each value its place in it.
//!
//! Before: [`SourceSchema`]. After: [`super::program`] compiles the tree for each writer,
//! [`super::rows`] reads the places.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::value::Kind;
use super::wants::Wants;
use crate::path::FieldPath;
use crate::schema::{FeatureKind, ModelSchema, SourceSchema, TimeFormat, VersionField};

pub(super) struct Plan {
    pub(super) wants: Wants,
    /// What a message is: a record, or the list of its rows.
    pub(super) root: Kind,
    pub(super) event_time: Place,
    pub(super) time_format: TimeFormat,
    pub(super) model: Option<Place>,
    pub(super) models: Vec<ModelPlan>,
    /// Indexes into `models` and the schema's.
    pub(super) models_by_name: BTreeMap<Arc<str>, usize>,
    /// Lists with the event time and the model's name of each row, whatever its model.
    pub(super) lists: Vec<usize>,
}

/// A path of the schema and its slot.
pub(super) struct Place {
    /// The list of which every element has such a value; `None` when the message has one.
    pub(super) list: Option<usize>,
    pub(super) slot: usize,
    pub(super) path: FieldPath,
}

pub(super) struct ModelPlan {
    pub(super) version: VersionPlan,
    pub(super) features: Vec<(Place, FeatureKind)>,
    /// Places and the segments' names.
    pub(super) segments: Vec<(Place, Arc<str>)>,
    /// Lists with further values of each row.
    pub(super) lists: Vec<usize>,
}

pub(super) enum VersionPlan {
    Fixed(Arc<str>),
    At(Place),
}

impl Plan {
    pub(super) fn new(schema: &SourceSchema) -> Self {
        let source_paths = || schema.model.iter().chain([&schema.event_time]);
        let models = schema.models.iter();
        let wants = Wants::new(source_paths().chain(models.flat_map(ModelSchema::read_paths)));
        let lists = lists(&wants, source_paths(), &[]);
        let model = |model| ModelPlan::new(model, &wants, &lists);
        Self {
            root: if schema.event_time.begins_with_each() { Kind::Array } else { Kind::Record },
            event_time: place(&wants, &schema.event_time),
            time_format: schema.time_format,
            model: schema.model.as_ref().map(|it| place(&wants, it)),
            models: schema.models.iter().map(model).collect(),
            models_by_name: schema.models.iter().map(|it| Arc::clone(&it.name)).zip(0..).collect(),
            lists,
            wants,
        }
    }
}

impl ModelPlan {
    fn new(model: &ModelSchema, wants: &Wants, known: &[usize]) -> Self {
        let features = model.features.iter().map(|it| (place(wants, &it.path), it.kind));
        let segments = model.segments.iter();
        let segments = segments.map(|it| (place(wants, &it.path), Arc::clone(&it.name)));
        Self {
            version: match &model.version {
                VersionField::Fixed(version) => VersionPlan::Fixed(Arc::clone(version)),
                VersionField::Path(path) => VersionPlan::At(place(wants, path)),
            },
            features: features.collect(),
            segments: segments.collect(),
            lists: lists(wants, model.read_paths(), known),
        }
    }

    /// Returns how many columns the model has.
    pub(super) fn columns(&self) -> usize {
        self.features.len() + self.segments.len()
    }
}

fn place(wants: &Wants, path: &FieldPath) -> Place {
    let (list, slot) = wants.place(path);
    Place { list, slot, path: path.clone() }
}

/// Returns the lists that the paths go through, but for `known` ones.
fn lists<'a>(
    wants: &Wants,
    paths: impl Iterator<Item = &'a FieldPath>,
    known: &[usize],
) -> Vec<usize> {
    let mut lists = Vec::new();
    for list in paths.filter_map(|path| wants.place(path).0) {
        if !known.contains(&list) && !lists.contains(&list) {
            lists.push(list);
        }
    }
    lists
}
