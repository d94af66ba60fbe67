//! Counting kernels: how many values fall between, and exactly on, frozen edges.
//!
//! A drift detector needs one thing of a window of numbers: its counts over the cells that the reference
//! sample's edges cut the number line into. From these counts come the two-sample Kolmogorov–Smirnov
//! statistic, PSI, the divergences and χ². This crate makes the counts, at the speed of memory for a few
//! bins and at hundreds of millions of values a second for a thousand edges. It knows nothing of Arrow,
//! features or time: slices in, counts out.
//!
//! # Cells
//! `n` edges make `2n + 1` cells. Cell `2i + 1` holds the values *equal* to edge `i`; cell `2i` those
//! strictly between edge `i − 1` and edge `i`, open at both ends of the number line. A cell per edge keeps
//! point masses exact (zeros, clipped and integer features), whichever side a bin is closed on. −0.0 equals
//! 0.0. NaN and ±∞ are in no cell; they come back as [`Specials`].
//!
//! ```
//! use driftd_kernels::{EdgeTable, Specials, cell_counts};
//!
//! let table = EdgeTable::try_new(&[0.0, 10.0])?;
//! let mut cells = vec![0; table.cells()];
//! let specials = cell_counts(&table, &[-3.0, 0.0, -0.0, 4.5, 10.0, 11.0, f64::NAN], &mut cells);
//!
//! //                 x<0  x=0  0<x<10  x=10  10<x
//! assert_eq!(cells, [1,   2,   1,      1,    1]);
//! assert_eq!(specials, Specials { nan: 1, neg_inf: 0, pos_inf: 0 });
//! # Ok::<(), driftd_kernels::EdgeError>(())
//! ```
//!
//! Counts are added to what `cells` held, so batches and threads merge by addition, and the order of
//! values never shows.
//!
//! # Safety
//! This is the only crate of the workspace with `unsafe`, and all of it is in the vector kernels. They
//! are reached through functions that exist only after the processor was asked ([`select`] or first use),
//! and every index that they compute is bounded by arithmetic on fixed-size arrays, whatever the values.

mod backend;
mod number;
mod scalar;
mod table;
#[cfg(test)]
mod tests;
#[cfg(target_arch = "x86_64")]
mod x86_64;

pub use backend::{Backend, BackendUnavailable, UnknownBackend, backend, select};
pub use number::Number;
pub use table::{EDGES_MAX, EdgeError, EdgeTable};

use backend::{BLOCK_VALUES_MAX, Kernels, KeyCells};
use table::{KEY_CELLS, Layout};

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
/// # Panics
/// When `cells` is not [`EdgeTable::cells`] long.
pub fn cell_counts<T: Number>(table: &EdgeTable<T>, values: &[T], cells: &mut [u64]) -> Specials {
    cell_counts_with(backend::kernels(), table, values, cells)
}

/// Counts with the given kernels; tests and benchmarks compare backends through it.
fn cell_counts_with<T: Number>(
    kernels: Kernels<T>,
    table: &EdgeTable<T>,
    values: &[T],
    cells: &mut [u64],
) -> Specials {
    assert_eq!(cells.len(), table.cells(), "one count for each cell of the table");
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

/// Adds a block's counts over the keys, which are −∞, the edges and +∞, to the counts over the edges.
fn widen(key_cells: &KeyCells, cells: &mut [u64], specials: &mut Specials) {
    let pos_inf = 2 + cells.len();
    specials.nan += u64::from(key_cells[0]);
    specials.neg_inf += u64::from(key_cells[1]);
    specials.pos_inf += u64::from(key_cells[pos_inf]);
    for (cell, &count) in cells.iter_mut().zip(&key_cells[2..pos_inf]) {
        *cell += u64::from(count);
    }
}
