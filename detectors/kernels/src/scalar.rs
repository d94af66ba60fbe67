//! Portable kernels: what runs without AVX2, what counts a vector kernel's last few values, and what Miri
//! checks.
//!
//! Before: [`crate::cell_counts`] cuts the values into blocks. After: it widens the cells. No `unsafe`.

use crate::backend::{Kernels, KeyCells};
use crate::number::Number;
use crate::table::{FAN_OUT, Flat, GROUPS, Tree};

/// Returns the portable counting functions.
pub(crate) fn kernels<T: Number>() -> Kernels<T> {
    Kernels { flat: count_flat, tree: count_tree }
}

/// Adds the cell of each value, found among all keys.
pub(crate) fn count_flat<T: Number>(flat: &Flat<T>, values: &[T], cells: &mut KeyCells) {
    for &value in values {
        cells[cell_among(&flat.keys[..flat.key_count], value)] += 1;
    }
}

/// Adds the cell of each value, found by three levels of search.
pub(crate) fn count_tree<T: Number>(tree: &Tree<T>, values: &[T], cells: &mut KeyCells) {
    for &value in values {
        cells[tree_cell(tree, value)] += 1;
    }
}

fn tree_cell<T: Number>(tree: &Tree<T>, value: T) -> usize {
    let mut node = 1;
    for _level in 0..GROUPS.ilog2() {
        node = 2 * node + usize::from(tree.tops[node] < value);
    }
    let group = node - GROUPS;
    let mut leaf = group * FAN_OUT;
    for &separator in &tree.separators[group] {
        leaf += usize::from(separator < value);
    }
    leaf * 2 * FAN_OUT + cell_among(&tree.leaves[leaf], value)
}

/// Returns the number of keys below `value` plus the number at or below it.
fn cell_among<T: Number>(keys: &[T], value: T) -> usize {
    keys.iter().map(|&key| usize::from(key < value) + usize::from(key <= value)).sum()
}
