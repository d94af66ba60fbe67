//! Checks windows, the panes that they are made of, and the rules of event time.
//!
//! Before: [`super::models`], [`super::sources`]. After: [`crate::config::WindowConfig`],
//! [`crate::config::PaneConfig`], [`crate::config::TimeConfig`].

use super::super::duration::{self, display};
use super::super::error::{Findings, Noted};
use super::super::raw::{RawModel, RawTime, RawWindow};
use super::super::text::DurationText;
use super::super::{PaneConfig, TimeConfig, WindowConfig, WindowKind, gcd};
use super::{distinct, millis, positive_millis};

/// Shortest window: windows are results, and a result a second is more than anyone reads.
const LENGTH_MILLIS_MIN: i64 = 1_000;

/// Most slices that one window is made of: each has counts of its own in memory, for every version
/// and segment.
const SLICES_MAX: i64 = 10_000;

/// Least allowance by which one partition may run ahead of another, unless configured.
const DRIFT_MILLIS_MIN: i64 = 3_600_000;

/// What stands for a key that is left out.
const OFFSET: &str = "0s";
const LATENESS: &str = "5m";
const REVISIONS: &str = "0s";
const WAIT_MAX: &str = "10m";
const OPEN_MAX: usize = 64;

/// The windows of a model, and their panes.
pub(super) type Checked = (PaneConfig, Vec<WindowConfig>);

/// Checks the windows of a model.
pub(super) fn windows(
    model: &RawModel,
    path: &str,
    findings: &mut Findings,
) -> Result<Checked, Noted> {
    let raw = listed(model, path, findings)?;
    let windows: Vec<_> = raw.iter().map(|(path, raw)| window(raw, path, findings)).collect();
    let names = windows.iter().zip(&raw).filter_map(|(window, (path, _))| {
        Some((format!("{path}.name"), &*window.as_ref().ok()?.name))
    });
    distinct(names, "window", findings);
    let Some((first, rest)) = raw.split_first() else { return Err(Noted) };
    for (path, raw) in rest {
        refuse_shared(raw, path, &first.0, findings);
    }
    let (path, raw) = first;
    let shared = shared(raw, path, findings);
    let windows: Vec<WindowConfig> = windows.into_iter().collect::<Result<_, _>>()?;
    let length_millis = pane_length(&windows, path, findings)?;
    let pane = PaneConfig { length_millis, ..shared? };
    offset(&pane, raw, &windows, path, findings);
    revisions(&pane, &windows, path, findings);
    if windows.first().is_some_and(|it| it.kind == WindowKind::Global) {
        findings.add(
            &format!("{path}.global"),
            "cannot decide: a window that forgets nothing never leaves an episode",
            "list a window with `length` or `rows` before it, in `windows`",
        );
    }
    Ok((pane, windows))
}

/// Returns the windows as written, each with its place.
fn listed<'a>(
    model: &'a RawModel,
    path: &str,
    findings: &mut Findings,
) -> Result<Vec<(String, &'a RawWindow)>, Noted> {
    match (&model.window, &model.windows) {
        (Some(window), None) => Ok(vec![(format!("{path}.window"), window)]),
        (None, Some(windows)) => {
            let windows = windows.iter().enumerate();
            Ok(windows.map(|(at, it)| (format!("{path}.windows[{at}]"), it)).collect())
        }
        (Some(_), Some(_)) => Err(findings.add(
            &format!("{path}.window"),
            "is given as well as `windows`",
            "keep `window` for one kind of windows, `windows` for several",
        )),
        (None, None) if findings.doubts("models[].windows") => Err(Noted),
        (None, None) => Err(findings.add(
            &format!("{path}.window"),
            "is missing",
            "add it: windows in which the model is judged, such as `{length: 1h}`",
        )),
    }
}

fn window(raw: &RawWindow, path: &str, findings: &mut Findings) -> Result<WindowConfig, Noted> {
    let kind = kind(raw, path, findings);
    let every = every(raw, path, findings);
    let early = raw.early.as_ref().map(|it| early(raw, it, &format!("{path}.early"), findings));
    let (kind, every_millis) = (kind?, every?);
    let window = WindowConfig {
        name: name(raw).into(),
        kind,
        every_millis,
        early_millis: early.transpose()?,
        history: raw.history,
    };
    slices(&window, path, findings)?;
    Ok(window)
}

fn name(raw: &RawWindow) -> String {
    match (&raw.name, &raw.length, raw.rows) {
        (Some(name), _, _) => name.0.clone(),
        (None, Some(length), _) => length.0.clone(),
        (None, None, Some(rows)) => format!("{rows}-rows"),
        (None, None, None) => "global".into(),
    }
}

fn kind(raw: &RawWindow, path: &str, findings: &mut Findings) -> Result<WindowKind, Noted> {
    match (&raw.length, raw.rows, raw.global) {
        (Some(text), None, false) => {
            let length_millis = length(text, &format!("{path}.length"), findings)?;
            Ok(WindowKind::Length { length_millis })
        }
        (None, Some(rows), false) => Ok(WindowKind::Rows { rows }),
        (None, None, true) => Ok(WindowKind::Global),
        (None, None, false) => Err(findings.add(
            &format!("{path}.length"),
            "is missing",
            "add it: length of a window, at least `1s`; or `rows`, or `global: true`",
        )),
        _ => Err(findings.add(
            path,
            "is of more than one kind",
            "keep one of `length`, `rows` and `global`",
        )),
    }
}

fn length(text: &DurationText, path: &str, findings: &mut Findings) -> Result<i64, Noted> {
    let length = millis(text, path, findings)?;
    if length < LENGTH_MILLIS_MIN {
        let problem = format!("is {}, shorter than the shortest window", text.0);
        return Err(findings.add(path, &problem, "use at least `1s`"));
    }
    Ok(length)
}

fn every(raw: &RawWindow, path: &str, findings: &mut Findings) -> Result<i64, Noted> {
    let path = format!("{path}.every");
    let Some(text) = raw.every.as_ref().or(raw.length.as_ref()) else {
        return Err(if raw.rows.is_some() || raw.global {
            let hint = "add it: event time between the ends of two windows, such as `1h`";
            findings.add(&path, "is missing", hint)
        } else {
            Noted
        });
    };
    if raw.every.is_none() {
        // Whatever is wrong with it was said of the length.
        return duration::parse(&text.0).map_err(|_| Noted);
    }
    let every = length(text, &path, findings)?;
    let longest = raw.length.as_ref().and_then(|it| duration::parse(&it.0).ok());
    if let Some(longest) = longest.filter(|it| *it < every) {
        return Err(findings.add(
            &path,
            &format!("is {}, longer than the window of {}", text.0, display(longest)),
            "use at most the window's length: records between two windows would be in none",
        ));
    }
    Ok(every)
}

fn early(
    raw: &RawWindow,
    text: &DurationText,
    path: &str,
    findings: &mut Findings,
) -> Result<i64, Noted> {
    if raw.length.is_none() {
        let hint = "remove it, or give the window a `length`";
        return Err(findings.add(path, "is for windows with a `length`", hint));
    }
    let early = length(text, path, findings)?;
    let Some(every) = raw.every.as_ref().or(raw.length.as_ref()) else { return Err(Noted) };
    let every = duration::parse(&every.0).map_err(|_| Noted)?;
    if every <= early || every % early != 0 {
        return Err(findings.add(
            path,
            &format!("is {}, no part of `every`, which is {}", text.0, display(every)),
            "use a half, a third or another whole part of `every`",
        ));
    }
    Ok(early)
}

fn slices(window: &WindowConfig, path: &str, findings: &mut Findings) -> Result<(), Noted> {
    let WindowKind::Length { length_millis } = window.kind else { return Ok(()) };
    let slice = window.slice_millis();
    let slices = length_millis / slice;
    if SLICES_MAX < slices {
        return Err(findings.add(
            path,
            &format!(
                "is made of {slices} slices of {}, the greatest common divisor of `length`, \
                 `every` and `early`, more than {SLICES_MAX}",
                display(slice)
            ),
            "use lengths of time that divide one another, or a longer `every`",
        ));
    }
    Ok(())
}

fn shared(raw: &RawWindow, path: &str, findings: &mut Findings) -> Result<PaneConfig, Noted> {
    let text = |given: &Option<DurationText>, otherwise| {
        given.clone().unwrap_or_else(|| DurationText::of(otherwise))
    };
    let offset = millis(&text(&raw.offset, OFFSET), &format!("{path}.offset"), findings);
    let lateness = millis(&text(&raw.lateness, LATENESS), &format!("{path}.lateness"), findings);
    let revisions =
        millis(&text(&raw.revisions, REVISIONS), &format!("{path}.revisions"), findings);
    let wait_max = text(&raw.wait_max, WAIT_MAX);
    let wait_max = positive_millis(&wait_max, &format!("{path}.wait_max"), findings);
    Ok(PaneConfig {
        length_millis: LENGTH_MILLIS_MIN,
        offset_millis: offset?,
        lateness_millis: lateness?,
        revisions_millis: revisions?,
        wait_max_millis: wait_max?,
        open_max: raw.open_max.unwrap_or(OPEN_MAX),
    })
}

fn refuse_shared(raw: &RawWindow, path: &str, first: &str, findings: &mut Findings) {
    for (key, is_given) in [
        ("offset", raw.offset.is_some()),
        ("lateness", raw.lateness.is_some()),
        ("revisions", raw.revisions.is_some()),
        ("wait_max", raw.wait_max.is_some()),
        ("open_max", raw.open_max.is_some()),
    ] {
        if is_given {
            findings.add(
                &format!("{path}.{key}"),
                "is shared by all windows of a model",
                &format!("write it in `{first}`"),
            );
        }
    }
}

fn pane_length(
    windows: &[WindowConfig],
    path: &str,
    findings: &mut Findings,
) -> Result<i64, Noted> {
    let length = windows.iter().map(WindowConfig::slice_millis).fold(0, gcd);
    if length < LENGTH_MILLIS_MIN {
        return Err(findings.add(
            path,
            &format!(
                "has panes of {}, the greatest common divisor of every `length`, `every` and \
                 `early` of the model",
                display(length)
            ),
            "use lengths of time that have `1s` or more in common",
        ));
    }
    Ok(length)
}

fn offset(
    pane: &PaneConfig,
    raw: &RawWindow,
    windows: &[WindowConfig],
    path: &str,
    findings: &mut Findings,
) {
    let longest = windows.iter().map(|it| it.every_millis).max().unwrap_or_default();
    if longest <= pane.offset_millis {
        let is_single = windows.len() == 1 && raw.every.is_none();
        let of = if is_single { "the length" } else { "the longest `every`" };
        findings.add(
            &format!("{path}.offset"),
            &format!("is {}, not below {of} {}", display(pane.offset_millis), display(longest)),
            "shift by less than one window",
        );
    }
}

/// What is to be counted again has to be kept pane by pane.
fn revisions(pane: &PaneConfig, windows: &[WindowConfig], path: &str, findings: &mut Findings) {
    if pane.revisions_millis == 0 {
        return;
    }
    let path = format!("{path}.revisions");
    let lengths: Vec<Option<i64>> = windows
        .iter()
        .map(|window| match window.kind {
            WindowKind::Length { length_millis } => Some(length_millis),
            WindowKind::Rows { .. } | WindowKind::Global => None,
        })
        .collect();
    let longest = lengths.iter().flatten().max().copied().unwrap_or_default();
    let panes = (longest + pane.revisions_millis) / pane.length_millis;
    if lengths.contains(&None) {
        findings.add(
            &path,
            "is for models whose windows all have a `length`",
            "remove it, or the windows of `rows` and the `global` one",
        );
    } else if SLICES_MAX < panes {
        findings.add(
            &path,
            &format!(
                "keeps {panes} panes of {} for the longest window, more than {SLICES_MAX}",
                display(pane.length_millis)
            ),
            "use a shorter one, or windows with more in common",
        );
    }
}

/// Checks the rules of event time of a topic; `longest_millis` is the longest pane of its models.
pub(super) fn time(
    raw: &RawTime,
    longest_millis: i64,
    path: &str,
    findings: &mut Findings,
) -> Result<TimeConfig, Noted> {
    let out_of_orderness =
        millis(&raw.out_of_orderness, &format!("{path}.out_of_orderness"), findings);
    let idle_timeout =
        positive_millis(&raw.idle_timeout, &format!("{path}.idle_timeout"), findings);
    let future_skew_max =
        millis(&raw.future_skew_max, &format!("{path}.future_skew_max"), findings);
    let drift_max = match &raw.drift_max {
        Some(text) => positive_millis(text, &format!("{path}.drift_max"), findings),
        None => Ok((2 * longest_millis).max(DRIFT_MILLIS_MIN)),
    };
    Ok(TimeConfig {
        out_of_orderness_millis: out_of_orderness?,
        idle_timeout_millis: idle_timeout?,
        future_skew_max_millis: future_skew_max?,
        drift_max_millis: drift_max?,
    })
}

/// Checks that the panes which may still take records in can all be open.
pub(super) fn open_max(pane: &PaneConfig, time: &TimeConfig, path: &str, findings: &mut Findings) {
    let late = pane.lateness_millis + time.out_of_orderness_millis;
    // The newest pane, and one for each length that a record may be late.
    let needed = (late + pane.length_millis - 1) / pane.length_millis + 1;
    let open_max = i64::try_from(pane.open_max).unwrap_or(i64::MAX);
    if open_max < needed {
        findings.add(
            &format!("{path}.open_max"),
            &format!(
                "is {open_max}, but records up to {} late keep {needed} panes of {} open",
                display(late),
                display(pane.length_millis)
            ),
            &format!("raise it to {needed}, or shorten `lateness` or `out_of_orderness`"),
        );
    }
}
