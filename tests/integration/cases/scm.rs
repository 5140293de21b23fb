//! Sources from plugins, with the real `builders/hg` and a real `hg serve`.

use std::fs;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use crate::case::Case;
use crate::cases::small;
use crate::context::Context;
use crate::engine_relay::delayed;
use crate::hg_repository::HgRepository;
use crate::output::Output;
use crate::wait::wait_until;

pub const CASES: &[Case] = cases![
    services_from_mercurial_are_built_next_to_git_services,
    one_container_resolves_all_services_of_a_plugin,
    references_are_branches_bookmarks_tags_and_commits,
    a_train_uses_the_branch_where_it_exists,
    a_set_of_mercurial_services_is_locked_and_compared,
    commands_show_mercurial_services,
    a_folder_is_built_in_place_by_its_content,
    credentials_reach_only_the_plugin,
    a_server_that_refuses_is_an_error_of_the_outside,
    invalid_answers_are_errors_with_their_location,
    hostile_files_are_errors_and_never_written,
    printed_secrets_are_redacted,
    settings_are_validated_by_the_label,
    a_plugin_that_hangs_is_ended,
    a_plugin_that_cannot_run_is_an_error,
    features_of_git_are_refused,
    a_commit_is_fetched_once_per_repository,
    an_interrupted_fetch_is_repeated,
    nothing_remains_of_a_killed_run,
    commands_run_beside_an_image_from_mercurial,
    the_plugin_of_the_documentation_works,
    a_plugin_may_end_before_it_is_awaited,
    a_remote_engine_reads_sources,
];

const DOCKERFILE: &str = "FROM scratch\nCOPY content /\n";

/// Writes the builder folder of the sample platform, and returns its name.
fn hg_builder(t: &Context) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("builders/hg");
    let read = |name: &str| fs::read_to_string(folder.join(name)).expect(name);
    t.builder(
        "hg",
        &read("Dockerfile"),
        &[("plugin.py", &read("plugin.py"))],
    )
}

/// Creates a repository with one commit.
fn hg_repository(t: &Context, name: &str) -> HgRepository {
    let repository = t.hg_repo(name);
    repository.commit(&[("Dockerfile", DOCKERFILE), ("content", name)], "Start");
    repository
}

/// Returns a service whose source the plugin reads; `scm` is added to its `scm`.
fn service(t: &Context, name: &str, plugin: &str, url: &str, scm: &str) -> String {
    format!(
        "  {name}:\n    dir: src/{name}\n    \
         scm: {{plugin: {plugin}, network: host, with: {{url: '{url}'}}{scm}}}\n    \
         docker: {{image: {}}}\n",
        t.image(name)
    )
}

fn manifest(t: &Context, registry: &str, services: &str) {
    let registry = match registry {
        "" => String::new(),
        registry => format!("registry: {registry}\n"),
    };
    // Made on first use, and not needed for other plugins.
    let base = if services.contains("-hg,") {
        t.hg_base()
    } else {
        ""
    };
    t.manifest(&format!(
        "{registry}builders: {{args: {{BASE: '{base}'}}}}\nservices:\n{services}"
    ));
}

/// Returns the content of a file in an image of `FROM scratch`.
fn content(t: &Context, image: &str) -> String {
    let folder = t.folder().join("image");
    _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).expect("a folder");
    let id = crate::process::succeed(t.engine().client().args(["create", image, "x"]));
    let id = id.trim();
    let to = folder.join("content").display().to_string();
    crate::process::succeed(
        t.engine()
            .client()
            .args(["cp", &format!("{id}:/content"), &to]),
    );
    crate::process::succeed(t.engine().client().args(["rm", id]));
    fs::read_to_string(folder.join("content")).expect("the file")
}

fn row(output: &Output, service: &str) -> String {
    output
        .row(service)
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
}

fn services_from_mercurial_are_built_next_to_git_services(t: &Context) {
    let registry = t.registry();
    let plugin = hg_builder(t);
    let (hg, git) = (hg_repository(t, "hg"), small::repository(t, "git"));
    let services = [
        service(t, "hg", &plugin, &hg.url(), ""),
        small::service(t, "git", &git.url_http(), "", ""),
    ];
    manifest(t, registry.host(), &services.concat());
    let plan = t.xp(["plan"]).success();
    plan.stderr_contains("is needed first, because it resolves hg: build, no image with content")
        .stdout_contains(&format!(
            "{} of {} with {plugin}",
            &hg.head()[..8],
            hg.url()
        ));
    let built = t.xp(["build"]).success();
    assert!(!built.stderr.contains("is needed first"), "{built}");
    let commit = hg.head();
    assert!(registry.tags(&t.image("hg")).contains(&commit));
    assert!(
        registry
            .tags(&t.image("hg"))
            .contains(&"default".to_owned())
    );
    let image = format!("{}/{}:{commit}", registry.host(), t.image("hg"));
    assert_eq!(content(t, &image), "hg");
    // The plugin's image is pushed like a builder, so others pull it.
    let builders = t.image("x").replace("/x", "");
    assert!(built.stdout.contains(&plugin), "{built} {builders}");
    let again = t.xp(["build"]).success();
    assert!(row(&again, "hg").contains("skip"), "{again}");
    // A new commit builds only its service.
    let second = hg.commit(&[("content", "new")], "Change");
    let plan = t.xp(["plan"]).success();
    assert!(row(&plan, "hg").contains("build"), "{plan}");
    assert!(row(&plan, "git").contains("skip"), "{plan}");
    t.xp(["build"]).success();
    let image = format!("{}/{}:{second}", registry.host(), t.image("hg"));
    assert_eq!(content(t, &image), "new");
}

fn one_container_resolves_all_services_of_a_plugin(t: &Context) {
    let plugin = hg_builder(t);
    let repositories: Vec<HgRepository> = (0..5)
        .map(|it| hg_repository(t, &format!("s{it}")))
        .collect();
    let services = repositories.iter().enumerate();
    let services = services
        .map(|(it, repository)| service(t, &format!("s{it}"), &plugin, &repository.url(), ""));
    manifest(t, "", &services.collect::<String>());
    t.xp(["build"]).success();
    let created = || {
        let mut client = t.engine().client();
        let format =
            "{{.Actor.Attributes.image}} {{index .Actor.Attributes \"x-platform.session\"}}";
        let events = [
            "events",
            "--since",
            "10m",
            "--until",
            "0s",
            "--filter",
            "event=create",
            "--format",
            format,
        ];
        let events = crate::process::succeed(client.args(events));
        let folder = t.folder().display().to_string();
        events.lines().filter(|line| line.contains(&folder)).count()
    };
    let before = created();
    let built = t.xp(["build"]).success();
    assert!(row(&built, "s4").contains("skip"), "{built}");
    // The plugin, and the container that ends it together with xp.
    assert_eq!(created() - before, 2);
    assert!(t.containers().is_empty());
}

fn references_are_branches_bookmarks_tags_and_commits(t: &Context) {
    let plugin = hg_builder(t);
    let repository = hg_repository(t, "app");
    let first = repository.head();
    repository.hg(&["tag", "--rev", &first, "--date", "1700000000 0", "v1.0"]);
    let default = repository.head();
    repository.hg(&["bookmark", "--rev", &first, "feature"]);
    repository.hg(&["branch", "--quiet", "stable"]);
    let stable = repository.commit(&[("content", "stable")], "Stable");
    for (reference, commit) in [
        ("", &default),
        (", reference: default", &default),
        (", reference: stable", &stable),
        (", reference: feature", &first),
        (", reference: v1.0", &first),
        (", reference: tip", &stable),
        (&format!(", reference: {first}"), &first),
    ] {
        manifest(
            t,
            "",
            &service(t, "app", &plugin, &repository.url(), reference),
        );
        let plan = t.xp(["plan", "--format", "json"]).success();
        let plan: Value = serde_json::from_str(&plan.stdout).expect("JSON");
        let unit = plan["units"]
            .as_array()
            .unwrap()
            .iter()
            .find(|it| it["name"] == "app")
            .unwrap();
        assert_eq!(unit["commit"], **commit, "{reference}");
        if reference.contains("stable") {
            assert_eq!(unit["reference"], "stable");
        }
    }
    manifest(
        t,
        "",
        &service(t, "app", &plugin, &repository.url(), ", reference: stabel"),
    );
    t.xp(["plan"]).failure(2).stderr_contains(&format!(
        "app cannot be resolved: {plugin} finds no reference `stabel` in {} (x-platform.yml:5)",
        repository.url()
    ));
    let overridden = ["plan", "--reference", &format!("app={first}")];
    assert!(row(&t.xp(overridden).success(), "app").contains(&first[..8]));
}

fn a_train_uses_the_branch_where_it_exists(t: &Context) {
    let plugin = hg_builder(t);
    let (one, two, git) = (
        hg_repository(t, "one"),
        hg_repository(t, "two"),
        small::repository(t, "git"),
    );
    let default = two.head();
    one.hg(&["branch", "--quiet", "topic"]);
    let topic = one.commit(&[("content", "topic")], "Topic");
    // A tag is not a branch.
    two.hg(&["tag", "--date", "1700000000 0", "topic"]);
    let services = [
        service(t, "one", &plugin, &one.url(), ""),
        service(
            t,
            "two",
            &plugin,
            &two.url(),
            &format!(", reference: {default}"),
        ),
        small::service(t, "git", &git.url_http(), "", ""),
    ];
    manifest(t, "", &services.concat());
    let plan = t.xp(["plan", "--branch", "topic"]).success();
    assert!(row(&plan, "one").contains(&topic[..8]), "{plan}");
    assert!(row(&plan, "two").contains(&default[..8]), "{plan}");
    plan.stdout_contains("On topic: 1 of 3 services.");
    // The branch of a service that is not selected is no typo.
    t.xp(["plan", "--branch", "topic", "git"]).success();
    t.xp(["plan", "--branch", "nowhere"])
        .failure(2)
        .stderr_contains("no repository in the manifest has a branch `nowhere`");
}

fn a_set_of_mercurial_services_is_locked_and_compared(t: &Context) {
    let registry = t.registry();
    let plugin = hg_builder(t);
    let repository = hg_repository(t, "app");
    manifest(
        t,
        registry.host(),
        &service(t, "app", &plugin, &repository.url(), ""),
    );
    t.xp(["build"]).success();
    t.xp(["lock"]).success();
    let lock = t.read("x-platform.lock");
    let remote = format!(
        "scm: \"{plugin} {{\\\"url\\\":\\\"{}\\\"}}\"",
        repository.url()
    );
    assert!(lock.contains(&remote), "{lock} {remote}");
    assert!(lock.contains("name: refs/heads/default"), "{lock}");
    t.xp(["lock", "--check"]).success();
    fs::copy(t.dir().join("x-platform.lock"), t.dir().join("old.lock")).unwrap();
    let second = repository.commit(&[("content", "new")], "Change");
    // The lock needs no server.
    let locked = t.xp(["build", "--locked"]).success();
    assert!(row(&locked, "app").contains("skip"), "{locked}");
    t.xp(["build"]).success();
    t.xp(["lock"]).success();
    let diff = t.xp(["diff", "old.lock", "x-platform.lock"]).success();
    assert!(diff.stdout.contains(&second[..8]), "{diff}");
    let both = format!("{}{}", diff.stdout, diff.stderr);
    assert!(
        both.contains("commits are only listed for git repositories"),
        "{diff}"
    );
    // A locked commit is the same in any repository.
    let other = hg_repository(t, "other");
    manifest(
        t,
        registry.host(),
        &service(t, "app", &plugin, &other.url(), ""),
    );
    t.xp(["build", "--locked"])
        .success()
        .stdout_contains("up to date");
}

fn commands_show_mercurial_services(t: &Context) {
    let registry = t.registry();
    let plugin = hg_builder(t);
    let repository = hg_repository(t, "app");
    manifest(
        t,
        registry.host(),
        &service(t, "app", &plugin, &repository.url(), ""),
    );
    t.xp(["check"]).success();
    t.xp(["graph"]).success().stdout_contains("app");
    let doctor = t.xp(["doctor", "-v"]).success();
    assert!(doctor.stdout.contains(&plugin), "{doctor}");
    let status = t.xp(["status"]).success();
    assert!(
        row(&status, "app").contains(&repository.head()[..8]),
        "{status}"
    );
    t.xp(["status", "--offline"])
        .failure(3)
        .stderr_contains("the commit of app is not known locally");
    let synced = t.xp(["sync"]).success();
    synced.stdout_contains(&format!(
        "skipped: only git repositories are cloned, and its source comes from {plugin}"
    ));
    assert!(!t.exists("src/app"));
    t.xp(["build"]).success();
    let why = t.xp(["why", "app"]).success();
    assert!(
        why.stdout.contains("x-platform.yml:5") || why.stdout.contains("default"),
        "{why}"
    );
    why.stdout_contains(&format!("refs/heads/default of {}", repository.url()));
    t.xp(["logs", "app", "--phase", "fetch"])
        .success()
        .stdout_contains("pulling");
    t.xp(["report", "--output", "-"])
        .success()
        .stdout_contains("fetch");
    let to = t.own_registry(crate::world::RegistryKind::Open);
    t.xp(["lock"]).success();
    let to = format!("{}/copied", to.host());
    t.xp(["copy", "--to", &to]).run();
    t.write("src/app/x", "");
    assert!(row(&t.xp(["status"]).success(), "app").contains("not git"));
}

fn commands_run_beside_an_image_from_mercurial(t: &Context) {
    if t.engine().product().is_podman() {
        return;
    }
    let plugin = hg_builder(t);
    let busybox = t.engine().busybox();
    let database = t.hg_repo("db");
    let dockerfile = format!("FROM {busybox}\nCMD [\"sleep\", \"1000\"]\n");
    database.commit(&[("Dockerfile", &dockerfile)], "Start");
    let repository = small::repository(t, "app");
    let builder = format!("    dockerBuilder: {{image: {busybox}}}\n");
    let keys = format!(
        "{builder}    sidecars: {{db: {{image: '${{{{ services.db.image }}}}'}}}}\n    \
         scripts: {{test: [ping -c 1 -W 5 db]}}\n"
    );
    let services = [
        service(t, "db", &plugin, &database.url(), "") + &builder,
        small::service(t, "app", &repository.url_http(), "", &keys),
    ];
    manifest(t, "", &services.concat());
    t.xp(["build"]).success();
    t.xp(["sync"]).success();
    // The database has no working copy, so its commit is resolved.
    assert!(!t.exists("src/db"));
    t.xp(["run", "app", "--", "ping", "-c", "1", "-W", "5", "db"])
        .success();
    assert!(t.containers().is_empty(), "{:?}", t.containers());
    t.xp(["run", "db", "--", "true"])
        .failure(2)
        .stderr_contains("error: `db` has no working copy")
        .stderr_contains("hint: check it out in src/db; `xp sync` clones only git repositories");
}

fn a_folder_is_built_in_place_by_its_content(t: &Context) {
    let plugin = hg_builder(t);
    let repository = hg_repository(t, "app");
    manifest(t, "", &service(t, "app", &plugin, &repository.url(), ""));
    t.xp(["build", "--local", "app"])
        .failure(2)
        .stderr_contains("`--local` builds working copies, but `app` (src/app) has none");
    repository.hg(&[
        "clone",
        "--quiet",
        ".",
        &t.dir().join("src/app").display().to_string(),
    ]);
    let zeros = "0".repeat(40);
    let built = t.xp(["build", "--local", "app"]).success();
    let first = row(&built, "app");
    let names = || {
        let image = t.image("app");
        let list = [
            "image",
            "ls",
            "--format",
            "{{.Repository}}:{{.Tag}}",
            &image,
        ];
        crate::process::succeed(t.engine().client().args(list))
    };
    let tag = names().trim().to_owned();
    assert!(tag.contains(&format!(":{zeros}-dirty-")), "{tag} {first}");
    assert_eq!(content(t, &tag), "app");
    // Data of Mercurial is not a change.
    t.write("src/app/.hg/cache/x", "x");
    assert!(row(&t.xp(["build", "--local", "app"]).success(), "app").contains("skip"));
    t.write("src/app/content", "edited");
    let built = t.xp(["build", "--local", "app"]).success();
    assert!(row(&built, "app").contains("built"), "{built}");
    let tags = names();
    assert_eq!(tags.lines().count(), 2, "{tags}");
    // Nothing is asked of the server, and the engine has no plugin.
    let image = crate::process::succeed(t.engine().client().args([
        "image",
        "ls",
        "--format",
        "{{.Repository}}",
    ]));
    assert!(!image.lines().any(|line| line == plugin), "{image}");
}

fn credentials_reach_only_the_plugin(t: &Context) {
    let registry = t.registry();
    let plugin = hg_builder(t);
    let repository = hg_repository(t, "app");
    let text = service(
        t,
        "app",
        &plugin,
        &repository.url_auth(),
        ", secrets: {password: {env: HG_PASSWORD}}",
    );
    let text = text.replace(
        "with: {",
        &format!("with: {{username: {}, ", crate::world::USER),
    );
    manifest(t, registry.host(), &text);
    t.xp(["plan"]).failure(2)
        .stderr_contains("service `app`: the secret `password` of `scm.secrets`: the environment variable `HG_PASSWORD` is not set")
        .stderr_contains("x-platform.yml:6:");
    let wrong = "wr0ng-canary";
    t.xp(["plan"])
        .env("HG_PASSWORD", wrong)
        .failure(3)
        .stderr_contains("app cannot be resolved")
        .does_not_contain(wrong);
    let password = crate::world::PASSWORD;
    let built = t
        .xp(["build", "--format", "json"])
        .env("HG_PASSWORD", password)
        .success();
    assert!(
        !built.stdout.contains(&format!("\"{password}\"")),
        "{built}"
    );
    let id = format!(
        "{}/{}:{}",
        registry.host(),
        t.image("app"),
        repository.head()
    );
    let inspected = crate::process::succeed(t.engine().client().args(["inspect", &id]));
    assert!(
        !inspected.contains(password) && inspected.contains(&repository.url_auth()),
        "{inspected}"
    );
}

fn a_server_that_refuses_is_an_error_of_the_outside(t: &Context) {
    let plugin = hg_builder(t);
    let url = format!("http://127.0.0.1:{}/app", t.closed_port());
    manifest(t, "", &service(t, "app", &plugin, &url, ""));
    t.xp(["plan"])
        .failure(3)
        .stderr_contains(&format!(
            "`resolve` of {plugin} exited with 3 (x-platform.yml:5)"
        ))
        .stderr_contains("Connection refused");
    // A repository that does not exist is not an empty one.
    let url = hg_repository(t, "app").url().replace("app", "no");
    manifest(t, "", &service(t, "app", &plugin, &url, ""));
    t.xp(["plan"]).failure(3).stderr_contains("404");
}

/// Writes a plugin of these shell commands for `resolve` and `fetch`, and a service that uses it.
fn shell_plugin(t: &Context, resolve: &str, fetch: &str) -> String {
    let script = format!(
        "#!/bin/sh\nset -e\ncommit={COMMIT}\ncase $1 in\nresolve)\n{resolve}\n;;\nfetch)\n{fetch}\n;;\nesac\n"
    );
    let dockerfile = format!(
        "FROM {}\nCOPY plugin /\nENTRYPOINT [\"/plugin\"]\n",
        t.engine().busybox()
    );
    let plugin = t.builder("shell", &dockerfile, &[("plugin", &script)]);
    manifest(t, "", &service(t, "app", &plugin, "x", ""));
    plugin
}

const COMMIT: &str = "1b1bd2d0a7a0d8f0d8f0d8f0d8f0d8f0d8f0d8ff";
const RESOLVE: &str = "echo \"{\\\"app\\\": {\\\"commit\\\": \\\"$commit\\\", \\\"time\\\": 1700000000}}\" >/out/resolved.json";
const FETCH: &str =
    "printf 'FROM scratch\\nCOPY content /\\n' >/out/Dockerfile; echo hello >/out/content";

fn invalid_answers_are_errors_with_their_location(t: &Context) {
    for (resolve, problem) in [
        (
            "true",
            "/out/resolved.json is missing, is not a regular file, or is larger than 16 MiB",
        ),
        (
            "echo '{' >/out/resolved.json",
            "/out/resolved.json is not a JSON object with an answer for each id",
        ),
        (
            "echo '{}' >/out/resolved.json",
            "/out/resolved.json has no answer for the id `app`",
        ),
        (
            "echo '{\"app\": {\"missing\": true}, \"x\": {}}' >/out/resolved.json",
            "/out/resolved.json has an answer for the unknown id `x`",
        ),
        (
            "echo '{\"app\": {\"commit\": \"12\"}}' >/out/resolved.json",
            "`commit` must be 40 hexadecimal digits, not `12`",
        ),
        (
            "ln -s /config/resolve.json /out/resolved.json",
            "/out/resolved.json is missing, is not a regular file",
        ),
        (
            "mkdir /out/resolved.json",
            "/out/resolved.json is missing, is not a regular file",
        ),
        (
            "mkfifo /out/resolved.json",
            "/out/resolved.json is missing, is not a regular file",
        ),
    ] {
        let plugin = shell_plugin(t, resolve, FETCH);
        let failed = t.xp(["build"]).failure(1);
        failed
            .stderr_contains(&format!("`resolve` of {plugin} succeeded, but "))
            .stderr_contains(problem)
            .stderr_contains("(x-platform.yml:5)");
        assert!(t.containers().is_empty());
    }
    let plugin = shell_plugin(t, "echo 'no \u{1b}[31mroute' >&2; exit 3", FETCH);
    t.xp(["build"]).failure(3).stderr_contains(&format!(
        "`resolve` of {plugin} exited with 3 (x-platform.yml:5)\n  no [31mroute"
    ));
    shell_plugin(t, "echo broken >&2; exit 7", FETCH);
    t.xp(["build"])
        .failure(1)
        .stderr_contains("exited with 7")
        .stderr_contains("broken");
    // The plugin sees what it is asked.
    shell_plugin(
        t,
        &format!(
            "grep -q '\"id\":\"app\",\"with\":{{\"url\":\"x\"}},\"reference\":null' /config/resolve.json\n{RESOLVE}"
        ),
        FETCH,
    );
    t.xp(["build"]).success();
}

fn hostile_files_are_errors_and_never_written(t: &Context) {
    for (fetch, problem) in [
        ("true", "there are no files"),
        ("mkdir -p /out/a/b", "there are no files"),
        (
            "ln -s /etc/passwd /out/x",
            "the symbolic link `x` leads outside, to `/etc/passwd`",
        ),
        (
            "mkdir /out/a; ln -s ../../x /out/a/l",
            "the symbolic link `a/l` leads outside, to `../../x`",
        ),
        ("mknod /out/null c 1 3", "`null` is a device"),
        ("mkfifo /out/pipe", "`pipe` is a pipe"),
        (
            "mkdir -p /out/.git/hooks; touch /out/.git/hooks/x",
            "is inside a `.git` folder",
        ),
    ] {
        let plugin = shell_plugin(
            t,
            RESOLVE,
            &format!("{FETCH}\n{fetch}").replace(
                if problem == "there are no files" {
                    FETCH
                } else {
                    "\u{0}"
                },
                "",
            ),
        );
        t.xp(["build"]).failure(1)
            .stderr_contains(&format!("`fetch` of {plugin} succeeded for commit 1b1bd2d0, but its files in /out cannot be used (x-platform.yml:5)"))
            .stderr_contains(problem);
        assert!(!t.exists(".xp/build/app"));
        assert!(t.containers().is_empty());
    }
    shell_plugin(
        t,
        RESOLVE,
        &format!("{FETCH}\nchmod 4777 /out/content\nln -s content /out/inside"),
    );
    t.xp(["build"]).success();
    use std::os::unix::fs::PermissionsExt as _;
    let mode = fs::metadata(t.dir().join(".xp/build/app/content"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o7777, 0o755);
    shell_plugin(t, RESOLVE, "echo lost >&2; exit 3");
    t.xp(["build", "--force"])
        .failure(3)
        .stderr_contains("`fetch` of ")
        .stderr_contains("exited with 3 (x-platform.yml:5)");
}

fn printed_secrets_are_redacted(t: &Context) {
    let print = "printf 'begin s3cr'; sleep 0.5; printf 'et-value end\\n'";
    let secrets = ", secrets: {token: {env: TOKEN}}";
    let plugin = shell_plugin(t, &format!("{print}; exit 1"), "true");
    manifest(t, "", &service(t, "app", &plugin, "x", secrets));
    let failed = t.xp(["plan"]).env("TOKEN", "s3cret-value").failure(1);
    failed.stderr_contains("begin *** end");
    let plugin = shell_plugin(t, RESOLVE, &format!("{print}; exit 1"));
    manifest(t, "", &service(t, "app", &plugin, "x", secrets));
    let failed = t.xp(["build"]).env("TOKEN", "s3cret-value").failure(1);
    failed.stderr_contains("app | begin *** end");
    t.assert_secret_is_nowhere("s3cret-value");
}

fn settings_are_validated_by_the_label(t: &Context) {
    let plugin = hg_builder(t);
    // The image is neither built nor needed.
    let text = service(t, "app", &plugin, "ftp://example.com/app", "");
    let text = text.replace("with: {", "with: {usrname: bob, ");
    manifest(t, "", &text);
    for command in ["check", "plan"] {
        t.xp([command])
            .failure(2)
            .stderr_contains("`scm.with.usrname` is not a setting of this plugin")
            .stderr_contains("did you mean `username`?")
            .stderr_contains("`scm.with.url` ")
            .stderr_contains("x-platform.yml:");
    }
    assert!(t.engine().image(&plugin).is_none());
    // The label of an image that is not built from a folder.
    let image = t.image("plugin") + ":1";
    let dockerfile = format!(
        "FROM {}\nENTRYPOINT [\"true\"]\nLABEL x-platform.plugin='{{\"version\": 1, \"kind\": \"step\"}}'\n",
        t.engine().busybox()
    );
    t.write("plugin/Dockerfile", &dockerfile);
    let folder = t.dir().join("plugin").display().to_string();
    let built = t.engine().docker(["build", "-t", &image, &folder]);
    assert!(
        built.status.success(),
        "{}",
        String::from_utf8_lossy(&built.stderr)
    );
    manifest(t, "", &service(t, "app", &image, "x", ""));
    t.xp(["plan"])
        .failure(2)
        .stderr_contains("is of the kind `step`, not `scm`")
        .stderr_contains("x-platform.yml:");
}

fn a_plugin_that_hangs_is_ended(t: &Context) {
    let plugin = shell_plugin(t, "echo begun; sleep 1000", "true");
    manifest(t, "", &service(t, "app", &plugin, "x", ""));
    let hanging = t.xp(["plan"]).env("XP_TRANSFER_TIMEOUT", "2s").failure(3);
    hanging
        .stderr_contains(&format!(
            "`resolve` of {plugin} printed nothing for 2.0s (x-platform.yml:5)"
        ))
        .stderr_contains("set XP_TRANSFER_TIMEOUT to wait longer");
    assert!(t.containers().is_empty());
    // Output shows that it works.
    let print = "for i in 1 2 3 4 5 6; do sleep 1; echo $i; done";
    shell_plugin(t, &format!("{print}; {RESOLVE}"), FETCH);
    t.xp(["plan"]).env("XP_TRANSFER_TIMEOUT", "4s").success();
}

fn a_plugin_that_cannot_run_is_an_error(t: &Context) {
    manifest(t, "", &service(t, "app", "builders/none", "x", ""));
    t.xp(["plan"])
        .failure(2)
        .stderr_contains("builder `none` not found")
        .stderr_contains("`scm.plugin` of `app` is set in x-platform.yml:5");
    let missing = format!("127.0.0.1:{}/x/hg:1", t.closed_port());
    manifest(t, "", &service(t, "app", &missing, "x", ""));
    t.xp(["plan"]).failure(3);
    // An image without an entrypoint.
    manifest(t, "", &service(t, "app", t.engine().busybox(), "x", ""));
    t.xp(["plan"]).run();
    let failed = t.xp(["plan"]).run();
    assert!(failed.status.code() != Some(0), "{failed}");
    failed.stderr_contains(
        "a plugin of this kind is an image whose entrypoint accepts the command `resolve`",
    );
    assert!(t.containers().is_empty());
}

fn features_of_git_are_refused(t: &Context) {
    let text = service(t, "app", "builders/hg", "x", "");
    manifest(
        t,
        "",
        &text.replace("    docker:", "    git: {remote: /x, path: a}\n    docker:"),
    );
    t.xp(["check"])
        .failure(2)
        .stderr_contains("service `app` has both `git` and `scm`");
    for key in ["path: a", "submodules: true", "include: [x]"] {
        manifest(
            t,
            "",
            &service(t, "app", "builders/hg", "x", &format!(", {key}")),
        );
        let name = key.split(':').next().unwrap();
        t.xp(["check"])
            .failure(2)
            .stderr_contains(&format!("`scm.{name}` is only supported for git"));
    }
}

fn a_commit_is_fetched_once_per_repository(t: &Context) {
    let plugin = hg_builder(t);
    let repository = hg_repository(t, "app");
    manifest(t, "", &service(t, "app", &plugin, &repository.url(), ""));
    t.xp(["build"]).success();
    let path = repository
        .url()
        .split("//")
        .nth(1)
        .unwrap()
        .split_once('/')
        .unwrap()
        .1
        .to_owned();
    let bundles = || {
        let requests = t.hg_requests();
        requests
            .lines()
            .filter(|it| it.contains(&path) && it.contains("cmd=getbundle"))
            .count()
    };
    let first = bundles();
    assert!(first > 0);
    t.xp(["build", "--force"]).success();
    assert_eq!(bundles(), first);
    repository.commit(&[("content", "new")], "Change");
    t.xp(["build"]).success();
    assert!(bundles() > first);
}

fn an_interrupted_fetch_is_repeated(t: &Context) {
    let plugin = hg_builder(t);
    let repository = hg_repository(t, "app");
    manifest(t, "", &service(t, "app", &plugin, &repository.url(), ""));
    t.xp(["build"]).success();
    // What a killed `hg pull` leaves behind.
    let list = [
        "volume",
        "ls",
        "--quiet",
        "--filter",
        &format!("label=x-platform.cache={}", t.dir().display()),
    ];
    let volume = crate::process::succeed(t.engine().client().args(list));
    let damage =
        "rm -r /cache/repository/.hg/store/data; ln -s gone:7 /cache/repository/.hg/store/lock";
    let mount = format!("{}:/cache", volume.trim());
    crate::process::succeed(t.engine().client().args([
        "run",
        "--rm",
        "--volume",
        &mount,
        t.engine().busybox(),
        "sh",
        "-c",
        damage,
    ]));
    repository.commit(&[("content", "new")], "Change");
    t.xp(["build"]).success();
}

fn nothing_remains_of_a_killed_run(t: &Context) {
    shell_plugin(t, "sleep 600", FETCH);
    for signal in [rustix::process::Signal::KILL, rustix::process::Signal::INT] {
        let running = t.xp(["plan"]).spawn();
        let is_resolving =
            |it: &Value| it["Args"][0] == "resolve" && it["State"]["Running"] == true;
        wait_until("the plugin runs", || {
            t.containers().iter().any(is_resolving)
        });
        running.signal(signal);
        running.wait();
        // The kernel ends the processes; the next call removes what has ended.
        wait_until("the plugin ends", || {
            !t.containers()
                .iter()
                .any(|it| it["State"]["Running"] == true)
        });
        if signal == rustix::process::Signal::INT {
            assert!(t.containers().is_empty());
        }
    }
    shell_plugin(t, RESOLVE, FETCH);
    t.xp(["build"]).success();
    assert!(t.containers().is_empty());
}

fn the_plugin_of_the_documentation_works(t: &Context) {
    services_of_the_page(t);
    t.xp(["build"]).success();
    let again = t.xp(["build"]).success();
    assert!(
        row(&again, "one").contains("skip") && row(&again, "two").contains("skip"),
        "{again}"
    );
    let commit = again
        .row("one")
        .split_whitespace()
        .last()
        .and_then(|it| it.rsplit(':').next());
    let image = format!("{}:{}", t.image("two"), commit.expect("a tag"));
    assert_eq!(content(t, &image), "documented");
}

/// On a busy machine, the engine may get the request that waits for the end of a plugin after its end.
fn a_plugin_may_end_before_it_is_awaited(t: &Context) {
    services_of_the_page(t);
    let texts = &["/wait?", "next-exit"];
    let host = delayed(t.engine(), texts, Duration::from_secs(3));
    t.xp(["build"]).env("DOCKER_HOST", &host).success();
}

/// Writes a manifest with the services `one` and `two`, whose plugin is that of the documentation.
fn services_of_the_page(t: &Context) {
    let page = include_str!("../../../docs/sources.md");
    let script = page
        .split("```sh\n")
        .nth(1)
        .and_then(|it| it.split("```").next());
    let dockerfile = format!(
        "FROM {}\nCOPY plugin content /\nENTRYPOINT [\"/plugin\"]\n",
        t.engine().busybox()
    );
    let script = script.expect("the script");
    let plugin = t.builder(
        "doc",
        &dockerfile,
        &[("plugin", script), ("content", "documented")],
    );
    let services = ["one", "two"].map(|name| service(t, name, &plugin, "x", ""));
    manifest(t, "", &services.concat());
}

fn a_remote_engine_reads_sources(t: &Context) {
    let (engine, port) = t.remote_engine();
    let script = format!(
        "#!/bin/sh\nset -e\ncommit={COMMIT}\ncase $1 in resolve) {RESOLVE} ;; fetch) {FETCH}; test ! -e /cache/x; touch /cache/x ;; esac\n"
    );
    let dockerfile = format!(
        "FROM {}\nCOPY plugin /\nENTRYPOINT [\"/plugin\"]\n",
        engine.busybox()
    );
    let plugin = t.builder("far", &dockerfile, &[("plugin", &script)]);
    manifest(t, "", &service(t, "app", &plugin, "x", ""));
    let xp = |arguments: &[&str]| {
        let xp = arguments
            .iter()
            .fold(t.xp([]), |xp, argument| xp.arg(argument));
        xp.env("DOCKER_HOST", format!("tcp://127.0.0.1:{port}"))
            .env("DOCKER_TLS_VERIFY", "1")
            .env("DOCKER_CERT_PATH", t.client_certificate())
    };
    xp(&["build"]).success();
    assert!(row(&xp(&["plan"]).success(), "app").contains("skip"));
    // The cache is kept in the engine.
    xp(&["build", "--force"]).failure(1);
    let label = format!("label=x-platform.cache={}", t.dir().display());
    assert_eq!(engine.volumes(&label).len(), 1);
    let folder = t.folder().display().to_string();
    assert!(
        !engine
            .containers(&[])
            .iter()
            .any(|it| it.to_string().contains(&folder))
    );
}
