//! Counts the rows again, with polars, and compares every number of a result line.
//!
//! Nothing here is shared with `driftd`: windows come from whole-number division of the event time,
//! counts from group-bys and sorted values, statistics from their formulas.

use std::collections::BTreeMap;

use driftd_catalog::Timestamp;
use driftd_fixtures::data::FLIGHTS;
use polars::prelude::{AnyValue, Column, DataFrame, DataType, IntoLazy, col, len, lit};
use serde_json::{Value, json};

/// Microseconds of a week, and of the Monday that the weeks are counted from.
const WEEK: i64 = 7 * 86_400_000_000;
const MONDAY: i64 = 4 * 86_400_000_000;

/// Fewer values are too few to judge: the default of `detection.minimum_rows`.
const MINIMUM_ROWS: u64 = 500;

/// Statistics are sums of a few hundred logarithms at most.
const TOLERANCE: f64 = 1e-9;

/// A window of one segment, as a line names it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Window {
    /// Start, RFC 3339.
    pub(super) start: String,
    /// `all` or `origin=…`.
    pub(super) segment: String,
}

impl Window {
    /// The window that a result line is about.
    pub(super) fn of(line: &Value) -> Self {
        let text = |key: &str| line[key].as_str().expect("a text").to_owned();
        Self { start: text("window_start"), segment: text("segment") }
    }
}

/// One column of one population.
#[derive(Debug)]
enum Values {
    /// Sorted, without the missing ones.
    Numbers(Vec<f64>),
    /// Rows of each level, without the missing ones.
    Levels(BTreeMap<String, u64>),
}

#[derive(Debug)]
struct Counted {
    rows: u64,
    missing: u64,
    values: Values,
}

type Population = BTreeMap<&'static str, Counted>;

/// Everything counted again.
#[derive(Debug)]
pub(super) struct Recount {
    windows: BTreeMap<Window, Population>,
    /// By segment.
    references: BTreeMap<String, Population>,
}

impl Recount {
    /// Counts the rows of `current` by week and airport, and those of `reference` by airport.
    pub(super) fn new(current: &DataFrame, reference: &DataFrame) -> Self {
        let weeks = (col("event_time").cast(DataType::Int64) - lit(MONDAY)) / lit(WEEK);
        let rows = current.clone().lazy().with_column(weeks.alias("week")).collect();
        let rows = rows.expect("the data set has an event time");
        let mut windows = BTreeMap::new();
        for (week, _) in groups(&rows, "week") {
            let week: i64 = week.parse().expect("weeks are whole numbers");
            let start = Timestamp::from_millis((week * WEEK + MONDAY) / 1_000).to_string();
            let in_week = rows.clone().lazy().filter(col("week").eq(lit(week))).collect();
            for (segment, population) in segments(&in_week.expect("a column compares")) {
                windows.insert(Window { start: start.clone(), segment }, population);
            }
        }
        Self { windows, references: segments(reference).into_iter().collect() }
    }

    /// Rows of each window.
    pub(super) fn rows(&self) -> BTreeMap<Window, u64> {
        let rows = |(window, population): (&Window, &Population)| {
            (window.clone(), population["distance"].rows)
        };
        self.windows.iter().map(rows).collect()
    }

    /// Compares the counts of a line: cells, levels, missing, unseen and out of range.
    pub(super) fn check_counts(&self, line: &Value) {
        let (reference, current) = self.both(line);
        assert_eq!(line["current_rows"], current.rows, "{line}");
        assert_eq!(line["reference_rows"], reference.rows, "{line}");
        let counts = &line["counts"];
        let cells = Cells::of(counts, self.all(line));
        for (counted, name) in [(reference, "reference"), (current, "current")] {
            let (expected, unseen) = cells.count(counted);
            assert_eq!(counts[name], json!(expected), "{name} counts: {line}");
            let special = json!({
                "null": counted.missing, "nan": 0, "neg_inf": 0, "pos_inf": 0,
                "unseen": unseen, "out_of_range": cells.out_of_range(counted),
            });
            assert_eq!(counts[format!("{name}_special")], special, "{name}: {line}");
        }
    }

    /// How many statistics a line has to have. The missing rate needs rows, everything else values:
    /// psi, kl, js, and ks for numbers or the unseen rate for levels.
    pub(super) fn statistics(&self, line: &Value) -> usize {
        let (_, current) = self.both(line);
        if current.rows < MINIMUM_ROWS {
            0
        } else if current.rows - current.missing < MINIMUM_ROWS {
            1
        } else {
            5
        }
    }

    /// Compares the statistics of a line, and returns how many were compared.
    pub(super) fn check_statistics(&self, line: &Value) -> usize {
        let (reference, current) = self.both(line);
        let cells = Cells::of(&line["counts"], self.all(line));
        let [p, q] = [reference, current].map(|counted| cells.with_unseen(counted));
        let mut compared = 0;
        for detector in line["detectors"].as_array().expect("a list") {
            let name = detector["detector"].as_str().expect("a text");
            let statistic = detector["statistic"].as_f64().expect("a number");
            let expected = match name {
                "psi" => smoothed(&p, &q).map(|(p, q)| (p - q) * (p / q).ln()).sum(),
                "kl" => smoothed(&p, &q).map(|(p, q)| p * (p / q).ln()).sum(),
                "js" => jensen_shannon(&p, &q),
                "missing_rate" => current.missing_rate() - reference.missing_rate(),
                "unseen_rate" => current.unseen_rate(self.all(line)),
                "ks" => {
                    let upper = detector["statistic_upper"].as_f64().expect("a number");
                    let exact = kolmogorov_smirnov(reference.numbers(), current.numbers());
                    let low = statistic - TOLERANCE;
                    assert!((low..=upper + TOLERANCE).contains(&exact), "{exact}: {line}");
                    statistic
                }
                _ => continue,
            };
            assert!((statistic - expected).abs() < TOLERANCE, "{name} {expected}: {line}");
            compared += 1;
        }
        compared
    }

    /// The feature in the whole reference: where the cells of every segment come from.
    fn all(&self, line: &Value) -> &Counted {
        &self.references["all"][line["feature"].as_str().expect("a text")]
    }

    fn both(&self, line: &Value) -> (&Counted, &Counted) {
        let window = Window::of(line);
        let feature = line["feature"].as_str().expect("a text");
        (&self.references[&window.segment][feature], &self.windows[&window][feature])
    }
}

impl Counted {
    fn new(column: &Column) -> Self {
        let rows = u64::try_from(column.len()).expect("a count");
        let missing = u64::try_from(column.null_count()).expect("a count");
        let values = if column.dtype().is_float() {
            let doubles = column.cast(&DataType::Float64).expect("a float widens");
            let mut numbers: Vec<f64> =
                doubles.f64().expect("just cast").iter().flatten().collect();
            numbers.sort_unstable_by(f64::total_cmp);
            Values::Numbers(numbers)
        } else {
            let frame = DataFrame::new(column.len(), vec![column.clone()]).expect("one column");
            Values::Levels(groups(&frame, column.name().as_str()).into_iter().collect())
        };
        Self { rows, missing, values }
    }

    fn numbers(&self) -> &[f64] {
        match &self.values {
            Values::Numbers(numbers) => numbers,
            Values::Levels(_) => panic!("a column of levels has no numbers"),
        }
    }

    fn missing_rate(&self) -> f64 {
        self.missing as f64 / self.rows as f64
    }

    fn unseen_rate(&self, reference: &Self) -> f64 {
        let (Values::Levels(known), Values::Levels(levels)) = (&reference.values, &self.values)
        else {
            panic!("a column of numbers has no unseen levels")
        };
        let unseen = levels.iter().filter(|(level, _)| !known.contains_key(*level));
        unseen.map(|(_, rows)| rows).sum::<u64>() as f64 / (self.rows - self.missing) as f64
    }
}

/// The cells of a line, taken from the line where they are a choice (the edges) and from the
/// reference where they are not.
enum Cells<'a> {
    Bins { edges: Vec<f64>, range: [f64; 2] },
    Levels(Vec<&'a str>),
}

impl<'a> Cells<'a> {
    fn of(counts: &Value, reference: &'a Counted) -> Self {
        match &reference.values {
            Values::Numbers(numbers) => {
                let edges = counts["edges"].as_array().expect("a list").iter();
                let edges = edges.map(|edge| edge.as_f64().expect("a number")).collect();
                Self::Bins { edges, range: [numbers[0], numbers[numbers.len() - 1]] }
            }
            Values::Levels(levels) => {
                let levels: Vec<&str> = levels.keys().map(String::as_str).collect();
                assert_eq!(counts["levels"], json!(levels));
                Self::Levels(levels)
            }
        }
    }

    /// Counts of the cells, and what is in none of them because the reference does not have it.
    fn count(&self, counted: &Counted) -> (Vec<u64>, u64) {
        match (self, &counted.values) {
            (Self::Bins { edges, .. }, Values::Numbers(numbers)) => {
                let up_to = |edge: &f64| numbers.partition_point(|value| value <= edge);
                let ends = edges.iter().map(up_to).chain([numbers.len()]);
                let mut from = 0;
                let bins = ends.map(|to| {
                    let rows = u64::try_from(to - from).expect("a count");
                    from = to;
                    rows
                });
                (bins.collect(), 0)
            }
            (Self::Levels(known), Values::Levels(levels)) => {
                let cells: Vec<u64> =
                    known.iter().map(|level| levels.get(*level).copied().unwrap_or(0)).collect();
                let unseen = levels.values().sum::<u64>() - cells.iter().sum::<u64>();
                (cells, unseen)
            }
            (Self::Bins { .. }, Values::Levels(_)) | (Self::Levels(_), Values::Numbers(_)) => {
                panic!("reference and current are of different kinds")
            }
        }
    }

    /// Counts with the cell of unseen levels, which numbers do not have.
    fn with_unseen(&self, counted: &Counted) -> Vec<f64> {
        let (mut cells, unseen) = self.count(counted);
        if matches!(self, Self::Levels(_)) {
            cells.push(unseen);
        }
        cells.into_iter().map(|rows| rows as f64).collect()
    }

    fn out_of_range(&self, counted: &Counted) -> usize {
        match (self, &counted.values) {
            (Self::Bins { range: [least, greatest], .. }, Values::Numbers(numbers)) => {
                numbers.iter().filter(|value| *value < least || greatest < *value).count()
            }
            (Self::Bins { .. } | Self::Levels(_), _) => 0,
        }
    }
}

/// Values of a column with their rows; the missing ones are left out.
fn groups(frame: &DataFrame, name: &str) -> Vec<(String, u64)> {
    let counted = frame.clone().lazy().filter(col(name).is_not_null());
    let counted = counted.group_by([col(name)]).agg([len().alias("rows")]).collect();
    let counted = counted.expect("a column has groups");
    let series = |name: &str| {
        let column = counted.column(name).expect("it was just made");
        column.as_materialized_series().clone()
    };
    let text = |value: AnyValue<'_>| match value.get_str() {
        Some(text) => text.to_owned(),
        None => value.to_string(),
    };
    let rows = |value: AnyValue<'_>| value.extract::<u64>().expect("a count");
    let (values, counts) = (series(name), series("rows"));
    values.iter().map(text).zip(counts.iter().map(rows)).collect()
}

/// All rows, and those of each airport.
fn segments(rows: &DataFrame) -> Vec<(String, Population)> {
    let mut segments = vec![("all".to_owned(), population(rows))];
    for (airport, _) in groups(rows, "origin") {
        let mask = col("origin").cast(DataType::String).eq(lit(airport.as_str()));
        let rows = rows.clone().lazy().filter(mask).collect().expect("a column compares");
        segments.push((format!("origin={airport}"), population(&rows)));
    }
    segments
}

fn population(rows: &DataFrame) -> Population {
    let names = FLIGHTS.features.iter().chain(FLIGHTS.predictions);
    let counted = |name: &&'static str| {
        (*name, Counted::new(rows.column(name).expect("the data set has its columns")))
    };
    names.map(counted).collect()
}

/// Shares with half a count added to each cell.
fn smoothed<'a>(p: &'a [f64], q: &'a [f64]) -> impl Iterator<Item = (f64, f64)> + 'a {
    let half = 0.5 * p.len() as f64;
    let (n, m) = (p.iter().sum::<f64>() + half, q.iter().sum::<f64>() + half);
    p.iter().zip(q).map(move |(p, q)| ((p + 0.5) / n, (q + 0.5) / m))
}

fn jensen_shannon(p: &[f64], q: &[f64]) -> f64 {
    let (n, m) = (p.iter().sum::<f64>(), q.iter().sum::<f64>());
    let part = |share: f64, middle: f64| {
        if share == 0.0 { 0.0 } else { 0.5 * share * (share / middle).ln() }
    };
    let shares = p.iter().zip(q).map(|(p, q)| (p / n, q / m));
    shares.map(|(p, q)| part(p, 0.5 * (p + q)) + part(q, 0.5 * (p + q))).sum()
}

/// The greatest difference of the two distribution functions, from sorted values.
fn kolmogorov_smirnov(a: &[f64], b: &[f64]) -> f64 {
    let (mut i, mut j, mut greatest) = (0, 0, 0.0_f64);
    while i < a.len() && j < b.len() {
        let value = a[i].min(b[j]);
        i += a[i..].iter().take_while(|it| **it <= value).count();
        j += b[j..].iter().take_while(|it| **it <= value).count();
        let difference = i as f64 / a.len() as f64 - j as f64 / b.len() as f64;
        greatest = greatest.max(difference.abs());
    }
    greatest
}
