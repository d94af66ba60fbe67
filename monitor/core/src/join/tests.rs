//! Halves one by one: what waits, what goes, and what is read of two of them.

use arrow::array::AsArray as _;
use arrow::datatypes::Float64Type;
use driftd_fixtures::messages;
use driftd_ingest::RejectReason;
use serde_json::{Value, json};

use super::*;
use crate::config::load;
use crate::halves::{BySide, HALF_BYTES, JoinCounts};

fn tree() -> Value {
    json!({
        "name": "job",
        "sources": [{
            "topic": "logs",
            "start": "earliest",
            "payload_bytes_max": 300,
            "event_time": {"path": "$headers.at", "format": "unix_millis"},
            "join": {
                "id": "$headers.id",
                "side": "$headers.side",
                "request": "q",
                "response": "r",
                "within": "1s",
                "bytes_max": "2KiB",
            },
        }],
        "models": [{
            "name": "m",
            "source": "logs",
            "version": "1",
            "references": "m.json",
            "window": {"length": "1h"},
            "features": [{"name": "x", "path": "request.x[]", "type": "float64"}],
            "predictions": [{"name": "y", "path": "response.y[]", "type": "float64"}],
        }],
    })
}

/// Reads messages of one partition.
struct Played {
    decoder: JoinDecoder,
    offset: i64,
    /// How many values are wanted beside a payload.
    wanted: usize,
}

const X: &str = r#"{"x": [1, 2]}"#;
const Y: &str = r#"{"y": [3, 4]}"#;

impl Played {
    fn new(join: &Value) -> Self {
        let mut tree = tree();
        for (key, value) in join.as_object().unwrap() {
            tree["sources"][0]["join"][key] = value.clone();
        }
        Self::of(&tree)
    }

    fn of(tree: &Value) -> Self {
        let config = load(&tree.to_string(), &|_| None).unwrap_or_else(|it| panic!("{it}"));
        let source = &config.sources[0];
        let join = source.join.as_ref().unwrap();
        let decoder = JoinDecoder::new(source, join, Halves::default());
        Self { decoder, offset: 0, wanted: source.schema.envelope.len() }
    }

    /// Reads a message of this record time, with this side and id, and its time in a header.
    fn read(&mut self, time: i64, side: &str, id: &str, payload: &str) -> Option<RejectReason> {
        let at = (1_000_000 + time).to_string();
        // Headers in the order of their names.
        let envelope = [at.as_bytes(), id.as_bytes(), side.as_bytes()].map(Some);
        let message = Message {
            payload: Some(payload.as_bytes()),
            offset: self.offset,
            timestamp: Some(Timestamp::from_millis(time)),
            envelope: &envelope,
        };
        self.offset += 1;
        self.decoder.decode(&message).map(|it| it.reason)
    }

    fn waiting(&self) -> Vec<i64> {
        self.decoder.joiner.halves.iter().map(|half| half.offset).collect()
    }

    fn counts(&self) -> JoinCounts {
        self.decoder.joiner.news.counts
    }
}

/// Returns the values of a column.
fn values(decoded: &Decoded, column: usize) -> Vec<f64> {
    let batch = decoded.batches[0].as_ref().unwrap();
    batch.column(column).as_primitive::<Float64Type>().values().to_vec()
}

#[test]
fn what_is_read_does_not_depend_on_which_half_comes_first() {
    let mut played = Played::new(&json!({}));
    for (time, side, id, payload) in [
        (10, "q", "a", X),
        (20, "r", "b", r#"{"y": [7, 8]}"#),
        (30, "r", "a", Y),
        (40, "q", "b", r#"{"x": [5, 6]}"#),
    ] {
        assert_eq!(played.read(time, side, id, payload), None);
        assert_eq!(played.decoder.joiner.document().is_some(), 30 <= time, "{time}");
    }
    let expected = r#"{"request":{"x": [5, 6]},"response":{"y": [7, 8]}}"#;
    assert_eq!(played.decoder.joiner.document(), Some(expected.as_bytes()));
    assert_eq!((played.decoder.messages(), played.decoder.rows()), (4, 4));
    let decoded = played.decoder.finish();
    assert_eq!((decoded.from_offset, decoded.to_offset, decoded.messages), (0, 4, 4));
    assert_eq!(decoded.bytes, (X.len() + Y.len()) as u64 * 2, "each payload once");
    assert_eq!(values(&decoded, 0), [1.0, 2.0, 5.0, 6.0]);
    assert_eq!(values(&decoded, 1), [3.0, 4.0, 7.0, 8.0]);
    // The second pair has the time of its response, which came before its request.
    let row = |offset, time| {
        (offset, Timestamp::from_millis(1_000_000 + time), Some(Timestamp::from_millis(time)))
    };
    let rows: Vec<_> =
        decoded.rows.iter().map(|it| (it.offset, it.event_time, it.timestamp)).collect();
    assert_eq!(rows, [row(2, 30), row(2, 30), row(3, 20), row(3, 20)]);
    assert_eq!(played.counts(), JoinCounts { joined: 2, ..JoinCounts::default() });
    assert!(played.waiting().is_empty());
}

#[test]
fn half_a_record_moves_the_position_and_is_no_record() {
    let mut played = Played::new(&json!({}));
    played.read(0, "q", "a", X);
    let decoded = played.decoder.finish();
    assert_eq!((decoded.from_offset, decoded.to_offset, decoded.messages), (0, 1, 1));
    assert!(decoded.rows.is_empty() && decoded.rejections.is_empty());
    let news = played.decoder.take_news();
    assert_eq!((news.added.len(), news.removed.len()), (1, 0));
    let held = played.decoder.held_bytes();
    assert!(HALF_BYTES < held);
    played.read(0, "r", "a", Y);
    assert_eq!(played.decoder.held_bytes(), held, "the partition's state still has it");
    let news = played.decoder.take_news();
    assert_eq!((news.added.len(), news.removed), (0, vec![0]));
    assert_eq!(played.decoder.held_bytes(), 0);
    played.read(0, "q", "b", X);
    played.read(0, "r", "b", Y);
    let news = played.decoder.take_news();
    assert_eq!((news.added.len(), news.removed.len(), news.counts.joined), (0, 0, 1));
}

#[test]
fn a_half_waits_for_so_long_and_no_longer() {
    let mut played = Played::new(&json!({}));
    played.read(100, "q", "a", X);
    played.read(200, "r", "b", Y);
    // Of an earlier time than the others: it waits from when it came.
    played.read(50, "q", "c", X);
    played.read(1_100, "q", "d", X);
    assert_eq!(played.waiting(), [0, 1, 2, 3], "as long as that, to the millisecond");
    played.read(1_101, "r", "a", Y);
    assert_eq!(played.waiting(), [1, 2, 3, 4], "its request has just gone");
    played.read(1_201, "q", "e", X);
    assert_eq!(played.waiting(), [3, 4, 5]);
    let expired = BySide { request: 2, response: 1 };
    assert_eq!(played.counts(), JoinCounts { expired, ..JoinCounts::default() });
}

/// Only what came before has waited too long, not all that comes in the centuries after.
#[test]
fn a_record_time_far_ahead_does_not_end_the_joining() {
    let mut played = Played::new(&json!({}));
    played.read(100, "q", "a", X);
    played.read(4_000_000_000_000, "q", "poison", X);
    played.read(200, "q", "b", X);
    played.read(201, "r", "b", Y);
    let expired = BySide { request: 1, response: 0 };
    assert_eq!(played.counts(), JoinCounts { joined: 1, expired, ..JoinCounts::default() });
}

#[test]
fn the_oldest_make_room_for_the_newest() {
    let mut played = Played::new(&json!({"records_max": 2}));
    for (side, id) in [("r", "a"), ("q", "b"), ("q", "c")] {
        played.read(0, side, id, X);
    }
    assert_eq!(played.waiting(), [1, 2]);
    let evicted = BySide { request: 0, response: 1 };
    assert_eq!(played.counts(), JoinCounts { evicted, ..JoinCounts::default() });
    // It is known no more: its request waits, and makes another one go.
    played.read(0, "q", "a", X);
    assert_eq!(played.waiting(), [2, 3]);
}

#[test]
fn what_waits_has_a_bound_in_bytes() {
    let mut played = Played::new(&json!({}));
    let payload = format!("[\"{}\"]", "x".repeat(252));
    assert_eq!((payload.len() + 1) as u64 + HALF_BYTES, 513, "four of them are a little too many");
    for id in ["a", "b", "c"] {
        played.read(0, "q", id, &payload);
    }
    assert_eq!(played.decoder.waiting(), Waiting { halves: 3, bytes: 3 * 513 });
    played.read(0, "q", "d", &payload);
    assert_eq!(played.waiting(), [1, 2, 3]);
    assert_eq!(played.decoder.waiting().bytes, 3 * 513);
    // What is beside a response counts, and what is more than all alone makes nothing go.
    let long = "i".repeat(1_000);
    let at = "7".repeat(1_000);
    let envelope = [at.as_bytes(), long.as_bytes(), b"r"].map(Some);
    let payload = Some(Y.as_bytes());
    played.decoder.decode(&Message { payload, offset: 9, timestamp: None, envelope: &envelope });
    assert_eq!(played.waiting(), [1, 2, 3]);
    let evicted = BySide { request: 1, response: 1 };
    assert_eq!(played.counts(), JoinCounts { evicted, ..JoinCounts::default() });
}

#[test]
fn of_two_alike_the_first_is_joined() {
    let mut played = Played::new(&json!({}));
    played.read(0, "q", "a", X);
    played.read(0, "q", "a", r#"{"x": [9, 9]}"#);
    played.read(0, "r", "a", Y);
    let decoded = played.decoder.finish();
    assert_eq!(values(&decoded, 0), [1.0, 2.0]);
    let duplicate = BySide { request: 1, response: 0 };
    assert_eq!(played.counts(), JoinCounts { joined: 1, duplicate, ..JoinCounts::default() });
    // One that comes after both is half of another pair, for all that is known.
    played.read(0, "r", "a", Y);
    assert_eq!(played.waiting(), [3]);
}

#[test]
fn a_bad_half_is_refused_by_itself_and_a_bad_pair_where_it_became_one() {
    let mut played = Played::new(&json!({}));
    assert_eq!(played.read(0, "?", "a", X), Some(RejectReason::UnknownSide));
    assert_eq!(played.read(0, "q", "", X), Some(RejectReason::InvalidName));
    assert_eq!(played.read(0, "q", "a", "{"), Some(RejectReason::InvalidJson));
    assert_eq!(played.read(0, "q", "a", &" ".repeat(301)), Some(RejectReason::Oversized));
    assert_eq!(played.decoder.joiner.document(), None, "none of them is joined");
    assert!(played.waiting().is_empty());
    played.read(0, "q", "a", X);
    let refused = played.read(0, "r", "a", r#"{"y": [3]}"#);
    assert_eq!(refused, Some(RejectReason::UnequalLists));
    let joined = r#"{"request":{"x": [1, 2]},"response":{"y": [3]}}"#;
    assert_eq!(played.decoder.joiner.document(), Some(joined.as_bytes()));
    let offsets: Vec<_> = played.decoder.finish().rejections.iter().map(|it| it.offset).collect();
    assert_eq!(offsets, [0, 1, 2, 3, 5]);
    // Whole messages of the largest size are read together.
    let largest = |text: &str| format!("{text:<300}");
    played.read(0, "q", "b", &largest(X));
    assert_eq!(played.read(0, "r", "b", &largest(Y)), None);
    assert_eq!(played.decoder.rows(), 2);
}

const SCORES: &[u8] =
    br#"{"id":"42","outputs":[{"name":"score","shape":[2,2],"data":[0.75,0.25,0.125,0.875]}]}"#;

/// Reads bodies of the open inference protocol, whose ids are at this path.
fn bodies(message: &str, id: &str) -> Played {
    let mut tree = tree();
    let source = &mut tree["sources"][0];
    source["format"] = json!("open_inference");
    source["open_inference"] = json!({"message": message});
    source["payload_bytes_max"] = json!(600);
    source["join"]["id"] = json!(id);
    let model = &mut tree["models"][0];
    model["features"][0]["path"] = json!("request.inputs[name=x].data[][0]");
    model["predictions"][0]["path"] = json!("response.outputs[name=score].data[][1]");
    Played::of(&tree)
}

impl Played {
    fn body(&mut self, side: &[u8], id: &[u8], payload: &[u8]) -> Option<RejectReason> {
        let headers = [&b"1000000"[..], id, side].map(Some);
        // One that is read in the payload is not wanted beside it.
        let beside = [headers[0], headers[2]];
        let is_beside = self.wanted == headers.len();
        let envelope: &[_] = if is_beside { &headers } else { &beside };
        let (offset, timestamp) = (self.offset, Some(Timestamp::from_millis(0)));
        let message = Message { payload: Some(payload), offset, timestamp, envelope };
        self.offset += 1;
        self.decoder.decode(&message).map(|it| it.reason)
    }
}

/// The same two records, with each half first once.
fn check_bodies(message: &str, id: &str, request: &[u8], response: &[u8]) {
    let mut played = bodies(message, id);
    assert_eq!(played.body(b"q", b"a", request), None);
    assert_eq!(played.decoder.waiting().bytes, waiting_bytes(id, request), "as it came");
    assert_eq!(played.body(b"r", b"a", response), None);
    assert_eq!(played.body(b"r", b"a", response), None);
    assert_eq!(played.body(b"q", b"a", request), None);
    assert_eq!(played.counts(), JoinCounts { joined: 2, ..JoinCounts::default() });
    assert_eq!(played.decoder.text_bytes(), 2 * played.decoder.joiner.document().unwrap().len());
    let decoded = played.decoder.finish();
    assert_eq!(decoded.rejections, []);
    let x = [f64::from(6.8f32), 6.0];
    assert_eq!(values(&decoded, 0), [x, x].concat());
    assert_eq!(values(&decoded, 1), [0.25, 0.875, 0.25, 0.875]);
}

fn waiting_bytes(id: &str, payload: &[u8]) -> u64 {
    let id = if id == "id" { "42" } else { "a" };
    HALF_BYTES + (id.len() + payload.len()) as u64
}

#[test]
fn bodies_of_the_open_inference_protocol_are_joined_whatever_they_are_written_in() {
    for id in ["$headers.id", "id"] {
        check_bodies("json", id, messages::TRITON_BINARY, SCORES);
        check_bodies("protobuf", id, messages::TRITON_REQUEST, messages::TRITON_RESPONSE);
    }
}

#[test]
fn a_bad_body_is_refused_by_itself() {
    let mut played = bodies("json", "$headers.id");
    let cut = messages::TRITON_BINARY.split_last().unwrap().1;
    assert_eq!(played.body(b"q", b"a", cut), Some(RejectReason::UnequalLists));
    assert_eq!(played.body(b"r", b"a", br#"{}, "request": {}"#), Some(RejectReason::InvalidJson));
    assert_eq!(played.body(b"?", b"a", SCORES), Some(RejectReason::UnknownSide));
    assert_eq!(played.body(b"q", b"a", &[b' '; 601]), Some(RejectReason::Oversized));
    assert!(played.waiting().is_empty());
    let mut played = bodies("protobuf", "id");
    assert_eq!(played.body(b"q", b"", SCORES), Some(RejectReason::InvalidProtobuf));
    assert_eq!(played.body(b"q", b"", b"\x0a\x01m"), Some(RejectReason::MissingField));
    assert!(played.waiting().is_empty());
}

/// Of a stored half other values may be read than when it came.
#[test]
fn a_half_that_waited_and_is_none_any_more_is_refused_with_its_other_half() {
    let mut played = bodies("json", "$headers.id");
    let wrong = br#"{"inputs":[{"name":"x","datatype":"FP32","shape":[3,1],"data":[1]}]}"#;
    let half = WaitingHalf {
        side: Side::Request,
        id: "a".into(),
        offset: 0,
        since: Timestamp::from_millis(0),
        time: None,
        payload: wrong[..].into(),
        envelope: Vec::new(),
    };
    let joiner = &mut played.decoder.joiner;
    joiner.places[index(Side::Request)].insert("a".into(), 0);
    joiner.halves.insert(Arc::new(half));
    played.offset = 1;
    assert_eq!(played.body(b"r", b"a", SCORES), Some(RejectReason::UnequalLists));
    assert_eq!(played.decoder.joiner.document(), None);
    let decoded = played.decoder.finish();
    assert_eq!((decoded.rejections[0].offset, decoded.messages), (1, 1));
}
