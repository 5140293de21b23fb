//! Results of runtime tasks.

use tokio::task::JoinError;

/// Returns the result of a task, and propagates its panic. The task must never be canceled.
pub fn joined<T>(result: Result<T, JoinError>) -> T {
    match result {
        Ok(value) => value,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}
