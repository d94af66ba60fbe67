//! Payloads that are written anew before they are read, with other text in place of values at some
//! paths.
//!
//! Before: a payload within its bounds; [`super::embedded`] and [`super::tensors`] say what is
//! written in place of which values. After: [`super::JsonDecoder`] reads the text by the same paths
//! as if it had come so.

use std::ops::Range;

use super::value::Kind;
use super::walk::{Found, Slots, walk};
use super::{document_lines, invalid_json};
use crate::decode::CELLS_KEPT;
use crate::decode::trie::Trie;
use crate::path::FieldPath;
use crate::rejection::Refusal;
use crate::schema::Framing;

/// Writes payloads anew. Kept from message to message for its memory.
pub(super) struct Rewrite {
    /// Of which kind values are that are written anew; others are left as they are.
    kind: Kind,
    trie: Trie,
    slots: Slots,
    text: String,
}

/// A document of which a walk has found the values.
pub(super) struct Walked<'a> {
    payload: &'a str,
    slots: &'a Slots,
}

impl<'a> Walked<'a> {
    /// Returns the text of the value at a slot.
    pub(super) fn at(&self, slot: usize) -> Option<&'a str> {
        self.bounds(slot).map(|bounds| self.part(bounds))
    }

    fn bounds(&self, slot: usize) -> Option<Range<usize>> {
        match self.slots.get(slot)? {
            Found::Value { start, end } => Some(start..end),
            Found::Blocked { .. } => None,
        }
    }

    fn part(&self, bounds: Range<usize>) -> &'a str {
        self.payload.get(bounds).expect("values lie inside the payload")
    }
}

impl Rewrite {
    /// Looks at values at these paths, and writes those of one kind anew.
    pub(super) fn new<'a>(kind: Kind, paths: impl Iterator<Item = &'a FieldPath>) -> Self {
        let trie = Trie::new(paths);
        let slots = Slots::new(&trie, 0);
        Self { kind, trie, slots, text: String::new() }
    }

    /// Returns the slot of a path that was given to [`Rewrite::new`].
    pub(super) fn slot(&self, path: &FieldPath) -> usize {
        self.trie.place(path).1
    }

    /// Returns the payload with what `write` appends in place of the values at the slots of
    /// `fields`. Its lines stay as many as they were, as long as none is written.
    ///
    /// Of fields that find the same value the first one counts, and a value inside of one that is
    /// written anew is a part of it.
    pub(super) fn text<F>(
        &mut self,
        payload: &str,
        framing: Framing,
        fields: &[(usize, F)],
        mut write: impl FnMut(&F, &str, &Walked<'_>, &mut String) -> Result<(), Refusal>,
    ) -> Result<&str, Refusal> {
        self.text.clear();
        self.text.shrink_to(CELLS_KEPT);
        match framing {
            Framing::Document => {
                self.document(payload, 0..payload.len(), fields, &mut write)?;
            }
            Framing::Lines => {
                for (number, line, bounds) in document_lines(payload) {
                    match bounds {
                        Some(bounds) => {
                            let written = self.document(payload, bounds, fields, &mut write);
                            written.map_err(|refusal| refusal.in_line(number))?;
                            self.text.push('\n');
                        }
                        None => self.text.push_str(line),
                    }
                }
            }
        }
        Ok(&self.text)
    }

    /// Returns how many bytes there is room for.
    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.text.capacity()
    }

    fn document<F>(
        &mut self,
        payload: &str,
        bounds: Range<usize>,
        fields: &[(usize, F)],
        write: &mut impl FnMut(&F, &str, &Walked<'_>, &mut String) -> Result<(), Refusal>,
    ) -> Result<(), Refusal> {
        let Self { kind, trie, slots, text } = self;
        walk(trie, payload, bounds.clone(), slots).map_err(|error| invalid_json(&error))?;
        let walked = Walked { payload, slots };
        let found = fields.iter().filter_map(|(slot, field)| {
            let inside = walked.bounds(*slot)?;
            (Kind::of(walked.part(inside.clone())) == *kind).then_some((inside, field))
        });
        let mut found: Vec<_> = found.collect();
        found.sort_by_key(|(inside, _)| inside.start);
        let mut from = bounds.start;
        for (inside, field) in found {
            if inside.start < from {
                continue;
            }
            text.push_str(walked.part(from..inside.start));
            from = inside.end;
            write(field, walked.part(inside), &walked, text)?;
        }
        text.push_str(walked.part(from..bounds.end));
        Ok(())
    }
}
