//! Values that come with a type, as those of Avro and Protobuf do, and what columns take of them.
//!
//! Before: the walk of a format has found the values of a message by its schema ([`value`]). After:
//! [`super::rows`] puts the cells of a row together, which [`record`] makes of them.

pub(super) mod record;
pub(super) mod value;
