//! Module map: the purpose of each module, and what it must not do.
//!
//! ```text
//! x-platform.yml ─ manifest ─▶ Manifest
//!                  resolve  ─▶ commit of every service      one connection per git remote
//!                  history  ─▶ last commit below `git.path` no connection if cached
//!                  inspect  ─▶ Inventory                    state of registry and engine
//!                  plan     ─▶ Plan                         pure; makes all decisions
//!                  execute  ─▶ result of each unit          makes no decisions
//!                  report   ─▶ terminal, log files, JSON lines, reports of past runs
//! ```
//!
//! | module | purpose | must not |
//! |---|---|---|
//! | [`cli`] | clap definitions; their doc comments are the help text | have logic |
//! | [`settings`] | reads flags and environment into [`settings::Settings`], once | be bypassed: nothing else reads the environment |
//! | [`command`] | one file per subcommand, which connects the stages | make decisions, draw bars, use a client's crate |
//! | [`completion`] | shell completion | query a server, show an error |
//! | [`man`] | manual pages, generated from the clap definitions | have logic |
//! | [`manifest`] | reads `x-platform.yml` into [`manifest::Manifest`]: validation, placeholders, schema | use the environment, the clock or a client |
//! | [`source`] | git URLs, references, commits | be impure |
//! | [`image`] | registries, repositories, tags, digests | be impure |
//! | [`recipe`] | the inputs of a build and their digests | be impure |
//! | [`lock`] | `x-platform.lock`: format, requirements, differences | be impure, except for reading and writing its file |
//! | [`deploy`] | images in kustomize files, the overlay around them, rendered objects, the record of an environment | be impure |
//! | [`plan`] | turns inventory and manifest into steps; displays them | be impure |
//! | [`graph`] | dependencies between services as text and diagrams, for `xp graph` | be impure |
//! | [`init`] | generates a manifest for `xp init` from compose, Skaffold, submodules, west and repo files | be impure |
//! | [`status`] | status of each service, for `xp status` | be impure |
//! | [`doctor`] | problems of a platform's surroundings and their fixes, for `xp doctor` | be impure |
//! | [`event`] | events as data | be impure |
//! | [`record`] | events and plans as JSON, for other programs | be impure |
//! | [`timeline`] | timing of a run's units, critical path, earlier durations | be impure |
//! | [`shell`] | quoting for shells | be impure |
//! | [`words`] | plurals | be impure |
//! | [`error`] | exit codes, causes, hints, retry notices | be impure |
//! | [`resolve`] | resolves references of remotes to commits | clone |
//! | [`discover`] | finds working copies and files in a folder, for `xp init` | change anything |
//! | [`history`] | finds the last commit that touched a service's folders | change files of a working copy |
//! | [`local`] | finds what `--local` builds from working copies | change anything |
//! | [`cache`] | the cache folder, and cached facts | be required: a missing fact is queried again |
//! | [`fuzzing`] | fuzz targets: parsers of untrusted input and their properties; only compiled for fuzzing | be called |
//! | [`files`] | atomic file writes | know the content |
//! | [`task`] | results of runtime tasks | do work |
//! | [`job`] | session and process group of xp, foreground group of a terminal | change them |
//! | [`inspect`] | queries registry, engine and builder folders for the inventory | change anything |
//! | [`examine`] | collects facts about machine, engine, registries, remotes and working copies for [`doctor`] | judge them, or leave anything behind |
//! | [`runs`] | folders of past runs, with records and logs | draw, or interpret a run |
//! | [`execute`] | runs the steps of a plan as soon as their dependencies are done | choose steps |
//! | [`console`] | attaches the caller's terminal, streams and signals to a program in a container | know about services |
//! | [`report`] | bars, lines, log files, the summary table, reports of past runs; the only module that draws | do work |
//! | [`client`] | git (git2), the engine (bollard), registries (reqwest), clusters (kubectl): nothing else uses those crates, or runs kubectl | know about services |
//!
//! "Pure" means: no client, no async runtime, no clock, no environment, no file system. The test
//! `architecture` enforces all of this.
//!
//! Ambiguous terms: the *manifest* is x-platform.yml, a registry has *image manifests*; a *repository* is in
//! a registry, git has *remotes* and *working copies*; a *builder* is an image with a toolchain, the *engine*
//! runs containers.

#![warn(missing_docs)]
// User-facing failures are errors with hints, not panics.
#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::expect_used))]

pub mod cache;
pub mod cli;
pub mod client;
pub mod command;
pub mod completion;
pub mod console;
pub mod deploy;
pub mod discover;
pub mod doctor;
pub mod error;
pub mod event;
pub mod examine;
pub mod execute;
pub mod files;
#[cfg(fuzzing)]
pub mod fuzzing;
pub mod graph;
pub mod history;
pub mod image;
pub mod init;
pub mod inspect;
pub mod job;
pub mod local;
pub mod lock;
pub mod man;
pub mod manifest;
pub mod plan;
pub mod recipe;
pub mod record;
pub mod report;
pub mod resolve;
pub mod runs;
pub mod settings;
pub mod shell;
pub mod source;
pub mod status;
pub mod task;
pub mod timeline;
pub mod words;

pub use command::run;
