//! What an inspection found, in words.
//!
//! Before: an [`Inspection`]. After: standard output.

use std::fmt::Write as _;

use driftd_core::inspect::{Inspection, SeenBody, SeenEncoding};
use driftd_core::sample::Trial;

use super::InspectArgs;
use crate::console::{shown, thousands};
use crate::kafka::sampler::{Cut, Sample, Side};

/// Says what was looked at, and what it is.
pub(super) fn found(args: &InspectArgs, sample: &Sample, inspection: &Inspection) -> String {
    let mut text = String::new();
    let messages = thousands(sample.messages.len() as u64);
    let (held, partitions) = (thousands(sample.held), sample.partitions);
    let side = match args.from {
        Side::Oldest => "oldest",
        Side::Newest => "newest",
    };
    // Writing to a text cannot fail.
    _ = writeln!(
        text,
        "topic {}: {messages} messages looked at, the {side} of {held} in {partitions} partitions",
        args.topic
    );
    match sample.cut {
        Some(Cut::Bytes) => _ = writeln!(text, "no more were read: these are 32 MiB"),
        Some(Cut::Time) => _ = writeln!(text, "no more were read: it took 30 s"),
        None => {}
    }
    if !inspection.encodings.is_empty() {
        _ = writeln!(text, "\nformats");
        for seen in &inspection.encodings {
            encoding(&mut text, seen);
        }
    }
    if !inspection.bodies.is_empty() {
        _ = writeln!(text, "\ncontents");
        for seen in &inspection.bodies {
            body(&mut text, seen);
        }
    }
    text
}

fn encoding(text: &mut String, seen: &SeenEncoding) {
    let SeenEncoding { encoding, count, partition, offset, evidence } = seen;
    let count = thousands(*count);
    let reading = match (encoding.formats().first(), encoding.advice()) {
        (Some(format), "") => format!("read with `format: {format}`"),
        (Some(format), advice) => format!("read with `format: {format}`, {advice}"),
        (None, advice) => format!("not read: {advice}"),
    };
    _ = writeln!(text, "{count:>8}  {}: {reading}", encoding.name());
    _ = writeln!(text, "          first: [{partition}] at offset {offset}, {evidence}");
}

fn body(text: &mut String, seen: &SeenBody) {
    let SeenBody { body, path, count } = seen;
    let at = if path.is_empty() { String::new() } else { format!(", at {}", shown(path)) };
    _ = writeln!(text, "{:>8}  {}{at}", thousands(*count), body.name());
}

/// Says how many messages decode, and why others do not.
pub(super) fn tried(trial: &Trial) -> String {
    let mut text = String::new();
    let (accepted, messages) = (thousands(trial.accepted), thousands(trial.messages));
    _ = writeln!(text, "{accepted} of {messages} messages decode by this proposal");
    text + &refusals(trial)
}

/// Writes one line a reason.
pub(crate) fn refusals(trial: &Trial) -> String {
    let mut text = String::new();
    for (reason, refused) in &trial.refused {
        let count = thousands(refused.count);
        let (partition, offset, detail) = (refused.partition, refused.offset, &refused.detail);
        _ = writeln!(
            text,
            "{count:>8}  {reason}, first [{partition}] at offset {offset}: {}",
            shown(detail)
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use driftd_core::inspect::{Request, Show, inspect};
    use driftd_core::sample::SampledMessage;

    use super::*;

    fn args() -> InspectArgs {
        InspectArgs {
            topic: "logs".to_owned(),
            brokers: vec!["k:1".to_owned()],
            config: None,
            messages: 10,
            from: Side::Newest,
            output: Some(PathBuf::from("driftd.yaml")),
            no_values: false,
        }
    }

    #[test]
    fn formats_contents_and_refusals_are_said_in_lines() {
        let message = |offset: i64, payload: &[u8]| SampledMessage {
            partition: 1,
            offset,
            payload: Some(payload.to_vec()),
            ..SampledMessage::default()
        };
        let good = br#"{"time": "2026-11-24T10:15:00Z", "re\u001b[31m": {"instances": [[1.5]]}}"#;
        let messages = vec![message(6, good), message(7, good), message(8, b"\0\0\0\0\x05x")];
        let request = Request {
            topic: "logs".to_owned(),
            brokers: vec!["k:1".to_owned()],
            properties: vec![],
            show: Show::Values,
        };
        let inspection = inspect(&messages, &request);
        let sample = Sample { messages, partitions: 2, held: 1_203, cut: Some(Cut::Time) };
        let expected = "\
topic logs: 3 messages looked at, the newest of 1,203 in 2 partitions
no more were read: it took 30 s

formats
       2  JSON, one object a message: read with `format: json`
          first: [1] at offset 6, 72 bytes
       1  schema registry's prefix (Confluent wire format): read with `format: avro`, \
or `protobuf`: the registry can tell which; name it in the section of that name
          first: [1] at offset 8, 6 bytes, first 0, then schema id 5

contents
       2  `instances`: request of the V1 protocol (KServe, TensorFlow, MLflow), \
at re\\u{1b}[31m.instances
";
        assert_eq!(found(&args(), &sample, &inspection), expected);
    }

    #[test]
    fn reasons_have_the_place_of_their_first_message() {
        let mut trial = Trial { messages: 1_000, accepted: 998, ..Trial::default() };
        let refused = driftd_core::sample::Refused {
            count: 2,
            partition: 3,
            offset: 17,
            detail: "`a`: expected a number, found text".to_owned(),
        };
        trial.refused.insert(driftd_ingest::RejectReason::WrongType, refused);
        let expected = "\
998 of 1,000 messages decode by this proposal
       2  wrong_type, first [3] at offset 17: `a`: expected a number, found text
";
        assert_eq!(tried(&trial), expected);
    }
}
