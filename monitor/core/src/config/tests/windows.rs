//! Windows that are refused, and what is said of them; panes that follow from windows.

use serde_json::{Value, json};

use super::super::{WindowKind, load};
use super::{check, check_one, load_tree, put, smallest};

#[test]
fn windows_have_a_length_and_an_offset_below_it() {
    check_one(
        "/models/0/window/length",
        json!("0s"),
        "`models[0].window.length`: is 0s, shorter than the shortest window; use at least `1s`",
    );
    check_one(
        "/models/0/window/length",
        json!("9999d"),
        "`models[0].window.length`: `9999d` is longer than ten years; write whole numbers with \
         the units `d`, `h`, `m`, `s`, `ms`, the longest first, such as `1h30m`",
    );
    check_one(
        "/models/0/window/offset",
        json!("1h"),
        "`models[0].window.offset`: is 1h, not below the length 1h; shift by less than one \
         window",
    );
    check_one(
        "/models/0/window/wait_max",
        json!("0s"),
        "`models[0].window.wait_max`: is zero; write a length of time above zero, such as `1m`",
    );
}

#[test]
fn open_windows_are_enough_for_late_records() {
    check(
        &[("/models/0/window/open_max", json!(2)), ("/models/0/window/lateness", json!("2h"))],
        &["`models[0].window.open_max`: is 2, but records up to 2h10s late keep 4 panes of \
             1h open; raise it to 4, or shorten `lateness` or `out_of_orderness`"],
    );
    check(
        &[("/models/0/window/open_max", json!(4)), ("/models/0/window/lateness", json!("2h"))],
        &[],
    );
}

/// Replaces the window of the smallest file.
fn windows(windows: &Value) -> Value {
    let mut tree = smallest();
    put(&mut tree, "/models/0/window", Value::Null);
    put(&mut tree, "/models/0/windows", windows.clone());
    tree
}

fn refused(windows_: &Value, errors: &[&str]) {
    let found = load_tree(&windows(windows_)).unwrap_err();
    let found: Vec<String> = found.as_slice().iter().map(ToString::to_string).collect();
    assert_eq!(found, errors, "{windows_}");
}

#[test]
fn panes_divide_every_window() {
    let tree = windows(&json!([
        {"length": "1h", "offset": "10m", "lateness": "1m"},
        {"length": "1d", "every": "90m"},
        {"rows": 5000, "every": "3h"},
        {"name": "ever", "global": true, "every": "1d"},
        {"name": "soon", "length": "6h", "early": "45m"},
    ]));
    let config = load(&tree.to_string(), &|_| None).unwrap_or_else(|errors| panic!("{errors}"));
    let model = &config.models[0];
    let minutes = |millis: i64| millis / 60_000;
    assert_eq!(minutes(model.pane.length_millis), 15);
    assert_eq!((minutes(model.pane.offset_millis), minutes(model.pane.lateness_millis)), (10, 1));
    let names: Vec<&str> = model.windows.iter().map(|it| &*it.name).collect();
    assert_eq!(names, ["1h", "1d", "5000-rows", "ever", "soon"]);
    let slices: Vec<i64> = model.windows.iter().map(|it| minutes(it.slice_millis())).collect();
    assert_eq!(slices, [60, 90, 180, 1440, 45]);
    assert_eq!(model.windows[2].kind, WindowKind::Rows { rows: 5000 });
    assert_eq!(model.deciding().name, model.windows[0].name);
}

#[test]
fn a_window_is_of_one_kind() {
    refused(
        &json!([{"length": "1h"}, {"length": "2h", "rows": 9}, {"every": "1h"}]),
        &[
            "`models[0].windows[1]`: is of more than one kind; keep one of `length`, `rows` and \
             `global`",
            "`models[0].windows[2].length`: is missing; add it: length of a window, at least \
             `1s`; or `rows`, or `global: true`",
        ],
    );
    refused(
        &json!([{"rows": 9}]),
        &["`models[0].windows[0].every`: is missing; add it: event time between the ends of two \
             windows, such as `1h`"],
    );
    check(
        &[("/models/0/windows", json!([{"length": "1h"}]))],
        &["`models[0].window`: is given as well as `windows`; keep `window` for one kind of \
             windows, `windows` for several"],
    );
    check_one(
        "/models/0/window",
        Value::Null,
        "`models[0].window`: is missing; add it: windows in which the model is judged, such as \
         `{length: 1h}`",
    );
}

#[test]
fn a_window_that_never_ends_cannot_decide() {
    refused(
        &json!([{"global": true, "every": "1h"}, {"length": "1h"}]),
        &["`models[0].windows[0].global`: cannot decide: a window that forgets nothing never \
             leaves an episode; list a window with `length` or `rows` before it, in `windows`"],
    );
}

#[test]
fn names_and_shared_keys_are_written_once() {
    refused(
        &json!([{"length": "1h"}, {"length": "1h", "every": "30m", "lateness": "1m"}]),
        &[
            "`models[0].windows[1].name`: names the window `1h` again, after \
             `models[0].windows[0].name`; give it a name of its own, or remove one of the two",
            "`models[0].windows[1].lateness`: is shared by all windows of a model; write it in \
             `models[0].windows[0]`",
        ],
    );
}

#[test]
fn windows_leave_no_gap_and_are_made_of_few_slices() {
    refused(
        &json!([{"length": "1h", "every": "2h"}]),
        &["`models[0].windows[0].every`: is 2h, longer than the window of 1h; use at most the \
             window's length: records between two windows would be in none"],
    );
    refused(
        &json!([{"length": "30d", "every": "1m"}]),
        &["`models[0].windows[0]`: is made of 43200 slices of 1m, the greatest common divisor of \
             `length`, `every` and `early`, more than 10000; use lengths of time that divide one \
             another, or a longer `every`"],
    );
    refused(
        &json!([{"length": "1m"}, {"length": "61s1ms"}]),
        &["`models[0].windows[0]`: has panes of 1ms, the greatest common divisor of every \
             `length`, `every` and `early` of the model; use lengths of time that have `1s` or \
             more in common"],
    );
}

#[test]
fn provisional_results_come_between_two_ends() {
    refused(
        &json!([{"length": "1h", "early": "1h"}]),
        &["`models[0].windows[0].early`: is 1h, no part of `every`, which is 1h; use a half, a \
             third or another whole part of `every`"],
    );
    refused(
        &json!([{"length": "1h", "early": "25m"}]),
        &["`models[0].windows[0].early`: is 25m, no part of `every`, which is 1h; use a half, a \
             third or another whole part of `every`"],
    );
    refused(
        &json!([{"rows": 9, "every": "1h", "early": "10m"}]),
        &["`models[0].windows[0].early`: is for windows with a `length`; remove it, or give the \
             window a `length`"],
    );
}

#[test]
fn only_windows_of_a_length_are_revised() {
    refused(
        &json!([{"length": "1h", "revisions": "1d"}, {"rows": 9, "every": "1h"}]),
        &["`models[0].windows[0].revisions`: is for models whose windows all have a `length`; \
             remove it, or the windows of `rows` and the `global` one"],
    );
    refused(
        &json!([{"length": "1h", "every": "1m", "revisions": "7d"}]),
        &["`models[0].windows[0].revisions`: keeps 10140 panes of 1m for the longest window, \
             more than 10000; use a shorter one, or windows with more in common"],
    );
    let tree =
        windows(&json!([{"length": "1d", "every": "6h", "revisions": "7d"}, {"length": "2h"}]));
    let config = load(&tree.to_string(), &|_| None).unwrap_or_else(|errors| panic!("{errors}"));
    let model = &config.models[0];
    let slices = model.windows.iter().map(|it| model.slice_millis(it) / 3_600_000);
    assert_eq!(slices.collect::<Vec<_>>(), [2, 2]);
}
