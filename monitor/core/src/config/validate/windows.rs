//! Checks windows and the rules of event time.
//!
//! Before: [`super::models`], [`super::sources`]. After: [`crate::config::WindowConfig`],
//! [`crate::config::TimeConfig`].

use super::super::duration::display;
use super::super::error::{Findings, Noted};
use super::super::raw::{RawTime, RawWindow};
use super::super::{TimeConfig, WindowConfig};
use super::{millis, positive_millis};

/// Shortest window: windows are results, and a result a second is more than anyone reads.
const LENGTH_MILLIS_MIN: i64 = 1_000;

/// Least allowance by which one partition may run ahead of another, unless configured.
const DRIFT_MILLIS_MIN: i64 = 3_600_000;

/// Checks the windows of a model.
pub(super) fn window(
    raw: &RawWindow,
    path: &str,
    findings: &mut Findings,
) -> Result<WindowConfig, Noted> {
    let length = length(raw, &format!("{path}.length"), findings);
    let offset_millis = millis(&raw.offset, &format!("{path}.offset"), findings);
    let lateness_millis = millis(&raw.lateness, &format!("{path}.lateness"), findings);
    let wait_max_millis = positive_millis(&raw.wait_max, &format!("{path}.wait_max"), findings);
    let (length_millis, offset_millis) = (length?, offset_millis?);
    if length_millis <= offset_millis {
        findings.add(
            &format!("{path}.offset"),
            &format!("is {}, not below the length {}", raw.offset.0, raw.length.0),
            "shift by less than one window",
        );
    }
    Ok(WindowConfig {
        label: raw.length.0.as_str().into(),
        length_millis,
        offset_millis,
        lateness_millis: lateness_millis?,
        wait_max_millis: wait_max_millis?,
        open_max: raw.open_max,
        history: raw.history,
    })
}

fn length(raw: &RawWindow, path: &str, findings: &mut Findings) -> Result<i64, Noted> {
    let length = millis(&raw.length, path, findings)?;
    if length < LENGTH_MILLIS_MIN {
        let problem = format!("is {}, shorter than the shortest window", raw.length.0);
        return Err(findings.add(path, &problem, "use at least `1s`"));
    }
    Ok(length)
}

/// Checks the rules of event time of a topic; `longest_millis` is the longest window of its models.
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

/// Checks that the windows which may still take records in can all be open.
pub(super) fn open_max(
    window: &WindowConfig,
    time: &TimeConfig,
    path: &str,
    findings: &mut Findings,
) {
    let late = window.lateness_millis + time.out_of_orderness_millis;
    // The newest window, and one for each length that a record may be late.
    let needed = (late + window.length_millis - 1) / window.length_millis + 1;
    let open_max = i64::try_from(window.open_max).unwrap_or(i64::MAX);
    if open_max < needed {
        findings.add(
            &format!("{path}.open_max"),
            &format!(
                "is {open_max}, but records up to {} late keep {needed} windows of {} open",
                display(late),
                window.label
            ),
            &format!("raise it to {needed}, or shorten `lateness` or `out_of_orderness`"),
        );
    }
}
