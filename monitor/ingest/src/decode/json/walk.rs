//! The walk over a record: finds the wanted values, checks and skips the rest.
//!
//! Before: [`crate::decode::trie`] says what is wanted. After: [`super::record`] reads the values
//! found in [`Slots`]. No document is built: a slot holds where a value's JSON text lies in the
//! payload. Of a list of rows only where its elements lie is kept; each is walked when its row is
//! read.
//!
//! Each walk is tried by [`super::quick_walk`], which reads nearly all there is;
//! [`super::slow_walk`] reads the rest, and has the words for what is no JSON. Where both read a
//! document they find the same.
//!
//! What is checked: the whole payload is UTF-8 (before the walk) and one value of JSON's grammar.
//! Not checked is what only matters when a value is kept: in skipped strings that `\u` escapes of
//! surrogates come in pairs, and in skipped numbers that they fit a type. Skipping takes no stack,
//! so nesting is unbounded there (but for the payload's own size); wanted paths are bounded.

use std::ops::Range;

use super::value::Kind;
use super::{quick_walk, slow_walk};
use crate::decode::ELEMENTS_KEPT;
use crate::decode::trie::{Node, Trie};

/// What the last walk found for each slot of a trie.
pub(super) struct Slots {
    /// Number of the walk: what an earlier one left counts as absent, without clearing.
    walk: u64,
    found: Vec<(u64, Found)>,
    /// For each node the last walk that went into it, to notice repeated keys.
    entered: Vec<u64>,
    /// What each list held when it was last there.
    lists: Vec<Elements>,
    /// Most elements of a list that are kept.
    elements_max: usize,
}

/// The elements of a list.
#[derive(Default)]
struct Elements {
    /// Bounds in the payload of each that is kept.
    kept: Vec<Range<usize>>,
    count: usize,
}

/// What is at a path.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Found {
    /// A value of any kind; its JSON text has these bounds in the payload.
    Value { start: usize, end: usize },
    /// The path goes through `node`, where it expects a value of another kind.
    Blocked { node: usize, expected: Kind, found: Kind },
}

impl Slots {
    pub(super) fn new(trie: &Trie, elements_max: usize) -> Self {
        let absent = (0, Found::Value { start: 0, end: 0 });
        Self {
            walk: 0,
            found: vec![absent; trie.slots()],
            entered: vec![0; trie.nodes()],
            lists: trie.lists().iter().map(|_| Elements::default()).collect(),
            elements_max,
        }
    }

    /// Forgets what the last walk found.
    pub(super) fn clear(&mut self) {
        self.walk += 1;
    }

    /// Gives back what only a message with long lists needs.
    pub(super) fn shrink(&mut self) {
        for Elements { kept, count: _ } in &mut self.lists {
            if ELEMENTS_KEPT < kept.capacity() {
                kept.clear();
                kept.shrink_to(ELEMENTS_KEPT);
            }
        }
    }

    /// Returns how many elements a list has whose slot says that it is there.
    pub(super) fn element_count(&self, list: usize) -> usize {
        self.lists[list].count
    }

    /// Returns the bounds of an element in the payload.
    pub(super) fn element(&self, list: usize, index: usize) -> Range<usize> {
        self.lists[list].kept[index].clone()
    }

    pub(super) fn begin_list(&mut self, list: usize, slot: usize) {
        self.set(slot, Found::Value { start: 0, end: 0 });
        self.lists[list].kept.clear();
        self.lists[list].count = 0;
    }

    pub(super) fn add_element(&mut self, list: usize, bounds: Range<usize>) {
        let Elements { kept, count } = &mut self.lists[list];
        *count += 1;
        if kept.len() < self.elements_max {
            kept.push(bounds);
        }
    }

    /// Returns what is at the slot; `None` when the record has no value there, or none on the way.
    pub(super) fn get(&self, slot: usize) -> Option<Found> {
        let (walk, found) = self.found[slot];
        (walk == self.walk).then_some(found)
    }

    pub(super) fn set(&mut self, slot: usize, found: Found) {
        self.found[slot] = (self.walk, found);
    }

    pub(super) fn fill(&mut self, slots: &Range<usize>, found: Found) {
        self.found[slots.clone()].fill((self.walk, found));
    }

    /// Prepares for the values inside `node`. A repeated key replaces what the earlier one held.
    pub(super) fn enter(&mut self, index: usize, node: &Node) {
        if std::mem::replace(&mut self.entered[index], self.walk) == self.walk {
            self.found[node.inside()].iter_mut().for_each(|slot| slot.0 = 0);
        }
    }
}

/// Walks the part of `payload` inside `bounds` and returns the kind of its one value.
pub(super) fn walk(
    trie: &Trie,
    payload: &str,
    bounds: Range<usize>,
    slots: &mut Slots,
) -> serde_json::Result<Kind> {
    slots.clear();
    if let Some(kind) = quick_walk::document(trie, payload, bounds.clone(), slots) {
        return Ok(kind);
    }
    slots.clear();
    slow_walk::document(trie, payload, bounds, slots)
}

/// Walks an element of a list, of which an earlier walk found the bounds.
pub(super) fn walk_element(
    trie: &Trie,
    payload: &str,
    bounds: Range<usize>,
    slots: &mut Slots,
) -> serde_json::Result<()> {
    slots.clear();
    if quick_walk::element(trie, payload, bounds.clone(), slots).is_some() {
        return Ok(());
    }
    slots.clear();
    slow_walk::element(trie, payload, bounds, slots)
}

/// Walks an element that is an array of values, of which those at `wanted` positions go to nodes of
/// the tree. Returns how many there are; `None` when it is null or no array.
pub(super) fn walk_row(
    trie: &Trie,
    payload: &str,
    bounds: Range<usize>,
    wanted: &[(usize, usize)],
    slots: &mut Slots,
) -> serde_json::Result<Option<usize>> {
    slots.clear();
    if let Some(count) = quick_walk::row(trie, payload, bounds.clone(), wanted, slots) {
        return Ok(Some(count));
    }
    slots.clear();
    slow_walk::row(trie, payload, bounds, wanted, slots)
}
