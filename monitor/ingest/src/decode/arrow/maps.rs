//! The entries of maps that paths want, all of them found in one pass over the keys.
//!
//! Before: [`super::locate`] has an array of maps, one a row. After: [`super::columns`] looks up
//! what it would find by going through a row's entries once for each path. Where there is anything
//! wrong with entries nothing is found here, for it may be that nobody reads them.

use std::collections::BTreeMap;

use super::value::{Offsets, Texts};

/// Most entries that are kept at a time, of all maps and keys of a record batch: 1 MiB.
const ENTRIES_MAX: usize = 1 << 18;

/// What they take at most: the memory grows by doubling.
pub(super) const ENTRIES_BYTES_MAX: usize = 2 * ENTRIES_MAX * size_of::<u32>();

/// Stands for no entry.
const NONE: u32 = u32::MAX;

/// The entries of one record batch: of each array of maps those of its first row, one a key, then
/// those of the next.
#[derive(Default)]
pub(super) struct Entries(Vec<u32>);

/// One array of maps.
#[derive(Clone, Copy)]
pub(super) struct Maps<'a> {
    pub(super) rows: usize,
    pub(super) offsets: Offsets<'a>,
    pub(super) keys: Texts<'a>,
    /// How many entries there are of all rows.
    pub(super) length: usize,
}

/// The wanted keys of an array of maps, and where its entries begin.
pub(super) struct Wanted<'k> {
    start: usize,
    order: BTreeMap<&'k str, usize>,
}

/// Where the entries with one key are.
#[derive(Clone, Copy, Debug)]
pub(super) struct Known {
    /// That of the first row.
    first: usize,
    /// From one row to the next.
    step: usize,
}

impl Wanted<'_> {
    /// Returns where the entries with a key are.
    pub(super) fn known(&self, key: &str) -> Option<Known> {
        let place = self.order.get(key)?;
        Some(Known { first: self.start + place, step: self.order.len() })
    }
}

impl Entries {
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// Finds the last entry of each row with each of the keys; `None` where that is no less work
    /// than to look for one key after the other, or too much to keep, or cannot be done.
    pub(super) fn find<'k>(
        &mut self,
        maps: &Maps<'_>,
        keys: impl Iterator<Item = &'k str>,
        data: &[&[u8]],
    ) -> Option<Wanted<'k>> {
        let mut order: BTreeMap<&str, usize> = keys.map(|key| (key, 0)).collect();
        order.values_mut().enumerate().for_each(|(place, it)| *it = place);
        let start = self.0.len();
        let end = maps.rows.checked_mul(order.len()).and_then(|it| it.checked_add(start))?;
        (1 < order.len() && end <= ENTRIES_MAX).then_some(())?;
        self.0.resize(end, NONE);
        let found = fill(&mut self.0[start..], maps, &order, data);
        if found.is_none() {
            self.0.truncate(start);
        }
        found.map(|()| Wanted { start, order })
    }

    /// Returns the entry of a row.
    pub(super) fn get(&self, known: Known, row: usize) -> Option<usize> {
        let entry = self.0[known.first + row * known.step];
        usize::try_from(entry).ok().filter(|_| entry != NONE)
    }
}

/// Goes through the entries of each row.
fn fill(
    entries: &mut [u32],
    maps: &Maps<'_>,
    order: &BTreeMap<&str, usize>,
    data: &[&[u8]],
) -> Option<()> {
    for (row, found) in entries.chunks_exact_mut(order.len()).enumerate() {
        let places = maps.offsets.get(row).ok().filter(|it| it.end <= maps.length)?;
        for entry in places {
            let key = maps.keys.get(entry, data).ok()?;
            // A key that is not UTF-8 is none that a path names.
            let place = std::str::from_utf8(key).ok().and_then(|key| order.get(key));
            if let Some(place) = place {
                // Of repeated keys the last counts.
                found[*place] = u32::try_from(entry).ok().filter(|it| *it != NONE)?;
            }
        }
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &[u8] = b"abaca\xff";

    /// Keys of one byte each, of rows that begin at these places.
    fn find(entries: &mut Entries, places: &[i32], wanted: &[&str]) -> Vec<Vec<Option<usize>>> {
        let offsets: Vec<[u8; 4]> = places.iter().map(|it| it.to_le_bytes()).collect();
        let letters: Vec<[u8; 4]> = (0..=6_i32).map(i32::to_le_bytes).collect();
        let maps = Maps {
            rows: places.len() - 1,
            offsets: Offsets::Small(&offsets),
            keys: Texts::Plain { offsets: Offsets::Small(&letters), data: TEXT },
            length: 6,
        };
        let found = entries.find(&maps, wanted.iter().copied(), &[]);
        let Some(found) = found else { return Vec::new() };
        let row = |row| {
            let entry = |key: &&str| entries.get(found.known(key).unwrap(), row);
            wanted.iter().map(entry).collect()
        };
        (0..maps.rows).map(row).collect()
    }

    #[test]
    fn of_repeated_keys_the_last_of_each_row_is_found() {
        let mut entries = Entries::default();
        let found = find(&mut entries, &[0, 3, 3, 6], &["b", "a", "z"]);
        let expected = [[Some(1), Some(2), None], [None, None, None], [None, Some(4), None]];
        assert_eq!(found, expected);
        // Another array's lie behind them.
        let found = find(&mut entries, &[1, 4], &["c", "b"]);
        assert_eq!((found, entries.0.len()), (vec![vec![Some(3), Some(1)]], 9 + 2));
    }

    #[test]
    fn nothing_is_kept_of_what_is_wrong_or_too_much_or_one_key() {
        let mut entries = Entries::default();
        for (places, wanted) in [
            (&[0, 2, 7][..], &["a", "b"][..]),
            (&[0, 2, 1], &["a", "b"]),
            (&[-1, 2], &["a", "b"]),
            (&[0, 3], &["a"]),
            (&[0, 3], &["a", "a"]),
            (&vec![0; ENTRIES_MAX / 2 + 2], &["a", "b"]),
        ] {
            assert!(find(&mut entries, places, wanted).is_empty());
            assert!(entries.0.is_empty());
        }
        let most = vec![0; ENTRIES_MAX / 2 + 1];
        assert_eq!(find(&mut entries, &most, &["a", "b"]).len(), ENTRIES_MAX / 2);
        assert!(entries.0.capacity() * size_of::<u32>() <= ENTRIES_BYTES_MAX);
    }
}
