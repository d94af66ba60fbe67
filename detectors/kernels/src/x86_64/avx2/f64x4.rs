//! Four `f64` at a time.
//!
//! Every function here needs AVX2 and POPCNT, which [`super::kernels_f64`] checks. Unsafe are only
//! the loads and stores of whole vectors behind references, and the address of a cell.

use std::arch::x86_64::{
    __m128, __m256d, __m256i, _CMP_EQ_OQ, _CMP_GT_OQ, _CMP_LE_OQ, _CMP_LT_OQ, _mm_cvtss_f32,
    _mm_storeu_ps, _mm256_and_pd, _mm256_blend_epi16, _mm256_blend_epi32, _mm256_blendv_pd,
    _mm256_castpd_si256, _mm256_castsi256_ps, _mm256_cmp_pd, _mm256_cvtpd_ps, _mm256_loadu_pd,
    _mm256_movemask_ps, _mm256_or_pd, _mm256_permutevar_pd, _mm256_set1_pd, _mm256_setr_pd,
    _mm256_setzero_si256, _mm256_storeu_si256, _mm256_sub_epi64,
};

use super::FIRST_LEAF_MASK;
use super::f32x8::{self, Tally, Totals, popcount};
use crate::backend::KeyCells;
use crate::scalar;
use crate::table::{FAN_OUT, FLAT_KEYS, Flat, GROUPS, Tree};

/// Lanes of a vector.
const LANES: usize = 4;

/// Values whose groups are found together: enough independent searches to hide a search's latency.
const STRIDE: usize = 8 * LANES;

/// Values rounded at once.
const PIECE_VALUES: usize = f32x8::PIECE_VECTORS * FAN_OUT;

// The group's four digits, times the leaves in a group.
const _: () = assert!(FIRST_LEAF_MASK == 64 + 32 + 16 + 8, "`find_first_leaves` has these weights");

/// Adds the cell of each value: every value meets every edge, in single precision first.
///
/// Rounding keeps order: a rounded value above (below) a rounded edge was above (below) it before.
/// So an edge that no rounded value equals was compared exactly, at half the cost; the others are
/// compared again.
#[target_feature(enable = "avx2,popcnt")]
pub(super) fn count_flat(flat: &Flat<f64>, values: &[f64], cells: &mut KeyCells) {
    let rounded_flat = Flat { key_count: flat.key_count, keys: round_keys(&flat.keys) };
    for cached in values.chunks(f32x8::CACHED_VALUES) {
        let (vectors, rest) = cached.as_chunks::<FAN_OUT>();
        let whole = vectors.as_flattened();
        let tally = tally_rounded(&rounded_flat, whole);
        let mut totals = tally.totals(whole.len(), flat.key_count);
        for key in 1..flat.key_count - 1 {
            correct_edge(&mut totals, key, flat.keys[key], whole);
        }
        if tally.met_not_finite() {
            for key in [0, flat.key_count - 1] {
                totals.below[key] = count_where::<_CMP_LT_OQ>(flat.keys[key], whole);
                totals.at_most[key] = count_where::<_CMP_LE_OQ>(flat.keys[key], whole);
            }
        }
        totals.add_to(flat.key_count, cells);
        scalar::count_flat(flat, rest, cells);
    }
}

/// Makes an edge's totals exact. The values that round to where the edge rounds to are mostly equal
/// to it: whole numbers, prices, the end of a scale. Then one comparison proves the totals right.
#[target_feature(enable = "avx2,popcnt")]
#[inline]
fn correct_edge(totals: &mut Totals, key: usize, edge: f64, whole: &[f64]) {
    let touching = totals.at_most[key] - totals.below[key];
    if touching == 0 {
        return;
    }
    let equal = count_where::<_CMP_EQ_OQ>(edge, whole);
    if equal != touching {
        totals.below[key] = count_where::<_CMP_LT_OQ>(edge, whole);
        totals.at_most[key] = totals.below[key] + equal;
    }
}

/// Rounds keys as the values are rounded.
#[target_feature(enable = "avx2,popcnt")]
#[inline]
fn round_keys(keys: &[f64; FLAT_KEYS]) -> [f32; FLAT_KEYS] {
    let mut rounded = [0.0; FLAT_KEYS];
    for (rounded, &key) in rounded.iter_mut().zip(keys) {
        *rounded = _mm_cvtss_f32(_mm256_cvtpd_ps(_mm256_set1_pd(key)));
    }
    rounded
}

#[target_feature(enable = "avx2,popcnt")]
#[inline]
fn tally_rounded(rounded_flat: &Flat<f32>, whole: &[f64]) -> Tally {
    let mut tally = Tally::new();
    let mut rounded = [0.0; PIECE_VALUES];
    for piece in whole.chunks(PIECE_VALUES) {
        round(&mut rounded, piece);
        let (rounded_vectors, _) = rounded[..piece.len()].as_chunks();
        f32x8::tally_piece(&mut tally, rounded_flat, rounded_vectors);
    }
    tally
}

/// Returns for how many of the values, in whole vectors, the comparison of the key with the value
/// is true.
#[target_feature(enable = "avx2,popcnt")]
#[inline]
fn count_where<const COMPARISON: i32>(key: f64, values: &[f64]) -> u32 {
    let key = _mm256_set1_pd(key);
    let mut counts = _mm256_setzero_si256();
    let (vectors, _) = values.as_chunks();
    for vector in vectors {
        let is_true = _mm256_castpd_si256(_mm256_cmp_pd::<COMPARISON>(key, load(vector)));
        // A true comparison is −1.
        counts = _mm256_sub_epi64(counts, is_true);
    }
    sum(counts)
}

/// Rounds to single precision as many values as there are, up to the last whole vector.
#[target_feature(enable = "avx2,popcnt")]
#[inline]
fn round(rounded: &mut [f32], values: &[f64]) {
    let (rounded, _) = rounded.as_chunks_mut();
    let (vectors, _) = values.as_chunks();
    for (rounded, vector) in rounded.iter_mut().zip(vectors) {
        store_rounded(rounded, _mm256_cvtpd_ps(load(vector)));
    }
}

/// Adds the cell of each value: its group is searched in registers, four values at a time; then
/// each value meets the eight separators of its group, and the eight keys of its leaf. Cells are
/// added up apart, as [`f32x8::count_tree`] explains.
#[target_feature(enable = "avx2,popcnt")]
pub(super) fn count_tree(tree: &Tree<f64>, values: &[f64], cells: &mut KeyCells) {
    let (strides, rest) = values.as_chunks::<STRIDE>();
    for stride in strides {
        let (vectors, _) = stride.as_chunks();
        let mut first_leaves = [[0; 2 * LANES]; STRIDE / LANES];
        for (first_leaves, vector) in first_leaves.iter_mut().zip(vectors) {
            f32x8::store(first_leaves, find_first_leaves(&tree.tops, load(vector)));
        }
        let mut found = [[0; LANES]; STRIDE / LANES];
        for ((found, first_leaves), vector) in found.iter_mut().zip(&first_leaves).zip(vectors) {
            for lane in 0..LANES {
                // The low half of a lane. The mask changes nothing, but shows the compiler that the
                // index is good.
                let first_leaf = first_leaves[2 * lane] as usize & FIRST_LEAF_MASK;
                found[lane] = find_twice_cell(tree, first_leaf, _mm256_set1_pd(vector[lane]));
            }
        }
        for &twice_cell in found.as_flattened() {
            // SAFETY: `find_twice_cell` returns nothing but the doubles of cells.
            unsafe { f32x8::add_to_cell(cells, twice_cell) };
        }
    }
    scalar::count_tree(tree, rest, cells);
}

/// Returns the first leaf of each value's group.
#[target_feature(enable = "avx2,popcnt")]
#[inline]
fn find_first_leaves(tops: &[f64; GROUPS], value: __m256d) -> __m256i {
    let first = less(_mm256_set1_pd(tops[1]), value);
    let second = less(choose(pair(tops, 2), first), value);
    let low = choose(pair(tops, 4), second);
    let high = choose(pair(tops, 6), second);
    let third = less(blend(low, high, first), value);
    let low = blend(choose(pair(tops, 8), third), choose(pair(tops, 10), third), second);
    let high = blend(choose(pair(tops, 12), third), choose(pair(tops, 14), third), second);
    let fourth = less(blend(low, high, first), value);
    let high = _mm256_or_pd(digit(first, 64), digit(second, 32));
    let low = _mm256_or_pd(digit(third, 16), digit(fourth, 8));
    _mm256_castpd_si256(_mm256_or_pd(high, low))
}

/// Returns the weight where the mask is set, and 0 elsewhere.
#[target_feature(enable = "avx2,popcnt")]
#[inline]
fn digit(mask: __m256d, weight: u64) -> __m256d {
    _mm256_and_pd(mask, _mm256_set1_pd(f64::from_bits(weight)))
}

/// Returns two neighbouring nodes in either half.
#[target_feature(enable = "avx2,popcnt")]
#[inline]
fn pair(tops: &[f64; GROUPS], node: usize) -> __m256d {
    _mm256_setr_pd(tops[node], tops[node + 1], tops[node], tops[node + 1])
}

/// Returns, lane by lane, the second node of the pair where the mask is set.
#[target_feature(enable = "avx2,popcnt")]
#[inline]
fn choose(pair: __m256d, mask: __m256d) -> __m256d {
    _mm256_permutevar_pd(pair, _mm256_castpd_si256(mask))
}

#[target_feature(enable = "avx2,popcnt")]
#[inline]
fn blend(clear: __m256d, set: __m256d, mask: __m256d) -> __m256d {
    _mm256_blendv_pd(clear, set, mask)
}

/// Returns twice the cell of the value that is in every lane.
#[target_feature(enable = "avx2,popcnt")]
#[inline]
fn find_twice_cell(tree: &Tree<f64>, first_leaf: usize, value: __m256d) -> u32 {
    let (low, high) = load_pair(&tree.separators[first_leaf / FAN_OUT]);
    let below = join(greater(value, low), greater(value, high));
    let leaf = first_leaf + popcount(_mm256_movemask_ps(_mm256_castsi256_ps(below)));
    let (low, high) = load_pair(&tree.leaves[leaf]);
    let below = join(less(low, value), less(high, value));
    let at_most = join(less_or_equal(low, value), less_or_equal(high, value));
    // One comparison in the even quarter-lanes, the other in the odd: two bytes of the mask each.
    f32x8::twice_cell(leaf, _mm256_blend_epi16::<0xAA>(below, at_most))
}

/// Returns eight masks of 32 bits from two times four of 64, in no useful order.
#[target_feature(enable = "avx2,popcnt")]
#[inline]
fn join(low: __m256d, high: __m256d) -> __m256i {
    _mm256_blend_epi32::<0xAA>(_mm256_castpd_si256(low), _mm256_castpd_si256(high))
}

#[target_feature(enable = "avx2,popcnt")]
#[inline]
fn less(a: __m256d, b: __m256d) -> __m256d {
    _mm256_cmp_pd::<_CMP_LT_OQ>(a, b)
}

/// The same as [`less`] turned round: its second operand may be in memory.
#[target_feature(enable = "avx2,popcnt")]
#[inline]
fn greater(a: __m256d, b: __m256d) -> __m256d {
    _mm256_cmp_pd::<_CMP_GT_OQ>(a, b)
}

#[target_feature(enable = "avx2,popcnt")]
#[inline]
fn less_or_equal(a: __m256d, b: __m256d) -> __m256d {
    _mm256_cmp_pd::<_CMP_LE_OQ>(a, b)
}

#[target_feature(enable = "avx2,popcnt")]
#[inline]
#[expect(clippy::cast_possible_truncation, reason = "a block of values fits in u32")]
fn sum(lanes: __m256i) -> u32 {
    let mut counts = [0; LANES];
    store(&mut counts, lanes);
    let mut sum = 0;
    for count in counts {
        sum += count as u32;
    }
    sum
}

#[target_feature(enable = "avx2,popcnt")]
#[inline]
fn load_pair(lanes: &[f64; FAN_OUT]) -> (__m256d, __m256d) {
    let (halves, _) = lanes.as_chunks();
    (load(&halves[0]), load(&halves[1]))
}

#[target_feature(enable = "avx2,popcnt")]
#[inline]
fn load(lanes: &[f64; LANES]) -> __m256d {
    // SAFETY: the reference covers the 32 bytes that are read.
    unsafe { _mm256_loadu_pd(lanes.as_ptr()) }
}

#[target_feature(enable = "avx2,popcnt")]
#[inline]
fn store(lanes: &mut [u64; LANES], vector: __m256i) {
    // SAFETY: the reference covers the 32 bytes that are written, and any bits are a `u64`.
    unsafe { _mm256_storeu_si256(lanes.as_mut_ptr().cast(), vector) }
}

#[target_feature(enable = "avx2,popcnt")]
#[inline]
fn store_rounded(lanes: &mut [f32; LANES], vector: __m128) {
    // SAFETY: the reference covers the 16 bytes that are written.
    unsafe { _mm_storeu_ps(lanes.as_mut_ptr(), vector) }
}
