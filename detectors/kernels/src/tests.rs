//! One runner for every kernel: each backend and width against an obvious twin, on lengths, offsets
//! and values chosen to hurt. A new backend is tested by adding its line to [`BACKENDS`].

use driftd_fixtures::trials::cases;
use proptest::prelude::*;

use crate::backend::BLOCK_VALUES_MAX;
use crate::number::Number;
use crate::table::FLAT_EDGES_MAX;
use crate::{
    Backend, EDGES_MAX, EdgeError, EdgeTable, Specials, backend, cell_counts, count_in_blocks,
    count_singly, select,
};

const BACKENDS: [Backend; 2] = [Backend::Scalar, Backend::Avx2];

/// Around every vector width and stride, also above the length where the kernels begin.
const LENGTHS: [usize; 20] =
    [0, 1, 2, 3, 7, 8, 9, 31, 63, 64, 65, 67, 71, 72, 79, 80, 95, 96, 97, 1_000];

/// Around the flat layout's end, a leaf's, a group's and the table's.
const EDGE_COUNTS: [usize; 20] =
    [1, 2, 3, 7, 8, 9, 15, 16, 17, 18, 31, 62, 63, 64, 126, 127, 1_000, 1_022, 1_023, 1_024];

trait TestNumber: Number + std::fmt::Debug + PartialEq {
    const TINY: Self;
    fn of(value: f64) -> Self;
    /// Returns the next number in the direction given.
    fn step(self, up: bool) -> Self;
}

impl TestNumber for f32 {
    const TINY: Self = f32::from_bits(1);
    #[expect(clippy::cast_possible_truncation, reason = "rounding makes any test value fit")]
    fn of(value: f64) -> Self {
        value as f32
    }
    fn step(self, up: bool) -> Self {
        if up { self.next_up() } else { self.next_down() }
    }
}

impl TestNumber for f64 {
    const TINY: Self = f64::from_bits(1);
    fn of(value: f64) -> Self {
        value
    }
    fn step(self, up: bool) -> Self {
        if up { self.next_up() } else { self.next_down() }
    }
}

/// The obvious version: one linear search a value.
fn naive_counts<T: TestNumber>(edges: &[T], values: &[T]) -> (Vec<u64>, Specials) {
    let mut cells = vec![0; 2 * edges.len() + 1];
    let mut specials = Specials::default();
    for &value in values {
        if value.to_f64().is_nan() {
            specials.nan += 1;
        } else if value.to_f64() == f64::NEG_INFINITY {
            specials.neg_inf += 1;
        } else if value.to_f64() == f64::INFINITY {
            specials.pos_inf += 1;
        } else if let Some(equal) = edges.iter().position(|&edge| edge == value) {
            cells[2 * equal + 1] += 1;
        } else {
            cells[2 * edges.iter().filter(|&&edge| edge < value).count()] += 1;
        }
    }
    (cells, specials)
}

/// Asserts that every way of this machine counts as the twin does.
fn check<T: TestNumber>(edges: &[T], values: &[T]) {
    let table = EdgeTable::try_new(edges).unwrap();
    let expected = naive_counts(edges, values);
    let check_way = |way: &str, count: &dyn Fn(&mut [u64]) -> Specials| {
        let mut cells = vec![0; table.cells()];
        let specials = count(&mut cells);
        let (edge_count, value_count) = (edges.len(), values.len());
        assert_eq!((cells, specials), expected, "{way}: {edge_count} edges, {value_count} values");
    };
    check_way("singly", &|cells| count_singly(&table, values, cells));
    check_way("public", &|cells| cell_counts(&table, values, cells));
    check_way("four bytes", &|cells| {
        let mut narrow = vec![0_u32; cells.len()];
        let specials = cell_counts(&table, values, &mut narrow);
        cells.iter_mut().zip(narrow).for_each(|(cell, count)| *cell += u64::from(count));
        specials
    });
    for backend in BACKENDS {
        if let Some(kernels) = T::kernels(backend) {
            check_way(backend.as_str(), &|cells| count_in_blocks(kernels, &table, values, cells));
        }
    }
}

/// A splitmix64 stream: enough randomness for test values, and the same on every machine.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound as u64).unwrap()
    }
}

/// Returns `count` edges spread over both signs, with 0 among them when there are three or more.
fn spread_edges<T: TestNumber>(count: usize) -> Vec<T> {
    let middle = count as f64 / 2.0;
    (0..count).map(|i| (i as f64 - middle.floor()) * 1.25).map(T::of).collect()
}

/// Returns values around the edges and every kind of number that compares oddly.
fn hostile_values<T: TestNumber>(edges: &[T], count: usize, random: &mut Random) -> Vec<T> {
    (0..count)
        .map(|_| {
            let edge = edges[random.below(edges.len())];
            match random.below(16) {
                0 => T::NAN,
                1 => T::INFINITY,
                2 => T::NEG_INFINITY,
                3 => T::of(0.0),
                4 => T::of(-0.0),
                5 => T::TINY,
                6 => T::of(-T::TINY.to_f64()),
                7 => T::INFINITY.step(false),
                8 => T::NEG_INFINITY.step(true),
                9 => edge.step(true),
                10 => edge.step(false),
                11 => T::of(edge.to_f64() + 0.5),
                12 => T::of(random.below(4_096) as f64 - 2_048.0),
                _ => edge,
            }
        })
        .collect()
}

fn check_lengths_and_offsets<T: TestNumber>() {
    let mut random = Random(7);
    for edge_count in EDGE_COUNTS {
        let edges: Vec<T> = spread_edges(edge_count);
        for length in LENGTHS {
            let values = hostile_values(&edges, length + 3, &mut random);
            for offset in 0..=3 {
                check(&edges, &values[offset..offset + length]);
            }
        }
    }
}

#[test]
fn every_kernel_agrees_with_the_twin_at_every_length_and_offset() {
    check_lengths_and_offsets::<f32>();
    check_lengths_and_offsets::<f64>();
}

fn check_every_cell<T: TestNumber>() {
    for edge_count in EDGE_COUNTS {
        let edges: Vec<T> = spread_edges(edge_count);
        let mut values: Vec<T> = vec![T::NEG_INFINITY, T::INFINITY, T::NAN];
        for &edge in &edges {
            values.extend([edge.step(false), edge, edge.step(true)]);
        }
        check(&edges, &values);
        values.reverse();
        check(&edges, &values);
    }
}

#[test]
fn the_neighbours_of_an_edge_are_not_the_edge() {
    check_every_cell::<f32>();
    check_every_cell::<f64>();
}

#[test]
fn zero_of_either_sign_equals_an_edge_of_either_sign() {
    for edge in [0.0, -0.0] {
        check(&[edge], &[0.0, -0.0, f64::from_bits(1), -f64::from_bits(1)]);
        let many: Vec<f32> =
            (-20_i16..=20).map(|i| if i == 0 { f32::of(edge) } else { f32::from(i) }).collect();
        check(&many, &[0.0, -0.0, f32::from_bits(1), -f32::from_bits(1)]);
    }
}

#[test]
fn the_largest_and_smallest_numbers_are_good_edges() {
    let edges = [f64::MIN, -f64::from_bits(1), f64::from_bits(1), f64::MAX];
    check(&edges, &[f64::MIN, f64::MAX, f64::INFINITY, f64::NEG_INFINITY, 0.0, f64::NAN]);
    let mut many: Vec<f32> = (0..EDGES_MAX - 2).map(|i| f32::of(i as f64)).collect();
    many.insert(0, f32::MIN);
    many.push(f32::MAX);
    check(&many, &[f32::MIN, f32::MAX, f32::INFINITY, f32::NEG_INFINITY, 0.5, f32::NAN]);
}

#[test]
fn blocks_and_lane_counters_do_not_overflow_on_a_constant() {
    let count = 2 * BLOCK_VALUES_MAX + 3;
    for edge_count in [1, FLAT_EDGES_MAX, EDGES_MAX] {
        let edges: Vec<f32> = spread_edges(edge_count);
        check(&edges, &vec![edges[0]; count]);
        check(&edges, &vec![f32::INFINITY; count]);
    }
}

#[test]
fn each_stretch_of_values_is_counted_by_its_own_kind() {
    // Finite, with the infinities, on the edges, close to the edges, and too large for single
    // precision.
    let edges: Vec<f64> = (0..10_u8).map(|i| f64::from(i) + 0.1).collect();
    let stretches: [&dyn Fn(usize) -> f64; 5] = [
        &|i| (i % 97) as f64 / 9.0,
        &|i| if i % 3 == 0 { f64::NAN } else { f64::NEG_INFINITY },
        &|i| edges[i % 10],
        &|i| if i % 2 == 0 { edges[i % 10] } else { edges[i % 10].next_up() },
        &|i| if i % 2 == 0 { f64::MAX } else { f64::MIN },
    ];
    let values: Vec<f64> = stretches.iter().flat_map(|stretch| (0..3_000).map(stretch)).collect();
    check(&edges, &values);
    check(&spread_edges(500), &values);
}

#[test]
fn counts_are_added_to_those_that_were_there() {
    let table = EdgeTable::try_new(&[1.0_f32, 2.0]).unwrap();
    let mut cells = [10_u64, 20, 30, 40, 50];
    let specials = cell_counts(&table, &[0.0, 1.0, 1.5, 2.0, 3.0, f32::INFINITY], &mut cells);
    assert_eq!(cells, [11, 21, 31, 41, 51]);
    assert_eq!(specials, Specials { nan: 0, neg_inf: 0, pos_inf: 1 });
}

#[test]
fn bad_edges_are_refused_by_index() {
    let refuse = |edges: &[f64]| EdgeTable::try_new(edges).unwrap_err();
    assert_eq!(refuse(&[]), EdgeError::Empty);
    assert_eq!(refuse(&vec![0.0; EDGES_MAX + 1]), EdgeError::TooMany { count: EDGES_MAX + 1 });
    assert!(matches!(refuse(&[0.0, f64::NAN]), EdgeError::NotFinite { index: 1, .. }));
    assert_eq!(
        refuse(&[f64::NEG_INFINITY, 0.0]),
        EdgeError::NotFinite { index: 0, value: f64::NEG_INFINITY }
    );
    assert_eq!(
        refuse(&[0.0, 2.0, 2.0]),
        EdgeError::NotIncreasing { index: 2, value: 2.0, previous: 2.0 }
    );
    assert_eq!(
        refuse(&[-0.0, 0.0]),
        EdgeError::NotIncreasing { index: 1, value: 0.0, previous: -0.0 }
    );
    assert_eq!(
        refuse(&[3.0, 2.0]).to_string(),
        "edge 1 (2) is not above the edge before it (3); edges must be sorted and distinct"
    );
}

#[test]
fn a_table_gives_back_its_edges() {
    for edge_count in EDGE_COUNTS {
        let edges: Vec<f64> = spread_edges(edge_count);
        let table = EdgeTable::try_new(&edges).unwrap();
        assert_eq!(table.edges(), edges);
        assert_eq!(table.cells(), 2 * edge_count + 1);
    }
}

#[test]
fn a_selected_backend_is_the_one_that_counts() {
    select(Backend::Scalar).unwrap();
    assert_eq!(backend(), "scalar");
    if Backend::Avx2.is_available() {
        select(Backend::Avx2).unwrap();
        assert_eq!(backend(), "avx2");
    } else {
        assert_eq!(select(Backend::Avx2).unwrap_err().backend, Backend::Avx2);
    }
    assert_eq!("avx2".parse(), Ok(Backend::Avx2));
    assert!("AVX2".parse::<Backend>().is_err());
}

/// Distinct finite edges drawn from all bit patterns, so of any magnitude.
fn any_edges() -> impl Strategy<Value = Vec<f64>> {
    prop::collection::vec(prop::num::f64::NORMAL | prop::num::f64::SUBNORMAL, 1..200).prop_map(
        |mut edges| {
            edges.sort_by(f64::total_cmp);
            edges.dedup();
            edges
        },
    )
}

proptest! {
    #![proptest_config(cases(256))]

    #[test]
    fn any_numbers_are_counted_as_the_twin_counts_them(
        edges in any_edges(),
        mut values in prop::collection::vec(prop::num::f64::ANY, 0..300),
        repeats in prop::collection::vec(0..200_usize, 0..50),
    ) {
        values.extend(repeats.iter().map(|&index| edges[index % edges.len()]));
        check(&edges, &values);
        let narrow_values: Vec<f32> = values.iter().map(|&value| f32::of(value)).collect();
        let mut narrow_edges: Vec<f32> =
            edges.iter().map(|&edge| f32::of(edge)).filter(|edge| edge.is_finite()).collect();
        narrow_edges.dedup_by(|next, edge| next == edge);
        if !narrow_edges.is_empty() {
            check(&narrow_edges, &narrow_values);
        }
    }

    #[test]
    fn counting_in_two_parts_is_counting_the_whole(
        edges in any_edges(),
        values in prop::collection::vec(prop::num::f64::ANY, 0..300),
        cut in 0..300_usize,
    ) {
        let table = EdgeTable::try_new(&edges).unwrap();
        let (head, tail) = values.split_at(cut.min(values.len()));
        let (mut parts, mut whole) = (vec![0_u64; table.cells()], vec![0_u64; table.cells()]);
        let first = cell_counts(&table, head, &mut parts);
        let second = cell_counts(&table, tail, &mut parts);
        let all = cell_counts(&table, &values, &mut whole);
        prop_assert_eq!(parts, whole);
        prop_assert_eq!(first.nan + second.nan, all.nan);
        prop_assert_eq!(first.neg_inf + second.neg_inf, all.neg_inf);
        prop_assert_eq!(first.pos_inf + second.pos_inf, all.pos_inf);
    }
}
