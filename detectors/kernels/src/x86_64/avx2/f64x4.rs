//! Four `f64` at a time.
//!
//! Every function here needs AVX2 and POPCNT, which [`super::kernels_f64`] checks. The only unsafe
//! operations are loads and stores through references to whole vectors.

use std::arch::x86_64::{
    __m128, __m256d, __m256i, _CMP_GT_OQ, _CMP_LE_OQ, _CMP_LT_OQ, _mm_storeu_ps, _mm256_add_epi64,
    _mm256_blendv_pd, _mm256_castpd_si256, _mm256_castsi256_ps, _mm256_cmp_pd, _mm256_cvtpd_ps,
    _mm256_loadu_pd, _mm256_movemask_ps, _mm256_packs_epi32, _mm256_permutevar_pd, _mm256_set1_pd,
    _mm256_setr_pd, _mm256_setzero_si256, _mm256_storeu_si256, _mm256_sub_epi64,
};

use super::f32x8::{self, popcount, popcount_pairs};
use crate::backend::KeyCells;
use crate::scalar;
use crate::table::{FAN_OUT, FLAT_KEYS, Flat, GROUPS, Tree};

/// Lanes of a vector.
const LANES: usize = 4;

/// Values whose groups are found together: enough independent searches to hide a search's latency.
const STRIDE: usize = 4 * LANES;

/// Values that stay in the first-level cache over all passes; a lane counter cannot overflow on them.
const CACHED_VALUES: usize = 1_024;

/// Adds the cell of each value: every value meets every key, in single precision first.
///
/// Rounding keeps order: a rounded value above (below) a rounded key was above (below) it before. So a key
/// that no rounded value equals was compared exactly, at half the cost; the others are compared again.
#[target_feature(enable = "avx2,popcnt")]
pub(super) fn count_flat(flat: &Flat<f64>, values: &[f64], cells: &mut KeyCells) {
    let mut rounded_flat = Flat { key_count: flat.key_count, keys: [0.0; FLAT_KEYS] };
    round(&mut rounded_flat.keys, &flat.keys);
    let mut rounded = [0.0; CACHED_VALUES];
    for block in values.chunks(CACHED_VALUES) {
        let (vectors, rest) = block.as_chunks::<FAN_OUT>();
        let whole = vectors.as_flattened();
        round(&mut rounded, whole);
        let (rounded_vectors, _) = rounded[..whole.len()].as_chunks();
        let mut tally = f32x8::tally_keys(&rounded_flat, rounded_vectors);
        for key in 0..flat.key_count {
            if tally.below[key] != tally.at_most[key] {
                (tally.below[key], tally.at_most[key]) = tally_key(flat.keys[key], whole);
            }
        }
        tally.add_to(whole.len(), flat.key_count, cells);
        scalar::count_flat(flat, rest, cells);
    }
}

/// Returns how many of the values the key is below, and at or below; values beyond the last whole vector are
/// left out.
#[target_feature(enable = "avx2,popcnt")]
#[inline]
fn tally_key(key: f64, values: &[f64]) -> (u32, u32) {
    let key = _mm256_set1_pd(key);
    let (mut below, mut at_most) = (_mm256_setzero_si256(), _mm256_setzero_si256());
    let (vectors, _) = values.as_chunks();
    for vector in vectors {
        let value = load(vector);
        below = count(below, less(key, value));
        at_most = count(at_most, less_or_equal(key, value));
    }
    (sum(below), sum(at_most))
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

/// Adds the cell of each value: the group is searched in registers, four values at a time; then each value
/// meets the eight separators of its group, and the eight keys of its leaf.
#[target_feature(enable = "avx2,popcnt")]
pub(super) fn count_tree(tree: &Tree<f64>, values: &[f64], cells: &mut KeyCells) {
    let (strides, rest) = values.as_chunks::<STRIDE>();
    for stride in strides {
        let (vectors, _) = stride.as_chunks();
        let mut groups = [[0; 2 * LANES]; STRIDE / LANES];
        for (groups, vector) in groups.iter_mut().zip(vectors) {
            f32x8::store(groups, find_groups(&tree.tops, load(vector)));
        }
        for (groups, vector) in groups.iter().zip(vectors) {
            for lane in 0..LANES {
                // A group is in the low half of its lane.
                let group = groups[2 * lane] as usize % GROUPS;
                cells[find_cell(tree, group, _mm256_set1_pd(vector[lane]))] += 1;
            }
        }
    }
    scalar::count_tree(tree, rest, cells);
}

/// Returns the groups as the binary search over the tops finds them.
#[target_feature(enable = "avx2,popcnt")]
#[inline]
fn find_groups(tops: &[f64; GROUPS], value: __m256d) -> __m256i {
    let first = less(_mm256_set1_pd(tops[1]), value);
    let second = less(choose(pair(tops, 2), first), value);
    let low = choose(pair(tops, 4), second);
    let high = choose(pair(tops, 6), second);
    let third = less(blend(low, high, first), value);
    let low = blend(choose(pair(tops, 8), third), choose(pair(tops, 10), third), second);
    let high = blend(choose(pair(tops, 12), third), choose(pair(tops, 14), third), second);
    let fourth = less(blend(low, high, first), value);
    let first = count(_mm256_setzero_si256(), first);
    append(append(append(first, second), third), fourth)
}

/// Returns the binary digits with one more.
#[target_feature(enable = "avx2,popcnt")]
#[inline]
fn append(digits: __m256i, digit: __m256d) -> __m256i {
    count(_mm256_add_epi64(digits, digits), digit)
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

/// Returns the cell of `value`, in all lanes, which is below 2,065: leaves go up to 128, cells in one to 16.
#[target_feature(enable = "avx2,popcnt")]
#[inline]
fn find_cell(tree: &Tree<f64>, group: usize, value: __m256d) -> usize {
    let (low, high) = load_pair(&tree.separators[group]);
    let below = pack(greater(value, low), greater(value, high));
    let leaf = group * FAN_OUT + popcount(_mm256_movemask_ps(_mm256_castsi256_ps(below)));
    let (low, high) = load_pair(&tree.leaves[leaf]);
    let below = pack(less(low, value), less(high, value));
    let at_most = pack(less_or_equal(low, value), less_or_equal(high, value));
    leaf * 2 * FAN_OUT + popcount_pairs(_mm256_packs_epi32(below, at_most))
}

/// Returns the eight masks in 32 bits each.
#[target_feature(enable = "avx2,popcnt")]
#[inline]
fn pack(low: __m256d, high: __m256d) -> __m256i {
    _mm256_packs_epi32(_mm256_castpd_si256(low), _mm256_castpd_si256(high))
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

/// Returns the counts with 1 added where the mask is set: a set mask is −1.
#[target_feature(enable = "avx2,popcnt")]
#[inline]
fn count(counts: __m256i, mask: __m256d) -> __m256i {
    _mm256_sub_epi64(counts, _mm256_castpd_si256(mask))
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
