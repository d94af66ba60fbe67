//! The two widths of counts that kernels add to.

/// A count: `u32` or `u64`. Sealed.
pub trait Count: Sealed {}

/// What the crate needs of a [`Count`].
pub trait Sealed: Copy {
    /// Counts `more` values.
    fn add(&mut self, more: u32);
}

impl Count for u32 {}
impl Count for u64 {}

impl Sealed for u32 {
    fn add(&mut self, more: u32) {
        *self += more;
    }
}

impl Sealed for u64 {
    fn add(&mut self, more: u32) {
        *self += Self::from(more);
    }
}
