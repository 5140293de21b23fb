//! `go build ./...` of a module with a single package

use super::super::super::draft::PhaseFiles;
use super::committed_folder::CommittedFolder;

/// Extensions of other files that are compiled.
const OTHER_SOURCES: &[&str] = &[
    "c", "cc", "cpp", "cxx", "f", "F", "for", "f90", "h", "hh", "hpp", "hxx", "m", "s", "S",
    "swig", "swigcxx", "sx", "syso",
];

/// Returns what the build of a program in the top folder reads and writes.
///
/// With several packages, `go build ./...` writes nothing.
pub(super) fn build(folder: &CommittedFolder<'_>) -> Option<PhaseFiles> {
    let module = folder.text("go.mod")?;
    if has_local_replacement(&module)
        || ["go.work", "vendor"].iter().any(|it| !folder.is_absent(it))
    {
        return None;
    }
    let mut has_program = false;
    for file in folder.files() {
        if file.split('/').any(is_ignored) {
            continue;
        }
        let Some((_, extension)) = file.rsplit_once('.') else {
            continue;
        };
        if OTHER_SOURCES.contains(&extension) || file.ends_with("/go.mod") {
            return None;
        }
        if extension != "go" {
            continue;
        }
        // Links and files in other packages.
        let text = folder.text(&file).filter(|_| !file.contains('/'))?;
        if file.ends_with("_test.go") {
            continue;
        }
        let package = text.lines().find(|line| line.starts_with("package "))?;
        if package.split_whitespace().nth(1) != Some("main") {
            return None;
        }
        // Other files, cgo, and the commit, which is unknown without `.git`.
        let reads_more = ["go:embed", "\"C\"", "ReadBuildInfo"];
        if reads_more.iter().any(|it| text.contains(it)) {
            return None;
        }
        has_program = true;
    }
    let output = program(&module).filter(|name| has_program && folder.is_absent(name))?;
    let mut inputs = vec!["go.mod".to_owned()];
    folder.add_existing("go.sum", &mut inputs)?;
    inputs.extend(["*.go".to_owned(), ":!*_test.go".to_owned()]);
    Some(PhaseFiles {
        inputs,
        outputs: vec![output],
    })
}

/// Returns whether Go ignores a file or folder with that name.
fn is_ignored(name: &str) -> bool {
    name == "testdata" || name.starts_with(['_', '.'])
}

fn has_local_replacement(module: &str) -> bool {
    let mut replacements = module.lines().filter_map(|line| line.split_once("=>"));
    replacements.any(|(_, target)| {
        target
            .trim_start()
            .trim_start_matches('"')
            .starts_with(['.', '/'])
    })
}

/// Returns the name of a module's program: the last part of its path, without a major version.
fn program(module: &str) -> Option<String> {
    let path = module
        .lines()
        .find_map(|line| line.strip_prefix("module "))?;
    let path = path.split("//").next()?.trim().trim_matches('"');
    let is_version = |part: &&str| {
        let number = part.strip_prefix('v').unwrap_or_default();
        !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())
    };
    let name = path.rsplit('/').find(|part| !is_version(part))?;
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    (!name.is_empty() && name.chars().all(is_plain)).then(|| name.to_owned())
}
