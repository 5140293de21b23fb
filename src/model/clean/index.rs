//! Finds images by what names them.

use std::collections::HashMap;

use super::contents::{Contents, Repository, RepositoryKind, StoredImage};
use crate::model::image::{Digest, Tag};

/// The position of an image: that of its repository, and its own there.
pub(super) type Position = (usize, usize);

/// The images of all repositories by what names them.
pub(super) struct ImageIndex<'c> {
    contents: &'c Contents,
    digests: HashMap<&'c Digest, Vec<Position>>,
    tags: HashMap<(usize, &'c Tag), Position>,
    subjects: HashMap<&'c Digest, Vec<Position>>,
    parents: HashMap<&'c Digest, Vec<Position>>,
}

impl<'c> ImageIndex<'c> {
    pub fn new(contents: &'c Contents) -> Self {
        let mut index = Self {
            contents,
            digests: HashMap::new(),
            tags: HashMap::new(),
            subjects: HashMap::new(),
            parents: HashMap::new(),
        };
        for position in index.positions().collect::<Vec<_>>() {
            let image = index.image(position);
            for digest in std::iter::once(&image.digest).chain(&image.aliases) {
                index.digests.entry(digest).or_default().push(position);
            }
            for tag in &image.tags {
                index.tags.insert((position.0, tag), position);
            }
            if let Some(subject) = &image.subject {
                index.subjects.entry(subject).or_default().push(position);
            }
            for child in &image.children {
                index.parents.entry(child).or_default().push(position);
            }
        }
        index
    }

    pub fn positions(&self) -> impl Iterator<Item = Position> + use<'c> {
        let repositories = self.contents.repositories.iter().enumerate();
        repositories.flat_map(|(repository, it)| (0..it.images.len()).map(move |i| (repository, i)))
    }

    pub fn repository(&self, position: Position) -> &'c Repository {
        &self.contents.repositories[position.0]
    }

    pub fn image(&self, position: Position) -> &'c StoredImage {
        &self.contents.repositories[position.0].images[position.1]
    }

    /// Returns the positions of the repositories with builders.
    pub fn builders(&self) -> impl Iterator<Item = usize> + use<'c> {
        let repositories = self.contents.repositories.iter().enumerate();
        let builders = repositories.filter(|(_, it)| it.kind == RepositoryKind::Builder);
        builders.map(|(position, _)| position)
    }

    /// Returns the images with a digest, in any repository.
    pub fn with_digest(&self, digest: &Digest) -> &[Position] {
        self.digests.get(digest).map_or(&[], Vec::as_slice)
    }

    /// Returns the image with a tag.
    pub fn tagged(&self, repository: usize, tag: &Tag) -> Option<Position> {
        self.tags.get(&(repository, tag)).copied()
    }

    /// Returns the manifests that describe another one, in the same repository.
    pub fn referrers(&self, of: Position) -> impl Iterator<Item = Position> {
        let subjects = self.subjects.get(&self.image(of).digest);
        let found = subjects.into_iter().flatten().copied();
        found.filter(move |(repository, _)| *repository == of.0)
    }

    /// Returns the parts of an index, in the same repository.
    pub fn children(&self, of: Position) -> impl Iterator<Item = Position> {
        let children = self.image(of).children.iter();
        let found = children.flat_map(|digest| self.with_digest(digest).iter().copied());
        found.filter(move |(repository, _)| *repository == of.0)
    }

    /// Returns the indexes that an image is a part of, in the same repository.
    pub fn parents(&self, of: Position) -> impl Iterator<Item = Position> {
        let parents = self.parents.get(&self.image(of).digest);
        let found = parents.into_iter().flatten().copied();
        found.filter(move |(repository, _)| *repository == of.0)
    }

    /// Returns the manifests that an image refers to: its parts, and what it describes.
    pub fn references(&self, of: Position) -> impl Iterator<Item = Position> {
        self.children(of).chain(self.subjects(of))
    }

    /// Returns what an image describes, in the same repository.
    pub fn subjects(&self, of: Position) -> impl Iterator<Item = Position> {
        let subject = self.image(of).subject.iter();
        let found = subject.flat_map(|digest| self.with_digest(digest).iter().copied());
        found.filter(move |(repository, _)| *repository == of.0)
    }
}
