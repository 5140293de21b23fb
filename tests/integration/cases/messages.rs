//! Errors for typical mistakes: the whole standard error, as users see it.

use crate::app::App;
use crate::case::Case;
use crate::context::Context;
use crate::xp::Xp;

pub const CASES: &[Case] = cases![
    error_messages_match_the_catalogue,
    missing_programs_in_a_builder_have_hints,
    possible_secrets_are_not_repeated,
];

/// A terminal session: commands, their output, and exit codes.
///
/// `/x` is the platform's folder, and `/git` the one with the repositories.
const CATALOGUE: &str = include_str!("messages.txt");

const MANIFEST: &str = "\
services:
  zbackend:
    dir: src/zbackend
    git: {remote: 'BACK', reference: origin/master}
    dockerBuilder: {image: builders/tools}
    docker: {image: zbackend}
    scripts:
      build: [make]
  zfrontend:
    dir: src/zfrontend
    git: {remote: 'FRONT', reference: origin/master}
    docker: {image: zfrontend}
";

/// Variants of the manifest: the file name, a text in the valid one, and its replacement.
const WRONG: &[(&str, &str, &str)] = &[
    ("key.yml", "dockerBuilder:", "dockerbuildr:"),
    ("phase.yml", "      build: [make]", "      biuld: [make]"),
    (
        "item.yml",
        "      build: [make]",
        "      build: [{run: [make]}]",
    ),
    (
        "settings.yml",
        "      build: [make]",
        "      build: [{plugin: builders/notes, with: {fiel: a, format: jsno}}]",
    ),
    (
        "label.yml",
        "      build: [make]",
        "      build: [{plugin: builders/later}]",
    ),
    (
        "need.yml",
        "    docker: {image: zfrontend}",
        "    docker: {image: zfrontend}\n    needs: [zbackned]",
    ),
    (
        "placeholder.yml",
        "{image: zfrontend}",
        "{image: zfrontend, args: {A: '${{ service.comit }}'}}",
    ),
    (
        "cycle.yml",
        "    docker: {image: zfrontend}",
        "    docker: {image: zfrontend}\n    needs: [zfrontend]",
    ),
    ("outside.yml", "src/zfrontend", "../zfrontend"),
    ("type.yml", "[make]", "{make: all}"),
    ("yaml.yml", "{image: zfrontend}", "{image: zfrontend"),
    ("url.yml", "'FRONT'", "'zfrontend'"),
    ("builder.yml", "builders/tools", "builders/toolz"),
];

fn error_messages_match_the_catalogue(t: &Context) {
    let [back, front] = ["zbackend", "zfrontend"].map(|name| {
        let repository = t.git_repo(name);
        repository.commit(&[("Dockerfile", "FROM scratch\n")], "Start");
        repository.branch("TASK-981");
        repository.tag("v1.0");
        repository.url_file()
    });
    let named = |text: &str| text.replace("BACK", &back).replace("FRONT", &front);
    t.manifest(&named(MANIFEST));
    for (file, right, wrong) in WRONG {
        assert!(MANIFEST.contains(right), "{right}");
        t.write(file, &named(&MANIFEST.replace(right, wrong)));
    }
    t.write("builders/tools/Dockerfile", "FROM scratch\n");
    let schema = r#"{"required":["file"],"additionalProperties":false,"properties":{"file":{"type":"string"},"format":{"enum":["text","json"]}}}"#;
    let label = |version: u8| {
        format!(
            "FROM scratch\nLABEL x-platform.plugin='{{\"version\":{version},\"kind\":\"step\",\"with\":{schema}}}'\n"
        )
    };
    t.write("builders/notes/Dockerfile", &label(1));
    t.write("builders/later/Dockerfile", &label(2));
    t.write("notes.txt", "not a lock\n");

    let dir = t.dir().display().to_string();
    let remotes = back.trim_end_matches("/zbackend.git").to_owned();
    let mut shown = String::new();
    for line in CATALOGUE.lines().filter(|line| line.starts_with("$ ")) {
        let output = typed(t, &line[2..]).run();
        assert_eq!(output.stdout, "", "{line}");
        let code = output.status.code().expect("an exit code");
        let said = output
            .stderr
            .replace(&remotes, "file:///git")
            .replace(&dir, "/x");
        shown.push_str(&format!("{line}\n{said}[{code}]\n\n"));
    }
    let expected: Vec<&str> = CATALOGUE.split("$ ").skip(1).collect();
    let found: Vec<&str> = shown.split("$ ").skip(1).collect();
    let count = expected.len();
    assert!(count >= 60, "the catalogue has {count} lines only");
    let differences: Vec<String> = expected
        .iter()
        .zip(&found)
        .filter(|(expected, found)| expected.trim_end() != found.trim_end())
        .map(|(expected, found)| format!("--- expected\n$ {expected}+++ found\n$ {found}"))
        .collect();
    assert!(differences.is_empty(), "{}", differences.join("\n"));
    assert_eq!(found.len(), count);
}

/// Returns the command in a line; its arguments contain no spaces.
fn typed(t: &Context, line: &str) -> Xp {
    let mut xp = t.xp([]);
    for word in line.split(' ').filter(|word| *word != "xp") {
        xp = match word.split_once('=') {
            Some((name, value)) if name.chars().all(|c| c.is_ascii_uppercase() || c == '_') => {
                xp.env(name, value)
            }
            _ => xp.arg(word.trim_matches('\'')),
        };
    }
    xp
}

fn missing_programs_in_a_builder_have_hints(t: &Context) {
    let absent = t.folder().join("absent");
    let mount = format!("mounts: ['{}:/mine:ro']", absent.display());
    let app = App::with_scripts(t, &mount, &["true"]);
    app.build()
        .failure(1)
        .stderr_contains("absent at /mine: it does not exist")
        .stderr_contains("hint: create it, or correct `dockerBuilder.mounts`");
    assert!(!absent.exists(), "the engine is not to make it");

    let present = t.folder().join("present");
    std::fs::create_dir(&present).expect("a folder");
    let mount = format!(
        "mounts: ['{}:/src/lib']\nworkdir: /src\nuser: 1234:1234",
        present.display()
    );
    app.set_scripts(&mount, &["true"]);
    app.build()
        .failure(1)
        .stderr_contains("the mount at /src/lib is inside a folder")
        .stderr_contains("hint: mount it elsewhere, or with `:ro`");
}

fn possible_secrets_are_not_repeated(t: &Context) {
    for arguments in [
        ["run", "app", "--env", "=c4nary"],
        ["run", "app", "--evn=A=c4nary", "-T"],
        ["run", "app", "-q", "-e=c4nary"],
    ] {
        let output = t.xp(arguments).failure(2);
        output.stderr_contains("error: ").does_not_contain("c4nary");
    }
}
