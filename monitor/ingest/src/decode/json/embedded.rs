//! Documents inside of text: `{"request": "{\"instances\": [[1, 2]]}"}` becomes
//! `{"request": {"instances": [[1, 2]]}}`.
//!
//! Gateways and data captures log bodies as text, as JSON with escapes, CSV or Base64. Before: a
//! payload within its bounds. After: [`super::JsonDecoder`] reads the text with all of it unfolded,
//! by the same paths and layouts as if it had come so.
//!
//! A body has to be one whole value by itself, so that none can end the text around it and add keys
//! to it. What is no text is left as it is: some gateways unfold what they can.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::de::IgnoredAny;

use super::cursor::Cursor;
use super::rewrite::Rewrite;
use super::value::Kind;
use crate::decode::special;
use crate::rejection::{Refusal, RejectReason};
use crate::schema::{EmbeddedField, EmbeddedForm, Framing, SourceSchema};

/// What the text of one body, and of the whole payload, takes at most, as texts that have grown by
/// doubling: those as they were and those without escapes.
const JSON_FACTOR: usize = 6;

/// The same of CSV, whose empty values become `null`, and characters escapes; its reader keeps
/// where each value of a line ends.
const CSV_FACTOR: usize = 48;

/// Unfolds payloads. Kept from message to message for its memory.
pub(super) struct Embedded {
    rewrite: Rewrite,
    fields: Vec<(usize, EmbeddedField)>,
}

impl Embedded {
    /// Returns what unfolds a schema's payloads; `None` where there is nothing to unfold.
    pub(super) fn new(schema: &SourceSchema) -> Option<Self> {
        (!schema.embedded.is_empty()).then(|| Self::of(&schema.embedded))
    }

    fn of(fields: &[EmbeddedField]) -> Self {
        let rewrite = Rewrite::new(Kind::Text, fields.iter().map(|it| &it.path));
        let fields = fields.iter().map(|it| (rewrite.slot(&it.path), it.clone())).collect();
        Self { rewrite, fields }
    }

    /// Returns the payload with every body unfolded.
    pub(super) fn unfold(&mut self, payload: &str, framing: Framing) -> Result<&str, Refusal> {
        let Self { rewrite, fields } = self;
        rewrite.text(payload, framing, fields, |field, text, _, into| body(text, field, into))
    }
}

/// Returns what unfolding a payload takes at most.
pub(in crate::decode) fn bytes_max(schema: &SourceSchema, payload_bytes_max: usize) -> usize {
    let factor = |field: &EmbeddedField| match field.form {
        EmbeddedForm::Json | EmbeddedForm::Base64Json => JSON_FACTOR,
        EmbeddedForm::Csv | EmbeddedForm::Base64Csv => CSV_FACTOR,
    };
    schema.embedded.iter().map(factor).max().map_or(0, |factor| factor * payload_bytes_max)
}

/// Returns how long the text of a payload is at most when it is unfolded: `""` becomes `null`; in
/// CSV an empty value and its comma do, and a character may become an escape.
pub(super) fn text_bytes_max(schema: &SourceSchema, payload_bytes_max: usize) -> usize {
    let factor = |field: &EmbeddedField| match field.form {
        EmbeddedForm::Json | EmbeddedForm::Base64Json => 2,
        EmbeddedForm::Csv | EmbeddedForm::Base64Csv => 6,
    };
    schema.embedded.iter().map(factor).max().unwrap_or(1) * payload_bytes_max
}

/// Appends the body that a JSON text holds.
fn body(written: &str, field: &EmbeddedField, into: &mut String) -> Result<(), Refusal> {
    let path = &field.path;
    let refuse = |problem: &str| {
        Refusal::new(RejectReason::InvalidJson, format_args!("`{path}`: {problem}"))
    };
    let text: String =
        serde_json::from_str(written).map_err(|_| refuse("text with half a surrogate pair"))?;
    let text = match field.form {
        EmbeddedForm::Json | EmbeddedForm::Csv => text,
        EmbeddedForm::Base64Json | EmbeddedForm::Base64Csv => {
            let bytes = BASE64.decode(text.trim()).map_err(|_| refuse("text that is no Base64"))?;
            String::from_utf8(bytes).map_err(|_| refuse("Base64 of bytes that are no UTF-8"))?
        }
    };
    match field.form {
        EmbeddedForm::Json | EmbeddedForm::Base64Json => json(text.trim(), into)
            .map_err(|error| refuse(&format!("text that is not one JSON value: {error}"))),
        EmbeddedForm::Csv | EmbeddedForm::Base64Csv => {
            csv(&text, into).map_err(|()| refuse("text that is no CSV"))
        }
    }
}

/// Appends a value on one line; no text at all is null.
fn json(text: &str, into: &mut String) -> serde_json::Result<()> {
    if text.is_empty() {
        into.push_str("null");
        return Ok(());
    }
    let mut cursor = Cursor::new(text.as_bytes(), 0);
    if cursor.skip().is_none() || cursor.at() != text.len() {
        serde_json::from_str::<IgnoredAny>(&special::as_numbers(text))?;
    }
    // Between the tokens of JSON an end of a line is white space, and nowhere else.
    into.extend(text.chars().map(|c| if matches!(c, '\n' | '\r') { ' ' } else { c }));
    Ok(())
}

/// Appends the lines of CSV as a list of lists. What is a number of JSON is one, an empty value is
/// null, and anything else is text.
fn csv(text: &str, into: &mut String) -> Result<(), ()> {
    let mut reader = ::csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .trim(::csv::Trim::All)
        .from_reader(text.as_bytes());
    into.push('[');
    for (row, record) in reader.records().enumerate() {
        into.push_str(if row == 0 { "[" } else { ",[" });
        for (column, value) in record.map_err(|_| ())?.iter().enumerate() {
            if 0 < column {
                into.push(',');
            }
            into.push_str(&csv_value(value));
        }
        into.push(']');
    }
    into.push(']');
    Ok(())
}

fn csv_value(value: &str) -> Cow<'_, str> {
    let bytes = value.as_bytes();
    let is_number = matches!(bytes.first(), Some(b'-' | b'0'..=b'9' | b'N' | b'I'));
    let mut cursor = Cursor::new(bytes, 0);
    if value.is_empty() {
        Cow::Borrowed("null")
    } else if is_number && cursor.scalar().is_some() && cursor.at() == bytes.len() {
        Cow::Borrowed(value)
    } else {
        Cow::Owned(serde_json::Value::from(value).to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::path::FieldPath;

    fn unfolded(forms: &[(&str, EmbeddedForm)], payload: &str) -> Result<String, String> {
        unfolded_of(Framing::Document, forms, payload)
    }

    fn unfolded_of(
        framing: Framing,
        forms: &[(&str, EmbeddedForm)],
        payload: &str,
    ) -> Result<String, String> {
        let field = |(path, form): &(&str, EmbeddedForm)| EmbeddedField {
            path: FieldPath::parse(path).unwrap(),
            form: *form,
        };
        let fields: Vec<EmbeddedField> = forms.iter().map(field).collect();
        let mut embedded = Embedded::of(&fields);
        let text = embedded.unfold(payload, framing).map(str::to_owned);
        text.map_err(|refusal| refusal.at(0).detail)
    }

    #[test]
    fn json_in_text_is_unfolded_where_it_stands() {
        let forms = [("b.c", EmbeddedForm::Json), ("a", EmbeddedForm::Json)];
        let payload = r#"{"x": 1, "a": "{\"y\":\n[1, \"\\u0041\"]}", "b": {"c": " 5 "}, "z": "1"}"#;
        let expected = r#"{"x": 1, "a": {"y": [1, "\u0041"]}, "b": {"c": 5}, "z": "1"}"#;
        assert_eq!(unfolded(&forms, payload).unwrap(), expected);
        for same in [r#"{"a": {"y": 1}, "b": null}"#, r#"{"b": 5}"#, "{}", r#"{"b": [1]}"#] {
            assert_eq!(unfolded(&forms, same).unwrap(), same);
        }
        assert_eq!(unfolded(&forms, r#"{"a": ""}"#).unwrap(), r#"{"a": null}"#);
        assert_eq!(unfolded(&forms, r#"{"a": "[NaN]"}"#).unwrap(), r#"{"a": [NaN]}"#);
    }

    #[test]
    fn a_body_cannot_add_to_what_is_around_it() {
        let forms = [("a", EmbeddedForm::Json)];
        for body in ["1, \\\"t\\\": 5", "1} ", "{", "\\\"", "]", "1 2"] {
            let error = unfolded(&forms, &format!(r#"{{"a": "{body}"}}"#)).unwrap_err();
            assert!(error.starts_with("`a`: text that is not one JSON value"), "{body}: {error}");
        }
        let error = unfolded(&forms, r#"{"a": "\ud800"}"#).unwrap_err();
        assert_eq!(error, "`a`: text with half a surrogate pair");
    }

    #[test]
    fn lines_stay_as_many_as_they_were() {
        let forms = [("a", EmbeddedForm::Json)];
        let lines = |payload: &str| unfolded_of(Framing::Lines, &forms, payload);
        let payload = "{\"a\":\"{\\n}\"}\n \n{\"a\":\"1\"}";
        assert_eq!(lines(payload).unwrap(), "{\"a\":{ }}\n \n{\"a\":1}\n");
        let error = lines("{}\n{\"a\":\"{\"}").unwrap_err();
        assert!(error.starts_with("line 2: `a`: text that is not one JSON value"), "{error}");
    }

    #[test]
    fn csv_is_a_list_of_lists() {
        let forms = [("a", EmbeddedForm::Csv)];
        let csv = |text: &str| {
            let payload = serde_json::json!({ "a": text }).to_string();
            unfolded(&forms, &payload).unwrap()
        };
        assert_eq!(csv("132,25,113.2"), r#"{"a":[[132,25,113.2]]}"#);
        assert_eq!(csv("1, -2.5e3\n,x\n"), r#"{"a":[[1,-2.5e3],[null,"x"]]}"#);
        assert_eq!(csv("\"a,b\",\"say \"\"é\"\"\""), r#"{"a":[["a,b","say \"é\""]]}"#);
        assert_eq!(csv("01,1.,+1,nan,NaN"), r#"{"a":[["01","1.","+1","nan",NaN]]}"#);
        assert_eq!(csv(""), r#"{"a":[]}"#);
    }

    #[test]
    fn base64_holds_either() {
        let json = [("a", EmbeddedForm::Base64Json)];
        assert_eq!(unfolded(&json, r#"{"a": "eyJ4IjogMX0="}"#).unwrap(), r#"{"a": {"x": 1}}"#);
        let csv = [("a", EmbeddedForm::Base64Csv)];
        assert_eq!(unfolded(&csv, r#"{"a": "MSwy"}"#).unwrap(), r#"{"a": [[1,2]]}"#);
        assert_eq!(unfolded(&csv, r#"{"a": "MSwy!"}"#).unwrap_err(), "`a`: text that is no Base64");
        let bytes = "`a`: Base64 of bytes that are no UTF-8";
        assert_eq!(unfolded(&csv, r#"{"a": "/w=="}"#).unwrap_err(), bytes);
    }
}
