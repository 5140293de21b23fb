//! Sources that are easily misread.

use super::*;

fn service<'m>(manifest: &'m Manifest, name: &str) -> &'m manifest::Service {
    &manifest.services[&name.parse().unwrap()]
}

#[test]
fn an_argument_that_is_the_image_of_another_service_is_a_dependency() {
    let compose = "\
services:
  base: {image: acme-base, build: base}
  app: {build: {context: app, args: {BASE: acme-base, NAME: acme-base}}}
  default: {build: {context: default}}
  unnamed: {build: {context: unnamed, args: {FROM_IMAGE: 'shop-app:latest'}}}
  other: {build: {context: other, args: {BASE: 'acme-base:2'}}}
";
    let dirs = ["base", "app", "default", "unnamed", "other"];
    let repositories = dirs.map(|dir| repository(dir, &["Dockerfile"])).into();
    let (text, manifest) = generated(
        repositories,
        &[
            ("compose.yaml", compose),
            ("base/Dockerfile", "FROM scratch\n"),
            ("app/Dockerfile", "ARG BASE\nFROM ${BASE}\nARG NAME\n"),
            ("default/Dockerfile", "ARG BASE=acme-base\nFROM $BASE\n"),
            (
                "unnamed/Dockerfile",
                "ARG FROM_IMAGE\nFROM ${FROM_IMAGE} AS x\nFROM scratch\n",
            ),
            ("other/Dockerfile", "ARG BASE\nFROM ${BASE}\n"),
        ],
    )
    .unwrap();
    let value = |name: &str, arg: &str| {
        service(&manifest, name).docker.args[arg]
            .as_written()
            .to_owned()
    };
    let image = |name: &str| format!("${{{{ services.{name}.image }}}}");
    assert_eq!(value("app", "BASE"), image("base"), "{text}");
    // An argument that is not an image.
    assert_eq!(value("app", "NAME"), "acme-base");
    assert_eq!(value("default", "BASE"), image("base"));
    // The name that compose gives images by default.
    assert_eq!(value("unnamed", "FROM_IMAGE"), image("app"));
    // A released version of the image.
    assert_eq!(value("other", "BASE"), "acme-base:2");
}

#[test]
fn a_name_that_xp_invented_is_not_evidence() {
    let compose = "services:\n  nginx: {build: nginx}\n  web: {build: web}\n";
    let dirs = ["nginx", "web"];
    let dockerfile = "FROM nginx:alpine\n";
    let repositories = || dirs.map(|dir| repository(dir, &["Dockerfile"])).into();
    let files = [
        ("nginx/Dockerfile", dockerfile),
        ("web/Dockerfile", dockerfile),
    ];
    let with_compose: Vec<_> = files
        .into_iter()
        .chain([("compose.yaml", compose)])
        .collect();
    for files in [&files[..], &with_compose] {
        let (text, manifest) = generated(repositories(), files).unwrap();
        assert!(service(&manifest, "web").needs.is_empty(), "{text}");
        assert!(!text.contains("nginx:alpine"), "{text}");
    }
}

#[test]
fn what_was_not_converted_is_marked_once_per_service() {
    let compose = "\
services:
  a:
    platform: windows/amd64
    x-mine: 1
    ports: ['1:1']
    build: {context: a, network: host, ssh: [default, key=/k], privileged: false, no_cache: true, future: x}
future: {x: y}
";
    let skaffold = "\
apiVersion: skaffold/v4beta11
build:
  platforms: [linux/arm64]
  artifacts:
  - image: b
    context: b
    hooks: {before: [{command: [sh]}]}
    docker: {secret: {id: tok, env: TOK}, squash: true, cliFlags: [--x], noCache: true, ssh: default}
";
    let repositories = ["a", "b"]
        .map(|dir| repository(dir, &["Dockerfile"]))
        .into();
    let (text, manifest) = generated(
        repositories,
        &[("compose.yaml", compose), ("skaffold.yaml", skaffold)],
    )
    .unwrap();
    let flat = text.replace("\n      # ", " ");
    for part in [
        "TODO: not converted from compose.yaml: `build.future`, `build.network`, `build.ssh (key)` and the platform windows/amd64",
        "TODO: not converted from skaffold.yaml: `docker.cliFlags`, `docker.squash` and `hooks`",
        "# TODO: compose.yaml: `future` was not converted",
    ] {
        assert!(flat.contains(part), "{part}:\n{text}");
    }
    assert!(service(&manifest, "a").docker.ssh && service(&manifest, "b").docker.ssh);
    let b = &service(&manifest, "b").docker;
    assert_eq!(b.secrets.len(), 1);
    assert_eq!(b.platforms, ["linux/arm64".parse().unwrap()]);
}

#[test]
fn one_invalid_source_does_not_stop_the_others() {
    let files = [
        ("compose.yaml", "services: {api: {build: api}}\n"),
        (
            "skaffold.yaml",
            "apiVersion: skaffold/v4\nbuild:\n  artifacts: x\n",
        ),
        (".env", "A=1\n"),
    ];
    let repositories = || vec![repository("api", &["Dockerfile"])];
    let (text, manifest) = generated(repositories(), &files).unwrap();
    assert_eq!(names(&manifest), ["api"]);
    assert!(
        text.contains("# TODO: skaffold.yaml: line 3: `artifacts` must be a list"),
        "{text}"
    );
    let (text, _) = generated(
        repositories(),
        &[files[0], files[1], (".env", "A=1\nB='s3cret\n")],
    )
    .unwrap();
    assert!(
        text.contains("TODO: compose.yaml: .env: line 2: unterminated quote"),
        "{text}"
    );
    assert!(!text.contains("s3cret"), "{text}");
}

#[test]
fn names_come_from_the_folders_and_fixtures_are_no_services() {
    let files = [
        "services/a/app/Dockerfile",
        "services/b/app/Dockerfile",
        "services/c/Dockerfile",
        "services/c/docker/Dockerfile.jobs",
        "pkg/fixtures/x/Dockerfile",
        "cli/testdata/Dockerfile",
        "api-tests/Dockerfile",
        "gen/Dockerfile",
        "tpl/Dockerfile",
    ];
    let (text, manifest) = generated(
        vec![repository("mono", &files)],
        &[
            (
                "mono/gen/Dockerfile",
                "#\n# NOTE: THIS DOCKERFILE IS GENERATED VIA \"update.sh\"\nFROM scratch\n",
            ),
            ("mono/tpl/Dockerfile", "FROM {{ base }}\n"),
            (
                "mono/services/c/Dockerfile",
                "FROM x\nRUN go list -f '{{.Dir}}'\n",
            ),
        ],
    )
    .unwrap();
    assert_eq!(
        names(&manifest),
        ["a-app", "b-app", "c", "c-jobs"],
        "{text}"
    );
    assert!(text.contains("probably not a service"), "{text}");
}

#[test]
fn nothing_is_said_of_files_in_submodules_or_of_commands_that_do_not_exist() {
    let dockerfile = "FROM scratch\nCOPY lib/x link/y /\n";
    let own = ["Dockerfile", ".gitmodules", "lib", "lib/", "link", "link/"];
    let (text, _) = generated(
        vec![repository("api", &own)],
        &[("api/Dockerfile", dockerfile)],
    )
    .unwrap();
    assert!(!text.contains("not in the commit"), "{text}");
    let (text, _) = generated(
        vec![repository("api", &["Dockerfile"])],
        &[("api/Dockerfile", "FROM scratch\nCOPY dist out/app /\n")],
    )
    .unwrap();
    let text = text.replace("\n    # ", " ");
    assert!(
        text.contains("copies dist, out/app, which are not in the commit"),
        "{text}"
    );
    assert!(!text.contains("make"), "{text}");
}

#[test]
fn a_todo_of_a_repository_is_not_repeated() {
    let mut local = repository("mono", &["a/Dockerfile", "b/Dockerfile", "c/Dockerfile"]);
    local.remote = None;
    let (text, _) = generated(vec![local], &[]).unwrap();
    assert_eq!(text.matches("it has no remote").count(), 1, "{text}");
    assert_eq!(text.matches("# as for a\n").count(), 2, "{text}");
}

#[test]
fn the_inputs_of_a_dockerfile_tell_its_path() {
    let files = [
        ".dockerignore",
        "docker/web.Dockerfile",
        "services/web/Dockerfile",
        "services/web/main.go",
        "go.mod",
        "libs/common/x",
        "libs/common/y/z",
    ];
    let generated = |dockerfile: &str| {
        let list = [
            ("mono/services/web/Dockerfile", dockerfile),
            ("mono/docker/web.Dockerfile", dockerfile),
        ];
        generated(vec![repository("mono", &files)], &list).unwrap()
    };
    let (text, manifest) =
        generated("FROM x\nCOPY go.mod services/web libs/common libs/common/y /\n");
    let web = service(&manifest, "web");
    assert_eq!(
        web.source.git().unwrap().path.as_deref(),
        Some("services/web"),
        "{text}"
    );
    assert_eq!(web.docker.context.as_str(), "/");
    assert_eq!(web.docker.file.as_str(), "Dockerfile");
    let include = |lines: &[&str]| {
        let lines: Vec<String> = lines
            .iter()
            .map(|line| format!("        - {line}\n"))
            .collect();
        format!("      include:\n{}    docker:\n", lines.concat())
    };
    assert!(
        text.contains(&include(&["go.mod", "libs/common", ".dockerignore"])),
        "{text}"
    );
    // The other Dockerfile is not in the folder of the service.
    let other = include(&[
        "go.mod",
        "libs/common",
        ".dockerignore",
        "docker/web.Dockerfile",
    ]);
    assert!(text.contains(&other), "{text}");
    assert!(text.contains("file: /docker/web.Dockerfile\n"), "{text}");
    for unknown in [
        "FROM x\nCOPY go.* services/web/main.go /\n",
        "FROM x\nCOPY . /\n",
        "FROM x\nCOPY services /\n",
        "FROM x\nCOPY services/web gone /\n",
    ] {
        let (text, manifest) = generated(unknown);
        let own = manifest
            .services
            .values()
            .find(|service| service.docker.file.as_str().starts_with("services"));
        assert_eq!(
            own.and_then(|own| own.source.git().unwrap().path.as_deref()),
            None,
            "{text}"
        );
    }
}
