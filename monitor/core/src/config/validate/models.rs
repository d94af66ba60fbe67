//! Checks the watched models: names, versions, references, columns, segments.
//!
//! Before: [`super`]. After: [`super::sources`] puts the models of a topic together.

use std::sync::Arc;

use driftd_catalog::{ModelId, NameError, SegmentId};
use driftd_ingest::{FeatureField, ModelSchema, SegmentField, VersionField};

use super::super::error::{Findings, Noted};
use super::super::raw::{RawConfig, RawModel, RawSegment};
use super::super::text::Label;
use super::super::{
    FeatureConfig, ModelConfig, OTHER_SEGMENT, PerformanceConfig, ReferencePath, Role,
    SegmentConfig, SegmentValues,
};
use super::features::{Policies, feature};
use super::windows::windows;
use super::{distinct, field_path, performance};

/// Most columns times segments of a model: each pair has counts in every open window.
const COUNTED_MAX: usize = 100_000;

/// A model, and what its records look like.
pub(super) struct CheckedModel {
    pub(super) config: ModelConfig,
    pub(super) schema: ModelSchema,
    /// What its labels look like, where it has some.
    pub(super) labels: Option<ModelSchema>,
}

/// Checks all models. One that cannot be read keeps its place.
pub(super) fn models(
    raw: &RawConfig,
    policies: &Policies,
    findings: &mut Findings,
) -> Vec<Result<CheckedModel, Noted>> {
    let names = raw.models.iter().enumerate();
    let names = names.map(|(index, it)| (format!("models[{index}].name"), it.name.0.as_str()));
    distinct(names, "model", findings);
    let models = raw.models.iter().enumerate();
    models
        .map(|(index, it)| model(raw, it, &format!("models[{index}]"), policies, findings))
        .collect()
}

fn model(
    raw: &RawConfig,
    model: &RawModel,
    path: &str,
    policies: &Policies,
    findings: &mut Findings,
) -> Result<CheckedModel, Noted> {
    name(&model.name, &format!("{path}.name"), findings);
    let source = source(raw, model, &format!("{path}.source"), findings);
    let version = version(model, path, findings);
    let prediction_id = model
        .prediction_id
        .as_ref()
        .map(|it| field_path(it, &format!("{path}.prediction_id"), findings));
    let references = references(model, &format!("{path}.references"), findings);
    let windows = windows(model, path, findings);
    let columns = columns(model, path, policies, findings);
    let segments = segments(model, path, findings);
    counted(model, path, findings);
    let performance = performance::performance(raw, model, path, findings);
    let (features, fields) = columns?.into_iter().unzip();
    let (segments, segment_fields) = segments?.into_iter().unzip();
    let (pane, windows) = windows?;
    let (performance, labels) = performance?.unzip();
    let config = ModelConfig {
        name: model.name.0.as_str().into(),
        source: source?,
        references: references?,
        features,
        segments,
        pane,
        windows,
        versions_max: model.versions_max,
        performance: performance
            .map(|it| PerformanceConfig { offset_millis: pane.offset_millis, ..it }),
    };
    let schema = ModelSchema {
        name: config.name.clone(),
        version: version?,
        prediction_id: prediction_id.transpose()?.filter(|_| labels.is_some()),
        features: fields,
        segments: segment_fields,
    };
    Ok(CheckedModel { config, schema, labels })
}

/// Labels are bounded in bytes; the schema bounds characters.
fn name(label: &Label, path: &str, findings: &mut Findings) {
    refuse_name(ModelId::try_new(&label.0, &label.0).err(), path, findings);
}

fn refuse_name(error: Option<NameError>, path: &str, findings: &mut Findings) {
    if let Some(error) = error {
        findings.add(path, &error.to_string(), "use a shorter name");
    }
}

fn source(
    raw: &RawConfig,
    model: &RawModel,
    path: &str,
    findings: &mut Findings,
) -> Result<usize, Noted> {
    let found = raw.sources.iter().position(|it| it.topic == model.source);
    found.ok_or_else(|| {
        if findings.doubts("sources[].topic") {
            return Noted;
        }
        let known: Vec<_> = raw.sources.iter().map(|it| format!("`{}`", it.topic.0)).collect();
        findings.add(
            path,
            &format!("`{}` is not the topic of a source", model.source.0),
            &format!("use one of {}, or add it to `sources`", known.join(", ")),
        )
    })
}

fn version(model: &RawModel, path: &str, findings: &mut Findings) -> Result<VersionField, Noted> {
    match (&model.version, &model.version_path) {
        (Some(version), None) => {
            name(version, &format!("{path}.version"), findings);
            Ok(VersionField::Fixed(version.0.as_str().into()))
        }
        (None, Some(text)) => {
            field_path(text, &format!("{path}.version_path"), findings).map(VersionField::Path)
        }
        (Some(_), Some(_)) => Err(findings.add(
            &format!("{path}.version"),
            "is given as well as `version_path`",
            "keep `version` if all records are of one version, else `version_path`",
        )),
        (None, None) => Err(findings.add(
            path,
            "has no version",
            "add `version: \"1\"`, or `version_path` if the records tell it",
        )),
    }
}

fn references(
    model: &RawModel,
    path: &str,
    findings: &mut Findings,
) -> Result<ReferencePath, Noted> {
    let text = &model.references;
    let filled = text.replace("{model}", "").replace("{version}", "");
    if filled.contains(['{', '}']) {
        return Err(findings.add(
            path,
            &format!("`{text}` has a placeholder that is not known"),
            "use `{model}` and `{version}` only",
        ));
    }
    if model.version.is_none() && model.version_path.is_some() && !text.contains("{version}") {
        return Err(findings.add(
            path,
            &format!("`{text}` is one file for all versions of the records"),
            "put `{version}` into the path: each version has a reference of its own",
        ));
    }
    Ok(ReferencePath(text.clone()))
}

fn columns(
    model: &RawModel,
    path: &str,
    policies: &Policies,
    findings: &mut Findings,
) -> Result<Vec<(FeatureConfig, FeatureField)>, Noted> {
    let features = model.features.iter().enumerate();
    let features =
        features.map(|(index, it)| (format!("{path}.features[{index}]"), Role::Feature, it));
    let predictions = model.predictions.iter().enumerate();
    let predictions = predictions
        .map(|(index, it)| (format!("{path}.predictions[{index}]"), Role::Prediction, it));
    let all: Vec<_> = features.chain(predictions).collect();
    let names = all.iter().map(|(path, _, it)| (format!("{path}.name"), it.name.0.as_str()));
    distinct(names, "feature or prediction", findings);
    let checked: Vec<_> = all
        .into_iter()
        .map(|(path, role, raw)| {
            name(&raw.name, &format!("{path}.name"), findings);
            feature(raw, role, &path, policies, findings)
        })
        .collect();
    checked.into_iter().collect()
}

fn segments(
    model: &RawModel,
    path: &str,
    findings: &mut Findings,
) -> Result<Vec<(SegmentConfig, SegmentField)>, Noted> {
    let segments = || model.segments.iter().enumerate();
    let at = |index| format!("{path}.segments[{index}]");
    let names = segments().map(|(index, it)| (format!("{}.name", at(index)), it.name.0.as_str()));
    distinct(names, "segment", findings);
    let checked: Vec<_> = segments().map(|(index, it)| segment(it, &at(index), findings)).collect();
    checked.into_iter().collect()
}

fn segment(
    raw: &RawSegment,
    path: &str,
    findings: &mut Findings,
) -> Result<(SegmentConfig, SegmentField), Noted> {
    if raw.name.0.contains('=') {
        findings.add(
            &format!("{path}.name"),
            &format!("`{}` has a `=`, which parts name and value of a segment", raw.name.0),
            "use another character",
        );
    }
    let values = segment_values(raw, path, findings);
    let field_path = field_path(&raw.path, &format!("{path}.path"), findings)?;
    let name: Arc<str> = raw.name.0.as_str().into();
    let field = SegmentField { name: name.clone(), path: field_path };
    Ok((SegmentConfig { name, values: values? }, field))
}

fn segment_values(
    raw: &RawSegment,
    path: &str,
    findings: &mut Findings,
) -> Result<SegmentValues, Noted> {
    match (&raw.values, raw.top) {
        (Some(values), None) => {
            check_values(&raw.name, values, &format!("{path}.values"), findings);
            let values = values.iter().map(|it| it.0.as_str().into()).collect();
            Ok(SegmentValues::Listed(values))
        }
        (None, Some(top)) => Ok(SegmentValues::Top(top)),
        (Some(_), Some(_)) => Err(findings.add(
            &format!("{path}.top"),
            "is given as well as `values`",
            "keep `values` to say which values, or `top` to say how many",
        )),
        (None, None) => Err(findings.add(
            path,
            "has neither `values` nor `top`",
            "add `values` with the values to watch, or `top: 10` for the most frequent ones",
        )),
    }
}

fn check_values(name: &Label, values: &[Label], path: &str, findings: &mut Findings) {
    let values = || values.iter().enumerate();
    let at = |index| format!("{path}[{index}]");
    distinct(values().map(|(index, it)| (at(index), it.0.as_str())), "value", findings);
    for (index, value) in values() {
        if value.0 == OTHER_SEGMENT {
            findings.add(
                &at(index),
                &format!("`{OTHER_SEGMENT}` is the segment of all other values"),
                "remove it",
            );
        }
        refuse_name(SegmentId::try_new(&name.0, &value.0).err(), &at(index), findings);
    }
}

fn counted(model: &RawModel, path: &str, findings: &mut Findings) {
    let columns = model.features.len() + model.predictions.len();
    // One segment for all records, and one for the other values of each split.
    let values = |it: &RawSegment| it.top.or(it.values.as_ref().map(Vec::len)).unwrap_or(0);
    let segments: usize = 1 + model.segments.iter().map(|it| values(it) + 1).sum::<usize>();
    if COUNTED_MAX < columns * segments {
        findings.add(
            &format!("{path}.segments"),
            &format!(
                "make {segments} segments of {columns} features and predictions, more than \
                 {COUNTED_MAX} counts in a window"
            ),
            "watch fewer values, or fewer features",
        );
    }
}
