//! Every path of the sampled documents, with what is at it: one tree for all of them.
//!
//! Before: [`super::encoding`] has found the documents. After: [`super::fields`] goes through the
//! tree and makes paths of it.
//!
//! A list is looked at in two ways, because only all of its messages tell what it is: its elements
//! as one kind of value (`[]`, once on a path), and each place by itself (`[0]`, `[1]`, …) where
//! it is short, or inside of an element.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::tensors;
use super::values::Values;

/// Most nodes of a tree. Wide models have some hundred fields; a map with a key for each customer
/// must not fill the memory.
const NODES_MAX: usize = 4_096;

/// Longest key: a path is not longer.
const KEY_BYTES_MAX: usize = 128;

/// Most keys of one object that are told apart.
const KEYS_MAX: usize = 1_024;

/// Deepest value that is looked at.
const DEPTH_MAX: usize = 16;

/// Places of a list that are looked at by themselves.
pub(super) const PLACES_MAX: usize = 64;

/// Names of columns, and the list of rows beside them.
const NAMES: [&str; 3] = ["columns", "names", "feature_names"];
const ROWS: [&str; 5] = ["data", "ndarray", "values", "rows", "instances"];

/// Index of a node.
pub(super) type NodeId = usize;

/// What is at one path.
#[derive(Clone, Debug, Default)]
pub(super) struct Node {
    /// How often the path is there, with any value.
    pub(super) present: u64,
    pub(super) nulls: u64,
    pub(super) objects: u64,
    pub(super) lists: u64,
    pub(super) values: Values,
    /// Keys of objects. Nodes are numbered in the order in which they were seen.
    keys: BTreeMap<String, NodeId>,
    /// Elements of lists, as one kind of value.
    pub(super) each: Option<NodeId>,
    /// Places of lists.
    pub(super) places: Vec<NodeId>,
    /// Least and greatest number of elements.
    pub(super) length: Option<(usize, usize)>,
    /// The key beside this one that names the columns of its rows, if one ever did.
    pub(super) named_by: Option<String>,
    /// Of the lists: those of tensors, each with a name and data of its own.
    pub(super) tensors: u64,
    /// Of the lists: values of a tensor that are rows by the shape beside them.
    pub(super) by_shape: u64,
}

/// The tree of some documents.
#[derive(Clone, Debug)]
pub(super) struct Tree {
    nodes: Vec<Node>,
    /// Documents that were added.
    pub(super) documents: u64,
    /// Bounds that were met, in words.
    pub(super) bounds: BTreeSet<String>,
}

/// Where in a document the walk is.
#[derive(Clone, Copy)]
struct Place {
    node: NodeId,
    depth: usize,
    in_each: bool,
}

impl Tree {
    /// The document itself.
    pub(super) const ROOT: NodeId = 0;

    pub(super) fn new() -> Self {
        Self { nodes: vec![Node::default()], documents: 0, bounds: BTreeSet::new() }
    }

    pub(super) fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id]
    }

    /// Adds a document.
    pub(super) fn add(&mut self, document: &Value) {
        self.documents += 1;
        self.visit(Place { node: Self::ROOT, depth: 0, in_each: false }, document);
    }

    /// Returns the node at a key.
    pub(super) fn child(&self, node: NodeId, key: &str) -> Option<NodeId> {
        self.nodes[node].keys.get(key).copied()
    }

    /// Returns the keys of a node's objects, in the order in which they were seen.
    pub(super) fn keys(&self, node: NodeId) -> Vec<(&str, NodeId)> {
        let mut keys: Vec<_> =
            self.nodes[node].keys.iter().map(|(key, child)| (&**key, *child)).collect();
        keys.sort_by_key(|(_, child)| *child);
        keys
    }

    fn visit(&mut self, place: Place, value: &Value) {
        let node = &mut self.nodes[place.node];
        node.present += 1;
        match value {
            Value::Null => node.nulls += 1,
            Value::Bool(_) | Value::Number(_) | Value::String(_) => node.values.add(value),
            Value::Object(entries) => {
                node.objects += 1;
                self.visit_keys(place, entries);
            }
            Value::Array(items) => {
                node.lists += 1;
                let length = items.len();
                let (least, greatest) = node.length.unwrap_or((length, length));
                node.length = Some((least.min(length), greatest.max(length)));
                self.visit_items(place, items);
            }
        }
    }

    fn visit_keys(&mut self, place: Place, entries: &Map<String, Value>) {
        let Some(place) = self.deeper(place) else { return };
        let named = if place.in_each { None } else { named_rows(entries) };
        let tensor = tensors::rows(entries);
        for (key, value) in entries {
            let Some(child) = self.key(place.node, key) else { continue };
            let place = Place { node: child, ..place };
            if let Some((_, rows)) = tensor.as_ref().filter(|(values, _)| values == key) {
                self.nodes[child].by_shape += 1;
                self.visit(place, rows);
                continue;
            }
            match &named {
                Some(named) if named.rows == key => {
                    self.nodes[child].named_by = Some(named.key.to_owned());
                    self.visit(place, value);
                    self.visit_columns(place, named, value);
                }
                Some(_) | None => self.visit(place, value),
            }
        }
    }

    /// Looks at rows once more, as if each had been an object with the names as keys.
    fn visit_columns(&mut self, place: Place, named: &Named<'_>, rows: &Value) {
        let Some(each) = self.nodes[place.node].each else { return };
        for row in rows.as_array().into_iter().flatten().filter_map(Value::as_array) {
            for (name, value) in named.names.iter().zip(row) {
                let Some(child) = self.key(each, name) else { continue };
                let depth = place.depth + 2;
                self.visit(Place { node: child, depth, in_each: true }, value);
            }
        }
    }

    fn visit_items(&mut self, place: Place, items: &[Value]) {
        let Some(place) = self.deeper(place) else { return };
        let tensors = !items.is_empty() && items.iter().all(is_tensor);
        self.nodes[place.node].tensors += u64::from(tensors);
        if !place.in_each
            && !items.is_empty()
            && let Some(each) = self.each(place.node)
        {
            for item in items {
                self.visit(Place { node: each, in_each: true, ..place }, item);
            }
        }
        let are_scalars = !items.iter().any(|it| it.is_array() || it.is_object());
        if (tensors || are_scalars || place.in_each) && items.len() <= PLACES_MAX {
            for (index, item) in items.iter().enumerate() {
                let Some(child) = self.place(place.node, index) else { return };
                self.visit(Place { node: child, ..place }, item);
            }
        }
    }

    fn deeper(&mut self, place: Place) -> Option<Place> {
        if place.depth < DEPTH_MAX {
            return Some(Place { depth: place.depth + 1, ..place });
        }
        self.bounds.insert(format!("values deeper than {DEPTH_MAX} steps are not looked at"));
        None
    }

    fn key(&mut self, node: NodeId, key: &str) -> Option<NodeId> {
        if let Some(known) = self.child(node, key) {
            return Some(known);
        }
        if KEY_BYTES_MAX < key.len() {
            self.bounds.insert(format!("keys longer than {KEY_BYTES_MAX} bytes are not looked at"));
            return None;
        }
        if KEYS_MAX <= self.nodes[node].keys.len() {
            self.bounds.insert(format!("of an object's keys the first {KEYS_MAX} are looked at"));
            return None;
        }
        let child = self.new_node()?;
        self.nodes[node].keys.insert(key.to_owned(), child);
        Some(child)
    }

    fn each(&mut self, node: NodeId) -> Option<NodeId> {
        if self.nodes[node].each.is_none() {
            self.nodes[node].each = self.new_node();
        }
        self.nodes[node].each
    }

    fn place(&mut self, node: NodeId, index: usize) -> Option<NodeId> {
        if let Some(known) = self.nodes[node].places.get(index) {
            return Some(*known);
        }
        let child = self.new_node()?;
        self.nodes[node].places.push(child);
        Some(child)
    }

    fn new_node(&mut self) -> Option<NodeId> {
        if NODES_MAX <= self.nodes.len() {
            self.bounds.insert(format!("the first {NODES_MAX} paths are looked at"));
            return None;
        }
        self.nodes.push(Node::default());
        Some(self.nodes.len() - 1)
    }
}

/// Rows that are lists of values, and the names of their columns beside them.
struct Named<'a> {
    key: &'a str,
    names: Vec<&'a str>,
    rows: &'a str,
}

fn named_rows(entries: &Map<String, Value>) -> Option<Named<'_>> {
    let (key, names) = entries.iter().find(|(key, _)| NAMES.contains(&key.as_str()))?;
    let names: Option<Vec<&str>> = names.as_array()?.iter().map(Value::as_str).collect();
    let names = names.filter(|it| !it.is_empty() && it.len() <= KEYS_MAX)?;
    if names.iter().collect::<BTreeSet<_>>().len() < names.len() {
        return None;
    }
    let (rows, items) = entries.iter().find(|(key, _)| ROWS.contains(&key.as_str()))?;
    let is_row = |row: &Value| row.as_array().is_some_and(|it| it.len() == names.len());
    items.as_array()?.iter().all(is_row).then_some(Named { key, names, rows })
}

/// Whether it is a tensor of the open inference protocol (V2).
fn is_tensor(value: &Value) -> bool {
    let has = |key| value.get(key).is_some();
    has("name") && has("datatype") && has("shape")
}
