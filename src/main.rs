//! The `xp` binary; everything is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    xp::run()
}
