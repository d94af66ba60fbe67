//! Counts by cell of a grid, as narrow as they can be.
//!
//! Before: the kernels add to them. After: [`crate::counts`] holds them for a feature. A grid has
//! up to two thousand cells, and each open window and each reference counts a feature in all of
//! them: with eight bytes a count they were the largest part of a process.

use crate::counts::MergeError;

/// Counts by cell. Each takes four bytes until so many values were counted that one could overflow;
/// nothing but [`CellCounts::bytes`] tells.
#[derive(Clone, Debug)]
pub struct CellCounts {
    /// Values in all cells.
    total: u64,
    counts: Counts,
}

#[derive(Clone, Debug)]
enum Counts {
    /// At most `u32::MAX` values.
    Narrow(Box<[u32]>),
    Wide(Box<[u64]>),
}

/// Counts that kernels may add to.
#[derive(Debug)]
pub(crate) enum CellsMut<'a> {
    Narrow(&'a mut [u32]),
    Wide(&'a mut [u64]),
}

impl CellCounts {
    /// Returns counts of nothing.
    pub fn empty(cells: usize) -> Self {
        Self { total: 0, counts: Counts::Narrow(vec![0; cells].into()) }
    }

    /// Returns the number of cells.
    #[expect(clippy::len_without_is_empty, reason = "a grid has a cell at least")]
    pub fn len(&self) -> usize {
        match &self.counts {
            Counts::Narrow(counts) => counts.len(),
            Counts::Wide(counts) => counts.len(),
        }
    }

    /// Returns the values in all cells.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// Returns the count of one cell.
    pub fn get(&self, cell: usize) -> Option<u64> {
        match &self.counts {
            Counts::Narrow(counts) => counts.get(cell).copied().map(u64::from),
            Counts::Wide(counts) => counts.get(cell).copied(),
        }
    }

    /// Returns the counts in the order of the cells.
    pub fn iter(&self) -> impl Iterator<Item = u64> {
        let (narrow, wide): (&[u32], &[u64]) = match &self.counts {
            Counts::Narrow(counts) => (counts, &[]),
            Counts::Wide(counts) => (&[], counts),
        };
        narrow.iter().copied().map(u64::from).chain(wide.iter().copied())
    }

    /// Returns the memory that the counts take.
    pub fn bytes(&self) -> usize {
        match &self.counts {
            Counts::Narrow(counts) => size_of_val(&**counts),
            Counts::Wide(counts) => size_of_val(&**counts),
        }
    }

    /// Returns the counts for at most `values` more; [`CellCounts::counted`] has to be told then.
    pub(crate) fn room_for(&mut self, values: u64) -> CellsMut<'_> {
        if u64::from(u32::MAX) < self.total.saturating_add(values) {
            self.widen();
        }
        match &mut self.counts {
            Counts::Narrow(counts) => CellsMut::Narrow(counts),
            Counts::Wide(counts) => CellsMut::Wide(counts),
        }
    }

    /// Takes how many values were added to the cells.
    pub(crate) fn counted(&mut self, values: u64) {
        self.total = self.total.saturating_add(values);
    }

    /// Adds the counts of the same cells. On an error nothing was added.
    pub(crate) fn merge(&mut self, other: &Self) -> Result<(), MergeError> {
        let (ours, theirs) = (self.len(), other.len());
        if ours != theirs {
            return Err(MergeError::CellsDiffer { ours, theirs });
        }
        match (self.room_for(other.total), &other.counts) {
            (CellsMut::Narrow(ours), Counts::Narrow(theirs)) => {
                for (sum, count) in ours.iter_mut().zip(theirs) {
                    *sum += count;
                }
            }
            (CellsMut::Narrow(_), Counts::Wide(_)) => {
                // They have room for more values than they count.
                self.widen();
                return self.merge(other);
            }
            (CellsMut::Wide(ours), Counts::Narrow(_) | Counts::Wide(_)) => {
                for (sum, count) in ours.iter_mut().zip(other.iter()) {
                    *sum = sum.saturating_add(count);
                }
            }
        }
        self.counted(other.total);
        Ok(())
    }

    /// Adds one value to a cell.
    pub(crate) fn add_one(&mut self, cell: usize) {
        match self.room_for(1) {
            CellsMut::Narrow(cells) => cells[cell] += 1,
            CellsMut::Wide(cells) => cells[cell] = cells[cell].saturating_add(1),
        }
        self.counted(1);
    }

    /// Takes one value of a cell away.
    ///
    /// # Panics
    /// When the cell counts none.
    pub(crate) fn subtract_one(&mut self, cell: usize) {
        assert_ne!(self.get(cell), Some(0), "only what was added is taken away");
        match &mut self.counts {
            Counts::Narrow(counts) => counts[cell] -= 1,
            Counts::Wide(counts) => counts[cell] -= 1,
        }
        self.total -= 1;
    }

    /// Returns whether all that `other` counts could have been added to these.
    pub(crate) fn covers(&self, other: &Self) -> bool {
        self.len() == other.len() && self.iter().zip(other.iter()).all(|(ours, its)| its <= ours)
    }

    /// Takes away what `other` counts.
    ///
    /// # Panics
    /// When these do not cover it: see [`CellCounts::covers`].
    pub(crate) fn subtract(&mut self, other: &Self) {
        assert!(self.covers(other), "only what was added is taken away");
        match &mut self.counts {
            Counts::Narrow(counts) => {
                for (count, its) in counts.iter_mut().zip(other.iter()) {
                    *count -= u32::try_from(its).expect("no count of theirs is above ours");
                }
            }
            Counts::Wide(counts) => {
                for (count, its) in counts.iter_mut().zip(other.iter()) {
                    *count -= its;
                }
            }
        }
        self.total = self.iter().fold(0, u64::saturating_add);
    }

    fn widen(&mut self) {
        if let Counts::Narrow(counts) = &self.counts {
            let counts = counts.iter().copied().map(u64::from).collect();
            self.counts = Counts::Wide(counts);
        }
    }
}

impl PartialEq for CellCounts {
    fn eq(&self, other: &Self) -> bool {
        self.total == other.total && self.iter().eq(other.iter())
    }
}

impl Eq for CellCounts {}

impl From<Vec<u64>> for CellCounts {
    fn from(counts: Vec<u64>) -> Self {
        let total = counts.iter().copied().fold(0, u64::saturating_add);
        // No count is above the total.
        let narrow: Option<Box<[u32]>> = u32::try_from(total)
            .is_ok()
            .then(|| counts.iter().filter_map(|&count| u32::try_from(count).ok()).collect());
        let counts = narrow.map_or_else(|| Counts::Wide(counts.into()), Counts::Narrow);
        Self { total, counts }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Counts around what fits in four bytes, alone and together.
    fn count() -> impl Strategy<Value = u64> {
        let most = u64::from(u32::MAX);
        prop_oneof![0..3_u64, most - 2..most + 3, most / 2 - 2..most / 2 + 3, Just(u64::MAX)]
    }

    fn is_wide(counts: &CellCounts) -> bool {
        counts.bytes() == counts.len() * size_of::<u64>()
    }

    proptest! {
        #[test]
        fn sums_are_those_of_eight_bytes(
            parts in prop::collection::vec([count(), count(), count()], 1..6),
        ) {
            let (mut sum, mut sums) = (CellCounts::empty(3), [0_u64; 3]);
            for part in parts {
                sum.merge(&part.to_vec().into()).unwrap();
                for (sum, count) in sums.iter_mut().zip(part) {
                    *sum = sum.saturating_add(count);
                }
                prop_assert_eq!(sum.iter().collect::<Vec<_>>(), sums);
                prop_assert_eq!(&sum, &CellCounts::from(sums.to_vec()));
                prop_assert_eq!((sum.get(0), sum.get(2)), (Some(sums[0]), Some(sums[2])));
                prop_assert_eq!((sum.get(3), sum.len()), (None, 3));
            }
        }
    }

    #[test]
    fn counts_are_wide_once_one_may_overflow() {
        let most = u64::from(u32::MAX);
        let mut counts = CellCounts::from(vec![most - 3, 0, 1]);
        assert!(matches!(counts.room_for(2), CellsMut::Narrow(_)));
        assert!(!is_wide(&counts));
        let CellsMut::Wide(cells) = counts.room_for(3) else {
            panic!("three more may be too many")
        };
        cells[1] += 3;
        counts.counted(3);
        assert_eq!(counts, vec![most - 3, 3, 1].into());
        assert!(is_wide(&counts) && is_wide(&CellCounts::from(vec![most - 3, 3, 1])));
    }

    #[test]
    fn room_that_was_not_needed_does_not_show() {
        let mut roomy = CellCounts::empty(2);
        let _room = roomy.room_for(u64::MAX);
        assert!(is_wide(&roomy));
        assert_eq!(roomy, CellCounts::empty(2));
        let mut sum = CellCounts::empty(2);
        sum.merge(&roomy).unwrap();
        assert_eq!(sum, roomy);
        assert!(matches!(sum.merge(&CellCounts::empty(3)), Err(MergeError::CellsDiffer { .. })));
    }
}
