//! Fuzz target of archives: see `fuzzing`.

use std::path::Component;

use super::header::{Entry, Kind, padding};

/// Reads entries until the first error: their paths stay inside, and they are read as they were written.
pub fn step_archive(bytes: &[u8]) {
    let mut rest = bytes;
    while let Ok(Some(entry)) = Entry::read(&mut rest) {
        let mut components = entry.path.components();
        assert!(components.all(|it| matches!(it, Component::Normal(_))));
        assert!(entry.mode & 0o6000 == 0);
        let mut written = Vec::new();
        entry.write(&mut written).expect("memory");
        let again = Entry::read(&mut written.as_slice());
        assert_eq!(again.ok().flatten().as_ref(), Some(&entry));
        if let Kind::File(size) = entry.kind {
            let length = size.saturating_add(padding(size).len() as u64);
            let Some(after) = usize::try_from(length).ok().and_then(|it| rest.get(it..)) else {
                return;
            };
            rest = after;
        }
    }
}
