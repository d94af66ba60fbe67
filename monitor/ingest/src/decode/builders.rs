//! One model's open columns: checked cells in, one Arrow `RecordBatch` out.
//!
//! Before: a format has read and checked all cells of a record, so that appending cannot fail and a
//! record is all in or not at all. After: [`super::batch`] closes the columns with the batch.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{ArrayRef, StringDictionaryBuilder};
use arrow::array::{Float32Builder, Float64Builder, Int64Builder};
use arrow::datatypes::{SchemaRef, UInt32Type};
use arrow::record_batch::RecordBatch;

use crate::schema::{FeatureKind, ModelSchema};

/// One checked value of one record, of the kind its column holds.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Cell {
    /// Absent or null; fits every column.
    Null,
    Float32(f32),
    Float64(f64),
    Integer(i64),
    Boolean(bool),
    Text(Span),
}

/// Where a text lies; kept instead of the text so that cells outlive no payload and are reused.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Span {
    /// As written in the payload, or in the schema of its writer.
    Payload(Range<usize>),
    /// Beside it: a text that is not written there as it is, or one fixed by the source's schema.
    Added(Range<usize>),
}

/// The texts of one record that spans point into.
#[derive(Clone, Copy)]
pub(super) struct Texts<'a> {
    /// Where the payload is no text: what the writer's schema has of it.
    pub(super) payload: &'a str,
    pub(super) added: &'a str,
}

impl<'a> Texts<'a> {
    pub(super) fn get(&self, span: &Span) -> &'a str {
        match span {
            Span::Payload(range) => self.payload.get(range.clone()),
            Span::Added(range) => self.added.get(range.clone()),
        }
        .expect("spans lie between the characters of their text")
    }
}

pub(super) struct ModelBuilder {
    schema: SchemaRef,
    rows: usize,
    columns: Vec<ColumnBuilder>,
}

impl ModelBuilder {
    pub(super) fn new(model: &ModelSchema) -> Self {
        let features = model.features.iter().map(|feature| ColumnBuilder::new(feature.kind));
        let segments = model.segments.iter().map(|_| ColumnBuilder::new(FeatureKind::Categorical));
        let columns = features.chain(segments).collect();
        Self { schema: model.arrow_schema(), rows: 0, columns }
    }

    /// Appends one row, of the first cells; returns those behind it.
    ///
    /// # Panics
    /// When there is not one cell a column, or a cell is not of its column's kind.
    pub(super) fn append<'a>(&mut self, cells: &'a [Cell], texts: Texts<'_>) -> &'a [Cell] {
        let (row, rest) = cells.split_at(self.columns.len());
        for (column, cell) in self.columns.iter_mut().zip(row) {
            column.append(cell, texts);
        }
        self.rows += 1;
        rest
    }

    /// Returns the rows since the last call, or `None` without rows.
    pub(super) fn finish(&mut self) -> Option<RecordBatch> {
        if std::mem::take(&mut self.rows) == 0 {
            return None;
        }
        let columns = self.columns.iter_mut().map(ColumnBuilder::finish).collect();
        let batch = RecordBatch::try_new(Arc::clone(&self.schema), columns);
        Some(batch.expect("the columns follow the schema"))
    }
}

enum ColumnBuilder {
    Float32(Float32Builder),
    Float64(Float64Builder),
    Integer(Int64Builder),
    Dictionary(StringDictionaryBuilder<UInt32Type>),
}

impl ColumnBuilder {
    fn new(kind: FeatureKind) -> Self {
        match kind {
            FeatureKind::Float32 => Self::Float32(Float32Builder::new()),
            FeatureKind::Float64 => Self::Float64(Float64Builder::new()),
            FeatureKind::Integer => Self::Integer(Int64Builder::new()),
            FeatureKind::Categorical | FeatureKind::Boolean => {
                Self::Dictionary(StringDictionaryBuilder::new())
            }
        }
    }

    fn append(&mut self, cell: &Cell, texts: Texts<'_>) {
        match (self, cell) {
            (Self::Float32(builder), Cell::Float32(value)) => builder.append_value(*value),
            (Self::Float64(builder), Cell::Float64(value)) => builder.append_value(*value),
            (Self::Integer(builder), Cell::Integer(value)) => builder.append_value(*value),
            (Self::Dictionary(builder), Cell::Text(span)) => {
                builder.append(texts.get(span)).expect("a batch has fewer levels than u32");
            }
            (Self::Dictionary(builder), Cell::Boolean(value)) => {
                let level = if *value { "true" } else { "false" };
                builder.append(level).expect("a batch has fewer levels than u32");
            }
            (Self::Float32(builder), Cell::Null) => builder.append_null(),
            (Self::Float64(builder), Cell::Null) => builder.append_null(),
            (Self::Integer(builder), Cell::Null) => builder.append_null(),
            (Self::Dictionary(builder), Cell::Null) => builder.append_null(),
            (
                Self::Float32(_) | Self::Float64(_) | Self::Integer(_) | Self::Dictionary(_),
                Cell::Float32(_)
                | Cell::Float64(_)
                | Cell::Integer(_)
                | Cell::Boolean(_)
                | Cell::Text(_),
            ) => unreachable!("a cell was read for another column: {cell:?}"),
        }
    }

    fn finish(&mut self) -> ArrayRef {
        match self {
            Self::Float32(builder) => Arc::new(builder.finish()),
            Self::Float64(builder) => Arc::new(builder.finish()),
            Self::Integer(builder) => Arc::new(builder.finish()),
            Self::Dictionary(builder) => Arc::new(builder.finish()),
        }
    }
}
