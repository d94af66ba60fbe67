//! All paths of a source as one tree, so that a record is walked once whatever is asked of it.
//!
//! Before: [`super::plan`] inserts the schema's paths. After: JSON's walk follows it, and for Avro
//! it is compiled together with a writer's schema. Each path has a slot; slots are numbered depth
//! first, so that a subtree's slots are one range.
//!
//! A path with `[]` ends at its list, which has a slot too; what follows the `[]` is a path of a
//! tree of the list's own, by which each element is walked.

use std::collections::BTreeMap;
use std::ops::Range;

use super::key_table::KeyTable;
use crate::path::{FieldPath, Step};

pub(super) struct Trie {
    nodes: Vec<Node>,
    slots: usize,
    lists: Vec<List>,
}

/// An array of which every element is of a row of its own.
pub(super) struct List {
    /// Where is said whether the array is there.
    pub(super) slot: usize,
    /// The paths inside of an element.
    pub(super) element: Trie,
}

impl List {
    /// Returns the path of the elements, such as `instances[]`.
    pub(super) fn path(&self) -> &str {
        &self.element.node(Trie::ROOT).path
    }
}

/// A value that some path ends at or passes through.
#[derive(Default)]
pub(super) struct Node {
    /// The path so far, for messages; empty at the root.
    pub(super) path: String,
    /// Where the value goes, when a path ends here.
    pub(super) slot: Option<usize>,
    /// Wanted keys of an object, in the order they were inserted.
    keys: Vec<(Box<str>, usize)>,
    /// Positions in `keys`, found by key.
    positions: KeyTable,
    /// Wanted elements of an array, sorted by index, each with its node.
    pub(super) elements: Vec<(usize, usize)>,
    /// Elements of an array that are wanted for a text in them: by key and text, each with its
    /// node. An element is looked at once a key, however many texts there are.
    pub(super) wheres: BTreeMap<Box<str>, BTreeMap<Box<str>, usize>>,
    /// The list that the array is, where all its elements are wanted.
    pub(super) list: Option<usize>,
    /// Slots below `keys`.
    pub(super) key_slots: Range<usize>,
    /// Slots below `elements` and `wheres`, and that of `list`.
    pub(super) element_slots: Range<usize>,
}

impl Node {
    /// Returns the slots of the values inside of the node's.
    pub(super) fn inside(&self) -> Range<usize> {
        self.key_slots.start..self.element_slots.end
    }

    /// Returns whether paths lead on from here.
    pub(super) fn is_inner(&self) -> bool {
        !self.keys.is_empty() || self.wants_elements()
    }

    fn wants_elements(&self) -> bool {
        !self.elements.is_empty() || !self.wheres.is_empty() || self.list.is_some()
    }

    /// Returns the wanted keys of an object, each with its node.
    pub(super) fn keys(&self) -> impl Iterator<Item = (&str, usize)> {
        self.keys.iter().map(|(key, node)| (&**key, *node))
    }

    /// Returns the position and node of `key`, trying position `guess` first: producers write their
    /// keys in one order, which is often the configuration's.
    pub(super) fn child(&self, key: &str, guess: usize) -> Option<(usize, usize)> {
        if let Some((name, node)) = self.keys.get(guess)
            && **name == *key
        {
            return Some((guess, *node));
        }
        let position = self.positions.find(key, |at| &self.keys[at].0)?;
        Some((position, self.keys[position].1))
    }
}

impl Trie {
    /// Index of the node that is the record itself.
    pub(super) const ROOT: usize = 0;

    pub(super) fn new<'a>(paths: impl Iterator<Item = &'a FieldPath>) -> Self {
        let mut trie = Self::rooted(String::new());
        paths.for_each(|path| trie.insert(path.steps()));
        trie.number(Self::ROOT);
        trie.lists.iter_mut().for_each(|list| list.element.number(Self::ROOT));
        trie
    }

    fn rooted(path: String) -> Self {
        Self { nodes: vec![Node { path, ..Node::default() }], slots: 0, lists: Vec::new() }
    }

    pub(super) fn node(&self, node: usize) -> &Node {
        &self.nodes[node]
    }

    /// Returns how many slots there are.
    pub(super) fn slots(&self) -> usize {
        self.slots
    }

    /// Returns how many nodes there are.
    pub(super) fn nodes(&self) -> usize {
        self.nodes.len()
    }

    /// Returns the lists of the tree.
    pub(super) fn lists(&self) -> &[List] {
        &self.lists
    }

    /// Returns the list, if any, and the slot of a path that was given to [`Trie::new`].
    pub(super) fn place(&self, path: &FieldPath) -> (Option<usize>, usize) {
        let steps = path.steps();
        match steps.iter().position(|step| *step == Step::Each) {
            None => (None, self.slot(steps)),
            Some(each) => {
                let list = self.nodes[self.end(&steps[..each])].list.expect("the list is one");
                (Some(list), self.lists[list].element.slot(&steps[each + 1..]))
            }
        }
    }

    fn slot(&self, steps: &[Step]) -> usize {
        self.nodes[self.end(steps)].slot.expect("the path ends at a slot")
    }

    fn end(&self, steps: &[Step]) -> usize {
        let find = |at, step| self.find(at, step).expect("the path was inserted");
        steps.iter().fold(Self::ROOT, find)
    }

    fn find(&self, at: usize, step: &Step) -> Option<usize> {
        let node = &self.nodes[at];
        match step {
            Step::Key(key) => node.child(key, 0).map(|(_, child)| child),
            Step::Index(index) => {
                let found = node.elements.binary_search_by_key(index, |&(index, _)| index).ok()?;
                Some(node.elements[found].1)
            }
            Step::Where { key, text } => node.wheres.get(key)?.get(text).copied(),
            Step::Each => unreachable!("a path is parted at its `[]`"),
        }
    }

    fn insert(&mut self, steps: &[Step]) {
        let mut at = Self::ROOT;
        for (position, step) in steps.iter().enumerate() {
            if *step == Step::Each {
                let list = self.list_at(at);
                self.lists[list].element.insert(&steps[position + 1..]);
                return;
            }
            at = match self.find(at, step) {
                Some(child) => child,
                None => self.add(at, step),
            };
        }
        // Any number marks an end; `number` replaces it.
        self.nodes[at].slot = Some(0);
    }

    fn list_at(&mut self, at: usize) -> usize {
        let node = &mut self.nodes[at];
        *node.list.get_or_insert_with(|| {
            let mut path = node.path.clone();
            Step::Each.append_to(&mut path);
            self.lists.push(List { slot: 0, element: Self::rooted(path) });
            self.lists.len() - 1
        })
    }

    fn add(&mut self, parent: usize, step: &Step) -> usize {
        let child = self.nodes.len();
        let node = &mut self.nodes[parent];
        let mut path = node.path.clone();
        step.append_to(&mut path);
        match step {
            Step::Key(key) => {
                node.keys.push((key.clone(), child));
                node.positions.push(|position| &node.keys[position].0);
            }
            Step::Index(index) => {
                let rank = node.elements.partition_point(|&(other, _)| other < *index);
                node.elements.insert(rank, (*index, child));
            }
            Step::Where { key, text } => {
                node.wheres.entry(key.clone()).or_default().insert(text.clone(), child);
            }
            Step::Each => unreachable!("a path is parted at its `[]`"),
        }
        self.nodes.push(Node { path, ..Node::default() });
        child
    }

    /// Numbers the slots of a subtree: its own, those below keys, those below elements, its list's.
    fn number(&mut self, at: usize) {
        if self.nodes[at].slot.is_some() {
            self.nodes[at].slot = Some(self.slots);
            self.slots += 1;
        }
        let start = self.slots;
        for position in 0..self.nodes[at].keys.len() {
            self.number(self.nodes[at].keys[position].1);
        }
        let middle = self.slots;
        for position in 0..self.nodes[at].elements.len() {
            self.number(self.nodes[at].elements[position].1);
        }
        let told = self.nodes[at].wheres.values().flat_map(BTreeMap::values);
        for child in told.copied().collect::<Vec<_>>() {
            self.number(child);
        }
        if let Some(list) = self.nodes[at].list {
            self.lists[list].slot = self.slots;
            self.slots += 1;
        }
        self.nodes[at].key_slots = start..middle;
        self.nodes[at].element_slots = middle..self.slots;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trie(paths: &[&str]) -> (Trie, Vec<FieldPath>) {
        let paths: Vec<_> = paths.iter().map(|text| FieldPath::parse(text).unwrap()).collect();
        (Trie::new(paths.iter()), paths)
    }

    #[test]
    fn equal_paths_share_a_slot_and_others_do_not() {
        let (trie, paths) = trie(&["a.x", "b", "a.y", "b", "a[1]", "a"]);
        let slots: Vec<_> = paths.iter().map(|path| trie.slot(path.steps())).collect();
        assert_eq!(trie.slots(), 5);
        assert_eq!(slots, [1, 4, 2, 4, 3, 0]);
    }

    #[test]
    fn slots_of_a_subtree_are_one_range() {
        let (trie, _) = trie(&["a.x", "b", "a.y", "a[1].z", "a"]);
        let (_, a) = trie.node(Trie::ROOT).child("a", 0).unwrap();
        let a = trie.node(a);
        assert_eq!((a.slot, &a.key_slots, &a.element_slots), (Some(0), &(1..3), &(3..4)));
        assert_eq!(a.path, "a");
        assert_eq!(trie.node(a.elements[0].1).path, "a[1]");
    }

    #[test]
    fn what_follows_every_element_is_a_tree_of_the_list() {
        let (trie, paths) = trie(&["a[].x", "b[]", "a[].y", "a[1].z", "a", "[].q"]);
        let places: Vec<_> = paths.iter().map(|path| trie.place(path)).collect();
        let expected =
            [(Some(0), 0), (Some(1), 0), (Some(0), 1), (None, 1), (None, 0), (Some(2), 0)];
        assert_eq!(places, expected);
        let lists: Vec<_> = trie.lists().iter().map(|it| (it.path(), it.slot)).collect();
        assert_eq!(lists, [("a[]", 2), ("b[]", 3), ("[]", 4)]);
        let (_, a) = trie.node(Trie::ROOT).child("a", 0).unwrap();
        assert_eq!(trie.node(a).element_slots, 1..3);
        assert_eq!(trie.slots(), 5);
    }

    #[test]
    fn keys_are_found_whatever_was_guessed() {
        let (trie, _) = trie(&["z", "a", "m"]);
        let root = trie.node(Trie::ROOT);
        for guess in 0..5 {
            for (position, key) in ["z", "a", "m"].iter().enumerate() {
                assert_eq!(root.child(key, guess).map(|(at, _)| at), Some(position));
            }
            assert_eq!(root.child("b", guess), None);
        }
    }
}
