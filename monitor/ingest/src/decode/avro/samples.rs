//! Draws schemas and values for the tests.
//!
//! Before: [`super::oracle`].

#![expect(clippy::wildcard_enum_match_arm, reason = "the crate has types that are never drawn")]

use std::collections::BTreeMap;

use apache_avro::Schema;
use apache_avro::types::Value;
use serde_json::{Value as Json, json};

use crate::decode::draw::{KEYS, Leaf, Rest, Tape, double, text, under_key, under_place};
use crate::path::Step;

/// Draws types, and numbers those that need a name.
#[derive(Default)]
pub(super) struct Schemas {
    names: usize,
}

impl Schemas {
    fn name(&mut self) -> String {
        self.names += 1;
        format!("N{}", self.names)
    }

    /// Draws a type that most of the paths lead through.
    pub(super) fn draw(&mut self, tape: &mut Tape<'_>, rests: &[Rest<'_>]) -> Json {
        let plain = self.plain(tape, rests);
        match tape.below(10) {
            _ if plain == "null" => plain,
            6 => json!(["null", plain]),
            7 => json!([plain, "null"]),
            8 if plain["type"] == "array" => json!([plain, "null", "boolean"]),
            8 if plain["type"] == "record" => json!([plain, self.record(tape, rests)]),
            _ => plain,
        }
    }

    fn plain(&mut self, tape: &mut Tape<'_>, rests: &[Rest<'_>]) -> Json {
        if tape.once_in(80) {
            return json!(tape.one_of(&["int", "string", "boolean", "null"]));
        }
        let longest = rests.iter().max_by_key(|(steps, _)| steps.len());
        let Some((steps, leaf)) = longest else { return self.ignored(tape, 0) };
        match steps.first() {
            None => self.leaf(tape, *leaf),
            Some(Step::Key(_)) if tape.once_in(4) => {
                let below: Vec<_> = rests.iter().filter_map(|rest| under_key(rest, None)).collect();
                json!({"type": "map", "values": self.draw(tape, &below)})
            }
            Some(Step::Key(_)) => self.record(tape, rests),
            Some(Step::Index(_) | Step::Where { .. } | Step::Each) => {
                let below: Vec<_> = rests.iter().filter_map(under_place).collect();
                json!({"type": "array", "items": self.draw(tape, &below)})
            }
        }
    }

    /// Draws a record with most of the wanted fields, in any order, and others between them.
    fn record(&mut self, tape: &mut Tape<'_>, rests: &[Rest<'_>]) -> Json {
        let name = self.name();
        let mut fields = Vec::new();
        for key in KEYS {
            let below: Vec<_> =
                rests.iter().filter_map(|rest| under_key(rest, Some(key))).collect();
            if below.is_empty() || tape.once_in(80) {
                continue;
            }
            if tape.once_in(4) {
                let ignored = format!("z{key}");
                fields.push(json!({"name": ignored, "type": self.ignored(tape, 0)}));
            }
            fields.push(json!({"name": key, "type": self.draw(tape, &below)}));
        }
        if tape.once_in(3) {
            fields.push(json!({"name": "zz", "type": self.ignored(tape, 0)}));
        }
        if !fields.is_empty() {
            let turn = tape.below(fields.len());
            fields.rotate_left(turn);
        }
        json!({"type": "record", "name": name, "fields": fields})
    }

    fn leaf(&mut self, tape: &mut Tape<'_>, leaf: Leaf) -> Json {
        match leaf {
            Leaf::Number => json!(tape.one_of(&["double", "float", "int", "long", "double"])),
            Leaf::Whole => json!(tape.one_of(&["int", "long", "double"])),
            Leaf::Boolean => json!("boolean"),
            Leaf::Time => json!(tape.one_of(&["long", "int", "double"])),
            Leaf::Model => match tape.below(8) {
                7 => json!("string"),
                6 => self.enumeration(&["first", "second", "other"]),
                _ => self.enumeration(&["first", "second"]),
            },
            Leaf::Text | Leaf::Version => match tape.below(8) {
                5 => json!(tape.one_of(&["int", "double", "float", "boolean"])),
                6 | 7 => self.enumeration(&["x", "y", "long_symbol"]),
                _ => json!("string"),
            },
        }
    }

    fn enumeration(&mut self, symbols: &[&str]) -> Json {
        json!({"type": "enum", "name": self.name(), "symbols": symbols})
    }

    /// Draws a type that no path asks for.
    fn ignored(&mut self, tape: &mut Tape<'_>, depth: usize) -> Json {
        let name = self.name();
        match tape.below(if depth < 3 { 14 } else { 8 }) {
            0 => json!("string"),
            1 => json!("double"),
            2 => json!("bytes"),
            3 => json!({"type": "fixed", "name": name, "size": tape.below(5)}),
            4 => json!("long"),
            5 => self.enumeration(&["p", "q"]),
            6 => json!("boolean"),
            7 => json!("null"),
            8 => json!({"type": "array", "items": self.ignored(tape, depth + 1)}),
            9 => json!({"type": "map", "values": self.ignored(tape, depth + 1)}),
            10 => json!(["null", self.record(tape, &[])]),
            11 => json!({"type": "long", "logicalType": "timestamp-micros"}),
            12 => json!({"type": "record", "name": name, "fields": [
                {"name": "v", "type": self.ignored(tape, depth + 1)},
                {"name": "w", "type": "float"},
            ]}),
            _ => json!({"type": "record", "name": name, "fields": [
                {"name": "v", "type": "int"},
                {"name": "next", "type": ["null", name]},
            ]}),
        }
    }
}

/// Draws values of a schema.
pub(super) struct Values<'s> {
    named: BTreeMap<String, &'s Schema>,
    /// How long most lists are: of one length, so that rows are found.
    length: usize,
}

impl<'s> Values<'s> {
    pub(super) fn new(schema: &'s Schema, length: usize) -> Self {
        let mut named = BTreeMap::new();
        collect_named(schema, &mut named);
        Self { named, length }
    }

    pub(super) fn draw(&self, tape: &mut Tape<'_>, schema: &'s Schema, depth: usize) -> Value {
        match schema {
            Schema::Null => Value::Null,
            Schema::Boolean => Value::Boolean(tape.once_in(2)),
            Schema::Int => Value::Int(match tape.below(24) {
                0..23 => i32::try_from(tape.below(200)).unwrap() - 50,
                _ => i32::try_from(tape.long() >> 32).unwrap(),
            }),
            Schema::Long => Value::Long(match tape.below(24) {
                0..23 => i64::try_from(tape.below(200)).unwrap() - 50,
                _ => tape.long(),
            }),
            Schema::TimestampMicros => Value::TimestampMicros(tape.long()),
            // With few digits, so that it has the same ones as a double.
            Schema::Float => {
                Value::Float(f32::from(u16::try_from(tape.below(250)).unwrap()) / 8.0 - 3.0)
            }
            Schema::Double => Value::Double(double(tape)),
            Schema::Bytes => Value::Bytes(vec![0xff; tape.below(4)]),
            Schema::String => Value::String(text(tape)),
            Schema::Fixed(fixed) => Value::Fixed(fixed.size, vec![0x80; fixed.size]),
            Schema::Enum(it) => {
                let index = tape.below(16 * it.symbols.len()) / 16;
                Value::Enum(u32::try_from(index).unwrap(), it.symbols[index].clone())
            }
            Schema::Array(it) => Value::Array(
                (0..self.items(tape)).map(|_| self.draw(tape, &it.items, depth + 1)).collect(),
            ),
            Schema::Map(it) => Value::Map(
                (0..2 + self.items(tape))
                    .map(|_| {
                        let key = tape.one_of(&KEYS).to_owned();
                        (key, self.draw(tape, &it.types, depth + 1))
                    })
                    .collect(),
            ),
            Schema::Union(it) => {
                let count = it.variants().len();
                // A value is more likely than null, and a list of records ends.
                let mut branch = tape.below(count);
                if it.variants()[branch] == Schema::Null && !tape.once_in(4) {
                    branch = (branch + 1) % count;
                }
                if 6 < depth {
                    branch = it.variants().iter().position(|it| *it == Schema::Null).unwrap_or(0);
                }
                let value = self.draw(tape, &it.variants()[branch], depth + 1);
                Value::Union(u32::try_from(branch).unwrap(), Box::new(value))
            }
            Schema::Record(it) => {
                let field = |field: &'s apache_avro::schema::RecordField| {
                    (field.name.clone(), self.draw(tape, &field.schema, depth + 1))
                };
                Value::Record(it.fields.iter().map(field).collect())
            }
            Schema::Ref { name } => self.draw(tape, self.named[&name.to_string()], depth + 1),
            _ => panic!("no such type is drawn: {schema:?}"),
        }
    }

    fn items(&self, tape: &mut Tape<'_>) -> usize {
        match tape.below(16) {
            15 => tape.below(7),
            _ => self.length,
        }
    }
}

/// Finds the types that have names.
pub(super) fn collect_named<'s>(schema: &'s Schema, named: &mut BTreeMap<String, &'s Schema>) {
    if let Some(name) = schema.name() {
        if matches!(schema, Schema::Ref { .. }) {
            return;
        }
        named.insert(name.to_string(), schema);
    }
    match schema {
        Schema::Array(it) => collect_named(&it.items, named),
        Schema::Map(it) => collect_named(&it.types, named),
        Schema::Union(it) => it.variants().iter().for_each(|it| collect_named(it, named)),
        Schema::Record(it) => it.fields.iter().for_each(|it| collect_named(&it.schema, named)),
        _ => {}
    }
}
