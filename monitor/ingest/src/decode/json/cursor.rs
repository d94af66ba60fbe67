//! JSON's tokens, read from bytes without a document and without a copy.
//!
//! Before: a payload that is UTF-8. After: [`super::quick_walk`] and [`super::layout`] follow what
//! is wanted through it, [`super::record`] reads numbers.
//!
//! What a cursor takes is JSON's grammar and the words of [`crate::decode::special`], no more. What
//! it does not take may be JSON all the same: it gives up (`None`) on what is rare, and
//! `serde_json` decides. So it says nothing about errors.

use std::ops::Range;

use super::decimal::{self, Decimal};
use super::value::Kind;
use crate::decode::special;

/// Deepest nesting of a value that is passed over: one bit a level.
const DEPTH_MAX: u32 = 64;

/// Eight times the same byte.
const fn repeated(byte: u8) -> u64 {
    u64::from_le_bytes([byte; 8])
}

const HIGH_BITS: u64 = repeated(0x80);

/// A place in a payload.
#[derive(Clone, Copy)]
pub(super) struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

/// Bytes that are expected, the first eight of them compared at once.
#[derive(PartialEq, Eq)]
pub(super) struct Literal {
    word: u64,
    mask: u64,
    /// Bytes in the word.
    length: usize,
    rest: Box<[u8]>,
}

impl Literal {
    pub(super) fn new(bytes: &[u8]) -> Self {
        let (lead, rest) = bytes.split_at(bytes.len().min(8));
        let (mut word, mut mask) = ([0; 8], [0; 8]);
        word[..lead.len()].copy_from_slice(lead);
        mask[..lead.len()].fill(0xff);
        Self {
            word: u64::from_le_bytes(word),
            mask: u64::from_le_bytes(mask),
            length: lead.len(),
            rest: rest.into(),
        }
    }
}

/// A value without values inside.
#[derive(Clone, Copy, Debug)]
pub(super) enum Scalar {
    Null,
    Boolean(bool),
    Number(Decimal),
    /// NaN or infinity, for which JSON has no token.
    Special(f64),
    Text {
        /// What stands between the quotes differs from what it means.
        is_escaped: bool,
    },
}

impl<'a> Cursor<'a> {
    pub(super) fn new(bytes: &'a [u8], at: usize) -> Self {
        Self { bytes, at }
    }

    pub(super) fn at(&self) -> usize {
        self.at
    }

    #[inline]
    pub(super) fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    /// Passes over a byte that was looked at.
    #[inline]
    pub(super) fn step(&mut self) {
        self.at += 1;
    }

    /// Passes over the byte if it is the next one.
    #[inline]
    pub(super) fn take(&mut self, byte: u8) -> bool {
        let is_next = self.peek() == Some(byte);
        self.at += usize::from(is_next);
        is_next
    }

    /// Passes over these bytes if they are the next ones.
    #[inline]
    pub(super) fn take_all(&mut self, expected: &[u8]) -> Option<()> {
        let end = self.at + expected.len();
        (self.bytes.get(self.at..end)? == expected).then_some(())?;
        self.at = end;
        Some(())
    }

    /// Passes over a literal if it is next.
    #[inline]
    pub(super) fn take_literal(&mut self, literal: &Literal) -> Option<()> {
        let Literal { word, mask, length, rest } = literal;
        match self.word() {
            Some(found) => {
                ((found ^ word) & mask == 0).then_some(())?;
                self.at += length;
            }
            None => self.take_all(&word.to_le_bytes()[..*length])?,
        }
        if rest.is_empty() { Some(()) } else { self.take_all(rest) }
    }

    /// Passes over white space.
    #[inline]
    pub(super) fn space(&mut self) {
        while let Some(b' ' | b'\t' | b'\r' | b'\n') = self.peek() {
            self.at += 1;
        }
    }

    /// Reads a key and its colon; returns where its text lies. Keys with escapes are rare.
    #[inline]
    pub(super) fn key(&mut self) -> Option<Range<usize>> {
        let start = self.at + 1;
        let is_escaped = self.text()?;
        let end = self.at - 1;
        self.space();
        (!is_escaped && self.take(b':')).then_some(start..end)
    }

    /// Reads a value without values inside.
    #[inline]
    pub(super) fn scalar(&mut self) -> Option<Scalar> {
        match self.peek()? {
            b'"' => self.text().map(|is_escaped| Scalar::Text { is_escaped }),
            b'-' if self.bytes.get(self.at + 1) == Some(&b'I') => self.special(),
            b'-' | b'0'..=b'9' => self.number().map(Scalar::Number),
            b'N' | b'I' => self.special(),
            b't' => self.take_all(b"true").map(|()| Scalar::Boolean(true)),
            b'f' => self.take_all(b"false").map(|()| Scalar::Boolean(false)),
            b'n' => self.take_all(b"null").map(|()| Scalar::Null),
            _ => None,
        }
    }

    #[cold]
    fn special(&mut self) -> Option<Scalar> {
        let (value, length) = special::leading(self.bytes.get(self.at..)?)?;
        self.at += length;
        Some(Scalar::Special(value))
    }

    /// Passes over a value, of which the first byte is next, with all that is inside.
    pub(super) fn skip(&mut self) -> Option<Kind> {
        let kind = self.open()?;
        let mut open = Open::default();
        let mut is_first = open.enter(kind)?;
        while let Some(around) = open.last() {
            self.space();
            let closing = if around == Kind::Object { b'}' } else { b']' };
            if self.take(closing) {
                open.leave();
                is_first = false;
                continue;
            }
            if !is_first {
                self.take(b',').then_some(())?;
                self.space();
            }
            if around == Kind::Object {
                self.skip_key()?;
                self.space();
            }
            let inside = self.open()?;
            is_first = open.enter(inside)?;
        }
        Some(kind)
    }

    /// Passes over a value without values inside, or over the bracket that opens another.
    #[inline]
    fn open(&mut self) -> Option<Kind> {
        let kind = match self.peek()? {
            b'{' => Kind::Object,
            b'[' => Kind::Array,
            // What nobody asks for, the compiler leaves out: the number's value.
            b'-' | b'0'..=b'9' if self.short_number().is_some() => return Some(Kind::Number),
            _ => return self.scalar().map(Scalar::kind),
        };
        self.at += 1;
        Some(kind)
    }

    fn skip_key(&mut self) -> Option<()> {
        self.text()?;
        self.space();
        self.take(b':').then_some(())
    }

    /// Passes over text with its quotes; returns whether there are escapes in it.
    #[inline]
    fn text(&mut self) -> Option<bool> {
        self.take(b'"').then_some(())?;
        let mut is_escaped = false;
        loop {
            self.pass_plain();
            match self.peek()? {
                b'"' => break,
                b'\\' => self.escape()?,
                0..=0x1f => return None,
                // Between whole words of plain bytes and the end of the payload.
                _ => {
                    self.at += 1;
                    continue;
                }
            }
            is_escaped = true;
        }
        self.at += 1;
        Some(is_escaped)
    }

    /// Passes over bytes of text, eight at a time, up to one that means something: a quote, a
    /// backslash or a control character; or to the last seven of the payload.
    #[inline]
    fn pass_plain(&mut self) {
        while let Some(word) = self.word() {
            // The lowest marked byte is such a one; above it others may be marked that are not.
            let is_zero = |word: u64| word.wrapping_sub(repeated(1)) & !word;
            let quote = is_zero(word ^ repeated(b'"'));
            let backslash = is_zero(word ^ repeated(b'\\'));
            let control = word.wrapping_sub(repeated(0x20)) & !word;
            let marked = (quote | backslash | control) & HIGH_BITS;
            if marked != 0 {
                self.at += marked.trailing_zeros() as usize / 8;
                return;
            }
            self.at += 8;
        }
    }

    /// Returns the next eight bytes, the first one lowest.
    #[inline]
    fn word(&self) -> Option<u64> {
        let bytes = self.bytes.get(self.at..)?.first_chunk()?;
        Some(u64::from_le_bytes(*bytes))
    }

    /// Passes over an escape; whether surrogates come in pairs matters only where text is kept.
    fn escape(&mut self) -> Option<()> {
        let bytes = self.bytes.get(self.at + 1..)?;
        let length = match bytes.first()? {
            b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => 2,
            b'u' => {
                bytes.get(1..5)?.iter().all(u8::is_ascii_hexdigit).then_some(())?;
                6
            }
            _ => return None,
        };
        self.at += length;
        Some(())
    }

    /// Reads a number of up to seven digits and seven more behind a point, as most are; stays where
    /// it is if there is another one, or anything else.
    #[inline]
    pub(super) fn short_number(&mut self) -> Option<f64> {
        let is_negative = self.peek()? == b'-';
        let start = self.at + usize::from(is_negative);
        let (whole, whole_count) = self.short_digits(start)?;
        let has_leading_zero = 1 < whole_count && self.bytes.get(start) == Some(&b'0');
        (!has_leading_zero).then_some(())?;
        let point = start + whole_count;
        let (mantissa, places, end) = if self.bytes.get(point) == Some(&b'.') {
            let (fraction, places) = self.short_digits(point + 1)?;
            (whole * POWERS[places] + fraction, places, point + 1 + places)
        } else {
            (whole, 0, point)
        };
        let has_exponent = matches!(self.bytes.get(end), Some(b'e' | b'E'));
        (!has_exponent).then_some(())?;
        self.at = end;
        Some(decimal::quotient(is_negative, mantissa, places))
    }

    /// Reads one to seven digits.
    #[inline]
    fn short_digits(&self, at: usize) -> Option<(u64, usize)> {
        let word = u64::from_le_bytes(*self.bytes.get(at..)?.first_chunk()?);
        let (values, count) = digits_of(word);
        (1..8).contains(&count).then(|| (value_of(values, count), count as usize))
    }

    #[inline]
    fn number(&mut self) -> Option<Decimal> {
        let is_negative = self.take(b'-');
        let mut digits = Digits::default();
        let start = self.at;
        self.digits(&mut digits);
        let whole = self.at - start;
        let has_leading_zero = 1 < whole && self.bytes.get(start) == Some(&b'0');
        (0 < whole && !has_leading_zero).then_some(())?;
        let mut places = 0;
        if self.take(b'.') {
            let start = self.at;
            self.digits(&mut digits);
            places = self.at - start;
            (0 < places).then_some(())?;
        }
        let mut exponent = -i64::try_from(places).ok()?;
        let has_exponent = matches!(self.peek(), Some(b'e' | b'E'));
        if has_exponent {
            self.at += 1;
            exponent = exponent.checked_add(self.exponent()?)?;
        }
        let is_whole = places == 0 && !has_exponent;
        let is_exact = digits.count <= Digits::EXACT;
        Some(Decimal::new(is_negative, is_exact.then_some(digits.value), exponent, is_whole))
    }

    fn exponent(&mut self) -> Option<i64> {
        let is_negative = !self.take(b'+') && self.take(b'-');
        let mut digits = Digits::default();
        self.digits(&mut digits);
        (0 < digits.count && digits.count <= Digits::EXACT).then_some(())?;
        let value = i64::try_from(digits.value).ok()?;
        Some(if is_negative { -value } else { value })
    }

    /// Reads digits, eight at a time.
    #[inline]
    fn digits(&mut self, digits: &mut Digits) {
        while let Some(word) = self.word() {
            let (values, count) = digits_of(word);
            digits.add(values, count);
            self.at += count as usize;
            if count < 8 {
                return;
            }
        }
        while let Some(digit @ b'0'..=b'9') = self.peek() {
            digits.value = digits.value.wrapping_mul(10).wrapping_add(u64::from(digit - b'0'));
            digits.count += 1;
            self.at += 1;
        }
    }
}

impl Scalar {
    pub(super) fn kind(self) -> Kind {
        match self {
            Self::Null => Kind::Null,
            Self::Boolean(_) => Kind::Boolean,
            Self::Number(_) => Kind::Number,
            Self::Special(_) => Kind::Special,
            Self::Text { .. } => Kind::Text,
        }
    }
}

/// The arrays and objects around a place: a bit each, set for objects, the innermost lowest.
#[derive(Default)]
struct Open {
    depth: u32,
    objects: u64,
}

impl Open {
    /// Goes into a value; returns whether there is an inside to go into.
    fn enter(&mut self, kind: Kind) -> Option<bool> {
        if !matches!(kind, Kind::Object | Kind::Array) {
            return Some(false);
        }
        (self.depth < DEPTH_MAX).then_some(())?;
        self.depth += 1;
        self.objects = self.objects << 1 | u64::from(kind == Kind::Object);
        Some(true)
    }

    fn leave(&mut self) {
        self.depth -= 1;
        self.objects >>= 1;
    }

    fn last(&self) -> Option<Kind> {
        let kind = if self.objects & 1 == 1 { Kind::Object } else { Kind::Array };
        (0 < self.depth).then_some(kind)
    }
}

/// Digits of a number, of which the value is right up to [`Digits::EXACT`] of them.
#[derive(Default)]
struct Digits {
    value: u64,
    count: u32,
}

impl Digits {
    /// 10^19 is below 2^64.
    const EXACT: u32 = 19;

    /// Adds the first `count` of eight digits, the first one in the lowest byte.
    #[inline]
    fn add(&mut self, values: u64, count: u32) {
        self.value = self.value.wrapping_mul(POWERS[count as usize]);
        self.value = self.value.wrapping_add(value_of(values, count));
        self.count += count;
    }
}

const POWERS: [u64; 9] = [1, 10, 100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000, 100_000_000];

/// Returns how many of eight bytes are digits before one that is none, and the value of each byte
/// up to there.
#[inline]
fn digits_of(word: u64) -> (u64, u32) {
    let values = word ^ repeated(b'0');
    // A byte that is no digit is marked: 10 to 127 by the sum, others by themselves.
    let marked = (values.wrapping_add(repeated(0x76)) | values) & HIGH_BITS;
    (values, marked.trailing_zeros() / 8)
}

/// Returns the number that the first `count` of eight digits are, the first one in the lowest byte.
///
/// Pairs, then pairs of pairs: Lemire, "Number parsing at a gigabyte per second", 2021, §5.
#[inline]
fn value_of(values: u64, count: u32) -> u64 {
    const PAIRS: u64 = 0x0000_00ff_0000_00ff;
    // Zeros before the digits in place of what follows them.
    let digits = values.checked_shl(64 - 8 * count).unwrap_or(0);
    let pairs = digits.wrapping_mul(10).wrapping_add(digits >> 8);
    let high = (pairs & PAIRS).wrapping_mul(100 + (1_000_000 << 32));
    let low = (pairs >> 16 & PAIRS).wrapping_mul(1 + (10_000 << 32));
    high.wrapping_add(low) >> 32
}

#[cfg(test)]
mod tests {
    use driftd_fixtures::trials::cases;
    use proptest::prelude::*;
    use serde_json::value::RawValue;

    use super::*;

    /// Passes over the one value of a text; returns how much of it that was.
    fn skipped(text: &str) -> Option<usize> {
        let mut cursor = Cursor::new(text.as_bytes(), 0);
        cursor.skip()?;
        Some(cursor.at())
    }

    /// What `serde_json` takes for one value, without white space around it.
    fn is_value(text: &str) -> bool {
        serde_json::from_str::<&RawValue>(text).is_ok_and(|value| value.get() == text)
    }

    #[test]
    fn tokens_are_json_and_nothing_else() {
        for text in [
            "0",
            "-0",
            "0.5",
            "-1.25e+10",
            "1E-7",
            "12345678",
            "123456789012345678901234567890",
            "\"\"",
            "\"plain\"",
            "\"longer than eight bytes\"",
            r#""\u00e9\n\"\\""#,
            "\"\u{e9}\"",
            "true",
            "false",
            "null",
            "[]",
            "{}",
            "[1, 2 ,3]",
            r#"{"a":{"b":[{}]},"c" : "d"}"#,
            "[[[[1]]],[]]",
            "{\"\":0}",
            "\"\u{7f}\"",
        ] {
            assert!(is_value(text), "{text}");
            assert_eq!(skipped(text), Some(text.len()), "{text}");
        }
        for text in [
            "",
            "-",
            "01",
            "-01",
            "1.",
            ".5",
            "1e",
            "1e+",
            "+1",
            "tru",
            "nul",
            "nan",
            "Infinit",
            "-NaN",
            "\"",
            "\"a",
            "\"\n\"",
            "\"\u{0}\"",
            r#""\x""#,
            r#""\u12g4""#,
            r#""\"#,
            "[",
            "[1",
            "[1,]",
            "[,1]",
            "[1 2]",
            "{",
            "{1:2}",
            "{\"a\"}",
            "{\"a\":}",
            "{\"a\":1,}",
            "{\"a\":1]",
            "[1}",
            "]",
        ] {
            assert!(!is_value(text), "{text}");
            assert_ne!(skipped(text), Some(text.len()), "{text}");
        }
    }

    #[test]
    fn what_is_nested_deeper_than_there_are_bits_is_left_to_others() {
        let nested = |depth| "[".repeat(depth) + &"]".repeat(depth);
        assert_eq!(skipped(&nested(64)), Some(128));
        assert_eq!(skipped(&nested(65)), None);
    }

    #[test]
    fn a_literal_is_taken_wherever_it_ends() {
        let all = b"0123456789abcdef0123456789";
        for (from, to) in
            (0..all.len()).flat_map(|from| (from..=all.len()).map(move |to| (from, to)))
        {
            let literal = Literal::new(&all[from..to]);
            let mut cursor = Cursor::new(all, from);
            assert_eq!(cursor.take_literal(&literal), Some(()));
            assert_eq!(cursor.at(), to);
            for wrong in from..to {
                let mut other = *all;
                other[wrong] ^= 1;
                assert_eq!(Cursor::new(&other, from).take_literal(&literal), None);
            }
            assert_eq!(Cursor::new(&all[..to], from).take_literal(&literal), Some(()));
            if from < to {
                assert_eq!(Cursor::new(&all[..to - 1], from).take_literal(&literal), None);
            }
        }
    }

    proptest! {
        #![proptest_config(cases(2_000))]

        /// Drawn from few characters, so that much of it is nearly JSON.
        #[test]
        fn a_value_is_passed_over_only_where_serde_json_sees_one(
            text in r#"[\[\]{}:," \\\n0-9eE.+ua-]{0,12}"#,
        ) {
            let Some(end) = skipped(&text) else { return Ok(()) };
            prop_assert!(is_value(text.split_at(end).0), "{text}");
        }

        #[test]
        fn text_ends_where_it_ends(text in any::<String>(), before in 0usize..9, after in "[ -~]*") {
            let written = serde_json::to_string(&text).unwrap();
            let all = " ".repeat(before) + &written + &after;
            let mut cursor = Cursor::new(all.as_bytes(), before);
            let is_text = matches!(cursor.scalar(), Some(Scalar::Text { .. }));
            prop_assert!(is_text);
            prop_assert_eq!(cursor.at(), before + written.len());
        }

        #[test]
        fn short_numbers_are_those_that_rust_reads(
            number in r"-?(0|[0-9]{1,9})(\.[0-9]{0,9})?([eE][0-9])?",
            after in "[,} ][ -~]{0,8}",
        ) {
            let all = number.clone() + &after;
            let mut cursor = Cursor::new(all.as_bytes(), 0);
            let found = cursor.short_number();
            prop_assert_eq!(cursor.at(), found.map_or(0, |_| number.len()));
            if let Some(found) = found {
                prop_assert!(is_value(&number));
                prop_assert_eq!(found.to_bits(), number.parse::<f64>().unwrap().to_bits());
            }
        }

        #[test]
        fn numbers_end_where_they_end(
            number in r"-?(0|[1-9][0-9]{0,20})(\.[0-9]{1,20})?([eE][+-]?[0-9]{1,3})?",
            after in "([,}\\] ][ -~]*)?",
        ) {
            let all = number.clone() + &after;
            let mut cursor = Cursor::new(all.as_bytes(), 0);
            let is_number = matches!(cursor.scalar(), Some(Scalar::Number(_)));
            prop_assert!(is_number);
            prop_assert_eq!(cursor.at(), number.len());
        }
    }
}
