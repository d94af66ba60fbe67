//! The `driftd` binary: everything is in the library.

use std::process::ExitCode;

use tikv_jemallocator::Jemalloc;

/// The allocator of the client library, too. That of glibc has arenas for many threads at once, and
/// keeps in each what a closed window has freed: 281 MiB where this one has 176, with 1,000
/// features and 100 windows of history.
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

fn main() -> ExitCode {
    driftd::cli::main()
}
