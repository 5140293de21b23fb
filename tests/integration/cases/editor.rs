//! The manifest in an editor: the YAML language server with the schema printed by `xp schema`.

use std::fs;
use std::path::Path;

use crate::case::Case;
use crate::context::Context;
use crate::language_server::LanguageServer;

pub const CASES: &[Case] = cases![
    an_unknown_key_is_underlined,
    keys_are_completed_and_described,
    settings_of_plugins_are_completed_and_checked,
    the_examples_have_no_problems,
];

/// The line shown in `docs/editor.md`.
const FIRST_LINE: &str = "# yaml-language-server: $schema=x-platform.schema.json\n";

const MANIFEST: &str = "services:
  zbackend:
    dir: src/zbackend
    git:
      remote: git@git.example.com:x/zbackend.git
    docker:
      image: zbackend
";

/// Writes the schema next to the manifest, as described in `docs/editor.md`, and returns the manifest's text.
fn prepare(t: &Context, manifest: &str) -> String {
    t.write("x-platform.schema.json", &t.xp(["schema"]).success().stdout);
    let text = format!("{FIRST_LINE}{manifest}");
    t.manifest(&text);
    text
}

fn an_unknown_key_is_underlined(t: &Context) {
    let text = prepare(t, &MANIFEST.replace("      image:", "      imagee:"));
    let file = t.dir().join("x-platform.yml");
    let mut server = LanguageServer::start(&t.dir());
    let found = server.open(&file, &text);
    let problem = |wanted: &str| {
        found
            .iter()
            .find(|problem| {
                problem["message"]
                    .as_str()
                    .is_some_and(|text| text.contains(wanted))
            })
            .unwrap_or_else(|| panic!("{wanted:?} is not among {found:#?}"))
    };
    let unknown = problem("imagee");
    // Lines and columns are zero-based, and the first line is the comment.
    assert_eq!(unknown["range"]["start"]["line"], 7, "{unknown:#}");
    assert_eq!(unknown["range"]["start"]["character"], 6, "{unknown:#}");
    problem("Missing property \"image\"");

    // For an invalid value, the message says what is valid.
    let values = format!(
        "{MANIFEST}    timeout: soon\n    dockerBuilder: {{image: x, workdir: src, socket: maybe}}\n"
    );
    let found = server.open(
        &t.dir().join("values.yml"),
        &format!("{FIRST_LINE}{values}"),
    );
    assert_eq!(found.len(), 3, "{found:#?}");
    for (line, wanted) in [(8, "30m"), (9, "absolute path"), (9, "boolean")] {
        let is_reported = found.iter().any(|problem| {
            let message = problem["message"].as_str().unwrap_or_default();
            problem["range"]["start"]["line"] == line && message.contains(wanted)
        });
        assert!(is_reported, "{wanted}: {found:#?}");
    }

    // Missing keys are reported only if `defaults` does not set them.
    let bare = "services:\n  a:\n    dir: src/a\n";
    let found = server.open(&t.dir().join("bare.yml"), &format!("{FIRST_LINE}{bare}"));
    assert_eq!(found.len(), 2, "{found:#?}");
    let defaults = format!("{FIRST_LINE}defaults:\n  docker: {{image: a}}\n{bare}");
    assert_eq!(
        server.open(&t.dir().join("defaults.yml"), &defaults),
        Vec::<serde_json::Value>::new()
    );
}

fn keys_are_completed_and_described(t: &Context) {
    let manifest =
        format!("{MANIFEST}    dockerBuilder:\n      image: golang:1.22\n      \n    \n");
    let text = prepare(t, &manifest);
    let file = t.dir().join("x-platform.yml");
    let mut server = LanguageServer::start(&t.dir());
    server.open(&file, &text);
    let lines: Vec<&str> = text.lines().collect();
    let offered = server.complete(&file, lines.len() - 1, 4);
    for key in ["scripts", "timeout", "needs"] {
        assert!(
            offered.iter().any(|label| label == key),
            "{key}: {offered:?}"
        );
    }
    assert!(
        !offered.iter().any(|label| label == "docker"),
        "{offered:?}"
    );
    let offered = server.complete(&file, lines.len() - 2, 6);
    for key in [
        "workdir", "env", "user", "network", "cache", "mounts", "ssh", "socket", "memory", "cpus",
    ] {
        assert!(
            offered.iter().any(|label| label == key),
            "{key}: {offered:?}"
        );
    }
    assert!(!offered.iter().any(|label| label == "image"), "{offered:?}");

    let remote = lines
        .iter()
        .position(|line| line.contains("remote:"))
        .expect("the line");
    let shown = server.hover(&file, remote, 8);
    assert!(
        shown.contains("an ssh, scp-like, https, git or file URL"),
        "{shown}"
    );
    assert!(
        shown.contains("https://git.example.com/x/zbackend.git"),
        "{shown}"
    );

    // Values, and a whole new service.
    let values = format!("{FIRST_LINE}{MANIFEST}    dockerBuilder:\n      user: \n");
    let file = t.dir().join("values.yml");
    server.open(&file, &values);
    let offered = server.complete(&file, values.lines().count() - 1, 12);
    for value in ["caller", "root"] {
        assert!(
            offered.iter().any(|label| label == value),
            "{value}: {offered:?}"
        );
    }
    let service = format!("{FIRST_LINE}services:\n  \n");
    let file = t.dir().join("service.yml");
    server.open(&file, &service);
    let offered = server.complete(&file, 2, 2);
    assert!(
        offered.iter().any(|label| label == "service"),
        "{offered:?}"
    );
}

fn settings_of_plugins_are_completed_and_checked(t: &Context) {
    let label = r##"{"version":1,"kind":"step","with":{"properties":{"url":{"type":"string"},"depth":{"$ref":"#/$defs/depth"}},"required":["url"],"additionalProperties":false,"$defs":{"depth":{"type":"integer"}}}}"##;
    t.write(
        "builders/notes/Dockerfile",
        &format!("FROM scratch\nLABEL x-platform.plugin='{label}'\n"),
    );
    t.manifest(MANIFEST);
    let items = "    scripts:\n      build:\n        - make\n        - plugin: builders/notes\n          with:\n            ";
    let text = prepare(t, &format!("{MANIFEST}{items}\n"));
    let file = t.dir().join("x-platform.yml");
    let mut server = LanguageServer::start(&t.dir());
    server.open(&file, &text);
    let offered = server.complete(&file, text.lines().count() - 1, 12);
    for key in ["url", "depth"] {
        assert!(offered.iter().any(|label| label == key), "{offered:?}");
    }
    let with = |settings: &str| format!("{FIRST_LINE}{MANIFEST}{items}{settings}\n");
    let found = server.open(&t.dir().join("wrong.yml"), &with("{ulr: x, depth: deep}"));
    for wanted in ["ulr", "url", "integer"] {
        let is_reported = found.iter().any(|problem| {
            let message = problem["message"].as_str().unwrap_or_default();
            message.contains(wanted)
        });
        assert!(is_reported, "{wanted}: {found:#?}");
    }
    let found = server.open(&t.dir().join("right.yml"), &with("{url: x, depth: 2}"));
    assert!(found.is_empty(), "{found:#?}");
    // Other plugins have other settings.
    let other = with("{any: x}").replace("builders/notes", "builders/other");
    assert!(server.open(&t.dir().join("other.yml"), &other).is_empty());
    // The schema of every platform has none of them.
    let general = t.xp(["schema", "manifest"]).success().stdout;
    assert!(!general.contains("builders/notes"));
}

fn the_examples_have_no_problems(_: &Context) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut server = LanguageServer::start(root);
    let schema = root.join("schema/x-platform.schema.json");
    for example in ["x-platform.yml.example", "examples/platform/x-platform.yml"] {
        let file = root.join(example);
        let text = fs::read_to_string(&file).expect("the example");
        let line = text.lines().next().expect("a first line");
        let named = line
            .strip_prefix("# yaml-language-server: $schema=")
            .expect("a schema");
        let folder = file.parent().expect("a folder");
        assert_eq!(
            folder.join(named).canonicalize().ok(),
            schema.canonicalize().ok(),
            "{example}"
        );
        let found = server.open(&file, &text);
        assert!(found.is_empty(), "{example}: {found:#?}");
        // A language server that did not find the schema would report nothing here.
        let wrong = text.replace("services:", "servicesx:");
        let found = server.open(&folder.join("wrong.yml"), &wrong);
        assert!(!found.is_empty(), "{example}");
    }
}
