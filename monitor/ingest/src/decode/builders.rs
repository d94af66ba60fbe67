//! One model's open columns: checked cells in, one Arrow `RecordBatch` out.
//!
//! Before: a format has read and checked all cells of a record, or all columns of a message, so
//! that appending cannot fail and a record is all in or not at all. After: [`super::batch`] closes
//! the columns with the batch.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, ArrowPrimitiveType, DictionaryArray, NullBufferBuilder, PrimitiveArray,
    StringDictionaryBuilder,
};
use arrow::buffer::{BooleanBuffer, NullBuffer};
use arrow::datatypes::{
    ArrowNativeType, Float32Type, Float64Type, Int64Type, SchemaRef, UInt32Type,
};
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

/// Checked values of one column, for consecutive rows.
pub(super) struct Chunk<'a> {
    pub(super) values: Values<'a>,
    pub(super) validity: Validity<'a>,
}

/// Which values of a chunk are not null.
pub(super) enum Validity<'a> {
    All,
    /// One bit a value, the lowest of a byte first.
    Bits(&'a [u8]),
    Each(Vec<bool>),
}

/// What a column appends. The value of a row that is null is any.
pub(super) enum Values<'a> {
    /// Whatever the validity says.
    Nulls,
    /// As they lie in a payload.
    Doubles(&'a [[u8; 8]]),
    Floats(&'a [[u8; 4]]),
    Longs(&'a [[u8; 8]]),
    Float32(Vec<f32>),
    Float64(Vec<f64>),
    Integer(Vec<i64>),
    /// For each row which of the texts it has.
    Levels {
        keys: Vec<u32>,
        texts: Vec<Cow<'a, str>>,
    },
}

pub(super) struct ModelBuilder {
    schema: SchemaRef,
    rows: usize,
    /// How many the last batch had: the next one mostly has as many, and grows by no steps then.
    rows_before: usize,
    columns: Vec<ColumnBuilder>,
}

impl ModelBuilder {
    pub(super) fn new(model: &ModelSchema) -> Self {
        let features = model.features.iter().map(|feature| ColumnBuilder::new(feature.kind));
        let segments = model.segments.iter().map(|_| ColumnBuilder::new(FeatureKind::Categorical));
        let identity = model.prediction_id.iter();
        let identity = identity.map(|_| ColumnBuilder::new(FeatureKind::Categorical));
        let columns = features.chain(segments).chain(identity).collect();
        Self { schema: model.arrow_schema(), rows: 0, rows_before: 0, columns }
    }

    /// Appends one row, of the first cells; returns those behind it.
    ///
    /// # Panics
    /// When there is not one cell a column, or a cell is not of its column's kind.
    pub(super) fn append<'a>(&mut self, cells: &'a [Cell], texts: Texts<'_>) -> &'a [Cell] {
        self.reserve();
        let (row, rest) = cells.split_at(self.columns.len());
        for (column, cell) in self.columns.iter_mut().zip(row) {
            column.append(cell, texts);
        }
        self.rows += 1;
        rest
    }

    /// Appends so many rows, of one chunk a column.
    ///
    /// # Panics
    /// When there is not one chunk a column, or a chunk is not of its column's kind or not of so
    /// many values.
    pub(super) fn append_columns(&mut self, rows: usize, chunks: &[Chunk<'_>]) {
        assert_eq!(chunks.len(), self.columns.len(), "there is one chunk a column");
        self.reserve();
        self.rows += rows;
        for (column, chunk) in self.columns.iter_mut().zip(chunks) {
            column.append_chunk(rows, chunk);
            assert_eq!(column.len(), self.rows, "a chunk has a value a row");
        }
    }

    /// Makes room before the first row for as many as the last batch had.
    fn reserve(&mut self) {
        if self.rows == 0 {
            for column in &mut self.columns {
                column.reserve(self.rows_before);
            }
        }
    }

    /// Returns the rows since the last call, or `None` without rows.
    pub(super) fn finish(&mut self) -> Option<RecordBatch> {
        // Also without rows: room for those of an older batch would add up over models.
        self.rows_before = std::mem::take(&mut self.rows);
        if self.rows_before == 0 {
            return None;
        }
        let columns = self.columns.iter_mut().map(ColumnBuilder::finish).collect();
        let batch = RecordBatch::try_new(Arc::clone(&self.schema), columns);
        Some(batch.expect("the columns follow the schema"))
    }
}

enum ColumnBuilder {
    Float32(Numbers<f32>),
    Float64(Numbers<f64>),
    Integer(Numbers<i64>),
    Dictionary(Box<Levels>),
}

impl ColumnBuilder {
    fn new(kind: FeatureKind) -> Self {
        match kind {
            FeatureKind::Float32 => Self::Float32(Numbers::default()),
            FeatureKind::Float64 => Self::Float64(Numbers::default()),
            FeatureKind::Integer => Self::Integer(Numbers::default()),
            FeatureKind::Categorical | FeatureKind::Boolean => {
                Self::Dictionary(Box::new(Levels::new()))
            }
        }
    }

    fn reserve(&mut self, rows: usize) {
        match self {
            Self::Float32(numbers) => numbers.values.reserve(rows),
            Self::Float64(numbers) => numbers.values.reserve(rows),
            Self::Integer(numbers) => numbers.values.reserve(rows),
            Self::Dictionary(levels) => levels.rows.values.reserve(rows),
        }
    }

    fn len(&self) -> usize {
        match self {
            Self::Float32(numbers) => numbers.values.len(),
            Self::Float64(numbers) => numbers.values.len(),
            Self::Integer(numbers) => numbers.values.len(),
            Self::Dictionary(levels) => levels.rows.values.len(),
        }
    }

    fn append(&mut self, cell: &Cell, texts: Texts<'_>) {
        match (self, cell) {
            (Self::Float32(numbers), Cell::Float32(value)) => numbers.append(*value),
            (Self::Float64(numbers), Cell::Float64(value)) => numbers.append(*value),
            (Self::Integer(numbers), Cell::Integer(value)) => numbers.append(*value),
            (Self::Dictionary(levels), Cell::Text(span)) => levels.append(texts.get(span)),
            (Self::Dictionary(levels), Cell::Boolean(value)) => {
                levels.append(if *value { "true" } else { "false" });
            }
            (Self::Float32(numbers), Cell::Null) => numbers.append_nulls(1),
            (Self::Float64(numbers), Cell::Null) => numbers.append_nulls(1),
            (Self::Integer(numbers), Cell::Null) => numbers.append_nulls(1),
            (Self::Dictionary(levels), Cell::Null) => levels.rows.append_nulls(1),
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

    fn append_chunk(&mut self, rows: usize, chunk: &Chunk<'_>) {
        let Chunk { values, validity } = chunk;
        let single = |bytes: &[u8; 4]| f32::from_le_bytes(*bytes);
        let double = |bytes: &[u8; 8]| f64::from_le_bytes(*bytes);
        match (self, values) {
            (Self::Float32(numbers), Values::Nulls) => numbers.append_nulls(rows),
            (Self::Float64(numbers), Values::Nulls) => numbers.append_nulls(rows),
            (Self::Integer(numbers), Values::Nulls) => numbers.append_nulls(rows),
            (Self::Dictionary(levels), Values::Nulls) => levels.rows.append_nulls(rows),
            (Self::Float32(numbers), Values::Floats(all)) => {
                numbers.extend(all.iter().map(single), validity);
            }
            (Self::Float32(numbers), Values::Float32(all)) => {
                numbers.extend(all.iter().copied(), validity);
            }
            (Self::Float64(numbers), Values::Doubles(all)) => {
                numbers.extend(all.iter().map(double), validity);
            }
            (Self::Float64(numbers), Values::Floats(all)) => {
                numbers.extend(all.iter().map(|it| single(it).into()), validity);
            }
            (Self::Float64(numbers), Values::Float64(all)) => {
                numbers.extend(all.iter().copied(), validity);
            }
            (Self::Integer(numbers), Values::Longs(all)) => {
                numbers.extend(all.iter().map(|it| i64::from_le_bytes(*it)), validity);
            }
            (Self::Integer(numbers), Values::Integer(all)) => {
                numbers.extend(all.iter().copied(), validity);
            }
            (Self::Dictionary(levels), Values::Levels { keys, texts }) => {
                levels.extend(keys, texts, validity);
            }
            (
                Self::Float32(_) | Self::Float64(_) | Self::Integer(_) | Self::Dictionary(_),
                Values::Doubles(_)
                | Values::Floats(_)
                | Values::Longs(_)
                | Values::Float32(_)
                | Values::Float64(_)
                | Values::Integer(_)
                | Values::Levels { .. },
            ) => unreachable!("a chunk was read for another column"),
        }
    }

    fn finish(&mut self) -> ArrayRef {
        match self {
            Self::Float32(numbers) => numbers.finish::<Float32Type>(),
            Self::Float64(numbers) => numbers.finish::<Float64Type>(),
            Self::Integer(numbers) => numbers.finish::<Int64Type>(),
            Self::Dictionary(levels) => levels.finish(),
        }
    }
}

/// An open column of numbers.
struct Numbers<T> {
    values: Vec<T>,
    nulls: NullBufferBuilder,
}

impl<T> Default for Numbers<T> {
    fn default() -> Self {
        Self { values: Vec::new(), nulls: NullBufferBuilder::new(0) }
    }
}

impl<T: ArrowNativeType> Numbers<T> {
    fn append(&mut self, value: T) {
        self.values.push(value);
        self.nulls.append_non_null();
    }

    fn append_nulls(&mut self, count: usize) {
        self.values.extend(std::iter::repeat_n(T::default(), count));
        self.nulls.append_n_nulls(count);
    }

    fn extend(&mut self, values: impl ExactSizeIterator<Item = T>, validity: &Validity<'_>) {
        let count = values.len();
        match validity {
            Validity::All => self.nulls.append_n_non_nulls(count),
            Validity::Bits(bits) => {
                let bits = BooleanBuffer::new((*bits).into(), 0, count);
                self.nulls.append_buffer(&NullBuffer::new(bits));
            }
            Validity::Each(valid) => self.nulls.append_slice(valid),
        }
        assert_eq!(self.nulls.len(), self.values.len() + count, "a value is null or not");
        self.values.extend(values);
    }

    fn finish_array<P: ArrowPrimitiveType<Native = T>>(&mut self) -> PrimitiveArray<P> {
        PrimitiveArray::new(std::mem::take(&mut self.values).into(), self.nulls.finish())
    }

    fn finish<P: ArrowPrimitiveType<Native = T>>(&mut self) -> ArrayRef {
        Arc::new(self.finish_array::<P>())
    }
}

/// An open column of levels.
struct Levels {
    /// Of each row the place of its level.
    rows: Numbers<u32>,
    /// Finds the place of a level. What it counts as rows is what it was asked.
    places: StringDictionaryBuilder<UInt32Type>,
    /// The newest level and its place: often the next row has the same.
    newest: Option<(String, u32)>,
}

impl Levels {
    fn new() -> Self {
        let places = StringDictionaryBuilder::new();
        Self { rows: Numbers::default(), places, newest: None }
    }

    fn place(&mut self, level: &str) -> u32 {
        if let Some((newest, place)) = &self.newest
            && newest == level
        {
            return *place;
        }
        let place = self.places.append(level).expect("a batch has fewer levels than u32");
        let (newest, known) = self.newest.get_or_insert_default();
        newest.clear();
        newest.push_str(level);
        *known = place;
        place
    }

    fn append(&mut self, level: &str) {
        let place = self.place(level);
        self.rows.append(place);
    }

    fn extend(&mut self, keys: &[u32], texts: &[Cow<'_, str>], validity: &Validity<'_>) {
        let places: Vec<u32> = texts.iter().map(|text| self.place(text)).collect();
        // Without a text every key is of a null.
        let place = |key: &u32| usize::try_from(*key).ok().and_then(|it| places.get(it).copied());
        self.rows.extend(keys.iter().map(|key| place(key).unwrap_or(0)), validity);
    }

    fn finish(&mut self) -> ArrayRef {
        self.newest = None;
        let levels = Arc::clone(self.places.finish().values());
        let keys = self.rows.finish_array::<UInt32Type>();
        Arc::new(DictionaryArray::new(keys, levels))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use arrow::array::{AsArray as _, StringArray};

    use super::*;

    #[test]
    fn a_level_has_its_own_place_in_each_batch_however_often_it_comes_in_a_row() {
        let mut levels = Levels::new();
        for batch in [["a", "a", "b", "a"], ["a", "b", "b", ""], ["b", "", "", "c"]] {
            for level in batch {
                levels.append(level);
            }
            let array = levels.finish();
            let array = array.as_dictionary::<UInt32Type>();
            let found = array.downcast_dict::<StringArray>().unwrap();
            assert_eq!(found.into_iter().flatten().collect::<Vec<_>>(), batch);
            let distinct = BTreeSet::from(batch);
            assert_eq!(array.values().len(), distinct.len());
        }
    }
}
