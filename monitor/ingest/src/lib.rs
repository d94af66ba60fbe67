//! Bytes to Arrow: what one Kafka message says, as rows of typed columns or one rejection.
//!
//! Before: the consumer (crate `driftd`) lends a [`Message`]. After: `driftd-core` counts the
//! columns of the [`Decoded`] batch through the views of [`numeric_column`] and
//! [`categorical_column`].
//!
//! The way through the files:
//! 1. `schema.rs`: what a source's records look like ([`SourceSchema`]), with paths from `path.rs`.
//! 2. `decode.rs`: the contract every format keeps ([`Decode`]); `decode/json.rs`,
//!    `decode/avro.rs`, `decode/protobuf.rs` and `decode/arrow.rs` are the formats.
//! 3. `rejection.rs`: why a record was refused.
//! 4. `columns.rs`: Arrow arrays as the column views that detectors count.
//!
//! Three rules hold for every format:
//! * A message becomes all of its rows, mostly one, or exactly one rejection; nothing else is lost
//!   with it.
//! * The decision about a message depends on itself and the schemas alone, never on where a
//!   batch was cut or on the messages before it, so that a replay decides the same.
//! * Input is hostile: sizes, names and depths are bounded, and nothing a record says can panic.
//!
//! No I/O, no clock, no threads.
//!
//! ```
//! use std::sync::Arc;
//! use driftd_ingest::*;
//!
//! let model = ModelSchema {
//!     name: "flights".into(),
//!     version: VersionField::Fixed("1".into()),
//!     prediction_id: None,
//!     features: vec![FeatureField {
//!         name: "temperature".into(),
//!         path: FieldPath::parse("features.temperature")?,
//!         kind: FeatureKind::Float64,
//!     }],
//!     segments: vec![],
//! };
//! let time = FieldPath::parse("time")?;
//! let schema = SourceSchema::try_new(time, TimeFormat::Rfc3339, None, vec![model])?;
//! let cells_max = DecodeLimits::CELLS_MAX;
//! let limits = DecodeLimits { payload_bytes_max: 1 << 20, rows_max: 100, cells_max };
//! let mut decoder = JsonDecoder::new(Arc::new(schema), limits);
//!
//! let good = br#"{"time": "2013-04-01T09:00:00Z", "features": {"temperature": 39.92}}"#;
//! let bad = br#"{"time": "2013-04-01T09:00:00Z", "features": {"temperature": "mild"}}"#;
//! decoder.decode(&Message { payload: Some(good), offset: 7, timestamp: None, envelope: &[] });
//! decoder.decode(&Message { payload: Some(bad), offset: 8, timestamp: None, envelope: &[] });
//!
//! let decoded = decoder.finish();
//! assert_eq!((decoded.from_offset, decoded.to_offset), (7, 9));
//! assert_eq!(decoded.rows.len(), 1);
//! assert_eq!(decoded.rejections[0].reason, RejectReason::WrongType);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod columns;
mod decode;
mod path;
mod rejection;
mod schema;

pub use columns::{
    CategoricalArray, ColumnError, NumericArray, categorical_column, numeric_column,
};
pub use decode::{
    ArrowDecoder, AvroDecoder, AvroFraming, AvroProgram, AvroSchema, AvroSchemaError, ChangeKind,
    DESCRIPTORS_BYTES_MAX, Decode, DecodeLimits, Decoded, Envelope, Half, HalfForm, HalfReader,
    HalfSchema, JsonDecoder, LEVEL_BYTES_MAX, Message, MessageId, MessageName, Places, Program,
    ProgramTooLarge, ProtobufDecoder, ProtobufFraming, ProtobufProgram, ProtobufSchema,
    ProtobufSchemaError, RegistryFraming, Row, SCHEMA_BYTES_MAX, SCHEMA_HEADER, SchemaId,
    SchemaName, SchemaProblem, Side, Uuid, Whole, event_time, glue_value, inference_document,
    quote_specials,
};
pub use path::{EnvelopeValue, FieldPath, PathError, PathProblem, list_and_object};
pub use rejection::{DETAIL_BYTES_MAX, RejectReason, Rejection};
pub use schema::{
    EmbeddedField, EmbeddedForm, FeatureField, FeatureKind, Framing, INFERENCE_HEADER,
    InferenceMessage, ModelSchema, SchemaError, SegmentField, SourceSchema, TimeFormat,
    VersionField,
};
