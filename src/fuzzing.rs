//! Fuzz targets: one function per parser of untrusted input, with the properties that must hold for any
//! input. Only compiled for fuzzing (`bin/fuzz`).

use std::cell::Cell;
use std::path::Path;

use crate::model::image::{ImageReference, ImageRepository, RegistryPrefix, Tag};
use crate::model::init;
use crate::model::init::{InitOptions, PlatformFolder, ToolFile};
use crate::model::recipe::Recipe;
use crate::model::record::RunRecord;
use crate::model::source::{CommitId, GitReference, GitUrl};
use crate::model::step_result::StepResult;
use crate::model::{lock, manifest};

pub use crate::client::engine::fuzzing::dockerignore;
pub use crate::client::git::fuzzing::refs;
pub use crate::client::registry::fuzzing::registry;
pub use crate::report::fuzzing::{log, test_report};
pub use crate::store::step_archive::fuzzing::step_archive;

/// A manifest: it parses, or its errors contain no control characters.
pub fn manifest(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    if let Err(error) = manifest::parse(text, Path::new("x-platform.yml")) {
        assert!(error.problems().len() > 0);
        assert_printable(&error.render(false));
        _ = error.render(true);
    }
}

/// Git URLs and references: they round-trip, and cannot be mistaken for an option of a program.
pub fn git_url(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    if let Ok(url) = text.parse::<GitUrl>() {
        assert_eq!(url.expose().parse::<GitUrl>().as_ref(), Ok(&url));
        assert!(!url.expose().starts_with('-') && !url.host().starts_with('-'));
        assert_printable(&url.to_string());
        let stripped = url.stripped();
        assert!(stripped.password().is_none());
        assert!(stripped.expose().parse::<GitUrl>().is_ok());
    }
    if let Ok(reference) = text.parse::<GitReference>() {
        for candidate in reference.candidates() {
            assert!(!candidate.starts_with('-') && !candidate.contains(char::is_control));
        }
    }
    if let Ok(commit) = text.parse::<CommitId>() {
        assert!(commit.to_string().eq_ignore_ascii_case(text));
        assert_eq!(commit.to_string().parse(), Ok(commit));
    }
}

/// Image names: they round-trip, and every branch name maps to a valid tag.
pub fn image(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    if let Ok(image) = text.parse::<ImageReference>() {
        assert_eq!(image.to_string().parse::<ImageReference>(), Ok(image));
    }
    if let Ok(repository) = text.parse::<ImageRepository>() {
        assert_eq!(
            repository.to_string().parse::<ImageRepository>(),
            Ok(repository)
        );
    }
    if let Ok(prefix) = text.parse::<RegistryPrefix>() {
        assert_eq!(prefix.to_string().parse::<RegistryPrefix>(), Ok(prefix));
    }
    let tag = Tag::from_branch(text);
    assert_eq!(tag.as_str().parse::<Tag>(), Ok(tag));
}

/// A lock file: it round-trips.
pub fn lock(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    match lock::parse(text, "x-platform.lock") {
        Ok(lock) => {
            let reparsed = lock::parse(&lock.render(), "x-platform.lock");
            assert_eq!(reparsed.ok(), Some(lock));
        }
        Err(error) => {
            assert_printable(&error.render(false));
            _ = error.render(true);
        }
    }
}

/// The recipe label of an image, which anyone with push access can write.
pub fn recipe(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    match text.parse::<Recipe>() {
        Ok(recipe) => {
            for change in recipe.changes_since(&Recipe::default()) {
                assert_printable(&change.to_string());
            }
            assert_eq!(recipe.to_string().parse::<Recipe>(), Ok(recipe));
        }
        Err(error) => assert_printable(&error.to_string()),
    }
}

/// Files of other tools that `xp init` reads. The first byte selects the tool; a zero byte separates the first
/// file from the content of all files that it refers to.
pub fn init(bytes: &[u8]) {
    let Some((kind, text)) = bytes.split_first() else {
        return;
    };
    let Ok(text) = std::str::from_utf8(text) else {
        return;
    };
    let file = match kind % 5 {
        0 => "compose.yaml",
        1 => "skaffold.yaml",
        2 => ".gitmodules",
        3 => "west.yml",
        _ => "default.xml",
    };
    let (first, others) = text.split_once('\0').unwrap_or((text, ""));
    let opened = Cell::new(0);
    let read = |path: &str| {
        opened.set(opened.get() + 1);
        assert!(opened.get() < 100_000, "an endless number of files is read");
        Ok(match path {
            _ if path == file => Some(first.to_owned()),
            _ if others.is_empty() => None,
            _ => Some(others.to_owned()),
        })
    };
    let source = match kind % 5 {
        0 => ToolFile::Compose(vec![file.to_owned()]),
        1 => ToolFile::Skaffold(file.to_owned()),
        2 => ToolFile::Submodules(file.to_owned()),
        3 => ToolFile::West {
            file: file.to_owned(),
            folder: ".".to_owned(),
        },
        _ => ToolFile::Repo {
            file: file.to_owned(),
            folder: ".".to_owned(),
        },
    };
    let options = InitOptions {
        sources: vec![source],
        ..InitOptions::default()
    };
    let folder = PlatformFolder {
        name: "platform".to_owned(),
        ..PlatformFolder::default()
    };
    let list = |_: &str| vec![file.to_owned()];
    match init::draft(&folder, &options, &read, &list) {
        Ok(draft) => _ = init::render(&draft),
        Err(error) => assert_printable(&crate::base::error::render(&error)),
    }
}

/// The record of a run: its reports are well-formed, and have no injected elements.
pub fn record(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    crate::report::fuzzing::record(&RunRecord::read(text));
}

/// Asserts that a text for a terminal has no control characters except newlines and tabs.
fn assert_printable(text: &str) {
    let is_control = |c: char| c.is_control() && c != '\n' && c != '\t';
    assert!(!text.contains(is_control), "{text:?}");
}

/// The document of a phase's result: it is read as it was written, and its names can be printed.
pub fn step_result(bytes: &[u8]) {
    if let Some(result) = StepResult::from_json(bytes) {
        assert_printable(&result.service);
        assert_printable(&result.phase);
        assert_eq!(
            StepResult::from_json(result.to_json().as_bytes()),
            Some(result)
        );
    }
}
