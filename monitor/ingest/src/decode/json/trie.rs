//! All paths of a source as one tree, so that a record is walked once whatever is asked of it.
//!
//! Before: [`super::JsonDecoder`] inserts the schema's paths. After: [`super::walk`] follows it.
//! Each path has a slot; slots are numbered depth first, so that a subtree's slots are one range.

use std::ops::Range;

use crate::path::{FieldPath, Step};

pub(super) struct Trie {
    nodes: Vec<Node>,
    slots: usize,
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
    /// Positions in `keys`, sorted by key.
    sorted: Vec<usize>,
    /// Wanted elements of an array, sorted by index, each with its node.
    pub(super) elements: Vec<(usize, usize)>,
    /// Slots below `keys`.
    pub(super) key_slots: Range<usize>,
    /// Slots below `elements`.
    pub(super) element_slots: Range<usize>,
}

impl Node {
    /// Returns whether paths lead on from here.
    pub(super) fn is_inner(&self) -> bool {
        !self.keys.is_empty() || !self.elements.is_empty()
    }

    /// Returns the position and node of `key`, trying position `guess` first: producers write their
    /// keys in one order, which is often the configuration's.
    pub(super) fn child(&self, key: &str, guess: usize) -> Option<(usize, usize)> {
        if let Some((name, node)) = self.keys.get(guess)
            && **name == *key
        {
            return Some((guess, *node));
        }
        let found = self.sorted.binary_search_by(|&at| (*self.keys[at].0).cmp(key)).ok()?;
        let position = self.sorted[found];
        Some((position, self.keys[position].1))
    }
}

impl Trie {
    /// Index of the node that is the record itself.
    pub(super) const ROOT: usize = 0;

    pub(super) fn new<'a>(paths: impl Iterator<Item = &'a FieldPath>) -> Self {
        let mut trie = Self { nodes: vec![Node::default()], slots: 0 };
        for path in paths {
            let end = trie.insert(path);
            // Any number marks an end; `number` replaces it.
            trie.nodes[end].slot = Some(0);
        }
        trie.number(Self::ROOT);
        trie
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

    /// Returns the slot of a path that was given to [`Trie::new`].
    pub(super) fn slot(&self, path: &FieldPath) -> usize {
        let mut at = Self::ROOT;
        for step in path.steps() {
            at = self.find(at, step).expect("the path was inserted");
        }
        self.nodes[at].slot.expect("the path ends at a slot")
    }

    fn find(&self, at: usize, step: &Step) -> Option<usize> {
        let node = &self.nodes[at];
        match step {
            Step::Key(key) => node.child(key, 0).map(|(_, child)| child),
            Step::Index(index) => {
                let found = node.elements.binary_search_by_key(index, |&(index, _)| index).ok()?;
                Some(node.elements[found].1)
            }
        }
    }

    fn insert(&mut self, path: &FieldPath) -> usize {
        let mut at = Self::ROOT;
        for step in path.steps() {
            at = match self.find(at, step) {
                Some(child) => child,
                None => self.add(at, step),
            };
        }
        at
    }

    fn add(&mut self, parent: usize, step: &Step) -> usize {
        let child = self.nodes.len();
        let node = &mut self.nodes[parent];
        let mut path = node.path.clone();
        step.append_to(&mut path);
        match step {
            Step::Key(key) => {
                let position = node.keys.len();
                node.keys.push((key.clone(), child));
                let rank = node.sorted.partition_point(|&other| *node.keys[other].0 < **key);
                node.sorted.insert(rank, position);
            }
            Step::Index(index) => {
                let rank = node.elements.partition_point(|&(other, _)| other < *index);
                node.elements.insert(rank, (*index, child));
            }
        }
        self.nodes.push(Node { path, ..Node::default() });
        child
    }

    /// Numbers the slots of a subtree: its own, those below keys, those below elements.
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
        let slots: Vec<_> = paths.iter().map(|path| trie.slot(path)).collect();
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
