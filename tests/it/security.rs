//! Ways to a secured Kafka, and compressed topics.
//!
//! Before: a real broker with a listener for each way. After: the same lines come out, and what is
//! wrong is said without the secret.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use driftd_fixtures::driftd::Driftd;
use driftd_fixtures::kafka::secured::{PASSWORD, SecuredBroker, USER};
use driftd_fixtures::{http, wait};
use driftd_tests::answers::Answers;
use driftd_tests::job::{Job, PARTITIONS, TopicRole};
use driftd_tests::topic::{self, Raw};
use serde_json::{Value, json};

const DEADLINE: Duration = Duration::from_mins(2);

/// Records of three windows whose amounts are far from the reference.
fn records() -> Vec<Raw> {
    let record = |index: i32| {
        let record = json!({
            "model": {"name": "small"},
            "event_time": format!("2013-07-01T{:02}:{:02}:00Z", index / 1_000, index % 60),
            "features": {"amount": 500 + index % 7, "items": 90, "country": "DE"},
        });
        Raw {
            partition: index % PARTITIONS,
            key: index.to_string(),
            payload: Some(record.to_string().into_bytes()),
        }
    };
    (0..3_000).map(record).collect()
}

fn prepared(name: &'static str, address: &str, properties: Value) -> (Job, Value) {
    let broker = SecuredBroker::shared();
    let job = Job::on(name, broker.bootstrap());
    job.create_topics();
    let plain = job.write(&job.config());
    job.build_references(&plain, &["small"], DEADLINE);
    let mut config = job.config();
    config["kafka"]["brokers"] = json!([address]);
    config["kafka"]["properties"] = properties;
    config["kafka"]["properties"]["ssl.ca.location"] = json!(broker.file("ca.pem"));
    (job, config)
}

fn sasl(mechanism: &str) -> Value {
    json!({
        "security.protocol": "SASL_SSL",
        "sasl.mechanism": mechanism,
        "sasl.username": USER,
    })
}

fn give_password(job: &Job, config: &mut Value, password: &str) {
    let file = job.write_file("password", &format!("{password}\n"));
    config["kafka"]["property_files"] = json!({"sasl.password": file});
}

/// Check, run, lines of results, an event: each client of the daemon goes this way.
fn play(job: &Job, config: &Value) {
    topic::put(job.bootstrap(), &job.topic(TopicRole::Inference), &records());
    let path = job.write(config);
    let checked = Driftd::run(&["check", "--config", &path], &[], DEADLINE).expect_code(0);
    let topic = job.topic(TopicRole::Inference);
    let args = ["inspect", "--topic", &topic, "--config", &path];
    let inspected = Driftd::run(&args, &[], DEADLINE).expect_code(0);
    assert!(inspected.stdout.contains("messages decode by this proposal"), "{}", inspected.stdout);
    let mut daemon = Driftd::start(&["run", "--config", &path, "--log-format", "json"], &[]);
    let origin = format!("http://{}", daemon.wait_for_address(DEADLINE));
    let has_lines = |records: &[driftd_tests::reader::Record]| {
        records.iter().any(|record| record.json()["state"] == "drifted")
    };
    job.reader(TopicRole::Results).until("a drifted line", DEADLINE, has_lines);
    job.reader(TopicRole::Retraining).until("an event", DEADLINE, |found| !found.is_empty());
    let status = daemon.wait_for_http(&format!("{origin}/api/v1/status"), DEADLINE, |answer| {
        answer.json()["totals"]["messages"] == 3_000
    });
    daemon.wait_for_http(&format!("{origin}/readyz"), DEADLINE, |_| true);
    let ended = daemon.terminate(DEADLINE).expect_code(0);
    let texts = [&checked.stdout, &checked.stderr, &inspected.stdout, &inspected.stderr];
    for text in texts.into_iter().chain([&status.body, &ended.stderr]) {
        assert!(!text.contains(PASSWORD), "the password is shown: {text}");
    }
}

#[test]
fn the_job_runs_over_tls() {
    let address = SecuredBroker::shared().tls();
    let (job, config) = prepared("security-tls", &address, json!({"security.protocol": "SSL"}));
    play(&job, &config);
}

#[test]
fn the_job_runs_over_tls_with_a_certificate_of_its_own() {
    let broker = SecuredBroker::shared();
    let properties = json!({
        "security.protocol": "SSL",
        "ssl.certificate.location": broker.file("client.pem"),
    });
    let (job, mut config) = prepared("security-mutual", &broker.mutual(), properties);
    config["kafka"]["property_files"] = json!({"ssl.key.pem": broker.file("client.key")});
    play(&job, &config);
}

#[test]
fn the_job_runs_over_scram_with_the_password_of_a_file() {
    let address = SecuredBroker::shared().scram();
    let (job, mut config) = prepared("security-scram", &address, sasl("SCRAM-SHA-512"));
    give_password(&job, &mut config, PASSWORD);
    play(&job, &config);
}

#[test]
fn the_job_runs_over_plain_with_the_password_of_a_file() {
    let address = SecuredBroker::shared().plain();
    let (job, mut config) = prepared("security-plain", &address, sasl("PLAIN"));
    give_password(&job, &mut config, PASSWORD);
    play(&job, &config);
}

/// A token as an issuer gives it, for an hour; the broker of the tests asks for no signature.
fn token() -> Value {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is after 1970").as_secs();
    let part = |claims: Value| BASE64_URL_SAFE_NO_PAD.encode(claims.to_string());
    let claims = json!({"sub": USER, "scope": "kafka", "iat": now, "exp": now + 3_600});
    let token = format!("{}.{}.", part(json!({"alg": "none"})), part(claims));
    json!({"access_token": token, "token_type": "Bearer", "expires_in": 3_600})
}

/// Properties of a client that gets its tokens from an issuer.
fn oidc(issuer: &Answers) -> Value {
    json!({
        "security.protocol": "SASL_SSL",
        "sasl.mechanism": "OAUTHBEARER",
        "sasl.oauthbearer.method": "oidc",
        "sasl.oauthbearer.client.id": USER,
        "sasl.oauthbearer.scope": "kafka",
        "sasl.oauthbearer.token.endpoint.url": format!("{}/token", issuer.url()),
    })
}

fn issuer() -> Answers {
    let issuer = Answers::start(&json!({"error": "not_found"}));
    issuer.put("/token", 200, &token());
    let known = BASE64_STANDARD.encode(format!("{USER}:{PASSWORD}"));
    issuer.ask_for(&format!("Basic {known}"));
    issuer.rise();
    issuer
}

fn give_client_secret(job: &Job, config: &mut Value, secret: &str) {
    let file = job.write_file("secret", &format!("{secret}\n"));
    config["kafka"]["property_files"] = json!({"sasl.oauthbearer.client.secret": file});
}

#[test]
fn the_job_runs_with_the_tokens_of_an_issuer() {
    let issuer = issuer();
    let address = SecuredBroker::shared().tokens();
    let (job, mut config) = prepared("security-tokens", &address, oidc(&issuer));
    give_client_secret(&job, &mut config, PASSWORD);
    play(&job, &config);
    assert!(issuer.asked().iter().all(|path| path == "/token"));
}

#[test]
fn an_issuer_that_refuses_is_told_and_the_secret_is_not_shown() {
    const WRONG: &str = "wrong-horse-battery-staple";
    let issuer = issuer();
    let address = SecuredBroker::shared().tokens();
    let (job, mut config) = prepared("security-refused", &address, oidc(&issuer));
    give_client_secret(&job, &mut config, WRONG);
    refused(&job, &config, "Failed to acquire SASL OAUTHBEARER token", &[WRONG, PASSWORD]);
}

/// What `check`, readiness and the log say of a broker that refuses, which is none of `secrets`.
fn refused(job: &Job, config: &Value, told: &str, secrets: &[&str]) {
    let path = job.write(config);
    let checked = Driftd::run(&["check", "--config", &path], &[], DEADLINE).expect_code(1);
    assert!(checked.stdout.contains(told), "`{told}`: {}", checked.stdout);
    let mut daemon = Driftd::start(&["run", "--config", &path, "--log-format", "json"], &[]);
    let ready = format!("http://{}/readyz", daemon.wait_for_address(DEADLINE));
    let mut seen = String::new();
    let is_told = wait::for_value(DEADLINE, || {
        let answer = http::get(&ready).ok()?;
        seen = answer.body;
        (answer.status == 503 && seen.contains(told)).then_some(())
    });
    assert!(is_told.is_some(), "`{told}`: {seen}\n{}", daemon.report());
    let ended = daemon.terminate(DEADLINE).expect_code(0);
    for text in [&checked.stdout, &checked.stderr, &seen, &ended.stdout, &ended.stderr] {
        let shown = secrets.iter().find(|secret| text.contains(**secret));
        assert_eq!(shown, None, "a secret is shown: {text}");
    }
}

#[test]
fn a_wrong_password_is_told_and_not_shown() {
    const WRONG: &str = "wrong-horse-battery-staple";
    let broker = SecuredBroker::shared();
    let (job, mut config) = prepared("security-wrong", &broker.scram(), sasl("SCRAM-SHA-512"));
    give_password(&job, &mut config, WRONG);
    refused(&job, &config, "Authentication failed", &[WRONG, PASSWORD]);
}

#[test]
fn a_certificate_that_nobody_trusts_is_told() {
    let broker = SecuredBroker::shared();
    let properties = json!({"security.protocol": "SSL"});
    let (job, mut config) = prepared("security-untrusted", &broker.tls(), properties);
    config["kafka"]["properties"]["ssl.ca.location"] = json!(broker.file("other-ca.pem"));
    refused(&job, &config, "certificate verify failed", &[]);
}

#[test]
fn a_certificate_that_is_not_shown_is_told() {
    let broker = SecuredBroker::shared();
    let properties = json!({"security.protocol": "SSL"});
    let (job, config) = prepared("security-nameless", &broker.mutual(), properties);
    refused(&job, &config, "bad certificate", &[]);
}

#[test]
fn compressed_topics_are_the_same_topics() {
    let digest = |name: &'static str, codec: &str| {
        let job = Job::new(name);
        job.create_topics();
        let config = job.write(&job.config());
        job.build_references(&config, &["small"], DEADLINE);
        let topic = job.topic(TopicRole::Inference);
        topic::put_compressed(job.bootstrap(), &topic, &records(), codec);
        let args = ["run", "--config", &config, "--log-format", "json"];
        let mut process = Driftd::start(&args, &[]);
        let origin = format!("http://{}", process.wait_for_address(DEADLINE));
        let status =
            process.wait_for_http(&format!("{origin}/api/v1/status"), DEADLINE, |answer| {
                let totals = &answer.json()["totals"];
                totals["messages"] == 3_000 && totals["windows_closed"] == 3
            });
        let _ended = process.terminate(DEADLINE).expect_code(0);
        status.json()["digest"].clone()
    };
    let plain = digest("compressed-none", "none");
    for (name, codec) in [
        ("compressed-gzip", "gzip"),
        ("compressed-snappy", "snappy"),
        ("compressed-lz4", "lz4"),
        ("compressed-zstd", "zstd"),
    ] {
        assert_eq!(digest(name, codec), plain, "{codec}");
    }
}
