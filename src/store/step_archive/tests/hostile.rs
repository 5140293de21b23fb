//! Archives that xp would not write.

use tar::{EntryType, Header};

use super::super::header::{BLOCK, Entry, Kind, padding};
use super::super::times::ModifiedAt;
use super::*;

const TIME: ModifiedAt = ModifiedAt {
    seconds: 1,
    nanoseconds: 2,
};

/// A tar file, and what it declares.
#[derive(Default)]
struct Tar {
    bytes: Vec<u8>,
    unpacked_bytes: u64,
    files: u64,
}

impl Tar {
    /// Returns a valid archive with the output `out`.
    fn good() -> Self {
        let mut tar = Self::default();
        tar.folder("out").file("out/a", b"text").link("out/l", "a");
        tar
    }

    fn entry(&mut self, path: &str, kind: Kind, mode: u32) -> &mut Self {
        let entry = Entry {
            path: path.into(),
            kind,
            mode,
            modified: TIME,
        };
        entry.write(&mut self.bytes).unwrap();
        self.files += 1;
        self
    }

    fn folder(&mut self, path: &str) -> &mut Self {
        self.entry(path, Kind::Folder, 0o755)
    }

    fn link(&mut self, path: &str, target: &str) -> &mut Self {
        self.entry(path, Kind::Link(target.into()), 0o777)
    }

    fn file(&mut self, path: &str, content: &[u8]) -> &mut Self {
        self.entry(path, Kind::File(content.len() as u64), 0o644);
        self.content(content)
    }

    fn content(&mut self, content: &[u8]) -> &mut Self {
        self.bytes.extend_from_slice(content);
        self.bytes.extend_from_slice(padding(content.len() as u64));
        self.unpacked_bytes += content.len() as u64;
        self
    }

    /// Changes the last header.
    fn change(&mut self, change: impl FnOnce(&mut Header)) -> &mut Self {
        let at = self.bytes.len() - BLOCK;
        let mut header = Header::from_byte_slice(&self.bytes[at..]).clone();
        change(&mut header);
        header.set_cksum();
        self.bytes[at..].copy_from_slice(header.as_bytes());
        self
    }

    fn ended(&self) -> Vec<u8> {
        [&self.bytes[..], &[0; 2 * BLOCK]].concat()
    }

    fn compressed(&self) -> (Vec<u8>, OutputsBlob) {
        compressed(&self.ended(), self.unpacked_bytes, self.files)
    }
}

#[track_caller]
fn refused(what: &str, tar: &Tar, expected: &str) {
    let (archive, blob) = tar.compressed();
    refused_archive(what, &archive, &blob, expected);
}

#[track_caller]
fn refused_archive(what: &str, archive: &[u8], blob: &OutputsBlob, expected: &str) {
    let target = Target::new();
    let error = target.unpack(archive, &["out"], blob).unwrap_err();
    assert!(error.to_string().contains(expected), "{what}: {error}");
    target.check(false, what);
}

#[test]
fn the_archive_of_these_tests_is_accepted() {
    let (archive, blob) = Tar::good().compressed();
    let target = Target::new();
    target.unpack(&archive, &["out"], &blob).unwrap();
    target.check(true, "good");
    assert_eq!(
        fs::read_to_string(target.folder().join("out/l")).unwrap(),
        "text"
    );
}

#[test]
fn paths_outside_are_refused() {
    for path in [
        "/etc/x",
        "../x",
        "out/../x",
        "out/../../x",
        "./out/x",
        "out//x",
        "out/./x",
        "out/",
        "",
        ".",
        "..",
        "out/x/..",
    ] {
        let mut tar = Tar::good();
        tar.file(path, b"x");
        refused(path, &tar, "invalid path");
    }
    for path in ["own", "other", "target", "outx", "out2/x"] {
        let mut tar = Tar::good();
        tar.file(path, b"x");
        refused(path, &tar, "is not an output");
    }
    let mut tar = Tar::good();
    tar.file("out/no/x", b"x");
    refused("no parent", &tar, "is not in a folder of the archive");
    let mut tar = Tar::good();
    tar.file("out/a/x", b"x");
    refused("below a file", &tar, "is not in a folder of the archive");
    let long = format!("out/{}", "x/".repeat(3000));
    let mut tar = Tar::good();
    tar.file(&format!("{long}x"), b"x");
    refused("long path", &tar, "invalid path");
    let mut tar = Tar::good();
    tar.file("out/a\0b", b"x");
    // A short name ends at the zero.
    refused("zero", &tar, "contains out/a twice");
    let mut tar = Tar::good();
    tar.file(&format!("out/{}\0b", "x".repeat(120)), b"x");
    refused("zero in a long name", &tar, "invalid path");
}

#[test]
fn links_lead_nowhere_else() {
    for target in [
        "/",
        "/etc/passwd",
        "..",
        "../..",
        "../../outside",
        "a/..",
        "l/../../file",
        "",
    ] {
        // `out/..` is the source folder itself, which is fine.
        let is_fine = target == "..";
        let mut tar = Tar::good();
        tar.link("out/x", target);
        if is_fine {
            let (archive, blob) = tar.compressed();
            Target::new().unpack(&archive, &["out"], &blob).unwrap();
        } else {
            refused(target, &tar, "outside of the source folder");
        }
    }
    // Nothing is written through a link, in either order.
    let mut tar = Tar::default();
    tar.folder("out")
        .link("out/d", "..")
        .file("out/d/own", b"x");
    refused("through a link", &tar, "is not in a folder of the archive");
    let mut tar = Tar::good();
    tar.link("out/d", ".").folder("out/d").file("out/d/x", b"x");
    refused("a link and a folder", &tar, "contains out/d twice");
    let mut tar = Tar::good();
    tar.link("out/x", "a").link("out/x", "own");
    refused("a link twice", &tar, "contains out/x twice");
    let mut tar = Tar::good();
    tar.link("out/x", "l").file("out/x", b"x");
    refused("a link and a file", &tar, "contains out/x twice");
    let mut tar = Tar::default();
    tar.link("out", "../outside");
    refused("the output itself", &tar, "outside of the source folder");
    let mut tar = Tar::default();
    tar.folder("out").folder("out/a").folder("out/a/b");
    tar.link("out/a/b/up", "../..")
        .link("out/z", "a/b/up/../../x");
    refused("through another link", &tar, "outside of the source folder");
}

#[test]
fn special_files_are_refused() {
    for kind in [
        EntryType::Link,
        EntryType::Char,
        EntryType::Block,
        EntryType::Fifo,
        EntryType::Continuous,
        EntryType::GNUSparse,
        EntryType::GNULongName,
        EntryType::XHeader,
        EntryType::XGlobalHeader,
        EntryType::new(b'Z'),
    ] {
        let mut tar = Tar::good();
        tar.file("out/x", b"").change(|header| {
            header.set_entry_type(kind);
            header.set_link_name("../file").unwrap();
        });
        refused(&format!("{kind:?}"), &tar, "neither a file nor a folder");
    }
    for mode in [0o4755, 0o2755, 0o1644, 0o100_644, 0o7777] {
        let mut tar = Tar::good();
        tar.entry("out/x", Kind::File(0), mode);
        refused("mode", &tar, "special permissions");
    }
    for mode in [0o4755, 0o2755] {
        let mut tar = Tar::good();
        tar.entry("out/x", Kind::Folder, mode);
        refused("mode of a folder", &tar, "special permissions");
    }
    let mut tar = Tar::good();
    tar.folder("out/x").change(|header| header.set_size(10));
    refused("a folder with content", &tar, "neither a file nor a folder");
    // An entry of another program, without a pax header.
    let mut tar = Tar::good();
    tar.folder("out/x");
    let last = tar.bytes.split_off(tar.bytes.len() - BLOCK);
    tar.bytes.truncate(tar.bytes.len() - 2 * BLOCK);
    tar.bytes.extend_from_slice(&last);
    refused("no pax header", &tar, "no pax header");
}

#[test]
fn bombs_are_refused() {
    // 4 GiB of zeros in a few kilobytes.
    let mut archive = zstd::Encoder::new(Vec::new(), 1).unwrap();
    let mut tar = Tar::default();
    tar.folder("out").entry("out/x", Kind::File(4 << 30), 0o644);
    archive.write_all(&tar.bytes).unwrap();
    for _ in 0..64 {
        archive.write_all(&vec![0; 1 << 20]).unwrap();
    }
    let archive = archive.finish().unwrap();
    let (_, mut blob) = compressed(b"", 100, 2);
    blob.bytes = archive.len() as u64;
    refused_archive("size", &archive, &blob, "more bytes than declared");
    // Many entries.
    let mut tar = Tar::default();
    tar.folder("out");
    for number in 0..10_000 {
        tar.entry(&format!("out/{number}"), Kind::File(0), 0o644);
    }
    tar.files = 100;
    refused("entries", &tar, "more files than declared");
    // A size that overflows.
    let mut tar = Tar::good();
    tar.unpacked_bytes = u64::MAX;
    tar.entry("out/x", Kind::File(u64::MAX), 0o644);
    refused("overflow", &tar, "ends in a file");
    // A huge pax header.
    let mut tar = Tar::good();
    let mut header = Header::new_ustar();
    header.set_entry_type(EntryType::XHeader);
    header.set_size(1 << 40);
    header.set_cksum();
    tar.bytes.extend_from_slice(header.as_bytes());
    refused("pax", &tar, "no pax header");
}

#[test]
fn damaged_archives_are_refused() {
    let tar = Tar::good();
    let (archive, blob) = tar.compressed();
    let check = |what: &str, archive: &[u8], blob: &OutputsBlob| {
        refused_archive(what, archive, blob, "the archive is damaged");
    };
    for length in [0, 1, archive.len() / 2, archive.len() - 1] {
        check("truncated", &archive[..length], &blob);
    }
    let mut longer = archive.clone();
    longer.extend_from_slice(&archive);
    check("more after it", &longer, &blob);
    let mut other = blob.clone();
    other.digest = format!("sha256:{}", "a".repeat(64)).parse().unwrap();
    check("another digest", &archive, &other);
    for (bytes, files) in [(0, 1), (0, -1), (1, 0), (-1, 0)] {
        let mut other = blob.clone();
        other.unpacked_bytes = other.unpacked_bytes.wrapping_add_signed(bytes);
        other.files = other.files.wrapping_add_signed(files);
        check("another size", &archive, &other);
    }
    for (what, bytes) in [
        ("no end", tar.bytes.clone()),
        ("half an end", [&tar.bytes[..], &[0; BLOCK]].concat()),
        (
            "more entries after the end",
            [tar.ended(), tar.ended()].concat(),
        ),
        ("half a header", tar.bytes[..100].to_vec()),
        ("other content", b"not a tar file".repeat(100)),
    ] {
        let (archive, blob) = compressed(&bytes, tar.unpacked_bytes, tar.files);
        check(what, &archive, &blob);
    }
    let mut missing = Tar::default();
    missing.folder("out");
    let (archive, blob) = missing.compressed();
    let target = Target::new();
    let error = target
        .unpack(&archive, &["out", "out2"], &blob)
        .unwrap_err();
    assert!(matches!(error, ArchiveError::MissingOutput(_)), "{error}");
    target.check(false, "missing output");
}

/// Random changes of a valid archive, with valid checksums and digests.
#[test]
fn changed_archives_never_write_outside() {
    let pieces: [&[u8]; 10] = [
        b"../", b"/", b"..", b"\0", b"out", b"own", b"7777", b"1", b"2", b"x",
    ];
    let mut accepted = 0;
    for seed in 0..800 {
        let mut random = PseudoRandom(seed);
        let mut tar = Tar::default();
        tar.folder("out").folder("out/d").file("out/d/a", b"text");
        tar.link("out/d/l", "../x")
            .link("out/m", "d")
            .file("out/d/b", &[b'b'; 600]);
        for _ in 0..=random.below(2) {
            let block = random.below(tar.bytes.len() / BLOCK) * BLOCK;
            let at = block + random.below(BLOCK - 8);
            let piece = random.pick(&pieces);
            // Mostly in names, and in what a pax header contains.
            let at = if random.below(3) > 0 {
                block + random.below(40)
            } else {
                at
            };
            let at = if random.below(4) == 0 {
                block + 156
            } else {
                at
            };
            tar.bytes[at..at + piece.len()].copy_from_slice(piece);
        }
        if random.below(4) == 0 {
            let from = random.below(tar.bytes.len() / BLOCK) * BLOCK;
            let to = random.below(tar.bytes.len() / BLOCK) * BLOCK;
            let block = tar.bytes[from..from + BLOCK].to_vec();
            tar.bytes[to..to + BLOCK].copy_from_slice(&block);
        }
        for at in (0..tar.bytes.len()).step_by(BLOCK) {
            let mut header = Header::from_byte_slice(&tar.bytes[at..at + BLOCK]).clone();
            let is_header = header.as_ustar().is_some();
            if is_header {
                header.set_cksum();
                tar.bytes[at..at + BLOCK].copy_from_slice(header.as_bytes());
            }
        }
        let (archive, blob) = tar.compressed();
        let target = Target::new();
        let result = target.unpack(&archive, &["out"], &blob);
        accepted += u32::from(result.is_ok());
        target.check(result.is_ok(), &format!("seed {seed}: {result:?}"));
        let own = fs::read_to_string(target.folder().join("own"));
        assert_eq!(own.unwrap(), "precious", "seed {seed}");
        for entry in walkdir::WalkDir::new(target.folder().join("out"))
            .into_iter()
            .flatten()
        {
            let mode = entry.metadata().unwrap().mode();
            assert!(mode & 0o6000 == 0, "seed {seed}: {entry:?}");
            if let Ok(end) = entry.path().canonicalize() {
                let top = target.folder().canonicalize().unwrap();
                assert!(end.starts_with(top), "seed {seed}: {entry:?}");
            }
        }
    }
    // Otherwise, the changes would be too wild.
    assert!(accepted > 50, "{accepted} accepted");
}
