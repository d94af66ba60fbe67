//! Requests against the real server on a loopback socket, over the sample snapshot.

#![expect(clippy::disallowed_methods, reason = "tests of the edge open a socket and run promtool")]

mod kinds;
mod performance;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Stdio};
use std::time::Duration;

use driftd_catalog::PartitionId;
use driftd_catalog::metric::METRICS as CATALOGUE;
use driftd_core::snapshot::PartitionSnapshot;
use serde_json::{Value, json};
use tokio::sync::oneshot;

use super::*;
use crate::kafka::committed::{Note, Standing};

/// Enough for every feature of the sample.
const ALL: usize = 100;

struct Answer {
    code: u16,
    head: String,
    body: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error} in {}", self.body))
    }
}

/// Starts a server over `state`, runs `client` beside it, and stops the server.
fn with_server(state: HttpState, client: impl FnOnce(SocketAddr) + Send + 'static) {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("its address");
        let client = tokio::task::spawn_blocking(move || client(address));
        let (stop, stopped) = oneshot::channel::<()>();
        let server = serve(listener, state, async { drop(stopped.await) });
        let ((), told) = tokio::join!(server, async {
            let told = client.await;
            drop(stop);
            told
        });
        told.expect("the client's assertions hold");
    });
}

fn ask(address: SocketAddr, method: &str, target: &str) -> Answer {
    let mut stream = TcpStream::connect(address).expect("a connection");
    write!(stream, "{method} {target} HTTP/1.1\r\nHost: driftd\r\nConnection: close\r\n\r\n")
        .expect("a request");
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("an answer in UTF-8");
    let (head, body) = text.split_once("\r\n\r\n").expect("a head and a body");
    let code = head.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status");
    Answer { code, head: head.to_lowercase(), body: body.to_owned() }
}

fn get(address: SocketAddr, target: &str) -> Answer {
    ask(address, "GET", target)
}

const MODEL_PATH: &str = "/api/v1/models/delays/2013%2F01";

#[test]
fn status_sums_the_lag_and_names_every_reason() {
    with_server(sample::state(ALL), |address| {
        let status = get(address, "/api/v1/status").json();
        assert_eq!(status["lag"], 312);
        assert_eq!(status["taken_at"], "2013-04-01T11:00:00Z");
        assert_eq!(status["live"], true);
        let rejected = status["sources"][0]["rejected"].as_object().expect("an object");
        assert_eq!(rejected.len(), driftd_ingest::RejectReason::ALL.len());
        assert_eq!(rejected["invalid_json"], 54);
        let changed = json!([{
            "path": "features.dep_delay",
            "reason": "absent",
            "records": 640,
            "from": [{"partition": 0, "offset": 4_100}, {"partition": 3, "offset": 377}],
        }]);
        assert_eq!(status["sources"][0]["fields_changed"], changed);
        let join = &status["sources"][0]["join"];
        assert_eq!((&join["joined"], &join["waiting_bytes"]), (&json!(40), &json!(700)));
        assert_eq!(join["left_out"]["expired"], json!({"request": 3, "response": 0}));
    });
}

#[test]
fn status_names_who_has_what_this_process_has_not() {
    let mut snapshot = sample::snapshot();
    let here = snapshot.partitions[0].clone();
    let elsewhere = |number: i32| PartitionSnapshot {
        id: PartitionId { partition: number, ..here.id.clone() },
        watermark: Some(here.watermark.expect("it has one").plus_millis(-7_000)),
        ..here.clone()
    };
    snapshot.unassigned = vec![elsewhere(7), elsewhere(8)];
    let state = HttpState { snapshot: watch::channel(Arc::new(snapshot)).1, ..sample::state(ALL) };
    let note = Note { first: 9, has_rows: true, watermark: None, owner: Some("pod-3".into()) };
    let standing = Standing { next_offset: 1_000, note };
    state.owners.set(&here.id.topic, &BTreeMap::from([(7, standing)]));
    with_server(state, |address| {
        let status = get(address, "/api/v1/status").json();
        assert_eq!(status["sources"][0]["partitions"][0]["owner"], status["instance"]);
        let [known, unknown] = &status["sources"][0]["elsewhere"].as_array().expect("a list")[..]
        else {
            panic!("{status:#}");
        };
        assert_eq!(known["partition"], 7);
        assert_eq!(known["owner"], "pod-3");
        assert_eq!((&known["lag"], &known["lag_seconds"]), (&json!(312), &json!(7.0)));
        assert_eq!(unknown["owner"], Value::Null);
    });
}

#[test]
fn a_model_is_told_with_its_newest_window_gravest_column_first() {
    with_server(sample::state(ALL), |address| {
        let models = get(address, "/api/v1/models").json();
        assert_eq!(models["models"][0]["version"], "2013/01");
        let detail = get(address, MODEL_PATH).json();
        assert_eq!(detail["window"]["end"], "2013-04-01T11:00:00Z");
        assert_eq!(detail["window_is_newest"], true);
        assert_eq!(detail["summary"]["minimum_rows"], 1000);
        let states: Vec<_> =
            detail["features"].as_array().expect("rows").iter().map(|it| &it["state"]).collect();
        assert_eq!(states[..3], ["broken_data", "drifted", "ok"]);
        assert_eq!(detail["features"][1]["statistic"], 0.31);
        assert_eq!(detail["features"][1]["missing_ratio"], 16.0 / 4_812.0);
    });
}

#[test]
fn an_older_window_is_told_without_numbers_when_it_had_too_few_rows() {
    with_server(sample::state(ALL), |address| {
        let detail = get(address, &format!("{MODEL_PATH}?window_end=2013-04-01T10:00:00Z")).json();
        assert_eq!(detail["window_is_newest"], false);
        assert_eq!(detail["features"][0]["state"], "insufficient_data");
        assert_eq!(detail["features"][0]["score"], Value::Null);
    });
}

#[test]
fn scores_are_a_matrix_of_features_and_windows() {
    with_server(sample::state(ALL), |address| {
        let map = get(address, &format!("{MODEL_PATH}/scores?windows=2")).json();
        assert_eq!(map["windows"].as_array().map(Vec::len), Some(2));
        assert_eq!(map["features"].as_array().map(Vec::len), Some(sample::COLUMNS.len()));
        assert_eq!(map["features"][0]["feature"], "pressure");
        assert_eq!(map["states"][1], serde_json::json!(["insufficient_data", "drifted"]));
        assert_eq!(map["scores"][1][0], Value::Null);
        let newest = get(address, &format!("{MODEL_PATH}/scores?windows=1")).json();
        assert_eq!(newest["windows"][0]["end"], "2013-04-01T11:00:00Z");
        assert_eq!(newest["windows_kept"], 2);
    });
}

#[test]
fn a_feature_is_told_with_both_distributions_and_in_words() {
    with_server(sample::state(ALL), |address| {
        let feature = get(address, &format!("{MODEL_PATH}/features/temp")).json();
        let words = feature["explanation"].as_str().expect("text");
        assert!(words.starts_with("KS 0.31 > 0.12 (n = 4,812"), "{words}");
        let cells = feature["histogram"]["cells"].as_array().expect("cells");
        let kinds: Vec<_> = cells.iter().filter_map(|cell| cell["kind"].as_str()).collect();
        assert_eq!(kinds, ["bin", "bin", "bin", "bin", "neg_inf", "pos_inf", "nan", "null"]);
        assert_eq!(cells[0]["lower"], Value::Null);
        assert_eq!(cells[1]["upper"], 0.0);
        assert_eq!(feature["histogram"]["totals"]["current"], 4_812);
        assert_eq!(feature["results"][0]["deciding"], true);
    });
}

#[test]
fn levels_beyond_the_cap_are_one_cell() {
    with_server(sample::state(ALL), |address| {
        let feature = get(address, &format!("{MODEL_PATH}/features/carrier")).json();
        let cells = feature["histogram"]["cells"].as_array().expect("cells");
        assert_eq!(cells.len(), 23);
        assert_eq!(cells[20]["label"], "20 other levels");
        assert_eq!(cells[21]["kind"], "unseen");
        assert_eq!(cells[21]["current"], 120);
    });
}

#[test]
fn retraining_is_told_newest_first() {
    with_server(sample::state(ALL), |address| {
        let retraining = get(address, "/api/v1/retraining").json();
        assert_eq!(retraining["events"][0]["state"], "published");
        assert_eq!(retraining["events"][1]["state"], "requested");
    });
}

#[test]
fn what_is_not_there_is_a_404_with_a_hint() {
    with_server(sample::state(ALL), |address| {
        for target in [
            "/nothing".to_owned(),
            "/page/secret.js".to_owned(),
            "/api/v1/models/other/1".to_owned(),
            format!("{MODEL_PATH}?segment=origin=EWR"),
            format!("{MODEL_PATH}?window_end=2013-04-01T10:30:00Z"),
            format!("{MODEL_PATH}/features/other"),
        ] {
            let answer = get(address, &target);
            assert_eq!(answer.code, 404, "{target}");
            let body = answer.json();
            assert!(body["error"].is_string() && body["hint"].is_string(), "{target}: {body}");
        }
    });
}

#[test]
fn a_bad_parameter_is_a_400_that_shows_a_good_one() {
    with_server(sample::state(ALL), |address| {
        for query in ["window_end=yesterday", "windows=-1", "colour=red"] {
            let answer = get(address, &format!("{MODEL_PATH}?{query}"));
            assert_eq!(answer.code, 400, "{query}");
            let hint = answer.json()["hint"].to_string();
            assert!(hint.contains("window_end=2026-11-24T06:00:00Z"), "{hint}");
        }
    });
}

#[test]
fn only_reading_is_allowed() {
    with_server(sample::state(ALL), |address| {
        for method in ["POST", "PUT", "DELETE"] {
            let answer = ask(address, method, "/api/v1/status");
            assert_eq!(answer.code, 405);
            assert!(answer.head.contains("allow: get, head"), "{}", answer.head);
        }
    });
}

#[test]
fn every_answer_forbids_foreign_content() {
    with_server(sample::state(ALL), |address| {
        for target in ["/", "/page/app.js", "/metrics", "/healthz", "/api/v1/status", "/nothing"] {
            let head = get(address, target).head;
            for line in [
                "content-security-policy: default-src 'self';",
                "x-content-type-options: nosniff",
                "referrer-policy: no-referrer",
            ] {
                assert!(head.contains(line), "{target} lacks {line}");
            }
        }
    });
}

#[test]
fn every_file_that_the_page_names_is_served() {
    with_server(sample::state(ALL), |address| {
        let page = get(address, "/").body;
        let named = page.split('"').filter(|part| part.starts_with("page/"));
        let scripts = ["dom", "format", "heatmap", "histogram", "tables"];
        let targets = named.map(|name| format!("/{name}"));
        for target in targets.chain(scripts.map(|name| format!("/page/{name}.js"))) {
            assert_eq!(get(address, &target).code, 200, "{target}");
        }
    });
}

#[test]
fn readiness_is_refused_with_reasons() {
    let state = HttpState { health: Arc::new(Health::new(clock::instant())), ..sample::state(ALL) };
    with_server(state, |address| {
        assert_eq!(get(address, "/healthz").code, 200);
        let answer = get(address, "/readyz");
        assert_eq!(answer.code, 503);
        assert_eq!(answer.json()["reasons"], json!(["no partitions assigned yet"]));
    });
}

#[test]
fn hostile_names_leave_escaped() {
    with_server(sample::state(ALL), |address| {
        let encoded = "%3Cimg%20src=x%20onerror=alert(1)%3E%22%5C";
        let answer = get(address, &format!("{MODEL_PATH}/features/{encoded}"));
        assert_eq!(answer.json()["feature"], sample::HOSTILE);
        assert!(answer.head.contains("content-type: application/json"));
        let text = get(address, "/metrics").body;
        let escaped = r#"feature="<img src=x onerror=alert(1)>\"\\""#;
        assert!(text.contains(escaped), "{text}");
    });
}

/// Returns the sample lines of one family.
fn samples<'a>(text: &'a str, name: &str) -> Vec<&'a str> {
    text.lines().filter(|line| line.split(['{', ' ']).next() == Some(name)).collect()
}

fn number(sample: &str) -> f64 {
    sample.rsplit(' ').next().and_then(|text| text.parse().ok()).expect("a number")
}

/// Returns the value of a family's only sample.
fn value(text: &str, name: &str) -> f64 {
    let samples = samples(text, name);
    assert_eq!(samples.len(), 1, "{name}: {samples:?}");
    number(samples[0])
}

fn scraped(features_exported_max: usize) -> String {
    metrics::text(sample::state(features_exported_max)).expect("the sample can be exported")
}

#[test]
fn every_family_is_in_the_catalogue_with_its_kind_and_help() {
    let known: BTreeSet<String> = CATALOGUE
        .iter()
        .flat_map(|it| {
            let kind = format!("# TYPE {} {}", it.name, it.kind.as_str());
            [format!("# HELP {} {}", it.name, it.help), kind]
        })
        .collect();
    for line in scraped(ALL).lines().filter(|line| line.starts_with('#')) {
        assert!(known.contains(line), "not in the catalogue: {line}");
    }
}

#[test]
fn promtool_accepts_the_scrape() {
    let state = sample::state(ALL);
    let instruments = Arc::clone(&state.instruments);
    instruments.evaluated(Duration::from_millis(3));
    instruments.answered(STATUS, &axum::http::Method::GET, StatusCode::OK, Duration::ZERO);
    let text = metrics::text(state).expect("the sample can be exported");
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("promtool is needed ({error}): tests/run installs it"));
    let mut input = promtool.stdin.take().expect("a pipe");
    input.write_all(text.as_bytes()).expect("promtool reads");
    drop(input);
    let output = promtool.wait_with_output().expect("promtool ends");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.is_empty(), "promtool: {said}\n{text}");
}

#[test]
fn a_window_with_too_few_rows_has_a_state_and_no_statistic() {
    let state = sample::state(ALL);
    let mut snapshot = sample::snapshot();
    let segment = &mut snapshot.models[0].segments[0];
    let [first, _] = sample::windows();
    segment.history = sample::history_of([first]);
    let state = HttpState { snapshot: watch::channel(Arc::new(snapshot)).1, ..state };
    let text = metrics::text(state).expect("the sample can be exported");
    for name in [
        "driftd_feature_drift_score",
        "driftd_feature_ks_statistic",
        "driftd_feature_effective_threshold",
        "driftd_max_feature_drift_score",
        "driftd_prediction_drift_score",
    ] {
        assert_eq!(samples(&text, name), [""; 0], "{name}");
    }
    assert_eq!(samples(&text, "driftd_feature_drift_state").len(), 5);
    assert!(samples(&text, "driftd_window_rows")[0].ends_with(" 312"));
}

#[test]
fn counters_exist_before_their_first_increment() {
    let text = scraped(ALL);
    let reasons = driftd_ingest::RejectReason::ALL.len();
    assert_eq!(samples(&text, "driftd_records_rejected_total").len(), reasons);
    assert_eq!(samples(&text, "driftd_join_left_out_total").len(), 8);
    assert_eq!(samples(&text, "driftd_evaluations_total").len(), 5);
    assert_eq!(samples(&text, "driftd_retrain_jobs_total").len(), 2);
    assert_eq!(samples(&text, "driftd_retrain_events_total").len(), 3);
}

#[test]
fn series_of_features_are_capped_and_drifted_ones_come_first() {
    let text = scraped(2);
    let scores = samples(&text, "driftd_feature_drift_score");
    assert_eq!(scores.len(), 2);
    assert!(scores.iter().any(|line| line.contains("feature=\"temp\"")), "{scores:?}");
    assert!(scores.iter().any(|line| line.contains("feature=\"pressure\"")), "{scores:?}");
    assert!(samples(&text, "driftd_feature_series_dropped")[0].ends_with(" 3"));
    // Aggregates are over all features.
    let states = samples(&text, "driftd_features");
    let counted: f64 =
        states.iter().filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum();
    assert_eq!(counted, 5.0);
}

#[test]
fn a_model_that_is_gone_has_no_series() {
    let state = sample::state(ALL);
    let mut snapshot = sample::snapshot();
    snapshot.models.clear();
    snapshot.performance.clear();
    let state = HttpState { snapshot: watch::channel(Arc::new(snapshot)).1, ..state };
    let text = metrics::text(state).expect("an empty model list can be exported");
    assert!(!text.contains("model_version="), "{text}");
    assert!(text.contains("driftd_build_info"));
}

/// A monitor that closes no window must be seen to wait, since its start.
#[test]
fn a_configured_model_has_an_evaluation_time_before_its_first_window() {
    let state = sample::state(ALL);
    let (start, end) = (state.started, sample::windows()[1].closed_at);
    let told = |snapshot: Snapshot| {
        let state = HttpState { snapshot: watch::channel(Arc::new(snapshot)).1, ..state.clone() };
        let text = metrics::text(state).expect("the sample can be exported");
        assert_eq!(value(&text, "driftd_model_evaluation_interval_seconds"), 3_600.0);
        value(&text, "driftd_model_last_evaluation_timestamp_seconds")
    };
    let mut none = sample::snapshot();
    none.models.clear();
    let mut open = sample::snapshot();
    open.models[0].segments.clear();
    assert_eq!(told(none), start.as_seconds_f64());
    assert_eq!(told(open), start.as_seconds_f64());
    // The newest of all versions counts.
    let mut two = sample::snapshot();
    two.models.push(two.models[0].clone());
    let [first, _] = sample::windows();
    two.models[1].segments[0].history = sample::history_of([first]);
    assert_eq!(told(two), end.as_seconds_f64());
}

#[test]
fn a_state_is_known_since_the_start_of_its_first_window() {
    let text = scraped(ALL);
    let since = value(&text, "driftd_model_drift_state_since_timestamp_seconds");
    assert_eq!(since, value(&text, "driftd_window_start_timestamp_seconds"));
}

#[test]
fn a_reference_is_told_by_twelve_digits_of_its_digest() {
    let text = scraped(ALL);
    let info = samples(&text, "driftd_model_info")[0];
    assert!(info.contains("reference=\"8f2c11d07a5b\""), "{info}");
}

#[test]
fn infinities_count_as_missing() {
    let text = scraped(ALL);
    let ratios = samples(&text, "driftd_feature_missing_ratio");
    let temp = ratios.iter().find(|line| line.contains("feature=\"temp\""));
    assert_eq!(temp.map(|line| number(line)), Some(16.0 / 4_812.0));
}

#[test]
fn answers_are_counted_by_route_template() {
    with_server(sample::state(ALL), |address| {
        get(address, MODEL_PATH);
        get(address, "/nothing");
        ask(address, "POST", "/api/v1/status");
        let text = get(address, "/metrics").body;
        for labels in [
            r#"{route="/api/v1/models/{name}/{version}",method="GET",code="200"}"#,
            r#"{route="none",method="GET",code="404"}"#,
            r#"{route="/api/v1/status",method="other",code="405"}"#,
        ] {
            let line = format!("driftd_http_requests_total{labels} 1");
            assert!(text.contains(&line), "no {line} in {text}");
        }
    });
}

/// Clients that say nothing, or that ask and take nothing of the answer, have all places; they are
/// closed after a while, and the next one is answered.
#[test]
fn idle_connections_make_room() {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let limits = Limits {
        connections_max: 4,
        head_timeout: Duration::from_millis(200),
        write_timeout: Duration::from_millis(200),
        shutdown_grace: Duration::from_secs(5),
    };
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("its address");
        let (stop, stopped) = oneshot::channel::<()>();
        let router = router(sample::state(ALL));
        let server = connections::serve(listener, router, limits, async { drop(stopped.await) });
        let client = async {
            let told = tokio::task::spawn_blocking(move || {
                let connect = |_| TcpStream::connect(address).expect("the system queues it");
                let silent: Vec<TcpStream> = (0..6).map(connect).collect();
                let mut deaf: Vec<TcpStream> = (0..6).map(connect).collect();
                // Far more answers than the system's buffers hold.
                let requests = "GET /metrics HTTP/1.1\r\nHost: driftd\r\n\r\n".repeat(2_000);
                for stream in &mut deaf {
                    stream.set_nonblocking(true).expect("a socket can be told");
                    // As much as is taken.
                    drop(stream.write(requests.as_bytes()));
                }
                let answer = get(address, "/healthz");
                (silent.len() + deaf.len(), answer.code)
            });
            let told = told.await;
            drop(stop);
            told
        };
        let ((), told) = tokio::join!(server, client);
        assert_eq!(told.expect("the client does not panic"), (12, 200));
    });
}
