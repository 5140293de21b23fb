//! Effects of attributes and settings on files, compared with git.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use serde_json::Value;
use walkdir::WalkDir;

use crate::case::Case;
use crate::context::Context;
use crate::platform::Service;
use crate::process;
use crate::repository::{GitRepository, git_command};

pub const CASES: &[Case] = cases![
    exports_and_clones_match_git_checkout,
    an_encoding_that_cannot_be_written_is_an_error,
];

/// Contents of files.
const CONTENTS: &[(&str, &[u8])] = &[
    ("lf", b"1\n2\n"),
    ("crlf", b"1\r\n2\r\n"),
    ("mixed", b"1\r\n2\n"),
    ("cr", b"1\r2\n"),
    ("nul", b"1\0\n2\n"),
    ("empty", b""),
    (
        "ids",
        b"$Id$ $Id: x $ $Id: a b c $ $Identity$ $iD$\n$Id: a\n$Id$\n",
    ),
    ("latin", "\u{e9} \u{fc} \u{a3}\n".as_bytes()),
    ("marked", "\u{feff}text\n".as_bytes()),
    ("japanese", "\u{65e5}\u{672c}\u{8a9e}\n".as_bytes()),
    ("emoji", "\u{1f980}\n".as_bytes()),
    ("invalid", b"caf\xe9\n"),
    ("script", b"#!/bin/sh\necho $Id$\n"),
];

/// Lines of `.gitattributes` for a folder with such files.
const ATTRIBUTES: &[&str] = &[
    "",
    "text",
    "-text",
    "text=auto",
    "text=foo",
    "text eol=crlf",
    "text=auto eol=crlf",
    "text=auto eol=lf",
    "eol=lf",
    "eol=crlf",
    "-text eol=crlf",
    "!text",
    "crlf",
    "-crlf",
    "crlf=input",
    "crlf=auto",
    "ident",
    "-ident",
    "ident eol=crlf",
    "ident text=auto",
    "binary",
    "binary eol=crlf",
    "mine",
    "export-ignore",
    "export-subst",
    "filter=nobody",
    "working-tree-encoding=UTF-8",
    "working-tree-encoding=UTF-16",
    "working-tree-encoding=UTF-16LE",
    "working-tree-encoding=utf-16be",
    "working-tree-encoding=UTF-16LE-BOM",
    "working-tree-encoding=UTF-16BE-BOM",
    "working-tree-encoding=UTF-32",
    "working-tree-encoding=UTF-32LE",
    "working-tree-encoding=UTF-32BE",
    "working-tree-encoding=ISO-8859-1",
    "working-tree-encoding=ISO-8859-15",
    "working-tree-encoding=windows-1252",
    "text working-tree-encoding=UTF-16LE-BOM",
    "text eol=crlf working-tree-encoding=UTF-16",
    "text=auto working-tree-encoding=UTF-16LE",
    "-text working-tree-encoding=UTF-16",
    "ident working-tree-encoding=UTF-16",
    "ident text eol=crlf working-tree-encoding=UTF-16BE",
    "ident eol=crlf working-tree-encoding=ISO-8859-1",
];

/// Creates a repository with each content under each attribute.
fn repository(t: &Context) -> GitRepository {
    let remote = t.built_repo("zbackend");
    let top = remote.clone_path().to_owned();
    let write = |path: String, content: &[u8]| {
        let path = top.join(path);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(path, content).expect("a file");
    };
    let mut attributes = "[attr]mine text eol=crlf ident\n".to_owned();
    for (number, attribute) in ATTRIBUTES.iter().enumerate() {
        for (name, content) in CONTENTS {
            write(format!("a{number}/{name}"), content);
        }
        if !attribute.is_empty() {
            attributes.push_str(&format!("a{number}/* {attribute}\n"));
        }
    }
    write("japanese/file".to_owned(), "\u{65e5}\u{672c}\n".as_bytes());
    write("sub/deep/file.txt".to_owned(), b"1\n$Id$\n");
    write("sub/deep/with space".to_owned(), b"1\n");
    write("sub/other.txt".to_owned(), b"1\n$Id$\n");
    attributes.push_str("japanese/* working-tree-encoding=SHIFT-JIS\n*.txt ident eol=crlf\n");
    // The blobs are stored as written, because the attributes are added afterward.
    remote.git(&["add", "--all"]);
    remote.git(&["commit", "--quiet", "--message", "Files"]);
    write(".gitattributes".to_owned(), attributes.as_bytes());
    write(
        "sub/.gitattributes".to_owned(),
        b"*.txt -ident\ndeep/*.txt ident working-tree-encoding=UTF-16 eol=lf\ndeep/with?space eol=crlf\n\"deep/with space\" diff=x\n",
    );
    remote.git(&["add", ".gitattributes", "sub/.gitattributes"]);
    remote.git(&["commit", "--quiet", "--message", "Attributes"]);
    remote.git(&["push", "--quiet", "origin", "HEAD"]);
    remote
}

/// Returns the contents of a folder, without git's own files.
fn files(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let entries = WalkDir::new(dir)
        .into_iter()
        .filter_entry(|entry| entry.file_name() != ".git");
    let entries = entries.map(|entry| entry.expect("a folder that can be read"));
    let files = entries.filter(|entry| entry.file_type().is_file());
    let files = files.map(|entry| {
        let content = fs::read(entry.path()).expect("a file");
        let path = entry.path().strip_prefix(dir).expect("it is inside");
        (path.to_owned(), content)
    });
    files.collect()
}

fn assert_same(found: &Path, expected: &Path, what: &str) {
    let (found, expected) = (files(found), files(expected));
    assert_eq!(
        found.keys().collect::<Vec<_>>(),
        expected.keys().collect::<Vec<_>>(),
        "{what}"
    );
    let attribute = |path: &Path| {
        let folder = path.components().next().expect("a name").as_os_str();
        let number = folder
            .to_str()
            .and_then(|it| it.strip_prefix('a')?.parse::<usize>().ok());
        number.map_or("", |number| ATTRIBUTES[number])
    };
    for (path, expected) in &expected {
        let found = found[path].escape_ascii().to_string();
        let expected = expected.escape_ascii().to_string();
        let attribute = attribute(path);
        assert_eq!(found, expected, "{what}: {} {attribute}", path.display());
    }
}

/// Changes the timestamps of all files, so that only their contents show whether they are modified.
fn touch(dir: &Path) {
    let later = SystemTime::now() + Duration::from_secs(5);
    for path in files(dir).keys() {
        let file = fs::File::options().write(true).open(dir.join(path));
        file.and_then(|file| file.set_modified(later))
            .expect("a file");
    }
}

fn modified(t: &Context) -> usize {
    let status = t.xp(["status", "--format", "json"]).success().stdout;
    let status: Value = serde_json::from_str(&status).expect("JSON");
    let modified = &status["services"][0]["workingCopy"]["modified"];
    let modified = modified.as_u64().unwrap_or_else(|| panic!("{status}"));
    usize::try_from(modified).expect("a small number")
}

fn exports_and_clones_match_git_checkout(t: &Context) {
    let remote = repository(t);
    let url = remote.url_http();
    t.platform(&[Service::new("zbackend", &url)]);
    t.xp(["build"]).success();
    let plain = t.folder().join("plain");
    let mut clone = git_command(t.folder(), t.folder());
    process::succeed(clone.args(["clone", "--quiet", &url]).arg(&plain));
    assert_same(&t.dir().join(".xp/build/zbackend"), &plain, "export");
    assert!(
        fs::read(plain.join("a28/lf"))
            .expect("a file")
            .starts_with(b"1\0\n\0")
    );

    for (number, settings) in [
        &[][..],
        &["core.autocrlf=true"],
        &["core.autocrlf=input"],
        &["core.eol=crlf"],
        &["core.autocrlf=input", "core.eol=crlf"],
        &["core.fileMode=false", "core.symlinks=false"],
        &["core.attributesFile=~/attributes"],
    ]
    .into_iter()
    .enumerate()
    {
        let what = settings.join(" ");
        fs::write(t.home().join("attributes"), "a0/* eol=crlf ident\n").expect("a file");
        _ = fs::remove_file(t.home().join(".gitconfig"));
        for setting in settings {
            let (key, value) = setting.split_once('=').expect("a setting");
            t.git("", &["config", "--global", key, value]);
        }
        let (ours, theirs) = (format!("src/ours{number}"), format!("src/theirs{number}"));
        t.platform(&[Service::new("zbackend", &url).dir(&ours)]);
        t.xp(["sync"]).success();
        t.git("", &["clone", "--quiet", &url, &theirs]);
        let (ours, theirs) = (t.dir().join(ours), t.dir().join(theirs));
        assert_same(&ours, &theirs, &what);
        // xp's clone must have the same status as git's own clone, according to both xp and git.
        let status = |dir: &Path| {
            let mut git = t.git_command("");
            process::succeed(git.arg("-C").arg(dir).args(["status", "--porcelain"]))
        };
        touch(&ours);
        touch(&theirs);
        let count = modified(t);
        let expected = status(&theirs);
        assert_eq!(status(&ours), expected, "{what}");
        assert_eq!(count, expected.lines().count(), "{what}: {expected}");
    }
}

fn an_encoding_that_cannot_be_written_is_an_error(t: &Context) {
    let remote = t.built_repo("zbackend");
    let attributes = "f.txt working-tree-encoding=UTF-7\n";
    remote.commit(&[("f.txt", "1\n")], "A file");
    fs::write(remote.clone_path().join(".gitattributes"), attributes).expect("a file");
    remote.git(&["add", ".gitattributes"]);
    remote.git(&["commit", "--quiet", "--message", "Attributes"]);
    remote.git(&["push", "--quiet", "origin", "HEAD"]);
    for (transport, url) in [("http", remote.url_http()), ("file", remote.url_file())] {
        t.platform(&[Service::new("zbackend", url).dir(&format!("src/{transport}"))]);
        t.xp(["build"])
            .failure(3)
            .stderr_contains("`f.txt`: the attribute `working-tree-encoding=UTF-7` names an encoding that xp does not support")
            .stderr_contains("hint: ");
    }
    // A quoted pattern, which libgit2 does not support.
    let attributes = "\"with space\" eol=crlf\n";
    remote.commit(
        &[("with space", "1\n"), (".gitattributes", attributes)],
        "Quotes",
    );
    t.platform(&[Service::new("zbackend", remote.url_http()).dir("src/quotes")]);
    t.xp(["build"])
        .failure(3)
        .stderr_contains("`with space` has the attribute `eol=crlf` from a quoted pattern, which xp does not support")
        .stderr_contains("write `with?space` without quotes instead");
    remote.commit(
        &[(".gitattributes", "f.txt working-tree-encoding=UTF-7\n")],
        "No quotes",
    );
    // Files that are not part of the build do not matter.
    remote.commit(
        &[("service/Dockerfile", "FROM scratch\nCOPY . /\n")],
        "A folder",
    );
    let clone = t.folder().join("clone");
    let mut git = Command::new("git");
    process::succeed(
        git.args(["clone", "--quiet", &remote.url_file()])
            .arg(&clone),
    );
    let dir = t.dir().join("src/by-git");
    fs::create_dir_all(t.dir().join("src")).expect("a folder");
    fs::rename(clone, dir).expect("a clone");
    t.platform(&[Service::new("zbackend", remote.url_file())
        .dir("src/by-git")
        .git("path: service")]);
    t.xp(["build"]).success();
}
