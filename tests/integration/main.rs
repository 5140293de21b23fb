//! The integration tests: each drives the `xp` program against real servers.
//!
//! This binary is its own test runner, because the servers need an owner that is dropped at the
//! end; a `static` is never dropped. A test is a function `fn(&Context)` in a file in `cases/`, listed
//! in that file's `CASES`. [`context::Context`] is its API.

#![expect(
    clippy::disallowed_methods,
    reason = "the rule is about xp's own settings; tests hand PATH and DOCKER_HOST on"
)]

mod app;
mod browser;
#[macro_use]
mod case;
mod cases;
mod cluster_job;
mod compose_project;
mod context;
mod engine_relay;
mod hg_repository;
mod language_server;
mod output;
mod platform;
mod printed;
mod process;
mod published;
mod random;
mod repository;
mod schema;
mod services;
mod siege;
mod stored_images;
mod supply_platform;
mod terminal;
mod token_server;
mod wait;
mod working_copy;
mod world;
mod xp;

use std::cmp::Reverse;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use libtest_mimic::{Arguments, Trial};
use tokio::signal::unix::{SignalKind, signal};

use crate::world::World;

/// Tests mostly wait for servers, so a few more run concurrently than there are cores.
const TEST_THREADS: usize = 4;

/// The number of tests whose time is printed at the end.
const SLOWEST: usize = 20;

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(TEST_THREADS);
    case::keep_panic_messages();
    match world::chosen_engine() {
        Ok(engine) if !arguments.list => eprintln!("engine and image store: {engine}"),
        Ok(_) => {}
        Err(message) => {
            eprintln!("{message}");
            return ExitCode::from(2);
        }
    }

    let world = Arc::new(World::new());
    if !arguments.list {
        stop_on_signal(Arc::clone(&world));
    }
    let filters = arguments.filter.take().unwrap_or_default();
    let times = Arc::new(Mutex::new(Vec::new()));
    let tests = cases::all()
        .into_iter()
        .filter(|case| is_selected(&case.name(), &filters, arguments.exact))
        .map(|case| {
            let (world, times) = (Arc::clone(&world), Arc::clone(&times));
            Trial::ignorable_test(case.name(), move || {
                let start = Instant::now();
                let result = case.run(world);
                let time = (case.name(), start.elapsed());
                times
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .push(time);
                result
            })
        })
        .collect();
    let conclusion = libtest_mimic::run(&arguments, tests);
    print_slowest(times.lock().unwrap_or_else(PoisonError::into_inner).clone());
    world.stop();
    conclusion.exit_code()
}

/// Prints where the time of a run went.
fn print_slowest(mut times: Vec<(String, Duration)>) {
    times.sort_by_key(|(_, time)| Reverse(*time));
    let total: Duration = times.iter().map(|(_, time)| *time).sum();
    if times.len() > SLOWEST {
        eprintln!("the slowest of {} tests, of {total:.0?}:", times.len());
        for (name, time) in &times[..SLOWEST] {
            eprintln!("{time:>8.1?}  {name}");
        }
    }
}

/// Returns whether a test matches one of the comma-separated filters.
fn is_selected(name: &str, filters: &str, exact: bool) -> bool {
    filters.split(',').any(|filter| {
        if exact {
            name == filter
        } else {
            name.contains(filter)
        }
    })
}

/// Stops the servers on Ctrl-C and other signals, to remove their files.
fn stop_on_signal(world: Arc<World>) {
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime that waits for signals");
        let code = runtime.block_on(async {
            let mut interrupt = signal(SignalKind::interrupt()).expect("SIGINT can be handled");
            let mut terminate = signal(SignalKind::terminate()).expect("SIGTERM can be handled");
            let mut hangup = signal(SignalKind::hangup()).expect("SIGHUP can be handled");
            tokio::select! {
                _ = interrupt.recv() => 130,
                _ = terminate.recv() => 143,
                _ = hangup.recv() => 129,
            }
        });
        eprintln!("\nstopping the test world");
        world.stop();
        std::process::exit(code);
    });
}
