//! Which kernels run: detected on first use, or chosen by the program.
//!
//! Owns the one process-wide choice. Every backend counts the same, so a change between two batches
//! is visible in speed only.

use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicU8, Ordering};

use crate::number::{Number, Sealed};
use crate::table::{Flat, KEY_CELLS, Tree};

/// A set of kernels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    /// Portable code, on every machine.
    Scalar,
    /// 256-bit vectors, on x86-64 machines with AVX2 and POPCNT.
    Avx2,
}

/// The chosen backend is not on this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BackendUnavailable {
    /// What was asked for.
    pub backend: Backend,
}

/// A text names no backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownBackend;

/// Counts per key cell of one block of values; `u32`, so a block is bounded by
/// [`BLOCK_VALUES_MAX`].
pub(crate) type KeyCells = [u32; KEY_CELLS];

/// Values a kernel gets at once: far below what overflows a `u32`, far above what makes the
/// widening show.
pub(crate) const BLOCK_VALUES_MAX: usize = 1 << 18;

/// The counting functions of one backend for one width of numbers.
///
/// Each adds the block's values to the cells over the *keys*: key `i` is at `2i + 1`, and NaN is in
/// cell 0.
#[derive(Clone, Copy)]
pub struct Kernels<T: 'static> {
    pub(crate) flat: fn(&Flat<T>, &[T], &mut KeyCells),
    pub(crate) tree: fn(&Tree<T>, &[T], &mut KeyCells),
}

const UNDETECTED: u8 = 0;
const SCALAR: u8 = 1;
const AVX2: u8 = 2;

/// The choice. It guards no other memory, hence `Relaxed` everywhere.
static SELECTED: AtomicU8 = AtomicU8::new(UNDETECTED);

impl Backend {
    /// Returns the backend's name: `scalar` or `avx2`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Scalar => "scalar",
            Self::Avx2 => "avx2",
        }
    }

    /// Returns whether this machine can run the backend.
    pub(crate) fn is_available(self) -> bool {
        f32::kernels(self).is_some() && f64::kernels(self).is_some()
    }
}

impl FromStr for Backend {
    type Err = UnknownBackend;

    fn from_str(text: &str) -> Result<Self, UnknownBackend> {
        match text {
            "scalar" => Ok(Self::Scalar),
            "avx2" => Ok(Self::Avx2),
            _ => Err(UnknownBackend),
        }
    }
}

impl fmt::Display for BackendUnavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "this machine cannot run the `{}` kernels; use `scalar`", self.backend.as_str())
    }
}

impl std::error::Error for BackendUnavailable {}

impl fmt::Display for UnknownBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no such kernels; use `scalar` or `avx2`")
    }
}

impl std::error::Error for UnknownBackend {}

/// Makes `backend` count from now on, in place of the detected one.
pub fn select(backend: Backend) -> Result<(), BackendUnavailable> {
    if !backend.is_available() {
        return Err(BackendUnavailable { backend });
    }
    store(backend);
    Ok(())
}

/// Returns the name of the backend that counts: `scalar` or `avx2`.
pub fn backend() -> &'static str {
    selected().as_str()
}

/// Returns the counting functions in use for `T`.
pub(crate) fn kernels<T: Number>() -> Kernels<T> {
    T::kernels(selected()).expect("only an available backend is ever stored")
}

fn selected() -> Backend {
    match SELECTED.load(Ordering::Relaxed) {
        SCALAR => Backend::Scalar,
        AVX2 => Backend::Avx2,
        _ => {
            let best = if Backend::Avx2.is_available() { Backend::Avx2 } else { Backend::Scalar };
            store(best);
            best
        }
    }
}

fn store(backend: Backend) {
    let code = match backend {
        Backend::Scalar => SCALAR,
        Backend::Avx2 => AVX2,
    };
    SELECTED.store(code, Ordering::Relaxed);
}
