use std::os::unix::fs::symlink;

use super::*;
use crate::client::engine::container::source_upload::Fingerprint;

/// A folder, and the archive that is unpacked into it.
struct CopyBackWorld {
    folder: tempfile::TempDir,
    place: CopyBackTarget,
    archive: tar::Builder<Vec<u8>>,
}

impl CopyBackWorld {
    /// Creates a folder with these files, which were sent unchanged.
    fn new(files: &[(&str, &str)], is_shared: bool) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut sent = SentFiles::new();
        for (name, text) in files {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, text).unwrap();
        }
        for entry in walkdir::WalkDir::new(folder.path()).min_depth(1) {
            let entry = entry.unwrap();
            let below = entry.path().strip_prefix(folder.path()).unwrap();
            sent.insert(
                below.to_owned(),
                Fingerprint::of(&entry.metadata().unwrap()),
            );
        }
        let place = CopyBackTarget {
            folder: folder.path().to_owned(),
            part: PathBuf::new(),
            sent,
            excluded: vec![".git".into(), "web/cache".into()],
            is_shared,
        };
        let archive = tar::Builder::new(Vec::new());
        let mut world = Self {
            folder,
            place,
            archive,
        };
        world.add("work", EntryType::Directory, "", "");
        world
    }

    fn add(&mut self, name: &str, kind: EntryType, text: &str, target: &str) {
        let mut header = tar::Header::new_gnu();
        let name = name.as_bytes();
        header.as_old_mut().name[..name.len()].copy_from_slice(name);
        let target = target.as_bytes();
        header.as_old_mut().linkname[..target.len()].copy_from_slice(target);
        header.set_entry_type(kind);
        header.set_mode(if kind == EntryType::Directory {
            0o755
        } else {
            0o644
        });
        header.set_size(text.len() as u64);
        header.set_mtime(1_600_000_000);
        header.set_cksum();
        self.archive.append(&header, text.as_bytes()).unwrap();
    }

    fn file(&mut self, name: &str, text: &str) {
        self.add(&format!("work/{name}"), EntryType::Regular, text, "");
    }

    fn unpack(&mut self) -> io::Result<CopyBackReport> {
        self.archive.finish().unwrap();
        let bytes = self.archive.get_ref().clone();
        unpack(&self.place, Some(&mut bytes.as_slice()))
    }

    fn read(&self, name: &str) -> Option<String> {
        fs::read_to_string(self.folder.path().join(name)).ok()
    }
}

#[test]
fn changes_and_removals_are_copied_back() {
    for is_shared in [false, true] {
        let mut world = CopyBackWorld::new(
            &[("a", "1"), ("d/b", "2"), ("d/c", "33"), ("gone/x", "4")],
            is_shared,
        );
        world.file("a", "1");
        world.add("work/d", EntryType::Directory, "", "");
        world.file("d/b", "3");
        world.file("d/c", "longer");
        world.file("new/file", "5");
        world.add("work/same", EntryType::Link, "", "work/d/c");
        world.add("work/link", EntryType::Symlink, "", "/etc/passwd");
        let returned = world.unwrap();
        assert_eq!(world.read("d/b").as_deref(), Some("3"));
        assert_eq!(world.read("d/c").as_deref(), Some("longer"));
        assert_eq!(world.read("new/file").as_deref(), Some("5"));
        assert_eq!(world.read("same").as_deref(), Some("longer"));
        assert_eq!(
            fs::read_link(world.folder.path().join("link")).unwrap(),
            Path::new("/etc/passwd")
        );
        assert!(!world.folder.path().join("gone").exists());
        assert_eq!((returned.written, returned.removed), (5, 2));
        let modified = fs::metadata(world.folder.path().join("a")).unwrap().mtime();
        assert_eq!(modified, 1_600_000_000);
    }
}

impl CopyBackWorld {
    fn unwrap(&mut self) -> CopyBackReport {
        self.unpack().unwrap()
    }
}

#[test]
fn nothing_is_written_outside() {
    for name in ["../evil", "/evil", "work/../../evil", "work/d/../../evil"] {
        let mut world = CopyBackWorld::new(&[("a", "1")], false);
        world.add(name, EntryType::Regular, "x", "");
        let error = world.unpack().unwrap_err();
        assert!(
            error.to_string().contains("outside the folder"),
            "{name}: {error}"
        );
        assert_eq!(world.read("a").as_deref(), Some("1"), "nothing is removed");
    }
    let outside = tempfile::tempdir().unwrap();
    let target = outside.path().display().to_string();
    // Through a link from the archive, an existing link, and one that replaces a folder.
    for (files, place) in [(vec![], "out"), (vec![("out/a", "")], "out")] {
        let mut world = CopyBackWorld::new(&files, false);
        world.add(&format!("work/{place}"), EntryType::Symlink, "", &target);
        world.file("out/evil", "x");
        let error = world.unpack().unwrap_err();
        assert!(error.to_string().contains("is not a folder"), "{error}");
    }
    let mut world = CopyBackWorld::new(&[], false);
    symlink(outside.path(), world.folder.path().join("out")).unwrap();
    world.file("out/evil", "x");
    world.unpack().unwrap_err();
    let mut world = CopyBackWorld::new(&[], false);
    world.add("work/hard", EntryType::Link, "", "work/../../../etc/passwd");
    world.unpack().unwrap_err();
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0);
}

#[test]
fn replacing_a_folder_by_a_link_does_not_follow_the_link() {
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("a"), "theirs").unwrap();
    let mut world = CopyBackWorld::new(&[("d/a", "1")], false);
    world.add(
        "work/d",
        EntryType::Symlink,
        "",
        &outside.path().display().to_string(),
    );
    world.unwrap();
    assert_eq!(
        fs::read_to_string(outside.path().join("a")).unwrap(),
        "theirs"
    );
}

#[test]
fn a_truncated_archive_removes_nothing() {
    let mut world = CopyBackWorld::new(&[("a", "1"), ("b", "2")], false);
    world.file("a", "1");
    let bytes = world.archive.get_ref().clone();
    let error = unpack(&world.place, Some(&mut bytes.as_slice())).unwrap_err();
    assert!(error.to_string().contains("incomplete"), "{error}");
    assert_eq!(world.read("b").as_deref(), Some("2"));
    let half = &bytes[..bytes.len() - 600];
    unpack(&world.place, Some(&mut &half[..])).unwrap_err();
    assert_eq!(world.read("b").as_deref(), Some("2"));
}

#[test]
fn concurrent_local_changes_are_kept() {
    let mut world = CopyBackWorld::new(
        &[
            ("a", "1"),
            ("b", "2"),
            ("c", "3"),
            ("e/f", "4"),
            ("gone", "5"),
        ],
        true,
    );
    let edit = |name: &str, text: &str| fs::write(world.folder.path().join(name), text).unwrap();
    edit("a", "edited");
    edit("new", "mine");
    edit("e/g", "added");
    edit("gone", "edited too");
    fs::remove_file(world.folder.path().join("c")).unwrap();
    world.file("a", "script");
    world.file("b", "script");
    world.file("c", "script");
    world.file("new", "script");
    let returned = world.unwrap();
    assert_eq!(world.read("a").as_deref(), Some("edited"));
    assert_eq!(world.read("b").as_deref(), Some("script"));
    assert_eq!(world.read("c").as_deref(), Some("script"));
    assert_eq!(world.read("new").as_deref(), Some("mine"));
    assert_eq!(world.read("e/g").as_deref(), Some("added"));
    assert_eq!(world.read("gone").as_deref(), Some("edited too"));
    assert_eq!(returned.kept, [PathBuf::from("a"), "new".into()]);
}

#[test]
fn a_folder_with_other_files_is_not_replaced() {
    let mut world = CopyBackWorld::new(&[("d/a", "1"), ("e/a", "1")], true);
    fs::write(world.folder.path().join("d/mine"), "x").unwrap();
    world.file("d", "now a file");
    world.file("e", "now a file");
    let returned = world.unwrap();
    assert_eq!(world.read("d/mine").as_deref(), Some("x"));
    assert_eq!(world.read("e").as_deref(), Some("now a file"));
    assert_eq!(returned.kept, [PathBuf::from("d")]);
}

#[test]
fn mounts_and_devices_are_not_copied_back() {
    let mut world = CopyBackWorld::new(&[(".git/HEAD", "ref")], true);
    world.add("work/.git", EntryType::Directory, "", "");
    world.file(".git/HEAD", "hostile");
    world.add("work/web", EntryType::Directory, "", "");
    world.file("web/cache/x", "cached");
    world.add("work/null", EntryType::Char, "", "");
    let returned = world.unwrap();
    assert_eq!(world.read(".git/HEAD").as_deref(), Some("ref"));
    assert!(!world.folder.path().join("web").exists());
    assert_eq!(returned.special_files, [PathBuf::from("null")]);
}

#[test]
fn modes_are_only_set_inside_the_folder() {
    let outside = tempfile::tempdir().unwrap();
    let private = outside.path().join("private");
    fs::create_dir(&private).unwrap();
    fs::set_permissions(&private, Permissions::from_mode(0o700)).unwrap();
    let target = outside.path().display().to_string();
    for is_shared in [false, true] {
        // A link that is followed by a folder in it, and a folder that is replaced by a link.
        let mut world = CopyBackWorld::new(&[], is_shared);
        world.add("work/out", EntryType::Symlink, "", &target);
        world.add("work/out/private", EntryType::Directory, "", "");
        assert_eq!(world.unpack().is_ok(), is_shared);
        let mut world = CopyBackWorld::new(&[("out/private/a", "1")], is_shared);
        world.add("work/out", EntryType::Directory, "", "");
        world.add("work/out/private", EntryType::Directory, "", "");
        world.add("work/out", EntryType::Symlink, "", &target);
        world.unwrap();
        let mode = fs::metadata(&private).unwrap().mode() & 0o777;
        assert_eq!(mode, 0o700);
    }
}

#[test]
fn a_local_file_that_replaced_a_folder_is_kept() {
    let mut world = CopyBackWorld::new(&[("d/x", "1"), ("d/e/y", "1"), ("a", "1")], true);
    fs::remove_dir_all(world.folder.path().join("d")).unwrap();
    fs::write(world.folder.path().join("d"), "mine").unwrap();
    world.add("work/d", EntryType::Directory, "", "");
    world.file("d/x", "script");
    world.add("work/d/e", EntryType::Directory, "", "");
    world.file("d/e/y", "script");
    world.add("work/d/hard", EntryType::Link, "", "work/d/x");
    world.add("work/d/link", EntryType::Symlink, "", "x");
    world.file("a", "script");
    let returned = world.unwrap();
    assert_eq!(world.read("d").as_deref(), Some("mine"));
    assert_eq!(world.read("a").as_deref(), Some("script"));
    assert_eq!(returned.kept, [PathBuf::from("d")]);
}

/// An archive that edits the folder while it is unpacked.
struct EditDuringRead<'a, F: FnMut()> {
    bytes: &'a [u8],
    after: usize,
    edit: F,
}

impl<F: FnMut()> Read for EditDuringRead<'_, F> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.after == 0 {
            (self.edit)();
        }
        let most = buffer.len().min(512);
        let read = self.bytes.read(&mut buffer[..most])?;
        self.after = self.after.wrapping_sub(1);
        Ok(read)
    }
}

#[test]
fn a_file_that_is_edited_during_the_copy_is_kept() {
    let script = "script".repeat(1000);
    for (before, is_new) in [(Some("1"), false), (None, true)] {
        let files: Vec<_> = before.iter().map(|text| ("a", *text)).collect();
        let mut world = CopyBackWorld::new(&files, true);
        world.file("a", &script);
        world.archive.finish().unwrap();
        let bytes = world.archive.get_ref().clone();
        let path = world.folder.path().join("a");
        let mut archive = EditDuringRead {
            bytes: &bytes,
            after: 5,
            edit: || fs::write(&path, "edited").unwrap(),
        };
        let returned = unpack(&world.place, Some(&mut archive)).unwrap();
        assert_eq!(world.read("a").as_deref(), Some("edited"), "{is_new}");
        assert_eq!(returned.kept, [PathBuf::from("a")]);
        let names = fs::read_dir(world.folder.path()).unwrap();
        assert_eq!(names.count(), 1, "no temporary file is left");
    }
}

#[test]
fn write_protected_folders_are_updated() {
    let mut world = CopyBackWorld::new(
        &[
            ("d/a", "1"),
            ("d/gone", "2"),
            ("d/e/x", "3"),
            ("f/g/x", "4"),
        ],
        false,
    );
    let close = |name: &str, mode: u32| {
        let path = world.folder.path().join(name);
        fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    };
    for name in ["d/e", "d", "f/g"] {
        close(name, 0o555);
    }
    world.add("work/d", EntryType::Directory, "", "");
    world.file("d/a", "changed");
    world.file("d/new/file", "new");
    world.add("work/d/link", EntryType::Symlink, "", "a");
    world.file("d/e", "was a folder");
    world.file("f", "was a folder");
    let returned = world.unwrap();
    assert_eq!(world.read("d/a").as_deref(), Some("changed"));
    assert_eq!(world.read("d/new/file").as_deref(), Some("new"));
    assert_eq!(world.read("d/e").as_deref(), Some("was a folder"));
    assert_eq!(world.read("f").as_deref(), Some("was a folder"));
    assert_eq!(world.read("d/gone"), None);
    assert_eq!(returned.written, 5);
    // The mode of the folder in the container.
    let mode = fs::metadata(world.folder.path().join("d")).unwrap().mode();
    assert_eq!(mode & 0o777, 0o755);
}

#[test]
fn a_part_that_is_a_link_is_reported() {
    let mut world = CopyBackWorld::new(&[("d/a", "1")], false);
    world.place.part = "d".into();
    world.archive = tar::Builder::new(Vec::new());
    world.add("d", EntryType::Symlink, "", "elsewhere");
    assert!(world.unwrap().is_link);
    assert_eq!(world.read("d/a").as_deref(), Some("1"));
}
