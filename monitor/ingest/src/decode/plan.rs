//! What a schema asks of each message: one tree of paths, and for each value its place in it.
//!
//! Before: [`SourceSchema`]. After: the walk of a format follows the tree, its rows read the
//! places.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use driftd_catalog::ModelId;

use super::place::Place;
use super::trie::Trie;
use crate::path::FieldPath;
use crate::rejection::{Refusal, RejectReason};
use crate::schema::{FeatureKind, Framing, ModelSchema, SourceSchema, TimeFormat, VersionField};

pub(super) struct Plan {
    pub(super) trie: Trie,
    pub(super) framing: Framing,
    /// Whether a document is the list of its rows.
    pub(super) is_list: bool,
    pub(super) event_time: Place,
    pub(super) time_format: TimeFormat,
    pub(super) model: Option<Place>,
    /// Where a message says what became of a row.
    pub(super) change: Option<Place>,
    pub(super) models: Vec<ModelPlan>,
    /// Indexes into `models` and the schema's.
    pub(super) models_by_name: BTreeMap<Arc<str>, usize>,
    /// Lists with the event time and the model's name of each row, whatever its model.
    pub(super) lists: Vec<usize>,
    /// Where a message names its columns.
    pub(super) columns: Option<Place>,
    /// Lists that some model reads by the names.
    pub(super) named_lists: Vec<usize>,
    /// Of `lists` those that are read by the names of columns.
    pub(super) named: Vec<NamedList>,
}

/// A list of which a row is an array of values in the order of the names.
pub(super) struct NamedList {
    pub(super) list: usize,
    /// Columns that are read.
    pub(super) names: Vec<Box<str>>,
}

pub(super) struct ModelPlan {
    pub(super) version: VersionPlan,
    pub(super) features: Vec<(Place, FeatureKind)>,
    /// Places and the segments' names.
    pub(super) segments: Vec<(Place, Arc<str>)>,
    /// The prediction's identity, read as a category: the last column, if it is one.
    pub(super) identity: Option<Place>,
    /// Columns whose values are beside the payload.
    pub(super) beside: Vec<usize>,
    /// Lists with further values of each row.
    pub(super) lists: Vec<usize>,
    /// Lists that are read by the names of columns, for the event time and the model's name too.
    /// What other models read by name says nothing about this one's rows.
    pub(super) named: Vec<NamedList>,
    /// Lists of the source's that only this model reads by name.
    pub(super) named_again: Vec<usize>,
}

pub(super) enum VersionPlan {
    Fixed(Arc<str>),
    At(Place),
}

impl Plan {
    pub(super) fn new(schema: &SourceSchema) -> Self {
        let source_paths = || schema.model.iter().chain([&schema.event_time]);
        let all = || source_paths().chain(schema.models.iter().flat_map(ModelSchema::read_paths));
        let own = [&schema.columns, &schema.change].into_iter().flatten();
        let trie = Trie::new(all().chain(own).filter(|it| it.beside().is_none()));
        let place = |path| place(&trie, schema, path);
        let columns = schema.columns.as_ref().map(place);
        let lists = lists(&trie, source_paths(), &[]);
        let model = |model| ModelPlan::new(model, schema, &trie, &lists);
        let all_named = named_lists(schema, &trie, all());
        let source_named = named_lists(schema, &trie, source_paths());
        Self {
            framing: schema.framing,
            is_list: schema.is_list(),
            event_time: place(&schema.event_time),
            time_format: schema.time_format,
            model: schema.model.as_ref().map(place),
            change: schema.change.as_ref().map(place),
            models: schema.models.iter().map(model).collect(),
            models_by_name: schema.models.iter().map(|it| Arc::clone(&it.name)).zip(0..).collect(),
            lists,
            columns,
            named_lists: all_named.iter().map(|it| it.list).collect(),
            named: source_named,
            trie,
        }
    }
    /// Returns the model of a name that was read at `place`: an index into the schema's models.
    pub(super) fn model_of(&self, place: &Place, name: &str) -> Result<usize, Refusal> {
        self.models_by_name.get(name).copied().ok_or_else(|| unknown_model(place, name))
    }
}

impl ModelPlan {
    fn new(model: &ModelSchema, source: &SourceSchema, trie: &Trie, known: &[usize]) -> Self {
        let place = |path| place(trie, source, path);
        let features = model.features.iter().map(|it| (place(&it.path), it.kind));
        let segments = model.segments.iter().map(|it| (place(&it.path), Arc::clone(&it.name)));
        let source_paths = || source.model.iter().chain([&source.event_time]);
        let by_source = named_lists(source, trie, source_paths());
        let named = named_lists(source, trie, source_paths().chain(model.read_paths()));
        let features: Vec<_> = features.collect();
        let segments: Vec<_> = segments.collect();
        let places = features.iter().map(|(place, _)| place);
        let identity = model.prediction_id.as_ref().map(place);
        let places = places.chain(segments.iter().map(|(place, _)| place)).chain(&identity);
        let beside = (0..).zip(places).filter(|(_, place)| place.is_beside());
        let beside = beside.map(|(column, _)| column).collect();
        let again = named.iter().map(|it| it.list).filter(|list| {
            known.contains(list) && by_source.iter().all(|other| other.list != *list)
        });
        Self {
            version: match &model.version {
                VersionField::Fixed(version) => VersionPlan::Fixed(Arc::clone(version)),
                VersionField::Path(path) => VersionPlan::At(place(path)),
            },
            features,
            segments,
            identity,
            beside,
            lists: lists(trie, model.read_paths(), known),
            named_again: again.collect(),
            named,
        }
    }

    /// Returns how many columns the model has.
    pub(super) fn columns(&self) -> usize {
        self.features.len() + self.segments.len() + usize::from(self.identity.is_some())
    }
}

fn place(trie: &Trie, schema: &SourceSchema, path: &FieldPath) -> Place {
    let (list, slot) = match path.beside() {
        None => trie.place(path),
        Some(value) => {
            let slot = schema.envelope.binary_search(value);
            (None, slot.expect("the schema lists what is beside the payload"))
        }
    };
    Place { list, slot, path: path.clone() }
}

/// Returns the lists that the paths go through, but for `known` ones.
fn lists<'a>(
    trie: &Trie,
    paths: impl Iterator<Item = &'a FieldPath>,
    known: &[usize],
) -> Vec<usize> {
    let mut lists = Vec::new();
    let inside = paths.filter(|path| path.beside().is_none());
    for list in inside.filter_map(|path| trie.place(path).0) {
        if !known.contains(&list) && !lists.contains(&list) {
            lists.push(list);
        }
    }
    lists
}

/// Returns the lists that the paths read by the names of columns.
fn named_lists<'a>(
    schema: &SourceSchema,
    trie: &Trie,
    paths: impl Iterator<Item = &'a FieldPath>,
) -> Vec<NamedList> {
    let Some(columns) = &schema.columns else { return Vec::new() };
    let mut lists: BTreeMap<usize, BTreeSet<&str>> = BTreeMap::new();
    for path in paths.filter(|path| path.beside().is_none()) {
        if let (Some(name), (Some(list), _)) = (path.column(columns), trie.place(path)) {
            lists.entry(list).or_default().insert(name);
        }
    }
    let named = |(list, names): (usize, BTreeSet<&str>)| NamedList {
        list,
        names: names.into_iter().map(Box::from).collect(),
    };
    lists.into_iter().map(named).collect()
}

/// Tells a name that no model could have from one that no model has.
pub(super) fn unknown_model(at: &Place, name: &str) -> Refusal {
    let bytes = name.len();
    match ModelId::try_new(name, "any") {
        Ok(_) => at.refusal(
            RejectReason::UnknownModel,
            format_args!("no configured model has this name of {bytes} bytes"),
        ),
        Err(_) => at.refusal(
            RejectReason::InvalidName,
            format_args!("no name, or too long or with a control character, of {bytes} bytes"),
        ),
    }
}
