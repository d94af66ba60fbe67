//! One GET request to a driftd.
//!
//! Before: [`super`] names the address. After: the body of the answer. HTTP without TLS, as driftd
//! serves it.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde::Deserialize;

/// How long each step of the request may take.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Largest answer taken.
const BYTES_MAX: u64 = 64 << 20;

/// A request without the wanted answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(super) enum RequestError {
    /// Not an address of a driftd.
    #[error("`{url}` is no address such as `http://127.0.0.1:9464`")]
    Address {
        /// What was given.
        url: String,
    },
    /// Nobody answered.
    #[error("no driftd answers at `{url}`: is it running, and is this its `outputs.listen`?")]
    Connection {
        /// What was asked.
        url: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Another answer than success.
    #[error("`{url}` answers {status}: {said}")]
    Refused {
        /// What was asked.
        url: String,
        /// Status of the answer.
        status: String,
        /// What it says.
        said: String,
    },
}

/// Asks for `path` at `url`; returns the body of the answer.
pub(super) fn get(url: &str, path: &str) -> Result<Vec<u8>, RequestError> {
    let authority = url.strip_prefix("http://").map(|it| it.trim_end_matches('/'));
    let authority = authority.filter(|it| !it.is_empty() && !it.contains(['/', ' ', '?', '@']));
    let Some(authority) = authority else {
        return Err(RequestError::Address { url: url.to_owned() });
    };
    let host = if authority.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok()) {
        authority.to_owned()
    } else {
        format!("{authority}:80")
    };
    let answer = exchange(&host, authority, path)
        .map_err(|source| RequestError::Connection { url: url.to_owned(), source })?;
    body(url, &answer)
}

#[expect(clippy::disallowed_methods, reason = "the edge opens sockets")]
fn exchange(host: &str, authority: &str, path: &str) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(host)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {authority}\r\nConnection: close\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.take(BYTES_MAX).read_to_end(&mut answer)?;
    Ok(answer)
}

fn body(url: &str, answer: &[u8]) -> Result<Vec<u8>, RequestError> {
    let refused = |status: &str, said: String| RequestError::Refused {
        url: url.to_owned(),
        status: status.to_owned(),
        said,
    };
    let Some(head) = answer.windows(4).position(|it| it == b"\r\n\r\n") else {
        return Err(refused("without a head", "this is no driftd".to_owned()));
    };
    let (head, body) = answer.split_at(head + 4);
    let head = String::from_utf8_lossy(head);
    let status = head.lines().next().and_then(|line| line.split(' ').nth(1)).unwrap_or_default();
    if status != "200" {
        return Err(refused(status, said(body)));
    }
    Ok(body.to_vec())
}

/// What an error of driftd says, or of whoever else answered.
fn said(body: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Refusal {
        error: String,
        hint: String,
    }
    match serde_json::from_slice::<Refusal>(body) {
        Ok(Refusal { error, hint }) => format!("{error} ({hint})"),
        Err(_) => "this is no driftd, or one of another version".to_owned(),
    }
}
