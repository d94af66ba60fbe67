//! Counting kernels: how many values fall between, and exactly on, frozen edges.
//!
//! A drift detector needs one thing of a window of numbers: its counts over the cells that the
//! reference sample's edges cut the number line into. From these counts come the two-sample
//! Kolmogorov–Smirnov statistic, PSI, the divergences and χ². This crate makes the counts, at the
//! speed of memory for a few bins and at hundreds of millions of values a second for a thousand
//! edges. It knows nothing of Arrow, features or time: slices in, counts out.
//!
//! # Cells
//! `n` edges make `2n + 1` cells. Cell `2i + 1` holds the values *equal* to edge `i`; cell `2i`
//! those strictly between edge `i − 1` and edge `i`, open at both ends of the number line. A cell
//! per edge keeps point masses exact (zeros, clipped and integer features), whichever side a bin is
//! closed on. −0.0 equals 0.0. NaN and ±∞ are in no cell; they come back as [`Specials`].
//!
//! ```
//! use driftd_kernels::{EdgeTable, Specials, cell_counts};
//!
//! let table = EdgeTable::try_new(&[0.0, 10.0])?;
//! let mut cells = vec![0_u64; table.cells()];
//! let specials = cell_counts(&table, &[-3.0, 0.0, -0.0, 4.5, 10.0, 11.0, f64::NAN], &mut cells);
//!
//! //                 x<0  x=0  0<x<10  x=10  10<x
//! assert_eq!(cells, [1,   2,   1,      1,    1]);
//! assert_eq!(specials, Specials { nan: 1, neg_inf: 0, pos_inf: 0 });
//! # Ok::<(), driftd_kernels::EdgeError>(())
//! ```
//!
//! Counts are added to what `cells` held, so batches and threads merge by addition, and the order
//! of values never shows.
//!
//! # How
//! An [`EdgeTable`] lays −∞, the edges and +∞ out as sorted *keys*. A value's cell over the keys is
//! the number of keys below it plus the number at or below it. NaN then falls in cell 0 and each
//! infinity in the cell of its own key, so they cost nothing to count and are taken out when a
//! block's `u32` counts are widened.
//!
//! * Up to 16 edges (`Flat`): every value meets every edge in registers. `f64` is compared in
//!   single precision first; only edges that a rounded value touches are compared again.
//! * More (`Tree`): 16 groups of 8 leaves of 8 keys. The group is found by four steps of binary
//!   search in registers, for a vector of values at once; leaf and key by comparing a value with
//!   eight at once. No step branches on a value, so that the distribution of the data, sorted or
//!   constant included, hardly matters.
//!
//! The way through the files: `table` lays out, this file cuts into blocks, `scalar` or `x86_64`
//! count, `widen` adds up. `backend` chooses between them once, at the first batch or in
//! [`select`].
//!
//! # Safety
//! This is the only crate of the workspace with `unsafe`, and all of it is in the vector kernels.
//! They are reached through functions that exist only after the processor was asked, and every
//! index they compute is bounded by arithmetic on fixed-size arrays, whatever the edges and values.

mod backend;
mod count;
mod number;
mod scalar;
mod table;
#[cfg(test)]
mod tests;
#[cfg(target_arch = "x86_64")]
mod x86_64;

pub use backend::{Backend, BackendUnavailable, UnknownBackend, backend, select};
pub use count::Count;
pub use number::Number;
pub use table::{EDGES_MAX, EdgeError, EdgeTable};

use backend::{BLOCK_VALUES_MAX, Kernels, KeyCells};
use table::{KEY_CELLS, Layout};

/// Values below which clearing and widening a block's counts costs more than a slower search of
/// each value.
const SHORT_VALUES: usize = 32;

/// What a value that no key is at or below falls in: NaN.
const NAN_CELL: usize = 0;
/// The cell of the first key, −∞.
const NEG_INF_CELL: usize = 1;
/// The first cell over the edges; +∞ has the one behind the last.
const FINITE_CELLS: usize = 2;

/// Counts of values that are in no cell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Specials {
    /// Values that are not a number.
    pub nan: u64,
    /// Values of −∞.
    pub neg_inf: u64,
    /// Values of +∞.
    pub pos_inf: u64,
}

/// Adds each finite value to its cell in `cells` and returns how many values were not finite.
///
/// Counts of four bytes need room for the values: where `u32::MAX` of them or fewer were counted,
/// these included, none can overflow.
///
/// # Panics
/// When `cells` is not [`EdgeTable::cells`] long.
pub fn cell_counts<T: Number, C: Count>(
    table: &EdgeTable<T>,
    values: &[T],
    cells: &mut [C],
) -> Specials {
    assert_eq!(cells.len(), table.cells(), "one count for each cell of the table");
    if values.len() < SHORT_VALUES {
        count_singly(table, values, cells)
    } else {
        count_in_blocks(backend::kernels(), table, values, cells)
    }
}

/// Counts without kernels.
fn count_singly<T: Number, C: Count>(
    table: &EdgeTable<T>,
    values: &[T],
    cells: &mut [C],
) -> Specials {
    let mut specials = Specials::default();
    for &value in values {
        count_one(scalar::cell(table.layout(), value), cells, &mut specials);
    }
    specials
}

/// Counts with the given kernels.
fn count_in_blocks<T: Number, C: Count>(
    kernels: Kernels<T>,
    table: &EdgeTable<T>,
    values: &[T],
    cells: &mut [C],
) -> Specials {
    let mut specials = Specials::default();
    for block in values.chunks(BLOCK_VALUES_MAX) {
        let mut key_cells: KeyCells = [0; KEY_CELLS];
        match table.layout() {
            Layout::Flat(flat) => (kernels.flat)(flat, block, &mut key_cells),
            Layout::Tree(tree) => (kernels.tree)(tree, block, &mut key_cells),
        }
        widen(&key_cells, cells, &mut specials);
    }
    specials
}

/// Counts a value by its cell over the keys: −∞, the edges and +∞.
fn count_one<C: Count>(key_cell: usize, cells: &mut [C], specials: &mut Specials) {
    match key_cell {
        NAN_CELL => specials.nan += 1,
        NEG_INF_CELL => specials.neg_inf += 1,
        finite if finite - FINITE_CELLS < cells.len() => cells[finite - FINITE_CELLS].add(1),
        _ => specials.pos_inf += 1,
    }
}

/// Adds a block's counts over the keys to the counts over the edges.
fn widen<C: Count>(key_cells: &KeyCells, cells: &mut [C], specials: &mut Specials) {
    let (finite, behind) = key_cells[FINITE_CELLS..].split_at(cells.len());
    specials.nan += u64::from(key_cells[NAN_CELL]);
    specials.neg_inf += u64::from(key_cells[NEG_INF_CELL]);
    specials.pos_inf += u64::from(behind[0]);
    for (cell, &count) in cells.iter_mut().zip(finite) {
        cell.add(count);
    }
}
