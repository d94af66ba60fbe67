//! Counts the segments of a sample, each in the cells of the whole sample.
//!
//! Before: [`super::sample`] has frozen a feature's cells. After: the profile. One more pass over a
//! column for each segmentation, whatever the number of its values. Memory holds that column.

use std::cmp::Reverse;
use std::sync::Arc;

use driftd_catalog::SegmentId;
use driftd_core::config::OTHER_SEGMENT;
use driftd_detectors::{
    CategoricalCounts, CategoricalReference, FeatureReference, Grid, Levels, NumericColumn,
    NumericCounts, NumericReference, NumericValues,
};
use polars::prelude::{
    Column, DataType, Expr, Field, IntoColumn as _, LazyFrame, PolarsResult, Schema, UInt32Chunked,
    col, len,
};

use super::columns::{SampleFeature, SampleSegment};
use super::sample::{ROWS, Sample, collect};

/// Name of the column that says which segment a row is in: no column of a sample is called so.
pub(super) const PLACE: &str = "driftd place";

/// Values of a segment that are counted together.
const BLOCK: usize = 1_024;

/// Says which values of a segmentation by `top` get segments of their own: the most frequent ones
/// of the sample, of equally frequent ones the first in byte order. Whatever the order of rows and
/// files, the same sample gives the same values.
pub(super) fn choose(sample: &Sample, segment: &mut SampleSegment) -> anyhow::Result<()> {
    let Some(top) = segment.top else { return Ok(()) };
    let counts = sample.segment_values(segment)?;
    let mut ranked: Vec<(Reverse<u64>, &str)> = counts
        .iter()
        // What cannot be a segment's name shares the segment of all other values.
        .filter(|(value, _)| {
            *value != OTHER_SEGMENT && SegmentId::try_new(&segment.name, value).is_ok()
        })
        .map(|(value, rows)| (Reverse(*rows), value.as_str()))
        .collect();
    ranked.sort_unstable();
    segment.values = ranked.into_iter().take(top).map(|(_, value)| value.into()).collect();
    Ok(())
}

/// Counts a feature in every segment of one segmentation, in the cells of `whole`.
pub(super) fn count(
    sample: &Sample,
    feature: &SampleFeature,
    whole: &FeatureReference,
    segment: &SampleSegment,
) -> anyhow::Result<Vec<(SegmentId, FeatureReference)>> {
    let rows = sample.column_by_segment(feature, segment)?;
    let ids = segment.ids();
    let counted: Vec<FeatureReference> = match whole {
        FeatureReference::Numeric(NumericReference { grid, .. }) => {
            let counts = numbers(rows, &feature.name, grid, ids.len())?.into_iter();
            let reference = |counts| NumericReference { grid: Arc::clone(grid), counts };
            counts.map(|it| FeatureReference::Numeric(reference(it))).collect()
        }
        FeatureReference::Categorical(CategoricalReference { levels, .. }) => {
            let counts = categories(rows, &feature.name, levels, ids.len())?.into_iter();
            let reference = |counts| CategoricalReference { levels: Arc::clone(levels), counts };
            counts.map(|it| FeatureReference::Categorical(reference(it))).collect()
        }
    };
    Ok(ids.into_iter().zip(counted).collect())
}

fn numbers(
    rows: LazyFrame,
    name: &str,
    grid: &Grid,
    segments: usize,
) -> anyhow::Result<Vec<NumericCounts>> {
    let rows = collect(rows)?;
    let mut counts = vec![NumericCounts::empty(grid); segments];
    let mut waiting = vec![Vec::with_capacity(BLOCK); segments];
    for (value, place) in rows.column(name)?.f64()?.iter().zip(places(rows.column(PLACE)?)?) {
        match value {
            Some(value) => {
                waiting[place].push(value);
                if waiting[place].len() == BLOCK {
                    add(&mut counts[place], grid, &waiting[place]);
                    waiting[place].clear();
                }
            }
            None => counts[place].null += 1,
        }
    }
    for (counts, values) in counts.iter_mut().zip(&waiting) {
        add(counts, grid, values);
    }
    Ok(counts)
}

fn add(counts: &mut NumericCounts, grid: &Grid, values: &[f64]) {
    counts.update(grid, &NumericColumn { values: NumericValues::F64(values), validity: None });
}

fn categories(
    rows: LazyFrame,
    name: &str,
    levels: &Levels,
    segments: usize,
) -> anyhow::Result<Vec<CategoricalCounts>> {
    let grouped = collect(rows.group_by([col(name), col(PLACE)]).agg([len().alias(ROWS)]))?;
    let rows = grouped.column(ROWS)?.cast(&DataType::UInt64)?;
    let names = grouped.column(name)?.str()?.iter();
    let mut counts = vec![CategoricalCounts::empty(levels); segments];
    for ((name, place), rows) in
        names.zip(places(grouped.column(PLACE)?)?).zip(rows.u64()?.iter().flatten())
    {
        let counts = &mut counts[place];
        match name.map(|name| levels.find(name)) {
            None => counts.null += rows,
            Some(None) => counts.unseen += rows,
            Some(Some(level)) => counts.levels[level] += rows,
        }
    }
    Ok(counts)
}

/// Returns the place of each row's segment.
fn places(column: &Column) -> PolarsResult<impl Iterator<Item = usize>> {
    Ok(column.u32()?.iter().flatten().map(|place| place as usize))
}

impl SampleSegment {
    /// Returns the segments: one a value, then the one of all other values.
    fn ids(&self) -> Vec<SegmentId> {
        let values = self.values.iter().map(|value| &**value).chain([OTHER_SEGMENT]);
        values.filter_map(|value| SegmentId::try_new(&self.name, value).ok()).collect()
    }

    /// Returns the value of each row, in one input.
    pub(super) fn texts(&self, input: usize) -> Expr {
        col(&self.columns[input]).cast(DataType::String)
    }

    /// Returns the place of each row's segment among [`SampleSegment::ids`], in one input.
    pub(super) fn places(&self, input: usize) -> Expr {
        let as_place =
            |_: &Schema, field: &Field| Ok(Field::new(field.name().clone(), DataType::UInt32));
        let values = self.values.clone();
        self.texts(input).map(move |column| place(&column, &values), as_place)
    }
}

fn place(column: &Column, values: &[Arc<str>]) -> PolarsResult<Column> {
    let mut ranked: Vec<(&str, u32)> = values.iter().map(AsRef::as_ref).zip(0..).collect();
    ranked.sort_unstable();
    let other = u32::try_from(ranked.len()).expect("a segmentation has at most 1,000 values");
    let find = |value: &str| ranked.binary_search_by_key(&value, |(value, _)| value).ok();
    let place = |value: Option<&str>| value.and_then(find).map_or(other, |at| ranked[at].1);
    let places: UInt32Chunked = column.str()?.iter().map(|value| Some(place(value))).collect();
    Ok(places.with_name(column.name().clone()).into_column())
}
