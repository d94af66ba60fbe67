//! Rows of a data set as the JSON messages of an inference log.
//!
//! ```json
//! {"model": {"name": "flights", "version": "1"}, "prediction_id": "f1",
//!  "event_time": "2013-04-01T09:00:00Z",
//!  "features": {"distance": 500.0, "pressure": null, "carrier": "UA"},
//!  "prediction": {"late_probability": 0.25}}
//! ```

use driftd_catalog::Timestamp;
use driftd_fixtures::data::DataSet;
use polars::prelude::{AnyValue, Column, DataFrame};

use crate::frame;

/// One message to be produced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Partition of the topic.
    pub partition: i32,
    /// Key: the prediction's id.
    pub key: String,
    /// Kafka's own timestamp.
    pub timestamp: Timestamp,
    /// Value.
    pub payload: Vec<u8>,
}

/// Turns each row of `frame` into a message of the model `set.name` in version `version`.
///
/// Row `i` goes to partition `i % partitions`, so every partition is in order of event time. A null
/// stays null, NaN and the infinities become text, a float has the fewest digits that read back to
/// it in its own width.
pub fn json_messages(
    frame: &DataFrame,
    set: &DataSet,
    version: &str,
    partitions: i32,
) -> Vec<Message> {
    let ids = column(frame, "prediction_id");
    let features = Object::new(frame, set.features);
    let predictions = Object::new(frame, set.predictions);
    let model = format!(r#"{{"name":"{}","version":"{version}"}}"#, set.name);
    let assigned = (0..partitions).cycle();
    let rows = frame::event_times(frame).into_iter().zip(assigned).enumerate();
    rows.map(|(row, (time, partition))| {
        let id = ids.get(row).expect("the row is in the frame");
        let key = id.get_str().expect("ids are text").to_owned();
        let mut json = format!(
            r#"{{"model":{model},"prediction_id":"{key}","event_time":"{time}","features":"#
        );
        features.push_row(row, &mut json);
        json.push_str(r#","prediction":"#);
        predictions.push_row(row, &mut json);
        json.push('}');
        Message { partition, key, timestamp: time, payload: json.into_bytes() }
    })
    .collect()
}

/// Columns that make one JSON object a row.
struct Object<'a> {
    fields: Vec<(&'a str, &'a Column)>,
}

impl<'a> Object<'a> {
    fn new(frame: &'a DataFrame, names: &[&'a str]) -> Self {
        Self { fields: names.iter().map(|&name| (name, column(frame, name))).collect() }
    }

    fn push_row(&self, row: usize, json: &mut String) {
        for (index, (name, column)) in self.fields.iter().enumerate() {
            json.push_str(if index == 0 { "{\"" } else { ",\"" });
            json.push_str(name);
            json.push_str("\":");
            let value = column.get(row).expect("the row is in the frame");
            json.push_str(&json_value(&value));
        }
        json.push('}');
    }
}

fn column<'a>(frame: &'a DataFrame, name: &str) -> &'a Column {
    frame.column(name).unwrap_or_else(|e| panic!("no column `{name}`: {e}"))
}

fn json_value(value: &AnyValue<'_>) -> String {
    if value.is_null() {
        "null".to_owned()
    } else if let Some(text) = value.get_str() {
        serde_json::Value::from(text).to_string()
    } else if let AnyValue::Boolean(value) = value {
        value.to_string()
    } else if let AnyValue::Float32(value) = value {
        json_float(f64::from(*value), &serde_json::to_string(value).expect("a float is JSON"))
    } else if let AnyValue::Float64(value) = value {
        json_float(*value, &serde_json::to_string(value).expect("a float is JSON"))
    } else {
        let integer: i64 = value.extract().unwrap_or_else(|| panic!("`{value}` is no JSON value"));
        integer.to_string()
    }
}

/// JSON has no words for the values that are not finite: they travel as text.
fn json_float(value: f64, finite: &str) -> String {
    let text = match value {
        _ if value.is_finite() => finite,
        _ if value.is_nan() => r#""NaN""#,
        _ if 0.0 < value => r#""Infinity""#,
        _ => r#""-Infinity""#,
    };
    text.to_owned()
}

#[cfg(test)]
mod tests {
    use driftd_fixtures::data::{CAR_PRICE, FLIGHTS, US_CENSUS_MA};
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn a_row_becomes_the_message_of_an_inference_log() {
        let frame = frame::read(&FLIGHTS.current_path()).head(Some(6));
        let messages = json_messages(&frame, &FLIGHTS, "1", 4);
        let partitions: Vec<i32> = messages.iter().map(|message| message.partition).collect();
        assert_eq!(partitions, [0, 1, 2, 3, 0, 1]);

        let first: Value = serde_json::from_slice(&messages[0].payload).expect("JSON");
        assert_eq!(first["model"], json!({"name": "flights", "version": "1"}));
        assert_eq!(first["prediction_id"], json!(messages[0].key));
        assert_eq!(first["event_time"], json!(messages[0].timestamp.to_string()));
        let features = first["features"].as_object().expect("an object");
        assert_eq!(features.keys().collect::<Vec<_>>(), FLIGHTS.features);
        assert!(features["distance"].is_f64() && features["carrier"].is_string(), "{first}");
        assert!(first["prediction"]["late_predicted"].is_boolean(), "{first}");
    }

    #[test]
    fn every_data_set_has_the_columns_of_its_roles_in_order_of_event_time() {
        for (set, rows) in [(FLIGHTS, 255_987), (US_CENSUS_MA, 208_892), (CAR_PRICE, 60_000)] {
            let current = frame::read(&set.current_path());
            assert_eq!(current.height(), rows, "{}", set.name);
            assert!(frame::event_times(&current).is_sorted(), "{}", set.name);
            for frame in [current, frame::read(&set.reference_path())] {
                assert_eq!(json_messages(&frame.head(Some(2)), &set, "1", 1).len(), 2);
            }
        }
    }

    #[test]
    fn floats_are_short_in_their_own_width_and_text_when_not_finite() {
        assert_eq!(json_value(&AnyValue::Float32(29.92)), "29.92");
        assert_eq!(json_value(&AnyValue::Float64(0.1)), "0.1");
        assert_eq!(json_value(&AnyValue::Float32(f32::NAN)), r#""NaN""#);
        assert_eq!(json_value(&AnyValue::Float64(f64::NEG_INFINITY)), r#""-Infinity""#);
        assert_eq!(json_value(&AnyValue::Null), "null");
        assert_eq!(json_value(&AnyValue::Int8(-1)), "-1");
        assert_eq!(json_value(&AnyValue::String("a\"b")), r#""a\"b""#);
    }
}
