//! Portable kernels: what runs without AVX2, what counts a vector kernel's last few values, and
//! what Miri checks.
//!
//! Before: [`crate::cell_counts`] cuts the values into blocks. After: it widens the cells. No
//! `unsafe`.

use std::hint::select_unpredictable;

use crate::backend::{Kernels, KeyCells};
use crate::number::Number;
use crate::table::{FLAT_KEYS, Flat, Layout, SEARCHED_KEYS, Tree};

/// Values searched side by side: their steps wait for memory and compares together.
const BATCH: usize = 16;

/// Returns the portable counting functions.
pub(crate) fn kernels<T: Number>() -> Kernels<T> {
    Kernels { flat: count_flat, tree: count_tree }
}

/// Adds the cell of each value.
pub(crate) fn count_flat<T: Number>(flat: &Flat<T>, values: &[T], cells: &mut KeyCells) {
    let (batches, rest) = values.as_chunks::<BATCH>();
    for batch in batches {
        for cell in flat_cells(flat, batch) {
            cells[cell] += 1;
        }
    }
    for &value in rest {
        let [cell] = flat_cells(flat, &[value]);
        cells[cell] += 1;
    }
}

/// Adds the cell of each value.
pub(crate) fn count_tree<T: Number>(tree: &Tree<T>, values: &[T], cells: &mut KeyCells) {
    let (batches, rest) = values.as_chunks::<BATCH>();
    for batch in batches {
        for cell in tree_cells(tree, batch) {
            cells[cell] += 1;
        }
    }
    for &value in rest {
        let [cell] = tree_cells(tree, &[value]);
        cells[cell] += 1;
    }
}

/// Returns the cell over the keys in which `value` falls.
pub(crate) fn cell<T: Number>(layout: &Layout<T>, value: T) -> usize {
    let [cell] = match layout {
        Layout::Flat(flat) => flat_cells(flat, &[value]),
        Layout::Tree(tree) => tree_cells(tree, &[value]),
    };
    cell
}

#[inline]
fn flat_cells<T: Number, const N: usize>(flat: &Flat<T>, values: &[T; N]) -> [usize; N] {
    let mut cells = keys_below::<T, FLAT_KEYS, N>(&flat.keys, values);
    for (cell, &value) in cells.iter_mut().zip(values) {
        *cell = 2 * *cell + cell_beside(flat.keys[*cell], value);
    }
    cells
}

#[inline]
fn tree_cells<T: Number, const N: usize>(tree: &Tree<T>, values: &[T; N]) -> [usize; N] {
    let keys = tree.leaves.as_flattened();
    let mut cells = keys_below::<T, SEARCHED_KEYS, N>(keys, values);
    for (cell, &value) in cells.iter_mut().zip(values) {
        // The few keys that the search does not reach.
        while SEARCHED_KEYS <= *cell + 1 && keys[*cell] < value {
            *cell += 1;
        }
        *cell = 2 * *cell + cell_beside(keys[*cell], value);
    }
    cells
}

/// Returns how many of the first `SEARCHED − 1` keys, one less than a power of two, are below each
/// value.
///
/// The steps are sums, not branches: which way a value goes is not to be predicted.
#[inline]
fn keys_below<T: Number, const SEARCHED: usize, const N: usize>(
    keys: &[T],
    values: &[T; N],
) -> [usize; N] {
    let mut below = [0; N];
    let mut step = SEARCHED / 2;
    while 0 < step {
        for (below, &value) in below.iter_mut().zip(values) {
            // The remainder changes nothing, but shows the compiler that the index is good.
            let is_below = keys[(*below + step - 1) % SEARCHED] < value;
            *below = select_unpredictable(is_below, *below + step, *below);
        }
        step /= 2;
    }
    below
}

/// Returns 0 for a value before the key, 1 for its equal, 2 behind it.
fn cell_beside<T: Number>(key: T, value: T) -> usize {
    usize::from(key < value) + usize::from(key <= value)
}
