//! Eight `f32` at a time.
//!
//! Every function here needs AVX2 and POPCNT, which [`super::kernels_f32`] checks. Unsafe are only
//! the loads and stores of whole vectors behind references, and the address of a cell.

use std::arch::x86_64::{
    __m256, __m256i, _CMP_GT_OQ, _CMP_LE_OQ, _CMP_LT_OQ, _mm256_add_epi32, _mm256_blend_epi16,
    _mm256_castps_si256, _mm256_castsi256_ps, _mm256_cmp_ps, _mm256_loadu_ps, _mm256_loadu_si256,
    _mm256_movemask_epi8, _mm256_movemask_ps, _mm256_or_si256, _mm256_permutevar8x32_ps,
    _mm256_set1_epi32, _mm256_set1_ps, _mm256_setzero_si256, _mm256_slli_epi32,
    _mm256_storeu_si256, _mm256_sub_epi32, _mm256_sub_ps,
};

use super::FIRST_LEAF_MASK;
use crate::backend::KeyCells;
use crate::scalar;
use crate::table::{FAN_OUT, FLAT_KEYS, Flat, GROUPS, KEY_CELLS, Tree};

/// Lanes of a vector.
const LANES: usize = 8;

/// Values whose groups are found together: enough independent searches to hide a search's latency.
const STRIDE: usize = 4 * LANES;

/// Values counted in one turn of the loop: more would spill.
const UNROLL: usize = 4;

/// Edges compared in one pass over a piece: their counters and copies stay in registers.
const PASS_KEYS: usize = 3;
const PASSES: usize = (FLAT_KEYS - 1) / PASS_KEYS;

/// Vectors of a piece: it stays in the first-level cache over all passes, and is so short that the
/// processor's reading ahead goes on beside the compares.
pub(super) const PIECE_VECTORS: usize = 32;

/// Values that stay in the first-level cache until the infinities' comparison; no counter overflows
/// on them.
pub(super) const CACHED_VALUES: usize = 2_048;

/// Adds the cell of each value: every value meets every edge, and the infinities only where it
/// must.
#[target_feature(enable = "avx2,popcnt")]
pub(super) fn count_flat(flat: &Flat<f32>, values: &[f32], cells: &mut KeyCells) {
    for cached in values.chunks(CACHED_VALUES) {
        let (vectors, rest) = cached.as_chunks();
        let mut tally = Tally::new();
        for piece in vectors.chunks(PIECE_VECTORS) {
            tally_piece(&mut tally, flat, piece);
        }
        let mut totals = tally.totals(vectors.len() * LANES, flat.key_count);
        if tally.met_not_finite() {
            for key in [0, flat.key_count - 1] {
                (totals.below[key], totals.at_most[key]) = tally_key(flat.keys[key], vectors);
            }
        }
        totals.add_to(flat.key_count, cells);
        scalar::count_flat(flat, rest, cells);
    }
}

/// What a block of values makes of the edges, lane by lane.
pub(super) struct Tally {
    /// How often each edge was below the value; the edges of a pass lie together.
    below: [[[u32; LANES]; PASS_KEYS]; PASSES],
    /// How often each edge was at or below the value.
    at_most: [[[u32; LANES]; PASS_KEYS]; PASSES],
    /// Not 0 when a value was NaN or infinite.
    not_finite: [u32; LANES],
}

impl Tally {
    pub(super) fn new() -> Self {
        let zero = [[[0; LANES]; PASS_KEYS]; PASSES];
        Self { below: zero, at_most: zero, not_finite: [0; LANES] }
    }

    pub(super) fn met_not_finite(&self) -> bool {
        self.not_finite != [0; LANES]
    }

    /// Returns the sums over the lanes, and for the infinities what holds when all values are
    /// finite.
    #[expect(clippy::cast_possible_truncation, reason = "a block of values fits in u32")]
    pub(super) fn totals(&self, value_count: usize, key_count: usize) -> Totals {
        let sums = |lanes: &[[[u32; LANES]; PASS_KEYS]; PASSES]| {
            let mut sums = [value_count as u32; FLAT_KEYS];
            for (sum, lanes) in sums[1..key_count].iter_mut().zip(lanes.as_flattened()) {
                *sum = lanes.iter().sum();
            }
            sums
        };
        Totals {
            value_count: value_count as u32,
            below: sums(&self.below),
            at_most: sums(&self.at_most),
        }
    }
}

/// How many values each key is below, and at or below.
pub(super) struct Totals {
    value_count: u32,
    pub(super) below: [u32; FLAT_KEYS],
    pub(super) at_most: [u32; FLAT_KEYS],
}

impl Totals {
    /// Adds the cells that the values make.
    pub(super) fn add_to(&self, key_count: usize, cells: &mut KeyCells) {
        let mut above_previous = self.value_count;
        for key in 0..key_count {
            cells[2 * key] += above_previous - self.at_most[key];
            cells[2 * key + 1] += self.at_most[key] - self.below[key];
            above_previous = self.below[key];
        }
    }
}

/// Tallies the values of a piece, a few edges a pass.
#[target_feature(enable = "avx2,popcnt")]
#[inline]
pub(super) fn tally_piece(tally: &mut Tally, flat: &Flat<f32>, piece: &[[f32; LANES]]) {
    let mut not_finite = load_counts(&tally.not_finite);
    for vector in piece {
        let value = load(vector);
        // 0 for a number, NaN for the others.
        let difference = _mm256_castps_si256(_mm256_sub_ps(value, value));
        not_finite = _mm256_or_si256(not_finite, difference);
    }
    store(&mut tally.not_finite, not_finite);
    let (key_passes, _) = flat.keys[1..].as_chunks::<PASS_KEYS>();
    let passes = key_passes.iter().zip(&mut tally.below).zip(&mut tally.at_most);
    let edge_count = flat.key_count - 2;
    for ((keys, below), at_most) in passes.take(edge_count.div_ceil(PASS_KEYS)) {
        tally_pass(keys, piece, below, at_most);
    }
}

#[target_feature(enable = "avx2,popcnt")]
#[inline]
fn tally_pass(
    keys: &[f32; PASS_KEYS],
    vectors: &[[f32; LANES]],
    below: &mut [[u32; LANES]; PASS_KEYS],
    at_most: &mut [[u32; LANES]; PASS_KEYS],
) {
    let mut below_counts = [_mm256_setzero_si256(); PASS_KEYS];
    let mut at_most_counts = [_mm256_setzero_si256(); PASS_KEYS];
    for i in 0..PASS_KEYS {
        below_counts[i] = load_counts(&below[i]);
        at_most_counts[i] = load_counts(&at_most[i]);
    }
    for vector in vectors {
        let value = load(vector);
        for i in 0..PASS_KEYS {
            let key = _mm256_set1_ps(keys[i]);
            // A true comparison is −1.
            below_counts[i] = _mm256_sub_epi32(below_counts[i], less(key, value));
            at_most_counts[i] = _mm256_sub_epi32(at_most_counts[i], less_or_equal(key, value));
        }
    }
    for i in 0..PASS_KEYS {
        store(&mut below[i], below_counts[i]);
        store(&mut at_most[i], at_most_counts[i]);
    }
}

/// Returns how many of the values the key is below, and at or below.
#[target_feature(enable = "avx2,popcnt")]
#[inline]
fn tally_key(key: f32, vectors: &[[f32; LANES]]) -> (u32, u32) {
    let (mut below, mut at_most) = ([[0; LANES]; PASS_KEYS], [[0; LANES]; PASS_KEYS]);
    tally_pass(&[key; PASS_KEYS], vectors, &mut below, &mut at_most);
    (below[0].iter().sum(), at_most[0].iter().sum())
}

/// Adds the cell of each value: its group is searched in registers, eight values at a time; then
/// each value meets the eight separators of its group, and the eight keys of its leaf.
///
/// Cells are added up only when a stride's are found. Increments in between would slow the loads of
/// keys by a third whenever the pages of the cells and of the tree are unlucky: the processor then
/// takes a key at the same place in its page for the cell just written, and waits.
#[target_feature(enable = "avx2,popcnt")]
pub(super) fn count_tree(tree: &Tree<f32>, values: &[f32], cells: &mut KeyCells) {
    let (strides, rest) = values.as_chunks::<STRIDE>();
    for stride in strides {
        let (vectors, _) = stride.as_chunks();
        let mut first_leaves = [[0; LANES]; STRIDE / LANES];
        for (first_leaves, vector) in first_leaves.iter_mut().zip(vectors) {
            store(first_leaves, find_first_leaves(&tree.tops, load(vector)));
        }
        let mut found = [[0; UNROLL]; STRIDE / UNROLL];
        let (first_leaves, _) = first_leaves.as_flattened().as_chunks::<UNROLL>();
        let (values, _) = stride.as_chunks::<UNROLL>();
        for ((found, first_leaves), values) in found.iter_mut().zip(first_leaves).zip(values) {
            for i in 0..UNROLL {
                // The mask changes nothing, but shows the compiler that the index is good.
                let first_leaf = first_leaves[i] as usize & FIRST_LEAF_MASK;
                found[i] = find_twice_cell(tree, first_leaf, _mm256_set1_ps(values[i]));
            }
        }
        for &twice_cell in found.as_flattened() {
            // SAFETY: `find_twice_cell` returns nothing but the doubles of cells.
            unsafe { add_to_cell(cells, twice_cell) };
        }
    }
    scalar::count_tree(tree, rest, cells);
}

/// Returns the first leaf of each value's group, to be masked.
#[target_feature(enable = "avx2,popcnt")]
#[inline]
fn find_first_leaves(tops: &[f32; GROUPS], value: __m256) -> __m256i {
    let (tables, _) = tops.as_chunks();
    // A look-up uses the low three bits of a node: 0 to 7 are in the one table, 8 to 15 in the
    // other.
    let (upper, lower) = (load(&tables[0]), load(&tables[1]));
    let node = _mm256_sub_epi32(_mm256_set1_epi32(2), less(_mm256_set1_ps(tops[1]), value));
    let node = descend(upper, node, value);
    let node = descend(upper, node, value);
    _mm256_slli_epi32::<{ FAN_OUT.ilog2().cast_signed() }>(descend(lower, node, value))
}

/// Returns the nodes that `node` leads to. A true comparison is −1.
#[target_feature(enable = "avx2,popcnt")]
#[inline]
fn descend(tops: __m256, node: __m256i, value: __m256) -> __m256i {
    let top = _mm256_permutevar8x32_ps(tops, node);
    _mm256_sub_epi32(_mm256_add_epi32(node, node), less(top, value))
}

/// Returns twice the cell of the value that is in every lane: what the masks give, and an address
/// needs.
#[target_feature(enable = "avx2,popcnt")]
#[inline]
fn find_twice_cell(tree: &Tree<f32>, first_leaf: usize, value: __m256) -> u32 {
    let below = greater(value, load(&tree.separators[first_leaf / FAN_OUT]));
    let leaf = first_leaf + popcount(_mm256_movemask_ps(_mm256_castsi256_ps(below)));
    let keys = load(&tree.leaves[leaf]);
    // One comparison in the even half-lanes, the other in the odd: two bytes of the mask each.
    let both = _mm256_blend_epi16::<0xAA>(less(keys, value), less_or_equal(keys, value));
    twice_cell(leaf, both)
}

/// Returns twice the cell that `leaf` and sixteen comparisons in it, two bytes each, lead to: an
/// even number, and at most twice the last cell, as the last leaf ends there.
#[target_feature(enable = "avx2,popcnt")]
#[inline]
#[expect(clippy::cast_possible_truncation, reason = "a cell is below 2,065")]
pub(super) fn twice_cell(leaf: usize, comparisons: __m256i) -> u32 {
    (leaf * 4 * FAN_OUT + popcount(_mm256_movemask_epi8(comparisons))) as u32
}

/// Adds 1 to a cell.
///
/// Unchecked, and without halving: these are two of the twenty instructions that a value takes.
///
/// # Safety
/// * `twice_cell` is even.
/// * `twice_cell` is less than `2 * KEY_CELLS`.
#[inline]
pub(super) unsafe fn add_to_cell(cells: &mut KeyCells, twice_cell: u32) {
    debug_assert!(
        twice_cell.is_multiple_of(2) && twice_cell as usize / 2 < KEY_CELLS,
        "a cell's double"
    );
    let cell = cells.as_mut_ptr().wrapping_byte_add(2 * twice_cell as usize);
    // SAFETY: a cell is four bytes, so this is the address of one of `cells`, which is borrowed
    // here.
    unsafe { *cell += 1 };
}

#[target_feature(enable = "avx2,popcnt")]
#[inline]
fn less(a: __m256, b: __m256) -> __m256i {
    _mm256_castps_si256(_mm256_cmp_ps::<_CMP_LT_OQ>(a, b))
}

/// The same as [`less`] turned round: its second operand may be in memory.
#[target_feature(enable = "avx2,popcnt")]
#[inline]
fn greater(a: __m256, b: __m256) -> __m256i {
    _mm256_castps_si256(_mm256_cmp_ps::<_CMP_GT_OQ>(a, b))
}

#[target_feature(enable = "avx2,popcnt")]
#[inline]
fn less_or_equal(a: __m256, b: __m256) -> __m256i {
    _mm256_castps_si256(_mm256_cmp_ps::<_CMP_LE_OQ>(a, b))
}

#[target_feature(enable = "avx2,popcnt")]
#[inline]
pub(super) fn popcount(bits: i32) -> usize {
    bits.count_ones() as usize
}

#[target_feature(enable = "avx2,popcnt")]
#[inline]
fn load_counts(lanes: &[u32; LANES]) -> __m256i {
    // SAFETY: the reference covers the 32 bytes that are read.
    unsafe { _mm256_loadu_si256(lanes.as_ptr().cast()) }
}

#[target_feature(enable = "avx2,popcnt")]
#[inline]
fn load(lanes: &[f32; LANES]) -> __m256 {
    // SAFETY: the reference covers the 32 bytes that are read.
    unsafe { _mm256_loadu_ps(lanes.as_ptr()) }
}

#[target_feature(enable = "avx2,popcnt")]
#[inline]
pub(super) fn store(lanes: &mut [u32; LANES], vector: __m256i) {
    // SAFETY: the reference covers the 32 bytes that are written, and any bits are a `u32`.
    unsafe { _mm256_storeu_si256(lanes.as_mut_ptr().cast(), vector) }
}
