//! The walk by `serde_json`: slower, for all of JSON, and with words for what is none.
//!
//! Before: [`super::walk`] met what [`super::quick_walk`] leaves open. After: [`Slots`]. Words that
//! JSON has not are numbers here, of which only the place is kept.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::value::Kind;
use super::walk::{Found, Slots};
use crate::decode::special;
use crate::decode::trie::{Node, Trie};

/// Walks the part of `payload` inside `bounds` and returns the kind of its one value.
pub(super) fn document(
    trie: &Trie,
    payload: &str,
    bounds: Range<usize>,
    slots: &mut Slots,
) -> serde_json::Result<Kind> {
    let text = payload.get(bounds.clone()).expect("a document lies inside the payload");
    let text = special::as_numbers(text);
    let origin = origin(&text, &bounds);
    let mut deserializer = serde_json::Deserializer::from_str(&text);
    let kind = Inside { walker: &mut Walker { trie, origin, slots }, node: Trie::ROOT }
        .deserialize(&mut deserializer)?;
    deserializer.end()?;
    Ok(kind)
}

/// Walks an element of a list, of which an earlier walk found the bounds.
pub(super) fn element(
    trie: &Trie,
    payload: &str,
    bounds: Range<usize>,
    slots: &mut Slots,
) -> serde_json::Result<()> {
    let text = payload.get(bounds.clone()).expect("elements lie inside the payload");
    let text = special::as_numbers(text);
    let origin = origin(&text, &bounds);
    Walker { trie, origin, slots }.value(Trie::ROOT, &text)
}

/// Walks an element that is an array of values, of which those at `wanted` positions go to nodes of
/// the tree. Returns how many there are; `None` when it is null or no array.
pub(super) fn row(
    trie: &Trie,
    payload: &str,
    bounds: Range<usize>,
    wanted: &[(usize, usize)],
    slots: &mut Slots,
) -> serde_json::Result<Option<usize>> {
    let text = payload.get(bounds.clone()).expect("elements lie inside the payload");
    let text = &*special::as_numbers(text);
    let origin = origin(text, &bounds);
    let root = trie.node(Trie::ROOT);
    let mut walker = Walker { trie, origin, slots };
    if let Some(slot) = root.slot {
        walker.keep(slot, text);
    }
    match Kind::of(text) {
        Kind::Array => {
            let mut deserializer = serde_json::Deserializer::from_str(text);
            deserializer.deserialize_seq(Row { walker, wanted }).map(Some)
        }
        Kind::Null => Ok(None),
        found @ (Kind::Boolean | Kind::Number | Kind::Special | Kind::Text | Kind::Object) => {
            let mut inside = Inside { walker: &mut walker, node: Trie::ROOT };
            inside.block(&root.inside(), Kind::Array, found);
            Ok(None)
        }
    }
}

/// Returns the address that the payload's first byte would have, if it lay before the text as it
/// does before the part inside `bounds`.
fn origin(text: &str, bounds: &Range<usize>) -> usize {
    text.as_ptr().addr().wrapping_sub(bounds.start)
}

struct Walker<'a> {
    trie: &'a Trie,
    /// By which addresses are places in the payload.
    origin: usize,
    slots: &'a mut Slots,
}

impl Walker<'_> {
    fn bounds(&self, text: &str) -> Range<usize> {
        let start = text.as_ptr().addr().wrapping_sub(self.origin);
        start..start + text.len()
    }

    fn keep(&mut self, slot: usize, text: &str) {
        let Range { start, end } = self.bounds(text);
        self.slots.set(slot, Found::Value { start, end });
    }

    /// Takes an element of a node's array if it is wanted for a text in it.
    fn told_element(&mut self, index: usize, element: &str) -> serde_json::Result<()> {
        for (key, texts) in &self.trie.node(index).wheres {
            let text = text_at(element, key)?;
            if let Some(child) = text.and_then(|text| texts.get(&*text)) {
                self.value(*child, element)?;
            }
        }
        Ok(())
    }

    /// Takes the text of a node's value, which was checked against JSON's grammar: keeps it if a
    /// path ends there, and goes into it if others lead on.
    fn value(&mut self, index: usize, text: &str) -> serde_json::Result<()> {
        let node = self.trie.node(index);
        if let Some(slot) = node.slot {
            self.keep(slot, text);
        }
        if !node.is_inner() {
            return Ok(());
        }
        let inside = Inside { walker: self, node: index };
        match Kind::of(text) {
            Kind::Object | Kind::Array => {
                let mut inner = serde_json::Deserializer::from_str(text);
                inside.deserialize(&mut inner).map(|_| ())
            }
            Kind::Null => inside.visit_unit().map(|_| ()),
            scalar @ (Kind::Boolean | Kind::Number | Kind::Special | Kind::Text) => {
                inside.scalar(scalar);
                Ok(())
            }
        }
    }
}

/// Returns the text at a key of an object, the last one; `None` where there is none.
fn text_at(object: &str, key: &str) -> serde_json::Result<Option<String>> {
    if Kind::of(object) != Kind::Object {
        return Ok(None);
    }
    let mut deserializer = serde_json::Deserializer::from_str(object);
    deserializer.deserialize_map(TextAt(key))
}

/// Reads an object for the text at one key.
struct TextAt<'a>(&'a str);

impl<'de> Visitor<'de> for TextAt<'_> {
    type Value = Option<String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        while let Some(key) = map.next_key::<Cow<'de, str>>()? {
            let value = map.next_value::<&RawValue>()?.get();
            if key == self.0 {
                // Half a surrogate pair is no text that a path could name.
                found = serde_json::from_str(value).ok();
            }
        }
        Ok(found)
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
        let Self { walker, node } = self;
        if walker.trie.node(node).slot.is_none() {
            return Inside { walker, node }.deserialize(deserializer).map(|_| ());
        }
        // One model may read the value, another one a part of it.
        let text = <&RawValue>::deserialize(deserializer)?.get();
        walker.value(node, text).map_err(D::Error::custom)
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

    /// Takes the elements that are wanted by a text in them, or by their place.
    fn told<'de, A: SeqAccess<'de>>(self, mut elements: A) -> Result<Kind, A::Error> {
        let Self { walker, node } = self;
        let mut wanted = walker.trie.node(node).elements.iter().peekable();
        let mut position = 0;
        while let Some(element) = elements.next_element::<&RawValue>()? {
            let text = element.get();
            walker.told_element(node, text).map_err(A::Error::custom)?;
            if let Some((_, child)) = wanted.next_if(|(index, _)| *index == position) {
                walker.value(*child, text).map_err(A::Error::custom)?;
            }
            position += 1;
        }
        Ok(Kind::Array)
    }

    /// Keeps where each element lies, and takes those that are wanted by their place as well.
    fn list<'de, A: SeqAccess<'de>>(self, list: usize, mut elements: A) -> Result<Kind, A::Error> {
        let Self { walker, node } = self;
        let trie = walker.trie;
        walker.slots.begin_list(list, trie.lists()[list].slot);
        let mut wanted = trie.node(node).elements.iter().peekable();
        let mut position = 0;
        while let Some(element) = elements.next_element::<&RawValue>()? {
            let text = element.get();
            let bounds = walker.bounds(text);
            walker.slots.add_element(list, bounds);
            walker.told_element(node, text).map_err(A::Error::custom)?;
            if let Some((_, child)) = wanted.next_if(|(index, _)| *index == position) {
                walker.value(*child, text).map_err(A::Error::custom)?;
            }
            position += 1;
        }
        Ok(Kind::Array)
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
        if let Some(list) = node.list {
            return self.list(list, elements);
        }
        if !node.wheres.is_empty() {
            return self.told(elements);
        }
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

/// The values of a row that is an array.
struct Row<'w> {
    walker: Walker<'w>,
    /// Positions, and the node that each value goes to.
    wanted: &'w [(usize, usize)],
}

impl<'de> Visitor<'de> for Row<'_> {
    type Value = usize;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut elements: A) -> Result<usize, A::Error> {
        let mut wanted = self.wanted.iter().peekable();
        let mut count = 0;
        loop {
            if wanted.peek().is_none_or(|(position, _)| *position != count) {
                if elements.next_element::<IgnoredAny>()?.is_none() {
                    return Ok(count);
                }
            } else {
                let Some(element) = elements.next_element::<&RawValue>()? else {
                    return Ok(count);
                };
                while let Some((_, node)) = wanted.next_if(|(position, _)| *position == count) {
                    self.walker.value(*node, element.get()).map_err(A::Error::custom)?;
                }
            }
            count += 1;
        }
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
