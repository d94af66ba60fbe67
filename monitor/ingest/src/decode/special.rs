//! The words for numbers that JSON has no token for: `NaN`, `Infinity` and `-Infinity`.
//!
//! Python's `json`, and all that is built on it, writes them where a value is missing or too large,
//! so logs have them; where JSON has no word, producers of it write them as text. Before: a text
//! that may be JSON but for these words, or a value that may be one of them. After: JSON's walk by
//! `serde_json` and `driftd inspect` get a text without them, JSON's cursor reads them itself, and
//! records of every format take a text that is one for the number.

use std::borrow::Cow;
use std::ops::Range;

const NAN: &str = "NaN";
const INFINITY: &str = "Infinity";
const MINUS_INFINITY: &str = "-Infinity";

/// Reads the word that the bytes begin with; returns its length as well.
pub(super) fn leading(bytes: &[u8]) -> Option<(f64, usize)> {
    let words = [(NAN, f64::NAN), (INFINITY, f64::INFINITY), (MINUS_INFINITY, f64::NEG_INFINITY)];
    let found = words.into_iter().find(|(word, _)| bytes.starts_with(word.as_bytes()));
    found.map(|(word, value)| (value, word.len()))
}

/// Reads a text that is such a word.
pub(super) fn whole(text: &[u8]) -> Option<f64> {
    leading(text).filter(|(_, length)| *length == text.len()).map(|(value, _)| value)
}

/// Returns the word for a number that is not finite.
pub(super) fn word(number: f64) -> &'static str {
    if number.is_nan() {
        NAN
    } else if number.is_sign_negative() {
        MINUS_INFINITY
    } else {
        INFINITY
    }
}

/// Returns the text with a number of the same length in place of each word, so that everything lies
/// where it was.
pub(super) fn as_numbers(text: &str) -> Cow<'_, str> {
    replaced(text, |word, into| {
        into.push_str(match word {
            NAN => "0.0",
            INFINITY => "1.000000",
            _ => "-1.000000",
        });
    })
}

/// Returns the text with each word in quotes, as which JSON can say it.
pub fn quote_specials(text: &str) -> Cow<'_, str> {
    replaced(text, |word, into| into.extend(["\"", word, "\""]))
}

fn replaced(text: &str, write: impl Fn(&str, &mut String)) -> Cow<'_, str> {
    let part = |bounds| text.get(bounds).expect("words are ASCII");
    let mut out = String::new();
    let mut from = 0;
    each_word(text, |Range { start, end }| {
        out.push_str(part(from..start));
        write(part(start..end), &mut out);
        from = end;
    });
    if from == 0 {
        return Cow::Borrowed(text);
    }
    out.push_str(part(from..text.len()));
    Cow::Owned(out)
}

/// Finds the words that are values: not inside of text, and not a part of another word or number.
fn each_word(text: &str, mut take: impl FnMut(Range<usize>)) {
    let bytes = text.as_bytes();
    let is_part = |byte: Option<&u8>| {
        byte.is_some_and(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'+'))
    };
    let (mut at, mut is_text) = (0, false);
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => is_text = !is_text,
            b'\\' if is_text => at += 1,
            b'N' | b'I' | b'-' if !is_text => {
                let word = leading(&bytes[at..]).map_or(0, |(_, length)| length);
                let is_alone = !is_part(at.checked_sub(1).and_then(|before| bytes.get(before)))
                    && !is_part(bytes.get(at + word));
                if 0 < word && is_alone {
                    take(at..at + word);
                }
                at += word.max(1);
                continue;
            }
            _ => {}
        }
        at += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_become_numbers_of_their_length() {
        for (text, expected) in [
            (r#"{"a":NaN,"b":[Infinity,-Infinity]}"#, r#"{"a":0.0,"b":[1.000000,-1.000000]}"#),
            ("NaN", "0.0"),
            (" NaN ", " 0.0 "),
            // In text they are text.
            (r#"["NaN","\"NaN",NaN,"\\",NaN]"#, r#"["NaN","\"NaN",0.0,"\\",0.0]"#),
            // With more beside them they are none.
            (
                "[NaN5,5NaN,-NaN,NaN.5,1e-Infinity,NaNN,nan]",
                "[NaN5,5NaN,-NaN,NaN.5,1e-Infinity,NaNN,nan]",
            ),
            ("é", "é"),
            ("[\"unfinished NaN", "[\"unfinished NaN"),
            ("\"\\", "\"\\"),
        ] {
            assert_eq!(as_numbers(text), expected);
            assert_eq!(as_numbers(text).len(), text.len());
        }
    }

    #[test]
    fn a_text_that_is_a_word_is_its_number() {
        for number in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            let found = whole(word(number).as_bytes()).unwrap();
            assert_eq!((found.is_nan(), found == number), (number.is_nan(), !number.is_nan()));
        }
        for text in ["", "nan", "NaN ", " NaN", "Infinit", "+Infinity", "--Infinity"] {
            assert_eq!(whole(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn words_become_texts() {
        assert_eq!(quote_specials(r#"{"a":NaN,"b":-Infinity}"#), r#"{"a":"NaN","b":"-Infinity"}"#);
        assert!(matches!(quote_specials("{}"), Cow::Borrowed("{}")));
    }
}
