//! Borrowed views of one column of a batch: what detectors count, free of Arrow.
//!
//! Before: `driftd_ingest::columns` builds these from Arrow arrays. After: [`crate::counts`].

/// Validity bits of a column, least significant bit first, as Arrow lays them out. A set bit is a
/// value.
#[derive(Clone, Copy, Debug)]
pub struct Validity<'a> {
    bits: &'a [u8],
    offset: usize,
}

impl<'a> Validity<'a> {
    /// Views `bits` from bit `offset` on.
    ///
    /// # Panics
    /// When fewer than `len` bits follow `offset`.
    pub fn new(bits: &'a [u8], offset: usize, len: usize) -> Self {
        assert!(offset + len <= bits.len() * 8, "the bitmap covers the column");
        Self { bits, offset }
    }

    /// Returns whether the value at `index` is present.
    pub fn is_valid(&self, index: usize) -> bool {
        let bit = self.offset + index;
        self.bits[bit / 8] >> (bit % 8) & 1 == 1
    }
}

/// The numbers of a column in the width they were decoded to.
#[derive(Clone, Copy, Debug)]
pub enum NumericValues<'a> {
    /// Single precision.
    F32(&'a [f32]),
    /// Double precision.
    F64(&'a [f64]),
}

impl NumericValues<'_> {
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::F32(values) => values.len(),
            Self::F64(values) => values.len(),
        }
    }
}

/// A numeric column: values and which of them are present. A slot that is not valid holds anything.
#[derive(Clone, Copy, Debug)]
pub struct NumericColumn<'a> {
    /// The numbers.
    pub values: NumericValues<'a>,
    /// Absent when every slot is valid.
    pub validity: Option<Validity<'a>>,
}

/// A categorical column: keys into the batch's own list of levels.
#[derive(Clone, Copy, Debug)]
pub struct CategoricalColumn<'a> {
    /// One key a slot, each below `levels.len()` where the slot is valid.
    pub keys: &'a [u32],
    /// The texts that keys stand for; the order is the batch's own and means nothing.
    pub levels: &'a [&'a str],
    /// Absent when every slot is valid.
    pub validity: Option<Validity<'a>>,
}
