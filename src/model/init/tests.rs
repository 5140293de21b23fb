use std::collections::BTreeMap;
use std::path::Path;

mod features;
mod mistakes;
mod proposals;

use super::*;
use crate::model::manifest::Manifest;

/// Returns a function that reads from a list of files.
pub(super) fn files(
    list: &[(&str, &str)],
) -> impl Fn(&str) -> Result<Option<String>, ManifestError> + use<> {
    let files: BTreeMap<String, String> = list
        .iter()
        .map(|(path, text)| ((*path).to_owned(), (*text).to_owned()))
        .collect();
    move |path| Ok(files.get(path).cloned())
}

/// Returns the names in a folder of a list of files.
pub(super) fn names_in(files: &[&str], folder: &str) -> Vec<String> {
    let below = files.iter().filter_map(|file| path::below(file, folder));
    below.filter(|name| !name.contains('/')).collect()
}

fn repository(dir: &str, files: &[&str]) -> Repository {
    let name = if dir == "." { "all" } else { path::last(dir) };
    Repository {
        dir: dir.to_owned(),
        remote: Some(
            format!("https://git.example.com/x/{name}.git")
                .parse()
                .unwrap(),
        ),
        own_url: format!("file:///srv/{dir}"),
        branch: Some("main".to_owned()),
        upstream: Some("main".to_owned()),
        default_branch: Some("main".to_owned()),
        remote_branches: vec!["main".to_owned()],
        has_commit: true,
        files: Some(files.iter().map(|file| (*file).to_owned()).collect()),
        ..Repository::default()
    }
}

/// Generates a manifest like `xp init` without options.
fn generated(
    repositories: Vec<Repository>,
    list: &[(&str, &str)],
) -> Result<(String, Manifest), String> {
    let folder = PlatformFolder {
        name: "shop".to_owned(),
        repositories,
        ..PlatformFolder::default()
    };
    let read = files(list);
    let options = InitOptions {
        sources: detect(&read).unwrap(),
        all_repositories: true,
        ..InitOptions::default()
    };
    let draft =
        draft(&folder, &options, &read, &|_| Vec::new()).map_err(|error| error.to_string())?;
    let rendered = render(&draft).map_err(|error| format!("{error:?}"))?;
    let manifest = manifest::parse(&rendered.text, Path::new("m")).unwrap();
    Ok((rendered.text, manifest))
}

fn names(manifest: &Manifest) -> Vec<&str> {
    manifest.services.keys().map(|name| name.as_str()).collect()
}

#[test]
fn a_folder_of_repositories_becomes_services() {
    let multi = "FROM golang AS b\nCOPY . .\nFROM scratch\nCOPY --from=b /x /x\n";
    let (text, manifest) = generated(
        vec![
            repository("api", &["Dockerfile", "main.go"]),
            repository("notes", &["README.md"]),
            repository(
                "mono",
                &[
                    "services/api/Dockerfile",
                    "services/api/main.go",
                    "services/Web/Dockerfile",
                    "services/worker/Dockerfile.jobs",
                    "examples/x/Dockerfile",
                    "go.mod",
                ],
            ),
        ],
        &[
            ("api/Dockerfile", "FROM scratch\nCOPY out/api /api\n"),
            ("api/Makefile", "build: x\ntest: x\n"),
            ("mono/services/api/Dockerfile", multi),
            (
                "mono/services/Web/Dockerfile",
                "FROM scratch\nCOPY go.mod services/Web /\n",
            ),
        ],
    )
    .unwrap();
    assert_eq!(
        names(&manifest),
        ["Web", "api", "mono-api", "worker-jobs"],
        "{text}"
    );
    let service = |name: &str| &manifest.services[&name.parse().unwrap()];
    assert_eq!(
        service("mono-api").source.git().unwrap().path.as_deref(),
        Some("services/api")
    );
    assert_eq!(
        service("worker-jobs").docker.file.as_str(),
        "Dockerfile.jobs"
    );
    // It copies from the root, but only some files.
    assert_eq!(
        service("Web").source.git().unwrap().path.as_deref(),
        Some("services/Web")
    );
    assert_eq!(service("Web").docker.context.as_str(), "/");
    assert!(text.contains("include:\n        - go.mod\n"), "{text}");
    assert!(service("Web").docker.image.to_string() == "web");
    assert_eq!(
        service("api").source.git().unwrap().reference.to_string(),
        "origin/main"
    );
    assert!(
        text.contains("copies out/api, which is not in the commit"),
        "{text}"
    );
    assert!(text.contains("#     - make build"), "{text}");
    assert!(text.contains("notes: it has no Dockerfile"), "{text}");
    assert!(text.contains("examples/x/Dockerfile in mono"), "{text}");
}

#[test]
fn builds_of_compose_and_skaffold_are_merged() {
    let compose = "\
services:
  db: {image: 'postgres:16'}
  backend:
    build: {context: ./api, args: {FRONT: x}}
    image: registry.example.com/shop/backend:1
  frontend: {build: ./web, image: 'registry.example.com/shop/ui/frontend'}
  worker: {build: {context: ./api, args: {FRONT: x}}}
  lost: {build: ./lost}
";
    let skaffold = "\
apiVersion: skaffold/v4beta11
build:
  artifacts:
    - image: backend
      context: api
      requires: [{image: front, alias: FRONT_IMAGE}]
    - {image: front, context: web}
    - {image: extra, context: web, docker: {dockerfile: docker/Extra.Dockerfile, target: t}}
";
    let (text, manifest) = generated(
        vec![
            repository("api", &["Dockerfile", "tools/Dockerfile"]),
            repository("web", &["Dockerfile", "docker/Extra.Dockerfile"]),
        ],
        &[
            ("compose.yaml", compose),
            ("skaffold.yaml", skaffold),
            ("api/Dockerfile", "ARG BASE\nFROM ${BASE}\n"),
            (
                "web/Dockerfile",
                "FROM registry.example.com/shop/backend:1\n",
            ),
        ],
    )
    .unwrap();
    assert_eq!(names(&manifest), ["backend", "extra", "frontend"], "{text}");
    let backend = &manifest.services[&"backend".parse().unwrap()];
    assert_eq!(backend.docker.image.to_string(), "backend");
    assert_eq!(
        backend.docker.args["FRONT_IMAGE"].as_written(),
        "${{ services.frontend.image }}"
    );
    for part in [
        "# registry: registry.example.com/shop\n",
        "# - db: compose runs the image postgres:16",
        "# TODO: lost: its folder, lost, is not in a git repository",
        "# worker in compose.yaml is the same build",
        "# BASE: \"\"",
        "# - tools/Dockerfile in api: no tool file builds it",
        "image: ui/frontend",
    ] {
        assert!(text.contains(part), "{part}:\n{text}");
    }
    let extra = &manifest.services[&"extra".parse().unwrap()];
    assert_eq!(
        (extra.docker.file.as_str(), extra.docker.context.as_str()),
        ("docker/Extra.Dockerfile", ".")
    );
}

#[test]
fn a_cycle_of_services_is_an_error() {
    let skaffold = "apiVersion: skaffold/v4\nbuild: {artifacts: [{image: a, context: a, requires: [{image: b, alias: B}]}, {image: b, context: b, requires: [{image: a, alias: A}]}]}\n";
    let repositories = || {
        vec![
            repository("a", &["Dockerfile"]),
            repository("b", &["Dockerfile"]),
        ]
    };
    let error = generated(repositories(), &[("skaffold.yaml", skaffold)]).unwrap_err();
    assert!(error.contains("cycle"), "{error}");
}

#[test]
fn repositories_that_are_not_cloned_become_services_with_a_todo() {
    let west = "manifest:\n  projects:\n    - {name: api, url: 'https://bob:s3cret@h/x/api.git', revision: main}\n    - {name: deep/web, url: 'git@h:x/web', revision: abcdef1}\n";
    let (text, manifest) = generated(Vec::new(), &[("west.yml", west)]).unwrap();
    assert_eq!(names(&manifest), ["api", "web"]);
    assert!(!text.contains("s3cret") && text.contains("the credentials in the URL were removed"));
    assert!(
        text.contains("is not cloned here") && text.contains("abbreviated"),
        "{text}"
    );
    let modules = "[submodule \"a\"]\n path = parts/a\n url = ../a.git\n";
    let root = repository(".", &["Dockerfile", ".gitmodules"]);
    let (text, manifest) = generated(vec![root], &[(".gitmodules", modules)]).unwrap();
    let all = &manifest.services[&"all".parse().unwrap()];
    assert_eq!(all.dir, Path::new("src/all"), "{text}");
    assert!(all.source.git().unwrap().submodules);
    let part = &manifest.services[&"a".parse().unwrap()];
    assert_eq!(
        part.source.git().unwrap().remote.expose(),
        "https://git.example.com/x/a.git"
    );
}

#[test]
fn a_repository_without_a_remote_uses_its_working_copy() {
    let mut local = repository("api", &["Dockerfile"]);
    local.remote = None;
    let mut unpushed = repository("web", &["Dockerfile"]);
    unpushed.remote_branches.clear();
    let mut topic = repository("job", &["Dockerfile"]);
    topic.upstream = Some("topic".to_owned());
    topic.remote_branches.push("topic".to_owned());
    let mut empty = repository("new", &[]);
    empty.has_commit = false;
    let (text, manifest) = generated(vec![local, unpushed, topic, empty], &[]).unwrap();
    let remote = |name: &str| {
        manifest.services[&name.parse().unwrap()]
            .source
            .git()
            .unwrap()
            .remote
            .expose()
            .to_owned()
    };
    assert_eq!(remote("api"), "file:///srv/api");
    assert_eq!(remote("web"), "file:///srv/web");
    assert!(text.contains("it has no remote") && text.contains("nothing was fetched"));
    assert!(text.contains("TODO: new: it has no commits yet"), "{text}");
    assert!(text.contains("reference: origin/topic") && text.contains("default branch is main"));
}

#[test]
fn no_dockerfile_is_an_error() {
    let error = generated(vec![repository("api", &["README.md"])], &[]).unwrap_err();
    assert!(error.contains("api: it has no Dockerfile"), "{error}");
    let error = generated(Vec::new(), &[]).unwrap_err();
    assert!(error.contains("found nothing in shop"), "{error}");
}

#[test]
fn selected_services_include_their_dependencies() {
    let skaffold = "apiVersion: skaffold/v4\nbuild: {artifacts: [{image: a, context: a, requires: [{image: b, alias: B}]}, {image: b, context: b}, {image: c, context: c}]}\n";
    let folder = PlatformFolder {
        repositories: ["a", "b", "c"]
            .map(|dir| repository(dir, &["Dockerfile"]))
            .into(),
        ..PlatformFolder::default()
    };
    let read = files(&[("skaffold.yaml", skaffold)]);
    let choose = |pattern: &str| {
        let options = InitOptions {
            sources: detect(&read).unwrap(),
            services: vec![pattern.to_owned()],
            ..InitOptions::default()
        };
        let draft = draft(&folder, &options, &read, &|_| Vec::new())?;
        let names: Vec<String> = draft
            .services
            .into_iter()
            .map(|service| service.name)
            .collect();
        Ok::<_, InitError>(names)
    };
    assert_eq!(choose("a").unwrap(), ["a", "b"]);
    assert_eq!(choose("c*").unwrap(), ["c"]);
    assert!(matches!(choose("d"), Err(InitError::Unknown(_))));
}
