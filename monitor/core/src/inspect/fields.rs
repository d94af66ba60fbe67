//! Every value of a record as a path that driftd reads, or as one that it cannot, with the reason.
//!
//! Before: the [`Tree`], and which of its lists are records ([`super::records`]). After:
//! [`super::judge`] says what each field is to the model.

use std::collections::BTreeSet;

use driftd_ingest::FieldPath;

use super::tensors::SHAPE;
use super::tree::{Node, NodeId, PLACES_MAX, Tree};

/// Longest list that is taken for a vector with a feature a place.
const VECTOR_MAX: usize = PLACES_MAX;

/// Objects with more keys than this may be maps, with a key for each of something.
const MAP_KEYS_MIN: usize = 32;

/// A value of a record.
#[derive(Clone, Debug)]
pub(super) struct Field<'a> {
    pub(super) path: String,
    /// The keys on the way, last the value's own.
    pub(super) keys: Vec<String>,
    /// Places on the way behind the last key, such as 3 of `row[3]`.
    pub(super) places: Vec<usize>,
    /// The list whose elements are records, where the path goes through one.
    pub(super) list: Option<NodeId>,
    /// Records that could have it.
    pub(super) records: u64,
    pub(super) node: &'a Node,
}

impl Field<'_> {
    /// Returns in how many records there is a value.
    pub(super) fn filled(&self) -> u64 {
        self.node.present.saturating_sub(self.node.nulls).min(self.records)
    }

    /// Returns whether at least so many in a hundred records have a value.
    pub(super) fn is_in(&self, percent: u64) -> bool {
        self.records * percent <= self.filled() * 100
    }
}

/// A value that no path of a configuration leads to, or that is no value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Skipped {
    pub(super) path: String,
    pub(super) reason: String,
}

/// All values of a record.
#[derive(Clone, Debug, Default)]
pub(super) struct Fields<'a> {
    pub(super) found: Vec<Field<'a>>,
    pub(super) skipped: Vec<Skipped>,
    /// Path to the names of columns by which rows are read.
    pub(super) columns: Option<String>,
    /// Paths to values of tensors that are rows by the shape beside them.
    pub(super) tensors: Vec<String>,
}

/// Finds all values. Where `columns` names the columns of a list, its rows are read by name;
/// otherwise the first list that has names is read so.
pub(super) fn find<'a>(
    tree: &'a Tree,
    lists: &BTreeSet<NodeId>,
    columns: Option<&str>,
) -> Fields<'a> {
    let fields = Fields { columns: columns.map(str::to_owned), ..Fields::default() };
    let mut walk = Walk { tree, lists, fields };
    walk.value(Tree::ROOT, &Way { records: tree.documents, ..Way::default() });
    walk.fields
}

/// How a value was reached.
#[derive(Clone, Debug, Default)]
struct Way {
    path: String,
    keys: Vec<String>,
    places: Vec<usize>,
    list: Option<NodeId>,
    records: u64,
    /// Whether a key has no characters, which no path can say.
    has_empty_key: bool,
}

impl Way {
    fn key(&self, key: &str) -> Self {
        let mut way = self.clone();
        way.has_empty_key |= key.is_empty();
        if !way.path.is_empty() {
            way.path.push('.');
        } else if key.starts_with('$') {
            way.path.push('\\');
        }
        for plain in key.chars() {
            if matches!(plain, '.' | '[' | ']' | '\\') {
                way.path.push('\\');
            }
            way.path.push(plain);
        }
        way.keys.push(key.to_owned());
        way.places.clear();
        way
    }

    fn place(&self, index: usize) -> Self {
        let mut way = self.clone();
        way.path.extend(["[", &index.to_string(), "]"]);
        way.places.push(index);
        way
    }

    fn each(&self, list: NodeId, records: u64) -> Self {
        let path = format!("{}[]", self.path);
        Self { path, list: Some(list), records, ..self.clone() }
    }

    /// Returns the path of a key beside this one.
    fn beside(&self, key: &str) -> String {
        let parent = Self { path: self.path_of_parent(), ..Self::default() };
        parent.key(key).path
    }

    fn path_of_parent(&self) -> String {
        let own = self.keys.last().map_or(String::new(), |key| Self::default().key(key).path);
        let parent = self.path.strip_suffix(&own).unwrap_or_default();
        parent.strip_suffix('.').unwrap_or(parent).to_owned()
    }
}

struct Walk<'a, 'b> {
    tree: &'a Tree,
    lists: &'b BTreeSet<NodeId>,
    fields: Fields<'a>,
}

impl Walk<'_, '_> {
    fn value(&mut self, id: NodeId, way: &Way) {
        let node = self.tree.node(id);
        let values = node.values.total();
        match (node.objects, node.lists) {
            (0, 0) if values == 0 => self.skip(way, "always null"),
            (objects, lists) if objects + lists <= values => self.leaf(id, way),
            (objects, lists) if lists <= objects => self.object(id, way),
            (_, _) => self.list(id, way),
        }
    }

    fn leaf(&mut self, id: NodeId, way: &Way) {
        let Way { path, keys, places, list, records, has_empty_key } = way.clone();
        if let Err(error) = FieldPath::parse(&path) {
            let reason = format!("no path leads there: {}", error.problem);
            self.skip(way, &reason);
        } else if has_empty_key {
            self.skip(way, "no path leads there: a key without characters");
        } else if path.chars().any(char::is_control) {
            self.skip(way, "its name has a control character");
        } else {
            let node = self.tree.node(id);
            self.fields.found.push(Field { path, keys, places, list, records, node });
        }
    }

    fn object(&mut self, id: NodeId, way: &Way) {
        let node = self.tree.node(id);
        let keys = self.tree.keys(id);
        let present: u64 = keys.iter().map(|(_, child)| self.tree.node(*child).present).sum();
        if MAP_KEYS_MIN <= keys.len() && present * 5 < node.objects * keys.len() as u64 {
            let reason = format!("an object with other keys in each record, {} so far", keys.len());
            return self.skip(way, &reason);
        }
        let name_of_columns =
            keys.iter().find_map(|(_, child)| self.tree.node(*child).named_by.as_deref());
        let is_tensor = self.is_tensor(id);
        let has_tensor = keys.iter().any(|(_, child)| self.is_tensor(*child));
        for (key, child) in keys {
            let is_beside_rows = name_of_columns.is_some() && key == "index";
            if name_of_columns == Some(key) {
                continue;
            }
            if is_beside_rows {
                self.skip(&way.key(key), "numbers of the rows");
            } else if is_tensor && key == SHAPE {
                self.skip(&way.key(key), "the shape of a tensor");
            } else if has_tensor && key == "names" {
                self.skip(&way.key(key), "names of columns of a tensor, which is read by place");
            } else {
                self.value(child, &way.key(key));
            }
        }
    }

    /// Whether an object's values are rows by its shape.
    fn is_tensor(&self, id: NodeId) -> bool {
        self.tree.keys(id).iter().any(|(_, child)| 0 < self.tree.node(*child).by_shape)
    }

    fn list(&mut self, id: NodeId, way: &Way) {
        let node = self.tree.node(id);
        if way.list.is_none() && self.lists.contains(&id) {
            return self.records(id, way);
        }
        if node.lists < 2 * node.tensors {
            return self.tensors(node, way);
        }
        let has_values = |place: &NodeId| {
            let node = self.tree.node(*place);
            node.objects == 0 && node.lists == 0
        };
        match node.length {
            Some((least, greatest))
                if least == greatest
                    && greatest <= VECTOR_MAX
                    && node.places.len() == greatest
                    && node.places.iter().all(has_values) =>
            {
                for (index, place) in node.places.iter().enumerate() {
                    self.value(*place, &way.place(index));
                }
            }
            Some((0, 0)) => self.skip(way, "always an empty list"),
            Some((least, greatest)) => {
                let length = if least == greatest {
                    format!("{least}")
                } else {
                    format!("{least} to {greatest}")
                };
                let inside = if way.list.is_some() { " inside of a record" } else { "" };
                self.skip(way, &format!("a list of {length} values{inside}"));
            }
            None => {}
        }
    }

    /// Goes through a list whose elements are records.
    fn records(&mut self, id: NodeId, way: &Way) {
        let node = self.tree.node(id);
        let Some(each) = node.each else {
            return self.skip(way, "always an empty list");
        };
        if 0 < node.by_shape {
            self.fields.tensors.push(way.path.clone());
        }
        let rows = self.tree.node(each);
        let inside = way.each(id, rows.present);
        let names = node.named_by.as_ref().map(|key| way.beside(key));
        let is_named =
            |columns: &Option<String>| columns.is_none() || columns.as_ref() == names.as_ref();
        match names.clone() {
            Some(names) if is_named(&self.fields.columns) => {
                self.fields.columns = Some(names);
                self.named(each, &inside, rows);
            }
            Some(_) | None => self.value(each, &inside),
        }
    }

    /// Reads rows by the names of their columns: one that is not always there refuses messages.
    fn named(&mut self, each: NodeId, inside: &Way, rows: &Node) {
        for (key, child) in self.tree.keys(each) {
            let present = self.tree.node(child).present;
            if present < rows.present {
                let reason = format!(
                    "a column of {present} of {} records: it has to be in all",
                    rows.present
                );
                self.skip(&inside.key(key), &reason);
            } else {
                self.value(child, &inside.key(key));
            }
        }
    }

    /// Goes to the data of each tensor.
    fn tensors(&mut self, node: &Node, way: &Way) {
        for (index, tensor) in node.places.iter().enumerate() {
            let way = way.place(index);
            let Some(data) = self.tree.child(*tensor, "data") else { continue };
            let mut inside = way.key("data");
            let name = self.tree.child(*tensor, "name").map(|it| &self.tree.node(it).values);
            match name.map(super::values::Values::by_frequency).as_deref() {
                Some([(name, _)]) => {
                    inside.keys.pop();
                    inside.keys.push((*name).to_owned());
                    if self.lists.contains(&data) {
                        self.records(data, &inside);
                    } else {
                        self.skip(&inside, "a tensor whose values are not those of its shape");
                    }
                }
                Some(_) | None => self.skip(&inside, "tensors in another order in each message"),
            }
        }
    }

    fn skip(&mut self, way: &Way, reason: &str) {
        let (path, reason) = (way.path.clone(), reason.to_owned());
        self.fields.skipped.push(Skipped { path, reason });
    }
}
