//! Signs requests to AWS: Signature Version 4, as its documentation describes it.
//!
//! Before: [`super::glue`] has a request. After: it sends it with the header that is made here. Of
//! the protocol there is what a request without a path and without parameters needs.

use std::fmt::Write as _;

use driftd_catalog::Timestamp;
use driftd_core::config::AwsKeys;
use sha2::{Digest, Sha256};

const ALGORITHM: &str = "AWS4-HMAC-SHA256";
/// Bytes that SHA-256 takes at once.
const BLOCK_BYTES: usize = 64;

/// What a signature holds for.
#[derive(Clone, Copy)]
pub(super) struct Scope<'a> {
    pub(super) region: &'a str,
    pub(super) service: &'a str,
    /// As [`time`] writes it.
    pub(super) time: &'a str,
}

/// Writes a time as AWS reads it.
pub(super) fn time(now: Timestamp) -> String {
    // The clock of a machine is within the years that can be written.
    let now = jiff::Timestamp::from_millisecond(now.as_millis()).unwrap_or_default();
    now.strftime("%Y%m%dT%H%M%SZ").to_string()
}

/// Returns the value of `Authorization` for a `POST` of `body` to `/`. All of the headers are
/// signed: their names are in small letters, and in order.
pub(super) fn authorization(
    keys: &AwsKeys,
    scope: Scope<'_>,
    headers: &[(&str, &str)],
    body: &[u8],
) -> String {
    let names: Vec<&str> = headers.iter().map(|(name, _)| *name).collect();
    let names = names.join(";");
    let lines = headers.iter().map(|(name, value)| format!("{name}:{}\n", value.trim()));
    let lines: String = lines.collect();
    let body = hex(&Sha256::digest(body).into());
    let request = format!("POST\n/\n\n{lines}\n{names}\n{body}");
    let Scope { region, service, time } = scope;
    let date = time.split('T').next().unwrap_or_default();
    let place = format!("{date}/{region}/{service}/aws4_request");
    let request = hex(&Sha256::digest(request).into());
    let text = format!("{ALGORITHM}\n{time}\n{place}\n{request}");
    let secret = format!("AWS4{}", keys.secret_access_key);
    let key = [date, region, service, "aws4_request"]
        .iter()
        .fold(secret.into_bytes(), |key, part| hmac(&key, part.as_bytes()).to_vec());
    let signature = hex(&hmac(&key, text.as_bytes()));
    let id = &keys.access_key_id;
    format!("{ALGORITHM} Credential={id}/{place}, SignedHeaders={names}, Signature={signature}")
}

/// HMAC of SHA-256 (RFC 2104).
fn hmac(key: &[u8], text: &[u8]) -> [u8; 32] {
    let hashed: [u8; 32] = Sha256::digest(key).into();
    let key = if BLOCK_BYTES < key.len() { &hashed[..] } else { key };
    let mut block = [0; BLOCK_BYTES];
    block[..key.len()].copy_from_slice(key);
    let inner = Sha256::new().chain_update(block.map(|byte| byte ^ 0x36)).chain_update(text);
    let outer = Sha256::new().chain_update(block.map(|byte| byte ^ 0x5c));
    outer.chain_update(inner.finalize()).finalize().into()
}

fn hex(bytes: &[u8; 32]) -> String {
    bytes.iter().fold(String::with_capacity(64), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a string takes text");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIME: &str = "20150830T123600Z";

    fn keys(session_token: Option<&str>) -> AwsKeys {
        AwsKeys {
            access_key_id: "AKIDEXAMPLE".to_owned(),
            secret_access_key: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY".to_owned(),
            session_token: session_token.map(str::to_owned),
        }
    }

    /// `post-vanilla`, `post-x-www-form-urlencoded` and `post-sts-header-before` of AWS's test
    /// suite for Signature Version 4 (`aws-sig-v4-test-suite`).
    #[test]
    fn requests_are_signed_as_the_test_suite_of_aws_has_it() {
        let host = ("host", "example.amazonaws.com");
        let date = ("x-amz-date", TIME);
        let token = "AQoDYXdzEPT//////////wEXAMPLEtc764bNrC9SAPBSM22wDOk4x4HIZ8j4FZTwdQWLWs\
                     KWHGBuFqwAeMicRXmxfpSPfIeoIYRqTflfKD8YUuwthAx7mSEI/qkPpKPi/kMcGdQrmGde\
                     ehM4IC1NtBmUpp2wUE8phUZampKsburEDy0KPkyQDYwT7WZ0wq5VSXDvp75YU9HFvlRd8T\
                     x6q6fE8YQcHNVXAkiY9q6d+xo0rKwT38xVqr7ZD0u0iPPkUL64lIZbqBAz+scqKmlzm8FD\
                     rypNC9Yjc8fPOLn9FX9KSYvKTr4rvx3iSIlTJabIQwj2ICCR/oLxBA==";
        let form = ("content-type", "application/x-www-form-urlencoded");
        for (headers, body, signature) in [
            (
                vec![host, date],
                "",
                "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b",
            ),
            (
                vec![form, host, date],
                "Param1=value1",
                "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a",
            ),
            (
                vec![host, date, ("x-amz-security-token", token)],
                "",
                "85d96828115b5dc0cfc3bd16ad9e210dd772bbebba041836c64533a82be05ead",
            ),
        ] {
            let scope = Scope { region: "us-east-1", service: "service", time: TIME };
            let found = authorization(&keys(None), scope, &headers, body.as_bytes());
            let names: Vec<&str> = headers.iter().map(|(name, _)| *name).collect();
            let expected = format!(
                "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, \
                 SignedHeaders={}, Signature={signature}",
                names.join(";")
            );
            assert_eq!(found, expected);
        }
    }

    /// Cases 1, 2 and 6 of RFC 4231.
    #[test]
    fn hmac_is_that_of_its_standard() {
        for (key, text, expected) in [
            (
                vec![0x0b; 20],
                "Hi There",
                "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7",
            ),
            (
                b"Jefe".to_vec(),
                "what do ya want for nothing?",
                "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
            ),
            (
                vec![0xaa; 131],
                "Test Using Larger Than Block-Size Key - Hash Key First",
                "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
            ),
        ] {
            assert_eq!(hex(&hmac(&key, text.as_bytes())), expected);
        }
    }

    #[test]
    fn a_time_is_written_in_seconds() {
        assert_eq!(time(Timestamp::from_millis(1_440_938_160_999)), TIME);
    }
}
