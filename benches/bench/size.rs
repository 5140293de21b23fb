//! How much is measured.

/// How much is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Size {
    /// Enough to see that the benchmark itself works: what `cargo test` runs.
    Tiny,
    /// A few minutes: `bin/bench --quick`.
    Quick,
    /// What the documentation quotes.
    Full,
}

impl Size {
    /// Chooses by the size.
    pub fn of<T>(self, tiny: T, quick: T, full: T) -> T {
        match self {
            Self::Tiny => tiny,
            Self::Quick => quick,
            Self::Full => full,
        }
    }
}
