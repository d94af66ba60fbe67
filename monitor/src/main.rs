//! The `driftd` binary: everything is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    driftd::cli::main()
}
