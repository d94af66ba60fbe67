//! Kernels for x86-64, one file per instruction set.

pub(crate) mod avx2;
