use std::io::Write as _;
use std::time::Duration;

use tempfile::TempDir;

use super::*;
use crate::model::step_result::OutputsBlob;
use crate::store::step_archive::{ArchiveError, pack, unpack};

fn open(folder: &TempDir, limit: u64) -> StepStore {
    StepStore::open(&Layout::new(folder.path().join(".xp")), limit)
}

fn result(name: &str, outputs: Option<OutputsBlob>) -> StepResult {
    StepResult {
        key: StepKey::of(name.as_bytes()),
        service: "backend".to_owned(),
        phase: name.to_owned(),
        commit: "0".repeat(40),
        saved_at: 1,
        seconds: 2.0,
        parts: Vec::new(),
        outputs,
    }
}

/// Saves a result with an output of that content.
fn save(folder: &TempDir, store: &StepStore, name: &str, content: &[u8]) -> StepResult {
    let source = folder.path().join("source");
    fs::create_dir_all(&source).unwrap();
    fs::write(source.join("out"), content).unwrap();
    let mut archive = store.temp().unwrap();
    let blob = pack(&source, &["out".to_owned()], archive.file()).unwrap();
    let result = result(name, Some(blob));
    store.save(&result, Some(archive)).unwrap();
    result
}

fn restore(
    folder: &TempDir,
    store: &StepStore,
    result: &StepResult,
) -> Result<Vec<u8>, ArchiveError> {
    let archive = store.open_archive(result).unwrap().unwrap();
    let target = folder.path().join("target");
    let blob = result.outputs.as_ref().unwrap();
    unpack(archive, &target, &["out".to_owned()], blob)?;
    Ok(fs::read(target.join("out")).unwrap())
}

fn phases(store: &StepStore) -> Vec<String> {
    store
        .list()
        .into_iter()
        .map(|result| result.phase)
        .collect()
}

fn count(folder: &TempDir, name: &str) -> usize {
    names(&folder.path().join(".xp/steps").join(name)).count()
}

/// Sets when a result was used last.
fn used_before(store: &StepStore, name: &str, seconds: u64) {
    let path = store.result_path(&StepKey::of(name.as_bytes()));
    let file = File::options().append(true).open(path).unwrap();
    let time = SystemTime::now() - Duration::from_secs(seconds);
    file.set_modified(time).unwrap();
}

/// Content that does not compress.
fn noise(seed: u32) -> Vec<u8> {
    let mut state = seed.wrapping_mul(2_654_435_761) | 1;
    let next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state as u8
    };
    std::iter::repeat_with(next).take(10_000).collect()
}

#[test]
fn results_are_saved_and_restored() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder, u64::MAX);
    assert_eq!(store.get(&StepKey::of(b"build")), None);
    assert!(!folder.path().join(".xp").exists(), "nothing is written");
    let built = save(&folder, &store, "build", b"text");
    let tested = result("test", None);
    store.save(&tested, None).unwrap();
    let store = open(&folder, u64::MAX);
    assert_eq!(store.get(&built.key), Some(built.clone()));
    assert_eq!(store.get(&tested.key), Some(tested.clone()));
    assert_eq!(restore(&folder, &store, &built).unwrap(), b"text");
    assert!(store.open_archive(&tested).unwrap().is_none());
    // Again, with another archive.
    let again = save(&folder, &store, "build", b"other");
    assert_eq!(store.get(&built.key), Some(again.clone()));
    assert_eq!(restore(&folder, &store, &again).unwrap(), b"other");
    store.remove(&again);
    assert_eq!(store.get(&built.key), None);
    assert_eq!(phases(&store), ["test"]);
    assert_eq!(count(&folder, "temp"), 0);
}

#[test]
fn damaged_results_count_as_missing() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder, u64::MAX);
    let result = save(&folder, &store, "build", &noise(1));
    let blob = result.outputs.clone().unwrap();
    let archive = store.archive_path(&blob.digest);
    let path = store.result_path(&result.key);
    let good = fs::read_to_string(&path).unwrap();
    for text in [
        "",
        "{",
        "null",
        &good.replace("\"version\":1", "\"version\":2"),
    ] {
        fs::write(&path, text).unwrap();
        assert_eq!(store.get(&result.key), None, "{text}");
        assert!(store.list().is_empty());
    }
    // A result under the key of another one.
    let other = StepKey::of(b"other");
    fs::write(store.result_path(&other), &good).unwrap();
    assert_eq!(store.get(&other), None);
    fs::write(&path, &good).unwrap();
    assert_eq!(store.get(&result.key), Some(result.clone()));
    // One byte.
    let mut bytes = fs::read(&archive).unwrap();
    bytes[5000] ^= 1;
    fs::write(&archive, &bytes).unwrap();
    let error = restore(&folder, &store, &result).unwrap_err();
    assert!(matches!(error, ArchiveError::Damaged(_)), "{error}");
    assert!(!folder.path().join("target/out").exists());
    // The file was truncated, for example after a power failure.
    fs::write(&archive, &bytes[..5000]).unwrap();
    assert_eq!(store.get(&result.key), None);
    assert!(store.open_archive(&result).is_err());
    assert!(!archive.exists() && !path.exists(), "it is removed");
    let error = store.open_archive(&result).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::NotFound);
    let result = save(&folder, &store, "build", &noise(1));
    assert_eq!(restore(&folder, &store, &result).unwrap(), noise(1));
}

#[test]
fn the_least_recently_used_results_are_removed() {
    let folder = tempfile::tempdir().unwrap();
    for (number, name) in ["a", "b", "c"].into_iter().enumerate() {
        let store = open(&folder, u64::MAX);
        save(&folder, &store, name, &noise(number as u32));
        used_before(&store, name, 100 - number as u64);
    }
    // Restoring counts as a use.
    let store = open(&folder, 32_000);
    let a = store.get(&StepKey::of(b"a")).unwrap();
    restore(&folder, &store, &a).unwrap();
    assert_eq!(phases(&store), ["a", "c", "b"]);
    let store = open(&folder, 32_000);
    save(&folder, &store, "d", &noise(3));
    assert_eq!(phases(&store), ["d", "a", "c"]);
    assert_eq!(
        (count(&folder, "results"), count(&folder, "archives")),
        (3, 3)
    );
    // Never those that this run looked up, even beyond the limit.
    let store = open(&folder, 1);
    assert!(store.get(&StepKey::of(b"c")).is_some());
    save(&folder, &store, "e", &noise(4));
    assert_eq!(phases(&store), ["e", "c"]);
    assert_eq!(count(&folder, "archives"), 2);
}

#[test]
fn a_shared_archive_is_kept_for_the_other_result() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder, u64::MAX);
    let time = SystemTime::now();
    for name in ["a", "b"] {
        save(&folder, &store, name, &noise(1));
        // The archive contains the time of the file.
        let file = File::options()
            .append(true)
            .open(folder.path().join("source/out"));
        file.unwrap().set_modified(time).unwrap();
        let mut archive = store.temp().unwrap();
        let blob = pack(
            &folder.path().join("source"),
            &["out".to_owned()],
            archive.file(),
        );
        store
            .save(&result(name, Some(blob.unwrap())), Some(archive))
            .unwrap();
    }
    used_before(&store, "a", 100);
    let store = open(&folder, 15_000);
    let b = store.get(&StepKey::of(b"b")).unwrap();
    store
        .save(&b, {
            let mut archive = store.temp().unwrap();
            let path = store.archive_path(&b.outputs.as_ref().unwrap().digest);
            archive.file().write_all(&fs::read(path).unwrap()).unwrap();
            Some(archive)
        })
        .unwrap();
    assert_eq!(phases(&store), ["b"]);
    assert_eq!(restore(&folder, &store, &b).unwrap(), noise(1));
}

#[test]
fn concurrent_saves_of_a_key_leave_one_complete_result() {
    let folder = tempfile::tempdir().unwrap();
    std::thread::scope(|scope| {
        for thread in 0..6_u32 {
            let folder = &folder;
            scope.spawn(move || {
                for round in 0..20 {
                    // As another process would.
                    let store = open(folder, u64::MAX);
                    let content = noise(thread * 100 + round);
                    let source = folder.path().join(format!("source-{thread}"));
                    fs::create_dir_all(&source).unwrap();
                    fs::write(source.join("out"), content).unwrap();
                    let mut archive = store.temp().unwrap();
                    let blob = pack(&source, &["out".to_owned()], archive.file()).unwrap();
                    store
                        .save(&result("build", Some(blob)), Some(archive))
                        .unwrap();
                    assert!(store.get(&StepKey::of(b"build")).is_some());
                }
            });
        }
    });
    let store = open(&folder, u64::MAX);
    let result = store.get(&StepKey::of(b"build")).unwrap();
    assert_eq!(restore(&folder, &store, &result).unwrap().len(), 10_000);
    assert_eq!(count(&folder, "temp"), 0);
}

#[test]
fn files_of_killed_processes_are_removed() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder, u64::MAX);
    let kept = store.temp().unwrap();
    let temp = folder.path().join(".xp/steps/temp");
    fs::write(temp.join("leftover"), "half an archive").unwrap();
    let orphan = folder.path().join(".xp/steps/archives/abc.tar.zst");
    fs::create_dir_all(orphan.parent().unwrap()).unwrap();
    fs::write(&orphan, "of a result that was never saved").unwrap();
    let store = open(&folder, u64::MAX);
    store.save(&result("test", None), None).unwrap();
    assert_eq!(count(&folder, "temp"), 1, "another process uses it");
    assert!(orphan.exists(), "another process may be about to use it");
    drop(kept);
    assert_eq!(count(&folder, "temp"), 0);
    let file = File::options().append(true).open(&orphan).unwrap();
    let long_ago = SystemTime::now() - Duration::from_secs(7200);
    file.set_modified(long_ago).unwrap();
    store.save(&result("test", None), None).unwrap();
    assert!(!orphan.exists());
}

#[test]
fn nothing_is_written_to_a_foreign_folder() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join(".xp")).unwrap();
    fs::write(folder.path().join(".xp/thesis.txt"), "precious").unwrap();
    let store = open(&folder, u64::MAX);
    let error = store.save(&result("test", None), None).unwrap_err();
    assert!(error.to_string().contains("xp did not create"), "{error}");
    assert_eq!(names(&folder.path().join(".xp")).count(), 1);
}
