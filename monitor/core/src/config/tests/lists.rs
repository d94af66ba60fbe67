//! Messages with several records: which paths may have `[]`.

use driftd_ingest::{DecodeLimits, FieldPath, Framing};
use serde_json::{Value, json};

use super::{check, check_one, load_tree, put, smallest};

const WITHOUT: &str = "write `[]` into the paths of its features, or a place such as `[0]` here";

#[test]
fn records_may_be_the_elements_of_lists() {
    for (time, feature, segment) in [
        ("at", "instances[].x", "shop"),
        ("rows[].at", "rows[].x", "rows[].shop"),
        ("at", "columns.x[]", "columns.shop[]"),
        ("[].at", "[].x", "[].shop"),
    ] {
        check(
            &[
                ("/sources/0/event_time/path", json!(time)),
                ("/models/0/features/0/path", json!(feature)),
                ("/models/0/segments", json!([{"name": "s", "path": segment, "values": ["a"]}])),
            ],
            &[],
        );
    }
}

#[test]
fn a_message_has_ten_thousand_records_at_most_unless_told_otherwise() {
    let mut tree = smallest();
    assert_eq!(load_tree(&tree).map(|it| it.sources[0].rows_max), Ok(10_000));
    let most = DecodeLimits::ROWS_MAX;
    put(&mut tree, "/sources/0/rows_max", json!(most));
    assert_eq!(load_tree(&tree).map(|it| it.sources[0].rows_max), Ok(most));
    let more = most + 1;
    let message = format!("`sources[0].rows_max`: is {more}; use at most {most}");
    check_one("/sources/0/rows_max", json!(more), &message);
}

#[test]
fn a_message_is_one_document_or_one_a_line() {
    let mut tree = smallest();
    for (format, framing) in [
        (Value::Null, Framing::Document),
        (json!("json"), Framing::Document),
        (json!("ndjson"), Framing::Lines),
    ] {
        put(&mut tree, "/sources/0/format", format);
        assert_eq!(load_tree(&tree).map(|it| it.sources[0].schema.framing), Ok(framing));
    }
}

#[test]
fn a_path_goes_through_one_list_of_records() {
    check_one(
        "/models/0/features/0/path",
        json!("a[].b[]"),
        "`models[0].features[0].path`: is `a[].b[]`: a path has at most one `[]`, at character 7; \
         keep one `[]`: the list with an element for each record; write the place in another \
         list, such as `[0]`",
    );
}

#[test]
fn records_of_one_message_differ_in_something_that_is_watched() {
    for (pointer, value, key, path) in [
        ("/sources/0/event_time/path", json!("a[].at"), "sources[0].event_time.path", "a[].at"),
        ("/sources/0/model", json!("a[].m"), "sources[0].model", "a[].m"),
        ("/models/0/prediction_id", json!("ids[]"), "models[0].prediction_id", "ids[]"),
        (
            "/models/0/segments",
            json!([{"name": "s", "path": "a[].s", "values": ["v"]}]),
            "models[0].segments[0].path",
            "a[].s",
        ),
    ] {
        let message = format!(
            "`{key}`: is `{path}`: a record for each element, and model `m` has no feature or \
             prediction with a value for each; {WITHOUT}"
        );
        check_one(pointer, value, &message);
    }
    let prediction = json!([{"name": "p", "path": "out[]", "type": "float64"}]);
    check(
        &[("/models/0/prediction_id", json!("ids[]")), ("/models/0/predictions", prediction)],
        &[],
    );
}

#[test]
fn a_message_is_a_list_or_holds_lists() {
    let hint = "begin all paths of the topic with `[]` if its messages are lists, or none";
    let message = format!(
        "`models[0].features[0].path`: is `[].x`: a list of records, beside `at` at \
         `sources[0].event_time.path`; {hint}"
    );
    check_one("/models/0/features/0/path", json!("[].x"), &message);
    let model = format!(
        "`sources[0].model`: is `m` beside `[].at` at `sources[0].event_time.path`, by which a \
         message is a list; {hint}"
    );
    let version = format!(
        "`models[0].version_path`: is `v` beside `[].at` at `sources[0].event_time.path`, by \
         which a message is a list; {hint}"
    );
    check(
        &[
            ("/sources/0/event_time/path", json!("[].at")),
            ("/sources/0/model", json!("m")),
            ("/models/0/features/0/path", json!("[].x")),
            ("/models/0/version", Value::Null),
            ("/models/0/version_path", json!("v")),
            ("/models/0/references", json!("{version}")),
        ],
        &[&model, &version],
    );
}

#[test]
fn names_of_columns_are_beside_a_list_that_is_read_by_them() {
    check(
        &[
            ("/sources/0/columns", json!("split.columns")),
            ("/models/0/features/0/path", json!("split.data[].x")),
        ],
        &[],
    );
    let hint = "read one, as `dataframe_split.data[].age` is read by `dataframe_split.columns`, or \
                remove it";
    let message = format!(
        "`sources[0].columns`: is `split.columns`, and no path reads a list beside it by name; {hint}"
    );
    for path in ["x", "split.data[][0]", "other.data[].x"] {
        check(
            &[
                ("/sources/0/columns", json!("split.columns")),
                ("/models/0/features/0/path", json!(path)),
            ],
            &[&message],
        );
    }
    check_one(
        "/sources/0/columns",
        json!("columns[]"),
        "`sources[0].columns`: is `columns[]`: names in each record; name one list of names, such as \
         `dataframe_split.columns`",
    );
}

#[test]
fn names_of_columns_are_no_list_of_records_and_read_by_what_is_read() {
    let message = "`sources[0].columns`: is `d`, of which `d[].x` at `models[0].features[0].path` \
                   reads records; name the list of names beside the list of records";
    check(
        &[("/sources/0/columns", json!("d")), ("/models/0/features/0/path", json!("d[].x"))],
        &[message],
    );
    let message = "`sources[0].columns`: is `d.c`, and no path reads a list beside it by name; \
                   read one, as `dataframe_split.data[].age` is read by \
                   `dataframe_split.columns`, or remove it";
    check(
        &[
            ("/sources/0/columns", json!("d.c")),
            ("/models/0/features/0/path", json!("d.r[][0]")),
            ("/models/0/prediction_id", json!("d.r[].id")),
        ],
        &[message],
    );
}

#[test]
fn no_element_is_found_by_its_text_in_a_row_whose_values_have_names() {
    let segment = |path: &str| json!([{"name": "s", "path": path, "values": ["v"]}]);
    let all = |path: &str, columns: &str| {
        [
            ("/sources/0/columns", json!(columns)),
            ("/models/0/features/0/path", json!("d.rows[].x")),
            ("/models/0/segments", segment(path)),
        ]
    };
    let message = "`models[0].segments[0].path`: is `d.rows[][k=v].x`, and `d.names` names the \
                   values of its list; read the value by its name, as `d.rows[].x`";
    let kinds = "`models[0].features[0].path`: is `d.rows[].x` beside `d.rows[][k=v].x` at \
                 `models[0].segments[0].path`: the same value as an object and as a list; read \
                 both from where messages have them";
    check(&all("d.rows[][k=v].x", "d.names"), &[message, kinds]);
    for path in ["d.rows[].a[k=v].x", "d.others[][k=v].x"] {
        check(&all(path, "d.names"), &[]);
    }
}

#[test]
fn a_value_is_a_list_or_an_object() {
    let both = |key: &str, object: &str, list: &str| {
        format!(
            "`{key}`: is `{object}` beside `{list}` at `models[0].features[0].path`: the same value \
             as an object and as a list; read both from where messages have them"
        )
    };
    let segment = json!([{"name": "s", "path": "inputs.kind", "values": ["a"]}]);
    check(
        &[
            ("/models/0/features/0/path", json!("inputs[].age")),
            ("/models/0/segments", segment.clone()),
        ],
        &[&both("models[0].segments[0].path", "inputs.kind", "inputs[].age")],
    );
    check(
        &[
            ("/models/0/features/0/path", json!("inputs[].age")),
            ("/sources/0/event_time/path", json!("inputs.at")),
        ],
        &[&both("sources[0].event_time.path", "inputs.at", "inputs[].age")],
    );
    // Without `[]` each may be absent where the other is there.
    check(
        &[("/models/0/features/0/path", json!("inputs[0]")), ("/models/0/segments", segment)],
        &[],
    );
}

#[test]
fn a_time_that_cannot_be_read_says_nothing_about_the_other_paths() {
    let mut tree = smallest();
    put(&mut tree, "/sources/0/event_time/path", json!("[].at["));
    put(&mut tree, "/sources/0/model", json!("m"));
    put(&mut tree, "/models/0/features/0/path", json!("[].x"));
    let errors = load_tree(&tree).unwrap_err();
    let places: Vec<_> = errors.as_slice().iter().map(|it| &*it.path).collect();
    assert_eq!(places, ["sources[0].event_time.path"], "{errors}");
}

/// What the schema of decoders refuses, the file's checks refuse before it and with the key.
#[test]
fn no_path_is_left_to_the_schema() {
    let paths = ["x", "a[]", "a[].x", "[].x", "[]", "b.c[].x", "a[][x=v].y"];
    assert!(paths.iter().all(|path| FieldPath::parse(path).is_ok()));
    for time in paths {
        for feature in paths {
            let columns = paths.map(Some).into_iter().chain([None]);
            for (segment, columns) in
                paths.into_iter().flat_map(|it| columns.clone().map(move |other| (it, other)))
            {
                let mut tree = smallest();
                put(&mut tree, "/sources/0/columns", json!(columns));
                put(&mut tree, "/sources/0/event_time/path", json!(time));
                put(&mut tree, "/models/0/features/0/path", json!(feature));
                let segment = json!([{"name": "s", "path": segment, "values": ["v"]}]);
                put(&mut tree, "/models/0/segments", segment);
                if let Err(errors) = load_tree(&tree) {
                    let general = errors.as_slice().iter().find(|it| it.path == "sources[0]");
                    assert!(general.is_none(), "{errors}");
                }
            }
        }
    }
}
