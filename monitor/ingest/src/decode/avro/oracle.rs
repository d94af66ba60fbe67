//! The decoder against another reader of Avro and the decoder of JSON: a message is rows, or
//! refused for a reason, as the same record in JSON.
//!
//! Schemas, values and paths are drawn; `apache-avro` writes the values, and reads what was written
//! in other ways.

use std::sync::Arc;

use apache_avro::Schema;
use apache_avro::reader::datum::GenericDatumReader;
use apache_avro::types::Value;
use apache_avro::writer::datum::GenericDatumWriter;
use driftd_fixtures::trials::cases;
use proptest::prelude::*;
use proptest::sample::Index;

use super::reference::{Reader, json, write};
use super::samples::{Schemas, Values};
use super::{AvroDecoder, AvroFraming, AvroProgram, AvroSchema, SchemaId, canonical};
use crate::decode::draw::{LIMITS, Outcome, Rest, Tape, decoded_json, draw_source, outcome, tape};
use crate::decode::{Decode, Message};
use crate::path::FieldPath;
use crate::schema::{
    FeatureField, FeatureKind, ModelSchema, SourceSchema, TimeFormat, VersionField,
};

/// A source and a writer that may meet.
struct Case {
    source: Arc<SourceSchema>,
    text: String,
    writer: Schema,
}

impl Case {
    /// Draws one; `None` for paths that no source may have.
    fn draw(tape: &mut Tape<'_>) -> Option<Self> {
        let (source, paths) = draw_source(tape)?;
        let rests: Vec<Rest<'_>> = paths.iter().map(|(path, leaf)| (path.steps(), *leaf)).collect();
        let text = Schemas::default().draw(tape, &rests).to_string();
        let writer = Schema::parse_str(&text).unwrap();
        Some(Self { source: Arc::new(source), text, writer })
    }

    fn avro(&self, payload: &[u8]) -> Outcome {
        let writer = AvroSchema::parse(&self.text, &[]).unwrap();
        let program = AvroProgram::compile(&self.source, writer).unwrap();
        let source = Arc::clone(&self.source);
        let mut decoder = AvroDecoder::new(source, AvroFraming::Bare, LIMITS);
        decoder.learn(SchemaId::ONLY, program);
        decoder.decode(&Message {
            payload: Some(payload),
            offset: 0,
            timestamp: None,
            envelope: &[],
        });
        outcome(decoder.finish())
    }

    fn json(&self, value: &Value) -> Outcome {
        decoded_json(&self.source, &json(value))
    }
}

/// Writes a value by the crate.
fn crate_written(schema: &Schema, value: &Value) -> Vec<u8> {
    let writer = GenericDatumWriter::builder(schema).build().unwrap();
    writer.write_value_to_vec(value.clone()).unwrap()
}

/// Reads a value by the crate.
fn crate_read(schema: &Schema, mut bytes: &[u8]) -> Value {
    GenericDatumReader::builder(schema).build().unwrap().read_value(&mut bytes).unwrap()
}

proptest! {
    #![proptest_config(cases(1500))]

    #[test]
    fn messages_decode_as_the_same_records_in_json(bytes in tape()) {
        let mut tape = Tape::new(&bytes.0);
        let Some(case) = Case::draw(&mut tape) else { return Ok(()) };
        let length = tape.below(4);
        let value = Values::new(&case.writer, length).draw(&mut tape, &case.writer, 0);
        let expected = case.json(&value);
        let payload = crate_written(&case.writer, &value);
        // Of no bytes: a payload of them is no message.
        prop_assume!(!payload.is_empty());
        prop_assert_eq!(&case.avro(&payload), &expected, "{}", case.text);

        // The same in other blocks. The crate and the reference read it as it was.
        let mut other = Vec::new();
        write(&mut tape, &value, &mut other);
        let read = crate_read(&case.writer, &other);
        prop_assert_eq!(json(&read), json(&value));
        let read = Reader::read(&case.writer, &other).unwrap();
        prop_assert_eq!(json(&read), json(&value));
        prop_assert_eq!(case.avro(&other), expected, "{}", case.text);
    }

    /// What was passed over may be anything of the right length, so a message that the reference
    /// refuses may decode.
    #[test]
    fn bytes_that_changed_never_panic_and_decode_as_what_they_became(
        bytes in tape(),
        changes in prop::collection::vec((any::<Index>(), any::<Index>(), 0..5, any::<u8>()), 1..4),
    ) {
        let mut tape = Tape::new(&bytes.0);
        let Some(case) = Case::draw(&mut tape) else { return Ok(()) };
        let length = tape.below(4);
        let value = Values::new(&case.writer, length).draw(&mut tape, &case.writer, 0);
        let mut payload = Vec::new();
        write(&mut tape, &value, &mut payload);
        for (from, to, kind, byte) in changes {
            let (from, to) = (from.index(payload.len() + 1), to.index(payload.len() + 1));
            match kind {
                0 => payload.truncate(from),
                1 => payload.insert(from, byte),
                2 => drop(payload.drain(from.min(to)..from.max(to))),
                _ => payload.iter_mut().skip(from).take(1).for_each(|it| *it = byte),
            }
        }
        prop_assume!(!payload.is_empty());
        let found = case.avro(&payload);
        if let Some(value) = Reader::read(&case.writer, &payload) {
            prop_assert_eq!(found, case.json(&value), "{}", case.text);
        }
    }

    #[test]
    fn bytes_of_values_that_are_all_read_are_refused_where_the_reference_does(
        values in (any::<i32>(), any::<f64>(), "[a-z]{0,3}", any::<bool>()),
        changes in prop::collection::vec((any::<Index>(), any::<u8>(), 0..3), 0..4),
    ) {
        let text = r#"{"type": "record", "name": "R", "fields": [
            {"name": "t", "type": "long"},
            {"name": "a", "type": "int"},
            {"name": "b", "type": ["null", "double"]},
            {"name": "c", "type": {"type": "array", "items": "string"}},
            {"name": "d", "type": {"type": "enum", "name": "E", "symbols": ["x", "y"]}},
            {"name": "e", "type": "boolean"}
        ]}"#;
        let features = [
            ("a", FeatureKind::Integer),
            ("b", FeatureKind::Float64),
            ("c[0]", FeatureKind::Categorical),
            ("d", FeatureKind::Categorical),
            ("e", FeatureKind::Boolean),
        ];
        let feature = |(path, kind): (&str, FeatureKind)| {
            let name = path.into();
            FeatureField { name, path: FieldPath::parse(path).unwrap(), kind }
        };
        let model = ModelSchema {
            name: "m".into(),
            version: VersionField::Fixed("1".into()),
            prediction_id: None,
            features: features.map(feature).to_vec(),
            segments: vec![],
        };
        let time = FieldPath::parse("t").unwrap();
        let source = SourceSchema::try_new(time, TimeFormat::UnixSeconds, None, vec![model]);
        let source = Arc::new(source.unwrap());
        let writer = Schema::parse_str(text).unwrap();
        let case = Case { source, text: text.to_owned(), writer };
        let (a, b, c, e) = values;
        let value = Value::Record(vec![
            ("t".into(), Value::Long(9)),
            ("a".into(), Value::Int(a)),
            ("b".into(), Value::Union(1, Box::new(Value::Double(b)))),
            ("c".into(), Value::Array(vec![Value::String(c)])),
            ("d".into(), Value::Enum(1, "y".into())),
            ("e".into(), Value::Boolean(e)),
        ]);
        let mut payload = crate_written(&case.writer, &value);
        for (at, byte, kind) in changes {
            let at = at.index(payload.len());
            match kind {
                0 => payload.truncate(at + 1),
                1 => payload.insert(at, byte),
                _ => payload[at] = byte,
            }
        }
        if let Some(value) = Reader::read(&case.writer, &payload) {
            prop_assert_eq!(case.avro(&payload), case.json(&value));
        } else {
            // Only other elements of the list may be something that is passed over.
            let (rows, .., reasons) = case.avro(&payload);
            prop_assert!(reasons.len() == 1 || rows.len() == 1 && has_more_elements(&payload));
        }
    }

    #[test]
    fn schemas_have_the_canonical_form_and_fingerprint_of_the_specification(bytes in tape()) {
        let mut tape = Tape::new(&bytes.0);
        let Some(case) = Case::draw(&mut tape) else { return Ok(()) };
        let schema = AvroSchema::parse(&case.text, &[]).unwrap();
        // The crate keeps a type that was an object for its logical type one, unlike the others.
        let logical = r#"{"type":"long","logicalType":"timestamp-micros"}"#;
        let writer = Schema::parse_str(&case.text.replace(logical, "\"long\"")).unwrap();
        prop_assert_eq!(canonical::text(&schema), writer.canonical_form());
        let expected = writer.fingerprint::<apache_avro::rabin::Rabin>();
        let expected = u64::from_le_bytes(expected.bytes[..].try_into().unwrap());
        prop_assert_eq!(schema.fingerprint(), Some(expected));
    }
}

/// Returns whether the list of the message that is read whole begins with more than one element.
fn has_more_elements(payload: &[u8]) -> bool {
    let mut bytes = super::bytes::Bytes::new(payload, 0);
    let head = bytes.long().and_then(|_| bytes.int()).and_then(|_| bytes.long());
    let list = head.and_then(|branch| bytes.take(if branch == 0 { 0 } else { 8 }));
    list.is_ok_and(|_| bytes.block().is_ok_and(|block| block.is_some_and(|it| 1 < it.items)))
}

#[test]
fn drawn_messages_are_mostly_accepted() {
    let mut state = 1_u64;
    let (mut accepted, mut all) = (0, 0);
    for _ in 0..400 {
        let bytes: Vec<u8> = (0..600)
            .map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                state.to_be_bytes()[1]
            })
            .collect();
        let mut tape = Tape::new(&bytes);
        let Some(case) = Case::draw(&mut tape) else { continue };
        let length = tape.below(4);
        let value = Values::new(&case.writer, length).draw(&mut tape, &case.writer, 0);
        let (.., reasons) = case.json(&value);
        all += 1;
        accepted += usize::from(reasons.is_empty());
    }
    assert!(100 < all && all < 4 * accepted, "{accepted} of {all}");
}
