//! Runs `git-lfs` the way git does: one process that filters one file after another (gitattributes(5), "Long
//! Running Filter Process").
//!
//! The process may delay responses, and then fetches several files in parallel.

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

use super::environment::{LfsStorage, set_environment};
use super::error::{hint, last_lines, not_started};
use super::{Pointer, is_pointer};
use crate::client::git::error::GitErrorKind;
use crate::client::git::progress::OperationContext;
use crate::client::git::{GitClient, GitError};
use crate::client::output_tail::OutputTail;
use crate::model::source::GitUrl;

/// The name of the program and of its Debian package.
pub(super) const PROGRAM: &str = "git-lfs";

/// The maximum size of a packet's content.
const MAX_PACKET_SIZE: usize = 65_516;

/// How long to wait for the process to exit after the last request.
const END_TIMEOUT: Duration = Duration::from_secs(5);

/// Sources and targets of Git LFS files.
pub(in crate::client::git) struct LfsFiles<'a> {
    pub(in crate::client::git) git_dir: &'a Path,
    /// The folder in which pointers are replaced with files.
    pub(in crate::client::git) work_tree: &'a Path,
    /// Git's object folders; a working copy has its LFS files next to them.
    pub(in crate::client::git) objects: &'a [PathBuf],
    pub(in crate::client::git) url: &'a GitUrl,
    /// The folder in which LFS files are cached.
    pub(in crate::client::git) storage: &'a Path,
}

/// Replaces pointers with their files.
///
/// # Errors
///
/// `git-lfs` is not installed, cannot fetch a file, or returns content that does not match the pointer.
pub(in crate::client::git) fn fetch(
    client: &GitClient,
    files: &LfsFiles<'_>,
    pointers: &[Pointer],
    watch: &OperationContext<'_>,
) -> Result<(), GitError> {
    let storage = LfsStorage::link(files)?;
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
    files: &LfsFiles<'_>,
    pointers: &[Pointer],
    watch: &OperationContext<'_>,
) -> Result<(), GitError> {
    let mut process = LfsProcess::start(client, files, pointers)?;
    let done = process.replace_all(files, pointers, watch).await;
    match done {
        Ok(()) => {
            process.end().await;
            Ok(())
        }
        Err(FetchFailure::Known(error)) => Err(error),
        Err(FetchFailure::Broken(path)) => Err(process.explain(client, files, &path).await),
    }
}

/// Why a file could not be fetched.
enum FetchFailure {
    /// The process exited or violated the protocol while this path was requested.
    Broken(String),
    Known(GitError),
}

impl From<GitError> for FetchFailure {
    fn from(error: GitError) -> Self {
        Self::Known(error)
    }
}

struct LfsProcess {
    child: Child,
    input: Option<BufWriter<ChildStdin>>,
    output: BufReader<ChildStdout>,
    stderr: OutputTail,
}

/// A packet of the filter protocol.
enum FilterPacket {
    Bytes(Vec<u8>),
    Flush,
}

impl LfsProcess {
    fn start(
        client: &GitClient,
        files: &LfsFiles<'_>,
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
        let missing = || GitError::new(GitErrorKind::Local, "cannot open pipes to git-lfs");
        let input = child.stdin.take().ok_or_else(missing)?;
        let output = child.stdout.take().ok_or_else(missing)?;
        let stderr = OutputTail::of(child.stderr.take());
        Ok(Self {
            child,
            input: Some(BufWriter::new(input)),
            output: BufReader::new(output),
            stderr,
        })
    }

    async fn replace_all(
        &mut self,
        files: &LfsFiles<'_>,
        pointers: &[Pointer],
        watch: &OperationContext<'_>,
    ) -> Result<(), FetchFailure> {
        let (mut done, mut bytes) = (0, 0);
        let mut received = |size: u64| {
            (done, bytes) = (done + 1, bytes + size);
            watch.files(done, pointers.len(), bytes);
        };
        watch.files(0, pointers.len(), 0);
        let first = pointers.first().map(name).unwrap_or_default();
        let can_delay = self
            .handshake()
            .await
            .ok_or(FetchFailure::Broken(first.clone()))?;
        let mut delayed: BTreeMap<Vec<u8>, &Pointer> = BTreeMap::new();
        for pointer in pointers {
            let broken = || FetchFailure::Broken(name(pointer));
            self.request(pointer, can_delay, &pointer.text)
                .await
                .ok_or_else(broken)?;
            match self.status().await.ok_or_else(broken)?.as_str() {
                "success" => received(self.receive(files, pointer).await?),
                "delayed" => {
                    delayed.insert(pointer.path.as_bytes().to_vec(), pointer);
                }
                _ => return Err(broken()),
            }
        }
        while let Some(waiting) = delayed.values().next() {
            let broken = || FetchFailure::Broken(name(waiting));
            let available = self.available().await.ok_or_else(broken)?;
            // Delayed files remain, but none is available.
            if available.is_empty() {
                return Err(broken());
            }
            for path in available {
                let Some(pointer) = delayed.remove(&path) else {
                    continue;
                };
                let broken = || FetchFailure::Broken(name(pointer));
                self.request(pointer, false, b"").await.ok_or_else(broken)?;
                match self.status().await.ok_or_else(broken)?.as_str() {
                    "success" => received(self.receive(files, pointer).await?),
                    _ => return Err(broken()),
                }
            }
        }
        Ok(())
    }

    /// Negotiates version and capabilities; returns whether responses may be delayed.
    async fn handshake(&mut self) -> Option<bool> {
        self.send(&["git-filter-client", "version=2"]).await?;
        let response = self.list().await?;
        if !response.contains(&b"version=2".to_vec()) {
            return None;
        }
        self.send(&["capability=clean", "capability=smudge", "capability=delay"])
            .await?;
        let response = self.list().await?;
        if !response.contains(&b"capability=smudge".to_vec()) {
            return None;
        }
        Some(response.contains(&b"capability=delay".to_vec()))
    }

    async fn request(&mut self, pointer: &Pointer, can_delay: bool, content: &[u8]) -> Option<()> {
        self.packet(b"command=smudge\n").await?;
        self.packet(&[b"pathname=", pointer.path.as_bytes(), b"\n"].concat())
            .await?;
        if can_delay {
            self.packet(b"can-delay=1\n").await?;
        }
        self.flush().await?;
        for part in content.chunks(MAX_PACKET_SIZE) {
            self.packet(part).await?;
        }
        self.flush().await
    }

    /// Waits until delayed files are available, and returns their paths.
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

    /// Receives a file, writes it in place of its pointer, and verifies it; returns its size.
    async fn receive(
        &mut self,
        files: &LfsFiles<'_>,
        pointer: &Pointer,
    ) -> Result<u64, FetchFailure> {
        let path = files.work_tree.join(&pointer.path);
        let cannot_write =
            |cause| GitError::file(format!("cannot write {}", path.display()), cause);
        let mut file = File::create(&path).map_err(cannot_write)?;
        let (mut digest, mut size, mut start) = (Sha256::new(), 0, Vec::new());
        loop {
            match self
                .next()
                .await
                .ok_or(FetchFailure::Broken(name(pointer)))?
            {
                FilterPacket::Flush => break,
                FilterPacket::Bytes(bytes) => {
                    file.write_all(&bytes).map_err(cannot_write)?;
                    digest.update(&bytes);
                    size += bytes.len() as u64;
                    if start.len() < 128 {
                        start.extend_from_slice(&bytes[..bytes.len().min(128)]);
                    }
                }
            }
        }
        // The status list after the content is empty on success.
        let list = self
            .list()
            .await
            .ok_or(FetchFailure::Broken(name(pointer)))?;
        let has_failed = list
            .iter()
            .any(|line| line.starts_with(b"status=") && line != b"status=success");
        if has_failed {
            return Err(FetchFailure::Broken(name(pointer)));
        }
        let found = hex::encode(digest.finalize());
        let is_wrong = match &pointer.expected {
            Some((digest, length)) => (&found, size) != (digest, *length),
            None => is_pointer(&start),
        };
        if is_wrong {
            let what = format!("git-lfs returned the wrong content for `{}`", name(pointer));
            return Err(GitError::new(GitErrorKind::Local, what)
                .because(format!("received {size} bytes with the SHA-256 {found}"))
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

    /// Reads the lines of a list.
    async fn list(&mut self) -> Option<Vec<Vec<u8>>> {
        let mut lines = Vec::new();
        loop {
            match self.next().await? {
                FilterPacket::Flush => return Some(lines),
                FilterPacket::Bytes(mut line) => {
                    if line.ends_with(b"\n") {
                        line.pop();
                    }
                    lines.push(line);
                }
            }
        }
    }

    async fn next(&mut self) -> Option<FilterPacket> {
        let mut digits = [0; 4];
        self.output.read_exact(&mut digits).await.ok()?;
        let length = std::str::from_utf8(&digits).ok()?;
        match usize::from_str_radix(length, 16).ok()? {
            0 => Some(FilterPacket::Flush),
            length => {
                let mut bytes = vec![0; length.checked_sub(4)?];
                self.output.read_exact(&mut bytes).await.ok()?;
                Some(FilterPacket::Bytes(bytes))
            }
        }
    }

    /// Waits for the process to exit, so that it finishes writing to its storage.
    async fn end(&mut self) {
        self.input = None;
        let _ = tokio::time::timeout(END_TIMEOUT, self.child.wait()).await;
    }

    /// Returns the error for a file, with the last lines of the program's output.
    async fn explain(&mut self, client: &GitClient, files: &LfsFiles<'_>, path: &str) -> GitError {
        self.end().await;
        let stderr = self.stderr.wait(END_TIMEOUT).await;
        let error = GitError::new(
            GitErrorKind::Local,
            format!("cannot fetch `{path}` from Git LFS of {}", files.url),
        );
        let output = files.url.redactor().text(&last_lines(&stderr));
        // `insteadOf` may add a login.
        let output = client.effective_url(files.url).redactor().text(&output);
        let error = error.with_hint(hint(&output));
        if output.is_empty() {
            error.because("git-lfs exited without an error message")
        } else {
            error.because(output)
        }
    }
}

/// Returns a file's path for messages.
pub(super) fn name(pointer: &Pointer) -> String {
    pointer.path.to_string_lossy().into_owned()
}
