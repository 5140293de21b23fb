//! Recognizes the tags that xp sets.

use std::collections::BTreeSet;

use super::contents::{BuiltImage, Contents, ImageContent, RepositoryKind, StoredImage};
use crate::model::image::{Digest, Tag};
use crate::model::step_result::StepKey;

/// The branches and tags of all services.
pub(super) struct References {
    /// The tags of those that exist.
    open: BTreeSet<Tag>,
    /// The tags of those that xp has built from, including those that no longer exist.
    built: BTreeSet<Tag>,
}

/// Whose tag it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TagOwner {
    /// xp set it, and it may go.
    Xp,
    /// xp set it for a branch or tag that exists.
    Open,
    /// xp set it for a branch that no longer exists, and would not set it again.
    Closed,
    /// xp did not set it, or not for this image.
    Other,
}

impl References {
    pub fn of(contents: &Contents) -> Self {
        let services = contents.roots.services.values();
        let open = services.filter_map(|it| it.names.as_ref()).flatten();
        let images = contents.repositories.iter().flat_map(|it| &it.images);
        let built = images.filter_map(|image| match &image.content {
            ImageContent::Built(built) => Some(Tag::from_branch(&built.reference)),
            _ => None,
        });
        Self {
            open: open.map(|name| Tag::from_branch(name)).collect(),
            built: built.collect(),
        }
    }

    /// Returns whose tag it is.
    pub fn owner(
        &self,
        contents: &Contents,
        kind: &RepositoryKind,
        image: &StoredImage,
        tag: &Tag,
    ) -> TagOwner {
        if subject_of(tag).is_some() && subject_of(tag) == image.subject {
            return TagOwner::Xp;
        }
        match (&image.content, kind) {
            (ImageContent::Built(built), _) => self.of_built(contents, built, tag),
            (ImageContent::StepResult, _) if is_step(tag) => TagOwner::Xp,
            (ImageContent::Builder, RepositoryKind::Builder) if is_content(tag) => TagOwner::Xp,
            _ => TagOwner::Other,
        }
    }

    fn of_built(&self, contents: &Contents, built: &BuiltImage, tag: &Tag) -> TagOwner {
        if tag.named_commit().is_some() || built.own_tags.contains(tag) {
            return TagOwner::Xp;
        }
        // A train's tag is on images of services that do not have its branch, too.
        if self.open.contains(tag) {
            return TagOwner::Open;
        }
        let service = built.service.parse().ok();
        let references = service.and_then(|name| contents.roots.services.get(&name));
        let is_own = *tag == Tag::from_branch(&built.reference);
        if is_own && references.is_some_and(|it| it.may_have(&built.reference)) {
            return TagOwner::Open;
        }
        // If the branches of any service are unknown, any of them may be a train.
        let is_certain = contents
            .roots
            .services
            .values()
            .all(|it| it.names.is_some());
        if is_certain && self.built.contains(tag) {
            TagOwner::Closed
        } else {
            TagOwner::Other
        }
    }
}

/// Returns whether it is the tag of a phase's result.
fn is_step(tag: &Tag) -> bool {
    let key = tag.as_str().strip_prefix("step-");
    key.is_some_and(|key| key.parse::<StepKey>().is_ok())
}

/// Returns whether it is the tag of a builder's content. `newest` is named by the roots.
fn is_content(tag: &Tag) -> bool {
    tag.as_str() == "newest" || content_of(tag).is_some()
}

/// Returns the content in the tag of a builder image, which ends with a platform unless it is the engine's own.
pub fn content_of(tag: &Tag) -> Option<&str> {
    let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    let (content, platform) = tag.as_str().split_at_checked(40)?;
    let is_platform = platform.is_empty() || platform.starts_with("-linux-");
    (is_platform && content.bytes().all(is_digit)).then_some(content)
}

/// Returns the digest in a tag that names the descriptions of a manifest: that of registries without an API for them,
/// `sha256-<digits>`, and those of cosign, such as `sha256-<digits>.sig`.
pub fn subject_of(tag: &Tag) -> Option<Digest> {
    let text = tag.as_str();
    let text = match text.split_once('.') {
        Some((digits, "sig" | "att" | "sbom")) => digits,
        Some(_) => return None,
        None => text,
    };
    let (algorithm, digits) = text.split_once('-')?;
    let is_sha = algorithm == "sha256" && digits.len() == 64;
    is_sha.then(|| format!("{algorithm}:{digits}").parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn builder_images_have_the_tag_of_their_content() {
        let content = "0123456789abcdef0123456789abcdef01234567";
        let tag = |text: &str| text.parse::<Tag>().unwrap();
        for text in [content.to_owned(), format!("{content}-linux-arm64")] {
            assert_eq!(content_of(&tag(&text)), Some(content), "{text}");
        }
        for text in [
            "newest".to_owned(),
            format!("{content}8"),
            format!("{content}-x"),
            content.to_uppercase(),
        ] {
            assert_eq!(content_of(&tag(&text)), None, "{text}");
        }
    }
}
