//! A schema registry on loopback, as far as driftd asks one: the interface of Confluent's, with
//! answers as one gives them.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

/// Loopback connects at once or not at all.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// Answers until it is dropped.
#[derive(Debug)]
pub struct Registry {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    has_ended: bool,
    /// Takes connections and says nothing.
    is_down: bool,
    /// Value of `Authorization` that is asked for.
    authorization: Option<String>,
    /// Status and body by path.
    answers: BTreeMap<String, (u16, String)>,
    /// Paths that were asked for.
    asked: Vec<String>,
}

impl Registry {
    /// Starts one without schemas, that is down.
    #[expect(clippy::disallowed_methods, reason = "a server of the tests opens its socket")]
    pub fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("loopback has a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let state = Arc::new(Mutex::new(State { is_down: true, ..State::default() }));
        let own = Arc::clone(&state);
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                if lock(&own).has_ended {
                    return;
                }
                answer(&own, &client);
            }
        });
        let registry = Self { address, state };
        registry.put("/schemas/types", 200, &json!(["JSON", "PROTOBUF", "AVRO"]));
        registry
    }

    /// Where it is.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// From now on it answers.
    pub fn rise(&self) {
        lock(&self.state).is_down = false;
    }

    /// From now on it answers to who sends this, such as `Bearer token`.
    pub fn ask_for(&self, authorization: &str) {
        lock(&self.state).authorization = Some(authorization.to_owned());
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

    /// Sets an answer.
    pub fn put(&self, path: &str, status: u16, body: &Value) {
        lock(&self.state).answers.insert(path.to_owned(), (status, body.to_string()));
    }

    /// The paths that were asked for since the last call.
    pub fn asked(&self) -> Vec<String> {
        std::mem::take(&mut lock(&self.state).asked)
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        lock(&self.state).has_ended = true;
        // Wakes the thread; where it cannot be woken it ends with the process.
        drop(TcpStream::connect_timeout(&self.address, CONNECT_TIMEOUT));
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().expect("nothing panics while the registry is locked")
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

/// Reads one request and answers it. A client that goes away is no failure.
fn answer(state: &Mutex<State>, mut client: &TcpStream) {
    let mut lines = BufReader::new(client).lines().map_while(Result::ok);
    let Some(request) = lines.next() else { return };
    let path = request.split(' ').nth(1).unwrap_or_default();
    let path = path.split('?').next().unwrap_or_default().to_owned();
    let sent = lines.take_while(|line| !line.is_empty()).find_map(|line| {
        let (name, value) = line.split_once(": ")?;
        name.eq_ignore_ascii_case("authorization").then(|| value.to_owned())
    });
    let mut state = lock(state);
    state.asked.push(path.clone());
    if state.is_down {
        return;
    }
    let (status, body) = match state.answers.get(&path) {
        _ if state.authorization.is_some() && state.authorization != sent => {
            (401, json!({"error_code": 401, "message": "Unauthorized"}).to_string())
        }
        Some(answer) => answer.clone(),
        None => (404, json!({"error_code": 40403, "message": "Schema not found"}).to_string()),
    };
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {status} Answer\r\nContent-Type: application/vnd.schemaregistry.v1+json\r\n\
         Content-Length: {length}\r\nConnection: close\r\n\r\n"
    );
    drop(client.write_all([head, body].concat().as_bytes()));
}
