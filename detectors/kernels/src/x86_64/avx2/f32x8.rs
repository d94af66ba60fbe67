//! Eight `f32` at a time.
//!
//! Every function here needs AVX2 and POPCNT, which [`super::kernels_f32`] checks. The only unsafe
//! operations are loads and stores through references to whole vectors.

use std::arch::x86_64::{
    __m256, __m256i, _CMP_GT_OQ, _CMP_LE_OQ, _CMP_LT_OQ, _mm256_add_epi32, _mm256_castps_si256,
    _mm256_castsi256_ps, _mm256_cmp_ps, _mm256_loadu_ps, _mm256_movemask_epi8, _mm256_movemask_ps,
    _mm256_packs_epi32, _mm256_permutevar8x32_ps, _mm256_set1_epi32, _mm256_set1_ps,
    _mm256_setzero_si256, _mm256_storeu_si256, _mm256_sub_epi32,
};
use std::hint::assert_unchecked;

use crate::backend::KeyCells;
use crate::scalar;
use crate::table::{FAN_OUT, FLAT_KEYS, Flat, GROUPS, Tree};

/// Lanes of a vector.
const LANES: usize = 8;

/// Values whose groups are found together: enough independent searches to hide a search's latency.
const STRIDE: usize = 4 * LANES;

/// Keys counted in one pass: their counters and copies fill the registers.
const PASS_KEYS: usize = 4;

/// Values that stay in the first-level cache over all passes; a lane counter cannot overflow on them.
const CACHED_VALUES: usize = 2_048;

/// Adds the cell of each value: every value meets every key.
#[target_feature(enable = "avx2,popcnt")]
pub(super) fn count_flat(flat: &Flat<f32>, values: &[f32], cells: &mut KeyCells) {
    for block in values.chunks(CACHED_VALUES) {
        let (vectors, rest) = block.as_chunks();
        let tally = tally_keys(flat, vectors);
        tally.add_to(vectors.len() * LANES, flat.key_count, cells);
        scalar::count_flat(flat, rest, cells);
    }
}

/// How many values each key is below, and how many it is at or below.
pub(super) struct Tally {
    pub(super) below: [u32; FLAT_KEYS],
    pub(super) at_most: [u32; FLAT_KEYS],
}

impl Tally {
    /// Adds the cells that `value_count` tallied values make.
    #[expect(clippy::cast_possible_truncation, reason = "a block of values fits in u32")]
    pub(super) fn add_to(&self, value_count: usize, key_count: usize, cells: &mut KeyCells) {
        let mut above_previous = value_count as u32;
        for key in 0..key_count {
            cells[2 * key] += above_previous - self.at_most[key];
            cells[2 * key + 1] += self.at_most[key] - self.below[key];
            above_previous = self.below[key];
        }
    }
}

#[target_feature(enable = "avx2,popcnt")]
#[inline]
pub(super) fn tally_keys(flat: &Flat<f32>, vectors: &[[f32; LANES]]) -> Tally {
    let mut tally = Tally { below: [0; FLAT_KEYS], at_most: [0; FLAT_KEYS] };
    let (key_passes, _) = flat.keys.as_chunks::<PASS_KEYS>();
    let (below_passes, _) = tally.below.as_chunks_mut::<PASS_KEYS>();
    let (at_most_passes, _) = tally.at_most.as_chunks_mut::<PASS_KEYS>();
    for pass in 0..flat.key_count.div_ceil(PASS_KEYS) {
        (below_passes[pass], at_most_passes[pass]) = tally_pass(&key_passes[pass], vectors);
    }
    tally
}

/// Returns in how many lanes each key is below, and at or below, the value.
#[target_feature(enable = "avx2,popcnt")]
#[inline]
fn tally_pass(
    keys: &[f32; PASS_KEYS],
    vectors: &[[f32; LANES]],
) -> ([u32; PASS_KEYS], [u32; PASS_KEYS]) {
    let mut below = [_mm256_setzero_si256(); PASS_KEYS];
    let mut at_most = [_mm256_setzero_si256(); PASS_KEYS];
    for vector in vectors {
        let value = load(vector);
        for i in 0..PASS_KEYS {
            let key = _mm256_set1_ps(keys[i]);
            // A true comparison is −1.
            below[i] = _mm256_sub_epi32(below[i], less(key, value));
            at_most[i] = _mm256_sub_epi32(at_most[i], less_or_equal(key, value));
        }
    }
    let (mut below_sums, mut at_most_sums) = ([0; PASS_KEYS], [0; PASS_KEYS]);
    for i in 0..PASS_KEYS {
        below_sums[i] = sum(below[i]);
        at_most_sums[i] = sum(at_most[i]);
    }
    (below_sums, at_most_sums)
}

/// Adds the cell of each value: the group is searched in registers, eight values at a time; then each value
/// meets the eight separators of its group, and the eight keys of its leaf.
#[target_feature(enable = "avx2,popcnt")]
pub(super) fn count_tree(tree: &Tree<f32>, values: &[f32], cells: &mut KeyCells) {
    let (strides, rest) = values.as_chunks::<STRIDE>();
    for stride in strides {
        let (vectors, _) = stride.as_chunks();
        let mut groups = [[0; LANES]; STRIDE / LANES];
        for (groups, vector) in groups.iter_mut().zip(vectors) {
            store(groups, find_groups(&tree.tops, load(vector)));
        }
        for (groups, vector) in groups.iter().zip(vectors) {
            for lane in 0..LANES {
                let group = groups[lane] as usize % GROUPS;
                cells[find_cell(tree, group, _mm256_set1_ps(vector[lane]))] += 1;
            }
        }
    }
    scalar::count_tree(tree, rest, cells);
}

/// Returns the nodes 16 to 31 that the binary search over the tops leads to.
#[target_feature(enable = "avx2,popcnt")]
#[inline]
fn find_groups(tops: &[f32; GROUPS], value: __m256) -> __m256i {
    let (tables, _) = tops.as_chunks();
    // A table look-up uses the low three bits of the node: nodes 0 to 7 are in one table, 8 to 15 in the other.
    let (upper, lower) = (load(&tables[0]), load(&tables[1]));
    let node = _mm256_sub_epi32(_mm256_set1_epi32(2), less(_mm256_set1_ps(tops[1]), value));
    let node = descend(upper, node, value);
    let node = descend(upper, node, value);
    descend(lower, node, value)
}

#[target_feature(enable = "avx2,popcnt")]
#[inline]
fn descend(table: __m256, node: __m256i, value: __m256) -> __m256i {
    let top = _mm256_permutevar8x32_ps(table, node);
    _mm256_sub_epi32(_mm256_add_epi32(node, node), less(top, value))
}

/// Returns the cell of `value`, in all lanes, which is below 2,065: leaves go up to 128, cells in one to 16.
#[target_feature(enable = "avx2,popcnt")]
#[inline]
fn find_cell(tree: &Tree<f32>, group: usize, value: __m256) -> usize {
    let separators_below = greater(value, load(&tree.separators[group]));
    let leaf = group * FAN_OUT + popcount(movemask(separators_below));
    let keys = load(&tree.leaves[leaf]);
    let both = _mm256_packs_epi32(less(keys, value), less_or_equal(keys, value));
    leaf * 2 * FAN_OUT + popcount_pairs(both)
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

/// Returns a bit for each lane's sign.
#[target_feature(enable = "avx2,popcnt")]
#[inline]
fn movemask(lanes: __m256i) -> i32 {
    _mm256_movemask_ps(_mm256_castsi256_ps(lanes))
}

#[target_feature(enable = "avx2,popcnt")]
#[inline]
pub(super) fn popcount(bits: i32) -> usize {
    bits.count_ones() as usize
}

/// Returns how many of sixteen two-byte masks are set.
#[target_feature(enable = "avx2,popcnt")]
#[inline]
pub(super) fn popcount_pairs(masks: __m256i) -> usize {
    let bytes = popcount(_mm256_movemask_epi8(masks));
    // SAFETY: both bytes of a mask are equal.
    unsafe { assert_unchecked(bytes.is_multiple_of(2)) };
    bytes / 2
}

#[target_feature(enable = "avx2,popcnt")]
#[inline]
fn sum(lanes: __m256i) -> u32 {
    let mut counts = [0; LANES];
    store(&mut counts, lanes);
    let mut sum = 0;
    for count in counts {
        sum += count;
    }
    sum
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
