//! A cache of recently read trees.

use std::collections::HashMap;
use std::rc::Rc;

use git2::{ObjectType, Odb, Oid};

/// The size in bytes: the trees of a commit are compared again with its children's.
const CACHE_BYTES: usize = 32 << 20;

/// Recently read trees.
#[derive(Default)]
pub struct TreeCache {
    trees: HashMap<Oid, Rc<[u8]>>,
    bytes: usize,
}

impl TreeCache {
    /// Reads a tree; an empty one if there is none.
    ///
    /// # Errors
    ///
    /// The object is missing or is not a tree.
    pub fn get(&mut self, odb: &Odb<'_>, id: Option<Oid>) -> Result<Rc<[u8]>, git2::Error> {
        let Some(id) = id else {
            return Ok(Rc::default());
        };
        if let Some(tree) = self.trees.get(&id) {
            return Ok(tree.clone());
        }
        let tree = odb.read(id)?;
        if tree.kind() != ObjectType::Tree {
            return Err(git2::Error::from_str(&format!("{id} is not a tree")));
        }
        if self.bytes > CACHE_BYTES {
            self.trees.clear();
            self.bytes = 0;
        }
        self.bytes += tree.len();
        let tree: Rc<[u8]> = tree.data().into();
        self.trees.insert(id, tree.clone());
        Ok(tree)
    }
}
