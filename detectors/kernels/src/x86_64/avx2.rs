//! Kernels for AVX2: eight `f32` or four `f64` at a time.
//!
//! Before: [`crate::cell_counts`] cuts the values into blocks. After: it widens the cells. Owns the
//! check that the processor has the instructions; the closures here are the only way to the
//! functions that need them.

mod f32x8;
mod f64x4;

use std::arch::is_x86_feature_detected;

use crate::backend::Kernels;
use crate::table::{FAN_OUT, GROUPS};

/// The bits of a group's first leaf.
const FIRST_LEAF_MASK: usize = (GROUPS - 1) * FAN_OUT;

/// Returns the counting functions for `f32`, or none when this processor lacks an instruction.
pub(crate) fn kernels_f32() -> Option<Kernels<f32>> {
    if !is_available() {
        return None;
    }
    Some(Kernels {
        flat: |flat, values, cells| {
            // SAFETY: this closure is only reachable through the check above.
            unsafe { f32x8::count_flat(flat, values, cells) }
        },
        tree: |tree, values, cells| {
            // SAFETY: this closure is only reachable through the check above.
            unsafe { f32x8::count_tree(tree, values, cells) }
        },
    })
}

/// Returns the counting functions for `f64`, or none when this processor lacks an instruction.
pub(crate) fn kernels_f64() -> Option<Kernels<f64>> {
    if !is_available() {
        return None;
    }
    Some(Kernels {
        flat: |flat, values, cells| {
            // SAFETY: this closure is only reachable through the check above.
            unsafe { f64x4::count_flat(flat, values, cells) }
        },
        tree: |tree, values, cells| {
            // SAFETY: this closure is only reachable through the check above.
            unsafe { f64x4::count_tree(tree, values, cells) }
        },
    })
}

fn is_available() -> bool {
    is_x86_feature_detected!("avx2") && is_x86_feature_detected!("popcnt")
}
