//! Runs a program over a message: reads the wanted values, passes over the rest.
//!
//! Before: [`super::program`] says what to do. After: [`TypedRecord`] takes the values found in
//! [`Slots`]. Of a list of rows only its length and its beginning are kept; [`Cursor`] goes through
//! it again when its rows are read, one after the other.
//!
//! [`TypedRecord`]: crate::decode::typed::record::TypedRecord

use std::collections::BTreeMap;
use std::ops::Range;

use super::bytes::{Block, Bytes, Malformed, Problem};
use super::program::{AvroProgram, FieldOp, ListOp, Op, Scalar};
use super::schema::BytesMeaning;
use super::skip::{skip, skip_block, skip_fields, skip_items};
use crate::decode::trie::Trie;
use crate::decode::typed::value::{Found, Kind, Number, Text, Value};

/// What the last walk found for each slot of a tree.
pub(super) struct Slots {
    found: Vec<Value>,
    /// For each list of the tree where it begins, when its slot says that it is there.
    lists: Vec<Cursor>,
}

impl Slots {
    pub(super) fn new(trie: &Trie) -> Self {
        let lists = vec![Cursor::default(); trie.lists().len()];
        Self { found: vec![Value::Absent; trie.slots()], lists }
    }

    /// Forgets what the last walk found.
    pub(super) fn clear(&mut self) {
        self.found.fill(Value::Absent);
    }

    pub(super) fn list(&mut self, list: usize) -> &mut Cursor {
        &mut self.lists[list]
    }

    /// Returns how many elements a list has whose slot says that it is there.
    pub(super) fn element_count(&self, list: usize) -> usize {
        self.lists[list].count
    }
}

impl Found for Slots {
    fn get(&self, slot: usize) -> &Value {
        &self.found[slot]
    }
}

/// A place in a list of rows.
#[derive(Clone, Copy, Default)]
pub(super) struct Cursor {
    /// How many elements the list has.
    count: usize,
    /// Type of an element, and the operation that reads one.
    item: usize,
    op: usize,
    /// The element that comes next, where it begins, and its block.
    next: usize,
    at: usize,
    left: usize,
    end: Option<usize>,
}

impl Cursor {
    /// Goes to an element not before the last one, and reads it.
    pub(super) fn read(
        &mut self,
        program: &AvroProgram,
        trie: &Trie,
        payload: &[u8],
        element: usize,
        slots: &mut Slots,
    ) -> Result<(), Malformed> {
        let mut bytes = Bytes::new(payload, self.at);
        loop {
            if self.left == 0 {
                bytes.end_block(self.end)?;
                let block = bytes.block()?.expect("the list was counted");
                (self.left, self.end) = (block.items, block.end);
            }
            let before = (element - self.next).min(self.left);
            if before == self.left {
                let block = Block { items: self.left, end: self.end };
                skip_block(&program.schema, self.item, block, &mut bytes)?;
            } else {
                skip_items(&program.schema, self.item, before, &mut bytes)?;
            }
            self.next += before;
            self.left -= before;
            if 0 < self.left {
                break;
            }
        }
        slots.clear();
        Walker { program, trie, slots, payload }.run(self.op, &mut bytes)?;
        self.next += 1;
        self.left -= 1;
        self.at = bytes.at();
        if self.end.is_some_and(|end| end < self.at) {
            return Err(bytes.malformed(Problem::Block));
        }
        if self.left == 0 {
            bytes.end_block(self.end)?;
            self.end = None;
        }
        Ok(())
    }
}

/// Reads the message's value, from `at` to its end, and returns its kind.
pub(super) fn walk(
    program: &AvroProgram,
    trie: &Trie,
    payload: &[u8],
    at: usize,
    slots: &mut Slots,
) -> Result<Kind, Malformed> {
    slots.clear();
    let mut bytes = Bytes::new(payload, at);
    let kind = Walker { program, trie, slots, payload }.run(program.root, &mut bytes)?;
    bytes.end()?;
    Ok(kind)
}

struct Walker<'a> {
    program: &'a AvroProgram,
    trie: &'a Trie,
    slots: &'a mut Slots,
    payload: &'a [u8],
}

impl Walker<'_> {
    fn run(&mut self, op: usize, bytes: &mut Bytes<'_>) -> Result<Kind, Malformed> {
        let program = self.program;
        match program.op(op) {
            Op::Null => Ok(Kind::Null),
            Op::Scalar { want, scalar, plain } => {
                let value = read(scalar, bytes)?;
                let kind = scalar.kind();
                if let Some(slot) = plain {
                    self.slots.found[*slot] = value;
                    return Ok(kind);
                }
                self.leave(*want, value);
                self.block(*want, kind);
                Ok(kind)
            }
            Op::Union { branches } => {
                let branch = bytes.index(branches.len(), Problem::Branch)?;
                self.run(branches[branch], bytes)
            }
            Op::Record { want, record, fields } => {
                self.leave(*want, Value::Other(Kind::Record));
                self.block(*want, Kind::Record);
                self.fields(*record, fields, bytes)?;
                Ok(Kind::Record)
            }
            Op::Map { want, value, entries } => {
                self.leave(*want, Value::Other(Kind::Record));
                self.block(*want, Kind::Record);
                while let Some(block) = bytes.block()? {
                    self.entries(*want, *value, entries, block, bytes)?;
                }
                Ok(Kind::Record)
            }
            Op::Array { want, item, elements, list } => {
                self.leave(*want, Value::Other(Kind::Array));
                self.block(*want, Kind::Array);
                self.array(*item, elements, *list, bytes)?;
                Ok(Kind::Array)
            }
        }
    }

    fn fields(
        &mut self,
        record: usize,
        wanted: &[FieldOp],
        bytes: &mut Bytes<'_>,
    ) -> Result<(), Malformed> {
        let program = self.program;
        let fields = program.fields(record);
        let mut done = 0;
        for FieldOp { field, op } in wanted {
            skip_fields(&program.schema, &fields[done..*field], bytes)?;
            done = field + 1;
            self.field(*op, bytes)?;
        }
        skip_fields(&program.schema, &fields[done..], bytes)
    }

    /// Reads a wanted field. Values of the commonest types go from the bytes to their slots, and
    /// nowhere else in between.
    #[inline]
    fn field(&mut self, op: usize, bytes: &mut Bytes<'_>) -> Result<(), Malformed> {
        let Op::Scalar { scalar, plain: Some(slot), .. } = self.program.op(op) else {
            return self.run(op, bytes).map(|_| ());
        };
        match scalar {
            Scalar::Double => {
                let value = f64::from_le_bytes(bytes.array()?);
                self.slots.found[*slot] = Value::Number(Number::Double(value));
            }
            Scalar::Float => {
                let value = f32::from_le_bytes(bytes.array()?);
                self.slots.found[*slot] = Value::Number(Number::Float(value));
            }
            Scalar::Long(meaning) => {
                let value = bytes.long()?;
                self.slots.found[*slot] = Value::Number(Number::Whole(value, *meaning));
            }
            Scalar::Text => {
                let Range { start, end } = bytes.counted()?;
                self.slots.found[*slot] = Value::Text(Text::Payload { start, end });
            }
            Scalar::Boolean
            | Scalar::Int(_)
            | Scalar::Bytes(_)
            | Scalar::Fixed(..)
            | Scalar::Enum(_) => {
                self.run(op, bytes)?;
            }
        }
        Ok(())
    }

    /// Leaves a value where a path ends.
    fn leave(&mut self, want: usize, value: Value) {
        if let Some(slot) = self.trie.node(want).slot {
            self.slots.found[slot] = value;
        }
    }

    /// Says of paths into a value of another kind that they find this one.
    fn block(&mut self, want: usize, found: Kind) {
        let node = self.trie.node(want);
        if found != Kind::Record && !node.key_slots.is_empty() {
            let blocked = Value::Blocked { want, expected: Kind::Record, found };
            self.slots.found[node.key_slots.clone()].fill(blocked);
        }
        if found != Kind::Array && !node.element_slots.is_empty() {
            let blocked = Value::Blocked { want, expected: Kind::Array, found };
            self.slots.found[node.element_slots.clone()].fill(blocked);
        }
    }

    /// Reads the entries of a block of a map. Of repeated keys the last counts.
    fn entries(
        &mut self,
        want: usize,
        value: usize,
        entries: &BTreeMap<Box<str>, usize>,
        block: Block,
        bytes: &mut Bytes<'_>,
    ) -> Result<(), Malformed> {
        if let (Some(end), true) = (block.end, entries.is_empty()) {
            return bytes.go_to(end);
        }
        for _ in 0..block.items {
            let key = bytes.counted()?;
            // A key that is not UTF-8 is none that a path names.
            let key = std::str::from_utf8(&self.payload[key]).ok();
            let Some((key, op)) = key.and_then(|key| entries.get_key_value(key)) else {
                skip(&self.program.schema, value, bytes)?;
                continue;
            };
            let node = self.trie.node(want);
            let (_, child) = node.child(key, 0).expect("an entry is one of the wanted keys");
            let child = self.trie.node(child);
            if let Some(slot) = child.slot {
                self.slots.found[slot] = Value::Absent;
            }
            self.slots.found[child.inside()].fill(Value::Absent);
            self.run(*op, bytes)?;
        }
        bytes.end_block(block.end)
    }

    /// Reads the elements that are wanted by their place, and counts them where all are.
    fn array(
        &mut self,
        item: usize,
        elements: &[(usize, usize)],
        list: Option<ListOp>,
        bytes: &mut Bytes<'_>,
    ) -> Result<(), Malformed> {
        let schema = &self.program.schema;
        let start = bytes.at();
        let mut wanted = elements.iter().peekable();
        let mut count: usize = 0;
        while let Some(block) = bytes.block()? {
            let Block { items, end } = block;
            let mut left = items;
            let end_count = count.saturating_add(items);
            while let Some((index, op)) = wanted.next_if(|(index, _)| *index < end_count) {
                let before = index - count;
                skip_items(schema, item, before, bytes)?;
                self.run(*op, bytes)?;
                count += before + 1;
                left -= before + 1;
            }
            if left == 0 {
                bytes.end_block(end)?;
            } else {
                skip_block(schema, item, Block { items: left, end }, bytes)?;
            }
            count = end_count;
        }
        if let Some(ListOp { list, op }) = list {
            let slot = self.trie.lists()[list].slot;
            self.slots.found[slot] = Value::List;
            self.slots.lists[list] =
                Cursor { count, item, op, next: 0, at: start, left: 0, end: None };
        }
        Ok(())
    }
}

fn read(scalar: &Scalar, bytes: &mut Bytes<'_>) -> Result<Value, Malformed> {
    Ok(match scalar {
        Scalar::Boolean => Value::Boolean(bytes.boolean()?),
        Scalar::Int(meaning) => Value::Number(Number::Whole(bytes.int()?.into(), *meaning)),
        Scalar::Long(meaning) => Value::Number(Number::Whole(bytes.long()?, *meaning)),
        Scalar::Float => Value::Number(Number::Float(f32::from_le_bytes(bytes.array()?))),
        Scalar::Double => Value::Number(Number::Double(f64::from_le_bytes(bytes.array()?))),
        Scalar::Text => {
            let Range { start, end } = bytes.counted()?;
            Value::Text(Text::Payload { start, end })
        }
        Scalar::Bytes(meaning) => meant(bytes.counted()?, *meaning),
        Scalar::Fixed(size, meaning) => meant(bytes.take(*size)?, *meaning),
        Scalar::Enum(symbols) => {
            let symbol = bytes.index(symbols.len(), Problem::Symbol)?;
            let Range { start, end } = symbols[symbol];
            Value::Text(Text::Symbol { start, end })
        }
    })
}

fn meant(place: Range<usize>, meaning: BytesMeaning) -> Value {
    let Range { start, end } = place;
    match meaning {
        BytesMeaning::Bytes => Value::Other(Kind::Bytes),
        BytesMeaning::Decimal { scale } => Value::Number(Number::Decimal { start, end, scale }),
        BytesMeaning::Uuid => Value::Text(Text::Uuid { start }),
    }
}
