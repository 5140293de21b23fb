//! Sources from plugins: which commit a reference is, and the files of a commit.
//!
//! A plugin is called by starting its image with the command `resolve` or `fetch`. It reads `/config/<command>.json` and
//! the credentials in `/run/secrets`, and writes to `/out`. It runs as root of its container; what it wrote is copied
//! out, so that its files belong to the caller.

pub(in crate::execute) mod call;
mod fetch;
mod resolve;

pub use fetch::run_fetch;
pub use resolve::{PluginCallError, resolve};
