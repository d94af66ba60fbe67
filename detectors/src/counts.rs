//! Counts of one feature in one window: mergeable, and all that detectors need.
//!
//! Before: [`crate::column`] views of a batch. After: [`crate::decision`]. Owns how values become
//! counts; every row lands in exactly one cell or special count, whatever its value. Counts are
//! sums over rows, so neither the order of rows, nor how they are split into batches and
//! partitions, nor the order of merges can be seen in them.

use std::collections::BTreeMap;

use driftd_kernels::{Count, EdgeTable, Number, Specials, cell_counts};
use thiserror::Error;

use crate::cells::{CellCounts, CellsMut};
use crate::column::{CategoricalColumn, NumericColumn, NumericValues, Validity};
use crate::grid::Grid;
use crate::levels::Levels;
use crate::reference::FeatureReference;

/// Most unseen levels that are named. Further ones only count in the total.
pub const UNSEEN_LEVELS_MAX: usize = 64;

/// Longest name of an unseen level in bytes; a longer one is cut at a character border.
pub const UNSEEN_LEVEL_BYTES_MAX: usize = 128;

/// Values that are copied together before a kernel sees them: 8 KB of doubles stay in the L1 cache.
const BLOCK: usize = 1_024;

/// Why two counts cannot be added.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum MergeError {
    /// One side counts numbers, the other levels.
    #[error("numeric and categorical counts cannot be merged: the feature's kind has changed")]
    KindsDiffer,
    /// The sides were counted against different references.
    #[error(
        "counts of {ours} and {theirs} cells cannot be merged: they belong to different references"
    )]
    CellsDiffer {
        /// Cells of the side merged into.
        ours: usize,
        /// Cells of the other side.
        theirs: usize,
    },
}

/// Counts of a numeric feature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NumericCounts {
    /// Finite values by cell of the grid.
    pub cells: CellCounts,
    /// Rows without a value.
    pub null: u64,
    /// Not-a-number values.
    pub nan: u64,
    /// Values of −∞.
    pub neg_inf: u64,
    /// Values of +∞.
    pub pos_inf: u64,
}

impl NumericCounts {
    /// Returns counts of nothing.
    pub fn empty(grid: &Grid) -> Self {
        Self { cells: CellCounts::empty(grid.cells()), null: 0, nan: 0, neg_inf: 0, pos_inf: 0 }
    }

    /// Counts a column. Its width may differ from the grid's; cells are exact all the same.
    ///
    /// # Panics
    /// When the counts were made for another grid.
    pub fn update(&mut self, grid: &Grid, column: &NumericColumn<'_>) {
        assert_eq!(self.cells.len(), grid.cells(), "one count a cell");
        let rows = column.values.len() as u64;
        let (nulls, specials) = match self.cells.room_for(rows) {
            CellsMut::Narrow(cells) => count_column(grid, column, cells),
            CellsMut::Wide(cells) => count_column(grid, column, cells),
        };
        let Specials { nan, neg_inf, pos_inf } = specials;
        self.cells.counted(rows - nulls - nan - neg_inf - pos_inf);
        self.null += nulls;
        self.nan += nan;
        self.neg_inf += neg_inf;
        self.pos_inf += pos_inf;
    }

    /// Returns the number of finite values.
    pub fn present(&self) -> u64 {
        self.cells.total()
    }

    /// Returns the number of rows.
    pub fn rows(&self) -> u64 {
        self.present() + self.null + self.nan + self.neg_inf + self.pos_inf
    }

    fn merge(&mut self, other: &Self) -> Result<(), MergeError> {
        self.cells.merge(&other.cells)?;
        self.null += other.null;
        self.nan += other.nan;
        self.neg_inf += other.neg_inf;
        self.pos_inf += other.pos_inf;
        Ok(())
    }
}

/// Counts of a categorical feature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CategoricalCounts {
    /// Rows by reference level.
    pub levels: Vec<u64>,
    /// Rows without a value.
    pub null: u64,
    /// Rows whose level the reference does not have.
    pub unseen: u64,
    /// Rows by unseen level, of the first [`UNSEEN_LEVELS_MAX`] names by code point among all
    /// unseen ones. Which these are and their exact counts follow from the rows alone: a name that
    /// leaves the map for a smaller one can never come back.
    pub unseen_levels: BTreeMap<Box<str>, u64>,
}

impl CategoricalCounts {
    /// Returns counts of nothing.
    pub fn empty(levels: &Levels) -> Self {
        let levels = vec![0; levels.names().len()];
        Self { levels, null: 0, unseen: 0, unseen_levels: BTreeMap::new() }
    }

    /// Counts a column.
    ///
    /// # Panics
    /// When the counts were made for other levels, or a key is not below the column's level count.
    pub fn update(&mut self, levels: &Levels, column: &CategoricalColumn<'_>) {
        assert_eq!(self.levels.len(), levels.names().len(), "one count a level");
        let mut rows_by_key = vec![0_u64; column.levels.len()];
        for (row, &key) in column.keys.iter().enumerate() {
            if column.validity.is_none_or(|validity| validity.is_valid(row)) {
                rows_by_key[key as usize] += 1;
            } else {
                self.null += 1;
            }
        }
        for (&name, &rows) in column.levels.iter().zip(&rows_by_key) {
            if rows == 0 {
                continue;
            }
            match levels.find(name) {
                Some(level) => self.levels[level] += rows,
                None => self.add_unseen(name, rows),
            }
        }
    }

    /// Returns the number of rows with a level, known or unseen.
    pub fn present(&self) -> u64 {
        self.levels.iter().sum::<u64>() + self.unseen
    }

    /// Returns the number of rows.
    pub fn rows(&self) -> u64 {
        self.present() + self.null
    }

    /// Returns the counts as cells: one a reference level, then one for all unseen levels.
    pub(crate) fn cells(&self) -> Vec<u64> {
        self.levels.iter().copied().chain([self.unseen]).collect()
    }

    fn add_unseen(&mut self, name: &str, rows: u64) {
        self.unseen += rows;
        let end = name.floor_char_boundary(UNSEEN_LEVEL_BYTES_MAX);
        self.name_unseen(name.get(..end).unwrap_or_default(), rows);
    }

    fn name_unseen(&mut self, name: &str, rows: u64) {
        if let Some(count) = self.unseen_levels.get_mut(name) {
            *count += rows;
            return;
        }
        if self.unseen_levels.len() == UNSEEN_LEVELS_MAX {
            match self.unseen_levels.last_key_value() {
                Some((last, _)) if name < last.as_ref() => {
                    self.unseen_levels.pop_last();
                }
                _ => return,
            }
        }
        self.unseen_levels.insert(name.into(), rows);
    }

    fn merge(&mut self, other: &Self) -> Result<(), MergeError> {
        add_levels(&mut self.levels, &other.levels)?;
        self.null += other.null;
        self.unseen += other.unseen;
        for (name, &rows) in &other.unseen_levels {
            self.name_unseen(name, rows);
        }
        Ok(())
    }
}

/// Counts of one feature of either kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FeatureCounts {
    /// Of a numeric feature.
    Numeric(NumericCounts),
    /// Of a categorical feature.
    Categorical(CategoricalCounts),
}

impl FeatureCounts {
    /// Returns counts of nothing, in the cells of `reference`.
    pub fn empty(reference: &FeatureReference) -> Self {
        match reference {
            FeatureReference::Numeric(numeric) => {
                Self::Numeric(NumericCounts::empty(&numeric.grid))
            }
            FeatureReference::Categorical(categorical) => {
                Self::Categorical(CategoricalCounts::empty(&categorical.levels))
            }
        }
    }

    /// Adds the counts of other rows of the same feature. On an error nothing was added.
    pub fn merge(&mut self, other: &Self) -> Result<(), MergeError> {
        match (self, other) {
            (Self::Numeric(ours), Self::Numeric(theirs)) => ours.merge(theirs),
            (Self::Categorical(ours), Self::Categorical(theirs)) => ours.merge(theirs),
            (Self::Numeric(_), Self::Categorical(_)) | (Self::Categorical(_), Self::Numeric(_)) => {
                Err(MergeError::KindsDiffer)
            }
        }
    }

    /// Returns the number of rows.
    pub fn rows(&self) -> u64 {
        match self {
            Self::Numeric(counts) => counts.rows(),
            Self::Categorical(counts) => counts.rows(),
        }
    }

    /// Returns the number of rows with a finite value or a level, known or unseen.
    pub fn present(&self) -> u64 {
        match self {
            Self::Numeric(counts) => counts.present(),
            Self::Categorical(counts) => counts.present(),
        }
    }
}

fn add_levels(ours: &mut [u64], theirs: &[u64]) -> Result<(), MergeError> {
    if ours.len() != theirs.len() {
        return Err(MergeError::CellsDiffer { ours: ours.len(), theirs: theirs.len() });
    }
    for (sum, count) in ours.iter_mut().zip(theirs) {
        *sum += count;
    }
    Ok(())
}

/// Counts a column. Returns its rows without a value, and its values in no cell.
fn count_column<C: Count>(
    grid: &Grid,
    column: &NumericColumn<'_>,
    cells: &mut [C],
) -> (u64, Specials) {
    let validity = column.validity;
    match (column.values, grid.narrow_table()) {
        (NumericValues::F32(values), Some(table)) => count(table, values, validity, cells),
        (NumericValues::F32(values), None) => {
            count_converted(grid.wide_table(), values, f64::from, validity, cells)
        }
        (NumericValues::F64(values), _) => count(grid.wide_table(), values, validity, cells),
    }
}

/// Counts values that already have the table's width; without nulls the kernel reads them in place.
fn count<T: Number + Default, C: Count>(
    table: &EdgeTable<T>,
    values: &[T],
    validity: Option<Validity<'_>>,
    cells: &mut [C],
) -> (u64, Specials) {
    match validity {
        None => (0, cell_counts(table, values, cells)),
        Some(_) => count_converted(table, values, |value| value, validity, cells),
    }
}

/// Counts the valid values block by block, converted to the table's width.
fn count_converted<S: Copy, T: Number + Default, C: Count>(
    table: &EdgeTable<T>,
    values: &[S],
    convert: impl Fn(S) -> T,
    validity: Option<Validity<'_>>,
    cells: &mut [C],
) -> (u64, Specials) {
    let (mut nulls, mut specials) = (0, Specials::default());
    let mut block = [T::default(); BLOCK];
    for (index, chunk) in values.chunks(BLOCK).enumerate() {
        let mut filled = 0;
        for (slot, &value) in chunk.iter().enumerate() {
            // A branch on every null would cost more than writing each value and keeping some.
            block[filled] = convert(value);
            filled += usize::from(validity.is_none_or(|v| v.is_valid(index * BLOCK + slot)));
        }
        nulls += (chunk.len() - filled) as u64;
        let found = cell_counts(table, &block[..filled], cells);
        specials.nan += found.nan;
        specials.neg_inf += found.neg_inf;
        specials.pos_inf += found.pos_inf;
    }
    (nulls, specials)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unseen(names: &[&str]) -> CategoricalCounts {
        let levels = Levels::try_new(Vec::new()).unwrap();
        let keys: Vec<u32> = (0..).take(names.len()).collect();
        let mut counts = CategoricalCounts::empty(&levels);
        counts.update(&levels, &CategoricalColumn { keys: &keys, levels: names, validity: None });
        counts
    }

    #[test]
    fn the_first_unseen_names_by_code_point_are_kept_with_their_exact_counts() {
        let many: Vec<String> = (0..200).rev().map(|i| format!("{i:03}")).collect();
        let mut names: Vec<&str> = many.iter().map(String::as_str).collect();
        names.extend(["000", "063", "064"]);
        let counts = unseen(&names);
        assert_eq!((counts.unseen, counts.unseen_levels.len()), (203, UNSEEN_LEVELS_MAX));
        assert_eq!(counts.unseen_levels.get("063"), Some(&2));
        assert_eq!(counts.unseen_levels.get("064"), None);
    }

    #[test]
    fn long_unseen_names_are_cut_at_a_character() {
        let long = "é".repeat(UNSEEN_LEVEL_BYTES_MAX);
        let odd = format!("x{long}");
        let counts = unseen(&[&long, &odd]);
        let lengths: Vec<usize> = counts.unseen_levels.keys().map(|name| name.len()).collect();
        assert_eq!(lengths, [UNSEEN_LEVEL_BYTES_MAX - 1, UNSEEN_LEVEL_BYTES_MAX]);
    }

    #[test]
    fn a_refused_merge_adds_nothing() {
        let levels = Levels::try_new(vec!["a".into()]).unwrap();
        let ours = FeatureCounts::Categorical(CategoricalCounts::empty(&levels));
        let mut sum = ours.clone();
        let theirs = FeatureCounts::Categorical(unseen(&["x"]));
        assert_eq!(sum.merge(&theirs), Err(MergeError::CellsDiffer { ours: 1, theirs: 0 }));
        assert_eq!(sum, ours);
    }
}
