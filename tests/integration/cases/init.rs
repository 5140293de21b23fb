//! `xp init`, and `xp plan` and `xp build` with its manifests.

use std::fs;

use crate::case::Case;
use crate::context::Context;
use crate::output::Output;
use crate::repository::GitRepository;
use crate::world::PASSWORD;

pub const CASES: &[Case] = cases![
    a_folder_of_working_copies_is_built,
    a_compose_file_is_built,
    a_skaffold_file_is_built,
    submodules_are_built,
    a_west_workspace_is_built,
    a_repo_checkout_is_built,
    one_repository_with_many_dockerfiles_is_built,
    a_repository_without_a_remote_is_built_locally,
    proposed_phases_are_restored,
    existing_files_are_never_overwritten,
    credentials_are_not_written,
    the_schema_for_editors_is_written,
    the_working_copy_named_like_the_remote_is_preferred,
    comments_contain_no_local_paths,
    errors_are_reported_and_nothing_is_written,
    a_single_source_can_be_selected,
    questions_are_asked_on_a_terminal,
    ctrl_c_writes_nothing,
];

const PLAIN: &str = "FROM scratch\nCOPY file /file\n";

/// Creates a repository with an image that contains its `file`, and clones it.
fn cloned(t: &Context, name: &str, dir: &str) -> GitRepository {
    let repository = t.git_repo(name);
    repository.commit(&[("Dockerfile", PLAIN), ("file", name)], "First");
    clone(t, &repository.url_http(), dir);
    repository
}

fn clone(t: &Context, url: &str, dir: &str) {
    t.git(".", &["clone", "--quiet", url, dir]);
}

/// Runs `xp init` with a registry, then `xp plan` and `xp build`, and again with nothing to do. Returns the
/// output of `xp init` and the manifest.
#[track_caller]
fn built<const N: usize>(t: &Context, services: [(&str, &str); N]) -> (Output, String) {
    let prefix = t.registry_prefix(t.registry());
    let said = t.xp(["init", "--registry", &prefix]).success();
    assert_eq!(said.stdout, "");
    let manifest = t.read("x-platform.yml");
    t.xp(["plan"]).success();
    t.xp(["build"]).success();
    for (image, commit) in services {
        let tags = t.registry().tags(&t.image(image));
        assert!(tags.iter().any(|tag| tag == commit), "{image}: {tags:?}");
    }
    t.xp(["plan", "--exit-code"]).success();
    (said, manifest)
}

fn a_folder_of_working_copies_is_built(t: &Context) {
    let api = cloned(t, "Api", "src/Api");
    let web = cloned(t, "web", "src/team/web");
    let notes = t.git_repo("notes");
    notes.commit(&[("README.md", "hello\n")], "First");
    clone(t, &notes.url_http(), "notes");
    let (said, manifest) = built(t, [("api", &api.head()), ("web", &web.head())]);
    for part in [
        "dir: src/team/web",
        "reference: origin/master",
        "# - notes: it has no Dockerfile",
    ] {
        assert!(manifest.contains(part), "{part}:\n{manifest}");
    }
    said.stderr_contains("Wrote x-platform.yml with 2 services")
        .does_not_contain("TODO");
    // A service with unpushed commits is built from what is pushed.
    t.write("src/team/web/tools/Dockerfile", PLAIN);
    let again = t.xp(["init", "--dry-run"]).success();
    assert!(!again.stdout.contains("tools"), "{}", again.stdout);
}

fn a_compose_file_is_built(t: &Context) {
    let api = t.git_repo("api");
    let dockerfile = "ARG GREETING\nFROM scratch AS base\nARG GREETING\nLABEL greeting=$GREETING\nCOPY x /x\nFROM base AS debug\n";
    api.commit(
        &[
            ("app/build/Dockerfile", dockerfile),
            ("app/x", "1\n"),
            ("other", "1\n"),
        ],
        "First",
    );
    clone(t, &api.url_http(), "api");
    cloned(t, "web", "web");
    t.write(
        "docker-compose.yml",
        "\
x-common: &common
  restart: always
services:
  db: {image: 'postgres:16'}
  api:
    <<: *common
    image: ${REGISTRY:-registry.example.com}/shop/backend:${TAG}
    build:
      context: ./api/app
      dockerfile: build/Dockerfile
      target: base
      args: {GREETING: '${WORD:-hello} world', SECRET_TOKEN: abc123}
  worker: {extends: api, command: work}
",
    );
    t.write(
        "docker-compose.override.yml",
        "services: {web: {build: ./web}}\n",
    );
    let (said, manifest) = built(t, [("backend", &api.head())]);
    for part in [
        "path: app\n",
        "file: build/Dockerfile",
        "target: base",
        "GREETING: hello world",
        "# - db: compose runs the image postgres:16",
        "# worker in docker-compose.yml is the same build",
        "    dev:\n      compose:\n        - docker-compose.yml\n        - docker-compose.override.yml\n      services:\n        \
         api:\n          - api\n          - worker\n",
    ] {
        assert!(manifest.contains(part), "{part}:\n{manifest}");
    }
    assert!(!manifest.contains("abc123"), "{manifest}");
    said.stderr_contains("1 place is marked TODO");
    // Commits of other users to other folders have no effect.
    api.commit(&[("other", "2\n")], "Other");
    t.xp(["plan", "--exit-code"]).success();
    let image = t
        .registry()
        .image_configuration(&t.image("backend"), "master");
    assert_eq!(image["config"]["Labels"]["greeting"], "hello world");
}

fn a_skaffold_file_is_built(t: &Context) {
    let front = cloned(t, "front", "src/front");
    let back = t.git_repo("back");
    back.commit(
        &[(
            "Dockerfile",
            "ARG FRONT\nFROM ${FRONT} AS front\nFROM scratch\nCOPY --from=front /file /file\n",
        )],
        "First",
    );
    clone(t, &back.url_http(), "src/back");
    t.write(
        "skaffold.yaml",
        "\
apiVersion: skaffold/v4beta11
kind: Config
build:
  artifacts:
    - image: shop-back
      context: src/back
      requires: [{image: shop-front, alias: FRONT}]
    - image: shop-front
      context: src/front
      docker: {dockerfile: Dockerfile}
",
    );
    let (_, manifest) = built(
        t,
        [("shop-back", &back.head()), ("shop-front", &front.head())],
    );
    assert!(
        manifest.contains("FRONT: ${{ services.shop-front.image }}"),
        "{manifest}"
    );
}

fn submodules_are_built(t: &Context) {
    let api = t.git_repo("api");
    let commit = api.commit(&[("Dockerfile", PLAIN), ("file", "1\n")], "First");
    let all = t.git_repo("all");
    all.commit(&[("README.md", "all\n")], "First");
    all.add_submodule("parts/api", "../api.git", &commit);
    // The platform's folder itself is a clone.
    t.git(".", &["init", "--quiet", "--initial-branch=master"]);
    t.git(".", &["remote", "add", "origin", &all.url_http()]);
    t.git(".", &["pull", "--quiet", "origin", "master"]);
    t.git(".", &["fetch", "--quiet", "origin"]);
    let before = t.xp(["init", "--dry-run"]).success();
    assert!(
        before.stdout.contains("parts/api is not cloned here"),
        "{}",
        before.stdout
    );
    t.git(".", &["submodule", "--quiet", "update", "--init"]);
    let (said, manifest) = built(t, [("api", &commit)]);
    assert!(
        manifest.contains(&format!("remote: {}", api.url_http())),
        "{manifest}"
    );
    assert!(manifest.contains("dir: parts/api"), "{manifest}");
    said.does_not_contain("TODO");
}

fn a_west_workspace_is_built(t: &Context) {
    let api = cloned(t, "api", "modules/api");
    let web = t.git_repo("web");
    web.commit(&[("Dockerfile", PLAIN), ("file", "1\n")], "First");
    web.tag("v1");
    let base = api.url_http();
    let base = base.strip_suffix("/api.git").expect("a name").to_owned();
    t.write(
        ".west/config",
        "[manifest]\npath = manifest\nfile = west.yml\n",
    );
    t.write(
        "manifest/west.yml",
        &format!(
            "\
manifest:
  defaults: {{remote: house, revision: master}}
  remotes: [{{name: house, url-base: '{base}'}}]
  projects:
    - {{name: api, repo-path: api.git, path: modules/api}}
    - {{name: web, repo-path: web.git, revision: v1}}
"
        ),
    );
    let (said, manifest) = built(t, [("api", &api.head()), ("web", &web.head())]);
    assert!(manifest.contains("reference: v1\n"), "{manifest}");
    assert!(
        manifest.contains("reference: origin/master\n"),
        "{manifest}"
    );
    said.stderr_contains("1 place is marked TODO")
        .stderr_contains("web is not cloned here");
}

fn a_repo_checkout_is_built(t: &Context) {
    let api = cloned(t, "api", "services/api");
    let manifests = t.git_repo("manifests");
    let text = "\
<manifest>
  <remote name=\"house\" fetch=\".\"/>
  <default remote=\"house\" revision=\"refs/heads/master\"/>
  <project name=\"api.git\" path=\"services/api\"/>
  <project name=\"docs\" groups=\"notdefault\"/>
</manifest>
";
    manifests.commit(&[("default.xml", text)], "First");
    clone(t, &manifests.url_http(), ".repo/manifests");
    t.write(
        ".repo/manifest.xml",
        "<manifest><include name=\"default.xml\"/></manifest>\n",
    );
    let (_, manifest) = built(t, [("api", &api.head())]);
    assert!(
        manifest.contains(&format!("remote: {}", api.url_http())),
        "{manifest}"
    );
    assert!(
        manifest.contains("# - docs: it is in the group `notdefault`"),
        "{manifest}"
    );
}

fn one_repository_with_many_dockerfiles_is_built(t: &Context) {
    let mono = t.git_repo("mono");
    let api = mono.commit(
        &[
            ("services/api/Dockerfile", PLAIN),
            ("services/api/file", "1\n"),
            ("tests/Dockerfile", PLAIN),
        ],
        "Api",
    );
    let web = mono.commit(
        &[
            (
                "web/Dockerfile",
                "FROM scratch\nCOPY services/api/file web/x /\n",
            ),
            ("web/x", "1\n"),
        ],
        "Web",
    );
    t.git(".", &["init", "--quiet", "--initial-branch=master"]);
    t.git(".", &["remote", "add", "origin", &mono.url_http()]);
    t.git(".", &["pull", "--quiet", "origin", "master"]);
    t.git(
        ".",
        &["branch", "--quiet", "--set-upstream-to=origin/master"],
    );
    let (_, manifest) = built(t, [("api", &api), ("web", &web)]);
    assert!(manifest.contains("dir: .\n"), "{manifest}");
    assert!(manifest.contains("path: services/api\n"), "{manifest}");
    // What the Dockerfile copies from the top tells its inputs.
    for part in ["path: web\n", "- services/api/file\n", "context: /\n"] {
        assert!(manifest.contains(part), "{part}:\n{manifest}");
    }
}

fn a_repository_without_a_remote_is_built_locally(t: &Context) {
    for (name, files) in [("my api", 2), ("empty", 0)] {
        fs::create_dir_all(t.dir().join(name)).expect("a folder");
        t.git(name, &["init", "--quiet", "--initial-branch=trunk"]);
        if files > 0 {
            t.write(&format!("{name}/Dockerfile"), PLAIN);
            t.write(&format!("{name}/file"), "1\n");
            t.git(name, &["add", "--all"]);
            t.git(name, &["commit", "--quiet", "--message", "First"]);
        }
    }
    let commit = t.git("my api", &["rev-parse", "HEAD"]);
    t.write("my api/file", "of somebody who works\n");
    let (said, manifest) = built(t, [("my-api", &commit)]);
    assert!(manifest.contains("dir: my api\n"), "{manifest}");
    assert!(manifest.contains("reference: origin/trunk\n"), "{manifest}");
    said.stderr_contains("2 places are marked TODO")
        .stderr_contains("it has no remote, so this is the working copy itself")
        .stderr_contains("empty: it has no commits yet");
    assert_eq!(t.read("my api/file"), "of somebody who works\n");
}

/// Installs a package with a random ID, from the lock file only, and builds with it.
const NPM: &str = "#!/bin/sh
set -e
case \"$*\" in
  ci)
    test ! -e src
    mkdir -p node_modules/vue
    cat package-lock.json /proc/sys/kernel/random/uuid > node_modules/vue/id
    ;;
  'run build')
    mkdir -p dist
    cat src/main.js node_modules/vue/id > dist/app.js
    ;;
  *) exit 1 ;;
esac
";

fn proposed_phases_are_restored(t: &Context) {
    let lock = "{\"packages\": {\"node_modules/vue\": {\"version\": \"3.4.0\"}}}\n";
    let web = t.git_repo("web");
    web.commit(
        &[
            ("Dockerfile", "FROM scratch\nCOPY dist /dist\n"),
            (
                "package.json",
                "{\"scripts\": {\"build\": \"vite build\"}, \"dependencies\": {\"vue\": \"3\"}}\n",
            ),
            ("package-lock.json", lock),
            ("src/main.js", "one\n"),
        ],
        "First",
    );
    clone(t, &web.url_http(), "web");
    let builder = format!("FROM {}\nCOPY npm /bin/npm\n", t.engine().busybox());
    t.write("builders/web/Dockerfile", &builder);
    t.write("builders/web/npm", NPM);
    let prefix = t.registry_prefix(t.registry());
    t.xp(["init", "--registry", &prefix]).success();
    let manifest = t.read("x-platform.yml");
    assert!(manifest.contains("      # proposed: "), "{manifest}");
    t.xp(["check"]).success();
    t.xp(["build"]).success();
    let files = || {
        let read = |path: &str| t.read(&format!(".xp/build/web/{path}"));
        (read("node_modules/vue/id"), read("dist/app.js"))
    };
    let (first, _) = files();
    // A change that the installation does not read.
    web.commit(&[("src/main.js", "two\n")], "Second");
    t.xp(["build"])
        .success()
        .stdout_contains("1 phase restored");
    assert_eq!(files(), (first.clone(), format!("two\n{first}")));
    web.commit(
        &[("package-lock.json", &lock.replace("3.4.0", "3.5.0"))],
        "Third",
    );
    let plan = t.xp(["plan"]).success();
    plan.stdout_contains("package-lock.json changed");
    t.xp(["build"]).success();
    let (third, app) = files();
    assert!(third.contains("3.5.0"), "{third}");
    assert_eq!(app, format!("two\n{third}"));
}

fn existing_files_are_never_overwritten(t: &Context) {
    cloned(t, "api", "api");
    t.manifest("mine: true\n");
    t.xp(["init"])
        .failure(2)
        .stderr_contains("error: x-platform.yml already exists")
        .stderr_contains("hint: `--dry-run` prints");
    assert_eq!(t.read("x-platform.yml"), "mine: true\n");
    let printed = t.xp(["init", "--dry-run"]).success();
    assert_eq!(
        t.xp(["init", "--output", "-"]).success().stdout,
        printed.stdout
    );
    t.xp(["init", "--force"])
        .success()
        .stderr_contains("Kept the previous one as x-platform.yml.old");
    assert_eq!(t.read("x-platform.yml"), printed.stdout);
    assert_eq!(t.read("x-platform.yml.old"), "mine: true\n");
    // In another folder, paths are relative to it.
    t.xp(["init", "-f", "api/x.yml"]).success();
    assert!(t.read("api/x.yml").contains("dir: .\n"));
    let mut left = names(t);
    left.sort();
    let expected = [
        "api",
        "x-platform.schema.json",
        "x-platform.yml",
        "x-platform.yml.old",
    ];
    assert_eq!(left, expected);
}

fn names(t: &Context) -> Vec<String> {
    let entries = fs::read_dir(t.dir()).expect("the folder");
    let name = |entry: fs::DirEntry| entry.file_name().to_string_lossy().into_owned();
    entries
        .map(|entry| name(entry.expect("an entry")))
        .collect()
}

fn the_schema_for_editors_is_written(t: &Context) {
    cloned(t, "api", "api");
    t.xp(["init"])
        .success()
        .stderr_contains("Wrote x-platform.schema.json next to it");
    let schema = t.xp(["schema"]).success().stdout;
    assert_eq!(t.read("x-platform.schema.json"), schema);
    let first = t.read("x-platform.yml");
    let first = first.lines().next().unwrap_or_default();
    assert!(first.ends_with("$schema=x-platform.schema.json"), "{first}");
    // It may belong to another user.
    t.write("x-platform.schema.json", "{}\n");
    t.xp(["init", "--force"])
        .success()
        .does_not_contain("schema");
    assert_eq!(t.read("x-platform.schema.json"), "{}\n");
}

fn the_working_copy_named_like_the_remote_is_preferred(t: &Context) {
    let api = cloned(t, "api", "api");
    clone(t, &api.url_http(), "a-second-api");
    clone(t, &api.url_http(), "the-third");
    let said = t.xp(["init", "--dry-run"]).success();
    for part in [
        "\n    dir: api\n",
        "# - a-second-api: another working copy of the same repository as api",
        "# - the-third: another working copy of the same repository as api",
    ] {
        assert!(said.stdout.contains(part), "{part}: {}", said.stdout);
    }
}

fn comments_contain_no_local_paths(t: &Context) {
    cloned(t, "api", "api");
    t.write("broken/.git/x", "");
    t.write("leads-nowhere/.git", "gitdir: /gone/.git\n");
    let said = t.xp(["init", "--dry-run"]).success();
    let text = said.stdout.replace("\n# ", " ");
    for dir in ["broken", "leads-nowhere"] {
        let told = format!(
            "TODO: {dir}: {dir} is not a valid git repository: its .git is not a repository and does not point to one"
        );
        assert!(text.contains(&told), "{told}: {}", said.stdout);
    }
    // The manifest is shared with users who have other folders.
    let here = t.dir().display().to_string();
    for line in text.lines().filter(|line| line.contains("TODO")) {
        assert!(!line.contains(&here), "{line}");
    }
}

fn credentials_are_not_written(t: &Context) {
    let api = t.git_repo("api");
    api.commit(&[("Dockerfile", PLAIN), ("file", "1\n")], "First");
    clone(t, &api.url_http_login(), "api");
    let said = t.xp(["init"]).success().does_not_contain(PASSWORD);
    let manifest = t.read("x-platform.yml");
    assert!(!manifest.contains(PASSWORD), "{manifest}");
    assert!(
        manifest.contains(&format!("remote: {}\n", api.url_http_auth())),
        "{manifest}"
    );
    assert!(
        manifest.contains("# the credentials in the working copy's URL were removed"),
        "{manifest}"
    );
    said.stderr_contains("Wrote x-platform.yml");
    // The same applies to credentials in other tools' files.
    let hidden = "hunter2";
    let url = format!("https://bob:{hidden}@h.example.com");
    t.write(
        "compose.yaml",
        &format!(
            "services:
  api:
    build: {{context: api, args: {{INDEX: {url}/simple}}, additional_contexts: {{lib: '{url}/lib.git'}}}}
  archive: {{build: '{url}/x.tar.gz'}}
  other: {{build: '{url}/other.git#main'}}
"
        ),
    );
    t.write(
        "skaffold.yaml",
        &format!(
            "apiVersion: skaffold/v4beta1
build:
  artifacts:
    - {{image: web, context: api, docker: {{buildArgs: {{NPM_TOKEN: {hidden}, INDEX: '{url}'}}}}}}
"
        ),
    );
    let printed = t.xp(["init", "--dry-run"]).success();
    for part in [
        "# TODO: its value has credentials in a URL",
        "# TODO: its value may be a secret",
        "#   INDEX: \"\"",
        "https://h.example.com/lib.git",
        "https://h.example.com/x.tar.gz",
        "remote: https://h.example.com/other.git",
    ] {
        assert!(printed.stdout.contains(part), "{part}: {}", printed.stdout);
    }
    printed.does_not_contain(hidden);
}

fn errors_are_reported_and_nothing_is_written(t: &Context) {
    t.xp(["init"])
        .failure(2)
        .stderr_contains("found nothing in product to generate a manifest from")
        .stderr_contains("hint: a service is a git repository");
    cloned(t, "api", "api");
    let huge = format!("services: {{}} #{}\n", "x".repeat(11 << 20));
    for (text, expected) in [
        (
            "services:\n  api:\n    build: [x]\n",
            "--> compose.yaml:3:12",
        ),
        ("services: {a: &a {build: *a}}\n", "inside its own anchor"),
        (
            "include: [compose.yaml]\nservices: {}\n",
            "`compose.yaml` includes itself",
        ),
        (
            "services: {a: {extends: {file: ../x.yml, service: a}}}\n",
            "is outside the platform's folder",
        ),
        (huge.as_str(), "larger than 10 MiB"),
        ("services:\n\ta: b\n", "invalid YAML"),
    ] {
        t.write("compose.yaml", text);
        t.xp(["init"]).failure(2).stderr_contains(expected);
        assert!(!t.exists("x-platform.yml"));
    }
    fs::remove_file(t.dir().join("compose.yaml")).expect("it is there");
    t.xp(["init", "nothing*"])
        .failure(2)
        .stderr_contains("unknown service `nothing*`");
    t.xp(["init", "--registry", "https://x"]).failure(2);
    t.xp(["init", "--from", "/etc/passwd"])
        .failure(2)
        .stderr_contains("is not in");
    t.xp(["init", "-C", "gone"])
        .failure(2)
        .stderr_contains("gone does not exist");
    // Without a manifest, other commands explain how to create one.
    t.xp(["plan"])
        .failure(2)
        .stderr_contains("`xp init` generates one");
}

fn a_single_source_can_be_selected(t: &Context) {
    cloned(t, "api", "src/api");
    cloned(t, "web", "src/web");
    t.write(
        "deploy/dev.yml",
        "services: {backend: {build: ../src/api}}\n",
    );
    t.write("compose.yaml", "services: {other: {build: src/web}}\n");
    let alone = t
        .xp(["init", "--dry-run", "--from", "deploy/dev.yml"])
        .success();
    assert!(
        alone.stdout.contains("  backend:\n    dir: src/api\n"),
        "{}",
        alone.stdout
    );
    assert!(!alone.stdout.contains("src/web"), "{}", alone.stdout);
    let folder = t.xp(["init", "--dry-run", "--from", "src"]).success();
    assert!(folder.stdout.contains("  web:\n") && folder.stdout.contains("  api:\n"));
    assert!(!folder.stdout.contains("other"), "{}", folder.stdout);
    let all = t.xp(["init", "--dry-run", "api"]).success();
    assert!(all.stdout.contains("  api:\n") && !all.stdout.contains("  other:\n"));
    // Relative to the compose file's folder, the sources are outside.
    t.xp(["init", "-C", "deploy", "--from", "dev.yml"])
        .failure(2)
        .stderr_contains("outside the platform's folder");
}

fn questions_are_asked_on_a_terminal(t: &Context) {
    cloned(t, "api", "api");
    for number in 0..9 {
        let name = format!("part-{number}");
        cloned(t, &name, &name);
    }
    let mut terminal = t.xp(["init"]).in_terminal(100, 40);
    terminal.wait_for("10 services: api, part-0");
    terminal.wait_for("Registry to push images to, such as harbour.example.com/x [none]:");
    terminal.type_keys("https://nonsense\n");
    terminal.wait_for("remove `https://`");
    terminal.type_keys("registry.example.com/shop\n");
    terminal.wait_for("Services to include");
    terminal.type_keys("nothing\n");
    terminal.wait_for("unknown service `nothing`");
    terminal.type_keys("part-1, api\n");
    let (status, screen) = terminal.wait();
    assert!(status.success(), "{screen}");
    let manifest = t.read("x-platform.yml");
    assert!(
        manifest.contains("registry: registry.example.com/shop\n"),
        "{manifest}"
    );
    assert!(manifest.contains("  part-1:\n") && !manifest.contains("  part-2:\n"));
    // If options provide all values, there are no prompts.
    let (status, screen) = t
        .xp(["init", "--yes", "--force"])
        .in_terminal(100, 40)
        .wait();
    assert!(
        status.success() && !screen.contains("Registry to push"),
        "{screen}"
    );
}

fn ctrl_c_writes_nothing(t: &Context) {
    cloned(t, "api", "api");
    for keys in ["\x03", "\x04"] {
        let mut terminal = t.xp(["init"]).in_terminal(100, 24);
        terminal.wait_for("Registry to push");
        terminal.type_keys(keys);
        let (status, screen) = terminal.wait();
        assert_eq!(status.code(), Some(130), "{screen}");
        assert!(screen.contains("Nothing was written"), "{screen}");
    }
    let left: Vec<_> = fs::read_dir(t.dir()).expect("the folder").collect();
    assert_eq!(left.len(), 1, "{left:?}");
}
