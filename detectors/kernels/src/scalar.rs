//! Portable kernels: what runs without AVX2, what counts a vector kernel's last few values, and what Miri
//! checks.
//!
//! Before: [`crate::cell_counts`] cuts the values into blocks. After: it widens the cells. No `unsafe`.

use std::hint::select_unpredictable;

use crate::backend::{Kernels, KeyCells};
use crate::number::Number;
use crate::table::{FAN_OUT, Flat, GROUPS, KEYS, LEAVES, Tree};

/// Returns the portable counting functions.
pub(crate) fn kernels<T: Number>() -> Kernels<T> {
    Kernels { flat: count_flat, tree: count_tree }
}

/// Adds the cell of each value, found among the first `key_count` keys.
pub(crate) fn count_flat<T: Number>(
    flat: &Flat<T>,
    key_count: usize,
    values: &[T],
    cells: &mut KeyCells,
) {
    for &value in values {
        cells[flat_cell(&flat.keys[..key_count], value)] += 1;
    }
}

/// Adds the cell of each value, found by three levels of search.
pub(crate) fn count_tree<T: Number>(tree: &Tree<T>, values: &[T], cells: &mut KeyCells) {
    for &value in values {
        cells[tree_cell(tree, value)] += 1;
    }
}

/// Returns the number of keys below `value` plus the number at or below it.
fn flat_cell<T: Number>(keys: &[T], value: T) -> usize {
    keys.iter().map(|&key| usize::from(key < value) + usize::from(key <= value)).sum()
}

/// Returns the number of keys below `value` plus the number at or below it.
fn tree_cell<T: Number>(tree: &Tree<T>, value: T) -> usize {
    let mut group = 0;
    let mut half = GROUPS / 2;
    while 0 < half {
        group = select_unpredictable(tree.tops[group + half - 1] < value, group + half, group);
        half /= 2;
    }
    let separators = &tree.separators[group * FAN_OUT..][..FAN_OUT];
    let leaf = group * FAN_OUT
        + separators.iter().map(|&separator| usize::from(separator < value)).sum::<usize>();
    leaf * 2 * FAN_OUT + flat_cell(&tree.keys[leaf * FAN_OUT..][..FAN_OUT], value)
}

const _: () = assert!(LEAVES * FAN_OUT + FAN_OUT == KEYS, "the leaf behind the last group exists");
