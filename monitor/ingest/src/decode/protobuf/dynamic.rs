//! Reads `google.protobuf.Struct`, `Value` and `ListValue`, which say only in a message what is in
//! them: by keys and places, as JSON is.
//!
//! Before: [`super::walk`] meets one. After: its values lie in the slots like others.

use std::ops::Range;

use super::program::{JsonOp, Op, Shape};
use super::walk::Walker;
use super::wire::{Form, Malformed, Wire};
use crate::decode::typed::value::{Kind, Number, Text, Value, WholeMeaning};

impl Walker<'_> {
    /// Reads one, or what more there is of it.
    pub(super) fn json(&mut self, index: usize, part: Range<usize>) -> Result<(), Malformed> {
        let program = self.program;
        let Op::Json(op) = &program.ops[index] else {
            unreachable!("the operation was seen to be one of JSON")
        };
        match op.shape {
            Shape::Object => self.object(index, op, part),
            Shape::List => self.list(index, op, part),
            Shape::Value => self.value(index, op, part),
        }
    }

    /// Of several members the last one is the value.
    fn value(&mut self, index: usize, op: &JsonOp, part: Range<usize>) -> Result<(), Malformed> {
        let mut bytes = Wire::new(self.payload, part);
        while !bytes.is_end() {
            let tag = bytes.tag()?;
            match (tag.number, tag.form) {
                (1, Form::Varint) => {
                    bytes.varint()?;
                    self.forget(index);
                }
                (2, Form::Fixed64) => {
                    let value = number(f64::from_le_bytes(bytes.array()?));
                    self.single(index, op, value);
                }
                (3, Form::Counted) => {
                    let Range { start, end } = bytes.counted()?;
                    self.single(index, op, Value::Text(Text::Payload { start, end }));
                }
                (4, Form::Varint) => {
                    let value = Value::Boolean(bytes.varint()? != 0);
                    self.single(index, op, value);
                }
                (5, Form::Counted) => {
                    let part = bytes.counted()?;
                    self.object(index, op, part)?;
                }
                (6, Form::Counted) => {
                    let part = bytes.counted()?;
                    self.list(index, op, part)?;
                }
                _ => bytes.skip(tag)?,
            }
        }
        Ok(())
    }

    /// Leaves a value without others inside.
    fn single(&mut self, index: usize, op: &JsonOp, value: Value) {
        self.forget(index);
        let kind = value.kind();
        self.be(op, value);
        self.block(op.want, kind);
    }

    /// Leaves what the value is where a path ends at it.
    fn be(&mut self, op: &JsonOp, value: Value) {
        if let Some(slot) = op.slot {
            self.slots.found[slot] = value;
        }
    }

    fn object(&mut self, index: usize, op: &JsonOp, part: Range<usize>) -> Result<(), Malformed> {
        if !self.slots.flags[op.object] {
            self.forget(index);
            self.slots.flags[op.object] = true;
            self.be(op, Value::Other(Kind::Message));
            self.block(op.want, Kind::Message);
        }
        let mut bytes = Wire::new(self.payload, part);
        while !bytes.is_end() {
            let tag = bytes.tag()?;
            if (tag.number, tag.form) == (1, Form::Counted) {
                let entry = bytes.counted()?;
                self.member(op, entry)?;
            } else {
                bytes.skip(tag)?;
            }
        }
        Ok(())
    }

    /// Reads a key and its value. Of repeated keys the last counts, with nothing of the others.
    fn member(&mut self, op: &JsonOp, part: Range<usize>) -> Result<(), Malformed> {
        let mut key = part.start..part.start;
        let mut bytes = Wire::new(self.payload, part.clone());
        while !bytes.is_end() {
            let tag = bytes.tag()?;
            if (tag.number, tag.form) == (1, Form::Counted) {
                key = bytes.counted()?;
            } else {
                bytes.skip(tag)?;
            }
        }
        let key = std::str::from_utf8(&self.payload[key]).ok();
        let found = key.and_then(|key| self.trie.node(op.want).child(key, 0));
        let Some((position, _)) = found else { return Ok(()) };
        let child = op.keys[position];
        self.forget(child);
        let mut bytes = Wire::new(self.payload, part);
        while !bytes.is_end() {
            let tag = bytes.tag()?;
            if (tag.number, tag.form) == (2, Form::Counted) {
                let value = bytes.counted()?;
                self.json(child, value)?;
            } else {
                bytes.skip(tag)?;
            }
        }
        Ok(())
    }

    fn list(&mut self, index: usize, op: &JsonOp, part: Range<usize>) -> Result<(), Malformed> {
        if !self.slots.flags[op.list] {
            self.forget(index);
            self.slots.flags[op.list] = true;
            self.be(op, Value::Other(Kind::Array));
            self.block(op.want, Kind::Array);
            if let Some(slot) = op.rows {
                self.slots.found[slot] = Value::List;
            }
        }
        let mut bytes = Wire::new(self.payload, part);
        while !bytes.is_end() {
            let tag = bytes.tag()?;
            if (tag.number, tag.form) != (1, Form::Counted) {
                bytes.skip(tag)?;
                continue;
            }
            let index = self.slots.count(op.repeated, op.rows.is_some(), bytes.at());
            let element = bytes.counted()?;
            if let Ok(found) = op.elements.binary_search_by_key(&index, |(wanted, _)| *wanted) {
                self.json(op.elements[found].1, element)?;
            }
        }
        Ok(())
    }
}

/// All numbers of JSON are doubles here: whole ones are written as such, as in JSON.
fn number(value: f64) -> Value {
    const EXACT: f64 = 9_007_199_254_740_992.0; // 2^53
    let is_whole = value.fract() == 0.0 && value.abs() < EXACT;
    Value::Number(if is_whole && (value != 0.0 || value.is_sign_positive()) {
        #[expect(clippy::cast_possible_truncation, reason = "whole and below 2^53")]
        Number::Whole(value as i64, WholeMeaning::Number)
    } else {
        Number::Double(value)
    })
}
