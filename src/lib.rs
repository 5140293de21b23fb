//! The map of xp: what each layer is for, and what it must not do.
//!
//! ```text
//! x-platform.yml ─ model::manifest ─▶ Manifest
//!                  flow::sources   ─▶ commit of every service      one connection per git remote
//!                  flow::survey    ─▶ Inventory                    what registry and engine have
//!                  model::plan     ─▶ Plan                         pure: decides everything
//!                  execute         ─▶ outcome of every unit        decides nothing
//!                  report          ─▶ terminal, log files, JSON lines, pages of past runs
//! ```
//!
//! | layer | contents | must not |
//! |---|---|---|
//! | `base` | errors, plurals, suggestions, tables, quoting, atomic files | know anything about xp |
//! | `model` | the domain: manifest, sources, images, recipes, plan, lock, deploy, status, provenance, events | do I/O, or read the clock or the environment |
//! | `store` | the `.xp` folder and the lock file: layout, claim, cached facts, results of phases, past runs, and whether the last one was killed | be required: a missing fact is queried again |
//! | `client` | git (git2), the engine (bollard), registries (reqwest), clusters (kubectl), compose projects (`docker compose`), signatures (`cosign`); no other layer uses those crates | know about services |
//! | `cli` | clap definitions, help, examples, manual pages, completion of a partial line | do any work |
//! | `report` | rows, lines, log files, the final table, pages of past runs: the only place that draws | do any work |
//! | `host` | flags and environment as `Settings`, read once; the terminal, streams, signals, and changes of files | know about services |
//! | `execute` | runs the steps of a plan as soon as the steps that they need are done | choose what is done |
//! | `flow` | use cases: the commits to build (`sources`), existing images (`survey`), plan, build, lock, deploy, diagnose | draw, or know about clap |
//! | `command` | one file per subcommand: arguments to a request, the flow, the output | decide anything |
//! | `testing` | API for benchmarks and tests outside the crate | be called by other modules |
//! | `fuzzing` | entry points of the fuzz targets; compiled for fuzzing and unit tests only | be called by other modules |
//!
//! A layer imports only the layers that `LAYERS` in `tests/architecture.rs` lists for it. "Pure" means no client,
//! async runtime, clock, environment or file system; the same test enforces it.
//!
//! Terms that have two meanings elsewhere: the *manifest* is x-platform.yml, and a registry has *image manifests*; a
//! registry has *repositories*, and git has *remotes* and *working copies*; a *builder* is an image with a toolchain, and
//! the *engine* runs containers; a *plugin* is an image that performs a step by its own entrypoint, and a *sidecar* a
//! container that runs beside the scripts.

#![warn(missing_docs)]
// User-facing failures are errors with hints, not panics.
#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::expect_used))]

mod base;
mod cli;
mod client;
mod command;
mod execute;
mod flow;
#[cfg(any(fuzzing, test))]
pub mod fuzzing;
mod host;
mod model;
mod report;
mod store;
#[doc(hidden)]
pub mod testing;

pub use command::run;
