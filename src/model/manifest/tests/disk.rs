//! Errors that depend on the file system.

use std::path::Path;

use super::super::{Manifest, ManifestError, load};
use super::{SMALLEST, short};

fn load_text(folder: &Path, text: impl AsRef<[u8]>) -> Result<Manifest, ManifestError> {
    let file = folder.join("x-platform.yml");
    std::fs::write(&file, text).unwrap();
    load(&file)
}

#[track_caller]
fn refused(folder: &Path, text: impl AsRef<[u8]>) -> Vec<String> {
    short(&load_text(folder, text).unwrap_err())
}

#[test]
fn the_folder_is_absolute_and_real() {
    let folder = tempfile::tempdir().unwrap();
    let real = folder.path().canonicalize().unwrap();
    std::fs::create_dir(real.join("sub")).unwrap();
    load_text(&real, SMALLEST).unwrap();
    let manifest = load(&real.join("sub/../x-platform.yml")).unwrap();
    assert_eq!(manifest.folder, real);
    assert_eq!(manifest.file, real.join("x-platform.yml"));
}

#[test]
fn a_file_that_is_not_text_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    assert_eq!(
        refused(folder, b"a: 1\nb: \xE4\n"),
        ["the manifest is not valid UTF-8: line 2, byte 8 (save the file as UTF-8)"]
    );
    assert_eq!(
        refused(folder, b"\xFF\xFEa\0"),
        [
            "the manifest is not valid UTF-8: line 1, byte 0 (the file looks like UTF-16; save it as UTF-8)"
        ]
    );
    assert_eq!(
        refused(folder, ""),
        [
            "the manifest is empty (add `services`, each with `dir`, `git.remote` and `docker.image`)"
        ]
    );
    assert_eq!(
        refused(folder, vec![b'#'; (10 << 20) + 1]),
        ["the manifest is larger than 10 MiB; is this the right file?"]
    );
    assert_eq!(
        refused(folder, vec![b'#'; 10 << 20]),
        [
            "the manifest is empty (add `services`, each with `dir`, `git.remote` and `docker.image`)"
        ]
    );
}

#[test]
fn a_file_that_cannot_be_read_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("x-platform.yml");
    let error = load(&missing).unwrap_err();
    assert_eq!(
        short(&error),
        [
            "manifest not found (run xp in the folder that contains x-platform.yml or in a subfolder, or pass its path with `-f FILE`)"
        ]
    );
    assert!(error.to_string().contains(&missing.display().to_string()));
    assert_eq!(
        short(&load(folder.path()).unwrap_err()),
        ["the manifest is a folder (pass the path of a file in it)"]
    );
    // Root ignores permissions, but cannot read a process's memory at address 0.
    let error = load(Path::new("/proc/self/mem")).unwrap_err().to_string();
    assert!(
        error.starts_with("error: cannot read the manifest: "),
        "{error}"
    );
}

#[test]
fn a_dir_through_a_symbolic_link_is_rejected() {
    use std::os::unix::fs::symlink;
    let outside = tempfile::tempdir().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let outside = outside.path().canonicalize().unwrap();
    symlink(&outside, folder.join("src")).unwrap();
    assert_eq!(
        refused(folder, SMALLEST),
        [format!(
            "3:10 `src` is a symbolic link to `{}`, outside the manifest's folder (a working copy must be inside the manifest's folder)",
            outside.display()
        )]
    );
    std::fs::remove_file(folder.join("src")).unwrap();
    symlink("nowhere", folder.join("src")).unwrap();
    assert_eq!(
        refused(folder, SMALLEST),
        [
            "3:10 `src` is a broken symbolic link (a working copy must be inside the manifest's folder)"
        ]
    );
    std::fs::remove_file(folder.join("src")).unwrap();
    std::fs::create_dir(folder.join("real")).unwrap();
    symlink("real", folder.join("src")).unwrap();
    symlink(&outside, folder.join("real/zbackend")).unwrap();
    let problems = refused(folder, SMALLEST);
    assert!(
        problems[0].contains("`src/zbackend` is a symbolic link to `"),
        "{problems:?}"
    );
    std::fs::remove_file(folder.join("real/zbackend")).unwrap();
    load_text(folder, SMALLEST).unwrap();
}
