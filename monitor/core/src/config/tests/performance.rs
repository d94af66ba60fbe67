//! How performance is followed, and where labels are.

use driftd_catalog::Timestamp;
use serde_json::{Value, json};

use super::super::{Content, Keep, Task};
use super::{check, compare, load_tree, put, smallest};

/// A model of two classes, and its labels; with some places of it changed.
fn tree(changes: &[(&str, Value)]) -> Value {
    let mut tree = smallest();
    let prediction = |name: &str, kind: &str| json!({"name": name, "path": name, "type": kind});
    let own = [
        (
            "/sources/1",
            json!({"topic": "truth", "start": "earliest", "event_time": {"path": "at"}}),
        ),
        ("/models/0/prediction_id", json!("id")),
        (
            "/models/0/predictions",
            json!([
                prediction("score", "float64"),
                prediction("class", "categorical"),
                prediction("whole", "integer"),
            ]),
        ),
        (
            "/models/0/performance",
            json!({
                "task": "binary",
                "score": "score",
                "labels": {"source": "truth", "prediction_id": "id", "value": "label"},
            }),
        ),
    ];
    let changes = changes.iter().map(|(pointer, value)| (*pointer, value.clone()));
    for (pointer, value) in own.into_iter().chain(changes) {
        put(&mut tree, pointer, value);
    }
    tree
}

#[track_caller]
fn check_changed(changes: &[(&str, Value)], messages: &[&str]) {
    compare(&load_tree(&tree(changes)), messages);
}

/// Changes that make a model of several classes of it, or one of numbers.
fn of_task(task: &str) -> Vec<(&'static str, Value)> {
    let mut changes = vec![
        ("/models/0/performance/task", json!(task)),
        ("/models/0/performance/score", Value::Null),
    ];
    match task {
        "multiclass" => changes.extend([
            ("/models/0/performance/predicted", json!("class")),
            ("/models/0/performance/classes", json!(["a", "b"])),
        ]),
        _ => changes.push(("/models/0/performance/predicted", json!("score"))),
    }
    changes
}

#[test]
fn what_is_not_said_of_performance_is_the_usual() {
    let config = load_tree(&tree(&[("/models/0/window/offset", json!("7m"))])).unwrap();
    let performance = config.models[0].performance.as_ref().unwrap();
    let Task::Binary { score, predicted, threshold, classes } = &performance.task else {
        panic!("{:?}", performance.task)
    };
    assert_eq!((*score, *predicted, *threshold), (Some(1), None, 0.5), "columns after features");
    assert_eq!([&*classes.positive[0], &*classes.positive[1]], ["1", "true"]);
    assert_eq!([&*classes.negative[0], &*classes.negative[1]], ["0", "false"]);
    let day = 86_400_000;
    assert_eq!((performance.window_millis, performance.horizon_millis), (day, 30 * day));
    assert_eq!(performance.sample.share, 1.0);
    let labels = &performance.labels;
    assert_eq!((labels.source, labels.keep), (1, Keep::Last));
    assert!(!labels.has_row && !labels.has_revision && !labels.has_deleted);
    let contents = [config.sources[0].content, config.sources[1].content];
    assert_eq!(contents, [Content::Predictions, Content::Labels]);
    let window = performance.window_of(Timestamp::from_millis(0));
    assert_eq!(window.end(), Timestamp::from_millis(7 * 60_000), "shifted as other windows are");
}

#[test]
fn each_task_is_told_by_its_keys() {
    let config = load_tree(&tree(&of_task("multiclass"))).unwrap();
    let performance = config.models[0].performance.as_ref().unwrap();
    let classes = vec!["a".into(), "b".into()];
    assert_eq!(performance.task, Task::Multiclass { predicted: 2, classes });
    let config = load_tree(&tree(&of_task("regression"))).unwrap();
    let performance = config.models[0].performance.as_ref().unwrap();
    assert_eq!(performance.task, Task::Regression { predicted: 1 });
    for value in ["score", "whole"] {
        let mut changes = of_task("regression");
        changes.push(("/models/0/performance/predicted", json!(value)));
        check_changed(&changes, &[]);
    }
}

#[test]
fn labels_have_the_columns_that_are_named() {
    let labels = "/models/0/performance/labels";
    let mut changes = of_task("regression");
    let keys = [("row", "r"), ("revision", "n"), ("deleted", "gone")];
    let keys = keys.map(|(key, path)| (format!("{labels}/{key}"), json!(path)));
    changes.extend(keys.iter().map(|(key, path)| (&**key, path.clone())));
    changes.push(("/models/0/performance/labels/keep", json!("first")));
    let config = load_tree(&tree(&changes)).unwrap();
    let performance = config.models[0].performance.as_ref().unwrap();
    let it = &performance.labels;
    assert_eq!(
        (it.has_row, it.has_revision, it.has_deleted, it.keep),
        (true, true, true, Keep::First)
    );
    let schema = &config.sources[1].schema.models[0];
    let names: Vec<&str> = schema.features.iter().map(|it| &*it.name).collect();
    assert_eq!(names, ["value", "row", "revision", "deleted"]);
    assert!(schema.prediction_id.is_some());
}

#[test]
fn predictions_have_to_be_found_again() {
    check_changed(
        &[("/models/0/prediction_id", Value::Null)],
        &["`models[0].performance`: is there, and no `prediction_id` by which a label finds its \
           prediction; add `prediction_id` to the model, with the path to it"],
    );
}

#[test]
fn predictions_wait_on_the_disk_of_one_process() {
    let kafka = ("/kafka", json!({"brokers": ["localhost:9092"]}));
    check_changed(
        std::slice::from_ref(&kafka),
        &[
            "`models[0].performance`: is there, and no `state`: predictions wait for their labels on \
           disk; add `state`, with a folder",
        ],
    );
    check_changed(&[kafka.clone(), ("/state", json!({"folder": "state"}))], &[]);
    check_changed(
        &[kafka, ("/scale_out", json!({"partials_topic": "partials", "state_topic": "state"}))],
        &["`models[0].performance`: stands beside `scale_out`: one process alone joins labels; \
           use `state` instead of `scale_out`"],
    );
}

#[test]
fn keys_of_another_task_are_refused() {
    let foreign = |key: &str| {
        format!("`models[0].performance.{key}`: is for another `task`; remove it, or change `task`")
    };
    let values = [
        ("/models/0/performance/score", json!("score")),
        ("/models/0/performance/threshold", json!(0.4)),
        ("/models/0/performance/positive", json!("yes")),
        ("/models/0/performance/negative", json!("no")),
    ];
    for (pointer, value) in values {
        let key = pointer.rsplit_once('/').unwrap().1;
        for task in ["multiclass", "regression"] {
            let mut changes = of_task(task);
            changes.push((pointer, value.clone()));
            check_changed(&changes, &[&foreign(key)]);
        }
    }
    let classes = ("/models/0/performance/classes", json!(["a", "b"]));
    check_changed(std::slice::from_ref(&classes), &[&foreign("classes")]);
    let mut numbers = of_task("regression");
    numbers.push(classes);
    check_changed(&numbers, &[&foreign("classes")]);
}

#[test]
fn what_a_task_needs_has_to_be_named() {
    check_changed(
        &[("/models/0/performance/score", Value::Null)],
        &["`models[0].performance`: says neither what the model scores nor what it predicts; add \
           `score` with the name of a prediction, or `predicted`"],
    );
    for task in ["multiclass", "regression"] {
        let mut changes = of_task(task);
        changes.push(("/models/0/performance/predicted", Value::Null));
        check_changed(
            &changes,
            &["`models[0].performance.predicted`: is missing; name the prediction, of \
               `predictions`, to be compared"],
        );
    }
    let mut changes = of_task("multiclass");
    changes.push(("/models/0/performance/classes", Value::Null));
    check_changed(
        &changes,
        &["`models[0].performance.classes`: is missing; list the texts of all classes"],
    );
    changes.push(("/models/0/performance/classes", json!(["a", "a"])));
    check_changed(
        &changes,
        &["`models[0].performance.classes[1]`: names the class `a` again, after \
           `models[0].performance.classes[0]`; give it a name of its own, or remove one of the two"],
    );
    changes.push(("/models/0/performance/classes", json!(["1", "2", "1.0"])));
    check_changed(
        &changes,
        &["`models[0].performance.classes[2]`: `1.0` is the same number as `1`; write each class \
           once"],
    );
}

#[test]
fn columns_are_predictions_of_the_type_that_is_compared() {
    let name = "name one of the model's `predictions`";
    let score = "/models/0/performance/score";
    let predicted = "/models/0/performance/predicted";
    let float = "give that prediction the type `float64`";
    let text = "give that prediction the type `categorical`";
    for (pointer, value, message) in [
        (score, "x", format!("`x` is not the name of a prediction; {name}")),
        (predicted, "y", format!("`y` is not the name of a prediction; {name}")),
        (score, "class", format!("`class` is no number; {float}")),
        (predicted, "score", format!("`score` is a number; {text}")),
        // As a text it could be `1`, or `1.0`.
        (predicted, "whole", format!("`whole` is a number; {text}")),
    ] {
        let key = pointer.rsplit_once('/').unwrap().1;
        let message = format!("`models[0].performance.{key}`: {message}");
        check_changed(&[(pointer, json!(value))], &[&message]);
    }
    let mut numbers = of_task("regression");
    numbers.push((predicted, json!("class")));
    let message = format!("`models[0].performance.predicted`: `class` is no number; {float}");
    check_changed(&numbers, &[&message]);
}

#[test]
fn the_two_classes_differ() {
    let (positive, negative) = ("/models/0/performance/positive", "/models/0/performance/negative");
    let hint = "write `positive` and `negative`, each as labels have it";
    let both = |key: &str, text: &str| {
        format!("`models[0].performance.{key}`: `{text}` is the text of both classes; {hint}")
    };
    check_changed(&[(negative, json!("true"))], &[&both("negative", "true")]);
    check_changed(&[(positive, json!("0"))], &[&both("positive", "0")]);
    check_changed(&[(negative, json!("1.0"))], &[&both("negative", "1")]);
    check_changed(
        &[(positive, json!("yes")), (negative, json!("yes"))],
        &[&both("negative", "yes")],
    );
    check_changed(&[(positive, json!("yes")), (negative, json!("no"))], &[]);
}

#[test]
fn windows_and_horizon_are_held_to_what_can_be_kept() {
    let (window, horizon) = ("/models/0/performance/window", "/models/0/performance/horizon");
    for (pointer, value, message) in [
        (
            window,
            "59s",
            "`models[0].performance.window`: `59s` is less than a minute; write `1m` or more",
        ),
        (
            window,
            "0s",
            "`models[0].performance.window`: is zero; write a length of time above zero, such as \
             `1m`",
        ),
        (
            horizon,
            "0s",
            "`models[0].performance.horizon`: is zero; write a length of time above zero, such as \
             `1m`",
        ),
        (
            horizon,
            "2001d",
            "`models[0].performance.horizon`: `2001d` is more than 2000 times `window`: as many \
             windows wait for labels; lengthen `window`, or shorten `horizon`",
        ),
    ] {
        check_changed(&[(pointer, json!(value))], &[message]);
    }
    check_changed(&[(window, json!("1m")), (horizon, json!("2000m"))], &[]);
}

#[test]
fn labels_have_a_topic_of_their_own() {
    let source = "/models/0/performance/labels/source";
    let truth = "`sources[1].topic`: `truth` is read by no model; name it as `source` of a model \
                 or of its labels, or remove it";
    check_changed(
        &[(source, json!("elsewhere"))],
        &[
            "`models[0].performance.labels.source`: `elsewhere` is not the topic of a source; add \
             it to `sources`",
            truth,
        ],
    );
    check_changed(
        &[(source, json!("logs"))],
        &[
            "`models[0].performance.labels.source`: `logs` has the predictions of model `m`; send \
             labels to a topic of their own",
            truth,
        ],
    );
    let join = json!({"id": "$headers.i", "side": "$headers.s", "request": "q", "response": "r"});
    check_changed(
        &[
            ("/sources/1/join", join),
            ("/sources/1/event_time/path", json!("request.at")),
            ("/models/0/performance/labels/prediction_id", json!("request.id")),
            ("/models/0/performance/labels/value", json!("request.label")),
        ],
        &["`models[0].performance.labels.source`: `truth` joins requests and responses; remove \
           `join` from that source"],
    );
}

#[test]
fn a_topic_of_labels_that_nobody_reads_is_refused() {
    check(
        &[(
            "/sources/1",
            json!({"topic": "truth", "start": "earliest", "event_time": {"path": "at"}}),
        )],
        &["`sources[1].topic`: `truth` is read by no model; name it as `source` of a model or of \
           its labels, or remove it"],
    );
}

#[test]
fn models_may_share_a_topic_of_labels_that_tells_them_apart() {
    let mut shared = tree(&[("/sources/0/model", json!("model"))]);
    let mut other = shared["models"][0].clone();
    other["name"] = "n".into();
    shared["models"].as_array_mut().unwrap().push(other);
    compare(
        &load_tree(&shared),
        &["`sources[1]`: carries 2 models, which its records do not tell apart; add `model`: the \
           path to the model's name in a record"],
    );
    put(&mut shared, "/sources/1/model", json!("model"));
    let config = load_tree(&shared).unwrap();
    assert_eq!(config.sources[1].models, [0, 1]);
    let names: Vec<&str> = config.sources[1].schema.models.iter().map(|it| &*it.name).collect();
    assert_eq!(names, ["m", "n"]);
}

#[test]
fn paths_of_labels_are_checked() {
    for key in ["prediction_id", "value", "row", "revision", "deleted"] {
        let pointer = format!("/models/0/performance/labels/{key}");
        let loaded = load_tree(&tree(&[(&pointer, json!(""))]));
        let found = loaded.unwrap_err().to_string();
        let place = format!("`models[0].performance.labels.{key}`: is ``: expected a key");
        assert!(found.starts_with(&place), "{found}");
    }
}
