//! What was packed is restored.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;

use rustix::fs::{CWD, FileType, Mode, mknodat};

use super::super::times::ModifiedAt;
use super::*;

/// Creates random files, folders and links, with random permissions and times.
fn create(random: &mut PseudoRandom, folder: &Path, relative: &Path, depth: usize) {
    let long = "n".repeat(255);
    let names = [
        "a",
        "b.txt",
        " ",
        "-x",
        "ä\u{301}",
        "line\nbreak",
        "...",
        ".hidden",
        &long[..120],
        &long,
    ];
    let mut folders = Vec::new();
    for index in 0..random.below(8) {
        let mut name = random.pick(&names).as_bytes().to_vec();
        // Not UTF-8.
        if random.below(8) == 0 {
            name.truncate(200);
            name.extend_from_slice(&[0xff, b'0' + index as u8]);
        }
        let path = folder.join(relative).join(OsStr::from_bytes(&name));
        if path.symlink_metadata().is_ok() {
            continue;
        }
        match random.below(6) {
            0 if depth > 0 => {
                let inner = relative.join(OsStr::from_bytes(&name));
                fs::create_dir(&path).unwrap();
                create(random, folder, &inner, depth - 1);
                folders.push(path.clone());
                chmod(
                    &path,
                    random.pick(&[0o755, 0o700, 0o555, 0o1777, 0o2775, 0o000]),
                );
            }
            1 => {
                let up = "../".repeat(random.below(relative.components().count() + 1));
                let last = random.pick(&["", "a", "gone/x", &long]);
                let target = format!("{up}./{last}");
                symlink(target, &path).unwrap();
            }
            _ => {
                let size = random.pick(&[0, 1, 511, 512, 513, 5000, 200_000]);
                let content = random.below(1 << 30).to_string().into_bytes();
                let content = content.into_iter().cycle().take(size);
                let content: Vec<u8> = content.collect();
                fs::write(&path, content).unwrap();
                chmod(
                    &path,
                    random.pick(&[0o644, 0o755, 0o600, 0o444, 0o000, 0o777]),
                );
            }
        }
        let seconds = random.pick(&[-1, 0, 499_162_500, 1_700_000_000, 5_000_000_000]);
        let nanoseconds = random.pick(&[0, 1, 999_999_999]);
        let time = ModifiedAt {
            seconds,
            nanoseconds,
        };
        time.set_at(&path).unwrap();
    }
}

#[test]
fn random_trees_are_restored() {
    let mut entries = 0;
    for seed in 1..=60 {
        let mut random = PseudoRandom(seed);
        let source = tempfile::tempdir().unwrap();
        let outputs = ["out", "deep/er/out", "deep/file"];
        for output in &outputs[..2] {
            fs::create_dir_all(source.path().join(output)).unwrap();
            create(&mut random, source.path(), Path::new(output), 4);
        }
        write(source.path(), "deep/file", "text");
        write(source.path(), "deep/input", "not an output");
        chmod(
            &source.path().join("deep/er/out"),
            random.pick(&[0o755, 0o555]),
        );
        let (blob, archive) = packed(source.path(), &outputs).unwrap();
        entries += blob.files;

        let target = Target::new();
        let folder = target.folder();
        // Of an earlier build.
        write(&folder, "out/stale", "stale");
        write(&folder, "deep/other", "kept");
        chmod(&folder.join("out"), 0o555);
        unpack(archive, &folder, &texts(&outputs), &blob)
            .unwrap_or_else(|error| panic!("{seed}: {error}"));
        target.check(true, &format!("seed {seed}"));
        assert_eq!(fs::read_to_string(folder.join("own")).unwrap(), "precious");
        assert_eq!(
            fs::read_to_string(folder.join("deep/other")).unwrap(),
            "kept"
        );
        let (mut restored, mut expected) = (tree(&folder), tree(source.path()));
        restored.retain(|path, _| path != "own" && path != Path::new("deep/other"));
        expected.retain(|path, _| path != Path::new("deep/input"));
        // The bit of a group is not restored; it may be inherited.
        for (mode, ..) in expected.values_mut().chain(restored.values_mut()) {
            *mode &= !0o2000;
        }
        assert_eq!(restored, expected, "seed {seed}");
        let (again, _) = packed(&folder, &outputs).unwrap();
        assert_eq!(again, blob, "seed {seed}");
    }
    assert!(entries > 1000, "{entries} entries");
}

#[test]
fn hard_links_become_files() {
    let source = tempfile::tempdir().unwrap();
    let file = write(source.path(), "out/a", "text");
    fs::hard_link(&file, source.path().join("out/b")).unwrap();
    let (blob, archive) = packed(source.path(), &["out"]).unwrap();
    assert_eq!((blob.unpacked_bytes, blob.files), (8, 3));
    let target = Target::new();
    unpack(archive, &target.folder(), &texts(&["out"]), &blob).unwrap();
    let restored = fs::metadata(target.folder().join("out/b")).unwrap();
    assert_eq!((restored.nlink(), restored.len()), (1, 4));
}

#[test]
fn the_folder_need_not_exist() {
    let source = tempfile::tempdir().unwrap();
    write(source.path(), "a", "1");
    let (blob, archive) = packed(source.path(), &["a"]).unwrap();
    let folder = source.path().join("new/folder");
    unpack(archive, &folder, &texts(&["a"]), &blob).unwrap();
    assert_eq!(fs::read_to_string(folder.join("a")).unwrap(), "1");
    assert_eq!(fs::read_dir(folder.parent().unwrap()).unwrap().count(), 1);
}

#[test]
fn files_that_would_not_be_restored_are_named() {
    let source = tempfile::tempdir().unwrap();
    let check = |output: &str, expected: &str| {
        let error = packed(source.path(), &["good", output]).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
    };
    let add = |path: &str| write(source.path(), path, "");
    add("good");
    let socket = add("socket/x");
    fs::remove_file(&socket).unwrap();
    let _listener = UnixListener::bind(&socket).unwrap();
    check("socket", "socket/x is a socket");
    let pipe = add("pipe/x");
    fs::remove_file(&pipe).unwrap();
    mknodat(CWD, &pipe, FileType::Fifo, Mode::RWXU, 0).unwrap();
    check("pipe", "pipe/x is a named pipe");
    for mode in [0o4755, 0o2755] {
        chmod(&add("suid/x"), mode);
        check("suid", "suid/x is a setuid or setgid program");
    }
    for (name, target) in [
        ("up", "../.."),
        ("absolute", "/etc/passwd"),
        ("far", "../../x"),
    ] {
        let link = add(&format!("{name}/x"));
        fs::remove_file(&link).unwrap();
        symlink(target, &link).unwrap();
        check(
            name,
            &format!("the link {name}/x leads to {target}, outside"),
        );
    }
    check("gone", "did not create its output `gone`");
    add("plain");
    check("plain/x", "not a folder");
    check("../x", "invalid output");
    check(".git/hooks", "invalid output");
    // A link out of the folder instead of a folder.
    symlink("/usr", source.path().join("usr")).unwrap();
    check("usr/bin", "not a folder");
    check("usr", "outside");
}

#[test]
fn nothing_changes_if_a_folder_is_a_file() {
    let source = tempfile::tempdir().unwrap();
    write(source.path(), "a", "1");
    write(source.path(), "own/x", "1");
    let (blob, archive) = packed(source.path(), &["a", "own/x"]).unwrap();
    let target = Target::new();
    let error = unpack(archive, &target.folder(), &texts(&["a", "own/x"]), &blob).unwrap_err();
    assert!(matches!(error, ArchiveError::Conflict(_)), "{error}");
    target.check(false, "conflict");
}

#[test]
fn nothing_is_restored_through_a_link() {
    let source = tempfile::tempdir().unwrap();
    write(source.path(), "a/x", "1");
    write(source.path(), "b", "1");
    let (blob, archive) = packed(source.path(), &["a/x", "b"]).unwrap();
    let mut target = Target::new();
    symlink("../outside", target.folder().join("a")).unwrap();
    symlink("../file", target.folder().join("b")).unwrap();
    target.before = tree(target.top.path());
    let (a, b) = (texts(&["a/x", "b"]), texts(&["b"]));
    let error = unpack(archive, &target.folder(), &a, &blob).unwrap_err();
    assert!(matches!(error, ArchiveError::Conflict(_)), "{error}");
    target.check(false, "a link instead of a folder");
    let (blob, archive) = packed(source.path(), &["b"]).unwrap();
    unpack(archive, &target.folder(), &b, &blob).unwrap();
    target.check(true, "a link instead of a file");
    assert!(
        target
            .folder()
            .join("b")
            .symlink_metadata()
            .unwrap()
            .is_file()
    );
}

#[test]
fn a_killed_restore_leaves_only_a_folder_that_the_next_one_removes() {
    let source = tempfile::tempdir().unwrap();
    write(source.path(), "a", "1");
    let (blob, archive) = packed(source.path(), &["a"]).unwrap();
    let target = Target::new();
    let top = target.top.path();
    let locked = top.join(".target.restore-2");
    for name in [
        ".target.restore-1/new",
        ".target.restore-2/new",
        ".target.other",
    ] {
        fs::create_dir_all(top.join(name)).unwrap();
    }
    let lock = File::open(&locked).unwrap();
    lock.try_lock().unwrap();
    unpack(archive, &target.folder(), &texts(&["a"]), &blob).unwrap();
    assert!(!top.join(".target.restore-1").exists());
    assert!(locked.exists(), "another process uses it");
    assert!(top.join(".target.other").exists());
}
