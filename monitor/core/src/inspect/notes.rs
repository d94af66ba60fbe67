//! What was seen of a field, in the words of a comment beside it.
//!
//! Before: [`super::proposal`] takes a field. After: [`super::yaml`] writes the note. Values may be
//! personal data: text is shown only where each value is frequent, and nothing where only
//! [`Show::Shapes`] are asked for.

use driftd_ingest::FeatureKind;

use super::Show;
use super::fields::Field;
use super::values::{DISTINCT_MAX, Values};

/// Values that are shown of a category.
const SHOWN: usize = 5;

/// Values up to which whole numbers may be codes.
const CODES_MAX: u64 = 10;

/// Says in how many records there is a value, and where it is not.
pub(super) fn share(field: &Field<'_>) -> String {
    let (filled, records) = (field.filled(), field.records);
    let mut text = if filled == records {
        format!("in all {records} records")
    } else {
        format!("in {} of {records} records", percent(filled, records))
    };
    let node = field.node;
    if 0 < node.nulls {
        text.extend([", ", &node.nulls.to_string(), " null"]);
    }
    let others = node.objects + node.lists;
    if 0 < others {
        let others = others.to_string();
        text.extend([", ", &others, " lists or objects, which refuse their messages"]);
    }
    text
}

/// Says how many values a name or version has.
pub(super) fn different(field: &Field<'_>, show: Show) -> String {
    let share = share(field);
    let values = &field.node.values;
    match show {
        Show::Shapes => format!("{share}, {}", count(values)),
        Show::Values => {
            let shown: Vec<_> =
                values.by_frequency().into_iter().take(SHOWN).map(|(it, _)| it).collect();
            let more = if shown.len() < values.by_frequency().len() { ", …" } else { "" };
            format!("{share}: {}{more}", shown.join(", "))
        }
    }
}

/// Says what is known of a time.
pub(super) fn time(field: &Field<'_>, show: Show) -> String {
    let share = share(field);
    match (show, field.node.values.range) {
        (Show::Values, Some(range)) => format!("{share}; {}", between(range)),
        (Show::Values, None) | (Show::Shapes, _) => share,
    }
}

/// Says what is known of a feature or prediction.
pub(super) fn column(field: &Field<'_>, kind: FeatureKind, show: Show) -> String {
    let share = share(field);
    let values = &field.node.values;
    let facts = match kind {
        FeatureKind::Float32 | FeatureKind::Float64 | FeatureKind::Integer => {
            numbers(values, kind, show)
        }
        FeatureKind::Categorical => category(values, show),
        FeatureKind::Boolean => match (show, values.by_frequency().first()) {
            (Show::Values, Some((value, times))) => {
                format!("{value} {}", percent(*times, values.total()))
            }
            (Show::Values, None) | (Show::Shapes, _) => count(values),
        },
    };
    format!("{share}; {facts}")
}

fn numbers(values: &Values, kind: FeatureKind, show: Show) -> String {
    let mut facts = match (show, values.range) {
        (Show::Values, Some(range)) => between(range),
        (Show::Values, None) | (Show::Shapes, _) => count(values),
    };
    if 0 < values.specials {
        facts.extend([", ", &values.specials.to_string(), " NaN or infinite"]);
    }
    if kind == FeatureKind::Integer && values.different() <= CODES_MAX {
        let different = count(values);
        if facts != different {
            facts.extend([", ", &different]);
        }
        facts.push_str(": `categorical` if they are codes");
    }
    if kind == FeatureKind::Float64 && values.integers == values.total() {
        facts.push_str(", all of them whole so far");
    }
    facts
}

fn between((least, greatest): (f64, f64)) -> String {
    if least == greatest { format!("always {least}") } else { format!("{least} to {greatest}") }
}

fn category(values: &Values, show: Show) -> String {
    let shown = match show {
        Show::Values => values.top(),
        Show::Shapes => None,
    };
    let Some(top) = shown else { return count(values) };
    let total = values.total();
    let shown = top.iter().take(SHOWN);
    let shown: Vec<_> =
        shown.map(|(value, times)| format!("{value} {}", percent(*times, total))).collect();
    let more = if SHOWN < top.len() { format!(", {}", count(values)) } else { String::new() };
    format!("{}{more}", shown.join(", "))
}

fn count(values: &Values) -> String {
    if values.has_more {
        format!("more than {DISTINCT_MAX} different")
    } else {
        format!("{} different", values.different())
    }
}

/// Writes a share without rounding it to none or all.
fn percent(part: u64, whole: u64) -> String {
    let share = part * 100 / whole.max(1);
    match (share, part) {
        (0, 1..) => "<1%".to_owned(),
        (share, _) => format!("{share}%"),
    }
}
