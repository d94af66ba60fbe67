//! Runs a program over a message: reads the wanted values, passes over the rest.
//!
//! Before: [`super::program`] says what to do. After: [`crate::decode::typed`] takes the values
//! found in [`Slots`]. Fields come in any order, and again: of a value the last counts, of messages
//! all that they say. Of a list of rows only the places of its elements are kept; each is read when
//! its row is.
//!
//! A known field in another form than its type's is passed over as an unknown one, as readers of
//! Protobuf do.

use std::ops::Range;

use super::program::{
    Extent, FieldOp, Fields, List, MapOp, MessageOp, Op, Own, ProtobufProgram, RepeatedOp,
    Required, Scalar, ScalarOp, Tree,
};
use super::schema::ScalarKind;
use super::wire::{Form, Malformed, Tag, Wire};
use crate::decode::ELEMENTS_KEPT;
use crate::decode::trie::Trie;
use crate::decode::typed::value::{Found, Kind, Number, Text, Value, WholeMeaning};
use crate::path::STEPS_MAX;
use crate::rejection::{Refusal, RejectReason};

/// What the last walk found for each slot of a tree.
pub(super) struct Slots {
    pub(super) found: Vec<Value>,
    /// Whether messages and required fields are there.
    pub(super) flags: Vec<bool>,
    /// Of each repeated field that something is wanted of.
    repeated: Vec<Repeated>,
    /// Most places of a list that are kept.
    places_max: usize,
    /// How many of what is here may be made anew yet in this walk.
    renewals_left: usize,
}

/// How often all slots may be made anew in one walk. Whoever writes a value does so once, at most
/// three times on each step of the deepest path; but bytes can say two values that exclude each
/// other in turn: each takes a byte or two, and undoes all that is wanted inside of the other.
const RENEWALS_MAX: usize = 4 * STEPS_MAX;

#[derive(Clone, Default)]
struct Repeated {
    count: usize,
    /// Where the first elements are, if each is of a row.
    places: Vec<usize>,
}

impl Slots {
    /// More rows than `rows_max` nobody reads.
    pub(super) fn new(trie: &Trie, rows_max: usize) -> Self {
        Self {
            found: vec![Value::Absent; trie.slots()],
            flags: Vec::new(),
            repeated: Vec::new(),
            places_max: rows_max,
            renewals_left: 0,
        }
    }

    /// Forgets what the last walk found.
    pub(super) fn clear(&mut self) {
        self.found.fill(Value::Absent);
    }

    /// Prepares to walk by a program.
    fn start(&mut self, tree: &Tree) {
        self.clear();
        self.flags.clear();
        self.flags.resize(tree.flags, false);
        self.repeated.resize_with(tree.repeated, Repeated::default);
        self.repeated.iter_mut().for_each(Repeated::clear);
        let all = 1 + self.found.len() + self.flags.len() + self.repeated.len();
        self.renewals_left = all.saturating_mul(RENEWALS_MAX);
    }

    /// Returns whether so many may be made anew. Once they may not, the message is refused.
    fn renews(&mut self, count: usize) -> bool {
        self.renewals_left = self.renewals_left.saturating_sub(1 + count);
        self.renewals_left != 0
    }

    /// Returns how many elements a list has whose slot says that it is there.
    pub(super) fn element_count(&self, list: &List) -> usize {
        self.repeated[list.repeated].count
    }

    /// Returns where the element of a row begins.
    pub(super) fn place(&self, list: &List, row: usize) -> usize {
        self.repeated[list.repeated].places[row]
    }

    /// Counts one more element, which begins at a place; returns how many were before.
    pub(super) fn count(&mut self, repeated: usize, is_list: bool, place: usize) -> usize {
        let known = &mut self.repeated[repeated];
        let index = known.count;
        known.count += 1;
        if is_list && index < self.places_max {
            known.places.push(place);
        }
        index
    }

    /// Refuses messages without a field that they have to have, and those that were not read to
    /// their end.
    fn check(&self, tree: &Tree) -> Result<(), Refusal> {
        if self.renewals_left == 0 {
            let detail = format_args!("values replace each other more than {RENEWALS_MAX} times");
            return Err(Refusal::new(RejectReason::InvalidProtobuf, detail));
        }
        for Required { message, field, path } in &tree.required {
            if self.flags[*message] && !self.flags[*field] {
                let detail = format_args!("`{path}`: required and absent");
                return Err(Refusal::new(RejectReason::InvalidProtobuf, detail));
            }
        }
        Ok(())
    }
}

impl Repeated {
    fn clear(&mut self) {
        self.count = 0;
        self.places.clear();
        self.places.shrink_to(ELEMENTS_KEPT);
    }
}

impl Found for Slots {
    fn get(&self, slot: usize) -> &Value {
        &self.found[slot]
    }
}

/// Reads the message that is the rest of the payload from `start` on.
pub(super) fn walk(
    program: &ProtobufProgram,
    trie: &Trie,
    payload: &[u8],
    start: usize,
    slots: &mut Slots,
) -> Result<(), Refusal> {
    slots.start(&program.message);
    let Op::Message(root) = &program.ops[program.message.root] else {
        unreachable!("a program reads a message")
    };
    let part = start..payload.len();
    Walker { program, trie, slots, payload }.message(root, part).map_err(Malformed::refusal)?;
    slots.check(&program.message)
}

/// Reads an element of a list that a walk has found in `slots`.
pub(super) fn walk_element(
    program: &ProtobufProgram,
    list: &List,
    trie: &Trie,
    payload: &[u8],
    place: usize,
    slots: &mut Slots,
) -> Result<(), Refusal> {
    slots.start(&list.element);
    let mut bytes = Wire::new(payload, place..payload.len());
    Walker { program, trie, slots, payload }
        .run(list.element.root, list.tag, &mut bytes)
        .map_err(Malformed::refusal)?;
    slots.check(&list.element)
}

pub(super) struct Walker<'a> {
    pub(super) program: &'a ProtobufProgram,
    pub(super) trie: &'a Trie,
    pub(super) slots: &'a mut Slots,
    pub(super) payload: &'a [u8],
}

impl<'a> Walker<'a> {
    /// Reads the value behind a tag of the right form.
    fn run(&mut self, op: usize, tag: Tag, bytes: &mut Wire<'a>) -> Result<(), Malformed> {
        let program = self.program;
        match &program.ops[op] {
            Op::Scalar(op) => {
                let value = self.scalar(op.scalar, bytes)?;
                self.leave(op, value);
                Ok(())
            }
            Op::Message(op) => {
                let part = bytes.message(tag)?;
                self.message(op, part)
            }
            Op::Repeated(op) => self.repeated(op, tag, bytes),
            Op::Map(op) => {
                let part = bytes.counted()?;
                self.entry(op, part)
            }
            Op::Json(_) => {
                let part = bytes.counted()?;
                self.json(op, part)
            }
        }
    }

    /// Reads a message, or what more there is of it.
    fn message(&mut self, op: &MessageOp, part: Range<usize>) -> Result<(), Malformed> {
        let is_new = self.enter(op);
        if !op.fields.is_empty() {
            self.fields(&op.fields, part.clone())?;
        }
        let Some(slot) = op.slot else { return Ok(()) };
        let before = self.slots.found[slot];
        self.slots.found[slot] = match op.own {
            Own::Message => Value::Other(Kind::Message),
            Own::Wrapper(scalar) => {
                let before = if is_new { self.program.default_value(scalar) } else { before };
                self.wrapped(scalar, before, part)?
            }
            Own::Time => {
                let before = if is_new { Value::Time { seconds: 0, nanos: 0 } } else { before };
                self.time(before, part)?
            }
        };
        Ok(())
    }

    /// Notes that a message is there; returns whether that is new.
    fn enter(&mut self, op: &MessageOp) -> bool {
        let is_known = std::mem::replace(&mut self.slots.flags[op.flag], true);
        if !is_known {
            self.slots.found[op.inside.clone()].copy_from_slice(&op.empty);
        }
        !is_known
    }

    /// Reads the fields of a message. Writers mostly put them in the order of their numbers, so the
    /// tag of the one that is wanted next is looked for before any other.
    fn fields(&mut self, fields: &Fields, part: Range<usize>) -> Result<(), Malformed> {
        let mut bytes = Wire::new(self.payload, part);
        let mut next = 0;
        while !bytes.is_end() {
            (next, bytes) = self.common(fields, next, bytes);
            if let Some(field) = fields.at(next).filter(|field| bytes.passes(field.head)) {
                next += 1;
                match field.plain {
                    Some((scalar, slot)) => {
                        self.slots.found[slot] = self.scalar(scalar, &mut bytes)?;
                    }
                    None => self.field(field, field.tag, &mut bytes)?,
                }
                continue;
            }
            if bytes.is_end() {
                break;
            }
            let tag = bytes.tag()?;
            let position = fields.find(tag.number);
            match position.and_then(|position| fields.at(position)) {
                Some(field) => self.field(field, tag, &mut bytes)?,
                None => bytes.skip(tag)?,
            }
            next = position.map_or(next, |position| position + 1);
        }
        Ok(())
    }

    /// Reads values as long as they are the fields that are wanted next and of the commonest types;
    /// returns which field comes then, and behind what bytes. They go from the bytes to their slots
    /// and nowhere else in between.
    fn common<'w>(
        &mut self,
        fields: &Fields,
        mut next: usize,
        mut bytes: Wire<'w>,
    ) -> (usize, Wire<'w>) {
        while let Some(field) = fields.at(next)
            && let Some((Scalar::Plain(kind), slot)) = field.plain
        {
            let mut ahead = bytes;
            if !ahead.passes(field.head) || self.leave_common(kind, slot, &mut ahead).is_none() {
                // Whatever is wrong is said where every other value is read.
                break;
            }
            (next, bytes) = (next + 1, ahead);
        }
        (next, bytes)
    }

    #[inline]
    fn leave_common(&mut self, kind: ScalarKind, slot: usize, bytes: &mut Wire<'_>) -> Option<()> {
        match kind {
            ScalarKind::Double => {
                let value = f64::from_le_bytes(bytes.array().ok()?);
                self.slots.found[slot] = Value::Number(Number::Double(value));
            }
            ScalarKind::Float => {
                let value = f32::from_le_bytes(bytes.array().ok()?);
                self.slots.found[slot] = Value::Number(Number::Float(value));
            }
            ScalarKind::Int64 => {
                let value = bytes.varint().ok()?.cast_signed();
                self.slots.found[slot] = Value::Number(Number::Whole(value, WholeMeaning::Number));
            }
            ScalarKind::String => {
                let Range { start, end } = bytes.counted().ok()?;
                self.slots.found[slot] = Value::Text(Text::Payload { start, end });
            }
            ScalarKind::Uint64
            | ScalarKind::Int32
            | ScalarKind::Fixed64
            | ScalarKind::Fixed32
            | ScalarKind::Bool
            | ScalarKind::Bytes
            | ScalarKind::Uint32
            | ScalarKind::Sfixed32
            | ScalarKind::Sfixed64
            | ScalarKind::Sint32
            | ScalarKind::Sint64 => return None,
        }
        Some(())
    }

    fn field(&mut self, field: &FieldOp, tag: Tag, bytes: &mut Wire<'a>) -> Result<(), Malformed> {
        let is_several = field.is_packed && tag.form == Form::Counted;
        if tag.form != field.tag.form && !is_several {
            return bytes.skip(tag);
        }
        if let Some(flag) = field.flag {
            self.slots.flags[flag] = true;
        }
        for rival in &field.rivals {
            self.forget(*rival);
        }
        let Some(op) = field.op else { return bytes.skip(tag) };
        for other in &field.others {
            let mut again = *bytes;
            self.run(*other, tag, &mut again)?;
        }
        self.run(op, tag, bytes)
    }

    /// Makes a value absent, with all that is inside.
    pub(super) fn forget(&mut self, op: usize) {
        let Extent { slot, inside, flags, repeated } = &self.program.extents[op];
        if !self.slots.renews(inside.len() + flags.len() + repeated.len()) {
            return;
        }
        if let Some(slot) = slot {
            self.slots.found[*slot] = Value::Absent;
        }
        self.slots.found[inside.clone()].fill(Value::Absent);
        self.slots.flags[flags.clone()].fill(false);
        self.slots.repeated[repeated.clone()].iter_mut().for_each(Repeated::clear);
    }

    /// Leaves a value where a path ends.
    fn leave(&mut self, op: &ScalarOp, value: Value) {
        if let Some(slot) = op.slot {
            self.slots.found[slot] = value;
        }
        if op.is_inner {
            self.block(op.want, value.kind());
        }
    }

    /// Says of paths into a value of another kind that they find this one.
    pub(super) fn block(&mut self, want: usize, found: Kind) {
        let node = self.trie.node(want);
        if !self.slots.renews(node.key_slots.len() + node.element_slots.len()) {
            return;
        }
        let blocked = |expected| Value::Blocked { want, expected, found };
        if found != Kind::Message {
            self.slots.found[node.key_slots.clone()].fill(blocked(Kind::Message));
        }
        if found != Kind::Array {
            self.slots.found[node.element_slots.clone()].fill(blocked(Kind::Array));
        }
    }

    /// Reads an element, or several that lie together.
    fn repeated(
        &mut self,
        op: &RepeatedOp,
        tag: Tag,
        bytes: &mut Wire<'a>,
    ) -> Result<(), Malformed> {
        if !op.is_packed || tag.form != Form::Counted {
            return self.element(op, tag, bytes);
        }
        let part = bytes.counted()?;
        let mut bytes = Wire::new(self.payload, part);
        let tag = Tag { form: op.form, ..tag };
        while !bytes.is_end() {
            self.element(op, tag, &mut bytes)?;
        }
        Ok(())
    }

    fn element(
        &mut self,
        op: &RepeatedOp,
        tag: Tag,
        bytes: &mut Wire<'a>,
    ) -> Result<(), Malformed> {
        let index = self.slots.count(op.repeated, op.is_list, bytes.at());
        match op.elements.binary_search_by_key(&index, |(wanted, _)| *wanted) {
            Ok(found) => self.run(op.elements[found].1, tag, bytes),
            Err(_) => bytes.skip(tag),
        }
    }

    /// Reads an entry of a map. Of repeated keys the last counts, with nothing of the others.
    fn entry(&mut self, op: &MapOp, part: Range<usize>) -> Result<(), Malformed> {
        let Some(value_op) = self.entry_op(op, part.clone())? else { return Ok(()) };
        self.forget(value_op);
        let program = self.program;
        match &program.ops[value_op] {
            Op::Scalar(scalar) => self.leave(scalar, program.default_value(scalar.scalar)),
            Op::Message(message) => self.message(message, part.end..part.end)?,
            Op::Json(_) => self.json(value_op, part.end..part.end)?,
            Op::Repeated(_) | Op::Map(_) => unreachable!("the values of a map are single ones"),
        }
        let mut bytes = Wire::new(self.payload, part);
        while !bytes.is_end() {
            let tag = bytes.tag()?;
            if (tag.number, tag.form) == (2, op.value_form) {
                self.run(value_op, tag, &mut bytes)?;
            } else {
                bytes.skip(tag)?;
            }
        }
        Ok(())
    }

    /// Returns the operation for the value of an entry, if its key is wanted.
    fn entry_op(&self, op: &MapOp, part: Range<usize>) -> Result<Option<usize>, Malformed> {
        let mut bytes = Wire::new(self.payload, part);
        let mut key = None;
        while !bytes.is_end() {
            let tag = bytes.tag()?;
            if (tag.number, tag.form) == (1, op.key_form) {
                key = Some(self.scalar(Scalar::Plain(op.key), &mut bytes)?);
            } else {
                bytes.skip(tag)?;
            }
        }
        let key = key.unwrap_or_else(|| self.program.default_value(Scalar::Plain(op.key)));
        Ok(match key {
            Value::Text(Text::Payload { start, end }) => {
                // A key that is not UTF-8 is none that a path names.
                let text = std::str::from_utf8(&self.payload[start..end]).ok();
                let found = text.and_then(|text| self.trie.node(op.want).child(text, 0));
                found.map(|(position, _)| op.entries[position])
            }
            Value::Boolean(key) => op.numbers.get(&i128::from(key)).copied(),
            Value::Number(Number::Whole(key, _)) => op.numbers.get(&i128::from(key)).copied(),
            Value::Number(Number::Unsigned(key)) => op.numbers.get(&i128::from(key)).copied(),
            Value::Number(_)
            | Value::Text(_)
            | Value::Absent
            | Value::Blocked { .. }
            | Value::Time { .. }
            | Value::Other(_)
            | Value::List => None,
        })
    }

    /// Returns the value of a wrapper: what it was unless the message says another.
    fn wrapped(
        &self,
        scalar: Scalar,
        mut value: Value,
        part: Range<usize>,
    ) -> Result<Value, Malformed> {
        let form = scalar.form();
        let mut bytes = Wire::new(self.payload, part);
        while !bytes.is_end() {
            let tag = bytes.tag()?;
            if (tag.number, tag.form) == (1, form) {
                value = self.scalar(scalar, &mut bytes)?;
            } else {
                bytes.skip(tag)?;
            }
        }
        Ok(value)
    }

    /// Returns a point in time: what it was unless the message says another.
    fn time(&self, before: Value, part: Range<usize>) -> Result<Value, Malformed> {
        let Value::Time { mut seconds, mut nanos } = before else {
            unreachable!("a timestamp stays one")
        };
        let mut bytes = Wire::new(self.payload, part);
        while !bytes.is_end() {
            let tag = bytes.tag()?;
            match (tag.number, tag.form) {
                (1, Form::Varint) => seconds = bytes.varint()?.cast_signed(),
                (2, Form::Varint) => nanos = low(bytes.varint()?).cast_signed(),
                _ => bytes.skip(tag)?,
            }
        }
        Ok(Value::Time { seconds, nanos })
    }

    fn scalar(&self, scalar: Scalar, bytes: &mut Wire<'_>) -> Result<Value, Malformed> {
        let whole = |number| Value::Number(Number::Whole(number, WholeMeaning::Number));
        let kind = match scalar {
            Scalar::Plain(kind) => kind,
            Scalar::Enum(symbols) => {
                let number = low(bytes.varint()?).cast_signed();
                return Ok(self.program.enums[symbols].value(number));
            }
        };
        Ok(match kind {
            ScalarKind::Double => Value::Number(Number::Double(f64::from_le_bytes(bytes.array()?))),
            ScalarKind::Float => Value::Number(Number::Float(f32::from_le_bytes(bytes.array()?))),
            ScalarKind::Int64 => whole(bytes.varint()?.cast_signed()),
            ScalarKind::Uint64 => Value::Number(Number::Unsigned(bytes.varint()?)),
            ScalarKind::Int32 => whole(low(bytes.varint()?).cast_signed().into()),
            ScalarKind::Fixed64 => {
                Value::Number(Number::Unsigned(u64::from_le_bytes(bytes.array()?)))
            }
            ScalarKind::Fixed32 => whole(u32::from_le_bytes(bytes.array()?).into()),
            ScalarKind::Bool => Value::Boolean(bytes.varint()? != 0),
            // TensorFlow has its texts in bytes. Of either a reader wants UTF-8.
            ScalarKind::String | ScalarKind::Bytes => {
                let Range { start, end } = bytes.counted()?;
                Value::Text(Text::Payload { start, end })
            }
            ScalarKind::Uint32 => whole(low(bytes.varint()?).into()),
            ScalarKind::Sfixed32 => whole(i32::from_le_bytes(bytes.array()?).into()),
            ScalarKind::Sfixed64 => whole(i64::from_le_bytes(bytes.array()?)),
            ScalarKind::Sint32 => {
                let bits = low(bytes.varint()?);
                whole(((bits >> 1).cast_signed() ^ -(bits & 1).cast_signed()).into())
            }
            ScalarKind::Sint64 => {
                let bits = bytes.varint()?;
                whole((bits >> 1).cast_signed() ^ -(bits & 1).cast_signed())
            }
        })
    }
}

/// Returns the 32 bits that a number of a type with so many keeps.
fn low(bits: u64) -> u32 {
    #[expect(clippy::cast_possible_truncation, reason = "readers of Protobuf cut them off")]
    let low = bits as u32;
    low
}
