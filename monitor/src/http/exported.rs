//! Which features of a model have series of their own, where there are more than the cap.
//!
//! Before: the model's snapshot. After: [`super::metrics`] exports these and says how many it left
//! out. A feature that comes and goes makes a new series each time, so the order is made of things
//! that change seldom: what drifted since the start first, then the greatest score of the kept
//! windows, then the configured order.

use std::collections::BTreeSet;

use driftd_core::config::{ModelConfig, Role};
use driftd_core::snapshot::ModelSnapshot;
use driftd_detectors::State;

/// Features to export, and how many there are beyond them. Predictions are not capped and not in
/// here.
#[derive(Debug)]
pub(super) struct Exported<'a> {
    names: BTreeSet<&'a str>,
    pub(super) dropped: usize,
}

impl Exported<'_> {
    pub(super) fn contains(&self, feature: &str) -> bool {
        self.names.contains(feature)
    }
}

/// Chooses at most `features_max` features of `model`.
pub(super) fn exported<'a>(
    config: &'a ModelConfig,
    model: &ModelSnapshot,
    features_max: usize,
) -> Exported<'a> {
    let watched = config.features.iter().enumerate();
    let mut features: Vec<(usize, &str)> = watched
        .filter(|(_, feature)| feature.role == Role::Feature)
        .map(|(at, feature)| (at, &*feature.name))
        .collect();
    let dropped = features.len().saturating_sub(features_max);
    if 0 < dropped {
        let claims = claims(config, model);
        // Stable: features of equal claim stay in the configured order.
        features.sort_by(|(a, _), (b, _)| claims[*b].cmp(&claims[*a]));
        features.truncate(features_max);
    }
    Exported { names: features.into_iter().map(|(_, name)| name).collect(), dropped }
}

/// A feature's claim to series: whether it ever left `ok`, then its greatest kept score in
/// thousandths.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Claim {
    ever: bool,
    score: u64,
}

/// One claim a watched column, in the configured order, which is that of every window's results.
fn claims(config: &ModelConfig, model: &ModelSnapshot) -> Vec<Claim> {
    let mut claims = vec![Claim::default(); config.features.len()];
    for segment in &model.segments {
        let ever: BTreeSet<&str> = segment.ever_drifted.iter().map(|name| &**name).collect();
        for (claim, feature) in claims.iter_mut().zip(&config.features) {
            claim.ever |= ever.contains(&*feature.name);
        }
        for window in segment.history.iter() {
            for (claim, (state, score)) in claims.iter_mut().zip(&window.scores) {
                claim.ever |= *state == State::BrokenData;
                claim.score = claim.score.max(thousandths(score.unwrap_or(0.0)));
            }
        }
    }
    claims
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "scores are not negative, and a float beyond u64 saturates: both keep the order"
)]
fn thousandths(score: f64) -> u64 {
    (score * 1000.0) as u64
}
