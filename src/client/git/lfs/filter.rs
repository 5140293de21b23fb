//! The `git-lfs` program, run as git runs it: one process that is asked for one file after the other
//! (gitattributes(5), "Long Running Filter Process").
//!
//! It may put an answer off, and then fetches many files at once.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, BufReader, BufWriter};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use super::failure::{hint, last_words, not_started, without_secrets};
use super::surroundings::{Storage, set_environment};
use super::{Pointer, is_pointer};
use crate::client::git::error::GitErrorKind;
use crate::client::git::progress::Watch;
use crate::client::git::{GitClient, GitError};
use crate::client::last_words::LastWords;
use crate::source::GitUrl;

/// The program, as Debian's package of that name brings it.
pub(super) const PROGRAM: &str = "git-lfs";

/// The longest content of a packet.
const LONGEST_PACKET: usize = 65_516;

/// How long it may take to end when everything was said.
const END_TIMEOUT: Duration = Duration::from_secs(5);

/// Where files of Git LFS go, and where they come from.
pub(in crate::client::git) struct Files<'a> {
    pub(in crate::client::git) git_dir: &'a Path,
    /// The folder with the pointers, which the files replace.
    pub(in crate::client::git) work_tree: &'a Path,
    /// The folders with git's objects; a working copy has files of Git LFS beside them.
    pub(in crate::client::git) objects: &'a [PathBuf],
    pub(in crate::client::git) url: &'a GitUrl,
    /// The folder that keeps what was fetched.
    pub(in crate::client::git) storage: &'a Path,
}

/// Replaces pointers by the files that they stand for.
///
/// # Errors
///
/// `git-lfs` is not installed, cannot fetch a file, or gives another file than the pointer names.
pub(in crate::client::git) fn fetch(
    client: &GitClient,
    files: &Files<'_>,
    pointers: &[Pointer],
    watch: &Watch<'_>,
) -> Result<(), GitError> {
    let storage = Storage::link(files)?;
    let fetched = client.shared.runtime.block_on(async {
        tokio::select! {
            () = watch.cancel.cancelled() => Err(GitError::interrupted()),
            fetched = fetch_all(client, files, pointers, watch) => fetched,
        }
    });
    drop(storage);
    fetched
}

async fn fetch_all(
    client: &GitClient,
    files: &Files<'_>,
    pointers: &[Pointer],
    watch: &Watch<'_>,
) -> Result<(), GitError> {
    let mut process = Process::start(client, files, pointers)?;
    let done = process.replace_all(files, pointers, watch).await;
    match done {
        Ok(()) => {
            process.end().await;
            Ok(())
        }
        Err(Failure::Known(error)) => Err(error),
        Err(Failure::Broken(path)) => Err(process.explain(files, &path).await),
    }
}

/// Why a file could not be fetched.
enum Failure {
    /// The program ended, or said something that is not its protocol, while it was asked for this.
    Broken(String),
    Known(GitError),
}

impl From<GitError> for Failure {
    fn from(error: GitError) -> Self {
        Self::Known(error)
    }
}

struct Process {
    child: Child,
    input: Option<BufWriter<ChildStdin>>,
    output: BufReader<ChildStdout>,
    words: LastWords,
}

/// A packet of the protocol: some bytes, or the end of a list.
enum Packet {
    Bytes(Vec<u8>),
    Flush,
}

impl Process {
    fn start(
        client: &GitClient,
        files: &Files<'_>,
        pointers: &[Pointer],
    ) -> Result<Self, GitError> {
        let mut command = Command::new(PROGRAM);
        command
            .arg("filter-process")
            .current_dir(files.work_tree)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        set_environment(&mut command, client, files);
        let mut child = command
            .spawn()
            .map_err(|cause| not_started(cause, pointers))?;
        let missing = || GitError::new(GitErrorKind::Local, "git-lfs has no pipes");
        let input = child.stdin.take().ok_or_else(missing)?;
        let output = child.stdout.take().ok_or_else(missing)?;
        let words = LastWords::of(child.stderr.take());
        Ok(Self {
            child,
            input: Some(BufWriter::new(input)),
            output: BufReader::new(output),
            words,
        })
    }

    async fn replace_all(
        &mut self,
        files: &Files<'_>,
        pointers: &[Pointer],
        watch: &Watch<'_>,
    ) -> Result<(), Failure> {
        let (mut done, mut bytes) = (0, 0);
        let mut came = |size: u64| {
            (done, bytes) = (done + 1, bytes + size);
            watch.files(done, pointers.len(), bytes);
        };
        watch.files(0, pointers.len(), 0);
        let first = pointers.first().map(name).unwrap_or_default();
        let can_delay = self.greet().await.ok_or(Failure::Broken(first.clone()))?;
        let mut delayed: BTreeMap<Vec<u8>, &Pointer> = BTreeMap::new();
        for pointer in pointers {
            let broken = || Failure::Broken(name(pointer));
            self.ask(pointer, can_delay, &pointer.text)
                .await
                .ok_or_else(broken)?;
            match self.status().await.ok_or_else(broken)?.as_str() {
                "success" => came(self.receive(files, pointer).await?),
                "delayed" => {
                    delayed.insert(pointer.path.as_bytes().to_vec(), pointer);
                }
                _ => return Err(broken()),
            }
        }
        while let Some(waiting) = delayed.values().next() {
            let broken = || Failure::Broken(name(waiting));
            let available = self.available().await.ok_or_else(broken)?;
            // All that is left was to come, and nothing came.
            if available.is_empty() {
                return Err(broken());
            }
            for path in available {
                let Some(pointer) = delayed.remove(&path) else {
                    continue;
                };
                let broken = || Failure::Broken(name(pointer));
                self.ask(pointer, false, b"").await.ok_or_else(broken)?;
                match self.status().await.ok_or_else(broken)?.as_str() {
                    "success" => came(self.receive(files, pointer).await?),
                    _ => return Err(broken()),
                }
            }
        }
        Ok(())
    }

    /// Agrees on the version; tells whether answers may be put off.
    async fn greet(&mut self) -> Option<bool> {
        self.send(&["git-filter-client", "version=2"]).await?;
        let answer = self.list().await?;
        if !answer.contains(&b"version=2".to_vec()) {
            return None;
        }
        self.send(&["capability=clean", "capability=smudge", "capability=delay"])
            .await?;
        let answer = self.list().await?;
        if !answer.contains(&b"capability=smudge".to_vec()) {
            return None;
        }
        Some(answer.contains(&b"capability=delay".to_vec()))
    }

    async fn ask(&mut self, pointer: &Pointer, can_delay: bool, content: &[u8]) -> Option<()> {
        self.packet(b"command=smudge\n").await?;
        self.packet(&[b"pathname=", pointer.path.as_bytes(), b"\n"].concat())
            .await?;
        if can_delay {
            self.packet(b"can-delay=1\n").await?;
        }
        self.flush().await?;
        for part in content.chunks(LONGEST_PACKET) {
            self.packet(part).await?;
        }
        self.flush().await
    }

    /// Returns the paths that can be asked for again; waits for the first one.
    async fn available(&mut self) -> Option<Vec<Vec<u8>>> {
        self.send(&["command=list_available_blobs"]).await?;
        let paths = self.list().await?;
        if self.status().await? != "success" {
            return None;
        }
        let paths = paths
            .iter()
            .filter_map(|line| line.strip_prefix(b"pathname="));
        Some(paths.map(<[u8]>::to_vec).collect())
    }

    async fn status(&mut self) -> Option<String> {
        let list = self.list().await?;
        let status = list
            .iter()
            .rev()
            .find_map(|line| line.strip_prefix(b"status="))?;
        String::from_utf8(status.to_vec()).ok()
    }

    /// Writes the file that comes in place of its pointer, and compares it with what was announced;
    /// returns its size.
    async fn receive(&mut self, files: &Files<'_>, pointer: &Pointer) -> Result<u64, Failure> {
        let path = files.work_tree.join(&pointer.path);
        let cannot_write =
            |cause| GitError::file(format!("cannot write {}", path.display()), cause);
        let mut file = File::create(&path).map_err(cannot_write)?;
        let (mut digest, mut size, mut start) = (Sha256::new(), 0, Vec::new());
        loop {
            match self.next().await.ok_or(Failure::Broken(name(pointer)))? {
                Packet::Flush => break,
                Packet::Bytes(bytes) => {
                    file.write_all(&bytes).map_err(cannot_write)?;
                    digest.update(&bytes);
                    size += bytes.len() as u64;
                    if start.len() < 128 {
                        start.extend_from_slice(&bytes[..bytes.len().min(128)]);
                    }
                }
            }
        }
        // A list after the content may take the success back; an empty one confirms it.
        let list = self.list().await.ok_or(Failure::Broken(name(pointer)))?;
        let is_taken_back = list
            .iter()
            .any(|line| line.starts_with(b"status=") && line != b"status=success");
        if is_taken_back {
            return Err(Failure::Broken(name(pointer)));
        }
        let found = hex::encode(digest.finalize());
        let is_wrong = match &pointer.expected {
            Some((digest, length)) => (&found, size) != (digest, *length),
            None => is_pointer(&start),
        };
        if is_wrong {
            let what = format!(
                "git-lfs gave another file for `{}` than its pointer names",
                name(pointer)
            );
            return Err(GitError::new(GitErrorKind::Local, what)
                .because(format!("{size} bytes came, with the SHA-256 {found}"))
                .into());
        }
        Ok(size)
    }

    async fn send(&mut self, lines: &[&str]) -> Option<()> {
        for line in lines {
            self.packet(format!("{line}\n").as_bytes()).await?;
        }
        self.flush().await
    }

    async fn packet(&mut self, bytes: &[u8]) -> Option<()> {
        let input = self.input.as_mut()?;
        let length = format!("{:04x}", bytes.len() + 4);
        input.write_all(length.as_bytes()).await.ok()?;
        input.write_all(bytes).await.ok()
    }

    async fn flush(&mut self) -> Option<()> {
        let input = self.input.as_mut()?;
        input.write_all(b"0000").await.ok()?;
        input.flush().await.ok()
    }

    /// Returns the lines until the end of a list.
    async fn list(&mut self) -> Option<Vec<Vec<u8>>> {
        let mut lines = Vec::new();
        loop {
            match self.next().await? {
                Packet::Flush => return Some(lines),
                Packet::Bytes(mut line) => {
                    if line.ends_with(b"\n") {
                        line.pop();
                    }
                    lines.push(line);
                }
            }
        }
    }

    async fn next(&mut self) -> Option<Packet> {
        let mut digits = [0; 4];
        self.output.read_exact(&mut digits).await.ok()?;
        let length = std::str::from_utf8(&digits).ok()?;
        match usize::from_str_radix(length, 16).ok()? {
            0 => Some(Packet::Flush),
            length => {
                let mut bytes = vec![0; length.checked_sub(4)?];
                self.output.read_exact(&mut bytes).await.ok()?;
                Some(Packet::Bytes(bytes))
            }
        }
    }

    /// Lets the program end by itself, so that it completes what it writes to its storage.
    async fn end(&mut self) {
        self.input = None;
        let _ = tokio::time::timeout(END_TIMEOUT, self.child.wait()).await;
    }

    /// Says why a file did not come, by the program's last words.
    async fn explain(&mut self, files: &Files<'_>, path: &str) -> GitError {
        self.end().await;
        let words = self.words.wait(END_TIMEOUT).await;
        let error = GitError::new(
            GitErrorKind::Local,
            format!("`{path}` cannot be fetched from Git LFS of {}", files.url),
        );
        let said = without_secrets(files.url, &last_words(&words));
        let error = error.with_hint(hint(&said));
        if said.is_empty() {
            error.because("git-lfs ended without a word")
        } else {
            error.because(said)
        }
    }
}

/// Returns a file's path for people.
pub(super) fn name(pointer: &Pointer) -> String {
    pointer.path.to_string_lossy().into_owned()
}
