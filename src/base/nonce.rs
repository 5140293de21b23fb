//! Random names. Pure.

use std::hash::{BuildHasher as _, Hasher as _};

/// Returns a random name.
pub fn nonce() -> String {
    // The standard library's hasher keys are random for each instance.
    let random = std::collections::hash_map::RandomState::new().build_hasher();
    format!("{:016x}", random.finish())
}
