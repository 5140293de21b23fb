//! `xp __worker`

use std::io::Write as _;
use std::path::Path;

use crate::base::error::Failure;
use crate::flow::interrupts::Interrupts;
use crate::flow::worker;
use crate::host::settings::Settings;

/// Runs the unit of a document.
pub async fn run(settings: &Settings, file: &Path) -> Result<(), Failure> {
    let interrupts = Interrupts::listen()?;
    let write = |lines: &str| {
        let mut stdout = std::io::stdout().lock();
        // Without a reader, nothing can be reported.
        _ = stdout
            .write_all(lines.as_bytes())
            .and_then(|()| stdout.flush());
    };
    worker::run(settings, file, interrupts.cancel, write).await
}
