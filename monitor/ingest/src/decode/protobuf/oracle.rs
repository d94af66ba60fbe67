//! The decoder against another reader of Protobuf and the decoder of JSON: a message is rows, or
//! refused for a reason, as the same record in JSON.
//!
//! Types, paths and bytes are drawn; `prost-reflect` reads what was drawn.

use std::sync::Arc;

use driftd_fixtures::trials::cases;
use proptest::prelude::*;
use proptest::sample::Index;
use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor};

use super::samples::{Messages, ODD_FLOAT, Types, json};
use super::{ProtobufDecoder, ProtobufFraming, ProtobufProgram, ProtobufSchema, SchemaId};
use crate::decode::draw::{LIMITS, Outcome, Rest, Tape, decoded_json, draw_source, outcome, tape};
use crate::decode::{Decode, Message};
use crate::rejection::RejectReason;
use crate::schema::SourceSchema;

/// A source and a writer that may meet.
struct Case {
    source: Arc<SourceSchema>,
    schema: ProtobufSchema,
    writer: MessageDescriptor,
}

impl Case {
    /// Draws one; `None` for paths that no source may have.
    fn draw(tape: &mut Tape<'_>) -> Option<Self> {
        let (source, paths) = draw_source(tape)?;
        let rests: Vec<Rest<'_>> = paths.iter().map(|(path, leaf)| (path.steps(), *leaf)).collect();
        let file = Types::file(tape, &rests);
        let mut pool = DescriptorPool::global();
        pool.add_file_descriptor_proto(file).unwrap();
        let schema = ProtobufSchema::parse(&pool.encode_to_vec()).unwrap();
        let writer = pool.get_message_by_name("R").unwrap();
        Some(Self { source: Arc::new(source), schema, writer })
    }

    /// Draws bytes of a message; no payload is without any.
    fn payload(&self, tape: &mut Tape<'_>) -> Vec<u8> {
        let length = tape.below(4);
        Messages { tape, length }.draw(&self.writer, 0)
    }

    fn decode(&self, payload: &[u8]) -> Outcome {
        let message = self.schema.message("R").unwrap();
        let program = ProtobufProgram::compile(&self.source, &self.schema, message).unwrap();
        let source = Arc::clone(&self.source);
        let mut decoder = ProtobufDecoder::new(source, ProtobufFraming::Bare, LIMITS);
        decoder.learn(SchemaId::ONLY, program);
        decoder.decode(&Message {
            payload: Some(payload),
            offset: 0,
            timestamp: None,
            envelope: &[],
        });
        outcome(decoder.finish())
    }

    fn json(&self, message: &DynamicMessage) -> Outcome {
        decoded_json(&self.source, &json(message))
    }
}

proptest! {
    #![proptest_config(cases(1500))]

    #[test]
    fn messages_decode_as_the_same_records_in_json(bytes in tape()) {
        let mut tape = Tape::new(&bytes.0);
        let Some(case) = Case::draw(&mut tape) else { return Ok(()) };
        let payload = case.payload(&mut tape);
        prop_assume!(!payload.is_empty());
        let message = DynamicMessage::decode(case.writer.clone(), &payload[..]).unwrap();
        let (found, expected) = (case.decode(&payload), case.json(&message));
        prop_assert_eq!(
            found, expected, "{:?}\n{}\n{:?}", payload, json(&message), case.source
        );
    }

    /// What was passed over may be anything of the right length, and a known field in another form
    /// is passed over too, so a message that the other reader refuses may decode.
    #[test]
    fn bytes_that_changed_never_panic_and_decode_as_what_they_became(
        bytes in tape(),
        changes in prop::collection::vec((any::<Index>(), any::<Index>(), 0..5, any::<u8>()), 1..4),
    ) {
        let mut tape = Tape::new(&bytes.0);
        let Some(case) = Case::draw(&mut tape) else { return Ok(()) };
        let mut payload = case.payload(&mut tape);
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
        let found = case.decode(&payload);
        if let Ok(message) = DynamicMessage::decode(case.writer.clone(), &payload[..]) {
            let record = json(&message).to_string();
            prop_assume!(!record.contains(ODD_FLOAT));
            prop_assert_eq!(found, case.json(&message), "{:?}\n{}", payload, record);
        }
    }

    /// A schema's bytes are read to the end or refused.
    #[test]
    fn descriptors_that_changed_never_panic(
        bytes in tape(),
        changes in prop::collection::vec((any::<Index>(), any::<u8>()), 1..6),
    ) {
        let mut tape = Tape::new(&bytes.0);
        let Some((source, paths)) = draw_source(&mut tape) else { return Ok(()) };
        let rests: Vec<Rest<'_>> = paths.iter().map(|(path, leaf)| (path.steps(), *leaf)).collect();
        let file = Types::file(&mut tape, &rests);
        let mut pool = DescriptorPool::new();
        let mut file = file;
        file.dependency.clear();
        if pool.add_file_descriptor_proto(file).is_err() {
            return Ok(());
        }
        let mut descriptors = pool.encode_to_vec();
        for (at, byte) in changes {
            let at = at.index(descriptors.len());
            descriptors[at] = byte;
        }
        let Ok(schema) = ProtobufSchema::parse(&descriptors) else { return Ok(()) };
        for name in ["R", "R.N1", "N2"] {
            let Some(message) = schema.message(name) else { continue };
            let program = ProtobufProgram::compile(&source, &schema, message).unwrap();
            let source = Arc::new(source.clone());
            let mut decoder = ProtobufDecoder::new(source, ProtobufFraming::Bare, LIMITS);
            decoder.learn(SchemaId::ONLY, program);
            let payload = Some(&*bytes.0);
            decoder.decode(&Message { payload, offset: 0, timestamp: None, envelope: &[] });
        }
    }
}

#[test]
fn drawn_messages_are_mostly_accepted() {
    let mut state = 1_u64;
    let (mut accepted, mut all) = (0, 0);
    for _ in 0..400 {
        let bytes: Vec<u8> = (0..900)
            .map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                state.to_be_bytes()[1]
            })
            .collect();
        let mut tape = Tape::new(&bytes);
        let Some(case) = Case::draw(&mut tape) else { continue };
        let payload = case.payload(&mut tape);
        if payload.is_empty() {
            continue;
        }
        let (.., reasons) = case.decode(&payload);
        assert!(!reasons.contains(&RejectReason::InvalidProtobuf), "{payload:?}");
        all += 1;
        accepted += usize::from(reasons.is_empty());
    }
    assert!(100 < all && all < 4 * accepted, "{accepted} of {all}");
}
