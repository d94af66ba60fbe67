//! One streaming pass over a record: finds the wanted values, checks and skips the rest.
//!
//! Before: [`super::trie`] says what is wanted. After: [`super::record`] reads the values found in
//! [`Slots`]. No document is built: a slot holds where a value's JSON text lies in the payload.
//!
//! What is checked: the whole payload is UTF-8 (before the walk) and one value of JSON's grammar.
//! Not checked is what only matters when a value is kept: in skipped strings that `\u` escapes of
//! surrogates come in pairs, and in skipped numbers that they fit a type. Skipping takes no stack,
//! so nesting is unbounded there (but for the payload's own size); wanted paths are bounded.

use std::fmt;
use std::ops::Range;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::trie::{Node, Trie};
use super::value::Kind;

/// What the last walk found for each slot of a trie.
pub(super) struct Slots {
    /// Number of the walk: what an earlier one left counts as absent, without clearing.
    walk: u64,
    found: Vec<(u64, Found)>,
    /// For each node the last walk that went into it, to notice repeated keys.
    entered: Vec<u64>,
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
    pub(super) fn new(trie: &Trie) -> Self {
        let absent = (0, Found::Value { start: 0, end: 0 });
        Self { walk: 0, found: vec![absent; trie.slots()], entered: vec![0; trie.nodes()] }
    }

    /// Returns what is at the slot; `None` when the record has no value there, or none on the way.
    pub(super) fn get(&self, slot: usize) -> Option<Found> {
        let (walk, found) = self.found[slot];
        (walk == self.walk).then_some(found)
    }

    fn set(&mut self, slot: usize, found: Found) {
        self.found[slot] = (self.walk, found);
    }

    fn fill(&mut self, slots: &Range<usize>, found: Found) {
        self.found[slots.clone()].fill((self.walk, found));
    }

    /// Prepares for the values inside `node`. A repeated key replaces what the earlier one held.
    fn enter(&mut self, index: usize, node: &Node) {
        if std::mem::replace(&mut self.entered[index], self.walk) == self.walk {
            let inside = node.key_slots.start..node.element_slots.end;
            self.found[inside].iter_mut().for_each(|slot| slot.0 = 0);
        }
    }
}

/// Walks `payload` and returns the kind of its one value; anything but an object has no slots.
pub(super) fn walk(trie: &Trie, payload: &str, slots: &mut Slots) -> serde_json::Result<Kind> {
    slots.walk += 1;
    let origin = payload.as_ptr().addr();
    let mut deserializer = serde_json::Deserializer::from_str(payload);
    let kind = Inside { walker: &mut Walker { trie, origin, slots }, node: Trie::ROOT }
        .deserialize(&mut deserializer)?;
    deserializer.end()?;
    Ok(kind)
}

struct Walker<'a> {
    trie: &'a Trie,
    /// Address of the payload's first byte.
    origin: usize,
    slots: &'a mut Slots,
}

impl Walker<'_> {
    fn keep(&mut self, slot: usize, text: &str) {
        let start = text.as_ptr().addr() - self.origin;
        self.slots.set(slot, Found::Value { start, end: start + text.len() });
    }
}

/// The value of a node that a path ends at, and perhaps others lead on from.
struct Value<'a, 'w> {
    walker: &'a mut Walker<'w>,
    node: usize,
}

impl<'de> DeserializeSeed<'de> for Value<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        let Self { walker, node: index } = self;
        let node = walker.trie.node(index);
        let inside = |walker| Inside { walker, node: index };
        let Some(slot) = node.slot else {
            return inside(walker).deserialize(deserializer).map(|_| ());
        };
        let text = <&RawValue>::deserialize(deserializer)?.get();
        walker.keep(slot, text);
        if !node.is_inner() {
            return Ok(());
        }
        // One model reads the value, another one a part of it.
        match Kind::of(text) {
            Kind::Object | Kind::Array => {
                let mut inner = serde_json::Deserializer::from_str(text);
                inside(walker).deserialize(&mut inner).map(|_| ()).map_err(D::Error::custom)
            }
            Kind::Null => inside(walker).visit_unit().map(|_| ()),
            scalar @ (Kind::Boolean | Kind::Number | Kind::Text) => {
                inside(walker).scalar(scalar);
                Ok(())
            }
        }
    }
}

/// The values inside of a node that paths lead on from.
struct Inside<'a, 'w> {
    walker: &'a mut Walker<'w>,
    node: usize,
}

impl Inside<'_, '_> {
    /// Says that the paths into the `inside` of the node find a value of another kind.
    fn block(&mut self, inside: &Range<usize>, expected: Kind, found: Kind) {
        if !inside.is_empty() {
            self.walker.slots.fill(inside, Found::Blocked { node: self.node, expected, found });
        }
    }

    /// Takes a value that is not null and has nothing inside.
    fn scalar(mut self, found: Kind) -> Kind {
        let node = self.walker.trie.node(self.node);
        self.walker.slots.enter(self.node, node);
        self.block(&node.key_slots, Kind::Object, found);
        self.block(&node.element_slots, Kind::Array, found);
        found
    }
}

impl<'de> DeserializeSeed<'de> for Inside<'_, '_> {
    type Value = Kind;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Kind, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Inside<'_, '_> {
    type Value = Kind;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<Kind, A::Error> {
        let node = self.walker.trie.node(self.node);
        self.walker.slots.enter(self.node, node);
        self.block(&node.element_slots, Kind::Array, Kind::Object);
        let mut guess = 0;
        while let Some(child) = map.next_key_seed(Key { node, guess })? {
            if let Some((position, child)) = child {
                guess = position + 1;
                map.next_value_seed(Value { walker: self.walker, node: child })?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(Kind::Object)
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut elements: A) -> Result<Kind, A::Error> {
        let node = self.walker.trie.node(self.node);
        self.walker.slots.enter(self.node, node);
        self.block(&node.key_slots, Kind::Object, Kind::Array);
        let mut position = 0;
        for &(wanted, child) in &node.elements {
            while position < wanted {
                if elements.next_element::<IgnoredAny>()?.is_none() {
                    return Ok(Kind::Array);
                }
                position += 1;
            }
            let value = Value { walker: self.walker, node: child };
            if elements.next_element_seed(value)?.is_none() {
                return Ok(Kind::Array);
            }
            position += 1;
        }
        while elements.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Kind::Array)
    }

    /// Null: the values inside are absent.
    fn visit_unit<E>(self) -> Result<Kind, E> {
        self.walker.slots.enter(self.node, self.walker.trie.node(self.node));
        Ok(Kind::Null)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Kind, E> {
        Ok(self.scalar(Kind::Boolean))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Kind, E> {
        Ok(self.scalar(Kind::Number))
    }

    fn visit_u64<E>(self, _: u64) -> Result<Kind, E> {
        Ok(self.scalar(Kind::Number))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Kind, E> {
        Ok(self.scalar(Kind::Number))
    }

    fn visit_str<E>(self, _: &str) -> Result<Kind, E> {
        Ok(self.scalar(Kind::Text))
    }
}

/// A key of an object: which of the node's children it is, if any.
struct Key<'a> {
    node: &'a Node,
    guess: usize,
}

impl<'de> DeserializeSeed<'de> for Key<'_> {
    type Value = Option<(usize, usize)>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Key<'_> {
    type Value = Option<(usize, usize)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E>(self, key: &str) -> Result<Self::Value, E> {
        Ok(self.node.child(key, self.guess))
    }
}
