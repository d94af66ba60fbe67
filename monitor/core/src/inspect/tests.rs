//! Proposals for messages as servers and gateways write them, and for whatever else may lie in a
//! topic.

mod any;
mod shapes;

use driftd_catalog::Timestamp;
use serde_json::{Value, json};

use super::*;

fn request(show: Show) -> Request {
    Request {
        topic: "Inference.X".to_owned(),
        brokers: vec!["kafka:9092".to_owned()],
        properties: vec![],
        show,
    }
}

fn of_bytes(payloads: Vec<Option<Vec<u8>>>) -> Vec<SampledMessage> {
    let message = |(offset, payload)| SampledMessage {
        partition: 2,
        offset,
        timestamp: Some(Timestamp::from_millis(1_795_000_000_000)),
        payload,
        ..SampledMessage::default()
    };
    (0..).zip(payloads).map(message).collect()
}

fn of_texts(payloads: &[&str]) -> Vec<SampledMessage> {
    of_bytes(payloads.iter().map(|it| Some(it.as_bytes().to_vec())).collect())
}

fn of_documents(documents: &[Value]) -> Vec<SampledMessage> {
    of_bytes(documents.iter().map(|it| Some(it.to_string().into_bytes())).collect())
}

#[track_caller]
fn proposal(messages: &[SampledMessage]) -> Proposal {
    inspect(messages, &request(Show::Values)).proposal.unwrap()
}

/// A log with one of everything.
fn nested() -> Vec<Value> {
    let message = |index: u64| {
        let country = if index.is_multiple_of(4) { "FR" } else { "DE" };
        json!({
            "prediction_id": format!("p-{index}"),
            "timestamp": "2026-11-24T10:15:00Z",
            "model": {"name": "fraud", "version": 7},
            "host": "node-1",
            "features": {
                "amount": index as f64 + 0.5,
                "items": index % 7,
                "customer_id": 1000 + index,
                "country": country,
                "premium": index.is_multiple_of(2),
                "age": if index.is_multiple_of(10) { json!(null) } else { json!(20 + index % 50) },
                "comment": format!("said {index} nice words"),
                "session": format!("s{index}"),
                "opened_at": 1_700_000_000 + index,
                "embedding": [0.1, 0.2],
                "basket": (0..index % 3).collect::<Vec<_>>(),
            },
            "prediction": {"score": index as f64 / 100.0},
            "label": index.is_multiple_of(3),
        })
    };
    (0..100).map(message).collect()
}

#[test]
fn a_nested_log_is_proposed_with_what_was_seen() {
    let expected = r#"# Proposed by `driftd inspect` from 100 messages: a guess, to be looked through.
name: "inference-x"
kafka:
  brokers: ["kafka:9092"]
sources:
  - topic: "Inference.X"
    # `latest` reads what arrives from now on.
    start: earliest
    format: json
    event_time:
      path: "timestamp" # in all 100 records
      format: rfc3339
    model: "model.name" # in all 100 records: fraud
models:
  - name: "fraud"
    source: "Inference.X"
    version_path: "model.version" # in all 100 records: 7
    prediction_id: "prediction_id" # in all 100 records
    # Made by `driftd reference build`, one a version.
    references: references/{model}/{version}.json
    window: {length: 1h}
    features:
      - {name: "amount", path: "features.amount", type: float64} # in all 100 records; 0.5 to 99.5
      - {name: "items", path: "features.items", type: integer} # in all 100 records; 0 to 6, 7 different: `categorical` if they are codes
      - {name: "country", path: "features.country", type: categorical} # in all 100 records; DE 75%, FR 25%
      - {name: "premium", path: "features.premium", type: boolean} # in all 100 records; false 50%
      - {name: "age", path: "features.age", type: integer} # in 90% of 100 records, 10 null; 21 to 69
      - {name: "embedding_0", path: "features.embedding[0]", type: float64} # in all 100 records; always 0.1
      - {name: "embedding_1", path: "features.embedding[1]", type: float64} # in all 100 records; always 0.2
      # left out: host: about the call: not what the model was given or said
      # left out: features.customer_id: named like an identifier, 100 different values
      # left out: features.comment: an identifier or free text: 100 different texts in 100
      # left out: features.session: an identifier or free text: 100 different texts in 100
      # left out: features.opened_at: a time
      # left out: label: looks like a label: what turned out, not what the model said
      # left out: features.basket: a list of 0 to 2 values
    predictions:
      - {name: "score", path: "prediction.score", type: float64} # in all 100 records; 0 to 0.99
"#;
    let proposal = proposal(&of_documents(&nested()));
    assert_eq!(proposal.yaml, expected);
    assert_eq!((proposal.trial.accepted, proposal.trial.messages), (100, 100));
}

#[test]
fn without_values_nothing_is_told_but_names_of_models() {
    let inspection = inspect(&of_documents(&nested()), &request(Show::Shapes));
    let yaml = inspection.proposal.unwrap().yaml;
    for value in ["DE", "FR", "99.5", "69", "0.99", "node-1", "true", "2026", "s1", "1700"] {
        assert!(!yaml.contains(value), "{value}: {yaml}");
    }
    for shape in ["name: \"fraud\"", "2 different", "in 90% of 100 records, 10 null"] {
        assert!(yaml.contains(shape), "{shape}: {yaml}");
    }
}

#[test]
fn numbers_are_integers_where_enough_of_them_are_written_so() {
    let kind = |written: &str, count: usize| {
        let text = format!(r#"{{"time": "2026-11-24T10:15:00Z", "x": {written}}}"#);
        let yaml = proposal(&of_texts(&vec![text.as_str(); count])).yaml;
        yaml.lines()
            .find_map(|line| Some(line.split_once("type: ")?.1.split_once('}')?.0.to_owned()))
    };
    for (written, count, expected) in
        [("7", 20, "integer"), ("7", 19, "float64"), ("7.0", 99, "float64"), ("7e0", 99, "float64")]
    {
        assert_eq!(kind(written, count).as_deref(), Some(expected), "{count} of {written}");
    }
}

#[test]
fn rare_texts_are_not_shown() {
    let names = ["Ada", "Bob", "Cem", "Dua", "Eve"].iter().cycle().take(20);
    let documents: Vec<_> = names.map(|name| json!({"time": 1, "name": name})).collect();
    let yaml = proposal(&of_documents(&documents)).yaml;
    assert!(yaml.contains("5 different") && !yaml.contains("Ada"), "{yaml}");
}

#[test]
fn messages_that_the_proposal_refuses_are_counted_with_their_reasons() {
    let mut messages = of_documents(&nested());
    messages.extend(of_bytes(vec![Some(b"{\"x\": ".to_vec()), None]));
    let inspection = inspect(&messages, &request(Show::Values));
    let seen: Vec<_> = inspection.encodings.iter().map(|it| (it.encoding, it.count)).collect();
    let expected =
        [(Encoding::JsonDocument, 100), (Encoding::BrokenJson, 1), (Encoding::Tombstone, 1)];
    assert_eq!(seen, expected);
    let trial = inspection.proposal.unwrap().trial;
    assert_eq!((trial.accepted, trial.messages), (100, 102));
    let refused: Vec<_> =
        trial.refused.iter().map(|(reason, it)| (reason.as_str(), it.offset)).collect();
    assert_eq!(refused, [("empty_payload", 1), ("invalid_json", 0)]);
}

#[test]
fn where_nothing_can_be_proposed_the_reason_is_told() {
    for (messages, reason) in [
        (of_texts(&[]), "no message was read"),
        (of_texts(&["a,b,c", "\0\0\0\0\u{7}abc"]), "no message is of a format that driftd reads"),
        (
            of_texts(&[r#"{"time": "2026-11-24T10:15:00Z", "id": "x", "what": null}"#]),
            "no field of the documents looks like a feature or a prediction",
        ),
    ] {
        assert_eq!(inspect(&messages, &request(Show::Values)).proposal, Err(reason.to_owned()));
    }
}

#[test]
fn a_log_without_a_time_says_so_and_has_that_of_kafka() {
    let proposal = proposal(&of_documents(&[json!({"features": {"a": 1}})]));
    let expected = "path: \"$time\" # no field looks like a time";
    assert!(proposal.yaml.contains(expected), "{}", proposal.yaml);
    assert_eq!(proposal.trial.accepted, 1, "{}", proposal.yaml);
}

#[test]
fn the_time_of_a_binary_event_is_in_its_header() {
    let mut messages = of_documents(&[json!({"instances": [{"a": 1.5}, {"a": 2.5}]})]);
    for (name, value) in [("ce_specversion", "1.0"), ("ce_time", "2026-11-24T10:15:00Z")] {
        messages[0].headers.push((name.to_owned(), Some(value.into())));
    }
    let proposal = proposal(&messages);
    assert!(proposal.yaml.contains("path: \"$headers.ce_time\""), "{}", proposal.yaml);
    assert_eq!((proposal.trial.accepted, proposal.trial.records), (1, 2), "{}", proposal.yaml);
}

#[test]
fn names_from_messages_cannot_break_the_file() {
    let documents = [json!({
        "time": "2026-11-24T10:15:00Z",
        "${HOME}": 1.5,
        "$${x}: \"#\\ '": 2.5,
        "a.b[0]": 3.5,
        "\u{feff}\u{2028}é": 4.5,
        "line\nbreak": 5.5,
        "": 6.5,
    })];
    let proposal = proposal(&of_documents(&documents));
    let record = proposal.trial.record.unwrap();
    let values: Vec<_> = record.values.iter().filter_map(|it| it.value.as_deref()).collect();
    assert_eq!(values, ["1.5", "2.5", "3.5", "4.5"], "{}", proposal.yaml);
    let left: Vec<_> = proposal.yaml.lines().filter(|it| it.contains("left out")).collect();
    assert_eq!(left.len(), 2, "{left:?}");
}

#[test]
fn bounds_that_are_met_are_told() {
    let wide: serde_json::Map<String, Value> =
        (0..2_000).map(|index| (format!("f{index}"), json!(0.5))).collect();
    let proposal = proposal(&of_documents(&[json!({"time": "2026-11-24T10:15:00Z", "x": wide})]));
    for bound in ["of an object's keys the first 1024", "the first 1000 features of a model"] {
        assert!(proposal.yaml.contains(bound), "{bound}");
    }
    assert_eq!(proposal.trial.accepted, 1);
}

#[test]
fn an_object_with_other_keys_each_time_is_a_map() {
    let document = |index: u64| json!({"time": "2026-11-24T10:15:00Z", "x": 0.5, "by_user": {format!("user{index}"): 1}});
    let yaml = proposal(&of_documents(&(0..50).map(document).collect::<Vec<_>>())).yaml;
    assert!(yaml.contains("by_user: an object with other keys in each record, 50"), "{yaml}");
    assert!(!yaml.contains("user7"), "{yaml}");
}

#[test]
fn encodings_are_told_by_their_first_bytes() {
    let with = |first: &[u8], length: usize| {
        let mut bytes = first.to_vec();
        bytes.resize(length, 1);
        Some(bytes)
    };
    for (payload, encoding, evidence) in [
        (with(&[0, 0, 0, 1, 2], 9), Encoding::Registry, "9 bytes, first 0, then schema id 258"),
        (with(b"\0\0\0\0\x01{", 9), Encoding::Registry, "9 bytes, first 0, then schema id 1"),
        (Some(b"\0\0\0\0\x01{}".to_vec()), Encoding::RegistryJson, "7 bytes, first 0, then"),
        (Some(b"\0\0\0\0\x01[{}]".to_vec()), Encoding::RegistryJson, "then schema id 1"),
        (
            with(&[3, 5], 20),
            Encoding::Glue,
            "20 bytes, first 3, then schema version 01010101-0101-0101-0101-010101010101",
        ),
        (with(&[0xC3, 0x01, 0xAB], 12), Encoding::AvroSingleObject, "first c3 01 ab"),
        (with(b"Obj\x01", 9), Encoding::AvroFile, "9 bytes"),
        (with(&[0xFF; 4], 9), Encoding::ArrowStream, "9 bytes"),
        (with(b"ARROW1", 9), Encoding::ArrowFile, "9 bytes"),
        (with(b"PAR1", 9), Encoding::Parquet, "9 bytes"),
        (with(&[0x1F, 0x8B], 9), Encoding::Gzip, "9 bytes"),
        (with(&[0x28, 0xB5, 0x2F, 0xFD], 9), Encoding::Zstd, "9 bytes"),
        (with(&[0x0A, 0xFF], 3), Encoding::Binary, "3 bytes, first 0a ff 01"),
        (Some(b"{\"binary_data_size\": 1}\xff".to_vec()), Encoding::InferenceBinary, "24 bytes"),
        (Some(b"1.5,DE".to_vec()), Encoding::Text, "6 bytes"),
        (Some(b" {\"a\": 1".to_vec()), Encoding::BrokenJson, "8 bytes"),
        (Some(b"{\"a\": 1}\n\n{}\n".to_vec()), Encoding::JsonLines, "13 bytes in 4 lines"),
        (Some(b" {\n}".to_vec()), Encoding::JsonDocument, "4 bytes"),
        (Some(b"[{}, {}]".to_vec()), Encoding::JsonList, "8 bytes"),
        (Some(b"[1]".to_vec()), Encoding::JsonOther, "3 bytes"),
        (Some(vec![]), Encoding::Empty, "0 bytes"),
        (None, Encoding::Tombstone, "0 bytes"),
    ] {
        let seen = inspect(&of_bytes(vec![payload]), &request(Show::Values)).encodings;
        let [seen] = &seen[..] else { panic!("{seen:?}") };
        assert_eq!((seen.encoding, seen.partition, seen.count), (encoding, 2, 1));
        assert!(seen.evidence.contains(evidence), "{encoding:?}: {}", seen.evidence);
        assert!(!encoding.formats().is_empty() || !encoding.advice().is_empty(), "{encoding:?}");
    }
}

#[test]
fn messages_of_protobuf_of_the_open_inference_protocol_are_told_by_their_header() {
    let mut messages = of_bytes(vec![Some(b"\x0a\x01m".to_vec()); 3]);
    for (message, kind) in messages.iter_mut().zip(["proto/InferModelRequest", "json/…", ""]) {
        let value = Some(kind.as_bytes().to_vec());
        message.headers.push(("seldon-infer-type".to_owned(), value));
    }
    let seen = inspect(&messages, &request(Show::Values)).encodings;
    let seen: Vec<_> = seen.iter().map(|it| (it.encoding, it.count)).collect();
    assert_eq!(seen, [(Encoding::Text, 2), (Encoding::InferenceMessage, 1)]);
}

#[test]
fn json_behind_a_registry_s_prefix_is_looked_into_and_read() {
    let document = |index: u32| {
        let text = format!("{{\"time\": \"2026-11-24T10:15:00Z\", \"x\": {index}.5}}");
        Some([b"\0\0\0\0\x07", text.as_bytes()].concat())
    };
    let proposal = proposal(&of_bytes((0..30).map(document).collect()));
    assert!(proposal.yaml.contains("\n    format: json\n"), "{}", proposal.yaml);
    assert_eq!(proposal.trial.accepted, 30);
}

#[test]
fn changes_of_a_table_are_named_and_read_where_they_bring_a_row() {
    let event = |index: u32| {
        let op = ["c", "u", "c", "d"][index as usize % 4];
        let row = json!({"id": index, "amount": f64::from(index) / 4.0});
        let after = if op == "d" { Value::Null } else { row };
        let source = json!({"table": "predictions", "lsn": 1_000 + index});
        let time = 1_700_000_000_000_u64 + u64::from(index) * 1_000;
        let event = json!({
            "before": null, "after": after, "source": source, "op": op, "ts_ms": time,
        });
        json!({"schema": {"type": "struct"}, "payload": event}).to_string()
    };
    let texts: Vec<String> = (0..40).map(event).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let proposal = proposal(&of_texts(&texts));
    let expected = "change_events: {op: \"payload.op\"} # changes of a table: 20 of 40 bring a new";
    assert!(proposal.yaml.contains(expected), "{}", proposal.yaml);
    assert!(proposal.yaml.contains("payload.after.amount"), "{}", proposal.yaml);
    assert_eq!((proposal.trial.accepted, proposal.trial.records), (40, 20));
}

#[test]
fn headers_tell_a_registry_and_a_binary_event() {
    let mut messages = of_texts(&["\u{1}abc", r#"{"instances": [[1]]}"#]);
    messages[0].headers.push(("__value_schema_id".to_owned(), Some(vec![1; 17])));
    messages[1].headers.push(("ce_specversion".to_owned(), Some(b"1.0".to_vec())));
    let inspection = inspect(&messages, &request(Show::Values));
    let encodings: Vec<_> = inspection.encodings.iter().map(|it| it.encoding).collect();
    assert_eq!(encodings, [Encoding::JsonDocument, Encoding::RegistryHeader]);
    assert_eq!(inspection.encodings[1].evidence, "4 bytes, header `__value_schema_id`");
    let bodies: Vec<_> = inspection.bodies.iter().map(|it| it.body).collect();
    assert_eq!(bodies, [Body::BinaryEvent, Body::Instances]);
}

#[test]
fn what_is_said_to_be_read_is_what_a_source_takes() {
    let schema = config::schema();
    let formats = &schema["$defs"]["Source"]["properties"]["format"];
    let mut taken: Vec<String> = Vec::new();
    collect_consts(formats, &mut taken);
    taken.sort_unstable();
    let encodings = [
        Encoding::JsonDocument,
        Encoding::JsonLines,
        Encoding::Registry,
        Encoding::ArrowStream,
        Encoding::InferenceMessage,
    ];
    let mut read: Vec<_> = encodings.iter().flat_map(|it| it.formats()).copied().collect();
    read.sort_unstable();
    read.dedup();
    assert_eq!(taken, read);
}

/// Finds the values of an enumeration, which the schema may write in either way.
fn collect_consts(schema: &Value, into: &mut Vec<String>) {
    match schema {
        Value::Object(entries) => {
            for (key, value) in entries {
                match (key.as_str(), value) {
                    ("const", Value::String(text)) => into.push(text.clone()),
                    ("enum", Value::Array(items)) => {
                        into.extend(items.iter().filter_map(Value::as_str).map(str::to_owned));
                    }
                    (_, inside) => collect_consts(inside, into),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|it| collect_consts(it, into)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
