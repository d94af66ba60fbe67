//! The frozen edges of one numeric feature, laid out once so that every kernel only loads and
//! compares.
//!
//! Before: the caller's sorted edges. After: [`crate::scalar`] and the vector kernels. Owns the
//! layouts and the promise that an index which a kernel computes stays inside them; does not count.

use std::{array, fmt};

use crate::number::Number;

/// Edges that a table holds at most: 16 groups of 8 leaves of 8 keys, searched in three levels.
pub const EDGES_MAX: usize = 1_024;

/// Edges up to which comparing with all of them beats a search.
pub(crate) const FLAT_EDGES_MAX: usize = 16;

/// Keys of the flat layout: a power of two, for the binary search.
pub(crate) const FLAT_KEYS: usize = 32;

/// Keys in a leaf, and leaves in a group: one or two vector compares.
pub(crate) const FAN_OUT: usize = 8;
/// Groups of leaves; their separators fit in registers.
pub(crate) const GROUPS: usize = 16;
/// One leaf more than the groups have: reached above the last separator, it makes room for ±∞.
pub(crate) const LEAVES: usize = GROUPS * FAN_OUT + 1;
/// Keys that a binary search reaches, and one: a power of two.
pub(crate) const SEARCHED_KEYS: usize = GROUPS * FAN_OUT * FAN_OUT;
/// All keys.
pub(crate) const KEYS: usize = LEAVES * FAN_OUT;
/// Cells over the keys, the key cells included.
pub(crate) const KEY_CELLS: usize = 2 * KEYS + 1;

const _: () = assert!(FLAT_EDGES_MAX + 2 <= FLAT_KEYS, "the keys must hold both infinities too");
// −∞ and +∞ are keys beside the edges.
const _: () = assert!(EDGES_MAX + 2 <= KEYS, "the keys must hold every edge and both infinities");

/// Why edges were refused. Every index is that of the edge in the caller's slice.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum EdgeError {
    /// There is nothing to compare with.
    Empty,
    /// More edges than [`EDGES_MAX`].
    TooMany {
        /// How many were given.
        count: usize,
    },
    /// An edge is NaN or infinite.
    NotFinite {
        /// Which edge.
        index: usize,
        /// Its value.
        value: f64,
    },
    /// An edge is not above the one before it; −0.0 and 0.0 are equal.
    NotIncreasing {
        /// Which edge.
        index: usize,
        /// Its value.
        value: f64,
        /// The value of the edge before it.
        previous: f64,
    },
}

impl fmt::Display for EdgeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Empty => write!(f, "no edges; at least one is needed"),
            Self::TooMany { count } => write!(f, "{count} edges; at most {EDGES_MAX} are allowed"),
            Self::NotFinite { index, value } => {
                write!(f, "edge {index} is {value}; edges must be finite")
            }
            Self::NotIncreasing { index, value, previous } => write!(
                f,
                "edge {index} ({value}) is not above the edge before it ({previous}); \
                 edges must be sorted and distinct"
            ),
        }
    }
}

impl std::error::Error for EdgeError {}

/// The frozen edges of a numeric feature, ready to count against: 1 to [`EDGES_MAX`] sorted,
/// distinct, finite numbers.
///
/// Takes about 9 kB for `f64` and 5 kB for `f32`, or a few hundred bytes for up to 16 edges.
#[derive(Clone, Debug)]
pub struct EdgeTable<T> {
    edge_count: usize,
    layout: Layout<T>,
}

/// How the edges lie in memory.
#[derive(Clone, Debug)]
pub(crate) enum Layout<T> {
    /// Few edges: each value meets all of them.
    Flat(Box<Flat<T>>),
    /// Many edges: each value meets 4 + 8 + 8 keys.
    Tree(Box<Tree<T>>),
}

/// Up to [`FLAT_EDGES_MAX`] edges between −∞ and +∞; the rest is NaN, which no value is above or
/// equal to.
#[derive(Clone, Debug)]
pub(crate) struct Flat<T> {
    /// How many keys are not NaN.
    #[cfg_attr(
        not(target_arch = "x86_64"),
        expect(dead_code, reason = "only a vector kernel saves time by knowing it")
    )]
    pub(crate) key_count: usize,
    /// −∞, the edges, +∞, NaN….
    pub(crate) keys: [T; FLAT_KEYS],
}

/// Keys in leaves of 8, the last key of each leaf again as a separator, the last separator of each
/// group again as a top.
///
/// A value goes into the group whose index is the number of tops below the value, then likewise
/// into a leaf. The numbers of keys below and at or below it there make its cell. A missing key is
/// NaN: no value is above or equal to it, so the way never leads past the keys.
#[derive(Clone, Debug)]
#[repr(C, align(64))]
pub(crate) struct Tree<T> {
    /// The last separator of every group but the last, in the order of a binary search: node `i`
    /// leads to node `2i`, or `2i + 1` when the value is above it; nodes 16 and on are the groups.
    /// Node 0 is unused. The last group needs no top: its separators lead on to the leaf behind it.
    pub(crate) tops: [T; GROUPS],
    /// `separators[g][i]` is the last key of leaf `8g + i`.
    pub(crate) separators: [[T; FAN_OUT]; GROUPS],
    /// The leaves: −∞, the edges, +∞, NaN….
    pub(crate) leaves: [[T; FAN_OUT]; LEAVES],
}

impl<T: Number> EdgeTable<T> {
    /// Most bytes that a table takes.
    pub const BYTES_MAX: usize = size_of::<Self>() + size_of::<Tree<T>>();

    /// Returns the bytes that this one takes.
    pub fn bytes(&self) -> usize {
        let layout = match &self.layout {
            Layout::Flat(_) => size_of::<Flat<T>>(),
            Layout::Tree(_) => size_of::<Tree<T>>(),
        };
        size_of::<Self>() + layout
    }

    /// Lays out `edges` for the kernels.
    pub fn try_new(edges: &[T]) -> Result<Self, EdgeError> {
        check(edges)?;
        let layout = if edges.len() <= FLAT_EDGES_MAX {
            Layout::Flat(Box::new(Flat { key_count: edges.len() + 2, keys: keys(edges) }))
        } else {
            Layout::Tree(Box::new(Tree::new(edges)))
        };
        Ok(Self { edge_count: edges.len(), layout })
    }

    /// Returns the edges, ascending.
    pub fn edges(&self) -> &[T] {
        let keys: &[T] = match &self.layout {
            Layout::Flat(flat) => &flat.keys,
            Layout::Tree(tree) => tree.leaves.as_flattened(),
        };
        &keys[1..=self.edge_count]
    }

    /// Returns the number of cells: one for each edge, one before each edge and one after the last.
    pub fn cells(&self) -> usize {
        2 * self.edge_count + 1
    }

    pub(crate) fn layout(&self) -> &Layout<T> {
        &self.layout
    }
}

impl<T: Number> Tree<T> {
    fn new(edges: &[T]) -> Self {
        let keys: [T; KEYS] = keys(edges);
        let leaves = array::from_fn(|leaf| array::from_fn(|i| keys[leaf * FAN_OUT + i]));
        let last = |leaf: usize| keys[leaf * FAN_OUT + FAN_OUT - 1];
        let separators = array::from_fn(|group| array::from_fn(|i| last(group * FAN_OUT + i)));
        let mut tops = [T::NAN; GROUPS];
        for (node, top) in tops.iter_mut().enumerate().skip(1) {
            // The nodes of a level are the odd multiples of its step.
            let step = GROUPS >> (node.ilog2() + 1);
            let groups_before = (2 * (node - (1 << node.ilog2())) + 1) * step;
            *top = last(groups_before * FAN_OUT - 1);
        }
        Self { tops, separators, leaves }
    }
}

fn check<T: Number>(edges: &[T]) -> Result<(), EdgeError> {
    if edges.is_empty() {
        return Err(EdgeError::Empty);
    }
    if EDGES_MAX < edges.len() {
        return Err(EdgeError::TooMany { count: edges.len() });
    }
    if let Some(index) = edges.iter().position(|edge| !edge.is_finite()) {
        return Err(EdgeError::NotFinite { index, value: edges[index].to_f64() });
    }
    if let Some(before) = edges.windows(2).position(|pair| pair[1] <= pair[0]) {
        let (previous, value) = (edges[before].to_f64(), edges[before + 1].to_f64());
        return Err(EdgeError::NotIncreasing { index: before + 1, value, previous });
    }
    Ok(())
}

/// Returns −∞, the edges and +∞, padded with NaN.
fn keys<T: Number, const N: usize>(edges: &[T]) -> [T; N] {
    let mut keys = [T::NAN; N];
    keys[0] = T::NEG_INFINITY;
    keys[1..=edges.len()].copy_from_slice(edges);
    keys[edges.len() + 1] = T::INFINITY;
    keys
}
