//! All paths of a source as one tree, whatever schema a message is written with.
//!
//! Before: [`super::plan`] inserts the schema's paths. After: [`super::program`] compiles the tree
//! together with a writer's schema. Each path has a slot, for the value that a message has there;
//! slots are numbered depth first, so that a subtree's slots are one range. A path with `[]` ends
//! at its list, which has a slot too; what follows is a path of a tree of the list's own.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::path::{FieldPath, Step};

pub(super) struct Wants {
    nodes: Vec<Want>,
    slots: usize,
    lists: Vec<List>,
}

/// An array of which every element is of a row of its own.
pub(super) struct List {
    /// Where is said whether the array is there.
    pub(super) slot: usize,
    /// The paths inside of an element.
    pub(super) element: Wants,
}

impl List {
    /// Returns the path of the elements, such as `instances[]`.
    pub(super) fn path(&self) -> &str {
        &self.element.node(Wants::ROOT).path
    }
}

/// A value that some path ends at or passes through.
#[derive(Default)]
pub(super) struct Want {
    /// The path so far, for messages; empty at the root.
    pub(super) path: String,
    /// Where the value goes, when a path ends here.
    pub(super) slot: Option<usize>,
    /// Wanted fields of a record or entries of a map, each with its node.
    pub(super) keys: BTreeMap<Box<str>, usize>,
    /// Wanted elements of an array, each with its node.
    pub(super) elements: BTreeMap<usize, usize>,
    /// The list that the array is, where all its elements are wanted.
    pub(super) list: Option<usize>,
    /// Slots below `keys`.
    pub(super) key_slots: Range<usize>,
    /// Slots below `elements`, and that of `list`.
    pub(super) element_slots: Range<usize>,
}

impl Want {
    /// Returns the slots of the value and all inside of it.
    pub(super) fn slots(&self) -> Range<usize> {
        self.slot.unwrap_or(self.key_slots.start)..self.element_slots.end
    }
}

impl Wants {
    /// Index of the node that is the record itself.
    pub(super) const ROOT: usize = 0;

    pub(super) fn new<'a>(paths: impl Iterator<Item = &'a FieldPath>) -> Self {
        let mut wants = Self::rooted(String::new());
        paths.for_each(|path| wants.insert(path.steps()));
        wants.number(Self::ROOT);
        wants.lists.iter_mut().for_each(|list| list.element.number(Self::ROOT));
        wants
    }

    fn rooted(path: String) -> Self {
        Self { nodes: vec![Want { path, ..Want::default() }], slots: 0, lists: Vec::new() }
    }

    pub(super) fn node(&self, node: usize) -> &Want {
        &self.nodes[node]
    }

    /// Returns how many slots there are.
    pub(super) fn slots(&self) -> usize {
        self.slots
    }

    /// Returns the lists of the tree.
    pub(super) fn lists(&self) -> &[List] {
        &self.lists
    }

    /// Returns the list, if any, and the slot of a path that was given to [`Wants::new`].
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
            Step::Key(key) => node.keys.get(key).copied(),
            Step::Index(index) => node.elements.get(index).copied(),
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
            Step::Key(key) => drop(node.keys.insert(key.clone(), child)),
            Step::Index(index) => drop(node.elements.insert(*index, child)),
            Step::Each => unreachable!("a path is parted at its `[]`"),
        }
        self.nodes.push(Want { path, ..Want::default() });
        child
    }

    /// Numbers the slots of a subtree: its own, those below keys, those below elements, its list's.
    fn number(&mut self, at: usize) {
        if self.nodes[at].slot.is_some() {
            self.nodes[at].slot = Some(self.slots);
            self.slots += 1;
        }
        let start = self.slots;
        let keys: Vec<_> = self.nodes[at].keys.values().copied().collect();
        for child in keys {
            self.number(child);
        }
        let middle = self.slots;
        let elements: Vec<_> = self.nodes[at].elements.values().copied().collect();
        for child in elements {
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
