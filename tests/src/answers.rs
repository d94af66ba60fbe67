//! A server on loopback that gives the answers it was told.
//!
//! Before: a test says what is answered at which path. After: `driftd`, or its client of Kafka,
//! asks.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

/// Loopback connects at once or not at all.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// Longest body of a request.
const BODY_BYTES_MAX: u64 = 1 << 20;

/// Answers until it is dropped.
#[derive(Debug)]
pub struct Answers {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    has_ended: bool,
    /// Takes connections and says nothing.
    is_down: bool,
    /// Value of `Authorization` that is asked for.
    authorization: Option<String>,
    /// Status and body by path.
    answers: BTreeMap<String, (u16, String)>,
    /// Body at all other paths.
    unknown: String,
    /// Paths that were asked for.
    asked: Vec<String>,
}

/// A request as it came.
#[derive(Debug)]
pub struct Request {
    /// Without what follows a `?`.
    pub path: String,
    /// By names in small letters.
    pub headers: BTreeMap<String, String>,
    /// What follows them.
    pub body: String,
}

/// What a server answers of itself: what was asked for, a status and a body.
pub type Reply = (String, u16, Value);

/// How it answers.
type Answerer = Box<dyn Fn(&Request) -> Reply + Send>;

impl Answers {
    /// Starts one that is down. `unknown` is the body of a path without an answer.
    pub fn start(unknown: &Value) -> Self {
        Self::open(unknown, None)
    }

    /// Starts one that is down, and gives these answers when it has risen.
    pub fn start_by(answer: impl Fn(&Request) -> Reply + Send + 'static) -> Self {
        Self::open(&Value::Null, Some(Box::new(answer)))
    }

    #[expect(clippy::disallowed_methods, reason = "a server of the tests opens its socket")]
    fn open(unknown: &Value, answerer: Option<Answerer>) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("loopback has a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let state = Arc::new(Mutex::new(State {
            has_ended: false,
            is_down: true,
            authorization: None,
            answers: BTreeMap::new(),
            unknown: unknown.to_string(),
            asked: Vec::new(),
        }));
        let own = Arc::clone(&state);
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                if lock(&own).has_ended {
                    return;
                }
                answer(&own, answerer.as_ref(), &client);
            }
        });
        Self { address, state }
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

    /// Sets an answer.
    pub fn put(&self, path: &str, status: u16, body: &Value) {
        lock(&self.state).answers.insert(path.to_owned(), (status, body.to_string()));
    }

    /// The paths that were asked for since the last call.
    pub fn asked(&self) -> Vec<String> {
        std::mem::take(&mut lock(&self.state).asked)
    }
}

impl Drop for Answers {
    fn drop(&mut self) {
        lock(&self.state).has_ended = true;
        // Wakes the thread; where it cannot be woken it ends with the process.
        drop(TcpStream::connect_timeout(&self.address, CONNECT_TIMEOUT));
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().expect("nothing panics while the answers are locked")
}

/// Reads one request to its end; one that is broken off is none.
fn read(client: &TcpStream) -> Option<Request> {
    let mut reader = BufReader::new(client);
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let path = line.split(' ').nth(1)?.split('?').next().unwrap_or_default().to_owned();
    let mut headers = BTreeMap::new();
    loop {
        line.clear();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        headers.insert(name.to_ascii_lowercase(), value.to_owned());
    }
    let length = headers.get("content-length").map_or(Ok(0), |it| it.parse()).ok()?;
    let mut body = String::new();
    reader.take(BODY_BYTES_MAX.min(length)).read_to_string(&mut body).ok()?;
    Some(Request { path, headers, body })
}

/// Reads one request and answers it. A client that goes away is no failure.
fn answer(state: &Mutex<State>, answerer: Option<&Answerer>, mut client: &TcpStream) {
    let Some(request) = read(client) else { return };
    let reply = answerer.map(|it| it(&request));
    let mut state = lock(state);
    state.asked.push(reply.as_ref().map_or_else(|| request.path.clone(), |it| it.0.clone()));
    if state.is_down {
        return;
    }
    let authorization = request.headers.get("authorization");
    let is_refused = state.authorization.is_some() && state.authorization.as_ref() != authorization;
    let (status, body) = match (reply, state.answers.get(&request.path)) {
        (Some((_, status, body)), _) => (status, body.to_string()),
        (None, _) if is_refused => {
            (401, json!({"error_code": 401, "message": "Unauthorized"}).to_string())
        }
        (None, Some(answer)) => answer.clone(),
        (None, None) => (404, state.unknown.clone()),
    };
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {status} Answer\r\nContent-Type: application/json\r\n\
         Content-Length: {length}\r\nConnection: close\r\n\r\n"
    );
    drop(client.write_all([head, body].concat().as_bytes()));
}
