//! Threads and tasks of the runtime.

use tokio::task::JoinError;

/// Returns what a task came to; goes on with its panic, which is a mistake in xp. Such a task is never
/// cancelled before its end.
pub fn joined<T>(result: Result<T, JoinError>) -> T {
    match result {
        Ok(value) => value,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}
