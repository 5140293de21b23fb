//! Runs every `xp` command in the README and in `docs/`, page by page, on the platform that the pages
//! describe, and checks links, tables and quoted messages.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use rustix::process::Signal;

use super::contained::image_of_xp;
use super::first_hour;
use crate::case::Case;
use crate::context::Context;
use crate::language_server::tool;
use crate::world::{Access, Namespace};
use crate::xp::RunningXp;

pub const CASES: &[Case] = cases![
    every_command_works,
    the_index_lists_every_page,
    links_are_valid,
    tables_are_complete,
    quoted_messages_exist,
    the_readme_is_short,
];

fn every_command_works(t: &Context) {
    platform(t);
    // They end with the test.
    let _namespaces = deployed(t);
    let wrapper = root().join("bin/x-platform");
    fs::create_dir_all(t.dir().join("bin")).expect("a folder");
    fs::copy(wrapper, t.dir().join("bin/x-platform")).expect("a copy of the wrapper");
    let program = Path::new(env!("CARGO_BIN_EXE_xp"));
    let folder = program.parent().expect("the program lies in a folder");
    let compose = tool("docker-compose");
    let compose = compose.parent().expect("a folder").display();
    let path = format!("{}:{compose}:/usr/bin:/bin", folder.display());
    let mut count = 0;
    // The tutorial has its own platform and test.
    let pages = pages().into_iter();
    for page in pages.filter(|page| !page.ends_with(first_hour::PAGE)) {
        for command in commands(&fs::read_to_string(&page).expect("a page")) {
            println!("{}: {command}", page.display());
            let is_watching = command.contains("--watch");
            // Ctrl-C goes to xp instead of the shell.
            let exec = if is_watching { "exec " } else { "" };
            let xp = t
                .program("sh", ["-c", &format!("{exec}{command}")])
                .env("PATH", &path)
                .env("XBUILDER_IMAGE", image_of_xp(t))
                .env("XDG_RUNTIME_DIR", t.home());
            if is_watching {
                let text = if command.contains("json") {
                    "watch-waiting"
                } else {
                    "Ctrl-C to stop."
                };
                stop_watching(xp.spawn(), text);
            } else {
                xp.success();
            }
            count += 1;
        }
    }
    assert!(count > 15, "only {count} commands were found");
}

/// Ends `xp build --watch` with Ctrl-C once it waits for changes.
fn stop_watching(mut running: RunningXp, waiting: &str) {
    running.wait_for_output(waiting);
    running.signal(Signal::INT);
    assert_eq!(running.wait().status.code(), Some(130));
}

fn the_index_lists_every_page(_: &Context) {
    let index = fs::read_to_string(root().join("docs/README.md")).expect("the index");
    for page in pages() {
        let name = page.file_name().expect("a name").to_string_lossy();
        assert!(
            name == "README.md" || index.contains(&format!("]({name})")),
            "docs/README.md does not list {name}"
        );
    }
}

fn links_are_valid(_: &Context) {
    let mut broken = Vec::new();
    for page in pages() {
        let text = prose(&fs::read_to_string(&page).expect("a page"));
        let targets = text
            .split("](")
            .skip(1)
            .filter_map(|rest| rest.split(')').next());
        for target in targets.filter(|target| !target.contains("://")) {
            let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
            let file = if file.is_empty() {
                page.clone()
            } else {
                page.parent().expect("a folder").join(file)
            };
            let is_there = file.exists()
                && (anchor.is_empty()
                    || anchors(&fs::read_to_string(&file).expect("a page")).contains(anchor));
            if !is_there {
                broken.push(format!("{}: {target}", page.display()));
            }
        }
    }
    assert!(broken.is_empty(), "broken links:\n{}", broken.join("\n"));
}

/// Checks that every row is part of a table that GitHub renders.
fn tables_are_complete(_: &Context) {
    for page in pages() {
        let text = prose(&fs::read_to_string(&page).expect("a page"));
        let lines: Vec<&str> = text.lines().collect();
        let tables = lines.chunk_by(|a, b| a.starts_with('|') == b.starts_with('|'));
        for table in tables.filter(|table| table[0].starts_with('|')) {
            let cells = |row: &str| row.replace("\\|", "").matches('|').count() - 1;
            let is_rule = |row: &str| row.contains("--") && row.chars().all(|c| "|-: ".contains(c));
            assert!(
                table.len() > 2 && is_rule(table[1]),
                "{}: not a table: {}",
                page.display(),
                table[0]
            );
            for row in table {
                assert_eq!(cells(row), cells(table[0]), "{}: {row}", page.display());
            }
        }
    }
}

/// Checks that xp prints the messages that the page about them quotes.
fn quoted_messages_exist(_: &Context) {
    let page = fs::read_to_string(root().join("docs/troubleshooting.md")).expect("the page");
    let files = walkdir::WalkDir::new(root().join("src")).into_iter();
    let files = files.map(|entry| entry.expect("a file").into_path());
    let sources: String = files
        .filter(|path| path.extension().is_some_and(|it| it == "rs"))
        .map(|path| fs::read_to_string(path).expect("a source"))
        .collect();
    // Long messages continue on the next line.
    let sources: Vec<&str> = sources.split("\\\n").map(str::trim_start).collect();
    // Messages that other tests compare with xp's output count, too.
    let compared = ["tests/integration/cases/messages.txt", "docs/first-hour.md"];
    let compared = compared.map(|file| fs::read_to_string(root().join(file)).expect("a text"));
    let messages = sources.concat() + &compared.concat();
    let blocks = page.split("```text\n").skip(1);
    let quoted: Vec<&str> = blocks
        .flat_map(|rest| rest.split("```").next().unwrap_or_default().lines())
        .flat_map(|message| message.split('…'))
        .map(str::trim)
        .filter(|part| part.len() > 3)
        .collect();
    assert!(quoted.len() > 20, "only {} messages", quoted.len());
    for part in quoted {
        assert!(messages.contains(part), "xp has no message with `{part}`");
    }
}

fn the_readme_is_short(_: &Context) {
    let readme = fs::read_to_string(root().join("README.md")).expect("the README");
    let start = readme.split("\n## Documentation\n").next();
    let words = start.expect("a start").split_whitespace().count();
    assert!(words <= 700, "{words} words before the links");
}

/// Returns a page without its code blocks.
fn prose(text: &str) -> String {
    text.split("\n```").step_by(2).collect()
}

/// Returns the anchors that GitHub gives to the headings of a page.
fn anchors(text: &str) -> BTreeSet<String> {
    let prose = prose(text);
    let headings = prose.lines().filter(|line| line.starts_with('#'));
    headings
        .map(|line| {
            let title = line.trim_start_matches('#').trim().to_lowercase();
            title
                .chars()
                .filter(|c| c.is_alphanumeric() || "-_ ".contains(*c))
                .map(|c| if c == ' ' { '-' } else { c })
                .collect()
        })
        .collect()
}

/// Returns the lines of console blocks that run `xp` or its wrapper.
fn commands(text: &str) -> Vec<String> {
    let blocks = text
        .split("```console\n")
        .skip(1)
        .filter_map(|rest| rest.split("```").next());
    let lines = blocks
        .flat_map(str::lines)
        .filter_map(|line| line.strip_prefix("$ "));
    lines
        .filter(|line| line.starts_with("xp ") || line.starts_with("bin/x-platform "))
        .map(str::to_owned)
        .collect()
}

fn pages() -> Vec<PathBuf> {
    let entries = fs::read_dir(root().join("docs")).expect("the docs");
    let mut pages: Vec<PathBuf> = entries.map(|entry| entry.expect("a page").path()).collect();
    pages.push(root().join("README.md"));
    pages.sort();
    pages
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Makes the platform deployable, like the sample.
fn deployed(t: &Context) -> [Namespace; 2] {
    let namespace = t.namespace("staging");
    t.kubeconfig(&[
        ("staging-cluster", Access::Full),
        ("ci-cluster", Access::Full),
    ]);
    let deployment = |name: &str| {
        format!(
            "---\napiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: {name}}}\nspec:\n  selector: {{matchLabels: \
             {{app: {name}}}}}\n  template:\n    metadata: {{labels: {{app: {name}}}}}\n    spec: {{containers: [{{name: {name}, \
             image: {name}}}]}}\n"
        )
    };
    let objects = deployment("zbackend") + &deployment("zfrontend");
    t.write("k8s/base/all.yaml", &objects);
    t.write("k8s/base/kustomization.yaml", "resources: [all.yaml]\n");
    let overlay = format!("namespace: {}\nresources: [../../base]\n", namespace.name());
    t.write("k8s/overlays/staging/kustomization.yaml", &overlay);
    let service = |name: &str| {
        // The images have no programs.
        format!(
            "  {name}: {{image: {name}, volumes: ['/bin/busybox:/busybox:ro'], command: [/busybox, sleep, '600'], \
             stop_signal: SIGKILL}}\n"
        )
    };
    let (_, project) = t.prefix().split_once('/').expect("two parts");
    t.write(
        "docker-compose.yml",
        &format!(
            "name: {project}\nservices:\n{}{}",
            service("zbackend"),
            service("zfrontend")
        ),
    );
    let builds = t.namespace("builds");
    builds.run_pods_on_host_network(t.engine());
    let socket = t.engine().host().strip_prefix("unix://").expect("a socket");
    t.write(
        "k8s/builder-pod.yaml",
        &format!(
            "kind: Pod\nspec:\n  containers:\n    - name: xp\n      volumeMounts: [{{name: engine, mountPath: \
             /var/run/docker.sock}}]\n  volumes:\n    - {{name: engine, hostPath: {{path: '{socket}'}}}}\n"
        ),
    );
    let fleet = format!(
        "fleet:\n  ci: {{context: ci-cluster, namespace: {}, image: {}, template: k8s/builder-pod.yaml}}\n",
        builds.name(),
        image_of_xp(t)
    );
    let section = format!(
        "deploy:\n  path: k8s\n  environments:\n    staging: {{overlay: overlays/staging, context: \
         staging-cluster, namespace: {}}}\n    dev: {{compose: docker-compose.yml}}\n",
        namespace.name()
    );
    t.manifest(&(t.read("x-platform.yml") + &section + &fleet));
    [namespace, builds]
}

/// The structure of the sample platform, with builders and scripts that take no time.
pub(super) fn platform(t: &Context) {
    let base = t.engine().busybox();
    let backend = t.git_repo("zbackend");
    backend.commit(
        &[
            ("build.sh", "#!/bin/sh\necho built > out\n"),
            ("Dockerfile", "ARG FRONT\nFROM ${FRONT} AS frontend\nFROM scratch\nCOPY --from=frontend /page /page\nCOPY out /out\n"),
        ],
        "Begin",
    );
    let frontend = t.git_repo("zfrontend");
    frontend.commit(
        &[
            ("page", "hello\n"),
            ("Dockerfile", "FROM scratch\nCOPY page /page\n"),
        ],
        "Begin",
    );
    // The topic branch used on the pages.
    frontend.branch("TASK-981");
    frontend.commit(&[("page", "hello, topic\n")], "Topic");
    frontend.switch("master");
    for name in ["zbackend", "zfrontend"] {
        t.write(
            &format!("builders/{name}/Dockerfile"),
            "ARG BASE\nFROM ${BASE}\n",
        );
    }
    let (registry, prefix) = (t.registry(), t.registry_prefix(t.registry()));
    assert!(prefix.starts_with(registry.host()));
    t.manifest(&format!(
        "registry: {prefix}
builders: {{args: {{BASE: '{base}'}}}}
services:
  zbackend:
    dir: src/zbackend
    git: {{remote: '{}', reference: origin/master}}
    dockerBuilder: {{image: builders/zbackend:newest, workdir: /go/src/x/zbackend}}
    docker: {{image: zbackend, args: {{FRONT: '${{{{ services.zfrontend.image }}}}'}}}}
    scripts: {{build: [./build.sh], test: [test -f out]}}
  zfrontend:
    dir: src/zfrontend
    git: {{remote: '{}', reference: origin/master}}
    dockerBuilder: {{image: builders/zfrontend:newest}}
    docker: {{image: zfrontend}}
    scripts: {{build: [test -f page]}}
",
        backend.url_http(),
        frontend.url_http(),
    ));
}
