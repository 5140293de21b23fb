//! What git changes between a blob and its file, where libgit2 does something else or nothing.
//!
//! libgit2 converts line ends as git does, knows no `working-tree-encoding`, and expands only the first
//! `$Id$` of a file. Two filters around its own put both right, so that checkouts, comparisons and
//! hashes all agree with git (`convert.c`):
//!
//! ```text
//! blob → outer filter: ident → libgit2: line ends → inner filter: encoding → file
//! file → inner filter: encoding → libgit2: line ends → outer filter: ident → blob
//! ```
//!
//! libgit2's own `ident` filter cannot be removed. It only looks for `$Id`, so that is masked while the
//! content passes through it.

mod encoding;
mod ident;
mod legacy;
mod mask;
mod registration;

use std::path::Path;

use git2::{AttrCheckFlags, AttrValue, Repository};

use encoding::{Encoding, Unsupported};

pub(super) use registration::register;

/// What the attributes of a file ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Conversion {
    ident: bool,
    encoding: Option<Result<Encoding, Unsupported>>,
}

/// Content that was converted, or left as it is.
#[derive(Debug, PartialEq, Eq)]
enum Converted {
    Changed(Vec<u8>),
    Unchanged,
}

/// The way that content goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Direction {
    ToFile,
    ToBlob,
}

/// One of the two filters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    /// Between the blob and libgit2's own filters.
    Outer,
    /// Between libgit2's own filters and the file.
    Inner,
}

/// Returns what the file of a blob holds, but for its line ends; none where its attributes ask for nothing.
pub(super) fn file_of(repository: &Repository, path: &Path, blob: &[u8]) -> Option<Vec<u8>> {
    let attribute = |name| {
        let value = repository.get_attr(path, name, AttrCheckFlags::default());
        value.ok().flatten()
    };
    let encoding = match AttrValue::from_string(attribute("working-tree-encoding")) {
        AttrValue::String(name) => Encoding::of(name),
        _ => None,
    };
    let ident = AttrValue::from_string(attribute("ident")) == AttrValue::True;
    if !ident && encoding.is_none() {
        return None;
    }
    let conversion = Conversion { ident, encoding };
    let expanded = match ident {
        true => ident::expand(blob),
        false => blob.to_vec(),
    };
    let encoded = conversion.encode(&expanded).ok()?;
    Some(encoded.unwrap_or(expanded))
}

impl Conversion {
    fn apply(
        &self,
        side: Side,
        direction: Direction,
        content: &[u8],
    ) -> Result<Converted, Unsupported> {
        let changed = match (side, direction) {
            (Side::Outer, Direction::ToFile) if self.ident => mask::apply(&ident::expand(content)),
            (Side::Outer, Direction::ToBlob) if self.ident => {
                ident::collapse(&mask::remove(content))
            }
            (Side::Inner, Direction::ToFile) => {
                let unmasked = self.ident.then(|| mask::remove(content));
                let text = unmasked.as_deref().unwrap_or(content);
                match self.encode(text)?.or(unmasked) {
                    Some(changed) => changed,
                    None => return Ok(Converted::Unchanged),
                }
            }
            (Side::Inner, Direction::ToBlob) => {
                let decoded = self.decode(content)?;
                match (decoded, self.ident) {
                    (Some(text), true) => mask::apply(&text),
                    (Some(text), false) => text,
                    (None, true) => mask::apply(content),
                    (None, false) => return Ok(Converted::Unchanged),
                }
            }
            (Side::Outer, _) => return Ok(Converted::Unchanged),
        };
        Ok(Converted::Changed(changed))
    }

    /// Returns the encoded text; none where git, too, leaves the content as it is.
    fn encode(&self, text: &[u8]) -> Result<Option<Vec<u8>>, Unsupported> {
        match &self.encoding {
            None => Ok(None),
            Some(_) if text.is_empty() => Ok(None),
            Some(encoding) => encoding.clone()?.encode(text),
        }
    }

    fn decode(&self, content: &[u8]) -> Result<Option<Vec<u8>>, Unsupported> {
        match &self.encoding {
            None => Ok(None),
            Some(_) if content.is_empty() => Ok(None),
            Some(encoding) => Ok(encoding.clone()?.decode(content)),
        }
    }
}

#[cfg(test)]
mod tests;
