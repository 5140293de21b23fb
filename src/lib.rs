//! The map of xp: what each module is for, and what it must not do.
//!
//! ```text
//! x-platform.yml ─ manifest ─▶ Manifest
//!                  resolve  ─▶ commit of every service      one connection per git remote
//!                  history  ─▶ last commit below `git.path` no connection where it is known
//!                  inspect  ─▶ Inventory                    what registry and engine have
//!                  plan     ─▶ Plan                         pure: decides everything
//!                  execute  ─▶ how each unit ended          decides nothing
//!                  report   ─▶ terminal, log files, lines of JSON, pages of past runs
//! ```
//!
//! | module | for | must not |
//! |---|---|---|
//! | [`cli`] | clap definitions; their doc comments are the help text | do anything |
//! | [`settings`] | flags and environment to [`settings::Settings`], read once | be bypassed: nothing else reads the environment |
//! | [`command`] | one file a subcommand: it wires the stages | decide, draw bars, name a client's crate |
//! | [`completion`] | what a shell offers for a line that is being typed | ask a server, show an error |
//! | [`man`] | the manual pages, from the command line's definition | do anything |
//! | [`manifest`] | `x-platform.yml` to [`manifest::Manifest`]: validation, placeholders, schema | know the environment, the clock or a client |
//! | [`source`] | git URLs, references, commits | be impure |
//! | [`image`] | registries, repositories, tags, digests | be impure |
//! | [`recipe`] | the inputs of a build and their digests | be impure |
//! | [`lock`] | `x-platform.lock`: its format, what it takes to meet one, what changed between two | be impure, but for its file |
//! | [`deploy`] | which images kustomize files name, the overlay around them, what was rendered, the record of an environment | be impure |
//! | [`plan`] | inventory and manifest to steps; how they are shown | be impure |
//! | [`graph`] | which service needs which, as text and pictures, for `xp graph` | be impure |
//! | [`init`] | what was found to the text of a manifest, for `xp init`: compose, Skaffold, submodules, west, repo | be impure |
//! | [`status`] | how each service stands, for `xp status` | be impure |
//! | [`doctor`] | what is wrong around a platform, and what to do about it, for `xp doctor` | be impure |
//! | [`event`] | what happened, as data | be impure |
//! | [`record`] | what other programs are told: events and plans as JSON | be impure |
//! | [`timeline`] | when the units of a run were worked on, its critical path, how long each took before | be impure |
//! | [`shell`] | words as a shell takes them | be impure |
//! | [`words`] | words that depend on how many there are | be impure |
//! | [`error`] | exit codes, causes, hints, what is tried again | be impure |
//! | [`resolve`] | remotes to commits | clone |
//! | [`discover`] | a folder to what `xp init` makes a manifest of: its working copies and their files | change anything |
//! | [`history`] | references' commits to those that touched a service's own folders last | move a file of a working copy |
//! | [`local`] | working copies to what `--local` builds | change anything |
//! | [`cache`] | the folder that is xp's own, and the facts kept in it | be needed: a fact that is not there is asked for again |
//! | [`fuzzing`] | what a fuzzer calls: readers of what others wrote, and what must hold; in its build alone | be called |
//! | [`files`] | files that are written whole or not at all | know what is in them |
//! | [`task`] | what threads and tasks of the runtime came to | do work |
//! | [`job`] | to which session and group of processes xp belongs, and whose keys a terminal has | act on it |
//! | [`inspect`] | registry, engine and builder folders to an inventory | change anything |
//! | [`examine`] | this machine, engine, registries, remotes and working copies to the facts that [`doctor`] judges | judge, or leave anything behind |
//! | [`runs`] | the folders of past runs: their records and logs | draw, or know what a run means |
//! | [`execute`] | the steps of a plan, as soon as what they need is done | choose what is done |
//! | [`console`] | the caller's terminal, streams and signals, tied to a program in a container | know of services |
//! | [`report`] | bars, lines, log files, the closing table, pages of past runs: the only place that draws | do work |
//! | [`client`] | git (git2), the engine (bollard), registries (reqwest), clusters (kubectl): nothing else names those crates, or starts kubectl | know of services |
//!
//! "Pure" means: no client, no async runtime, no clock, no environment, no file system. The test
//! `architecture` holds all of this.
//!
//! Words that collide: the *manifest* is x-platform.yml, a registry's is an *image manifest*; a
//! *repository* is a registry's, git has *remotes* and *working copies*; a *builder* is an image with a
//! toolchain, what runs containers is the *engine*.

#![warn(missing_docs)]
// What a user can reach ends in an error that says what to do, not in a panic.
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
