//! A profile in words and numbers.
//!
//! Before: a decoded [`Profile`]. After: standard output.

use std::io::{self, Write};

use driftd_core::profile::Profile;
use driftd_detectors::{CategoricalReference, FeatureReference, NumericReference, Precision};
use serde::Serialize;

/// Levels listed in the overview.
const TOP_LEVELS: usize = 3;

/// The overview of a profile.
#[derive(Debug, Serialize)]
struct ProfileView<'a> {
    digest: &'a str,
    model: &'a str,
    version: &'a str,
    created: String,
    rows: u64,
    origin: &'a [driftd_core::profile::Origin],
    segments: Vec<SegmentView<'a>>,
    features: Vec<FeatureView<'a>>,
}

/// A part of the sample that was counted by itself.
#[derive(Debug, Serialize)]
struct SegmentView<'a> {
    segment: &'a str,
    rows: u64,
    /// How many of the most frequent values were chosen, where that is how.
    #[serde(skip_serializing_if = "Option::is_none")]
    top: Option<u32>,
}

/// The overview of one feature.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum FeatureView<'a> {
    Numeric(NumericView<'a>),
    Categorical(CategoricalView<'a>),
}

#[derive(Debug, Serialize)]
struct NumericView<'a> {
    name: &'a str,
    precision: &'static str,
    missing_rate: f64,
    edges: usize,
    minimum: f64,
    /// Deciles as the cells tell them: the edge below which at least the share lies.
    p10: f64,
    p50: f64,
    p90: f64,
    maximum: f64,
    bin_edges: &'a [f64],
    bin_counts: Vec<u64>,
}

#[derive(Debug, Serialize)]
struct CategoricalView<'a> {
    name: &'a str,
    missing_rate: f64,
    levels: usize,
    /// Rows of levels that are too rare to name, or beyond the bound on levels.
    other: u64,
    /// Most frequent first.
    level_counts: Vec<(&'a str, u64)>,
}

/// Writes a profile for a person: all features, one a line, or one feature with its bins or levels.
pub(super) fn describe(
    profile: &Profile,
    only: Option<&str>,
    out: &mut dyn Write,
) -> io::Result<()> {
    let view = view(profile, only);
    writeln!(out, "reference of {}/{}, {} rows", view.model, view.version, view.rows)?;
    writeln!(out, "built {}, {}", view.created, view.digest)?;
    for origin in view.origin {
        let from = origin.from.map_or_else(String::new, |it| format!(" from {it}"));
        let until = origin.until.map_or_else(String::new, |it| format!(" until {it}"));
        writeln!(out, "from {} ({} bytes){from}{until}", origin.path, origin.bytes)?;
    }
    for SegmentView { segment, rows, top } in &view.segments {
        let top = top.map_or_else(String::new, |top| format!(", by top {top}"));
        writeln!(out, "segment {segment}, {rows} rows ({:.1}%){top}", percent(*rows, view.rows))?;
    }
    writeln!(out)?;
    match (&view.features[..], only) {
        ([feature], Some(_)) => write_feature(feature, view.rows, out),
        (features, _) => write_table(features, view.rows, out),
    }
}

/// Writes a profile as one JSON object.
pub(super) fn write_json(
    profile: &Profile,
    only: Option<&str>,
    out: &mut dyn Write,
) -> anyhow::Result<()> {
    serde_json::to_writer(&mut *out, &view(profile, only))?;
    Ok(writeln!(out)?)
}

fn view<'a>(profile: &'a Profile, only: Option<&str>) -> ProfileView<'a> {
    let segments = profile.segments.iter();
    let features =
        profile.features.iter().filter(|(name, _)| only.is_none_or(|only| *name == only));
    ProfileView {
        digest: &profile.digest,
        model: &profile.model,
        version: &profile.version,
        created: profile.created.to_string(),
        rows: profile.rows,
        origin: &profile.origin,
        segments: segments
            .map(|(id, sample)| SegmentView {
                segment: id.as_str(),
                rows: sample.rows,
                top: sample.top,
            })
            .collect(),
        features: features.map(|(name, reference)| feature(name, reference)).collect(),
    }
}

fn feature<'a>(name: &'a str, reference: &'a FeatureReference) -> FeatureView<'a> {
    let missing = reference.rows() - reference.present();
    let missing_rate = missing as f64 / reference.rows().max(1) as f64;
    match reference {
        FeatureReference::Numeric(it) => FeatureView::Numeric(numeric(name, it, missing_rate)),
        FeatureReference::Categorical(it) => {
            FeatureView::Categorical(categorical(name, it, missing_rate))
        }
    }
}

fn numeric<'a>(
    name: &'a str,
    reference: &'a NumericReference,
    missing_rate: f64,
) -> NumericView<'a> {
    let NumericReference { grid, counts } = reference;
    NumericView {
        name,
        precision: match grid.precision() {
            Precision::F32 => "f32",
            Precision::F64 => "f64",
        },
        missing_rate,
        edges: grid.edges().len(),
        minimum: grid.edges().first().copied().unwrap_or(f64::NAN),
        p10: quantile(reference, 0.1),
        p50: quantile(reference, 0.5),
        p90: quantile(reference, 0.9),
        maximum: grid.edges().last().copied().unwrap_or(f64::NAN),
        bin_edges: grid.bin_edges(),
        bin_counts: grid.bin_counts(&counts.cells),
    }
}

/// Returns the least edge with at least `share` of the values at or below it.
fn quantile(reference: &NumericReference, share: f64) -> f64 {
    let NumericReference { grid, counts } = reference;
    let wanted = share * counts.present() as f64;
    let mut below = 0;
    // Cells come in pairs: between the edges, and equal to the upper one.
    let mut cells = counts.cells.iter();
    for edge in grid.edges() {
        below += cells.by_ref().take(2).sum::<u64>();
        if wanted <= below as f64 {
            return *edge;
        }
    }
    grid.edges().last().copied().unwrap_or(f64::NAN)
}

fn categorical<'a>(
    name: &'a str,
    reference: &'a CategoricalReference,
    missing_rate: f64,
) -> CategoricalView<'a> {
    let CategoricalReference { levels, counts } = reference;
    let names = levels.names().iter().map(AsRef::as_ref);
    let mut level_counts: Vec<(&str, u64)> = names.zip(counts.levels.iter().copied()).collect();
    level_counts.sort_by(|(_, rows), (_, others)| others.cmp(rows));
    CategoricalView {
        name,
        missing_rate,
        levels: levels.names().len(),
        other: counts.unseen,
        level_counts,
    }
}

fn write_table(features: &[FeatureView<'_>], rows: u64, out: &mut dyn Write) -> io::Result<()> {
    let width = features.iter().map(|it| it.name().chars().count()).max().unwrap_or(0).max(7);
    writeln!(out, "{:width$}  type         missing  content", "feature")?;
    for feature in features {
        let name = feature.name();
        match feature {
            FeatureView::Numeric(NumericView {
                precision,
                missing_rate,
                edges,
                minimum,
                p10,
                p50,
                p90,
                maximum,
                ..
            }) => writeln!(
                out,
                "{name:width$}  numeric {precision}  {:>6.1}%  {} … {} | {} | {} … {} ({edges} edges)",
                100.0 * missing_rate,
                short(*minimum),
                short(*p10),
                short(*p50),
                short(*p90),
                short(*maximum),
            ),
            FeatureView::Categorical(CategoricalView {
                missing_rate,
                levels,
                other,
                level_counts,
                ..
            }) => {
                let top: Vec<_> = level_counts
                    .iter()
                    .take(TOP_LEVELS)
                    .map(|(level, count)| format!("{level} {:.1}%", percent(*count, rows)))
                    .collect();
                let rare = if 0 < *other {
                    format!(", {:.1}% in rare ones", percent(*other, rows))
                } else {
                    String::new()
                };
                writeln!(
                    out,
                    "{name:width$}  categorical  {:>6.1}%  {} ({levels} levels{rare})",
                    100.0 * missing_rate,
                    top.join(", "),
                )
            }
        }?;
    }
    writeln!(out, "(numeric: least … 10 % | 50 % | 90 % … greatest)")
}

fn write_feature(feature: &FeatureView<'_>, rows: u64, out: &mut dyn Write) -> io::Result<()> {
    let line = |out: &mut dyn Write, label: &str, count: u64| {
        writeln!(out, "  {label:32} {count:>12} {:>6.2}%", percent(count, rows))
    };
    match feature {
        FeatureView::Numeric(view) => {
            writeln!(
                out,
                "{}: numeric {}, {} edges, {:.1}% missing",
                view.name,
                view.precision,
                view.edges,
                100.0 * view.missing_rate
            )?;
            let mut lower = "-∞".to_owned();
            for (index, count) in view.bin_counts.iter().enumerate() {
                let upper = view.bin_edges.get(index).map_or("∞".to_owned(), |edge| short(*edge));
                line(out, &format!("({lower}, {upper}]"), *count)?;
                lower = upper;
            }
            Ok(())
        }
        FeatureView::Categorical(view) => {
            writeln!(
                out,
                "{}: categorical, {} levels, {:.1}% missing",
                view.name,
                view.levels,
                100.0 * view.missing_rate
            )?;
            for (level, count) in &view.level_counts {
                line(out, level, *count)?;
            }
            if 0 < view.other { line(out, "(levels too rare to name)", view.other) } else { Ok(()) }
        }
    }
}

impl FeatureView<'_> {
    fn name(&self) -> &str {
        match self {
            Self::Numeric(view) => view.name,
            Self::Categorical(view) => view.name,
        }
    }
}

fn percent(count: u64, rows: u64) -> f64 {
    100.0 * count as f64 / rows.max(1) as f64
}

/// Writes a number with four significant digits.
fn short(value: f64) -> String {
    let magnitude = value.abs();
    if value == 0.0 || (1e-3..1e6).contains(&magnitude) {
        let digits = if 1000.0 <= magnitude {
            0
        } else if 1.0 <= magnitude {
            2
        } else {
            4
        };
        let text = format!("{value:.digits$}");
        if text.contains('.') {
            text.trim_end_matches('0').trim_end_matches('.').to_owned()
        } else {
            text
        }
    } else {
        format!("{value:.3e}")
    }
}
