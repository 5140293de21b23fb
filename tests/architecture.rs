//! Checks the rules of `src/lib.rs` by reading the sources.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// A rule: these words may only appear in files below these paths.
struct Owner {
    words: &'static [&'static str],
    owners: &'static [&'static str],
    why: &'static str,
}

const OWNERS: &[Owner] = &[
    Owner {
        words: &["git2"],
        owners: &["client/git/"],
        why: "git is reached through client::git",
    },
    Owner {
        words: &["bollard"],
        owners: &["client/engine/"],
        why: "the engine is reached through client::engine",
    },
    Owner {
        words: &["reqwest"],
        owners: &["client/"],
        why: "HTTP is the clients' business",
    },
    Owner {
        words: &["tokio::process", "process::Command"],
        owners: &["client/", "flow/diagnose/"],
        why: "programs are started by the clients, and asked about themselves by xp doctor",
    },
    Owner {
        words: &["inotify"],
        owners: &["host/file_watch.rs"],
        why: "changes of files are reported by host::file_watch",
    },
    Owner {
        words: &["docker_credential", "http_auth"],
        owners: &["client/registry/"],
        why: "registries are reached through client::registry",
    },
    Owner {
        words: &["\\x1b", "unicode_width", "indicatif"],
        owners: &["report/", "base/table.rs"],
        why: "report alone draws",
    },
    Owner {
        words: &["println!", "eprintln!", "dbg!"],
        owners: &[],
        why: "work emits events; commands print results by report::print",
    },
    Owner {
        words: &[
            "env::var",
            "env::vars",
            "vars_os",
            "var_os",
            "env::current_dir",
        ],
        owners: &["host/settings.rs", "host/settings/variables.rs"],
        why: "host::settings reads the environment, once",
    },
    Owner {
        words: &["stdout()", "stderr()"],
        owners: &["report/", "command/", "host/"],
        why: "work emits events; report draws them, and commands print results",
    },
    Owner {
        words: &["clap"],
        owners: &["cli.rs", "cli/"],
        why: "cli defines the command line; completion and manual pages read its definition",
    },
    Owner {
        words: &["unsafe {", "unsafe fn", "unsafe impl"],
        owners: &["client/git/transport/", "client/git/worktree/conversion/"],
        why: "the registration of libgit2's transports and filters is the one reason for unsafe code",
    },
];

/// The layers, and the layers below them that each may import.
const LAYERS: &[(&str, &[&str])] = &[
    ("base", &[]),
    ("model", &["base"]),
    ("store", &["base", "model"]),
    ("client", &["base", "model"]),
    ("cli", &["base", "model"]),
    ("report", &["base", "model", "store"]),
    ("host", &["base", "model", "client", "cli", "report"]),
    ("execute", &["base", "model", "store", "client"]),
    (
        "flow",
        &[
            "base", "model", "store", "client", "host", "report", "execute",
        ],
    ),
    (
        "command",
        &[
            "base", "model", "store", "client", "cli", "host", "report", "execute", "flow",
        ],
    ),
];

/// Names that a pure module must not use.
const IMPURE: &[&str] = &[
    "tokio",
    "std::fs",
    "std::env",
    "std::process",
    "std::thread",
    "std::os",
    "TcpStream",
    "UdpSocket",
    "Instant",
    "SystemTime",
    "rustix",
    "walkdir",
    "OffsetDateTime::now",
    "File::open",
    ".is_dir()",
    ".is_file()",
    ".exists()",
];

const PURE: &[&str] = &[
    "base/error.rs",
    "base/plural.rs",
    "base/shell.rs",
    "base/suggest.rs",
    "base/table.rs",
    "model/",
    "client/retry/policy.rs",
];

/// The files of pure modules that access the file system.
const FILES: &[&str] = &[
    "model/manifest/discovery.rs",
    "model/manifest/file.rs",
    "model/manifest/check.rs",
    "model/manifest/tests/",
];

#[test]
fn crates_and_the_environment_have_a_single_owner() {
    let mut broken = Vec::new();
    for (path, code) in sources() {
        for rule in OWNERS {
            let is_owner = rule.owners.iter().any(|owner| path.starts_with(owner));
            for word in rule
                .words
                .iter()
                .filter(|word| !is_owner && mentions(&code, word))
            {
                broken.push(format!("src/{path} names `{word}`: {}", rule.why));
            }
        }
    }
    assert!(broken.is_empty(), "\n{}", broken.join("\n"));
}

#[test]
fn pure_modules_are_pure() {
    let mut broken = Vec::new();
    for (path, code) in sources() {
        let looks_at_files = FILES.iter().any(|file| path.starts_with(file));
        if !looks_at_files && PURE.iter().any(|pure| path.starts_with(pure)) {
            for word in IMPURE.iter().filter(|word| mentions(&code, word)) {
                broken.push(format!("src/{path} names `{word}`, but must be pure"));
            }
        }
    }
    assert!(broken.is_empty(), "\n{}", broken.join("\n"));
}

#[test]
fn layers_import_only_lower_layers() {
    let mut broken = Vec::new();
    for (path, code) in sources() {
        let top = path.split('/').next().unwrap_or_default();
        let top = top.strip_suffix(".rs").unwrap_or(top);
        let Some((_, below)) = LAYERS.iter().find(|(layer, _)| *layer == top) else {
            continue;
        };
        for (layer, _) in LAYERS {
            let is_allowed = *layer == top || below.contains(layer);
            if !is_allowed && mentions(&code, &format!("crate::{layer}")) {
                broken.push(format!("src/{path} imports `crate::{layer}`"));
            }
        }
    }
    assert!(broken.is_empty(), "\n{}", broken.join("\n"));
}

#[test]
fn folders_of_a_layer_have_no_import_cycle() {
    let mut imports: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let sources = sources().into_iter();
    for (path, code) in sources.filter(|(path, _)| !path.contains("/tests/")) {
        for imported in imported_modules(&code) {
            if let Some((from, to)) = sibling_folders(&path, &imported) {
                imports.entry(from).or_default().insert(to);
            }
        }
    }
    assert!(imports.len() > 20, "the imports were not found");
    // Remove folders that import no remaining one, until only cycles are left.
    while let Some(done) = imports
        .iter()
        .find(|(_, to)| to.iter().all(|to| !imports.contains_key(to)))
        .map(|(from, _)| from.clone())
    {
        imports.remove(&done);
    }
    assert!(
        imports.is_empty(),
        "these folders import each other: {imports:#?}"
    );
}

/// Returns the paths of modules in `use crate::…` and in code, as `client/git/fetch`.
fn imported_modules(code: &str) -> Vec<String> {
    let is_path = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
    let paths = code.split("crate::").skip(1);
    paths
        .map(|rest| {
            let end = rest.find(|c| !is_path(c)).unwrap_or(rest.len());
            rest[..end].trim_end_matches(':').replace("::", "/")
        })
        .collect()
}

/// Returns the folders with the same parent that contain a file and an imported module, unless both are in the same one
/// or one of them is in the parent itself.
fn sibling_folders(file: &str, imported: &str) -> Option<(String, String)> {
    let file = file.trim_end_matches(".rs");
    let common = std::iter::zip(file.split('/'), imported.split('/'));
    let common = common.take_while(|(a, b)| a == b).count();
    // The layers have their own table.
    if common == 0 {
        return None;
    }
    let folder = |path: &str| {
        let parts: Vec<&str> = path.split('/').take(common + 1).collect();
        let folder = parts.join("/");
        let exists = parts.len() > common && root().join("src").join(&folder).is_dir();
        exists.then_some(folder)
    };
    Some((folder(file)?, folder(imported)?))
}

#[test]
fn mentioned_identifiers_exist() {
    let identifiers = [
        "model/source",
        "model/image",
        "model/recipe/",
        "model/manifest/name.rs",
    ];
    for (path, code) in sources() {
        if identifiers.iter().any(|start| path.starts_with(start)) {
            // A public field could be set without parsing.
            assert!(
                !code.contains("(pub "),
                "src/{path} has a tuple with a public field"
            );
            let public_text = code
                .lines()
                .find(|line| line.trim_start().starts_with("pub text:"));
            assert!(public_text.is_none(), "src/{path} has a public text");
        }
    }
}

/// Words that must not be in messages; see docs/messages.md.
const BANNED_WORDS: &[&str] = &["please", "oops", "sorry", "successfully"];

/// Files that match messages of other programs.
const MATCHES_OTHER_PROGRAMS: &[&str] = &[
    "client/engine/build/base_registry.rs",
    "client/engine/build/instruction_error.rs",
    "client/engine/build/log.rs",
    "client/kubectl/",
];

#[test]
fn messages_follow_the_style_rules() {
    let mut broken = Vec::new();
    for (path, code) in sources() {
        for text in strings(&code) {
            let lower = text.to_lowercase();
            let quotes = MATCHES_OTHER_PROGRAMS.iter().any(|it| path.starts_with(it));
            for word in BANNED_WORDS
                .iter()
                .filter(|word| !quotes && mentions(&lower, word))
            {
                broken.push(format!("src/{path} says \"{word}\": {text}"));
            }
        }
        for marker in MESSAGES {
            for text in code.split(marker).skip(1).filter_map(first_text) {
                // A text with several lines contains an error and its hints.
                let lines = text
                    .split("\\n")
                    .map(|line| line.trim_start_matches(['\\', ' ', '\n']));
                for line in lines.map(|line| line.strip_prefix("hint: ").unwrap_or(line)) {
                    let begins_low = !line.starts_with(char::is_uppercase) || is_variable(line);
                    if !begins_low || line.ends_with(['.', '!']) {
                        broken.push(format!(
                            "src/{path} has a message that is written as a sentence: {text}"
                        ));
                    }
                }
            }
        }
        // These lose the position and the hints.
        for bare in [
            "Failure::usage(error.to_string())",
            "Failure::outside(error.to_string())",
        ] {
            if code.contains(bare) {
                broken.push(format!("src/{path} tells an error bare: {bare}"));
            }
        }
    }
    assert!(broken.is_empty(), "\n{}", broken.join("\n"));
}

/// Code that precedes a message.
const MESSAGES: &[&str] = &[
    "#[error(",
    "Failure::usage(",
    "Failure::outside(",
    "StepError::plain(",
    "Event::Note(",
    "Event::Warning(",
    ".hint(",
    ".with_hint(",
    ".help(",
    ".fix(",
];

/// Returns the string literal that an argument is, or is built from.
fn first_text(argument: &str) -> Option<String> {
    let argument = argument.trim_start();
    let argument = argument
        .strip_prefix("format!(")
        .unwrap_or(argument)
        .trim_start();
    argument
        .starts_with('"')
        .then(|| strings(argument).into_iter().next())?
}

/// Returns whether a text starts with the name of an environment variable.
fn is_variable(text: &str) -> bool {
    let name = text
        .split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .next();
    name.is_some_and(|name| name.len() > 1 && !name.contains(|c: char| c.is_ascii_lowercase()))
}

/// Returns the string literals in the code.
fn strings(code: &str) -> Vec<String> {
    let (mut texts, mut text) = (Vec::new(), None::<String>);
    let mut chars = code.chars().peekable();
    while let Some(c) = chars.next() {
        match (&mut text, c) {
            (None, '"') => text = Some(String::new()),
            // A quotation mark in a character literal does not delimit a string.
            (None, '\'') if chars.next_if_eq(&'"').is_some() => {}
            (None, '\'') if chars.next_if_eq(&'\\').is_some() => _ = chars.next(),
            (None, _) => {}
            (Some(_), '"') => texts.extend(text.take()),
            (Some(text), '\\') => {
                text.push(c);
                text.extend(chars.next());
            }
            (Some(text), c) => text.push(c),
        }
    }
    texts
}

#[test]
fn messages_are_found() {
    let found = |code: &str| first_text(code);
    assert_eq!(found("\"the a\")").as_deref(), Some("the a"));
    assert_eq!(found("format!(\n    \"The a\")").as_deref(), Some("The a"));
    assert_eq!(found("message)"), None);
    assert!(
        is_variable("XP_CACHE_DIR names it")
            && !is_variable("The folder")
            && !is_variable("A folder")
    );
}

#[test]
fn texts_are_found() {
    let code = r#"if c == '"' { f("a \" b", '\'', "c") }"#;
    assert_eq!(strings(code), [r#"a \" b"#, "c"]);
}

#[test]
fn the_map_names_every_module() {
    let map = fs::read_to_string(root().join("src/lib.rs")).unwrap();
    for module in map.lines().filter_map(|line| line.strip_prefix("mod ")) {
        let module = module.trim_end_matches(';');
        assert!(
            map.contains(&format!("//! | `{module}` |")),
            "src/lib.rs does not say what `{module}` is for"
        );
    }
}

#[test]
fn the_top_folder_has_only_expected_files() {
    let expected = [
        "CHANGELOG.md",
        "Cargo.lock",
        "Cargo.toml",
        "README.md",
        "benches",
        "bin",
        "builders",
        "clippy.toml",
        "deny.toml",
        "docker",
        "docs",
        "examples",
        "fuzz",
        "schema",
        "src",
        "target",
        "tests",
        "x-platform.yml",
        "x-platform.yml.example",
    ];
    let entries = fs::read_dir(root())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap());
    // Hidden files belong to tools: git, CI, xp itself.
    let unexpected: Vec<_> = entries
        .filter(|name| !name.starts_with('.') && !expected.contains(&name.as_str()))
        .collect();
    assert!(
        unexpected.is_empty(),
        "{unexpected:?} at the repository root"
    );
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Returns the sources by their path below `src`, without comments and unit tests.
fn sources() -> Vec<(String, String)> {
    let mut found = Vec::new();
    collect(&root().join("src"), &mut found);
    assert!(found.len() > 50, "the sources were not found");
    found
}

fn collect(folder: &Path, found: &mut Vec<(String, String)>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            // Unit tests in separate files may construct anything, and the build script is a program of its own.
            if path.ends_with("tests.rs") || path.ends_with("src/cli/build_script.rs") {
                continue;
            }
            let relative = path
                .strip_prefix(root().join("src"))
                .unwrap()
                .display()
                .to_string();
            let text = fs::read_to_string(&path).unwrap();
            let code = text
                .split("#[cfg(test)]\nmod tests {")
                .next()
                .unwrap_or_default();
            let code: Vec<&str> = code
                .lines()
                .filter(|line| !line.trim_start().starts_with("//"))
                .collect();
            found.push((relative, code.join("\n")));
        }
    }
}

/// Returns whether the code contains a word, not only as part of another word.
fn mentions(code: &str, word: &str) -> bool {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    code.match_indices(word).any(|(at, _)| {
        let before = code[..at].chars().next_back();
        let after = code[at + word.len()..].chars().next();
        let starts = !word.starts_with(is_part) || !before.is_some_and(is_part);
        let ends = !word.ends_with(is_part) || !after.is_some_and(is_part);
        starts && ends
    })
}

#[test]
fn words_are_found_as_words() {
    assert!(mentions("use git2::x", "git2"));
    assert!(!mentions("my_git2", "git2"));
    assert!(mentions("a.exists()", ".exists()"));
    assert!(!mentions("tokio_util", "tokio"));
}
