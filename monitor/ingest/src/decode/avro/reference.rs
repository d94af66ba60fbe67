//! Reads and writes Avro slowly and obviously, for the tests: by the schema of the crate that the
//! decoder is compared with, but strictly where that crate takes the end of the bytes for null.
//!
//! Before: [`super::oracle`]. The reader is itself compared with the crate's on good messages.

#![expect(clippy::wildcard_enum_match_arm, reason = "the crate has types that are never drawn")]

use std::collections::BTreeMap;

use apache_avro::Schema;
use apache_avro::types::Value;
use serde_json::{Map, Value as Json};

use super::samples::collect_named;
use crate::decode::draw::{Tape, json_number};

/// Reads the bytes from front to back.
pub(super) struct Reader<'a> {
    named: BTreeMap<String, &'a Schema>,
    rest: &'a [u8],
    /// Whether a block said how many bytes it has.
    has_size: bool,
}

impl<'a> Reader<'a> {
    fn new(schema: &'a Schema, bytes: &'a [u8]) -> Self {
        let mut named = BTreeMap::new();
        collect_named(schema, &mut named);
        Self { named, rest: bytes, has_size: false }
    }

    /// Returns the value; `None` when the bytes are not exactly one of the schema.
    pub(super) fn read(schema: &'a Schema, bytes: &'a [u8]) -> Option<Value> {
        let mut reader = Self::new(schema, bytes);
        let value = reader.value(schema)?;
        reader.rest.is_empty().then_some(value)
    }

    /// Whether reading comes to a block that says how many bytes it has.
    pub(super) fn meets_size(schema: &'a Schema, bytes: &'a [u8]) -> bool {
        let mut reader = Self::new(schema, bytes);
        let _: Option<Value> = reader.value(schema);
        reader.has_size
    }

    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(count)?;
        self.rest = rest;
        Some(taken)
    }

    fn long(&mut self) -> Option<i64> {
        let mut bits = 0;
        for place in 0..10 {
            let byte = self.take(1)?[0];
            bits |= u64::from(byte & 0x7f) << (7 * place);
            if byte & 0x80 == 0 {
                let half = (bits / 2).cast_signed();
                return Some(if bits % 2 == 0 { half } else { -1 - half });
            }
        }
        None
    }

    fn int(&mut self) -> Option<i32> {
        i32::try_from(self.long()?).ok()
    }

    fn counted(&mut self) -> Option<&'a [u8]> {
        let count = usize::try_from(self.long()?).ok()?;
        self.take(count)
    }

    fn text(&mut self) -> Option<String> {
        String::from_utf8(self.counted()?.to_vec()).ok()
    }

    /// Reads all blocks by reading each of their items.
    fn items<T>(&mut self, mut item: impl FnMut(&mut Self) -> Option<T>) -> Option<Vec<T>> {
        let mut items = Vec::new();
        loop {
            let count = self.long()?;
            if count == 0 {
                return Some(items);
            }
            self.has_size |= count < 0;
            let bytes = if count < 0 { Some(usize::try_from(self.long()?).ok()?) } else { None };
            let before = self.rest.len();
            for _ in 0..count.unsigned_abs() {
                // Items without bytes, however many: the decoder does not count them one by one.
                if 100_000 < items.len() {
                    return None;
                }
                items.push(item(self)?);
            }
            if bytes.is_some_and(|bytes| bytes != before - self.rest.len()) {
                return None;
            }
        }
    }

    fn value(&mut self, schema: &'a Schema) -> Option<Value> {
        Some(match schema {
            Schema::Null => Value::Null,
            Schema::Boolean => match self.take(1)? {
                [0] => Value::Boolean(false),
                [1] => Value::Boolean(true),
                _ => return None,
            },
            Schema::Int => Value::Int(self.int()?),
            Schema::Long => Value::Long(self.long()?),
            Schema::TimestampMicros => Value::TimestampMicros(self.long()?),
            Schema::Float => Value::Float(f32::from_le_bytes(self.take(4)?.try_into().unwrap())),
            Schema::Double => Value::Double(f64::from_le_bytes(self.take(8)?.try_into().unwrap())),
            Schema::Bytes => Value::Bytes(self.counted()?.to_vec()),
            Schema::String => Value::String(self.text()?),
            Schema::Fixed(fixed) => Value::Fixed(fixed.size, self.take(fixed.size)?.to_vec()),
            Schema::Enum(it) => {
                let index = u32::try_from(self.int()?).ok()?;
                Value::Enum(index, it.symbols.get(index as usize)?.clone())
            }
            Schema::Array(it) => Value::Array(self.items(|reader| reader.value(&it.items))?),
            Schema::Map(it) => {
                let entry = |reader: &mut Self| Some((reader.text()?, reader.value(&it.types)?));
                Value::Map(self.items(entry)?.into_iter().collect())
            }
            Schema::Union(it) => {
                let branch = u32::try_from(self.long()?).ok()?;
                let value = self.value(it.variants().get(branch as usize)?)?;
                Value::Union(branch, Box::new(value))
            }
            Schema::Record(it) => {
                let mut fields = Vec::new();
                for field in &it.fields {
                    fields.push((field.name.clone(), self.value(&field.schema)?));
                }
                Value::Record(fields)
            }
            Schema::Ref { name } => self.value(self.named[&name.to_string()])?,
            _ => panic!("no such type is drawn: {schema:?}"),
        })
    }
}

/// Writes a value as other writers may: lists in several blocks, with and without their lengths,
/// and entries of maps that a later one replaces.
pub(super) fn write(tape: &mut Tape<'_>, value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Null => {}
        Value::Boolean(value) => out.push(u8::from(*value)),
        Value::Int(value) => long((*value).into(), out),
        Value::Long(value) | Value::TimestampMicros(value) => long(*value, out),
        Value::Float(value) => out.extend(value.to_le_bytes()),
        Value::Double(value) => out.extend(value.to_le_bytes()),
        Value::Bytes(bytes) => counted(bytes, out),
        Value::String(text) => counted(text.as_bytes(), out),
        Value::Fixed(_, bytes) => out.extend(bytes),
        Value::Enum(index, _) => long((*index).into(), out),
        Value::Union(branch, value) => {
            long((*branch).into(), out);
            write(tape, value, out);
        }
        Value::Record(fields) => fields.iter().for_each(|(_, value)| write(tape, value, out)),
        Value::Array(items) => {
            let items: Vec<_> = items.iter().map(|item| written(tape, item)).collect();
            blocks(tape, &items, out);
        }
        Value::Map(entries) => {
            let mut items = Vec::new();
            let mut keys: Vec<_> = entries.keys().collect();
            keys.sort_unstable();
            for key in &keys {
                // Another key's value first, which the own one replaces.
                let other = tape.one_of(&keys);
                for value in tape.once_in(4).then_some(other).into_iter().chain([*key]) {
                    let mut item = Vec::new();
                    counted(key.as_bytes(), &mut item);
                    write(tape, &entries[value], &mut item);
                    items.push(item);
                }
            }
            blocks(tape, &items, out);
        }
        _ => panic!("no such value is drawn: {value:?}"),
    }
}

fn written(tape: &mut Tape<'_>, value: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    write(tape, value, &mut out);
    out
}

fn blocks(tape: &mut Tape<'_>, items: &[Vec<u8>], out: &mut Vec<u8>) {
    let mut rest = items;
    while !rest.is_empty() {
        let (block, after) = rest.split_at(1 + tape.below(rest.len()));
        rest = after;
        let (count, bytes) = (i64::try_from(block.len()).unwrap(), block.concat());
        if tape.once_in(2) {
            long(-count, out);
            counted(&bytes, out);
        } else {
            long(count, out);
            out.extend(bytes);
        }
    }
    long(0, out);
}

fn counted(bytes: &[u8], out: &mut Vec<u8>) {
    long(i64::try_from(bytes.len()).unwrap(), out);
    out.extend(bytes);
}

pub(super) fn long(value: i64, out: &mut Vec<u8>) {
    let mut bits = (value << 1 ^ value >> 63).cast_unsigned();
    while 0x7f < bits {
        out.push(u8::try_from(bits & 0x7f).unwrap() | 0x80);
        bits >>= 7;
    }
    out.push(u8::try_from(bits).unwrap());
}

/// Returns the value as a producer of JSON would write it.
pub(super) fn json(value: &Value) -> Json {
    match value {
        // Nobody asks for bytes.
        Value::Null | Value::Bytes(_) | Value::Fixed(..) => Json::Null,
        Value::Boolean(value) => Json::from(*value),
        Value::Int(value) => Json::from(*value),
        Value::Long(value) | Value::TimestampMicros(value) => Json::from(*value),
        Value::Float(value) => json_number((*value).into()),
        Value::Double(value) => json_number(*value),
        Value::String(text) | Value::Enum(_, text) => Json::from(text.as_str()),
        Value::Union(_, value) => json(value),
        Value::Record(fields) => {
            Json::Object(fields.iter().map(|(name, value)| (name.clone(), json(value))).collect())
        }
        Value::Map(entries) => {
            let entries = entries.iter().map(|(key, value)| (key.clone(), json(value)));
            Json::Object(entries.collect::<Map<_, _>>())
        }
        Value::Array(items) => items.iter().map(json).collect(),
        _ => panic!("no such value is drawn: {value:?}"),
    }
}
