//! The parsing canonical form of a schema, and its fingerprint.
//!
//! Before: [`super::schema`]. After: messages in single object encoding name their schema by it.

use std::collections::BTreeSet;

use super::schema::{AvroSchema, Shape};

/// The fingerprint of no bytes, and the polynomial of the sum.
const EMPTY: u64 = 0xc15d_213a_a4d7_a795;

/// Returns the CRC-64-AVRO sum.
pub(super) fn fingerprint(bytes: &[u8]) -> u64 {
    bytes.iter().fold(EMPTY, |sum, byte| {
        let mut low = (sum ^ u64::from(*byte)) & 0xff;
        for _ in 0..8 {
            low = (low >> 1) ^ (EMPTY & (low & 1).wrapping_neg());
        }
        (sum >> 8) ^ low
    })
}

/// Writes the schema with full names, without what readers do not need, and without white space.
pub(super) fn text(schema: &AvroSchema) -> String {
    let mut writer = Writer { schema, text: String::new(), defined: BTreeSet::new() };
    writer.node(schema.root);
    writer.text
}

struct Writer<'a> {
    schema: &'a AvroSchema,
    text: String,
    /// Named types that are written: from then on their name stands for them.
    defined: BTreeSet<usize>,
}

impl Writer<'_> {
    fn node(&mut self, node: usize) {
        match self.schema.shape(node) {
            Shape::Null => self.quoted("null"),
            Shape::Boolean => self.quoted("boolean"),
            Shape::Int(_) => self.quoted("int"),
            Shape::Long(_) => self.quoted("long"),
            Shape::Float => self.quoted("float"),
            Shape::Double => self.quoted("double"),
            Shape::Bytes(_) => self.quoted("bytes"),
            Shape::String => self.quoted("string"),
            Shape::Array(inner) => self.inside(r#"{"type":"array","items":"#, *inner),
            Shape::Map(inner) => self.inside(r#"{"type":"map","values":"#, *inner),
            Shape::Union(branches) => {
                self.list(branches, |writer, branch| writer.node(*branch));
            }
            Shape::Fixed { name, size, meaning: _ } => {
                if self.begin(node, name, "fixed") {
                    self.text.extend([r#","size":"#, &size.to_string(), "}"]);
                }
            }
            Shape::Enum { name, symbols } => {
                if self.begin(node, name, "enum") {
                    self.text.push_str(r#","symbols":"#);
                    self.list(symbols, |writer, symbol| writer.quoted(symbol));
                    self.text.push('}');
                }
            }
            Shape::Record { name, fields } => {
                if self.begin(node, name, "record") {
                    self.text.push_str(r#","fields":"#);
                    self.list(fields, |writer, (name, field)| {
                        writer.text.push_str(r#"{"name":"#);
                        writer.quoted(name);
                        writer.text.push_str(r#","type":"#);
                        writer.node(*field);
                        writer.text.push('}');
                    });
                    self.text.push('}');
                }
            }
        }
    }

    fn inside(&mut self, before: &str, inner: usize) {
        self.text.push_str(before);
        self.node(inner);
        self.text.push('}');
    }

    fn list<T>(&mut self, items: &[T], mut write: impl FnMut(&mut Self, &T)) {
        self.text.push('[');
        for (index, item) in items.iter().enumerate() {
            self.text.push_str(if index == 0 { "" } else { "," });
            write(self, item);
        }
        self.text.push(']');
    }

    /// Begins a named type where it is met first, and else writes its name.
    fn begin(&mut self, node: usize, name: &str, kind: &str) -> bool {
        if !self.defined.insert(node) {
            self.quoted(name);
            return false;
        }
        self.text.push_str(r#"{"name":"#);
        self.quoted(name);
        self.text.push_str(r#","type":"#);
        self.quoted(kind);
        true
    }

    fn quoted(&mut self, text: &str) {
        self.text.push_str(&serde_json::Value::from(text).to_string());
    }
}
