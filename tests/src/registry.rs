//! A schema registry on loopback, as far as driftd asks one: the interface of Confluent's, with
//! answers as one gives them.

use std::ops::Deref;

use serde_json::{Value, json};

use crate::answers::Answers;

/// Answers until it is dropped.
#[derive(Debug)]
pub struct Registry(Answers);

impl Deref for Registry {
    type Target = Answers;

    fn deref(&self) -> &Answers {
        &self.0
    }
}

impl Registry {
    /// Starts one without schemas, that is down.
    pub fn start() -> Self {
        let unknown = json!({"error_code": 40403, "message": "Schema not found"});
        let answers = Answers::start(&unknown);
        answers.put("/schemas/types", 200, &json!(["JSON", "PROTOBUF", "AVRO"]));
        Self(answers)
    }

    /// Registers a schema under a number; `references` are subjects, each at its version 1.
    pub fn register(&self, id: u64, schema: &Value, references: &[&str]) {
        self.put(&format!("/schemas/ids/{id}"), 200, &registered(schema, references));
    }

    /// Registers a schema that others refer to.
    pub fn register_subject(&self, subject: &str, schema: &Value, references: &[&str]) {
        let mut answer = registered(schema, references);
        answer["subject"] = json!(subject);
        answer["version"] = json!(1);
        answer["id"] = json!(1_000);
        self.put(&format!("/subjects/{subject}/versions/1"), 200, &answer);
    }

    /// Registers the text of a `.proto` file under a number; of references each is the name of an
    /// import and the subject that has it.
    pub fn register_proto(&self, id: u64, text: &str, references: &[(&str, &str)]) {
        self.put(&format!("/schemas/ids/{id}"), 200, &registered_proto(text, references));
    }

    /// Registers the text of a `.proto` file that others import.
    pub fn register_proto_subject(&self, subject: &str, text: &str, references: &[(&str, &str)]) {
        let mut answer = registered_proto(text, references);
        answer["subject"] = json!(subject);
        answer["version"] = json!(1);
        answer["id"] = json!(1_000);
        self.put(&format!("/subjects/{subject}/versions/1"), 200, &answer);
    }
}

fn registered(schema: &Value, references: &[&str]) -> Value {
    let mut answer = json!({"schema": schema.to_string()});
    if !references.is_empty() {
        let reference = |it: &&str| json!({"name": it, "subject": it, "version": 1});
        answer["references"] = references.iter().map(reference).collect();
    }
    answer
}

fn registered_proto(text: &str, references: &[(&str, &str)]) -> Value {
    let reference =
        |(name, subject): &(&str, &str)| json!({"name": name, "subject": subject, "version": 1});
    let references: Vec<_> = references.iter().map(reference).collect();
    json!({"schemaType": "PROTOBUF", "schema": text, "references": references})
}
