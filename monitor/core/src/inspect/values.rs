//! What the values at one path have in common: kinds, range, how many different ones.
//!
//! Before: [`super::tree`] hands over each value. After: [`super::judge`] says what the field is by
//! it, and [`super::yaml`] writes it beside the proposal.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use driftd_ingest::event_time;
use serde_json::{Number, Value};

/// Different values that are told apart. More are not counted: no feature with so many categories
/// is worth watching by category.
pub(super) const DISTINCT_MAX: usize = 256;

/// Longest text that is kept as it is, in bytes; longer ones are told apart by a hash.
const KEPT_BYTES: usize = 64;

/// Text, numbers and booleans at one path. Nulls are none.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Values {
    pub(super) booleans: u64,
    /// Numbers of 64 bits that are written without a fraction: `0.0` is somebody's float, which
    /// was whole by chance.
    pub(super) integers: u64,
    pub(super) other_numbers: u64,
    /// Numbers beyond the range of an `f64`.
    pub(super) endless: u64,
    /// `NaN` and infinities, as text.
    pub(super) specials: u64,
    /// Other text.
    pub(super) texts: u64,
    /// Of the texts: times with a zone, which an event time may be.
    pub(super) times: u64,
    /// Of the texts: other dates and times.
    pub(super) dates: u64,
    /// Of the texts: UUIDs.
    pub(super) uuids: u64,
    /// Of the texts: those with several words.
    pub(super) phrases: u64,
    /// Length of the longest text, in bytes.
    pub(super) longest: usize,
    /// Least and greatest number.
    pub(super) range: Option<(f64, f64)>,
    /// How often each value is there.
    distinct: BTreeMap<String, u64>,
    /// Whether there are more than are told apart.
    pub(super) has_more: bool,
}

impl Values {
    /// Adds one value. A list, an object and null are none.
    pub(super) fn add(&mut self, value: &Value) {
        match value {
            Value::Null | Value::Array(_) | Value::Object(_) => {}
            Value::Bool(flag) => {
                self.booleans += 1;
                self.count(if *flag { "true" } else { "false" });
            }
            Value::Number(number) => self.add_number(number),
            Value::String(text) => self.add_text(text),
        }
    }

    fn add_number(&mut self, number: &Number) {
        let Some(value) = number.as_f64().filter(|it| it.is_finite()) else {
            self.endless += 1;
            return;
        };
        let is_integer = number.is_i64();
        *(if is_integer { &mut self.integers } else { &mut self.other_numbers }) += 1;
        let (least, greatest) = self.range.unwrap_or((value, value));
        self.range = Some((least.min(value), greatest.max(value)));
        self.count(&number.to_string());
    }

    fn add_text(&mut self, text: &str) {
        if matches!(text, "NaN" | "Infinity" | "-Infinity") {
            self.specials += 1;
            return;
        }
        self.texts += 1;
        self.longest = self.longest.max(text.len());
        if event_time::from_text(text).is_some() {
            self.times += 1;
        } else if is_date(text) {
            self.dates += 1;
        } else if is_uuid(text) {
            self.uuids += 1;
        }
        if 3 <= text.split_whitespace().count() {
            self.phrases += 1;
        }
        if text.len() <= KEPT_BYTES {
            self.count(text);
        } else {
            let mut hasher = DefaultHasher::new();
            text.hash(&mut hasher);
            self.count(&format!("{:016x}", hasher.finish()));
        }
    }

    fn count(&mut self, value: &str) {
        if let Some(known) = self.distinct.get_mut(value) {
            *known += 1;
        } else if self.distinct.len() < DISTINCT_MAX {
            self.distinct.insert(value.to_owned(), 1);
        } else {
            self.has_more = true;
        }
    }

    /// Returns how many there are.
    pub(super) fn total(&self) -> u64 {
        self.booleans + self.numbers() + self.endless + self.specials + self.texts
    }

    /// Returns how many are numbers that can be counted.
    pub(super) fn numbers(&self) -> u64 {
        self.integers + self.other_numbers
    }

    /// Returns how many different ones there are, of those that are told apart.
    pub(super) fn different(&self) -> u64 {
        self.distinct.len() as u64
    }

    /// Returns whether nearly every value is another one.
    pub(super) fn is_unique(&self) -> bool {
        const ENOUGH: u64 = 20;
        let counted: u64 = self.distinct.values().sum();
        ENOUGH <= counted && counted * 9 <= self.different() * 10
    }

    /// Returns the values, most frequent first, where each is there often enough to be no one's
    /// own: five times at the mean, ten different ones at most.
    pub(super) fn top(&self) -> Option<Vec<(&str, u64)>> {
        const FEW: u64 = 10;
        const OFTEN: u64 = 5;
        let shown = self.longest <= KEPT_BYTES && !self.has_more && self.different() <= FEW;
        (shown && self.different() * OFTEN <= self.total()).then(|| self.by_frequency())
    }

    /// Returns all values that are told apart, most frequent first, of equally frequent ones the
    /// first in byte order.
    pub(super) fn by_frequency(&self) -> Vec<(&str, u64)> {
        let mut values: Vec<_> = self.distinct.iter().map(|(it, count)| (&**it, *count)).collect();
        values.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        values
    }
}

/// Whether a text begins like `2013-04-01` and has no more than a time behind it.
fn is_date(text: &str) -> bool {
    let bytes = text.as_bytes();
    let is_digit = |at: usize| bytes.get(at).is_some_and(u8::is_ascii_digit);
    let parted = |at: usize| matches!(bytes.get(at), Some(b'-' | b'/'));
    (10..=35).contains(&bytes.len())
        && [0, 1, 2, 3, 5, 6, 8, 9].into_iter().all(is_digit)
        && parted(4)
        && parted(7)
        && matches!(bytes.get(10), None | Some(b'T' | b' '))
}

fn is_uuid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of(values: &[Value]) -> Values {
        let mut all = Values::default();
        for value in values {
            all.add(value);
        }
        all
    }

    #[test]
    fn kinds_are_counted_as_columns_take_them() {
        let values = of(&[
            json!(true),
            json!(5),
            json!(5.0),
            json!(-0.5),
            json!(u64::MAX),
            json!("NaN"),
            json!("DE"),
            json!("2013-04-01T09:00:00Z"),
            json!("2013-04-01 09:00"),
            json!("0009174a-24a8-4603-b098-09c8799950e9"),
            json!("one or two words"),
            json!(null),
            json!([1]),
        ]);
        assert_eq!((values.booleans, values.integers, values.other_numbers), (1, 1, 3));
        assert_eq!((values.specials, values.texts, values.total()), (1, 5, 11));
        assert_eq!((values.times, values.dates, values.uuids, values.phrases), (1, 1, 1, 1));
        assert_eq!(values.range, Some((-0.5, u64::MAX as f64)));
    }

    #[test]
    fn values_are_shown_only_where_each_is_frequent() {
        let few = vec![json!("DE"), json!("FR"), json!("DE")];
        assert_eq!(of(&few).top(), None);
        let many: Vec<_> = few.iter().cycle().take(12).cloned().collect();
        assert_eq!(of(&many).top(), Some(vec![("DE", 8), ("FR", 4)]));
        let long: Vec<_> = (0..20).map(|_| json!("x".repeat(65))).collect();
        assert_eq!(of(&long).top(), None);
    }

    #[test]
    fn different_values_have_a_bound() {
        let values: Vec<_> = (0..DISTINCT_MAX + 3).map(|it| json!(it.to_string())).collect();
        let values = of(&values);
        assert_eq!((values.different(), values.has_more), (DISTINCT_MAX as u64, true));
        assert!(values.is_unique());
        assert!(!of(&[json!("a"), json!("b")]).is_unique(), "two say nothing");
    }
}
