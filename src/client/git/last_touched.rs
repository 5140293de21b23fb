//! The last commit that touched some paths, for many sets of paths in one walk.
//!
//! The answer is that of `git log -1 -- <paths>`, whose rule is this: at a commit, go on with its first parent
//! in which all the paths are what they are here; where there is none, this is the commit. So a
//! merge counts only where it made something that none of its parents has, and a rename into a path
//! touches it.
//!
//! Sets that stand at the same commit go on together, so that a thousand services cost little more
//! than one: the walk compares each commit with its parents once, and opens only trees that
//! differ and lead to a path that is still looked for.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BinaryHeap, HashMap, HashSet};
use std::rc::Rc;

use git2::{ErrorCode, ObjectType, Odb, Oid, Repository};

use super::path_trie::{NodeId, PathTrie};
use super::progress::Watch;
use super::tree_difference::{BrokenTree, compare};
use super::working_copy::oid;
use super::{GitError, WorkingCopy};
use crate::source::CommitId;

/// How many bytes of trees are kept: the trees of a commit are needed again for its children.
const KEPT_BYTES: usize = 32 << 20;

/// Some paths, and the commit to start from.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PathsAt {
    /// The commit.
    pub tip: CommitId,
    /// Folders and files, relative to the repository, without `.` and `..`.
    pub paths: Vec<String>,
}

/// Which commit touched some paths last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LastTouch {
    /// This one.
    Commit(CommitId),
    /// None: the paths are not there, and never were.
    Never,
    /// It cannot be told: the history ends here, as in a shallow clone.
    BeyondHistory,
}

impl WorkingCopy {
    /// Returns for each request, in their order, the last commit that touched its paths.
    ///
    /// # Errors
    ///
    /// A commit or a tree is missing or damaged, or the run was interrupted.
    pub fn last_touched(
        &self,
        requests: &[PathsAt],
        watch: &Watch<'_>,
    ) -> Result<Vec<LastTouch>, GitError> {
        let failed = |cause: git2::Error| match cause.code() {
            ErrorCode::NotFound => {
                let what = format!("cannot read the whole history in {}", self.dir.display());
                self.lacks(what, cause)
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
        let answers = walk.answers.into_iter();
        Ok(answers
            .map(|answer| answer.unwrap_or(LastTouch::BeyondHistory))
            .collect())
    }
}

/// Sets of paths, by their number among the requests.
type Sets = HashSet<usize>;

struct Walk<'a> {
    repository: &'a Repository,
    odb: Odb<'a>,
    /// Commits without parents only because a shallow clone ends there.
    borders: HashSet<Oid>,
    trie: PathTrie,
    /// The ends of each set's paths.
    ends_of: Vec<Vec<NodeId>>,
    /// The sets with a path that ends at a place.
    sets_at: HashMap<NodeId, Vec<usize>>,
    /// The sets that stand at each commit.
    standing: HashMap<Oid, Sets>,
    /// The commits where sets stand, the latest first: so that sets meet again where branches
    /// join. That is all that times are for; the answer does not depend on them.
    order: BinaryHeap<(i64, Oid)>,
    answers: Vec<Option<LastTouch>>,
    trees: Trees,
}

impl<'a> Walk<'a> {
    fn new(repository: &'a Repository, requests: &[PathsAt]) -> Result<Self, git2::Error> {
        let mut walk = Self {
            repository,
            odb: repository.odb()?,
            borders: super::shallow::borders(repository),
            trie: PathTrie::new(),
            ends_of: Vec::new(),
            sets_at: HashMap::new(),
            standing: HashMap::new(),
            order: BinaryHeap::new(),
            answers: vec![None; requests.len()],
            trees: Trees::default(),
        };
        let mut at_tips: BTreeMap<CommitId, Sets> = BTreeMap::new();
        for (number, request) in requests.iter().enumerate() {
            let ends: Vec<NodeId> = request
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
            walk.stand(oid(tip)?, sets)?;
        }
        Ok(walk)
    }

    /// Returns the next commit to look at, and the sets that stand there.
    fn next(&mut self) -> Option<(Oid, Sets)> {
        loop {
            let (_, commit) = self.order.pop()?;
            if let Some(sets) = self.standing.remove(&commit) {
                return Some((commit, sets));
            }
        }
    }

    fn stand(&mut self, commit: Oid, mut sets: Sets) -> Result<(), git2::Error> {
        if let Some(there) = self.standing.get_mut(&commit) {
            if there.len() < sets.len() {
                std::mem::swap(there, &mut sets);
            }
            there.extend(sets);
            return Ok(());
        }
        let time = self.repository.find_commit(commit)?.time().seconds();
        self.order.push((time, commit));
        self.standing.insert(commit, sets);
        Ok(())
    }

    /// Sends each set on to the parent that it goes on with, or answers it.
    fn step(&mut self, id: Oid, mut sets: Sets) -> Result<(), git2::Error> {
        if self.borders.contains(&id) && self.has_parents(id)? {
            self.answer(&sets, LastTouch::BeyondHistory);
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
                self.stand(parent, sets)?;
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
            self.answer(&sets, LastTouch::Never);
            sets = touched;
        }
        self.answer(&sets, LastTouch::Commit(id.into()));
        Ok(())
    }

    /// Tells whether a commit says that it has parents, be they here or not: a clone that is deep
    /// enough has a border at the first commit of all.
    fn has_parents(&self, id: Oid) -> Result<bool, git2::Error> {
        let commit = self.odb.read(id)?;
        let mut lines = commit.data().split(|byte| *byte == b'\n');
        // The first line names the tree.
        Ok(lines
            .nth(1)
            .is_some_and(|line| line.starts_with(b"parent ")))
    }

    fn answer(&mut self, sets: &Sets, answer: LastTouch) {
        for set in sets {
            self.answers[*set] = Some(answer);
            for end in &self.ends_of[*set] {
                self.trie.remove(*end);
            }
        }
    }

    /// Returns those of the sets of which a path differs between two trees.
    fn touched(
        &mut self,
        one: Option<Oid>,
        other: Option<Oid>,
        sets: &Sets,
    ) -> Result<Sets, git2::Error> {
        let mut ends = Vec::new();
        self.compare(PathTrie::ROOT, one, other, &mut ends)?;
        let at = |end: &NodeId| self.sets_at.get(end).into_iter().flatten();
        Ok(ends
            .iter()
            .flat_map(at)
            .filter(|set| sets.contains(*set))
            .copied()
            .collect())
    }

    /// Collects the places that paths may end at and that differ.
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
        let (left, right) = (self.tree(one)?, self.tree(other)?);
        let mut deeper = Vec::new();
        let compared = compare(bytes(&left), bytes(&right), |left, right| {
            let Some(name) = left.or(right).map(|entry| entry.name) else {
                return;
            };
            let Some(child) = self.trie.child(node, name) else {
                return;
            };
            ends.push(child);
            if self.trie.has_children(child) {
                let folder = |entry: Option<super::tree_difference::TreeEntry<'_>>| {
                    entry
                        .filter(|entry| entry.is_folder())
                        .map(|entry| entry.id)
                };
                deeper.push((child, folder(left), folder(right)));
            }
        });
        compared.map_err(|BrokenTree| {
            git2::Error::from_str(&format!("a tree of {one:?} or {other:?} is damaged"))
        })?;
        for (child, left, right) in deeper {
            self.compare(child, left, right, ends)?;
        }
        Ok(())
    }

    fn tree(&mut self, id: Option<Oid>) -> Result<Option<Rc<[u8]>>, git2::Error> {
        match id {
            Some(id) => self.trees.get(&self.odb, id).map(Some),
            None => Ok(None),
        }
    }
}

fn bytes(tree: &Option<Rc<[u8]>>) -> &[u8] {
    tree.as_deref().unwrap_or_default()
}

/// The trees that were read last.
#[derive(Default)]
struct Trees {
    kept: HashMap<Oid, Rc<[u8]>>,
    bytes: usize,
}

impl Trees {
    fn get(&mut self, odb: &Odb<'_>, id: Oid) -> Result<Rc<[u8]>, git2::Error> {
        if let Some(tree) = self.kept.get(&id) {
            return Ok(tree.clone());
        }
        let tree = odb.read(id)?;
        if tree.kind() != ObjectType::Tree {
            return Err(git2::Error::from_str(&format!("{id} is not a tree")));
        }
        if self.bytes > KEPT_BYTES {
            self.kept.clear();
            self.bytes = 0;
        }
        self.bytes += tree.len();
        let tree: Rc<[u8]> = tree.data().into();
        self.kept.insert(id, tree.clone());
        Ok(tree)
    }
}
