//! Changes of a table's rows, as Debezium writes them: which of them are records.
//!
//! Before: [`super::rows`] has the text of `op`, or a message has no payload. After: a record is
//! read like any other, and everything else is counted by its kind, and no mistake.

/// What a change event says became of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ChangeKind {
    /// It is new.
    Create,
    /// It was there when the connector began.
    Snapshot,
    /// It was changed.
    Update,
    /// It was removed.
    Delete,
    /// All rows were removed.
    Truncate,
    /// Nothing: a message was written into the database's log.
    Message,
    /// It was removed, which is said once more for the compaction of the topic.
    Tombstone,
}

impl ChangeKind {
    /// Every kind that is no record.
    pub const SKIPPED: [Self; 5] =
        [Self::Update, Self::Delete, Self::Truncate, Self::Message, Self::Tombstone];

    /// Returns what the letter stands for that is at `op` of a change event.
    pub fn of_op(op: &str) -> Option<Self> {
        match op {
            "c" => Some(Self::Create),
            "r" => Some(Self::Snapshot),
            "u" => Some(Self::Update),
            "d" => Some(Self::Delete),
            "t" => Some(Self::Truncate),
            "m" => Some(Self::Message),
            _ => None,
        }
    }

    /// Returns whether the event brings a row that was not there before.
    pub const fn is_record(self) -> bool {
        match self {
            Self::Create | Self::Snapshot => true,
            Self::Update | Self::Delete | Self::Truncate | Self::Message | Self::Tombstone => false,
        }
    }

    /// Returns what to call it: a label value.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Snapshot => "snapshot",
            Self::Update => "update",
            Self::Delete => "delete",
            Self::Truncate => "truncate",
            Self::Message => "message",
            Self::Tombstone => "tombstone",
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use arrow::array::AsArray;
    use arrow::datatypes::Int64Type;
    use driftd_fixtures::messages::{
        DEBEZIUM_CREATE, DEBEZIUM_CREATE_PLAIN, DEBEZIUM_DELETE, DEBEZIUM_SNAPSHOT,
        DEBEZIUM_TRUNCATE, DEBEZIUM_UPDATE,
    };

    use super::*;
    use crate::decode::draw::LIMITS;
    use crate::decode::{Decode, Decoded, JsonDecoder, Message};
    use crate::path::FieldPath;
    use crate::rejection::RejectReason;
    use crate::schema::{
        FeatureField, FeatureKind, ModelSchema, SourceSchema, TimeFormat, VersionField,
    };

    fn path(text: &str) -> FieldPath {
        FieldPath::parse(text).unwrap()
    }

    /// Reads `id` of the row that is there after the change.
    fn schema(envelope: &str) -> SourceSchema {
        let field = FeatureField {
            name: "id".into(),
            path: path(&format!("{envelope}after.id")),
            kind: FeatureKind::Integer,
        };
        let model = ModelSchema {
            name: "m".into(),
            version: VersionField::Fixed("1".into()),
            prediction_id: None,
            features: vec![field],
            segments: vec![],
        };
        let time = path(&format!("{envelope}ts_ms"));
        SourceSchema::try_new(time, TimeFormat::UnixMillis, None, vec![model]).unwrap()
    }

    fn decode(
        schema: SourceSchema,
        payloads: &[Option<&str>],
        beside: &[Option<&[u8]>],
    ) -> Decoded {
        let mut decoder = JsonDecoder::new(Arc::new(schema), LIMITS);
        for (offset, payload) in (0..).zip(payloads) {
            let payload = payload.map(str::as_bytes);
            decoder.decode(&Message { payload, offset, timestamp: None, envelope: beside });
        }
        decoder.finish()
    }

    fn ids(decoded: &Decoded) -> Vec<i64> {
        let batch = decoded.batches[0].as_ref().unwrap();
        batch.column(0).as_primitive::<Int64Type>().values().to_vec()
    }

    #[test]
    fn new_rows_and_those_of_a_snapshot_are_records_and_all_else_is_counted() {
        let schema = schema("payload.").with_change(path("payload.op"));
        let payloads = [
            Some(DEBEZIUM_CREATE),
            Some(DEBEZIUM_UPDATE),
            Some(DEBEZIUM_SNAPSHOT),
            Some(DEBEZIUM_DELETE),
            None,
            Some(DEBEZIUM_TRUNCATE),
            Some(DEBEZIUM_CREATE),
            None,
        ];
        let decoded = decode(schema, &payloads, &[]);
        assert_eq!(decoded.rejections, []);
        assert_eq!(ids(&decoded), [1, 2, 1]);
        assert_eq!(decoded.messages, 8);
        let expected = [
            (ChangeKind::Update, 1),
            (ChangeKind::Delete, 1),
            (ChangeKind::Truncate, 1),
            (ChangeKind::Tombstone, 2),
        ];
        assert_eq!(decoded.skipped, BTreeMap::from(expected));
    }

    #[test]
    fn an_event_may_come_without_its_schema_and_say_its_kind_in_a_header() {
        let plain = schema("").with_change(path("op"));
        let decoded = decode(plain, &[Some(DEBEZIUM_CREATE_PLAIN)], &[]);
        assert_eq!((ids(&decoded), decoded.rejections), (vec![1], vec![]));
        let beside = || schema("").with_change(path("$headers.__op"));
        for (op, records) in [("c", 1), ("d", 0)] {
            let header = [Some(op.as_bytes())];
            let decoded = decode(beside(), &[Some(DEBEZIUM_CREATE_PLAIN)], &header);
            assert_eq!((decoded.rows.len(), decoded.rejections), (records, vec![]), "{op}");
        }
    }

    #[test]
    fn what_does_not_say_its_kind_is_refused() {
        for (op, reason) in [
            ("\"x\"", RejectReason::WrongType),
            ("\"\"", RejectReason::WrongType),
            ("1", RejectReason::WrongType),
            ("null", RejectReason::MissingField),
        ] {
            let event = format!("{{\"op\": {op}, \"ts_ms\": 1, \"after\": {{\"id\": 1}}}}");
            let schema = schema("").with_change(path("op"));
            let decoded = decode(schema, &[Some(&event)], &[]);
            assert_eq!(decoded.rejections[0].reason, reason, "{op}");
            assert!(decoded.skipped.is_empty());
        }
        // Where nothing is said of changes, a tombstone is no record.
        let decoded = decode(schema(""), &[None, Some(DEBEZIUM_CREATE_PLAIN)], &[]);
        assert_eq!(decoded.rejections[0].reason, RejectReason::EmptyPayload);
        assert_eq!(decoded.rows.len(), 1);
    }
}
