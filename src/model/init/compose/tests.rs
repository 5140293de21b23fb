use super::super::build::{ArgValue, BuildContext};
use super::super::tests::files;
use super::*;

fn one(name: &str, text: &str) -> Result<ComposeProject, String> {
    let read_file = files(&[(name, text)]);
    read(&[name.to_owned()], "shop", &read_file).map_err(|error| error.to_string())
}

#[test]
fn every_form_of_build_is_read() {
    let text = "\
x-build: &build
  context: ./shared
  args: {A: '1'}
services:
  db:
    image: postgres:16
  api:
    build: ./api
    image: registry.example.com/shop/api:${TAG:-latest}
    depends_on: [db]
  web:
    build:
      context: web
      dockerfile: docker/Dockerfile
      target: runtime
      args:
        - MODE=fast
        - FROM_ENV
        - NODE=${NODE_VERSION}
        - NPM_TOKEN=abc
      additional_contexts:
        base: service:api
      secrets: [x]
  job:
    build:
      <<: *build
      args: {B: 2}
  far:
    build: https://git.example.com/x/far.git#main:docker
  inline:
    build: {dockerfile_inline: FROM scratch}
  nothing: {}
";
    let env = "NODE_VERSION=22\n";
    let read_file = files(&[("compose.yaml", text), (".env", env)]);
    let composed = read(&["compose.yaml".to_owned()], "shop", &read_file).unwrap();
    assert_eq!(
        composed.image_only,
        [("db".to_owned(), "postgres:16".to_owned())]
    );
    let names: Vec<&str> = composed
        .builds
        .iter()
        .map(|build| build.name.as_str())
        .collect();
    assert_eq!(names, ["api", "web", "job", "far", "inline"]);
    let [api, web, job, far, inline] = composed.builds.as_slice() else {
        panic!("five builds")
    };
    assert_eq!(api.context, BuildContext::Folder("api".to_owned()));
    assert_eq!(
        api.image.as_deref(),
        Some("registry.example.com/shop/api:latest")
    );
    assert_eq!(web.dockerfile.as_deref(), Some("docker/Dockerfile"));
    assert_eq!(web.target.as_deref(), Some("runtime"));
    assert_eq!(web.needs, ["api"]);
    assert_eq!(web.todos.len(), 1);
    assert!(matches!(&web.secrets[0], (id, BuildSecret::Unknown(_)) if id == "x"));
    let value = |name: &str| &web.args.iter().find(|(known, _)| known == name).unwrap().1;
    assert_eq!(value("MODE"), &ArgValue::Text("fast".to_owned(), None));
    assert!(matches!(value("NODE"), ArgValue::Text(text, Some(_)) if text == "22"));
    assert!(matches!(value("FROM_ENV"), ArgValue::Unknown(_)));
    assert!(matches!(value("NPM_TOKEN"), ArgValue::Unknown(why) if !why.contains("abc")));
    // A merge key merges whole values, so the arguments of the anchor are replaced.
    assert_eq!(job.args.len(), 1);
    assert!(matches!(&far.context, BuildContext::Git { path, .. } if path == "docker"));
    assert!(
        matches!(&inline.context, BuildContext::None(why) if why.contains("dockerfile_inline"))
    );
}

#[test]
fn later_files_override_and_reset() {
    let first = "services:\n  a: {build: {context: a, args: {X: 1, Y: 1}}}\n  b: {build: b}\n  c: {build: c}\n  d: {build: {context: d, args: {X: 1}}}\n";
    let second = "services:\n  a: {build: {target: t, args: [Y=2]}, image: i}\n  b: {build: !reset null, image: b}\n  c: !reset null\n  d: {build: !override {context: e}}\n";
    let read_file = files(&[("x/compose.yml", first), ("x/compose.override.yml", second)]);
    let names = ["x/compose.yml", "x/compose.override.yml"].map(str::to_owned);
    let composed = read(&names, "shop", &read_file).unwrap();
    let [a, d] = composed.builds.as_slice() else {
        panic!("two builds: {composed:?}")
    };
    assert_eq!(a.context, BuildContext::Folder("x/a".to_owned()));
    assert_eq!(a.target.as_deref(), Some("t"));
    assert_eq!(a.args[1].1, ArgValue::Text("2".to_owned(), None));
    assert_eq!(
        (d.args.len(), &d.context),
        (0, &BuildContext::Folder("x/e".to_owned()))
    );
    assert_eq!(composed.image_only.len(), 1);
}

#[test]
fn paths_are_relative_to_the_including_or_extended_file() {
    let main = "include:\n  - parts/compose.yaml\n  - {path: [other.yaml], project_directory: elsewhere}\nservices:\n  web:\n    extends: {file: parts/base.yaml, service: base}\n    build: {target: prod}\n  job: {extends: web}\n";
    let read_file = files(&[
        ("compose.yaml", main),
        ("parts/compose.yaml", "services: {api: {build: api}}\n"),
        ("other.yaml", "services: {x: {build: x}}\n"),
        (
            "parts/base.yaml",
            "services: {base: {build: {context: ./web}}}\n",
        ),
    ]);
    let composed = read(&["compose.yaml".to_owned()], "shop", &read_file).unwrap();
    let shown: Vec<(&str, &BuildContext, Option<&str>)> = composed
        .builds
        .iter()
        .map(|build| (build.name.as_str(), &build.context, build.target.as_deref()))
        .collect();
    let folder = |path: &str| BuildContext::Folder(path.to_owned());
    assert_eq!(
        shown,
        [
            ("api", &folder("parts/api"), None),
            ("x", &folder("elsewhere/x"), None),
            ("web", &folder("parts/web"), Some("prod")),
            ("job", &folder("parts/web"), Some("prod")),
        ]
    );
}

#[test]
fn invalid_files_are_rejected_with_their_lines() {
    for (text, expected) in [
        ("services: [a]\n", "must be a mapping"),
        ("- a\n", "must be a mapping"),
        ("a: 1\n", "not a compose file"),
        ("services:\n  a: [x]\n", "a service must be a mapping"),
        ("services:\n  a:\n    build: [x]\n", "c.yaml:3:12"),
        (
            "services:\n  a: {build: {args: x}}\n",
            "`build.args` must be",
        ),
        ("include: [c.yaml]\n", "includes itself"),
        ("include: [../../c.yaml]\n", "outside the platform"),
        ("include: [gone.yaml]\n", "no such file"),
        (
            "services:\n  a: {extends: b}\n  b: {extends: a}\n",
            "extends itself",
        ),
        (
            "services:\n  a: {extends: {service: z}}\n",
            "no service `z`",
        ),
        ("services:\n  a: {build: x\n", "invalid YAML"),
        ("services:\n  a: &a {build: *a}\n", "inside its own anchor"),
        ("services:\n  a: {}\n  a: {}\n", "duplicate key"),
    ] {
        let error = one("c.yaml", text).unwrap_err();
        assert!(error.contains(expected), "{text}: {error}");
    }
    let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..9 {
        let before = format!("*a{}, ", level - 1).repeat(10);
        bomb.push_str(&format!("a{level}: &a{level} [{before}]\n"));
    }
    assert!(
        one("c.yaml", &bomb)
            .unwrap_err()
            .contains("expand to more than")
    );
    let outside = one("c.yaml", "services: {a: {build: ../a}, b: {build: /srv}}\n").unwrap();
    assert!(
        outside
            .builds
            .iter()
            .all(|build| matches!(build.context, BuildContext::None(_)))
    );
}
