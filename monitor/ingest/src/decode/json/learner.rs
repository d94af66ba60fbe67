//! Makes a layout of a document: which bytes stay, and where the values are.
//!
//! Before: [`super::layout`] has a document that the walk has read. After: it keeps the layout.

use std::ops::Range;

use super::cursor::{Cursor, Literal};
use super::layout::{Hole, LAYOUT_BYTES_MAX, Target, Targets, Wanted};
use crate::decode::trie::{Node, Trie};

/// Returns what is around the document's values, and the values; nothing where it is too large, or
/// where more than the bytes between the values decides what they are: a key twice, a value with
/// values inside where one without is wanted.
pub(super) fn layout(
    trie: &Trie,
    targets: &Targets,
    payload: &str,
    bounds: Range<usize>,
) -> Option<(Vec<Hole>, Literal)> {
    let bytes = payload.as_bytes().get(..bounds.end)?;
    let mut learner = Learner {
        trie,
        targets,
        payload,
        cursor: Cursor::new(bytes, bounds.start),
        literal: bounds.start,
        holes: Vec::new(),
        bytes: 0,
        seen: vec![false; trie.nodes()],
    };
    learner.cursor.space();
    learner.value(Some(Trie::ROOT))?;
    let end = learner.literal(bounds.end)?;
    let mut holes = learner.holes;
    holes.shrink_to_fit();
    Some((holes, end))
}

struct Learner<'a> {
    trie: &'a Trie,
    targets: &'a Targets,
    payload: &'a str,
    cursor: Cursor<'a>,
    /// Where the bytes begin that are not kept yet.
    literal: usize,
    holes: Vec<Hole>,
    /// What is kept so far takes.
    bytes: usize,
    /// Nodes that have a value.
    seen: Vec<bool>,
}

impl<'a> Learner<'a> {
    /// Returns the bytes that are not kept yet, up to here.
    fn literal(&mut self, end: usize) -> Option<Literal> {
        let literal = self.payload.as_bytes().get(self.literal..end)?;
        self.bytes += literal.len() + size_of::<Hole>();
        (self.bytes <= LAYOUT_BYTES_MAX).then(|| Literal::new(literal))
    }

    /// Takes a value; `None`: of no path.
    fn value(&mut self, index: Option<usize>) -> Option<()> {
        let node = index.map(|index| (index, self.trie.node(index)));
        let is_passed = |node: &Node| self.of(node).is_empty() && !node.is_inner();
        let Some((index, node)) = node.filter(|(_, node)| !is_passed(node)) else {
            return self.hole(Wanted::Any);
        };
        let is_again = std::mem::replace(&mut self.seen[index], true);
        (!is_again).then_some(())?;
        let open = self.cursor.peek()?;
        if !matches!(open, b'{' | b'[') {
            return self.scalar(node);
        }
        self.of(node).is_empty().then_some(())?;
        self.cursor.step();
        self.cursor.space();
        if open == b'{' { self.object(node) } else { self.array(node) }
    }

    fn object(&mut self, node: &'a Node) -> Option<()> {
        if self.cursor.take(b'}') {
            return Some(());
        }
        loop {
            let key = self.payload.get(self.cursor.key()?)?;
            self.cursor.space();
            self.value(node.child(key, 0).map(|(_, child)| child))?;
            self.cursor.space();
            if !self.cursor.take(b',') {
                return self.cursor.take(b'}').then_some(());
            }
            self.cursor.space();
        }
    }

    fn array(&mut self, node: &'a Node) -> Option<()> {
        // Which element is which, the texts in them say.
        node.wheres.is_empty().then_some(())?;
        if self.cursor.take(b']') {
            return Some(());
        }
        for position in 0.. {
            let wanted = &node.elements;
            let found = wanted.binary_search_by_key(&position, |(position, _)| *position);
            self.value(found.ok().map(|found| wanted[found].1))?;
            self.cursor.space();
            if !self.cursor.take(b',') {
                break;
            }
            self.cursor.space();
        }
        self.cursor.take(b']').then_some(())
    }

    fn scalar(&mut self, node: &'a Node) -> Option<()> {
        let is_name = |(_, target): &(usize, Target)| *target == Target::Name;
        match self.of(node) {
            [] => {
                (self.cursor.peek() == Some(b'n')).then_some(())?;
                self.hole(Wanted::Null)
            }
            _ if self.leads_on(node) => None,
            // It stays among the bytes around values.
            names if names.iter().all(is_name) => self.cursor.scalar().map(|_| ()),
            targets if targets.iter().any(is_name) => None,
            [(_, target)] => self.hole(Wanted::One(*target)),
            several => {
                self.bytes += size_of_val(several);
                self.hole(Wanted::Several(several.iter().map(|(_, target)| *target).collect()))
            }
        }
    }

    fn hole(&mut self, value: Wanted) -> Option<()> {
        let before = self.literal(self.cursor.at())?;
        self.cursor.skip()?;
        self.literal = self.cursor.at();
        self.holes.push(Hole { before, value });
        Some(())
    }

    /// Returns what the value of a node is for.
    fn of(&self, node: &Node) -> &'a [(usize, Target)] {
        node.slot.map_or(&[], |slot| self.targets.of(slot..slot + 1))
    }

    /// Returns whether a value inside of the node's is for something.
    fn leads_on(&self, node: &Node) -> bool {
        !self.targets.of(node.inside()).is_empty()
    }
}
