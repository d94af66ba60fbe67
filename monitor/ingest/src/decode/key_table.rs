//! Which of a few keys a text is, in one look.
//!
//! Before: [`super::trie`] lists the wanted keys of an object. After: each key of a record is
//! looked up in it, most of which nobody may want.
//!
//! Only configured keys are in a table, so that records cannot make it slow.

/// Positions of keys, by their hash: a table with at least as many empty places as full ones.
#[derive(Default)]
pub(super) struct KeyTable {
    /// Position plus one; 0 where empty. Its length is a power of two, or 0.
    places: Vec<usize>,
    keys: usize,
}

impl KeyTable {
    /// Adds a key that is not there at the next position; `key_at` tells the key at a position.
    pub(super) fn push<'k>(&mut self, key_at: impl Fn(usize) -> &'k str) {
        self.keys += 1;
        if self.places.len() < 2 * self.keys {
            self.places = vec![0; (4 * self.keys).next_power_of_two()];
            (0..self.keys).for_each(|position| self.enter(position, key_at(position)));
        } else {
            self.enter(self.keys - 1, key_at(self.keys - 1));
        }
    }

    fn enter(&mut self, position: usize, key: &str) {
        let empty = probes(key, self.places.len()).find(|place| self.places[*place] == 0);
        self.places[empty.expect("half of the table is empty")] = position + 1;
    }

    /// Returns the position of a key; `key_at` tells the key at a position.
    #[inline]
    pub(super) fn find<'k>(&self, key: &str, key_at: impl Fn(usize) -> &'k str) -> Option<usize> {
        if self.places.is_empty() {
            return None;
        }
        probes(key, self.places.len())
            .map_while(|place| self.places[place].checked_sub(1))
            .find(|position| key_at(*position) == key)
    }
}

/// Returns the places where a key may be, the first one first.
#[inline]
fn probes(key: &str, length: usize) -> impl Iterator<Item = usize> + use<> {
    // The highest bits: all of a product's factors reach them.
    let shift = (u64::BITS - length.trailing_zeros()).min(u64::BITS - 1);
    let first = usize::try_from(hash(key) >> shift).expect("it is below the length");
    (first..).take(length).map(move |place| place & (length - 1))
}

/// Mixes eight bytes at a time, as the hash of Firefox and `rustc` does.
#[inline]
fn hash(key: &str) -> u64 {
    const FACTOR: u64 = 0xf135_7aea_2e62_a9c5;
    let bytes = key.as_bytes();
    let (words, rest) = bytes.as_chunks();
    let add = |hash: u64, word: u64| (hash.rotate_left(26) ^ word).wrapping_mul(FACTOR);
    let hash =
        words.iter().fold(bytes.len() as u64, |hash, word| add(hash, u64::from_le_bytes(*word)));
    let rest = rest.iter().fold(0, |word, byte| word << 8 | u64::from(*byte));
    let hash = add(hash, rest);
    (hash ^ hash >> 32).wrapping_mul(FACTOR)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use driftd_fixtures::trials::cases;
    use proptest::prelude::*;

    use super::*;

    fn table(keys: &[String]) -> KeyTable {
        let mut table = KeyTable::default();
        for _ in keys {
            table.push(|position| &keys[position]);
        }
        table
    }

    /// Returns how many keys are compared to find each, on average, and at most.
    fn compared(keys: &[String]) -> (f64, usize) {
        let table = table(keys);
        let compared = keys.iter().map(|key| {
            let count = std::cell::Cell::new(0);
            let found = table.find(key, |position| {
                count.set(count.get() + 1);
                &keys[position]
            });
            assert!(found.is_some());
            count.get()
        });
        let all: Vec<usize> = compared.collect();
        let mean = all.iter().sum::<usize>() as f64 / all.len() as f64;
        (mean, all.into_iter().max().unwrap_or(0))
    }

    #[test]
    fn names_of_one_pattern_are_found_in_few_looks() {
        type Name = fn(usize) -> String;
        let patterns: [(usize, Name); 6] = [
            (100, |n| format!("feature_{n:02}_mean_30d")),
            (365, |n| format!("user_amount_lag_{n}_days_zscore")),
            (1_000, |n| format!("customer_{n:04}_normalized")),
            (5_000, |n| format!("feature_{n:04}")),
            (3_000, |n| format!("f{n}")),
            (2_000, |n| format!("{n:08}{n:08}")),
        ];
        for (count, name) in patterns {
            let keys: Vec<String> = (0..count).map(name).collect();
            let (mean, most) = compared(&keys);
            assert!(mean < 2.0 && most < 20, "{}: {mean} on average, {most} at most", keys[0]);
        }
    }

    proptest! {
        #![proptest_config(cases(200))]

        #[test]
        fn every_key_is_found_and_nothing_else(
            keys in prop::collection::btree_set("[a-c]{0,3}|[a-b]{0,20}|.{0,4}", 0..40),
            others in prop::collection::btree_set("[a-c]{0,3}|[a-b]{0,20}|.{0,4}", 0..40),
        ) {
            let keys: Vec<String> = keys.into_iter().collect();
            let table = table(&keys);
            let find = |key: &str| table.find(key, |position| &keys[position]);
            for (position, key) in keys.iter().enumerate() {
                prop_assert_eq!(find(key), Some(position));
            }
            let known: BTreeSet<&String> = keys.iter().collect();
            for other in others.iter().filter(|other| !known.contains(other)) {
                prop_assert_eq!(find(other), None);
            }
        }
    }

    #[test]
    fn a_table_without_keys_finds_nothing() {
        assert_eq!(KeyTable::default().find("a", |_| unreachable!("there is none")), None);
    }
}
