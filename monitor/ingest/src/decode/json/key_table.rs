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
}

impl KeyTable {
    /// Makes a table of distinct keys.
    pub(super) fn of<'k>(keys: impl ExactSizeIterator<Item = &'k str>) -> Self {
        let mut places = vec![0; (2 * keys.len()).next_power_of_two()];
        for (position, key) in keys.enumerate() {
            let mut probes = probes(key, places.len());
            let empty = probes.find(|place| places[*place] == 0);
            places[empty.expect("half of the table is empty")] = position + 1;
        }
        Self { places }
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
    let first = usize::try_from(hash(key) >> 32).expect("32 bits fit");
    (first..).take(length).map(move |place| place & (length - 1))
}

/// Mixes the length and the first and last eight bytes (Fibonacci hashing: Knuth, The Art of
/// Computer Programming, vol. 3, §6.4). Keys that differ elsewhere meet, and are compared.
#[inline]
fn hash(key: &str) -> u64 {
    let bytes = key.as_bytes();
    let word = |bytes: Option<&[u8; 8]>| bytes.map(|bytes| u64::from_le_bytes(*bytes));
    let (first, last) = match word(bytes.first_chunk()).zip(word(bytes.last_chunk())) {
        Some(words) => words,
        None => (bytes.iter().fold(0, |word, byte| word << 8 | u64::from(*byte)), 0),
    };
    let mixed = first ^ last.rotate_left(29) ^ (bytes.len() as u64).rotate_left(58);
    mixed.wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use driftd_fixtures::trials::cases;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(cases(200))]

        #[test]
        fn every_key_is_found_and_nothing_else(
            keys in prop::collection::btree_set("[a-c]{0,3}|[a-b]{0,20}|.{0,4}", 0..40),
            others in prop::collection::btree_set("[a-c]{0,3}|[a-b]{0,20}|.{0,4}", 0..40),
        ) {
            let keys: Vec<String> = keys.into_iter().collect();
            let table = KeyTable::of(keys.iter().map(|key| &**key));
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
        assert_eq!(KeyTable::of([].into_iter()).find("a", |_| unreachable!("nor here")), None);
    }
}
