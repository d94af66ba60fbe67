//! Elements of arrays that are found by a text in them: tensors by their names.

use super::list_tests::{column, decode_all, model, refuses, schema, takes};
use crate::rejection::RejectReason;

const PATHS: [&str; 2] = ["in[name=x].data[]", "in[name=y].data[]"];

/// Both walks: an escape in a key is left to `serde_json`.
#[track_caller]
fn both_take(features: &[&str], json: &str, expected: &[&[Option<f64>]]) {
    takes("t", features, json, expected);
    let escaped = json.replacen("\"t\"", r#""\u0074""#, 1);
    takes("t", features, &escaped, expected);
}

#[test]
fn tensors_are_found_by_their_names_wherever_they_stand() {
    let (x, y) = ([Some(1.0), Some(2.0)], [Some(3.0), None]);
    for json in [
        r#"{"t":1,"in":[{"name":"x","data":[1,2]},{"name":"y","data":[3,null]}]}"#,
        r#"{"t":1,"in":[5,{"data":[3,null],"shape":[2],"name":"y"},{},{"data":[1,2],"name":"x"}]}"#,
        r#"{"t":1,"in":[{"name":"\u0078","data":[1,2]},{"na\u006de":"y","data":[3,null]}]}"#,
        // Of several the last counts, as of repeated keys.
        r#"{"t":1,"in":[{"name":"x","data":[9]},{"name":"y","data":[3,null]},
            {"name":"z","name":"x","data":[1,2]}]}"#,
    ] {
        both_take(&PATHS, json, &[&x, &y]);
    }
}

#[test]
fn an_element_that_is_not_there_is_a_missing_list() {
    let x = [Some(1.0), Some(2.0)];
    for other in ["", r#","name":null"#, r#","name":"Y""#, r#","name":["y"]"#, r#","Name":"y""#] {
        let json =
            format!(r#"{{"t":1,"in":[{{"name":"x","data":[1,2]}},{{"data":[3,4]{other}}}]}}"#);
        both_take(&PATHS, &json, &[&x, &[None, None]]);
    }
}

#[test]
fn what_is_found_may_be_read_in_other_ways_too() {
    let json = r#"{"t":1,"in":[{"name":"x","data":[1,2],"k":7},{"name":"y","data":[3,4]}]}"#;
    let features = ["in[name=x].data[1]", "in[1].data[]", "in[name=x].k", "in[name=x].data[]"];
    let [two, seven] = [2.0, 7.0].map(|it| [Some(it); 2]);
    both_take(&features, json, &[&two, &[Some(3.0), Some(4.0)], &seven, &[Some(1.0), Some(2.0)]]);
}

#[test]
fn what_is_no_list_of_tensors_refuses_the_message() {
    let kinds = RejectReason::WrongType;
    let json = r#"{"t":1,"in":[{"a":1}],"x":{"name":"y"}}"#;
    refuses(&["x[name=y].data[]"], json, kinds, "`x`: expected an array, found an object");
    let json = r#"{"t":1,"in":[{"a":1}],"x":[{"name":"y","data":7}]}"#;
    refuses(
        &["x[name=y].data[]"],
        json,
        kinds,
        "`x[name=y].data`: expected an array, found a number",
    );
}

/// What is at a place of the array is another element each time, so no layout may hold it.
#[test]
fn elements_that_change_their_places_are_found_again() {
    let documents = [
        r#"{"t":1,"in":[{"name":"y","v":1},{"name":"x","v":2}]}"#,
        r#"{"t":1,"in":[{"name":"x","v":1},{"name":"y","v":2}]}"#,
        r#"{"t":1,"in":[{"name":"x","v":3},{"name":"z","v":4}]}"#,
    ];
    let decoded = decode_all(&schema("t", model(&["in[name=x].v", "in[name=y].v"])), &documents);
    assert_eq!(decoded.rejections, []);
    assert_eq!(column(&decoded, 0), [2.0, 1.0, 3.0].map(Some));
    assert_eq!(column(&decoded, 1), [Some(1.0), Some(2.0), None]);
}
