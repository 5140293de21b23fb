//! Conversions between a blob and its file that libgit2 lacks or does differently from git.
//!
//! libgit2 converts line endings like git, but does not support `working-tree-encoding` and expands only
//! the first `$Id$` of a file. Two filters around its own ones fix both, so that checkouts, comparisons and
//! hashes all agree with git (`convert.c`):
//!
//! ```text
//! blob → outer filter: ident → libgit2: line endings → inner filter: encoding → file
//! file → inner filter: encoding → libgit2: line endings → outer filter: ident → blob
//! ```
//!
//! libgit2's own `ident` filter cannot be removed. It only looks for `$Id`, so we mask that while the content
//! passes through it.

mod encoding;
mod ident;
mod legacy;
mod mask;
mod registration;

use std::path::Path;

use git2::{AttrCheckFlags, AttrValue, Repository};

use encoding::{Encoding, Unsupported};

pub use registration::register;

/// The conversions that a file's attributes request.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Conversion {
    ident: bool,
    encoding: Option<Result<Encoding, Unsupported>>,
}

/// The result of a conversion.
#[derive(Debug, PartialEq, Eq)]
enum Converted {
    Changed(Vec<u8>),
    Unchanged,
}

/// The direction of a conversion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ConversionDirection {
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

/// Returns the file content of a blob, except for line endings; `None` if its attributes request no
/// conversion.
pub fn file_of(repository: &Repository, path: &Path, blob: &[u8]) -> Option<Vec<u8>> {
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
    let expanded = if ident {
        ident::expand(blob)
    } else {
        blob.to_vec()
    };
    let encoded = conversion.encode(&expanded).ok()?;
    Some(encoded.unwrap_or(expanded))
}

impl Conversion {
    fn apply(
        &self,
        side: Side,
        direction: ConversionDirection,
        content: &[u8],
    ) -> Result<Converted, Unsupported> {
        let changed = match (side, direction) {
            (Side::Outer, ConversionDirection::ToFile) if self.ident => {
                mask::apply(&ident::expand(content))
            }
            (Side::Outer, ConversionDirection::ToBlob) if self.ident => {
                ident::collapse(&mask::remove(content))
            }
            (Side::Inner, ConversionDirection::ToFile) => {
                let unmasked = self.ident.then(|| mask::remove(content));
                let text = unmasked.as_deref().unwrap_or(content);
                match self.encode(text)?.or(unmasked) {
                    Some(changed) => changed,
                    None => return Ok(Converted::Unchanged),
                }
            }
            (Side::Inner, ConversionDirection::ToBlob) => {
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

    /// Returns the encoded text; `None` if git, too, leaves the content unchanged.
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
