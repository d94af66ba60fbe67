//! Compares one window with its reference.
//!
//! Before: [`crate::panes`]. After: [`WindowResult`] goes to the alert policies, the snapshot and
//! the outputs. The statistics and the decision are `driftd_detectors`'; this file lines up
//! configuration, counts and reference. A window of a segment is compared with the same segment of
//! the reference, never with all traffic.

#[cfg(test)]
mod tests;

use std::sync::Arc;

use driftd_catalog::Timestamp;
use driftd_detectors::{
    CategoricalCounts, CategoricalReference, FeatureCounts, FeatureInput, FeatureReference,
    FeatureVerdict, NumericCounts, NumericReference, State, decide,
};

use crate::config::{Config, FeatureConfig};
use crate::panes::Due;
use crate::result::{Cells, FeatureResult, Histogram, SpecialCounts, WindowResult};

/// Decides one window.
pub(crate) fn evaluate(config: &Config, due: &Due, now: Timestamp) -> WindowResult {
    let merged = &due.counts;
    let model = &config.models[merged.model];
    let reference = merged.reference.as_ref();
    let compared = reference.and_then(|reference| reference.of(&merged.id.segment));
    let features = match compared {
        Some(references) => compare(config, &model.features, references, &merged.features),
        None => {
            model.features.iter().map(|feature| without_reference(feature, merged.rows)).collect()
        }
    };
    WindowResult {
        id: merged.id.clone(),
        edition: due.edition,
        decides: due.window == 0,
        rows: merged.rows,
        complete: due.missing.is_empty(),
        missing: due.missing.clone(),
        offsets: merged.offsets.clone(),
        closed_at: now,
        reference: reference
            .filter(|_| compared.is_some())
            .map(|reference| Arc::clone(&reference.digest)),
        features,
    }
}

fn compare(
    config: &Config,
    features: &[FeatureConfig],
    references: &[FeatureReference],
    counts: &[FeatureCounts],
) -> Vec<FeatureResult> {
    let inputs: Vec<FeatureInput<'_>> = features
        .iter()
        .zip(references)
        .zip(counts)
        .map(|((feature, reference), counts)| FeatureInput {
            reference: Some(reference),
            counts,
            policy: feature.policy,
        })
        .collect();
    let verdicts = decide(&inputs, &config.decision);
    features
        .iter()
        .zip(&inputs)
        .zip(verdicts)
        .map(|((feature, input), verdict)| FeatureResult {
            name: Arc::clone(&feature.name),
            role: feature.role,
            verdict,
            histogram: input.reference.and_then(|reference| histogram(reference, input.counts)),
        })
        .collect()
}

fn without_reference(feature: &FeatureConfig, rows: u64) -> FeatureResult {
    FeatureResult {
        name: Arc::clone(&feature.name),
        role: feature.role,
        verdict: FeatureVerdict {
            state: State::NoReference,
            score: None,
            deciding: None,
            results: Vec::new(),
            reference_rows: 0,
            current_rows: rows,
            minimum_detectable_effect: None,
        },
        histogram: None,
    }
}

fn histogram(reference: &FeatureReference, counts: &FeatureCounts) -> Option<Histogram> {
    match (reference, counts) {
        (FeatureReference::Numeric(reference), FeatureCounts::Numeric(counts)) => {
            Some(numeric_histogram(reference, counts))
        }
        (FeatureReference::Categorical(reference), FeatureCounts::Categorical(counts)) => {
            Some(categorical_histogram(reference, counts))
        }
        (FeatureReference::Numeric(_), FeatureCounts::Categorical(_))
        | (FeatureReference::Categorical(_), FeatureCounts::Numeric(_)) => None,
    }
}

fn numeric_histogram(reference: &NumericReference, current: &NumericCounts) -> Histogram {
    let grid = &reference.grid;
    Histogram {
        cells: Cells::Edges(grid.bin_edges().to_vec()),
        reference: grid.bin_counts(&reference.counts.cells),
        current: grid.bin_counts(&current.cells),
        reference_special: numeric_special(&reference.counts),
        current_special: numeric_special(current),
    }
}

fn numeric_special(counts: &NumericCounts) -> SpecialCounts {
    let cells = &counts.cells;
    let ends = [cells.get(0), cells.get(cells.len() - 1)];
    SpecialCounts {
        null: counts.null,
        nan: counts.nan,
        neg_inf: counts.neg_inf,
        pos_inf: counts.pos_inf,
        unseen: 0,
        out_of_range: ends.into_iter().flatten().sum(),
    }
}

fn categorical_histogram(
    reference: &CategoricalReference,
    current: &CategoricalCounts,
) -> Histogram {
    Histogram {
        cells: Cells::Levels(Arc::clone(&reference.levels)),
        reference: reference.counts.levels.clone(),
        current: current.levels.clone(),
        reference_special: categorical_special(&reference.counts),
        current_special: categorical_special(current),
    }
}

fn categorical_special(counts: &CategoricalCounts) -> SpecialCounts {
    SpecialCounts { null: counts.null, unseen: counts.unseen, ..SpecialCounts::default() }
}
