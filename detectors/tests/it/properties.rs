//! Laws of counts and decisions, on generated columns.

use std::sync::Arc;

use driftd_detectors::{
    CategoricalColumn, CategoricalCounts, CategoricalReference, CellCounts, DetectorKind,
    FeatureCounts, FeatureInput, FeaturePolicy, FeatureReference, Grid, Levels, MergeError,
    NumericColumn, NumericCounts, NumericReference, NumericValues, Precision, State,
    UNSEEN_LEVELS_MAX, Validity, decide,
};
use driftd_fixtures::trials::cases;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

use crate::feature::{
    CATEGORICAL_POLICY, DECISION_POLICY, NUMERIC_POLICY, categorical_reference, count,
    decide_alone, numeric_reference, result,
};

/// A row: absent, or a value on or beside the edges of [`small_grid`].
fn row() -> impl Strategy<Value = Option<f64>> {
    prop_oneof![
        1 => Just(None),
        8 => (-6_i32..=6).prop_map(|half| Some(f64::from(half) * 0.5)),
        2 => any::<f32>().prop_map(|value| Some(f64::from(value))),
        1 => prop_oneof![Just(f64::NAN), Just(f64::INFINITY), Just(f64::NEG_INFINITY), Just(-0.0)]
            .prop_map(Some),
    ]
}

/// A finite value on or beside the edges of [`small_grid`].
fn finite() -> impl Strategy<Value = f64> {
    (-9_i32..=9).prop_map(|third| f64::from(third) / 3.0)
}

fn small_grid(precision: Precision) -> Grid {
    Grid::try_new(precision, vec![-1.0, -0.5, 0.0, 0.25, 2.0], vec![-0.5, 0.25]).unwrap()
}

fn bitmap(valid: impl Iterator<Item = bool>, offset: usize) -> Vec<u8> {
    let mut bits = vec![0; 256];
    for (row, _) in valid.enumerate().filter(|(_, valid)| *valid) {
        bits[(offset + row) / 8] |= 1 << ((offset + row) % 8);
    }
    bits
}

fn count_rows(grid: &Grid, rows: &[Option<f64>], offset: usize) -> NumericCounts {
    let values: Vec<f64> = rows.iter().map(|row| row.unwrap_or(1e300)).collect();
    let bits = bitmap(rows.iter().map(Option::is_some), offset);
    let mut counts = NumericCounts::empty(grid);
    let validity = Some(Validity::new(&bits, offset, rows.len()));
    counts.update(grid, &NumericColumn { values: NumericValues::F64(&values), validity });
    counts
}

fn count_names(levels: &Levels, rows: &[Option<String>]) -> CategoricalCounts {
    let names: Vec<&str> = rows.iter().map(|row| row.as_deref().unwrap_or("ignored")).collect();
    let keys: Vec<u32> = (0..).take(rows.len()).collect();
    let bits = bitmap(rows.iter().map(Option::is_some), 0);
    let validity = Some(Validity::new(&bits, 0, rows.len()));
    let mut counts = CategoricalCounts::empty(levels);
    counts.update(levels, &CategoricalColumn { keys: &keys, levels: &names, validity });
    counts
}

fn levels() -> Levels {
    Levels::try_new(vec!["a".into(), "b".into(), "é".into()]).unwrap()
}

/// Known levels, and far more unseen ones than are named.
fn name() -> impl Strategy<Value = Option<String>> {
    prop_oneof![
        1 => Just(None),
        3 => prop_oneof![Just("a"), Just("b"), Just("é")].prop_map(|name| Some(name.to_owned())),
        6 => (0..3 * UNSEEN_LEVELS_MAX).prop_map(|i| Some(format!("unseen {i}"))),
    ]
}

/// The slow and obvious cell of a value.
fn naive_cell(edges: &[f64], value: f64) -> usize {
    let below = edges.iter().filter(|&&edge| edge < value).count();
    2 * below + usize::from(edges.contains(&value))
}

/// The greatest distance between the distribution functions, over all values there are.
fn naive_ks(reference: &[f64], current: &[f64]) -> f64 {
    let share = |sample: &[f64], x: f64| {
        sample.iter().filter(|&&value| value <= x).count() as f64 / sample.len() as f64
    };
    let values = reference.iter().chain(current);
    values.map(|&x| (share(reference, x) - share(current, x)).abs()).fold(0.0, f64::max)
}

fn merged(parts: &[&FeatureCounts]) -> FeatureCounts {
    let mut sum = parts[0].clone();
    for part in &parts[1..] {
        sum.merge(part).unwrap();
    }
    sum
}

fn check_merges(a: &FeatureCounts, b: &FeatureCounts, c: &FeatureCounts) {
    assert_eq!(merged(&[a, b]), merged(&[b, a]));
    assert_eq!(merged(&[&merged(&[a, b]), c]), merged(&[a, &merged(&[b, c])]));
}

proptest! {
    #![proptest_config(cases(64))]

    #[test]
    fn every_row_is_in_the_cell_it_belongs_to(rows in vec(row(), 0..1_300), offset in 0_usize..9) {
        let grid = small_grid(Precision::F64);
        let counts = count_rows(&grid, &rows, offset);
        let mut cells = vec![0; grid.cells()];
        for value in rows.iter().flatten().filter(|value| value.is_finite()) {
            cells[naive_cell(grid.edges(), *value)] += 1;
        }
        prop_assert_eq!(&counts.cells, &CellCounts::from(cells));
        let nulls = rows.iter().filter(|row| row.is_none()).count() as u64;
        prop_assert_eq!((counts.null, counts.rows()), (nulls, rows.len() as u64));
        let present = rows.iter().flatten().filter(|value| value.is_finite()).count() as u64;
        prop_assert_eq!(counts.present(), present);
    }

    #[test]
    fn cells_are_exact_whatever_the_widths_of_column_and_grid(values in vec(any::<f32>(), 0..64)) {
        let wide: Vec<f64> = values.iter().map(|&value| f64::from(value)).collect();
        let narrow_grid = small_grid(Precision::F32);
        let wide_grid = small_grid(Precision::F64);
        let expected = count(&wide_grid, &wide);
        for grid in [&narrow_grid, &wide_grid] {
            let mut counts = NumericCounts::empty(grid);
            let values = NumericValues::F32(&values);
            counts.update(grid, &NumericColumn { values, validity: None });
            prop_assert_eq!(&counts, &expected);
            prop_assert_eq!(&count(grid, &wide), &expected);
        }
        // A double beside an edge that is the edge in single precision.
        let beside = count(&narrow_grid, &[0.25_f64.next_up(), 0.25_f64.next_down()]);
        let cells: Vec<u64> = beside.cells.iter().skip(6).collect();
        prop_assert_eq!(&cells[..3], [1, 0, 1]);
    }

    #[test]
    fn numbers_split_anywhere_count_as_the_whole(rows in vec(row(), 0..300), at in any::<Index>()) {
        let grid = small_grid(Precision::F64);
        let (left, right) = rows.split_at(at.index(rows.len() + 1));
        let part = |rows| FeatureCounts::Numeric(count_rows(&grid, rows, 3));
        prop_assert_eq!(merged(&[&part(left), &part(right)]), part(&rows));
    }

    #[test]
    fn levels_split_anywhere_count_as_the_whole(rows in vec(name(), 0..400), at in any::<Index>()) {
        let levels = levels();
        let (left, right) = rows.split_at(at.index(rows.len() + 1));
        let part = |rows| FeatureCounts::Categorical(count_names(&levels, rows));
        prop_assert_eq!(merged(&[&part(left), &part(right)]), part(&rows));
    }

    #[test]
    fn merging_commutes_and_associates(
        numbers in [vec(row(), 0..99), vec(row(), 0..99), vec(row(), 0..99)],
        names in [vec(name(), 0..199), vec(name(), 0..199), vec(name(), 0..199)],
    ) {
        let grid = small_grid(Precision::F64);
        let [a, b, c] = numbers.map(|rows| FeatureCounts::Numeric(count_rows(&grid, &rows, 0)));
        check_merges(&a, &b, &c);
        let levels = levels();
        let [a, b, c] = names.map(|rows| FeatureCounts::Categorical(count_names(&levels, &rows)));
        check_merges(&a, &b, &c);
    }

    #[test]
    fn the_order_of_rows_changes_nothing(
        (numbers, shuffled_numbers) in vec(row(), 0..200)
            .prop_flat_map(|rows| (Just(rows.clone()), Just(rows).prop_shuffle())),
        (names, shuffled_names) in vec(name(), 0..400)
            .prop_flat_map(|rows| (Just(rows.clone()), Just(rows).prop_shuffle())),
    ) {
        let grid = small_grid(Precision::F64);
        prop_assert_eq!(count_rows(&grid, &numbers, 0), count_rows(&grid, &shuffled_numbers, 5));
        let levels = levels();
        let counts = count_names(&levels, &names);
        prop_assert_eq!(&counts, &count_names(&levels, &shuffled_names));
        prop_assert!(counts.unseen_levels.len() <= UNSEEN_LEVELS_MAX);
    }

    #[test]
    fn bins_hold_what_is_above_their_lower_and_not_above_their_upper_edge(
        values in vec(finite(), 0..200),
    ) {
        let grid = small_grid(Precision::F64);
        let mut bins = vec![0; grid.bins()];
        for value in &values {
            bins[grid.bin_edges().iter().filter(|&edge| edge < value).count()] += 1;
        }
        prop_assert_eq!(grid.bin_counts(&count(&grid, &values).cells), bins);
    }

    #[test]
    fn the_bracket_holds_the_exact_distance_and_is_no_wider_than_a_cell(
        reference in vec(finite(), 1..80),
        current in vec(finite(), 1..80),
    ) {
        let grid = Arc::new(small_grid(Precision::F64));
        let exact = naive_ks(&reference, &current);
        let counts = count(&grid, &reference);
        let widest = counts.cells.iter().step_by(2).max().unwrap();
        let widest = widest as f64 / reference.len() as f64;
        let current_counts = FeatureCounts::Numeric(count(&grid, &current));
        let policy = FeaturePolicy { minimum_rows: 1, ..NUMERIC_POLICY };
        let coarse = FeatureReference::Numeric(NumericReference { grid, counts });
        let ks = result(&decide_alone(&coarse, &current_counts, policy), DetectorKind::Ks);
        let upper = ks.statistic_upper.unwrap();
        prop_assert!(ks.statistic <= exact + 1e-12 && exact <= upper + 1e-12, "{exact} {ks:?}");
        prop_assert!(upper - ks.statistic <= widest + 1e-12, "{widest} {ks:?}");

        // With every reference value an edge the bracket is the distance itself.
        let fine = numeric_reference(&reference, 4);
        let counts = crate::feature::numeric_counts(&fine, &current);
        let ks = result(&decide_alone(&fine, &counts, policy), DetectorKind::Ks);
        prop_assert_eq!(Some(ks.statistic), ks.statistic_upper);
        prop_assert!((ks.statistic - exact).abs() < 1e-12, "{exact} {ks:?}");
    }

    #[test]
    fn scores_are_finite_and_above_one_exactly_at_a_breach(
        cells in [vec(0_u64..2_000, 11), vec(0_u64..2_000, 11)],
        levels in [vec(0_u64..2_000, 3), vec(0_u64..2_000, 3)],
        gaps in [0_u64..3_000, 0_u64..3_000, 0_u64..3_000, 0_u64..3_000],
        detector in prop_oneof![
            Just(DetectorKind::Ks),
            Just(DetectorKind::Psi),
            Just(DetectorKind::KullbackLeibler),
            Just(DetectorKind::JensenShannon),
        ],
        minimum_effect in prop_oneof![Just(0.0), 0.0..0.5_f64],
        minimum_rows in prop_oneof![Just(0_u64), Just(500)],
    ) {
        let grid = Arc::new(small_grid(Precision::F64));
        let [ours, theirs] = cells;
        let numeric = |cells: Vec<u64>, null| {
            let cells = CellCounts::from(cells);
            NumericCounts { cells, null, ..NumericCounts::empty(&grid) }
        };
        let numeric_reference = FeatureReference::Numeric(NumericReference {
            grid: grid.clone(),
            counts: numeric(ours, gaps[0]),
        });
        let numeric_counts = FeatureCounts::Numeric(numeric(theirs, gaps[1]));
        let names = Arc::new(self::levels());
        let [ours, theirs] = levels;
        let categorical = |levels, unseen| {
            let empty = CategoricalCounts::empty(&names);
            CategoricalCounts { levels, unseen, ..empty }
        };
        let categorical_reference = FeatureReference::Categorical(CategoricalReference {
            levels: names.clone(),
            counts: categorical(ours, gaps[2]),
        });
        let categorical_counts = FeatureCounts::Categorical(categorical(theirs, gaps[3]));
        let change = |policy| FeaturePolicy { detector, minimum_effect, minimum_rows, ..policy };
        let inputs = [
            FeatureInput {
                reference: Some(&numeric_reference),
                counts: &numeric_counts,
                policy: change(NUMERIC_POLICY),
            },
            FeatureInput {
                reference: Some(&categorical_reference),
                counts: &categorical_counts,
                policy: change(CATEGORICAL_POLICY),
            },
            FeatureInput { reference: None, counts: &numeric_counts, policy: NUMERIC_POLICY },
        ];
        for verdict in decide(&inputs, &DECISION_POLICY) {
            let breached = matches!(verdict.state, State::Drifted | State::BrokenData);
            prop_assert_eq!(verdict.score.is_some_and(|score| 1.0 < score), breached, "{:?}", verdict);
            let decided = breached || verdict.state == State::Ok;
            prop_assert_eq!(verdict.score.is_some(), decided, "{:?}", verdict);
            prop_assert_eq!(verdict.deciding.is_some(), decided);
            for found in &verdict.results {
                let numbers = [
                    Some(found.statistic), found.statistic_upper, found.p_value,
                    found.adjusted_p_value, found.lower_bound, found.threshold, found.score,
                ];
                prop_assert!(numbers.iter().flatten().all(|number| number.is_finite()), "{found:?}");
                prop_assert!(found.p_value.is_none_or(|p| (0.0..=1.0).contains(&p)), "{found:?}");
            }
        }
    }
}

#[test]
fn merging_what_was_counted_differently_is_refused_with_the_reason() {
    let numeric = numeric_reference(&[1.0, 2.0], 2);
    let finer = numeric_reference(&[1.0, 2.0, 3.0, 4.0], 2);
    let categorical = categorical_reference(&[("a", 1)], 0);
    let mut counts = FeatureCounts::empty(&numeric);
    let kinds = counts.merge(&FeatureCounts::empty(&categorical));
    assert_eq!(kinds, Err(MergeError::KindsDiffer));
    let cells = counts.merge(&FeatureCounts::empty(&finer));
    assert_eq!(cells, Err(MergeError::CellsDiffer { ours: 7, theirs: 11 }));
}
