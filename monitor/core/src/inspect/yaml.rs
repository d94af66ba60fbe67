//! A draft as the text of a configuration file, with what was seen as comments.
//!
//! Before: [`super::proposal`]. After: a file that `driftd check` accepts. Names and paths come
//! from messages: every one is quoted and escaped, and comments hold nothing that ends a line.

use std::fmt::Write as _;

use driftd_ingest::{FeatureKind, InferenceMessage, TimeFormat};

use super::Request;
use super::fields::Skipped;
use super::pairs;
use super::proposal::{Column, Draft, Format, Join, Model};

/// Longest comment, in characters.
const COMMENT_CHARS: usize = 200;

/// Fields that are left out and listed, of one model.
const LEFT_MAX: usize = 200;

/// Versions followed at once unless the configuration says otherwise.
const VERSIONS: u64 = 4;

/// What halves of a partition may take unless the configuration says otherwise, in mebibytes.
const JOIN_MEBIBYTES: usize = 16;

/// Writes the configuration.
pub(super) fn write(draft: &Draft, request: &Request, messages: usize) -> String {
    let mut text = Text::default();
    text.line(&format!(
        "# Proposed by `driftd inspect` from {messages} messages: a guess, to be looked through."
    ));
    for bound in &draft.bounds {
        text.line(&format!("# Bound met: {}.", comment(bound)));
    }
    text.line(&format!("name: {}", job_name(&request.topic)));
    if draft.is_apart {
        text.line(
            "# Requests and responses with the same id lie in different partitions: to have them",
        );
        text.line("# joined (`join`), make the id the topic's key.");
    }
    kafka(&mut text, request);
    source(&mut text, draft, &request.topic);
    text.line("models:");
    for each in &draft.models {
        model(&mut text, each, &request.topic);
    }
    text.0
}

fn kafka(text: &mut Text, request: &Request) {
    text.line("kafka:");
    let brokers: Vec<_> = request.brokers.iter().map(|it| quoted(it)).collect();
    text.line(&format!("  brokers: [{}]", brokers.join(", ")));
    if !request.properties.is_empty() {
        let names: Vec<_> = request.properties.iter().map(|it| comment(it)).collect();
        let names = names.join(", ");
        text.line(&format!("  # Add what the other configuration has for: {names}"));
    }
}

fn source(text: &mut Text, draft: &Draft, topic: &str) {
    text.line("sources:");
    text.line(&format!("  - topic: {}", quoted(topic)));
    text.line("    # `latest` reads what arrives from now on.");
    text.line("    start: earliest");
    text.line(&format!("    format: {}", draft.format.name()));
    match draft.format {
        Format::OpenInference(Some(InferenceMessage::Request)) => told(text, "request"),
        Format::OpenInference(Some(InferenceMessage::Response)) => told(text, "response"),
        Format::OpenInference(Some(InferenceMessage::Json) | None)
        | Format::Json
        | Format::Ndjson => {}
    }
    text.line("    event_time:");
    let time = &draft.event_time;
    text.noted(&format!("      path: {}", quoted(&time.path)), &time.note);
    if let Some(format) = time.format {
        text.line(&format!("      format: {}", time_format(format)));
    }
    if let Some((path, note)) = &draft.model {
        text.noted(&format!("    model: {}", quoted(path)), note);
    }
    if let Some(of) = &draft.join {
        join(text, of, draft.payload_bytes_max);
    }
    if let Some((op, note)) = &draft.changes {
        text.noted(&format!("    change_events: {{op: {}}}", quoted(op)), note);
    }
    if let Some(columns) = &draft.columns {
        text.noted(&format!("    columns: {}", quoted(columns)), "the names of the columns");
    }
    if !draft.tensors.is_empty() {
        text.line("    tensors:");
    }
    for tensor in &draft.tensors {
        text.noted(&format!("      - {}", quoted(tensor)), "records by the shape beside it");
    }
    if let Some(bytes) = draft.payload_bytes_max {
        text.line(&format!("    payload_bytes_max: {bytes}"));
    }
    if let Some(rows) = draft.rows_max {
        text.line(&format!("    rows_max: {rows}"));
    }
}

fn join(text: &mut Text, join: &Join, payload_bytes_max: Option<usize>) {
    text.noted("    join:", &join.note);
    text.line(&format!("      id: {}", quoted(join.attributes.id())));
    text.line(&format!("      side: {}", quoted(join.attributes.side())));
    text.line(&format!("      request: {}", quoted(pairs::REQUEST)));
    text.line(&format!("      response: {}", quoted(pairs::RESPONSE)));
    // Two of the largest messages have to fit.
    let least = payload_bytes_max.map(|it| (2 * it).div_ceil(1 << 20));
    if let Some(mebibytes) = least.filter(|it| JOIN_MEBIBYTES < *it) {
        text.line(&format!("      bytes_max: {mebibytes}MiB"));
    }
}

fn told(text: &mut Text, message: &str) {
    let note = "no header tells it, and the bytes not always";
    text.noted(&format!("    open_inference: {{message: {message}}}"), note);
}

fn model(text: &mut Text, model: &Model, topic: &str) {
    text.line(&format!("  - name: {}", quoted(&model.name)));
    text.line(&format!("    source: {}", quoted(topic)));
    match &model.version {
        Some(version) => {
            text.noted(&format!("    version_path: {}", quoted(&version.path)), &version.note);
            if VERSIONS < version.different {
                text.line(&format!("    versions_max: {}", version.different));
            }
        }
        None => text.noted("    version: \"1\"", "no field looks like a version"),
    }
    if let Some((path, note)) = &model.prediction_id {
        text.noted(&format!("    prediction_id: {}", quoted(path)), note);
    }
    text.line("    # Made by `driftd reference build`, one a version.");
    text.line("    references: references/{model}/{version}.json");
    text.line("    window: {length: 1h}");
    columns(text, "features", &model.features);
    left(text, &model.left);
    if !model.predictions.is_empty() {
        columns(text, "predictions", &model.predictions);
    }
}

fn columns(text: &mut Text, key: &str, columns: &[Column]) {
    text.line(&format!("    {key}:"));
    for Column { name, path, kind, note } in columns {
        let (name, path, kind) = (quoted(name), quoted(path), kind_name(*kind));
        text.noted(&format!("      - {{name: {name}, path: {path}, type: {kind}}}"), note);
    }
}

fn left(text: &mut Text, left: &[Skipped]) {
    for Skipped { path, reason } in left.iter().take(LEFT_MAX) {
        text.line(&format!("      # left out: {}: {}", comment(path), comment(reason)));
    }
    if LEFT_MAX < left.len() {
        text.line(&format!("      # left out: {} more", left.len() - LEFT_MAX));
    }
}

#[derive(Default)]
struct Text(String);

impl Text {
    fn line(&mut self, line: &str) {
        self.0.push_str(line);
        self.0.push('\n');
    }

    fn noted(&mut self, line: &str, note: &str) {
        self.line(&format!("{line} # {}", comment(note)));
    }
}

/// Makes the name of a job of a topic's: what Kubernetes takes for a name.
fn job_name(topic: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
    let name: String = topic.chars().map(plain).take(63).collect();
    let name = name.trim_matches('-');
    // A name of digits alone would be a number.
    if name.contains(|c: char| c.is_ascii_lowercase()) { quoted(name) } else { "driftd".to_owned() }
}

/// Writes text that comes from elsewhere: as YAML in quotes, and no variable of the environment.
fn quoted(text: &str) -> String {
    let mut quoted = "\"".to_owned();
    for c in text.replace("${", "$${").chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            ' '..='~' => quoted.push(c),
            c if c.is_alphanumeric() => quoted.push(c),
            // Writing to a text cannot fail.
            c => _ = write!(quoted, "\\U{:08X}", u32::from(c)),
        }
    }
    quoted.push('"');
    quoted
}

/// Makes text one line of a comment.
fn comment(text: &str) -> String {
    let plain = |c: char| match c {
        ' '..='~' | '…' => c,
        c if c.is_alphanumeric() => c,
        _ => '?',
    };
    let mut comment: String = text.chars().take(COMMENT_CHARS).map(plain).collect();
    if COMMENT_CHARS < text.chars().count() {
        comment.push('…');
    }
    comment
}

fn kind_name(kind: FeatureKind) -> &'static str {
    match kind {
        FeatureKind::Float32 => "float32",
        FeatureKind::Float64 => "float64",
        FeatureKind::Integer => "integer",
        FeatureKind::Categorical => "categorical",
        FeatureKind::Boolean => "boolean",
    }
}

fn time_format(format: TimeFormat) -> &'static str {
    match format {
        TimeFormat::Rfc3339 => "rfc3339",
        TimeFormat::UnixSeconds => "unix_seconds",
        TimeFormat::UnixMillis => "unix_millis",
        TimeFormat::UnixMicros => "unix_micros",
        TimeFormat::UnixNanos => "unix_nanos",
    }
}
