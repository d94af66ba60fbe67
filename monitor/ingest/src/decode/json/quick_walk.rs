//! The walk over bytes: keys are compared where they lie, and what is not wanted is passed over.
//!
//! Before: [`super::walk`]. After: [`Slots`], which hold what [`super::slow_walk`] would have
//! found.
//!
//! It gives up (`None`) on what is no JSON, and on what is rare: keys with escapes, values other
//! than null where paths lead on, nesting deeper than the cursor keeps.

use std::ops::Range;

use super::cursor::Cursor;
use super::value::Kind;
use super::walk::{Found, Slots};
use crate::decode::trie::Trie;

/// Walks a document.
pub(super) fn document(
    trie: &Trie,
    payload: &str,
    bounds: Range<usize>,
    slots: &mut Slots,
) -> Option<Kind> {
    let mut walker = Walker::new(trie, payload, &bounds, slots)?;
    walker.cursor.space();
    let kind = walker.inside(Trie::ROOT)?;
    walker.cursor.space();
    (walker.cursor.at() == bounds.end).then_some(kind)
}

/// Walks an element of a list.
pub(super) fn element(
    trie: &Trie,
    payload: &str,
    bounds: Range<usize>,
    slots: &mut Slots,
) -> Option<()> {
    Walker::new(trie, payload, &bounds, slots)?.value(Trie::ROOT)
}

/// Walks an element that is an array of values; returns how many there are.
pub(super) fn row(
    trie: &Trie,
    payload: &str,
    bounds: Range<usize>,
    wanted: &[(usize, usize)],
    slots: &mut Slots,
) -> Option<usize> {
    let Range { start, end } = bounds;
    let mut walker = Walker::new(trie, payload, &bounds, slots)?;
    if let Some(slot) = trie.node(Trie::ROOT).slot {
        walker.slots.set(slot, Found::Value { start, end });
    }
    (walker.cursor.peek() == Some(b'[')).then_some(())?;
    let mut wanted = wanted.iter().peekable();
    walker.elements(|walker, position| {
        let element = walker.cursor;
        walker.cursor.skip()?;
        let behind = walker.cursor;
        while let Some((_, node)) = wanted.next_if(|(wanted, _)| *wanted == position) {
            walker.cursor = element;
            walker.value(*node)?;
        }
        walker.cursor = behind;
        Some(())
    })
}

struct Walker<'a> {
    trie: &'a Trie,
    payload: &'a str,
    cursor: Cursor<'a>,
    slots: &'a mut Slots,
}

impl<'a> Walker<'a> {
    fn new(
        trie: &'a Trie,
        payload: &'a str,
        bounds: &Range<usize>,
        slots: &'a mut Slots,
    ) -> Option<Self> {
        let cursor = Cursor::new(payload.as_bytes().get(..bounds.end)?, bounds.start);
        Some(Self { trie, payload, cursor, slots })
    }

    /// Takes the value of a node: keeps it if a path ends there, and goes into it if others lead
    /// on.
    fn value(&mut self, index: usize) -> Option<()> {
        let node = self.trie.node(index);
        let start = self.cursor.at();
        if node.is_inner() {
            self.inside(index)?;
        } else {
            self.cursor.skip()?;
        }
        if let Some(slot) = node.slot {
            self.slots.set(slot, Found::Value { start, end: self.cursor.at() });
        }
        Some(())
    }

    /// Goes into the value of a node that paths lead on from.
    fn inside(&mut self, index: usize) -> Option<Kind> {
        let node = self.trie.node(index);
        match self.cursor.peek()? {
            b'{' => {
                self.slots.enter(index, node);
                self.block(index, &node.element_slots, Kind::Array, Kind::Object);
                self.object(index)?;
                Some(Kind::Object)
            }
            b'[' => {
                self.slots.enter(index, node);
                self.block(index, &node.key_slots, Kind::Object, Kind::Array);
                match node.list {
                    Some(list) => self.list(index, list)?,
                    None => self.array(index)?,
                }
                Some(Kind::Array)
            }
            // Null: the values inside are absent.
            b'n' => {
                self.slots.enter(index, node);
                self.cursor.take_all(b"null")?;
                Some(Kind::Null)
            }
            _ => None,
        }
    }

    fn block(&mut self, node: usize, inside: &Range<usize>, expected: Kind, found: Kind) {
        if !inside.is_empty() {
            self.slots.fill(inside, Found::Blocked { node, expected, found });
        }
    }

    fn object(&mut self, index: usize) -> Option<()> {
        let node = self.trie.node(index);
        self.cursor.step();
        self.cursor.space();
        if self.cursor.take(b'}') {
            return Some(());
        }
        let mut guess = 0;
        loop {
            let key = self.payload.get(self.cursor.key()?)?;
            self.cursor.space();
            if let Some((position, child)) = node.child(key, guess) {
                guess = position + 1;
                self.value(child)?;
            } else {
                self.cursor.skip()?;
            }
            self.cursor.space();
            if !self.cursor.take(b',') {
                return self.cursor.take(b'}').then_some(());
            }
            self.cursor.space();
        }
    }

    /// Takes the elements that are wanted by their place, or by a text in them.
    fn array(&mut self, index: usize) -> Option<()> {
        let mut wanted = self.trie.node(index).elements.iter().peekable();
        self.elements(|walker, position| {
            walker.told_element(index)?;
            match wanted.next_if(|(it, _)| *it == position) {
                Some((_, child)) => walker.value(*child),
                None => walker.cursor.skip().map(|_| ()),
            }
        })?;
        Some(())
    }

    /// Takes the element that is next if it is wanted for a text in it, and stays before it.
    fn told_element(&mut self, index: usize) -> Option<()> {
        let start = self.cursor;
        for (key, texts) in &self.trie.node(index).wheres {
            let found = self.text_at(key)?.and_then(|text| texts.get(text));
            self.cursor = start;
            if let Some(child) = found {
                self.value(*child)?;
                self.cursor = start;
            }
        }
        Some(())
    }

    /// Returns the text at a key of the value that is next, the last one where it is an object with
    /// some; reads as much of it as is needed.
    #[expect(clippy::option_option, reason = "the outer one gives up, as everywhere here")]
    fn text_at(&mut self, key: &str) -> Option<Option<&'a str>> {
        if self.cursor.peek()? != b'{' {
            return Some(None);
        }
        self.cursor.step();
        self.cursor.space();
        if self.cursor.take(b'}') {
            return Some(None);
        }
        let mut text = None;
        loop {
            let is_key = self.payload.get(self.cursor.key()?)? == key;
            self.cursor.space();
            let start = self.cursor.at();
            self.cursor.skip()?;
            if is_key {
                let found = self.payload.get(start..self.cursor.at())?;
                // With escapes it may be any text.
                (!found.contains('\\')).then_some(())?;
                text = found.strip_prefix('"').and_then(|it| it.strip_suffix('"'));
            }
            self.cursor.space();
            if !self.cursor.take(b',') {
                return self.cursor.take(b'}').then_some(text);
            }
            self.cursor.space();
        }
    }

    /// Keeps where each element lies, and takes those that are wanted by their place as well.
    fn list(&mut self, index: usize, list: usize) -> Option<()> {
        self.slots.begin_list(list, self.trie.lists()[list].slot);
        let mut wanted = self.trie.node(index).elements.iter().peekable();
        self.elements(|walker, position| {
            walker.told_element(index)?;
            let start = walker.cursor.at();
            match wanted.next_if(|(it, _)| *it == position) {
                Some((_, child)) => walker.value(*child)?,
                None => walker.cursor.skip().map(|_| ())?,
            }
            walker.slots.add_element(list, start..walker.cursor.at());
            Some(())
        })?;
        Some(())
    }

    /// Has each element of an array taken, by its position; returns how many there are.
    fn elements(&mut self, mut take: impl FnMut(&mut Self, usize) -> Option<()>) -> Option<usize> {
        self.cursor.step();
        self.cursor.space();
        if self.cursor.take(b']') {
            return Some(0);
        }
        for count in 1.. {
            take(self, count - 1)?;
            self.cursor.space();
            if !self.cursor.take(b',') {
                return self.cursor.take(b']').then_some(count);
            }
            self.cursor.space();
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use driftd_fixtures::trials::cases;
    use proptest::prelude::*;

    use super::*;
    use crate::decode::json::slow_walk;
    use crate::path::FieldPath;

    const PATHS: [&str; 9] =
        ["a", "a.b", "a.b[1]", "b[]", "b[].a", "b[2]", "a[0].a", "a[a=a].b", "b[b=a].a"];

    type All = (Vec<Option<Found>>, Vec<Vec<Range<usize>>>);

    fn found(slots: &Slots, trie: &Trie) -> All {
        let elements = (0..trie.lists().len()).map(|list| {
            let is_there = slots.get(trie.lists()[list].slot).is_some();
            let count = if is_there { slots.element_count(list) } else { 0 };
            (0..count.min(9)).map(|element| slots.element(list, element)).collect()
        });
        ((0..trie.slots()).map(|slot| slots.get(slot)).collect(), elements.collect())
    }

    #[test]
    fn ordinary_documents_are_walked() {
        let paths = PATHS.map(|text| FieldPath::parse(text).unwrap());
        let trie = Trie::new(paths.iter());
        let mut slots = Slots::new(&trie, 9);
        for payload in [
            r#"{"a":{"b":[1,2]},"b":[{"a":1},{"a":2}],"c":"d"}"#,
            r#" { "a" : [ { "a" : -1.5e3 } ] , "b" : [ ] , "c" : { "d" : [ [ ] , { } ] } } "#,
            r#"{"a":null,"b":null,"c":"\u0041 é"}"#,
            "{}",
        ] {
            slots.clear();
            let kind = document(&trie, payload, 0..payload.len(), &mut slots);
            assert_eq!(kind, Some(Kind::Object), "{payload}");
        }
    }

    proptest! {
        #![proptest_config(cases(4_000))]

        /// Drawn from pieces, so that much of it is JSON and some of it nearly.
        #[test]
        fn what_is_found_is_what_serde_json_finds(
            pieces in prop::collection::vec(
                prop::sample::select(vec![
                    "{", "}", "[", "]", ",", ":", "\"a\":", "\"b\":", "\"c\":", "{\"a\":", "{\"b\":[",
                    "{\"a\":[", "{\"b\":1,\"a\":\"a\"}", "{\"b\":\"a\",\"a\":5}",
                    "1", "null", "\"a\"", "true", " ", "{}", "[]", "[1,2]", "{\"b\":[1,2]}", "\"\\u0061\":",
                    ",\"a\":", ",\"b\":", ",\"c\":", "{\"a\":{\"b\":[0,[1]]},\"b\":[{\"a\":1},2,{}]}",
                ]),
                0..12,
            ),
        ) {
            let payload = pieces.concat();
            let paths = PATHS.map(|text| FieldPath::parse(text).unwrap());
            let trie = Trie::new(paths.iter());
            let (mut quick, mut other) = (Slots::new(&trie, 9), Slots::new(&trie, 9));
            quick.clear();
            other.clear();
            let kind = document(&trie, &payload, 0..payload.len(), &mut quick);
            let expected = slow_walk::document(&trie, &payload, 0..payload.len(), &mut other);
            if let Some(kind) = kind {
                prop_assert_eq!(kind, expected.unwrap(), "{}", payload);
                prop_assert_eq!(found(&quick, &trie), found(&other, &trie), "{}", payload);
            }
        }
    }
}
