//! Messages of Arrow on a real Kafka: they become the records that the same rows in JSON become.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::{
    ArrayRef, DictionaryArray, Float64Array, Int32Array, StringViewArray, StructArray,
    TimestampMillisecondArray,
};
use arrow::datatypes::{Field, Int8Type};
use arrow::ipc::CompressionType;
use arrow::ipc::writer::{FileWriter, IpcWriteOptions, StreamWriter};
use arrow::record_batch::RecordBatch;
use driftd_fixtures::driftd::Driftd;
use driftd_fixtures::http;
use driftd_tests::job::{Job, START, TopicRole};
use driftd_tests::twin::{check_dead_letters, check_windows, fill, topic_of};
use serde_json::{Value, json};

const DEADLINE: Duration = Duration::from_mins(2);
const PARTITIONS: i32 = 2;
const HOUR: i64 = 3_600;
/// Windows of an hour that the records lie in.
const HOURS: i64 = 2;
const RECORDS_AN_HOUR: i64 = 150;
const ROWS_A_MESSAGE: usize = 10;

/// One prediction, however it is written.
struct Prediction {
    /// Seconds since 1970.
    time: i64,
    amount: Option<f64>,
    items: i32,
    country: &'static str,
}

fn predictions() -> Vec<Prediction> {
    (0..HOURS * RECORDS_AN_HOUR)
        .map(|index| Prediction {
            time: START + index / RECORDS_AN_HOUR * HOUR + index % RECORDS_AN_HOUR,
            amount: (index % 9 != 8).then_some((index % 97) as f64 / 4.0),
            items: i32::try_from(index % 7 - 2).expect("few"),
            country: ["DE", "FR", "IT"][usize::try_from(index % 3).expect("three")],
        })
        .collect()
}

impl Prediction {
    fn json(&self) -> Vec<u8> {
        let features = json!({"amount": self.amount, "items": self.items, "country": self.country});
        json!({"event_time": self.time, "features": features}).to_string().into_bytes()
    }
}

/// How a message is written.
#[derive(Clone, Copy)]
enum Way {
    Stream,
    Compressed,
    File,
}

/// Writes some rows as one message.
fn message(rows: &[Prediction], way: Way) -> Vec<u8> {
    let countries = rows.iter().map(|it| it.country);
    let country: ArrayRef = match way {
        Way::Stream => Arc::new(StringViewArray::from_iter_values(countries)),
        Way::Compressed | Way::File => Arc::new(countries.collect::<DictionaryArray<Int8Type>>()),
    };
    let columns: [(&str, ArrayRef); 3] = [
        ("amount", Arc::new(rows.iter().map(|it| it.amount).collect::<Float64Array>())),
        ("country", country),
        ("items", Arc::new(rows.iter().map(|it| Some(it.items)).collect::<Int32Array>())),
    ];
    let columns = columns
        .map(|(name, array)| (Arc::new(Field::new(name, array.data_type().clone(), true)), array));
    let times = rows.iter().map(|it| Some(it.time * 1_000));
    let time = times.collect::<TimestampMillisecondArray>().with_timezone("Europe/Rome");
    let batch = RecordBatch::try_from_iter([
        ("features", Arc::new(StructArray::from(columns.to_vec())) as ArrayRef),
        ("event_time", Arc::new(time)),
    ]);
    let batch = batch.expect("columns of one length");
    let compression = match way {
        Way::Stream => None,
        Way::Compressed => Some(CompressionType::LZ4_FRAME),
        Way::File => Some(CompressionType::ZSTD),
    };
    let options = IpcWriteOptions::default().try_with_compression(compression).expect("built in");
    let (schema, out) = (batch.schema(), Vec::new());
    let written = match way {
        Way::Stream | Way::Compressed => StreamWriter::try_new_with_options(out, &schema, options)
            .and_then(|mut writer| {
                writer.write(&batch)?;
                writer.into_inner()
            }),
        Way::File => {
            FileWriter::try_new_with_options(out, &schema, options).and_then(|mut writer| {
                writer.write(&batch)?;
                writer.into_inner()
            })
        }
    };
    written.expect("a list of bytes takes all")
}

fn config(job: &Job) -> Value {
    let mut config = job.config();
    let source = |(name, before, format): (&str, &str, &str)| {
        json!({
            "topic": topic_of(job, name),
            "format": name,
            "start": "earliest",
            "event_time": {"path": format!("{before}event_time"), "format": format},
            "dead_letter_topic": job.topic(TopicRole::Rejected),
            "time": {"idle_timeout": "2s"},
        })
    };
    let model = |(name, before): (&str, &str)| {
        json!({
            "name": name,
            "source": topic_of(job, name),
            "version": "1",
            "references": "references/{model}-{version}.json",
            "window": {"length": "1h"},
            "features": [
                {"name": "amount", "path": format!("{before}features.amount"), "type": "float32"},
                {"name": "items", "path": format!("{before}features.items"), "type": "integer"},
                {
                    "name": "country",
                    "path": format!("{before}features.country"),
                    "type": "categorical",
                },
            ],
        })
    };
    config["sources"] =
        [("arrow", "[].", "rfc3339"), ("json", "", "unix_seconds")].map(source).into();
    config["models"] = [("arrow", "[]."), ("json", "")].map(model).into();
    config
}

/// Reason and payload of messages that are no rows.
fn bad() -> Vec<(&'static str, Vec<u8>)> {
    let good = &predictions()[..1];
    let stream = message(good, Way::Stream);
    vec![
        ("invalid_arrow", good[0].json()),
        ("invalid_arrow", stream[..stream.len() - 20].to_vec()),
        ("invalid_arrow", [message(good, Way::Compressed), vec![0]].concat()),
        ("empty_payload", Vec::new()),
    ]
}

#[test]
fn rows_of_streams_and_files_become_what_they_are_in_json() {
    let job = Job::new("arrow");
    job.create_topics();
    let config = job.write(&config(&job));
    job.build_references(&config, &["arrow", "json"], DEADLINE);
    let predictions = predictions();
    let ways = [Way::Stream, Way::Compressed, Way::File].into_iter().cycle();
    let good = predictions.chunks(ROWS_A_MESSAGE).zip(ways).map(|(rows, way)| message(rows, way));
    let bad = bad();
    let all = good.chain(bad.iter().map(|(_, payload)| payload.clone())).collect();
    let arrow = fill(&job, "arrow", PARTITIONS, all);
    let json = fill(&job, "json", PARTITIONS, predictions.iter().map(Prediction::json).collect());

    let checked = Driftd::run(&["check", "--config", &config], &[], DEADLINE);
    let records = format!("records of {}: ", topic_of(&job, "arrow"));
    assert!(checked.stdout.contains(&records), "{}", checked.stdout);

    let mut daemon = Driftd::start(&["run", "--config", &config, "--log-format", "json"], &[]);
    let origin = format!("http://{}", daemon.wait_for_address(DEADLINE));
    daemon.wait_for_http(&format!("{origin}/api/v1/status"), DEADLINE, |response| {
        let status = response.json();
        status["totals"]["messages"] == arrow + json
            && status["totals"]["windows_closed"] == 2 * HOURS
            && status["sources"][0]["dead_lettered"] == bad.len()
    });
    let metrics = http::get(&format!("{origin}/metrics")).expect("the daemon answers").body;
    assert!(metrics.contains(r#"reason="invalid_arrow"} 3"#), "{metrics}");
    let _ended = daemon.terminate(DEADLINE).expect_code(0);

    let each = usize::try_from(HOURS).expect("few") * 3;
    check_windows(&job, &["arrow"], each);
    check_dead_letters(&job, bad);
}
