//! `xp init` finds the projects that `west list` lists.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::{Value, json};

use crate::case::Case;
use crate::context::Context;
use crate::language_server::tool;
use crate::process;
use crate::random::Random;

pub const CASES: &[Case] = cases![
    a_folder_of_manifests_is_imported,
    a_pull_request_and_submodules_are_taken_over,
    any_workspace_has_the_projects_of_west,
];

/// Folder, URL and revision of each active project.
type Listed = BTreeSet<(String, String, String)>;

/// Runs `west list`; `None` if west rejects the workspace.
fn west(t: &Context) -> Option<Listed> {
    let program = tool("python/west/__main__.py");
    let python = program
        .ancestors()
        .nth(2)
        .expect("the folder of the packages");
    let mut command = process::in_clean_environment("python3");
    command
        .args(["-m", "west", "list", "--format", "{path} {url} {revision}"])
        .env("PYTHONPATH", python)
        .env("HOME", t.home());
    let output = process::run(command.current_dir(t.dir()));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        return None;
    }
    let projects = text.lines().map(|line| {
        let mut words = line.split(' ').map(str::to_owned);
        let mut next = || words.next().expect("three words");
        (next(), next(), next())
    });
    // The manifest's repository is listed first.
    Some(projects.skip(1).collect())
}

/// Returns the services in a generated manifest in the same form.
fn generated(manifest: &str) -> Listed {
    let manifest: Value = serde_saphyr::from_str(manifest).expect("YAML");
    let services = manifest["services"].as_object().expect("services");
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    services
        .values()
        .map(|service| {
            let git = &service["git"];
            (
                text(&service["dir"]),
                text(&git["remote"]),
                text(&git["reference"]),
            )
        })
        .collect()
}

fn workspace(t: &Context, files: &[(&str, &Value)]) {
    let main = t.dir().join("main");
    if Path::new(&main).exists() {
        std::fs::remove_dir_all(&main).expect("removed");
    }
    t.write(".west/config", "[manifest]\npath = main\nfile = west.yml\n");
    for (name, text) in files {
        t.write(&format!("main/{name}"), &text.to_string());
    }
    t.git("main", &["init", "--quiet"]);
}

#[track_caller]
fn compare(t: &Context, what: &str) -> Listed {
    let expected = west(t).unwrap_or_else(|| panic!("{what}: west rejects it"));
    let output = t.xp(["init", "--dry-run"]).success();
    let actual = generated(&output.stdout);
    assert_eq!(actual, expected, "{what}\n{}", output.stdout);
    actual
}

fn a_folder_of_manifests_is_imported(t: &Context) {
    let project =
        |name: &str| json!({"name": name, "url": format!("https://git.example.com/{name}")});
    let main = json!({"manifest": {"projects": [project("app")], "self": {"import": ["more", "one.yml"]}}});
    let lib = json!({"manifest": {"projects": [project("lib")], "self": {"import": "deep/x.yml"}}});
    let deep = json!({"manifest": {"projects": [project("deep")]}});
    let one = json!({"manifest": {"projects": [project("one")]}});
    workspace(
        t,
        &[
            ("west.yml", &main),
            ("more/a.yml", &lib),
            ("more/README.txt", &json!("text")),
            ("deep/x.yml", &deep),
            ("one.yml", &one),
        ],
    );
    assert_eq!(compare(t, "a folder").len(), 4);
    // West stops at a file that is missing; the projects of the others are found anyway.
    t.write(
        "main/more/b.yml",
        "manifest: {projects: [{name: broken}]}\n",
    );
    assert_eq!(west(t), None);
    let output = t.xp(["init", "--dry-run"]).success();
    assert_eq!(generated(&output.stdout).len(), 4, "{}", output.stdout);
    assert!(
        output
            .stdout
            .contains("# TODO: main/more/b.yml: line 1: project"),
        "{}",
        output.stdout
    );
}

fn a_pull_request_and_submodules_are_taken_over(t: &Context) {
    let app = t.git_repo("app");
    let commit = app.commit(
        &[
            ("Dockerfile", "FROM scratch\nCOPY file /\n"),
            ("file", "1\n"),
        ],
        "First",
    );
    app.server_git(&["update-ref", "refs/pull/7/head", &commit]);
    let project = json!({"name": "app", "url": app.url_http(), "revision": "pull/7/head", "submodules": true});
    workspace(
        t,
        &[("west.yml", &json!({"manifest": {"projects": [project]}}))],
    );
    t.xp(["init"]).success();
    let manifest = t.read("x-platform.yml");
    assert!(manifest.contains("reference: pull/7/head\n"), "{manifest}");
    assert!(manifest.contains("submodules: true\n"), "{manifest}");
    t.xp(["plan"]).success().stdout_contains(&commit[..8]);
}

fn any_workspace_has_the_projects_of_west(t: &Context) {
    let seed = Random::any_seed();
    let mut random = Random::new(seed);
    let mut compared = 0;
    for round in 0..25 {
        let mut names = 0;
        let mut manifest = |random: &mut Random, import: Option<Value>| {
            let mut projects = Vec::new();
            for _ in 0..1 + random.below(4) {
                names += 1;
                projects.push(project(random, names));
            }
            let mut manifest = json!({
                "defaults": {"remote": "r1", "revision": random.pick(&["main", "v2"])},
                "remotes": [
                    {"name": "r1", "url-base": "https://one.example.com/x"},
                    {"name": "r2", "url-base": "git@two.example.com:y"},
                ],
                "projects": projects,
            });
            let filters = [
                json!(["-a"]),
                json!(["+a", "-b"]),
                json!(["-a", "-b"]),
                Value::Null,
            ];
            match &filters[random.below(4) as usize] {
                Value::Null => {}
                filter => manifest["group-filter"] = filter.clone(),
            }
            if let Some(import) = import {
                manifest["self"] = json!({ "import": import });
            }
            json!({ "manifest": manifest })
        };
        let import = import(&mut random);
        let main = manifest(&mut random, Some(import));
        let files = [(); 3].map(|()| manifest(&mut random, None));
        workspace(
            t,
            &[
                ("west.yml", &main),
                ("more/a.yml", &files[0]),
                ("more/b.yaml", &files[1]),
                ("one.yml", &files[2]),
            ],
        );
        if west(t).is_some_and(|listed| !listed.is_empty()) {
            compare(
                t,
                &format!("seed {seed}, round {round}: {main:#}\n{files:#?}"),
            );
            compared += 1;
        }
    }
    assert!(compared > 5, "seed {seed}: {compared}");
}

fn project(random: &mut Random, number: u32) -> Value {
    let name = format!("p{number}");
    let mut project = json!({ "name": name });
    match random.below(4) {
        0 => project["url"] = json!(format!("https://three.example.com/{name}")),
        1 => project["remote"] = json!("r2"),
        2 => project["repo-path"] = json!(format!("z/{name}.git")),
        _ => {}
    }
    if random.below(2) == 0 {
        project["path"] = json!(format!("{}/{name}", random.pick(&["lib", "modules/hal"])));
    }
    if random.below(2) == 0 {
        let commit = "0123456789012345678901234567890123456789";
        project["revision"] = json!(random.pick(&["v1.0", "topic/x", commit]));
    }
    if random.below(3) == 0 {
        project["groups"] = json!([random.pick(&["a", "b"])]);
    }
    project
}

fn import(random: &mut Random) -> Value {
    let map = |random: &mut Random| {
        let mut map = json!({ "file": random.pick(&["more", "one.yml"]) });
        let lists = [
            ("name-allowlist", json!(["p1", "p5", "p6", "p7", "p8"])),
            ("path-allowlist", json!(["lib/*", "p?"])),
            ("name-blocklist", json!("p6")),
            ("path-blocklist", json!(["modules/hal/*", "p[0-7]"])),
        ];
        for (key, list) in lists {
            if random.below(3) == 0 {
                map[key] = list;
            }
        }
        if random.below(2) == 0 {
            map["path-prefix"] = json!("below/it");
        }
        map
    };
    match random.below(4) {
        0 => json!("more"),
        1 => json!("one.yml"),
        2 => map(random),
        _ => json!([map(random), "more/a.yml"]),
    }
}
