//! Modification times.

use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, UTIME_OMIT, futimens, utimensat};

/// A modification time: seconds since 1970, and nanoseconds after that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ModifiedAt {
    pub seconds: i64,
    pub nanoseconds: u32,
}

impl ModifiedAt {
    pub fn of(metadata: &Metadata) -> Self {
        Self {
            seconds: metadata.mtime(),
            nanoseconds: u32::try_from(metadata.mtime_nsec()).unwrap_or_default(),
        }
    }

    /// Returns the decimal number of a pax header.
    pub fn to_decimal(self) -> String {
        if self.seconds >= 0 || self.nanoseconds == 0 {
            return format!("{}.{:09}", self.seconds, self.nanoseconds);
        }
        // -1.25 is 2 seconds before 1970, and 750 ms after that.
        let seconds = (self.seconds + 1).unsigned_abs();
        format!("-{seconds}.{:09}", 1_000_000_000 - self.nanoseconds)
    }

    /// Parses a number with nine decimals.
    pub fn parse(text: &str) -> Option<Self> {
        let (is_negative, digits) = match text.strip_prefix('-') {
            Some(digits) => (true, digits),
            None => (false, text),
        };
        let (seconds, decimals) = digits.split_once('.')?;
        let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        if !is_number(seconds) || !is_number(decimals) || decimals.len() != 9 {
            return None;
        }
        let (seconds, nanoseconds): (i64, u32) = (seconds.parse().ok()?, decimals.parse().ok()?);
        Some(match (is_negative, nanoseconds) {
            (false, _) => Self {
                seconds,
                nanoseconds,
            },
            (true, 0) => Self {
                seconds: -seconds,
                nanoseconds,
            },
            (true, _) => Self {
                seconds: -seconds - 1,
                nanoseconds: 1_000_000_000 - nanoseconds,
            },
        })
    }

    /// Sets the time of an open file.
    pub fn set(self, file: &File) -> io::Result<()> {
        Ok(futimens(file, &self.timestamps())?)
    }

    /// Sets the time of a file, a folder or a link.
    pub fn set_at(self, path: &Path) -> io::Result<()> {
        let flags = AtFlags::SYMLINK_NOFOLLOW;
        Ok(utimensat(CWD, path, &self.timestamps(), flags)?)
    }

    fn timestamps(self) -> Timestamps {
        Timestamps {
            last_access: Timespec {
                tv_sec: 0,
                tv_nsec: UTIME_OMIT,
            },
            last_modification: Timespec {
                tv_sec: self.seconds,
                tv_nsec: self.nanoseconds.into(),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_decimal_numbers() {
        for (seconds, nanoseconds, text) in [
            (0, 0, "0.000000000"),
            (1_700_000_000, 1, "1700000000.000000001"),
            (-1, 0, "-1.000000000"),
            (-2, 750_000_000, "-1.250000000"),
            (-1, 999_999_999, "-0.000000001"),
        ] {
            let time = ModifiedAt {
                seconds,
                nanoseconds,
            };
            assert_eq!(time.to_decimal(), text);
            assert_eq!(ModifiedAt::parse(text), Some(time));
        }
        for text in [
            "",
            "1",
            "1.5",
            "+1.000000000",
            "1.00000000x",
            "1e9.000000000",
        ] {
            assert_eq!(ModifiedAt::parse(text), None, "{text}");
        }
    }
}
