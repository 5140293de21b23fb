//! The `git-lfs` program, run as git runs it: one process that is asked for one file after the other
//! (gitattributes(5), "Long Running Filter Process").
//!
//! It may put an answer off, and then fetches many files at once.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, BufReader, BufWriter};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use super::{Pointer, is_pointer};
use crate::client::git::error::GitErrorKind;
use crate::client::git::progress::Watch;
use crate::client::git::{GitClient, GitError};
use crate::source::{GitScheme, GitUrl};

/// The program, as Debian's package of that name brings it.
const PROGRAM: &str = "git-lfs";

/// What is kept of its last words.
const LONGEST_STDERR: usize = 16 << 10;

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
    let link = Link::make(files)?;
    let fetched = client.shared.runtime.block_on(async {
        tokio::select! {
            () = watch.cancel.cancelled() => Err(GitError::interrupted()),
            fetched = fetch_all(client, files, pointers) => fetched,
        }
    });
    drop(link);
    fetched
}

/// The link by which `git-lfs` finds the folder that keeps its files, removed when it is dropped.
///
/// The setting `lfs.storage` would be taken for that of a remote on this machine, too.
struct Link(PathBuf);

impl Link {
    fn make(files: &Files<'_>) -> Result<Self, GitError> {
        let link = Self(files.git_dir.join("lfs"));
        let made = fs::create_dir_all(files.storage)
            .and_then(|()| symlink(absolute(files.storage), &link.0));
        made.map_err(|cause| {
            GitError::file(format!("cannot write {}", files.storage.display()), cause)
        })?;
        Ok(link)
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        _ = fs::remove_file(&self.0);
    }
}

async fn fetch_all(
    client: &GitClient,
    files: &Files<'_>,
    pointers: &[Pointer],
) -> Result<(), GitError> {
    let mut process = Process::start(client, files, pointers)?;
    let done = process.replace_all(files, pointers).await;
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
    stderr: Arc<Mutex<Vec<u8>>>,
    collector: tokio::task::JoinHandle<()>,
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
        let stderr = Arc::new(Mutex::new(Vec::new()));
        let (mut pipe, kept) = (child.stderr.take(), stderr.clone());
        let collector = tokio::spawn(async move {
            let mut buffer = [0; 1024];
            while let Some(pipe) = &mut pipe
                && let Ok(read @ 1..) = pipe.read(&mut buffer).await
            {
                let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
                kept.extend_from_slice(&buffer[..read]);
                let excess = kept.len().saturating_sub(LONGEST_STDERR);
                kept.drain(..excess);
            }
        });
        Ok(Self {
            child,
            input: Some(BufWriter::new(input)),
            output: BufReader::new(output),
            stderr,
            collector,
        })
    }

    async fn replace_all(
        &mut self,
        files: &Files<'_>,
        pointers: &[Pointer],
    ) -> Result<(), Failure> {
        let first = pointers.first().map(name).unwrap_or_default();
        let can_delay = self.greet().await.ok_or(Failure::Broken(first.clone()))?;
        let mut delayed: BTreeMap<Vec<u8>, &Pointer> = BTreeMap::new();
        for pointer in pointers {
            let broken = || Failure::Broken(name(pointer));
            self.ask(pointer, can_delay, &pointer.text)
                .await
                .ok_or_else(broken)?;
            match self.status().await.ok_or_else(broken)?.as_str() {
                "success" => self.receive(files, pointer).await?,
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
                    "success" => self.receive(files, pointer).await?,
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

    /// Writes the file that comes in place of its pointer, and compares it with what was announced.
    async fn receive(&mut self, files: &Files<'_>, pointer: &Pointer) -> Result<(), Failure> {
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
        let found: String = digest
            .finalize()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
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
        Ok(())
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
        let _ = tokio::time::timeout(END_TIMEOUT, &mut self.collector).await;
        let stderr = self
            .stderr
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let error = GitError::new(
            GitErrorKind::Local,
            format!("`{path}` cannot be fetched from Git LFS of {}", files.url),
        );
        let said = without_secrets(files.url, &last_words(&String::from_utf8_lossy(&stderr)));
        let error = error.with_hint(hint(&said));
        if said.is_empty() {
            error.because("git-lfs ended without a word")
        } else {
            error.because(said)
        }
    }
}

/// Gives the program what git would give it, and nothing that makes it leave a file out.
fn set_environment(command: &mut Command, client: &GitClient, files: &Files<'_>) {
    let url = client.effective_url(files.url);
    let remote = match url.scheme() {
        GitScheme::File => format!("file://{}", absolute(url.path()).display()),
        _ => url.expose().to_owned(),
    };
    let own = [
        // In a variable, as it may hold a password.
        ("remote.origin.url", remote),
        ("lfs.fetchinclude", String::new()),
        ("lfs.fetchexclude", String::new()),
    ];
    let own = own.map(|(name, value)| (name.to_owned(), value));
    let settings = &client.shared.environment.configuration;
    let mut count = 0;
    for (name, value) in settings.iter().cloned().chain(own) {
        command.env(format!("GIT_CONFIG_KEY_{count}"), name);
        command.env(format!("GIT_CONFIG_VALUE_{count}"), value);
        count += 1;
    }
    let objects: Vec<String> = files
        .objects
        .iter()
        .map(|folder| folder.display().to_string())
        .collect();
    command
        .env("GIT_CONFIG_COUNT", count.to_string())
        .env("GIT_DIR", absolute(files.git_dir))
        .env("GIT_WORK_TREE", absolute(files.work_tree))
        .env("GIT_ALTERNATE_OBJECT_DIRECTORIES", objects.join(":"))
        .env("GIT_TERMINAL_PROMPT", "0")
        .env("LANGUAGE", "en")
        .env_remove("GIT_OBJECT_DIRECTORY")
        .env_remove("GIT_INDEX_FILE")
        .env_remove("GIT_COMMON_DIR")
        // Set on many CI runners, to save what a build does need.
        .env_remove("GIT_LFS_SKIP_SMUDGE");
}

fn absolute(path: impl AsRef<Path>) -> PathBuf {
    let path = path.as_ref();
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

fn not_started(cause: std::io::Error, pointers: &[Pointer]) -> GitError {
    let first = pointers.first().map(name).unwrap_or_default();
    let more = match pointers.len() {
        0 | 1 => String::new(),
        count => format!(" and {} more", count - 1),
    };
    let what = format!("`{first}`{more} is in Git LFS, and `{PROGRAM}` cannot be run");
    GitError::new(GitErrorKind::Local, what)
        .because(cause)
        .with_hint("install git-lfs, such as by `apt-get install git-lfs`: without it, the image would get pointers instead of files")
}

fn hint(said: &str) -> &'static str {
    let says = |words: &[&str]| words.iter().any(|words| said.contains(words));
    if says(&["executable file not found"]) {
        return "git-lfs needs git itself: install it, such as by `apt-get install git`";
    }
    if says(&["not exist on the server", "404"]) {
        return "whoever committed it has not pushed it: `git lfs push --all origin` does";
    }
    if says(&["401", "403", "redentials", "uthentication", "uthorization"]) {
        return "git-lfs asks for the login as git does: `~/.netrc`, a credential helper, or the URL";
    }
    "`git lfs fetch` in a working copy must work without a question"
}

fn name(pointer: &Pointer) -> String {
    pointer.path.to_string_lossy().into_owned()
}

fn last_words(stderr: &str) -> String {
    let lines: Vec<&str> = stderr
        .lines()
        .map(str::trim)
        // Where git-lfs keeps its own log is gone when this is read.
        .filter(|line| !line.is_empty() && !line.starts_with("Errors logged to"))
        .filter(|line| !line.starts_with("Use `git lfs logs"))
        .collect();
    lines[lines.len().saturating_sub(4)..].join("; ")
}

/// Leaves out of what the program said what must not be shown.
fn without_secrets(url: &GitUrl, said: &str) -> String {
    let text = url.expose();
    let credentials = text
        .split_once("://")
        .and_then(|(_, rest)| rest.split('/').next()?.rsplit_once('@'))
        .map(|(credentials, _)| credentials)
        .filter(|_| url.password().is_some() || url.has_secret_user());
    let secret_user = url.user().filter(|_| url.has_secret_user());
    [credentials, url.password(), secret_user]
        .into_iter()
        .flatten()
        .filter(|secret| !secret.is_empty())
        .fold(said.to_owned(), |said, secret| said.replace(secret, "***"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_program_says_hides_secrets() {
        let url: GitUrl = "https://bob:s%40cret@h/x".parse().unwrap();
        let said = without_secrets(&url, "batch: https://bob:s%40cret@h/x/info/lfs s@cret");
        assert!(!said.contains("cret"), "{said}");
        let url: GitUrl = "https://T0KEN@h/x".parse().unwrap();
        assert_eq!(without_secrets(&url, "T0KEN@h"), "***@h");
        let url: GitUrl = "https://bob@h/x".parse().unwrap();
        assert!(!without_secrets(&url, "https://bob@h/x").contains("bob"));
    }
}
