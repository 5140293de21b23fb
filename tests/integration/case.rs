//! A test: its name, function, execution and report.

use std::any::Any;
use std::cell::RefCell;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;

use libtest_mimic::{Completion, Failed};

use crate::context::Context;
use crate::world::World;

/// Lists functions of the file as tests: `pub const CASES: &[Case] = cases![one, two];`.
macro_rules! cases {
    ($($function:ident),* $(,)?) => {
        &[$($crate::case::Case {
            module: module_path!(),
            function_name: stringify!($function),
            function: $function,
        }),*]
    };
}

/// A test function and its names.
#[derive(Clone, Copy)]
pub struct Case {
    pub module: &'static str,
    pub function_name: &'static str,
    pub function: fn(&Context),
}

impl Case {
    /// Returns the full name that filters match, such as `world::engine_runs_busybox`.
    pub fn name(&self) -> String {
        let module = self.module.rsplit("::").next().unwrap_or(self.module);
        format!("{module}::{}", self.function_name)
    }

    /// Runs the test in its own context, and keeps the folder on failure.
    pub fn run(&self, world: Arc<World>) -> Result<Completion, Failed> {
        let context = Context::new(world, &self.name());
        PANIC_MESSAGE.set(Some(String::new()));
        let result = panic::catch_unwind(AssertUnwindSafe(|| (self.function)(&context)));
        let message = PANIC_MESSAGE.take().unwrap_or_default();
        match result {
            Ok(()) => {
                context.remove_folder();
                Ok(Completion::Completed)
            }
            Err(payload) if payload.is::<Skipped>() => {
                context.remove_folder();
                let reason = payload.downcast::<Skipped>().map(|skipped| skipped.0);
                Ok(Completion::ignored_with(reason.unwrap_or_default()))
            }
            Err(payload) => {
                let message = if message.is_empty() {
                    payload_text(&*payload).to_owned()
                } else {
                    message
                };
                let folder = context.folder().display();
                Err(format!("{message}\n\nThe test's folder is kept: {folder}").into())
            }
        }
    }
}

/// The reason why a test does not apply.
struct Skipped(&'static str);

/// Ends a test that does not apply to the selected servers.
pub fn skip(reason: &'static str) -> ! {
    panic::resume_unwind(Box::new(Skipped(reason)))
}

thread_local! {
    /// The panic message on a thread that runs a test; `None` on other threads.
    static PANIC_MESSAGE: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Makes a test's panic part of its result, so that it is printed once, below the test's name.
pub fn keep_panic_messages() {
    let print = panic::take_hook();
    panic::set_hook(Box::new(move |details| {
        let kept = PANIC_MESSAGE.with_borrow_mut(|message| {
            if let Some(message) = message {
                *message = details.to_string();
            }
            message.is_some()
        });
        if !kept {
            print(details);
        }
    }));
}

fn payload_text(payload: &(dyn Any + Send)) -> &str {
    payload
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("the test panicked")
}
