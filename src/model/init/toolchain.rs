//! Guesses the scripts of a service from the files of its toolchain.

mod above;
mod phase_files;

pub(super) use self::above::{parents_of, workspace_of};
pub(super) use self::phase_files::propose;
use super::ReadFile;
use super::draft::DraftScripts;
use super::path;

const GO_BUILD: &str = "go build ./...";
const MAVEN_BUILD: &str = "mvn -B package -DskipTests";
const NPM_CI: &str = "npm ci";
const PNPM_INSTALL: &str = "pnpm install --frozen-lockfile";
const YARN_INSTALL: &str = "yarn install --frozen-lockfile";

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
        build: &[GO_BUILD],
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
        prepare: &[NPM_CI],
        build: &["npm run build"],
        test: &["npm test"],
    },
    Toolchain {
        file: "pom.xml",
        prepare: &[],
        build: &[MAVEN_BUILD],
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

/// Scripts guessed from files.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct ToolchainGuess {
    pub scripts: DraftScripts,
    /// The deciding files.
    pub files: Vec<&'static str>,
}

impl ToolchainGuess {
    /// Returns whether there is something to run.
    pub fn is_useful(&self) -> bool {
        !self.scripts.build.is_empty()
    }
}

/// Returns the scripts suggested by a folder's files. Targets of a Makefile take precedence.
///
/// Only commands that exist are suggested: targets with a rule, and scripts in `package.json`.
pub(super) fn guess(folder: &str, read: &ReadFile<'_>) -> ToolchainGuess {
    // Unreadable files are ignored.
    let file = |name: &str| read(&path::join(folder, name)?).ok().flatten();
    let mut guess = ToolchainGuess::default();
    let owned = |lines: &[&str]| lines.iter().map(|line| (*line).to_owned()).collect();
    for toolchain in TOOLCHAINS {
        let Some(text) = file(toolchain.file) else {
            continue;
        };
        guess.scripts = match toolchain.file {
            "package.json" => package_scripts(&text, &file),
            _ => DraftScripts {
                prepare: owned(toolchain.prepare),
                build: owned(toolchain.build),
                test: owned(toolchain.test),
                ..DraftScripts::default()
            },
        };
        guess.files.push(toolchain.file);
        break;
    }
    for name in ["GNUmakefile", "makefile", "Makefile"] {
        let Some(text) = file(name) else { continue };
        let scripts = &mut guess.scripts;
        let has_build = has_target(&text, "build");
        let has_test = has_target(&text, "test");
        if has_build {
            scripts.prepare.clear();
            scripts.build = vec!["make build".to_owned()];
            guess.files.clear();
        }
        if has_test {
            scripts.test = vec!["make test".to_owned()];
        }
        if has_build || has_test {
            guess.files.push(name);
        }
        break;
    }
    guess
}

/// Returns the scripts of a `package.json`, for the package manager of its lock file.
fn package_scripts(text: &str, file: &dyn Fn(&str) -> Option<String>) -> DraftScripts {
    let package: serde_json::Value = serde_json::from_str(text).unwrap_or_default();
    let has = |name: &str| package["scripts"][name].is_string();
    let (install, run) = if file("pnpm-lock.yaml").is_some() {
        (PNPM_INSTALL, "pnpm")
    } else if file("yarn.lock").is_some() {
        (YARN_INSTALL, "yarn")
    } else if file("package-lock.json").is_some() || file("npm-shrinkwrap.json").is_some() {
        (NPM_CI, "npm")
    } else {
        ("npm install", "npm")
    };
    let line = |name: &str| has(name).then(|| format!("{run} run {name}"));
    DraftScripts {
        prepare: vec![install.to_owned()],
        build: line("build").or_else(|| line("dist")).into_iter().collect(),
        test: line("test").into_iter().collect(),
        ..DraftScripts::default()
    }
}

/// Returns whether a Makefile has a rule for a target.
fn has_target(text: &str, target: &str) -> bool {
    text.lines().any(|line| {
        let Some((targets, after)) = line.split_once(':') else {
            return false;
        };
        // `::=` assigns a variable, as does `:=`; `build: X = 1` sets a variable of a target.
        let assigned = after.trim_start_matches(':').trim_start();
        !line.starts_with(['\t', ' ', '#', '.'])
            && !assigned.starts_with('=')
            && !after.split('#').next().unwrap_or(after).contains('=')
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
        let a = guess("a", &read);
        assert_eq!(a.scripts.build, ["go build ./..."]);
        assert_eq!(a.scripts.test, ["make test"]);
        assert_eq!(a.files, ["go.mod", "Makefile"]);
        let b = guess("b", &read);
        assert!(b.scripts.prepare.is_empty());
        assert_eq!(b.scripts.build, ["make build"]);
        assert!(b.scripts.test.is_empty());
        assert_eq!(guess("c", &read), ToolchainGuess::default());
    }

    #[test]
    fn only_commands_that_exist_are_suggested() {
        let read = files(&[
            (
                "a/package.json",
                "{\"scripts\": {\"dist\": \"x\", \"test\": \"y\"}}",
            ),
            ("a/package-lock.json", "{}"),
            ("b/package.json", "{\"scripts\": {\"start\": \"x\"}}"),
            ("c/package.json", "{\"scripts\": {\"build\": \"x\"}}"),
            ("c/yarn.lock", ""),
            (
                "d/Makefile",
                "build: FLAGS = x\nbuild ::= y\n.build: z\nbuilds: a\n",
            ),
        ]);
        let a = guess("a", &read).scripts;
        assert_eq!(
            (a.prepare, a.build, a.test),
            (
                vec!["npm ci".to_owned()],
                vec!["npm run dist".to_owned()],
                vec!["npm run test".to_owned()],
            )
        );
        assert!(!guess("b", &read).is_useful());
        let c = guess("c", &read).scripts;
        assert_eq!(
            (c.prepare, c.build),
            (
                vec!["yarn install --frozen-lockfile".to_owned()],
                vec!["yarn run build".to_owned()],
            )
        );
        assert!(!guess("d", &read).is_useful());
    }
}
