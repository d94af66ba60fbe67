//! Bytes to Arrow: what one Kafka message says, as one row of typed columns or one rejection.
//!
//! Before: the consumer (crate `driftd`) lends a [`Message`]. After: `driftd-core` counts the columns
//! of the [`Decoded`] batch through the views of [`numeric_column`] and [`categorical_column`].
//!
//! The way through the files:
//! 1. `schema.rs`: what a source's records look like ([`SourceSchema`]), with paths from `path.rs`.
//! 2. `decode.rs`: the contract every format keeps ([`Decode`]); `decode/json.rs` is one format.
//! 3. `rejection.rs`: why a record was refused.
//! 4. `columns.rs`: Arrow arrays as the column views that detectors count.
//!
//! Three rules hold for every format:
//! * A message becomes exactly one row or exactly one rejection; nothing else is lost with it.
//! * The decision about a message depends on its bytes and the schema alone, never on where a batch
//!   was cut or on the messages before it, so that a replay decides the same.
//! * Input is hostile: sizes, names and depths are bounded, and nothing a record says can panic.
//!
//! No I/O, no clock, no threads.

mod columns;
mod decode;
mod path;
mod rejection;
mod schema;

pub use columns::{
    CategoricalArray, ColumnError, NumericArray, categorical_column, numeric_column,
};
pub use decode::{Decode, DecodeLimits, Decoded, JsonDecoder, Message, Row};
pub use path::{FieldPath, PathError, PathProblem};
pub use rejection::{RejectReason, Rejection};
pub use schema::{
    FeatureField, FeatureKind, ModelSchema, SchemaError, SegmentField, SourceSchema, TimeFormat,
    VersionField,
};
