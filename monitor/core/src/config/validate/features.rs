//! Checks features and predictions: their paths, and when each counts as drifted.
//!
//! Before: [`super::models`]. After: [`super::sources`] joins the columns of a topic.

use std::f64::consts::LN_2;
use std::sync::Arc;

use driftd_detectors::{DetectorKind, FeaturePolicy};
use driftd_ingest::{FeatureField, FeatureKind};

use super::super::error::{Findings, Noted};
use super::super::raw::{RawDetection, RawDetector, RawFeature, RawKind};
use super::super::{FeatureConfig, Role};
use super::field_path;

/// The policies of features that say nothing of their own.
pub(super) struct Policies {
    numeric: FeaturePolicy,
    categorical: FeaturePolicy,
}

impl Policies {
    /// Checks `detection`.
    pub(super) fn read(raw: &RawDetection, findings: &mut Findings) -> Self {
        let policy = |detector: RawDetector, effect: Option<f64>| FeaturePolicy {
            detector: kind_of(detector),
            minimum_effect: effect.unwrap_or(minimum_effect(detector)),
            missing_rate_effect: raw.missing_rate_effect,
            unseen_rate_effect: raw.unseen_rate_effect,
            minimum_rows: raw.minimum_rows,
        };
        let numeric = policy(raw.numeric.detector, raw.numeric.minimum_effect);
        let categorical = policy(raw.categorical.detector, raw.categorical.minimum_effect);
        check(&numeric, true, "detection.numeric", findings);
        check(&categorical, false, "detection.categorical", findings);
        Self { numeric, categorical }
    }

    /// Returns the policy of one feature, checked.
    fn of(&self, raw: &RawFeature, path: &str, findings: &mut Findings) -> FeaturePolicy {
        let common = if is_numeric(raw.kind) { self.numeric } else { self.categorical };
        let mut policy = common;
        if let Some(detector) = raw.detector.filter(|it| kind_of(*it) != common.detector) {
            // An effect is in the unit of its detector: another one's limit means nothing here.
            policy.detector = kind_of(detector);
            policy.minimum_effect = minimum_effect(detector);
        }
        policy.minimum_effect = raw.minimum_effect.unwrap_or(policy.minimum_effect);
        policy.missing_rate_effect = raw.missing_rate_effect.unwrap_or(common.missing_rate_effect);
        policy.unseen_rate_effect = raw.unseen_rate_effect.unwrap_or(common.unseen_rate_effect);
        policy.minimum_rows = raw.minimum_rows.unwrap_or(common.minimum_rows);
        // What is wrong with `detection` was said there.
        if raw.detector.is_some() || raw.minimum_effect.is_some() {
            check(&policy, is_numeric(raw.kind), path, findings);
        }
        if raw.unseen_rate_effect.is_some() && is_numeric(raw.kind) {
            findings.add(
                &format!("{path}.unseen_rate_effect"),
                "is for `categorical` and `boolean` features",
                "remove it",
            );
        }
        policy
    }
}

/// Checks one feature or prediction.
pub(super) fn feature(
    raw: &RawFeature,
    role: Role,
    path: &str,
    policies: &Policies,
    findings: &mut Findings,
) -> Result<(FeatureConfig, FeatureField), Noted> {
    let policy = policies.of(raw, path, findings);
    let field_path = field_path(&raw.path, &format!("{path}.path"), findings)?;
    let kind = match raw.kind {
        RawKind::Float32 => FeatureKind::Float32,
        RawKind::Float64 => FeatureKind::Float64,
        RawKind::Integer => FeatureKind::Integer,
        RawKind::Categorical => FeatureKind::Categorical,
        RawKind::Boolean => FeatureKind::Boolean,
    };
    let name: Arc<str> = raw.name.0.as_str().into();
    let field = FeatureField { name: name.clone(), path: field_path, kind };
    Ok((FeatureConfig { name, role, kind, policy }, field))
}

fn check(policy: &FeaturePolicy, numeric: bool, path: &str, findings: &mut Findings) {
    let detector = policy.detector.as_str();
    if !numeric && !policy.detector.decides_categorical() {
        findings.add(
            &format!("{path}.detector"),
            &format!("`{detector}` needs an order of the values, which categories do not have"),
            "use `psi`, `kl` or `js`",
        );
    }
    let bound = match policy.detector {
        DetectorKind::Ks => 1.0,
        DetectorKind::JensenShannon => LN_2,
        DetectorKind::Psi
        | DetectorKind::KullbackLeibler
        | DetectorKind::ChiSquared
        | DetectorKind::MissingRate
        | DetectorKind::UnseenRate => f64::INFINITY,
    };
    if bound <= policy.minimum_effect {
        findings.add(
            &format!("{path}.minimum_effect"),
            &format!("is {}, which `{detector}` never exceeds", policy.minimum_effect),
            &format!("use a value between 0 and {}", if bound == 1.0 { "1" } else { "0.69" }),
        );
    }
}

fn is_numeric(kind: RawKind) -> bool {
    match kind {
        RawKind::Float32 | RawKind::Float64 | RawKind::Integer => true,
        RawKind::Categorical | RawKind::Boolean => false,
    }
}

fn kind_of(detector: RawDetector) -> DetectorKind {
    match detector {
        RawDetector::Ks => DetectorKind::Ks,
        RawDetector::Psi => DetectorKind::Psi,
        RawDetector::Kl => DetectorKind::KullbackLeibler,
        RawDetector::Js => DetectorKind::JensenShannon,
    }
}

/// Returns the least effect of a detector that is given no other. PSI 0.1 is the usual border of
/// "some change"; for small changes KL is half and JS an eighth of PSI, so these limits mean the
/// same.
fn minimum_effect(detector: RawDetector) -> f64 {
    match detector {
        RawDetector::Ks | RawDetector::Psi => 0.1,
        RawDetector::Kl => 0.05,
        RawDetector::Js => 0.0125,
    }
}
