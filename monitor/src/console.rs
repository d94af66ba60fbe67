//! Words for people on standard output, and nothing else: logs and progress go to standard error.

use std::io::{self, Write};

/// Writes one line to standard output. A reader that has gone away is no error: there is nobody
/// left to tell.
pub(crate) fn say(line: impl std::fmt::Display) {
    let mut out = io::stdout().lock();
    if writeln!(out, "{line}").and_then(|()| out.flush()).is_err() {
        tracing::debug!("standard output is closed");
    }
}

/// Writes one line to standard error.
pub(crate) fn complain(line: impl std::fmt::Display) {
    let mut out = io::stderr().lock();
    if writeln!(out, "{line}").is_err() {
        tracing::debug!("standard error is closed");
    }
}

/// Writes a number with separated thousands.
pub(crate) fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if 0 < index && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Writes text of a message so that no terminal takes it for a command: control characters, and
/// what turns or hides its neighbours, are escaped.
pub(crate) fn shown(text: &str) -> String {
    let is_plain = |c: char| matches!(c, ' '..='~' | '…') || c.is_alphanumeric();
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if is_plain(c) {
            shown.push(c);
        } else {
            shown.extend(c.escape_unicode());
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_of_messages_says_nothing_to_a_terminal() {
        for (text, expected) in [
            ("größe \"x\\'", "größe \"x\\'"),
            ("\u{1b}[31m\n", r"\u{1b}[31m\u{a}"),
            ("a\u{202e}b\u{9b}", r"a\u{202e}b\u{9b}"),
        ] {
            assert_eq!(shown(text), expected);
        }
    }

    #[test]
    fn thousands_are_separated_from_the_right() {
        for (number, text) in [
            (0, "0"),
            (999, "999"),
            (1_000, "1,000"),
            (255_987, "255,987"),
            (1_000_000, "1,000,000"),
        ] {
            assert_eq!(thousands(number), text);
        }
    }
}
