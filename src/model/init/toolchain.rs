//! Guesses the scripts of a service from the files of its toolchain.

use super::ReadFile;
use super::draft::DraftScripts;
use super::path;

/// A toolchain, detected by a file.
struct Toolchain {
    file: &'static str,
    prepare: &'static [&'static str],
    build: &'static [&'static str],
    test: &'static [&'static str],
}

const TOOLCHAINS: &[Toolchain] = &[
    Toolchain {
        file: "go.mod",
        prepare: &[],
        build: &["go build ./..."],
        test: &["go test ./..."],
    },
    Toolchain {
        file: "Cargo.toml",
        prepare: &[],
        build: &["cargo build --release"],
        test: &["cargo test"],
    },
    Toolchain {
        file: "package.json",
        prepare: &["npm ci"],
        build: &["npm run build"],
        test: &["npm test"],
    },
    Toolchain {
        file: "pom.xml",
        prepare: &[],
        build: &["mvn -B package -DskipTests"],
        test: &["mvn -B test"],
    },
    Toolchain {
        file: "gradlew",
        prepare: &[],
        build: &["./gradlew assemble"],
        test: &["./gradlew test"],
    },
    Toolchain {
        file: "build.gradle",
        prepare: &[],
        build: &["gradle assemble"],
        test: &["gradle test"],
    },
    Toolchain {
        file: "build.gradle.kts",
        prepare: &[],
        build: &["gradle assemble"],
        test: &["gradle test"],
    },
    Toolchain {
        file: "pyproject.toml",
        prepare: &[],
        build: &["python -m build"],
        test: &["python -m pytest"],
    },
];

/// Returns the scripts suggested by a folder's files, and the deciding file. Targets of a Makefile take
/// precedence.
pub(super) fn guess(folder: &str, read: &ReadFile<'_>) -> (DraftScripts, Option<&'static str>) {
    // Unreadable files are ignored.
    let file = |name: &str| read(&path::join(folder, name)?).ok().flatten();
    let mut scripts = DraftScripts::default();
    let owned = |lines: &[&str]| lines.iter().map(|line| (*line).to_owned()).collect();
    let mut detected_by = None;
    for toolchain in TOOLCHAINS {
        if file(toolchain.file).is_some() {
            scripts.prepare = owned(toolchain.prepare);
            scripts.build = owned(toolchain.build);
            scripts.test = owned(toolchain.test);
            detected_by = Some(toolchain.file);
            break;
        }
    }
    for name in ["Makefile", "makefile", "GNUmakefile"] {
        let Some(text) = file(name) else { continue };
        if has_target(&text, "build") {
            scripts.prepare.clear();
            scripts.build = vec!["make build".to_owned()];
            detected_by = Some("Makefile");
        }
        if has_target(&text, "test") {
            scripts.test = vec!["make test".to_owned()];
            detected_by = Some("Makefile");
        }
        break;
    }
    (scripts, detected_by)
}

/// Returns whether a Makefile has a rule for a target.
fn has_target(text: &str, target: &str) -> bool {
    text.lines().any(|line| {
        let Some((targets, after)) = line.split_once(':') else {
            return false;
        };
        !line.starts_with(['\t', ' ', '#'])
            && !after.starts_with('=')
            && targets.split_whitespace().any(|name| name == target)
    })
}

#[cfg(test)]
mod tests {
    use super::super::tests::files;
    use super::*;

    #[test]
    fn makefile_targets_take_precedence() {
        let read = files(&[
            ("a/go.mod", "module a\n"),
            ("a/Makefile", "build := x\nall test: x\n\tgo test\n"),
            ("b/package.json", "{}"),
            ("b/Makefile", ".PHONY: build\nbuild: x\n"),
            ("c/Makefile", "# build: x\n"),
        ]);
        let (a, by) = guess("a", &read);
        assert_eq!(
            (a.build, a.test),
            (
                vec!["go build ./...".to_owned()],
                vec!["make test".to_owned()]
            )
        );
        assert_eq!(by, Some("Makefile"));
        let (b, _) = guess("b", &read);
        assert!(b.prepare.is_empty());
        assert_eq!(b.build, ["make build"]);
        assert_eq!(b.test, ["npm test"]);
        let (c, by) = guess("c", &read);
        assert_eq!((c, by), (DraftScripts::default(), None));
    }
}
