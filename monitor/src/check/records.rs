//! What each source makes of the newest messages of its topic: for `driftd check`.
//!
//! Before: the topics were reached. After: a line for each source, the reasons of messages that are
//! refused, and one record as a table. A topic of which no message is good is a problem; one that
//! holds none, or some that are refused, is not.

use std::fmt::Write as _;
use std::time::Duration;

use driftd_core::config::{KafkaConfig, Role};
use driftd_core::inspect::Show;
use driftd_core::sample::{Record, SampledMessage, Trial, try_out};
use driftd_ingest::FeatureKind;

use crate::config_file::Loaded;
use crate::console::{shown, thousands};
use crate::inspect::refusals;
use crate::kafka::sampler::{Bounds, SampleError, Side, sample};
use crate::registry::Writers;

/// Enough to see a mistake, and read in no time.
const BOUNDS: Bounds = Bounds { messages: 100, time: Duration::from_secs(10) };

/// Longest name and value in the table, in characters.
const CELL_CHARS: usize = 60;

/// What was found of one source.
pub(super) struct Tried {
    pub(super) is_well: bool,
    /// Lines for a person.
    pub(super) text: String,
}

/// Reads and decodes some messages of each source.
pub(super) fn look(loaded: &Loaded, kafka: &KafkaConfig, show: Show) -> Vec<Tried> {
    let config = &loaded.config;
    let sources = config.sources.iter().enumerate();
    let tried = sources.filter_map(|(index, source)| {
        let topic = &*source.topic;
        match sample(kafka, topic, Side::Newest, BOUNDS) {
            Ok(sample) if sample.messages.is_empty() && sample.cut.is_some() => {
                let text = format!("warn  records of {topic}: none came within 10 s\n");
                Some(Tried { is_well: true, text })
            }
            Ok(sample) => try_all(loaded, index, &sample.messages, show),
            // Said of the topic already.
            Err(SampleError::NoTopic { .. }) => None,
            Err(error) => {
                let error = anyhow::Error::from(error);
                let text = format!("warn  records of {topic}: none could be read: {error:#}\n");
                Some(Tried { is_well: true, text })
            }
        }
    });
    tried.collect()
}

/// Decodes messages of a source; nothing is said where the files of their schemas cannot be read,
/// for that is said of the schemas.
fn try_all(
    loaded: &Loaded,
    index: usize,
    messages: &[SampledMessage],
    show: Show,
) -> Option<Tried> {
    let config = &loaded.config;
    let source = &config.sources[index];
    let writers = Writers::open(source, &loaded.folder).ok()?;
    let mut trouble = None;
    let trial = try_out(config, index, messages, &mut |id| {
        let program = writers.as_ref()?.program(id, &|| {});
        program.unwrap_or_else(|error| {
            trouble = Some(error);
            None
        })
    });
    let Some(error) = trouble else { return Some(say_trial(&source.topic, &trial, show)) };
    let error = anyhow::Error::from(error);
    let text = format!("FAIL  records of {}: not tried: {error:#}\n", source.topic);
    Some(Tried { is_well: false, text })
}

fn say_trial(topic: &str, trial: &Trial, show: Show) -> Tried {
    let (messages, accepted) = (thousands(trial.messages), thousands(trial.accepted));
    let is_well = !trial.is_hopeless();
    let subject = format!("records of {topic}");
    let mut text = if trial.messages == 0 {
        format!("ok    {subject}: the topic holds no message to try\n")
    } else if !is_well {
        format!("FAIL  {subject}: none of the newest {messages} messages can be decoded\n")
    } else {
        // Where requests and responses are joined, and none found its other half.
        let is_clear = trial.refused.is_empty() && 0 < trial.records;
        let mark = if is_clear { "ok  " } else { "warn" };
        let records = thousands(trial.records);
        format!(
            "{mark}  {subject}: {accepted} of the newest {messages} messages are good, {records} \
             records\n"
        )
    };
    text.push_str(&refusals(trial));
    if let Some(record) = &trial.record {
        table(&mut text, record, show);
    }
    Tried { is_well, text }
}

fn table(text: &mut String, record: &Record, show: Show) {
    let Record { partition, offset, model, version, event_time, values } = record;
    let model = cell(model);
    let (version, event_time) = match show {
        Show::Values => (cell(version), event_time.to_string()),
        Show::Shapes => ("…".to_owned(), "…".to_owned()),
    };
    // Writing to a text cannot fail.
    _ = writeln!(
        text,
        "      one of them, [{partition}] at offset {offset}: {model}/{version}, event time \
         {event_time}"
    );
    let names: Vec<String> = values.iter().map(|it| cell(&it.name)).collect();
    let width = names.iter().map(|it| it.chars().count()).max().unwrap_or(0);
    for (value, name) in values.iter().zip(&names) {
        let role = match value.role {
            Some(Role::Feature) => "feature   ",
            Some(Role::Prediction) => "prediction",
            None => "label     ",
        };
        let kind = kind(value.kind);
        let found = match (&value.value, show) {
            (None, _) => "null".to_owned(),
            (Some(_), Show::Shapes) => "…".to_owned(),
            (Some(value), Show::Values) => cell(value),
        };
        _ = writeln!(text, "        {role}  {name:width$}  {kind:11}  {found}");
    }
}

/// Cuts text that comes from a message, and shows its control characters as such.
fn cell(text: &str) -> String {
    let text = shown(text);
    if text.chars().count() <= CELL_CHARS {
        return text;
    }
    text.chars().take(CELL_CHARS - 1).chain(['…']).collect()
}

fn kind(kind: FeatureKind) -> &'static str {
    match kind {
        FeatureKind::Float32 => "float32",
        FeatureKind::Float64 => "float64",
        FeatureKind::Integer => "integer",
        FeatureKind::Categorical => "categorical",
        FeatureKind::Boolean => "boolean",
    }
}

#[cfg(test)]
mod tests {
    use driftd_catalog::Timestamp;
    use driftd_core::sample::{RecordValue, Refused};
    use driftd_ingest::RejectReason;

    use super::*;

    fn trial() -> Trial {
        let value = |name: &str, role, kind, value: Option<&str>| RecordValue {
            name: name.into(),
            role: Some(role),
            kind,
            value: value.map(str::to_owned),
        };
        let record = Record {
            partition: 1,
            offset: 41,
            model: "flights".into(),
            version: "7".into(),
            event_time: Timestamp::from_millis(0),
            values: vec![
                value("amount", Role::Feature, FeatureKind::Float64, Some("1.5")),
                value("country", Role::Feature, FeatureKind::Categorical, Some("a\u{1b}b")),
                value("late", Role::Prediction, FeatureKind::Boolean, None),
            ],
        };
        Trial {
            messages: 100,
            accepted: 100,
            records: 120,
            record: Some(record),
            ..Trial::default()
        }
    }

    fn refused(count: u64) -> Refused {
        let detail = "`amount`: expected a number, found text".to_owned();
        Refused { count, partition: 0, offset: 17, detail }
    }

    #[test]
    fn good_messages_are_counted_and_one_record_is_a_table() {
        let expected = r"ok    records of logs: 100 of the newest 100 messages are good, 120 records
      one of them, [1] at offset 41: flights/7, event time 1970-01-01T00:00:00Z
        feature     amount   float64      1.5
        feature     country  categorical  a\u{1b}b
        prediction  late     boolean      null
";
        let tried = say_trial("logs", &trial(), Show::Values);
        assert_eq!((tried.is_well, &*tried.text), (true, expected));
        let without = say_trial("logs", &trial(), Show::Shapes).text;
        let expected = [("flights/7", "flights/…"), ("1970-01-01T00:00:00Z", "…")]
            .into_iter()
            .chain([("1.5", "…"), (r"a\u{1b}b", "…")])
            .fold(expected.to_owned(), |text, (value, shown)| text.replace(value, shown));
        assert_eq!(without, expected);
    }

    #[test]
    fn some_bad_messages_are_a_warning_and_only_bad_ones_a_problem() {
        let mut some = trial();
        some.accepted = 98;
        some.refused.insert(RejectReason::WrongType, refused(2));
        let tried = say_trial("logs", &some, Show::Values);
        let lines = "\
warn  records of logs: 98 of the newest 100 messages are good, 120 records
       2  wrong_type, first [0] at offset 17: `amount`: expected a number, found text
";
        assert!(tried.is_well && tried.text.starts_with(lines), "{}", tried.text);

        let mut all = Trial { messages: 100, ..Trial::default() };
        all.refused.insert(RejectReason::WrongType, refused(100));
        let tried = say_trial("logs", &all, Show::Values);
        let line = "FAIL  records of logs: none of the newest 100 messages can be decoded\n";
        assert!(!tried.is_well && tried.text.starts_with(line), "{}", tried.text);

        let tried = say_trial("logs", &Trial::default(), Show::Values);
        let line = "ok    records of logs: the topic holds no message to try\n";
        assert_eq!((tried.is_well, &*tried.text), (true, line));
    }

    #[test]
    fn a_long_value_is_cut() {
        assert_eq!(cell(&"é".repeat(CELL_CHARS)), "é".repeat(CELL_CHARS));
        let cut = cell(&"é".repeat(CELL_CHARS + 1));
        assert_eq!((cut.chars().count(), cut.ends_with('…')), (CELL_CHARS, true));
    }
}
