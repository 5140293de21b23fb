//! Trees of files to pack and compare.

mod hostile;
mod round_trip;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Seek as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

use super::*;
use crate::model::step_result::OutputsBlob;

/// A pseudorandom number generator (splitmix64).
struct PseudoRandom(u64);

impl PseudoRandom {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % bound as u64) as usize
    }

    fn pick<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())]
    }
}

/// Kind, permissions, time, and content or target of each path below a folder.
type Tree = BTreeMap<PathBuf, (u32, i64, i64, Vec<u8>)>;

fn tree(folder: &Path) -> Tree {
    let entries = walkdir::WalkDir::new(folder).min_depth(1).into_iter();
    let entries = entries.map(|entry| {
        let entry = entry.unwrap();
        let (path, found) = (entry.path(), entry.metadata().unwrap());
        let content = if found.is_file() {
            fs::read(path).unwrap()
        } else if found.is_symlink() {
            fs::read_link(path)
                .unwrap()
                .into_os_string()
                .into_encoded_bytes()
        } else {
            Vec::new()
        };
        let facts = (found.mode(), found.mtime(), found.mtime_nsec(), content);
        (path.strip_prefix(folder).unwrap().to_owned(), facts)
    });
    entries.collect()
}

fn write(folder: &Path, path: &str, text: &str) -> PathBuf {
    let path = folder.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, text).unwrap();
    path
}

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn texts(paths: &[&str]) -> Vec<String> {
    paths.iter().map(|path| (*path).to_owned()).collect()
}

/// Packs outputs to a file that is positioned at its start.
fn packed(folder: &Path, outputs: &[&str]) -> Result<(OutputsBlob, File), ArchiveError> {
    let mut file = tempfile::tempfile().unwrap();
    let blob = pack(folder, &texts(outputs), &mut file)?;
    assert_eq!(file.metadata().unwrap().len(), blob.bytes);
    file.rewind().unwrap();
    Ok((blob, file))
}

/// A target folder in a folder of its own, in which nothing else may change.
struct Target {
    top: TempDir,
    before: Tree,
}

impl Target {
    /// Creates a target with a file, and a file and a folder outside of it.
    fn new() -> Self {
        let top = tempfile::tempdir().unwrap();
        for path in ["target/own", "outside/file", "file"] {
            write(top.path(), path, "precious");
        }
        let before = tree(top.path());
        Self { top, before }
    }

    fn folder(&self) -> PathBuf {
        self.top.path().join("target")
    }

    fn unpack(
        &self,
        archive: &[u8],
        outputs: &[&str],
        blob: &OutputsBlob,
    ) -> Result<(), ArchiveError> {
        unpack(archive, &self.folder(), &texts(outputs), blob)
    }

    /// Asserts that nothing changed outside of the target, and nothing at all after an error.
    fn check(&self, is_restored: bool, what: &str) {
        let is_inside = |path: &Path| path.starts_with("target");
        let mut after = tree(self.top.path());
        let mut before = self.before.clone();
        if is_restored {
            after.retain(|path, _| !is_inside(path));
            before.retain(|path, _| !is_inside(path));
        }
        assert_eq!(after, before, "{what}");
    }
}

/// Compresses a tar file, and returns it with its digest and the sizes that it declares.
fn compressed(tar: &[u8], unpacked_bytes: u64, files: u64) -> (Vec<u8>, OutputsBlob) {
    let mut archive = zstd::Encoder::new(Vec::new(), 1).unwrap();
    archive.write_all(tar).unwrap();
    let archive = archive.finish().unwrap();
    let blob = OutputsBlob {
        digest: format!("sha256:{}", hex::encode(Sha256::digest(&archive)))
            .parse()
            .unwrap(),
        bytes: archive.len() as u64,
        unpacked_bytes,
        files,
    };
    (archive, blob)
}
