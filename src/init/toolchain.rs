//! A guess at the scripts of a service, by the files of its toolchain.

use super::Read;
use super::draft::Scripts;
use super::path;

/// A toolchain, known by a file: what prepares, builds and tests.
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

/// Returns the scripts that a folder's files speak for, and the file that spoke; a Makefile's targets
/// come first.
pub(super) fn guess(folder: &str, read: &Read<'_>) -> (Scripts, Option<&'static str>) {
    // A file that cannot be read says nothing.
    let file = |name: &str| read(&path::join(folder, name)?).ok().flatten();
    let mut scripts = Scripts::default();
    let owned = |lines: &[&str]| lines.iter().map(|line| (*line).to_owned()).collect();
    let mut known_by = None;
    for toolchain in TOOLCHAINS {
        if file(toolchain.file).is_some() {
            scripts.prepare = owned(toolchain.prepare);
            scripts.build = owned(toolchain.build);
            scripts.test = owned(toolchain.test);
            known_by = Some(toolchain.file);
            break;
        }
    }
    for name in ["Makefile", "makefile", "GNUmakefile"] {
        let Some(text) = file(name) else { continue };
        if has_target(&text, "build") {
            scripts.prepare.clear();
            scripts.build = vec!["make build".to_owned()];
            known_by = Some("Makefile");
        }
        if has_target(&text, "test") {
            scripts.test = vec!["make test".to_owned()];
            known_by = Some("Makefile");
        }
        break;
    }
    (scripts, known_by)
}

/// Tells whether a Makefile has a rule for a target.
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
    fn targets_of_a_makefile_come_before_a_toolchain_s_own_words() {
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
        assert_eq!((c, by), (Scripts::default(), None));
    }
}
