//! The two widths of numbers that are counted, and nothing a kernel needs beyond them.
//!
//! Owns the sealed trait behind [`Number`], through which generic code reaches the kernels of a
//! width.

use crate::backend::{Backend, Kernels};

/// A number the kernels count: `f32` or `f64`. Sealed.
pub trait Number: Sealed {}

/// What the crate needs of a [`Number`].
pub trait Sealed: Copy + PartialOrd + Sized + 'static {
    /// Not a number: compares false with everything.
    const NAN: Self;
    /// +∞.
    const INFINITY: Self;
    /// −∞.
    const NEG_INFINITY: Self;

    /// Returns whether the number is neither NaN nor infinite.
    fn is_finite(self) -> bool;

    /// Returns the number in double precision, which is exact.
    fn to_f64(self) -> f64;

    /// Returns the counting functions of `backend`, or none when this machine lacks it.
    fn kernels(backend: Backend) -> Option<Kernels<Self>>;
}

impl Number for f32 {}
impl Number for f64 {}

impl Sealed for f32 {
    const NAN: Self = Self::NAN;
    const INFINITY: Self = Self::INFINITY;
    const NEG_INFINITY: Self = Self::NEG_INFINITY;

    fn is_finite(self) -> bool {
        self.is_finite()
    }

    fn to_f64(self) -> f64 {
        f64::from(self)
    }

    fn kernels(backend: Backend) -> Option<Kernels<Self>> {
        match backend {
            Backend::Scalar => Some(crate::scalar::kernels()),
            #[cfg(target_arch = "x86_64")]
            Backend::Avx2 => crate::x86_64::avx2::kernels_f32(),
            #[cfg(not(target_arch = "x86_64"))]
            Backend::Avx2 => None,
        }
    }
}

impl Sealed for f64 {
    const NAN: Self = Self::NAN;
    const INFINITY: Self = Self::INFINITY;
    const NEG_INFINITY: Self = Self::NEG_INFINITY;

    fn is_finite(self) -> bool {
        self.is_finite()
    }

    fn to_f64(self) -> f64 {
        self
    }

    fn kernels(backend: Backend) -> Option<Kernels<Self>> {
        match backend {
            Backend::Scalar => Some(crate::scalar::kernels()),
            #[cfg(target_arch = "x86_64")]
            Backend::Avx2 => crate::x86_64::avx2::kernels_f64(),
            #[cfg(not(target_arch = "x86_64"))]
            Backend::Avx2 => None,
        }
    }
}
