//! The last commit that touched some paths, for many sets of paths in one walk.
//!
//! The result is that of `git log -1 -- <paths> ':(exclude)<pattern>'`: at a commit, continue with the first parent in which all the paths
//! are the same; if there is no such parent, this is the commit. A merge therefore counts only if it differs from each
//! of its parents, and a rename into a path touches it.
//!
//! Path sets at the same commit are walked together, so that a thousand services cost little more than one:
//! the walk compares each commit with its parents once, and opens only trees that differ and contain a path
//! that is still pending. Only sets with excluded patterns need a second look: at the files that differ.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BinaryHeap, HashMap, HashSet};

use git2::{ErrorCode, Odb, Oid, Repository};

use super::path_trie::{NodeId, PathTrie};
use super::selection_difference::{broken, differ};
use super::tree_cache::TreeCache;
use super::tree_difference::{TreeEntry, compare};
use crate::client::git::progress::OperationContext;
use crate::client::git::worktree::working_copy::oid;
use crate::client::git::{GitError, WorkingCopy};
use crate::model::source::{CommitId, PathSelection};

/// A set of paths, and the commit to start from.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PathsAt {
    /// The commit.
    pub tip: CommitId,
    /// The paths.
    pub selection: PathSelection,
}

/// The last commit that touched a set of paths.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LastTouch {
    /// The commit.
    Commit(CommitId),
    /// The paths do not exist in the history.
    Never,
    /// Unknown: the history is incomplete, as in a shallow clone.
    BeyondHistory,
}

impl WorkingCopy {
    /// Returns the last commit that touched the paths of each request, in the order of the requests.
    ///
    /// # Errors
    ///
    /// A commit or a tree is missing or corrupt, or the run was interrupted.
    pub fn last_touched(
        &self,
        requests: &[PathsAt],
        watch: &OperationContext<'_>,
    ) -> Result<Vec<LastTouch>, GitError> {
        let failed = |cause: git2::Error| match cause.code() {
            ErrorCode::NotFound => {
                let what = format!("cannot read the whole history in {}", self.dir.display());
                self.missing_object(what, cause)
            }
            _ => self.failed("read the history", cause),
        };
        let mut walk = Walk::new(&self.repository, requests).map_err(failed)?;
        while let Some((commit, sets)) = walk.next() {
            if watch.cancel.is_cancelled() {
                return Err(GitError::interrupted());
            }
            walk.step(commit, sets).map_err(failed)?;
        }
        let results = walk.results.into_iter();
        Ok(results
            .map(|response| response.unwrap_or(LastTouch::BeyondHistory))
            .collect())
    }
}

/// Path sets, by the index of their request.
type PathSets = HashSet<usize>;

struct Walk<'a> {
    repository: &'a Repository,
    odb: Odb<'a>,
    /// The boundary commits of a shallow clone, which lack their parents.
    boundary: HashSet<Oid>,
    trie: PathTrie,
    /// The trie nodes of each set's paths.
    ends_of: Vec<Vec<NodeId>>,
    /// The sets with a path that ends at a node.
    sets_at: HashMap<NodeId, Vec<usize>>,
    /// The sets that need a look at each file.
    by_file: BTreeMap<usize, PathSelection>,
    /// The sets at each commit that is not processed yet.
    pending: HashMap<Oid, PathSets>,
    /// The pending commits, the latest first, so that sets on different branches are merged where the branches
    /// join. Commit times affect only the speed, not the result.
    order: BinaryHeap<(i64, Oid)>,
    results: Vec<Option<LastTouch>>,
    trees: TreeCache,
}

impl<'a> Walk<'a> {
    fn new(repository: &'a Repository, requests: &[PathsAt]) -> Result<Self, git2::Error> {
        let mut walk = Self {
            repository,
            odb: repository.odb()?,
            boundary: crate::client::git::fetch::shallow::boundary(repository),
            trie: PathTrie::new(),
            ends_of: Vec::new(),
            sets_at: HashMap::new(),
            by_file: BTreeMap::new(),
            pending: HashMap::new(),
            order: BinaryHeap::new(),
            results: vec![None; requests.len()],
            trees: TreeCache::default(),
        };
        let mut at_tips: BTreeMap<CommitId, PathSets> = BTreeMap::new();
        for (number, request) in requests.iter().enumerate() {
            let selection = &request.selection;
            if selection.paths.is_empty() || !selection.exclude.is_empty() {
                walk.by_file.insert(number, selection.clone());
            }
            let ends: Vec<NodeId> = selection
                .paths
                .iter()
                .map(|path| walk.trie.add(path))
                .collect();
            for end in &ends {
                walk.sets_at.entry(*end).or_default().push(number);
            }
            walk.ends_of.push(ends);
            at_tips.entry(request.tip).or_default().insert(number);
        }
        for (tip, sets) in at_tips {
            walk.enqueue(oid(tip)?, sets)?;
        }
        Ok(walk)
    }

    /// Returns the next commit to process, and its sets.
    fn next(&mut self) -> Option<(Oid, PathSets)> {
        loop {
            let (_, commit) = self.order.pop()?;
            if let Some(sets) = self.pending.remove(&commit) {
                return Some((commit, sets));
            }
        }
    }

    fn enqueue(&mut self, commit: Oid, mut sets: PathSets) -> Result<(), git2::Error> {
        if let Some(existing) = self.pending.get_mut(&commit) {
            if existing.len() < sets.len() {
                std::mem::swap(existing, &mut sets);
            }
            existing.extend(sets);
            return Ok(());
        }
        let time = self.repository.find_commit(commit)?.time().seconds();
        self.order.push((time, commit));
        self.pending.insert(commit, sets);
        Ok(())
    }

    /// Moves each set on to a parent, or records its result.
    fn step(&mut self, id: Oid, mut sets: PathSets) -> Result<(), git2::Error> {
        if self.boundary.contains(&id) && self.has_parents(id)? {
            self.response(&sets, LastTouch::BeyondHistory);
            return Ok(());
        }
        let commit = self.repository.find_commit(id)?;
        for parent in commit.parent_ids() {
            let tree = self.repository.find_commit(parent)?.tree_id();
            let touched = self.touched(Some(commit.tree_id()), Some(tree), &sets)?;
            for set in &touched {
                sets.remove(set);
            }
            if !sets.is_empty() {
                self.enqueue(parent, sets)?;
            }
            sets = touched;
            if sets.is_empty() {
                return Ok(());
            }
        }
        if commit.parent_count() == 0 {
            let touched = self.touched(Some(commit.tree_id()), None, &sets)?;
            for set in &touched {
                sets.remove(set);
            }
            self.response(&sets, LastTouch::Never);
            sets = touched;
        }
        self.response(&sets, LastTouch::Commit(id.into()));
        Ok(())
    }

    /// Returns whether a commit has parents, present or not: in a shallow clone of the full depth, the root
    /// commit is in the boundary, too.
    fn has_parents(&self, id: Oid) -> Result<bool, git2::Error> {
        let commit = self.odb.read(id)?;
        let mut lines = commit.data().split(|byte| *byte == b'\n');
        // The first line names the tree.
        Ok(lines
            .nth(1)
            .is_some_and(|line| line.starts_with(b"parent ")))
    }

    fn response(&mut self, sets: &PathSets, response: LastTouch) {
        for set in sets {
            self.results[*set] = Some(response);
            for end in &self.ends_of[*set] {
                self.trie.remove(*end);
            }
        }
    }

    /// Returns the sets with a path that differs between two trees.
    fn touched(
        &mut self,
        one: Option<Oid>,
        other: Option<Oid>,
        sets: &PathSets,
    ) -> Result<PathSets, git2::Error> {
        let mut ends = Vec::new();
        self.compare(PathTrie::ROOT, one, other, &mut ends)?;
        let at = |end: &NodeId| self.sets_at.get(end).into_iter().flatten();
        let mut touched: PathSets = ends
            .iter()
            .flat_map(at)
            .filter(|set| sets.contains(*set))
            .copied()
            .collect();
        for (set, selection) in &self.by_file {
            let may_differ = touched.contains(set) || selection.paths.is_empty();
            if !may_differ || !sets.contains(set) {
                continue;
            }
            if differ(&mut self.trees, &self.odb, (one, other), selection)? {
                touched.insert(*set);
            } else {
                touched.remove(set);
            }
        }
        Ok(touched)
    }

    /// Collects the trie nodes that differ between two trees.
    fn compare(
        &mut self,
        node: NodeId,
        one: Option<Oid>,
        other: Option<Oid>,
        ends: &mut Vec<NodeId>,
    ) -> Result<(), git2::Error> {
        if one == other {
            return Ok(());
        }
        let left = self.trees.get(&self.odb, one)?;
        let right = self.trees.get(&self.odb, other)?;
        let mut deeper = Vec::new();
        let compared = compare(&left, &right, |left, right| {
            let Some(name) = left.or(right).map(|entry| entry.name) else {
                return;
            };
            let Some(child) = self.trie.child(node, name) else {
                return;
            };
            ends.push(child);
            if self.trie.has_children(child) {
                let folder = |entry: Option<TreeEntry<'_>>| entry?.folder();
                deeper.push((child, folder(left), folder(right)));
            }
        });
        compared.map_err(|_| broken(one, other))?;
        for (child, left, right) in deeper {
            self.compare(child, left, right, ends)?;
        }
        Ok(())
    }
}
