//! Files of a kind on all branches and tags of the repository around a folder, and in their recent history.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;
use std::rc::Rc;

use git2::{ErrorCode, ObjectType, Oid, Repository, Sort};

use super::revision::repository_error;
use crate::client::git::GitError;
use crate::client::git::fetch::shallow::boundary;
use crate::client::git::worktree::working_copy::oid;
use crate::model::source::CommitId;

/// The depth of folders that is searched.
const DEEPEST: usize = 32;

/// A difference of clocks that must not hide a commit, in seconds.
const SKEW: i64 = 86_400;

/// Files of a kind in the commits of a repository.
#[derive(Debug, Default)]
pub struct ReferenceFiles {
    /// Each content, with the place that it was found in first.
    pub files: Vec<(FileOrigin, Vec<u8>)>,
    /// The references of the remote whose commits the repository does not have.
    pub missing: Vec<String>,
    /// A commit of a shallow clone that is not old enough, because its parents are missing.
    pub cut_off: Option<CommitId>,
}

/// Where a file was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileOrigin {
    /// The path in the repository.
    pub path: String,
    /// The branch or tag, such as `tag v1.4`.
    pub reference: String,
    /// The commit, if it is in the history of the reference.
    pub earlier: Option<CommitId>,
}

/// What to look for.
pub struct FileSearch<'s> {
    /// The references of the remote, by full name.
    pub remote: &'s BTreeMap<String, CommitId>,
    /// The time of the oldest commit whose files are read, besides those of branches and tags.
    pub since: i64,
    /// Whether a file with this name is wanted.
    pub is_wanted: &'s dyn Fn(&str) -> bool,
}

/// Returns the remotes of the repository around a folder, `origin` first: name and URL as configured, which may contain
/// a password. `None` if there is no repository.
///
/// # Errors
///
/// The repository cannot be opened.
pub fn remotes_around(folder: &Path) -> Result<Option<Vec<(String, String)>>, GitError> {
    let Some(repository) = discover(folder)? else {
        return Ok(None);
    };
    let failed = |cause| GitError::local("cannot read the configuration of a repository", cause);
    let config = repository.config().and_then(|mut it| it.snapshot());
    let config = config.map_err(failed)?;
    let names = repository.remotes().map_err(failed)?;
    let names = names.iter().filter_map(|name| name.ok().flatten());
    let url = |name: &str| config.get_string(&format!("remote.{name}.url")).ok();
    let mut remotes: Vec<(String, String)> = names
        .filter_map(|name| Some((name.to_owned(), url(name)?)))
        .collect();
    remotes.sort_by_key(|(name, _)| name != "origin");
    Ok(Some(remotes))
}

/// Returns the wanted files of the repository around a folder; `None` if there is no repository.
///
/// # Errors
///
/// The repository cannot be read.
pub fn reference_files(
    folder: &Path,
    search: &FileSearch<'_>,
) -> Result<Option<ReferenceFiles>, GitError> {
    let Some(repository) = discover(folder)? else {
        return Ok(None);
    };
    let found = Search {
        repository: &repository,
        search,
        trees: HashMap::new(),
        seen: HashSet::new(),
        found: ReferenceFiles::default(),
    };
    let found = found.run();
    let failed = |cause| {
        let what = format!("cannot read the history of {}", folder.display());
        GitError::local(what, cause)
    };
    found.map(Some).map_err(failed)
}

fn discover(folder: &Path) -> Result<Option<Repository>, GitError> {
    match Repository::discover(folder) {
        Ok(repository) => Ok(Some(repository)),
        Err(cause) if cause.code() == ErrorCode::NotFound => Ok(None),
        Err(cause) => Err(repository_error(folder, cause)),
    }
}

/// The wanted files of a tree: path and blob.
type WantedFiles = Rc<[(String, Oid)]>;

struct Search<'s> {
    repository: &'s Repository,
    search: &'s FileSearch<'s>,
    /// By tree, without the path of the tree itself.
    trees: HashMap<Oid, WantedFiles>,
    seen: HashSet<Oid>,
    found: ReferenceFiles,
}

impl Search<'_> {
    fn run(mut self) -> Result<ReferenceFiles, git2::Error> {
        let mut tips: BTreeMap<Oid, String> = BTreeMap::new();
        for reference in self.repository.references()? {
            let reference = reference?;
            // A symbolic name of a branch that does not exist yet.
            let Ok(object) = reference.peel(ObjectType::Commit) else {
                continue;
            };
            let name = reference.name().unwrap_or_default();
            if let Some(shown) = shown(name) {
                tips.entry(object.id()).or_insert(shown);
            }
        }
        if let Ok(head) = self
            .repository
            .head()
            .and_then(|head| head.peel_to_commit())
        {
            tips.entry(head.id()).or_insert_with(|| "HEAD".to_owned());
        }
        for (name, commit) in self.search.remote {
            let id = oid(*commit)?;
            let Some(shown) = shown(name) else { continue };
            match self.repository.find_object(id, None) {
                Ok(object) => {
                    // A tag of something other than a commit.
                    if let Ok(commit) = object.peel(ObjectType::Commit) {
                        tips.entry(commit.id()).or_insert(shown);
                    }
                }
                Err(_) => self.found.missing.push(shown),
            }
        }
        for (tip, reference) in &tips {
            self.read_commit(*tip, reference, false)?;
        }
        self.walk(&tips)?;
        Ok(self.found)
    }

    /// Reads the commits that are recent enough.
    fn walk(&mut self, tips: &BTreeMap<Oid, String>) -> Result<(), git2::Error> {
        let boundary = boundary(self.repository);
        let mut walk = self.repository.revwalk()?;
        walk.set_sorting(Sort::TIME)?;
        for tip in tips.keys() {
            walk.push(*tip)?;
        }
        for id in walk {
            let id = id?;
            let commit = self.repository.find_commit(id)?;
            if commit.time().seconds() < self.search.since - SKEW {
                break;
            }
            if boundary.contains(&id) {
                self.found.cut_off = Some(id.into());
            }
            if !tips.contains_key(&id) {
                self.read_commit(id, "history", true)?;
            }
        }
        Ok(())
    }

    fn read_commit(
        &mut self,
        id: Oid,
        reference: &str,
        is_earlier: bool,
    ) -> Result<(), git2::Error> {
        let tree = self.repository.find_commit(id)?.tree_id();
        for (path, blob) in self.wanted(tree, 0)?.iter() {
            if !self.seen.insert(*blob) {
                continue;
            }
            let blob = self.repository.find_blob(*blob)?;
            let origin = FileOrigin {
                path: path.clone(),
                reference: reference.to_owned(),
                earlier: is_earlier.then(|| id.into()),
            };
            self.found.files.push((origin, blob.content().to_vec()));
        }
        Ok(())
    }

    fn wanted(&mut self, tree: Oid, depth: usize) -> Result<WantedFiles, git2::Error> {
        if let Some(known) = self.trees.get(&tree) {
            return Ok(known.clone());
        }
        let mut files = Vec::new();
        for entry in self.repository.find_tree(tree)?.iter() {
            let Ok(name) = entry.name() else { continue };
            match entry.kind() {
                Some(ObjectType::Tree) if depth < DEEPEST => {
                    let below = self.wanted(entry.id(), depth + 1)?;
                    let below = below.iter();
                    files.extend(below.map(|(path, blob)| (format!("{name}/{path}"), *blob)));
                }
                Some(ObjectType::Blob) if (self.search.is_wanted)(name) => {
                    files.push((name.to_owned(), entry.id()));
                }
                _ => {}
            }
        }
        let files: WantedFiles = files.into();
        self.trees.insert(tree, files.clone());
        Ok(files)
    }
}

/// Returns a reference for display; `None` for one that is neither a branch nor a tag.
fn shown(name: &str) -> Option<String> {
    let kinds = [
        ("refs/heads/", "branch"),
        ("refs/tags/", "tag"),
        ("refs/remotes/", "branch"),
    ];
    kinds.iter().find_map(|(prefix, kind)| {
        let short = name.strip_prefix(prefix)?;
        Some(format!("{kind} {short}"))
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use git2::{Signature, Time};

    use super::*;

    struct TestRepository {
        folder: tempfile::TempDir,
        repository: Repository,
    }

    impl TestRepository {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let repository = Repository::init(folder.path()).unwrap();
            Self { folder, repository }
        }

        fn commit(&self, time: i64, text: &str) -> Oid {
            let repository = &self.repository;
            let folder = self.folder.path().join("releases");
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::write(folder.join("a.lock"), text).unwrap();
            std::fs::write(folder.join("a.txt"), text).unwrap();
            let mut index = repository.index().unwrap();
            index
                .add_all(["*"], git2::IndexAddOption::DEFAULT, None)
                .unwrap();
            let tree = repository.find_tree(index.write_tree().unwrap()).unwrap();
            let who = Signature::new("a", "a@example.com", &Time::new(time, 0)).unwrap();
            let parent = repository
                .head()
                .ok()
                .and_then(|head| head.peel_to_commit().ok());
            let parents: Vec<_> = parent.iter().collect();
            repository
                .commit(Some("HEAD"), &who, &who, "x", &tree, &parents)
                .unwrap()
        }

        fn found(&self, since: i64, remote: &BTreeMap<String, CommitId>) -> ReferenceFiles {
            let search = FileSearch {
                remote,
                since,
                is_wanted: &|name| name.ends_with(".lock"),
            };
            let found = reference_files(&self.folder.path().join("releases"), &search);
            found.unwrap().unwrap()
        }
    }

    fn texts(found: &ReferenceFiles) -> BTreeSet<&str> {
        let files = found.files.iter();
        files
            .map(|(_, content)| str::from_utf8(content).unwrap())
            .collect()
    }

    #[test]
    fn files_of_all_references_and_recent_commits_are_found() {
        let it = TestRepository::new();
        let day = 86_400;
        let tagged = it.commit(10 * day, "tagged");
        it.commit(20 * day, "old");
        it.commit(50 * day, "recent");
        it.commit(60 * day, "tip");
        let tagged = it.repository.find_object(tagged, None).unwrap();
        it.repository.tag_lightweight("v1", &tagged, false).unwrap();
        let none = BTreeMap::new();
        let found = it.found(40 * day, &none);
        assert_eq!(texts(&found), ["recent", "tagged", "tip"].into());
        let origin = |text: &str| {
            let mut files = found.files.iter();
            files
                .find(|(_, content)| content == text.as_bytes())
                .unwrap()
                .0
                .clone()
        };
        assert_eq!(origin("tagged").reference, "tag v1");
        assert_eq!(origin("tip").path, "releases/a.lock");
        assert!(origin("recent").earlier.is_some());
        assert_eq!(found.cut_off, None);

        let absent: CommitId = "1".repeat(40).parse().unwrap();
        let remote = BTreeMap::from([
            ("refs/heads/other".to_owned(), absent),
            ("refs/pull/7/head".to_owned(), absent),
        ]);
        assert_eq!(it.found(0, &remote).missing, ["branch other"]);
    }
}
