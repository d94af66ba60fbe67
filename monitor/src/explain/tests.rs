//! What is said of a window that waits, over an answer of the API.

use driftd_catalog::Timestamp;

use super::*;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_millis(1_364_806_800_000 + seconds * 1_000)
}

fn standing(partition: i32, standing: Standing) -> PartitionStanding {
    PartitionStanding {
        partition,
        standing,
        assigned: true,
        watermark: Some(at(3_600)),
        missing_millis: Some(300_000),
        lag: Some(1_312),
        paused: false,
        progressed_at: at(7_150),
        given_up_at: at(7_750),
    }
}

fn waiting() -> OpenWindowView {
    let passed = PartitionStanding { missing_millis: Some(0), ..standing(0, Standing::Passed) };
    let idle = PartitionStanding {
        watermark: None,
        missing_millis: None,
        lag: Some(0),
        assigned: false,
        ..standing(2, Standing::Idle)
    };
    OpenWindowView {
        model: "delays".into(),
        version: "1".into(),
        window: "1h".into(),
        decides: true,
        start: Some(at(0)),
        end: at(3_600),
        ends_after: at(3_900),
        rows_closed: 12_400,
        rows_needed: None,
        further: 2,
        waits_for: Reason::Partitions,
        ends_at: Some(at(7_750)),
        topic: "predictions".into(),
        partitions: vec![passed, standing(1, Standing::WaitedFor), idle],
    }
}

fn answer(windows: Vec<OpenWindowView>) -> OpenWindows {
    OpenWindows { taken_at: at(7_200), windows, elsewhere: Vec::new() }
}

#[test]
fn the_partition_that_holds_a_window_back_is_named() {
    let answer = answer(vec![waiting()]);
    let expected = "\
delays/1 window 1h: 2013-04-01T09:00:00Z to 2013-04-01T10:00:00Z
  12,400 rows are in panes that have ended
  waits until every partition of `predictions` has passed 2013-04-01T10:05:00Z
  passed      predictions[0]: watermark 2013-04-01T10:00:00Z, 1,312 messages behind
  waited for  predictions[1]: watermark 2013-04-01T10:00:00Z, 5m to go, 1,312 messages behind, \
last step 50s ago, given up at 2013-04-01T11:09:10Z
  idle        predictions[2]: no record yet, 0 messages behind, read by another process, or by none
  without further progress it ends at 2013-04-01T11:09:10Z, in 9m10s
  2 later windows hold records too
";
    assert_eq!(explain(&answer), expected);
}

#[test]
fn a_window_of_rows_says_how_many_are_missing() {
    let window = OpenWindowView {
        window: "5000-rows".into(),
        decides: false,
        rows_closed: 310,
        rows_needed: Some(5_000),
        waits_for: Reason::Rows,
        ends_at: None,
        further: 0,
        partitions: Vec::new(),
        ..waiting()
    };
    let text = explain(&answer(vec![window]));
    let expected = "\
delays/1 window 5000-rows (does not decide): from 2013-04-01T09:00:00Z, may end at \
2013-04-01T10:00:00Z
  310 of 5,000 rows are in panes that have ended
  waits for more records
";
    assert_eq!(text, expected);
}

#[test]
fn nothing_open_is_said() {
    let text = explain(&answer(Vec::new()));
    assert!(text.starts_with("no such window is open"), "{text}");
}

#[test]
fn whoever_has_a_models_windows_is_named() {
    let of = |model: &str, lane, owner: Option<&str>| ModelElsewhere {
        model: model.into(),
        lane,
        owner: owner.map(Into::into),
    };
    let elsewhere = vec![of("delays", 2, Some("driftd-1")), of("income", 0, None)];
    let text = explain(&OpenWindows { elsewhere, ..answer(Vec::new()) });
    let expected = "delays: its windows are those of `driftd-1`, which has lane 2
income: no process has told yet that it has lane 0
";
    assert_eq!(text, expected);
}

#[test]
fn lengths_of_time_are_short() {
    for (millis, text) in
        [(0, "0s"), (999, "0s"), (61_000, "1m1s"), (3_600_000, "1h"), (90_061_000, "1d1h")]
    {
        assert_eq!(length(millis), text);
    }
}

#[test]
fn what_is_no_address_is_refused() {
    for url in ["", "127.0.0.1:9464", "https://host", "http://", "http://host/page"] {
        let error = request::get(url, "/").unwrap_err().to_string();
        assert!(error.contains("is no address"), "{error}");
    }
}
