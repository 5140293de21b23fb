//! The test reports of `scripts.reports`: found before the container ends, read afterwards.
//!
//! Scripts are not trusted: links are not followed, and only regular files of limited size are read.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use walkdir::WalkDir;

use crate::base::task::joined;
use crate::client::engine::EngineError;
use crate::execute::ExecuteContext;
use crate::execute::remote::SharedFiles;
use crate::model::event::{Event, Unit};
use crate::model::manifest::ReportPattern;
use crate::model::plan::ContainerStep;

/// The maximum number of reports of a service.
const MAX_FILES: usize = 1000;

/// The maximum size of a report.
const MAX_SIZE: u64 = 16 << 20;

/// The maximum size of all reports of a service.
const MAX_TOTAL: u64 = 64 << 20;

/// The reports of a service, by path relative to its folder.
#[derive(Default)]
pub struct FoundReports {
    files: BTreeMap<PathBuf, Content>,
    /// Why some may be missing.
    problem: Option<String>,
}

enum Content {
    /// A file of this machine.
    File(PathBuf),
    Bytes(Vec<u8>),
}

/// Finds the reports that scripts have written since `started`.
pub async fn local_reports(step: &ContainerStep, started: SystemTime) -> FoundReports {
    let (source, patterns) = (service_folder(step), step.reports.clone());
    let search = move || FoundReports {
        files: find(&source, &patterns, started),
        problem: None,
    };
    joined(tokio::task::spawn_blocking(search).await)
}

/// Reads the reports in a container of a remote engine, except files that were sent and not changed.
pub async fn remote_reports(step: &ContainerStep, shared: SharedFiles<'_>) -> FoundReports {
    let mut found = FoundReports::default();
    let sent = Arc::new(shared.files.sent_below(&service_folder(step)));
    for start in starts(&step.reports) {
        let path = Path::new(&step.script_dir).join(&start);
        let (patterns, sent, folder) = (step.reports.clone(), sent.clone(), start.clone());
        let is_wanted = move |path: &Path, size: u64, modified: u64| {
            let path = folder.join(path);
            let is_sent = sent.get(&path).is_some_and(|(sent_size, sent_at)| {
                *sent_size == size && u64::try_from(*sent_at) == Ok(modified)
            });
            size <= MAX_SIZE && !is_sent && patterns.iter().any(|it| it.matches(&path))
        };
        match shared.owner.read_files(&path, MAX_TOTAL, is_wanted).await {
            Ok(files) => {
                let files = files.into_iter();
                let read = files.map(|(path, bytes)| (start.join(path), Content::Bytes(bytes)));
                found.files.extend(read);
            }
            Err(error) => found.fail(error),
        }
    }
    found
}

impl FoundReports {
    /// Returns whether there are none.
    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    fn fail(&mut self, error: EngineError) {
        // Without a container, there is nothing to read; the scripts' own error explains it.
        if !matches!(error, EngineError::ContainerGone) {
            self.problem = Some(error.to_string());
        }
    }

    /// Emits an event for each report, and a note if there are none although they were expected.
    pub async fn emit(self, context: &ExecuteContext, unit: &Unit, is_expected: bool) {
        let is_missing = self.files.is_empty() && self.problem.is_none() && is_expected;
        if is_missing {
            context.events.emit(Event::note(format!(
                "{unit}: the scripts wrote no file that matches `scripts.reports`"
            )));
        }
        let count = self.files.len();
        let mut problem = self.problem;
        let (mut kept, mut total) = (0, 0);
        for (path, content) in self.files.into_iter().take(MAX_FILES) {
            let read = tokio::task::spawn_blocking(move || match content {
                Content::Bytes(bytes) => Ok(bytes),
                Content::File(file) => read(&file),
            });
            let name = path.display().to_string();
            let bytes = match joined(read.await) {
                Ok(bytes) => bytes,
                Err(error) => {
                    problem.get_or_insert(format!("{name}: {error}"));
                    continue;
                }
            };
            total += bytes.len() as u64;
            if total > MAX_TOTAL {
                break;
            }
            kept += 1;
            context.events.emit(Event::TestReport {
                unit: unit.clone(),
                file: name,
                copy: String::new(),
                bytes: Bytes::from(bytes),
            });
        }
        if problem.is_none() && kept < count {
            problem = Some(format!(
                "only the first {kept} of {count} were kept; the limits are {MAX_FILES} files and {} MB",
                MAX_TOTAL >> 20
            ));
        }
        if let Some(problem) = problem {
            let text = format!("{unit}: some files of `scripts.reports` were not kept: {problem}");
            context.events.emit(Event::warning(text));
        }
    }
}

/// Returns the folder of the service in the source, which patterns are relative to.
fn service_folder(step: &ContainerStep) -> PathBuf {
    let below = Path::new(&step.script_dir).strip_prefix(&step.workdir);
    step.source.join(below.unwrap_or(Path::new("")))
}

/// Returns the paths to search, without those inside others.
fn starts(patterns: &[ReportPattern]) -> Vec<PathBuf> {
    let mut starts: Vec<PathBuf> = patterns.iter().map(|it| it.start().to_owned()).collect();
    starts.sort();
    starts.dedup_by(|later, earlier| later.starts_with(&*earlier));
    starts
}

/// Finds files that match and were changed since `started`.
///
/// Compares the time of the last change of the inode, which programs cannot set: committed files and results of
/// earlier builds are not reports of this one.
fn find(
    folder: &Path,
    patterns: &[ReportPattern],
    started: SystemTime,
) -> BTreeMap<PathBuf, Content> {
    let started = started.duration_since(SystemTime::UNIX_EPOCH);
    let started = started.unwrap_or(Duration::ZERO);
    let mut files = BTreeMap::new();
    for start in starts(patterns) {
        if has_link(folder, &start) {
            continue;
        }
        let walk = WalkDir::new(folder.join(&start)).into_iter();
        let walk = walk.filter_entry(|entry| entry.file_name() != ".git");
        for entry in walk.flatten().filter(|it| it.file_type().is_file()) {
            let Ok(path) = entry.path().strip_prefix(folder) else {
                continue;
            };
            if !patterns.iter().any(|pattern| pattern.matches(path)) {
                continue;
            }
            let is_new = entry.metadata().is_ok_and(|found| {
                let seconds = u64::try_from(found.ctime()).unwrap_or(0);
                let nanos = u32::try_from(found.ctime_nsec()).unwrap_or(0);
                Duration::new(seconds, nanos) >= started
            });
            if is_new {
                let file = Content::File(entry.path().to_owned());
                files.insert(path.to_owned(), file);
            }
        }
    }
    files
}

/// Returns whether a part of a path below a folder is a symbolic link.
fn has_link(folder: &Path, below: &Path) -> bool {
    let mut path = folder.to_owned();
    below.iter().any(|name| {
        path.push(name);
        fs::symlink_metadata(&path).is_ok_and(|found| found.is_symlink())
    })
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
    let flags = i32::try_from(flags.bits()).unwrap_or(0);
    let file = File::options().read(true).custom_flags(flags).open(path);
    let file = file.map_err(|error| error.to_string())?;
    if !file.metadata().is_ok_and(|found| found.is_file()) {
        return Err("not a regular file".to_owned());
    }
    let mut bytes = Vec::new();
    let read = file.take(MAX_SIZE + 1).read_to_end(&mut bytes);
    read.map_err(|error| error.to_string())?;
    if bytes.len() as u64 > MAX_SIZE {
        return Err(format!("larger than {} MB", MAX_SIZE >> 20));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> ReportPattern {
        ReportPattern::parse(text).unwrap()
    }

    #[test]
    fn folders_inside_others_are_searched_once() {
        let patterns = ["a/b/*.xml", "a/*.xml", "a/b/c.xml", "ab/*.xml"].map(pattern);
        assert_eq!(starts(&patterns), [Path::new("a"), Path::new("ab")]);
        assert_eq!(starts(&[pattern("*.xml"), pattern("a/*")]), [Path::new("")]);
    }

    #[test]
    fn only_new_regular_files_are_found() {
        use std::os::unix::fs::symlink;
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        for name in ["out", "out/.git", "other"] {
            fs::create_dir(root.join(name)).unwrap();
        }
        fs::write(root.join("out/committed.xml"), "old").unwrap();
        std::thread::sleep(Duration::from_millis(50));
        let started = SystemTime::now() - Duration::from_millis(20);
        fs::write(root.join("out/a.xml"), "a").unwrap();
        fs::write(root.join("out/a.txt"), "a").unwrap();
        fs::write(root.join("out/.git/b.xml"), "b").unwrap();
        fs::write(root.join("other/c.xml"), "c").unwrap();
        symlink("/etc/passwd", root.join("out/link.xml")).unwrap();
        symlink("other", root.join("linked")).unwrap();
        let found = find(root, &[pattern("out/**/*.xml")], started);
        let names: Vec<&Path> = found.keys().map(PathBuf::as_path).collect();
        assert_eq!(names, [Path::new("out/a.xml")]);
        assert!(find(root, &[pattern("linked/*.xml")], started).is_empty());
        assert!(find(root, &[pattern("gone/*.xml")], started).is_empty());
        assert_eq!(read(&root.join("out/a.xml")).unwrap(), b"a");
        assert!(read(&root.join("out/link.xml")).is_err());
        let large = File::create(root.join("large.xml")).unwrap();
        large.set_len(MAX_SIZE + 1).unwrap();
        assert!(read(&root.join("large.xml")).unwrap_err().contains("16 MB"));
    }
}
