//! How messages name their schema and type: what is read of it, and what is refused.

use std::io::Write as _;
use std::sync::Arc;

use flate2::Compression;
use flate2::write::ZlibEncoder;

use super::tests::{LIMITS, NUMBER, PROTO3, message, schema, source};
use super::*;
use crate::decode::framing::{RegistryFraming, SCHEMA_HEADER};
use crate::decode::schema_id::{MessageName, SchemaName, Uuid};
use crate::rejection::RejectReason;
use crate::schema::TimeFormat;

#[test]
fn a_registry_s_framing_names_the_schema_and_the_message() {
    let text = format!("{PROTO3} message M {{ int64 t = 1; double x = 2; }}");
    let schema = schema(&text);
    let source = source("t", TimeFormat::UnixMillis, &[NUMBER]);
    let program = ProtobufProgram::compile(&source, &schema, schema.message("M").unwrap()).unwrap();
    let id = |places: &[u64]| SchemaId::registered(258).at(places).unwrap();
    for (head, expected) in [
        (&[0][..], id(&[0])),
        (&[2, 0], id(&[0])),
        (&[2, 2], id(&[1])),
        (&[4, 2, 0], id(&[1, 0])),
        (&[4, 0xfe, 3, 0], id(&[255, 0])),
    ] {
        let payload = [&[0, 0, 0, 1, 2][..], head, &[8, 7]].concat();
        let framing = ProtobufFraming::Registry(RegistryFraming::Confluent);
        let mut decoder = ProtobufDecoder::new(Arc::clone(&source), framing, LIMITS);
        assert_eq!(decoder.missing(&message(&payload)), Some(expected.clone()));
        assert_eq!(
            decoder.decode(&message(&payload)).map(|it| it.reason),
            Some(RejectReason::UnknownSchema)
        );
        decoder.finish();
        decoder.learn(expected, Arc::clone(&program));
        assert_eq!(decoder.missing(&message(&payload)), None);
        assert_eq!(decoder.decode(&message(&payload)), None, "{head:?}");
    }
    for payload in [
        &[0, 0, 0, 1, 2][..],
        &[1, 0, 0, 1, 2, 0],
        &[0, 0, 0, 1, 2, 1, 0],
        &[0, 0, 0, 1, 2, 10, 0, 0, 0, 0, 0],
    ] {
        let framing = ProtobufFraming::Registry(RegistryFraming::Confluent);
        let mut decoder = ProtobufDecoder::new(Arc::clone(&source), framing, LIMITS);
        assert_eq!(decoder.missing(&message(payload)), None);
        let reason = decoder.decode(&message(payload)).map(|it| it.reason);
        assert_eq!(reason, Some(RejectReason::InvalidProtobuf), "{payload:?}");
    }
}

const UUID: Uuid = Uuid(0xb7b4_a7f0_9c96_4e4a_a687_fb5d_e9ef_0c63);

fn glue(compression: u8, rest: &[u8]) -> Vec<u8> {
    [&[3, compression][..], &UUID.0.to_be_bytes(), rest].concat()
}

fn deflate(value: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(value).unwrap();
    encoder.finish().unwrap()
}

fn header(rest: &[u8]) -> Vec<u8> {
    [&[1][..], &UUID.0.to_be_bytes(), rest].concat()
}

/// What each says of the type: Confluent's its place, Apicurio's its name, Glue's its number.
#[test]
fn each_framing_names_a_schema_and_a_type() {
    let text = format!(
        "{PROTO3} package shop; message Zebra {{}} message M {{ int64 t = 1; double x = 2; }}"
    );
    let schema = schema(&text);
    let source = source("t", TimeFormat::UnixMillis, &[NUMBER]);
    let source = Arc::new((*source).clone().with_header(SCHEMA_HEADER));
    let m = schema.message("shop.M").unwrap();
    let program = ProtobufProgram::compile(&source, &schema, m).unwrap();
    let uuid = 0xb7b4_a7f0_9c96_4e4a_a687_fb5d_e9ef_0c63_u128;
    let of_uuid = || SchemaId::of(SchemaName::Uuid(Uuid(uuid)));
    let fields = [8, 7];
    let glue =
        |compression: u8, rest: &[u8]| [&[3, compression][..], &uuid.to_be_bytes(), rest].concat();
    let called = MessageName::Called("M".into());
    for (framing, header, payload, id) in [
        // With another field of `Ref`, which is passed over.
        (
            RegistryFraming::Apicurio3,
            None,
            [&[0, 0, 0, 1, 2, 5, 0x0a, 1, b'M', 0x10, 1][..], &fields].concat(),
            SchemaId::registered(258).with_message(called.clone()),
        ),
        (
            RegistryFraming::Apicurio,
            None,
            [&[0, 1, 0, 0, 0, 0, 0, 0, 2, 3, 0x0a, 1, b'M'][..], &fields].concat(),
            SchemaId::registered((1 << 56) + 2).with_message(called),
        ),
        (
            RegistryFraming::Glue,
            None,
            glue(0, &[0, 8, 7]),
            of_uuid().with_message(MessageName::InOrder(0)),
        ),
        (
            RegistryFraming::Glue,
            None,
            glue(5, &deflate(&[0, 8, 7])),
            of_uuid().with_message(MessageName::InOrder(0)),
        ),
        (
            RegistryFraming::ConfluentHeader,
            Some(header(&[2, 2])),
            fields.to_vec(),
            of_uuid().at(&[1]).unwrap(),
        ),
        (
            RegistryFraming::ConfluentHeader,
            None,
            [&[0, 0, 0, 1, 2, 2, 2][..], &fields].concat(),
            SchemaId::registered(258).at(&[1]).unwrap(),
        ),
    ] {
        let envelope = [header.as_deref()];
        let payload = Some(&payload[..]);
        let message = Message { payload, offset: 0, timestamp: None, envelope: &envelope };
        let framing = ProtobufFraming::Registry(framing);
        let mut decoder = ProtobufDecoder::new(Arc::clone(&source), framing, LIMITS);
        assert_eq!(decoder.missing(&message), Some(id.clone()));
        assert_eq!(schema.message_named("test.proto", id.message()), Some(m), "{id}");
        decoder.learn(id, Arc::clone(&program));
        assert_eq!(decoder.missing(&message), None);
        assert_eq!(decoder.decode(&message), None);
        assert_eq!(decoder.finish().rows.len(), 1);
    }
}

#[test]
fn what_does_not_name_a_type_as_its_framing_has_it_is_refused() {
    let source = source("t", TimeFormat::UnixMillis, &[NUMBER]);
    let source = Arc::new((*source).clone().with_header(SCHEMA_HEADER));
    let fields = [8, 7];
    for (framing, header, payload) in [
        (RegistryFraming::Apicurio, None, vec![0, 0, 0, 1, 2, 3, 0x0a, 1, b'M']),
        (RegistryFraming::Apicurio3, None, vec![0, 0, 0, 1, 2, 9, 0x0a, 1, b'M']),
        (RegistryFraming::Apicurio3, None, vec![0, 0, 0, 1, 2, 2, 0x10, 1]),
        (RegistryFraming::Apicurio3, None, vec![0, 0, 0, 1, 2, 3, 0x0a, 1, 0xff]),
        (RegistryFraming::Glue, None, glue(0, &[])),
        (RegistryFraming::Glue, None, glue(0, &[0xff; 5])),
        (RegistryFraming::Glue, None, glue(5, &[0, 8, 7])),
        (RegistryFraming::ConfluentHeader, Some(header(&[])), fields.to_vec()),
        (RegistryFraming::ConfluentHeader, Some(header(&[1])), fields.to_vec()),
    ] {
        let envelope = [header.as_deref()];
        let payload = Some(&payload[..]);
        let message = Message { payload, offset: 0, timestamp: None, envelope: &envelope };
        let framing = ProtobufFraming::Registry(framing);
        let mut decoder = ProtobufDecoder::new(Arc::clone(&source), framing, LIMITS);
        assert_eq!(decoder.missing(&message), None);
        let reason = decoder.decode(&message).map(|it| it.reason);
        assert_eq!(reason, Some(RejectReason::InvalidProtobuf), "{framing:?} {payload:?}");
    }
}
