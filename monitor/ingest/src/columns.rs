//! Arrow arrays as the column views that detectors count: the only place that knows both.
//!
//! Before: a decoder's (or a replayed file's) `RecordBatch`, possibly sliced by window.
//! After: `driftd_detectors` counts the view. Accepts the types of [`crate::ModelSchema::arrow_schema`].

use arrow::array::{Array, AsArray, StringArray};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{DataType, Float32Type, Float64Type, Int64Type, UInt32Type};
use driftd_detectors::{CategoricalColumn, NumericColumn, NumericValues, Validity};

/// A numeric array, ready to be viewed. Owns its numbers only when they had to be converted.
#[derive(Clone, Debug)]
pub struct NumericArray<'a> {
    values: Values<'a>,
    validity: Option<Validity<'a>>,
}

#[derive(Clone, Debug)]
enum Values<'a> {
    F32(&'a [f32]),
    F64(&'a [f64]),
    Converted(Vec<f64>),
}

impl NumericArray<'_> {
    /// Returns the view that detectors take.
    pub fn column(&self) -> NumericColumn<'_> {
        let values = match &self.values {
            Values::F32(values) => NumericValues::F32(values),
            Values::F64(values) => NumericValues::F64(values),
            Values::Converted(values) => NumericValues::F64(values),
        };
        NumericColumn { values, validity: self.validity }
    }
}

/// A dictionary array, ready to be viewed.
#[derive(Clone, Debug)]
pub struct CategoricalArray<'a> {
    keys: &'a [u32],
    levels: Vec<&'a str>,
    validity: Option<Validity<'a>>,
}

impl CategoricalArray<'_> {
    /// Returns the view that detectors take.
    pub fn column(&self) -> CategoricalColumn<'_> {
        CategoricalColumn { keys: self.keys, levels: &self.levels, validity: self.validity }
    }
}

/// An array that is no column of a model's batch.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ColumnError {
    /// Not one of the numeric types of a batch.
    #[error("a numeric column is `Float32`, `Float64` or `Int64`, not `{found}`")]
    NotNumeric {
        /// Type of the array.
        found: DataType,
    },
    /// Not the dictionary type of a batch.
    #[error("a categorical column is `Dictionary(UInt32, Utf8)`, not `{found}`")]
    NotCategorical {
        /// Type of the array.
        found: DataType,
    },
    /// A dictionary that hides nulls in its levels, where the view does not look for them.
    #[error("a categorical column has nulls in its dictionary; they belong in its keys")]
    NullLevel,
}

/// Views `Float32` and `Float64` arrays in place; copies `Int64` arrays to `f64`, which is exact
/// below 2^53 and rounded to nearest beyond.
pub fn numeric_column(array: &dyn Array) -> Result<NumericArray<'_>, ColumnError> {
    let values = if let Some(array) = array.as_primitive_opt::<Float32Type>() {
        Values::F32(array.values())
    } else if let Some(array) = array.as_primitive_opt::<Float64Type>() {
        Values::F64(array.values())
    } else if let Some(array) = array.as_primitive_opt::<Int64Type>() {
        Values::Converted(array.values().iter().map(|&value| value as f64).collect())
    } else {
        return Err(ColumnError::NotNumeric { found: array.data_type().clone() });
    };
    Ok(NumericArray { values, validity: array.nulls().and_then(validity) })
}

/// Views `Dictionary(UInt32, Utf8)` arrays in place; lists the levels once a call.
pub fn categorical_column(array: &dyn Array) -> Result<CategoricalArray<'_>, ColumnError> {
    let not_categorical = || ColumnError::NotCategorical { found: array.data_type().clone() };
    let dictionary = array.as_dictionary_opt::<UInt32Type>().ok_or_else(not_categorical)?;
    let levels: &StringArray =
        dictionary.values().as_string_opt::<i32>().ok_or_else(not_categorical)?;
    if 0 < levels.null_count() {
        return Err(ColumnError::NullLevel);
    }
    Ok(CategoricalArray {
        keys: dictionary.keys().values(),
        levels: levels.iter().flatten().collect(),
        validity: dictionary.keys().nulls().and_then(validity),
    })
}

/// Views the bitmap of an array that has nulls; `None` when every slot is valid.
fn validity(nulls: &NullBuffer) -> Option<Validity<'_>> {
    (0 < nulls.null_count()).then(|| Validity::new(nulls.validity(), nulls.offset(), nulls.len()))
}
