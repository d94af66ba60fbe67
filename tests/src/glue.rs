//! The schema registry of AWS Glue on loopback, as far as driftd asks it: one action, with answers
//! as AWS documents them, to requests whose signature is right.
//!
//! Before: a test registers schema versions. After: `driftd` asks for them. The signature is made
//! anew here from what came, with nothing of what makes it there.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::ops::Deref;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::answers::{Answers, Reply, Request};

/// Where it says it is.
pub const REGION: &str = "eu-central-1";
/// Name of the key that it knows.
pub const KEY: &str = "AKIDEXAMPLE";
/// Secret of that key.
pub const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
/// Token that has to be sent with it.
pub const TOKEN: &str = "FwoGZXIvYXdzEXAMPLE";

/// Answers by schema version: a status and a body.
type Versions = Arc<Mutex<BTreeMap<String, (u16, Value)>>>;

/// Answers until it is dropped.
#[derive(Debug)]
pub struct Glue {
    answers: Answers,
    versions: Versions,
}

impl Deref for Glue {
    type Target = Answers;

    fn deref(&self) -> &Answers {
        &self.answers
    }
}

impl Glue {
    /// Starts one without schemas, that is down. What it was asked for are schema versions.
    pub fn start() -> Self {
        let versions = Versions::default();
        let own = Arc::clone(&versions);
        Self { answers: Answers::start_by(move |request| reply(&own, request)), versions }
    }

    /// Registers a schema version.
    pub fn register(&self, version: &str, format: &str, definition: &str) {
        self.settle(version, format, definition, "AVAILABLE");
    }

    /// Registers one that is what `status` says.
    pub fn settle(&self, version: &str, format: &str, definition: &str, status: &str) {
        let answer = json!({
            "SchemaVersionId": version,
            "SchemaDefinition": definition,
            "DataFormat": format,
            "SchemaArn": format!("arn:aws:glue:{REGION}:123456789012:schema/logs/prediction"),
            "VersionNumber": 1,
            "Status": status,
            "CreatedTime": "2026-01-05T09:00:00.000Z",
        });
        self.put_answer(version, 200, &answer);
    }

    /// Has it answer so when it is asked for a schema version.
    pub fn put_answer(&self, version: &str, status: u16, body: &Value) {
        let mut versions = self.versions.lock().expect("nothing panics while it is locked");
        versions.insert(version.to_owned(), (status, body.clone()));
    }

    /// Returns the section of the configuration that asks it.
    pub fn section(&self) -> Value {
        json!({
            "region": REGION,
            "endpoint": self.url(),
            "access_key_id": KEY,
            "secret_access_key": SECRET,
            "session_token": TOKEN,
        })
    }
}

fn reply(versions: &Versions, request: &Request) -> Reply {
    let asked: Value = serde_json::from_str(&request.body).unwrap_or_default();
    let version = asked["SchemaVersionId"].as_str().unwrap_or_default().to_owned();
    let error = |kind: &str, message: &str| json!({"__type": kind, "Message": message});
    let header = |name: &str| request.headers.get(name).map_or("", String::as_str);
    if request.path != "/"
        || header("x-amz-target") != "AWSGlue.GetSchemaVersion"
        || header("content-type") != "application/x-amz-json-1.1"
    {
        return (version, 400, error("UnknownOperationException", "not an action of Glue"));
    }
    if header("authorization") != expected(request) || header("x-amz-security-token") != TOKEN {
        let message =
            "The request signature we calculated does not match the signature you provided.";
        return (version, 400, error("InvalidSignatureException", message));
    }
    let versions = versions.lock().expect("nothing panics while it is locked");
    let (status, body) = versions.get(&version).cloned().unwrap_or_else(|| {
        let kind = "com.amazonaws.glue#EntityNotFoundException";
        (400, error(kind, "Schema version is not found."))
    });
    (version, status, body)
}

/// Returns what `Authorization` has to be, by the steps of AWS's documentation.
fn expected(request: &Request) -> String {
    let signed = ["content-type", "host", "x-amz-date", "x-amz-security-token", "x-amz-target"];
    let mut canonical = "POST\n/\n\n".to_owned();
    for name in signed {
        let value = request.headers.get(name).map_or("", String::as_str);
        writeln!(canonical, "{name}:{value}").expect("a string takes text");
    }
    let names = signed.join(";");
    write!(canonical, "\n{names}\n{}", hex(&Sha256::digest(&request.body)))
        .expect("a string takes text");
    let time = request.headers.get("x-amz-date").map_or("", String::as_str);
    let date: String = time.chars().take(8).collect();
    let scope = format!("{date}/{REGION}/glue/aws4_request");
    let text = format!("AWS4-HMAC-SHA256\n{time}\n{scope}\n{}", hex(&Sha256::digest(&canonical)));
    let date_key = hmac(format!("AWS4{SECRET}").as_bytes(), &date);
    let region_key = hmac(&date_key, REGION);
    let service_key = hmac(&region_key, "glue");
    let signature = hex(&hmac(&hmac(&service_key, "aws4_request"), &text));
    format!(
        "AWS4-HMAC-SHA256 Credential={KEY}/{scope}, SignedHeaders={names}, Signature={signature}"
    )
}

/// HMAC of SHA-256 with a key that is no longer than a block.
fn hmac(key: &[u8], text: &str) -> Vec<u8> {
    let mut inner = vec![0x36; 64];
    let mut outer = vec![0x5c; 64];
    for (place, byte) in key.iter().enumerate() {
        inner[place] ^= byte;
        outer[place] ^= byte;
    }
    inner.extend(text.bytes());
    outer.extend(Sha256::digest(inner));
    Sha256::digest(outer).to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a string takes text");
        text
    })
}
