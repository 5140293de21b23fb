use std::collections::BTreeSet;

use tar::{Builder, Header};

use super::*;

/// An entry of an archive, with its name as it is in the archive.
struct TestEntry<'e> {
    name: &'e str,
    kind: EntryType,
    /// The content, or the target of a link.
    content: &'e str,
    mode: u32,
}

fn file<'e>(name: &'e str, content: &'e str) -> TestEntry<'e> {
    TestEntry {
        name,
        kind: EntryType::Regular,
        content,
        mode: 0o600,
    }
}

fn link<'e>(name: &'e str, content: &'e str) -> TestEntry<'e> {
    TestEntry {
        kind: EntryType::Symlink,
        ..file(name, content)
    }
}

fn folder(name: &str) -> TestEntry<'_> {
    TestEntry {
        kind: EntryType::Directory,
        ..file(name, "")
    }
}

/// Writes names without the checks of the `tar` crate.
fn archive(entries: &[TestEntry<'_>]) -> Vec<u8> {
    let mut builder = Builder::new(Vec::new());
    for entry in entries {
        let mut header = Header::new_gnu();
        header.as_gnu_mut().unwrap().name[..entry.name.len()]
            .copy_from_slice(entry.name.as_bytes());
        header.set_entry_type(entry.kind);
        header.set_mode(entry.mode);
        let content = if entry.kind == EntryType::Regular {
            entry.content.as_bytes()
        } else {
            header.as_gnu_mut().unwrap().linkname[..entry.content.len()]
                .copy_from_slice(entry.content.as_bytes());
            b""
        };
        header.set_size(content.len() as u64);
        header.set_cksum();
        builder.append(&header, content).unwrap();
    }
    builder.into_inner().unwrap()
}

fn unpacked(entries: &[TestEntry<'_>]) -> (tempfile::TempDir, Result<u64, String>) {
    let temporary = tempfile::tempdir().unwrap();
    let out = temporary.path().join("out");
    fs::create_dir(&out).unwrap();
    let result = unpack(&out, &mut archive(entries).as_slice());
    (temporary, result.map_err(|error| error.to_string()))
}

#[test]
fn files_links_and_modes_are_those_of_a_commit() {
    let program = TestEntry {
        mode: 0o4711,
        ..file("out/bin/run", "#!")
    };
    let hard = TestEntry {
        kind: EntryType::Link,
        ..file("out/bin/same", "out/bin/run")
    };
    let (temporary, result) = unpacked(&[
        folder("out"),
        folder("out/empty"),
        file("out/a", "A"),
        program,
        hard,
        link("out/l", "bin/../a"),
        link("out/bin/up", "../a"),
        link("out/dangling", "nothing/here"),
    ]);
    assert_eq!(result, Ok(6));
    let out = temporary.path().join("out");
    for (path, content, mode) in [
        ("a", "A", 0o644),
        ("bin/run", "#!", 0o755),
        ("bin/same", "#!", 0o755),
    ] {
        let path = out.join(path);
        assert_eq!(fs::read_to_string(&path).unwrap(), content);
        let permissions = fs::metadata(&path).unwrap().permissions();
        assert_eq!(
            std::os::unix::fs::PermissionsExt::mode(&permissions) & 0o7777,
            mode
        );
    }
    assert_eq!(fs::read_to_string(out.join("l")).unwrap(), "A");
    assert_eq!(fs::read_to_string(out.join("bin/up")).unwrap(), "A");
}

#[test]
fn hostile_entries_are_errors() {
    let special = |kind| TestEntry {
        kind,
        ..file("out/x", "")
    };
    let cases: Vec<(Vec<TestEntry<'_>>, &str)> = vec![
        (vec![], "there are no files"),
        (vec![folder("out"), folder("out/a")], "there are no files"),
        (
            vec![file("out/../x", "")],
            "`out/../x` is outside of the folder",
        ),
        (
            vec![file("/out/x", "")],
            "`/out/x` is outside of the folder",
        ),
        (vec![file("../x", "")], "`../x` is outside of the folder"),
        (
            vec![file("out/.git/hooks/x", "")],
            "`.git/hooks/x` is inside a `.git` folder, where a file could become a command",
        ),
        (
            vec![file("out/a/.GIT", "")],
            "`a/.GIT` is inside a `.git` folder, where a file could become a command",
        ),
        (
            vec![link("out/x", "/etc/passwd")],
            "the symbolic link `x` leads outside, to `/etc/passwd`",
        ),
        (
            vec![link("out/x", "..")],
            "the symbolic link `x` leads outside, to `..`",
        ),
        (
            vec![link("out/a/x", "../../y")],
            "the symbolic link `a/x` leads outside, to `../../y`",
        ),
        // Each of them alone would look harmless.
        (
            vec![
                folder("out/p"),
                folder("out/p/q"),
                link("out/p/q/up", "../.."),
                link("out/x", "p/q/up/../y"),
            ],
            "the symbolic link `x` leads outside, to `p/q/up/../y`",
        ),
        (vec![special(EntryType::Char)], "`x` is a device"),
        (vec![special(EntryType::Block)], "`x` is a device"),
        (vec![special(EntryType::Fifo)], "`x` is a pipe"),
        (
            vec![link("out/\u{1b}[1m", "/")],
            r"the symbolic link `\u{1b}[1m` leads outside, to `/`",
        ),
    ];
    for (entries, problem) in cases {
        let (temporary, result) = unpacked(&entries);
        assert_eq!(result, Err(problem.to_owned()));
        let names = fs::read_dir(temporary.path()).unwrap();
        assert_eq!(names.count(), 1, "{problem}");
    }
}

#[test]
fn loops_of_links_end() {
    let (_temporary, result) = unpacked(&[link("out/a", "b"), link("out/b", "a/x")]);
    assert_eq!(result, Ok(2));
}

#[test]
fn a_truncated_archive_is_an_error() {
    let temporary = tempfile::tempdir().unwrap();
    let whole = archive(&[file("out/a", "A")]);
    let cut = &whole[..whole.len() - 600];
    let result = unpack(temporary.path(), &mut &cut[..]);
    let error = result.expect_err("it is incomplete");
    assert!(!error.is_of_plugin(), "{error}");
}

/// Nothing that random archives contain is written or leads outside.
#[test]
fn random_archives_stay_inside() {
    let names = ["out", "a", "b", "c", "..", ".", ""];
    let mut seed: u64 = 42;
    let mut next = |limit: usize| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (seed >> 33) as usize % limit
    };
    let mut accepted = 0;
    for _ in 0..3000 {
        let mut texts = Vec::new();
        for _ in 0..3 {
            let mut path = |first: usize| {
                let parts: Vec<&str> = (0..=next(3))
                    .map(|_| names[first + next(names.len() - first)])
                    .collect();
                parts.join("/")
            };
            let (name, target) = (format!("out/{}", path(1)), path(0));
            texts.push((name, target, next(4)));
        }
        let entries: Vec<TestEntry<'_>> = texts
            .iter()
            .map(|(name, target, kind)| match kind {
                0 => file(name, target),
                1 => folder(name),
                _ => link(name, target),
            })
            .collect();
        let (temporary, result) = unpacked(&entries);
        let names: BTreeSet<_> = fs::read_dir(temporary.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        assert_eq!(names, BTreeSet::from(["out".into()]));
        if result.is_err() {
            continue;
        }
        accepted += 1;
        let root = temporary.path().join("out").canonicalize().unwrap();
        for entry in walkdir::WalkDir::new(&root) {
            // Dangling links and loops lead nowhere.
            if let Ok(real) = entry.unwrap().path().canonicalize() {
                assert!(real.starts_with(&root), "{texts:?}");
            }
        }
    }
    assert!(accepted > 100, "{accepted}");
}
