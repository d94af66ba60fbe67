//! Which lists of a message hold one element a record.
//!
//! Before: the [`Tree`] of the documents. After: [`super::fields`] writes `[]` for these lists, and
//! places for all others.
//!
//! Lists are taken by the names that protocols give them, then those of the same length in each
//! message; a list that nobody's protocol names is taken only where there is nothing else.

use std::collections::BTreeSet;

use serde_json::Value;

use super::tensors;
use super::tree::{NodeId, Tree};

/// Keys of lists of records: V1 of `KServe` and TensorFlow, `MLflow`, Seldon, and plain English.
const RECORDS: [&str; 8] = [
    "instances",
    "dataframe_records",
    "inputs",
    "predictions",
    "outputs",
    "ndarray",
    "records",
    "rows",
];

/// Keys of lists that are records where their elements are objects.
const OBJECTS: [&str; 4] = ["data", "examples", "samples", "values"];

/// Keys of objects that hold one list a column.
const COLUMNS: [&str; 3] = ["inputs", "outputs", "instances"];

/// Keys of what a model answers.
const ANSWERS: [&str; 2] = ["predictions", "outputs"];

/// Keys of an object with the features of one record.
const ONE: [&str; 5] = ["features", "feature", "input", "inputs", "instance"];

/// Share of messages, in percent, in which two lists of records are of one length.
const AGREEMENT: u64 = 90;

/// A step into a document.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Key(String),
    Place(usize),
}

/// A list that may hold one element a record.
#[derive(Clone, Debug)]
struct Candidate {
    node: NodeId,
    steps: Vec<Step>,
    certainty: Certainty,
    is_answer: bool,
}

/// By what a list was found; the first kind that there is leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Certainty {
    Named,
    Column,
    Objects,
}

/// Returns the lists of records.
pub(super) fn find(tree: &Tree, documents: impl Iterator<Item = Value>) -> BTreeSet<NodeId> {
    let root = tree.node(Tree::ROOT);
    if root.objects < root.lists {
        return BTreeSet::from([Tree::ROOT]);
    }
    let mut search = Search { tree, found: Vec::new(), has_one: false };
    search.object(Tree::ROOT, &mut Vec::new(), "");
    let Search { mut found, has_one, .. } = search;
    // Beside the features of one record, a list of answers is an answer of several parts.
    if has_one && found.iter().all(|it| it.is_answer) {
        found.clear();
    }
    let is_guess = |it: &Candidate| it.certainty == Certainty::Objects;
    if let [only] = &found[..]
        && is_guess(only)
        && !has_one
    {
        return BTreeSet::from([only.node]);
    }
    found.retain(|it| !is_guess(it));
    found.sort_by_key(|it| (it.certainty, it.is_answer));
    agreeing(&found, documents)
}

/// Returns the first of the lists, and those that have its length in nearly every document.
fn agreeing(found: &[Candidate], documents: impl Iterator<Item = Value>) -> BTreeSet<NodeId> {
    let Some((first, others)) = found.split_first() else { return BTreeSet::new() };
    let mut both = vec![(0_u64, 0_u64); others.len()];
    for document in documents {
        let Some(length) = length(&document, &first.steps) else { continue };
        for (other, (seen, equal)) in others.iter().zip(&mut both) {
            if let Some(found) = self::length(&document, &other.steps) {
                *seen += 1;
                *equal += u64::from(found == length);
            }
        }
    }
    let agree = |(seen, equal): &(u64, u64)| seen * AGREEMENT <= equal * 100;
    let others = others.iter().zip(&both).filter(|(_, both)| agree(both));
    [first.node].into_iter().chain(others.map(|(other, _)| other.node)).collect()
}

fn length(document: &Value, steps: &[Step]) -> Option<usize> {
    let step = |value, step: &Step| match step {
        Step::Key(key) => Value::get(value, key),
        Step::Place(index) => Value::get(value, index),
    };
    let (last, before) = steps.split_last()?;
    let around = before.iter().try_fold(document, step)?;
    let list = step(around, last)?;
    match (last, around.as_object().and_then(tensors::rows)) {
        (Step::Key(key), Some((values, rows))) if values == key => rows.as_array().map(Vec::len),
        (_, _) => list.as_array().map(Vec::len),
    }
}

struct Search<'a> {
    tree: &'a Tree,
    found: Vec<Candidate>,
    /// Whether somewhere the features of one record are an object.
    has_one: bool,
}

impl Search<'_> {
    /// Looks for lists below an object. `key` is its own.
    fn object(&mut self, node: NodeId, steps: &mut Vec<Step>, key: &str) {
        let tree = self.tree;
        let children = tree.keys(node);
        let has_values = |id: NodeId| 0 < tree.node(id).values.total();
        if ONE.contains(&key) && children.iter().any(|(_, child)| has_values(*child)) {
            self.has_one = true;
        }
        for (child_key, child) in children {
            steps.push(Step::Key(child_key.to_owned()));
            let found = tree.node(child);
            if found.objects < found.lists {
                self.list(child, steps, key, child_key);
            } else if 0 < found.objects {
                self.object(child, steps, child_key);
            }
            steps.pop();
        }
    }

    fn list(&mut self, node: NodeId, steps: &[Step], parent: &str, key: &str) {
        let tree = self.tree;
        let found = tree.node(node);
        let is_answer = steps.iter().any(|step| match step {
            Step::Key(key) => ANSWERS.contains(&key.as_str()),
            Step::Place(_) => false,
        });
        if found.lists < 2 * found.tensors {
            for (index, tensor) in found.places.iter().enumerate() {
                let Some(data) = tree.child(*tensor, "data") else { continue };
                if is_rows(tree, *tensor, data) {
                    let mut steps = steps.to_vec();
                    steps.extend([Step::Place(index), Step::Key("data".to_owned())]);
                    let certainty = Certainty::Named;
                    self.found.push(Candidate { node: data, steps, certainty, is_answer });
                }
            }
            return;
        }
        let has_objects = found.each.is_some_and(|each| 0 < tree.node(each).objects);
        let is_named = RECORDS.contains(&key)
            || found.named_by.is_some()
            || 0 < found.by_shape
            || has_objects && OBJECTS.contains(&key);
        let certainty = if is_named {
            Certainty::Named
        } else if COLUMNS.contains(&parent) && !has_objects {
            Certainty::Column
        } else if has_objects {
            Certainty::Objects
        } else {
            return;
        };
        self.found.push(Candidate { node, steps: steps.to_vec(), certainty, is_answer });
    }
}

/// Whether the data of a tensor have one element a record: a flat list of a tensor with one value
/// a record, or a list of lists, which others are by their shape.
fn is_rows(tree: &Tree, tensor: NodeId, data: NodeId) -> bool {
    let has_lists = tree.node(data).each.is_some_and(|each| 0 < tree.node(each).lists);
    let shape = tree.child(tensor, "shape").map(|shape| &tree.node(shape).places);
    // Of `[rows, 1]` the second place is 1; of `[rows]` it is not there.
    let width = shape.and_then(|places| places.get(1));
    let is_column =
        width.is_none_or(|it| tree.node(*it).values.range.is_some_and(|range| range == (1.0, 1.0)));
    has_lists || is_column
}
