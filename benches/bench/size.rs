//! Size of the benchmark.

/// Size of the benchmark.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Size {
    /// Just enough to test the benchmark itself, for `cargo test`.
    Tiny,
    /// A few minutes: `bin/bench --quick`.
    Quick,
    /// The numbers in the documentation.
    Full,
}

impl Size {
    /// Selects a value by size.
    pub fn of<T>(self, tiny: T, quick: T, full: T) -> T {
        match self {
            Self::Tiny => tiny,
            Self::Quick => quick,
            Self::Full => full,
        }
    }
}
