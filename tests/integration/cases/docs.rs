//! Every `xp` command of the README and of `docs/` is run, page by page, on the platform that the
//! pages speak of.

use std::fs;
use std::path::{Path, PathBuf};

use super::contained::image_of_xp;
use super::first_hour;
use crate::case::Case;
use crate::context::Context;
use crate::world::Access;

pub const CASES: &[Case] = cases![
    every_command_works,
    no_page_is_forgotten,
    links_lead_somewhere
];

fn every_command_works(t: &Context) {
    platform(t);
    deployed(t);
    let wrapper = root().join("bin/x-platform");
    fs::create_dir_all(t.dir().join("bin")).expect("a folder");
    fs::copy(wrapper, t.dir().join("bin/x-platform")).expect("a copy of the wrapper");
    let program = Path::new(env!("CARGO_BIN_EXE_xp"));
    let folder = program.parent().expect("the program lies in a folder");
    let path = format!("{}:/usr/bin:/bin", folder.display());
    let mut count = 0;
    // The walk has a platform of its own, and a test.
    let pages = pages().into_iter();
    for page in pages.filter(|page| !page.ends_with(first_hour::PAGE)) {
        for command in commands(&fs::read_to_string(&page).expect("a page")) {
            println!("{}: {command}", page.display());
            t.program("sh", ["-c", &command])
                .env("PATH", &path)
                .env("XBUILDER_IMAGE", image_of_xp(t))
                .env("XDG_RUNTIME_DIR", t.home())
                .success();
            count += 1;
        }
    }
    assert!(count > 15, "only {count} commands were found");
}

fn no_page_is_forgotten(_: &Context) {
    let readme = fs::read_to_string(root().join("README.md")).expect("the README");
    for page in pages() {
        let name = page
            .file_name()
            .expect("a name")
            .to_string_lossy()
            .into_owned();
        let link = format!("(docs/{name})");
        assert!(
            name == "README.md" || readme.contains(&link),
            "README.md does not lead to {name}"
        );
    }
}

fn links_lead_somewhere(_: &Context) {
    for page in pages() {
        let text = fs::read_to_string(&page).expect("a page");
        let targets = text
            .split("](")
            .skip(1)
            .filter_map(|rest| rest.split(')').next());
        for target in targets.filter(|target| !target.contains("://")) {
            let file = page
                .parent()
                .expect("a folder")
                .join(target.split('#').next().unwrap_or(target));
            assert!(file.exists(), "{}: there is no {target}", page.display());
        }
    }
}

/// Returns the lines of console blocks that call `xp`, or its wrapper.
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

/// Lets the platform be deployed, as the sample is.
fn deployed(t: &Context) {
    let namespace = t.namespace("staging");
    t.kubeconfig(&[("staging-cluster", Access::Full)]);
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
    let section = format!(
        "deploy:\n  path: k8s\n  environments:\n    staging: {{overlay: overlays/staging, context: \
         staging-cluster, namespace: {}}}\n",
        namespace.name()
    );
    t.manifest(&(t.read("x-platform.yml") + &section));
}

/// The sample platform's shape, with builders and scripts that take no time.
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
    // The topic that the pages speak of.
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
