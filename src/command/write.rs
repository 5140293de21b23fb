//! Writing a file that a person will own.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::error::Failure;

/// Writes a file whole or not at all. One that is there is an error, unless it is replaced: then it is
/// kept under the name that is returned.
pub fn write_new(file: &Path, text: &str, replace: bool) -> Result<Option<PathBuf>, Failure> {
    let failed = |error: io::Error| {
        Failure::outside(format!("{} cannot be written: {error}", file.display()))
    };
    let mut name = file.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.new", std::process::id()));
    let new = file.with_file_name(name);
    fs::write(&new, text).map_err(failed)?;
    let placed = place(&new, file, replace);
    _ = fs::remove_file(&new);
    placed.map_err(failed)
}

fn place(new: &Path, file: &Path, replace: bool) -> io::Result<Option<PathBuf>> {
    // A link, not a move: it fails where somebody else was faster.
    match fs::hard_link(new, file) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && replace => {
            let kept = keep(file)?;
            fs::rename(new, file)?;
            Ok(Some(kept))
        }
        // Not every file system has hard links.
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            let text = fs::read(new)?;
            let mut target = fs::File::create_new(file)?;
            io::Write::write_all(&mut target, &text).map(|()| None)
        }
        linked => linked.map(|()| None),
    }
}

/// Copies a file to a name beside it that is free.
fn keep(file: &Path) -> io::Result<PathBuf> {
    let text = fs::read(file)?;
    for number in 1.. {
        let mut name = file.file_name().unwrap_or_default().to_owned();
        name.push(match number {
            1 => ".old".to_owned(),
            number => format!(".old-{number}"),
        });
        let kept = file.with_file_name(name);
        match fs::File::create_new(&kept) {
            Ok(mut copy) => return io::Write::write_all(&mut copy, &text).map(|()| kept),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    Ok(file.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_written_over_and_nothing_is_left_behind() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("x.yml");
        assert_eq!(write_new(&file, "1", false).unwrap(), None);
        assert!(write_new(&file, "2", false).is_err());
        assert_eq!(fs::read_to_string(&file).unwrap(), "1");
        let old = write_new(&file, "2", true).unwrap().unwrap();
        let older = write_new(&file, "3", true).unwrap().unwrap();
        assert_eq!(fs::read_to_string(old).unwrap(), "1");
        assert_eq!(fs::read_to_string(older).unwrap(), "2");
        assert_eq!(fs::read_to_string(&file).unwrap(), "3");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 3);
        assert!(write_new(&folder.path().join("gone/x"), "", false).is_err());
    }
}
