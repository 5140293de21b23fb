//! Local rebuilds: working copies built in place, tagged by content, and never pushed.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::os::unix::fs::PermissionsExt;

use serde_json::Value;

use crate::app::App;
use crate::case::Case;
use crate::context::Context;
use crate::process;
use crate::repository::GitRepository;
use crate::services::Services;
use crate::wait::wait_until;
use crate::working_copy::{Snapshot, User};
use crate::world::{GitServerKind, Mark, Registry, RegistryKind, Request};

pub const CASES: &[Case] = cases![
    the_tag_follows_the_content,
    ignored_files_are_built_without_changing_the_tag,
    files_unchecked_by_git_are_built,
    a_second_build_does_nothing,
    nothing_is_pushed,
    a_later_build_of_the_commit_is_clean,
    a_clean_tree_uses_the_image_of_the_commit,
    needed_services_are_built_from_their_commit,
    selected_services_use_each_others_images,
    the_plan_matches_the_build,
    the_working_copy_is_not_changed,
    scripts_run_in_the_working_copy,
    git_works_in_worktrees_and_submodules,
    mount_points_are_removed,
    files_belong_to_the_caller,
    a_kill_leaves_no_container,
    a_change_during_the_build_is_reported,
    services_of_one_working_copy_are_built_sequentially,
    only_changes_to_the_services_part_count,
    the_platform_itself_can_be_a_service,
    no_network_is_needed,
    services_that_cannot_be_built_in_place_are_reported,
];

/// A service with a cloned working copy. Its script writes its environment to `out`, which git ignores.
fn cloned(t: &Context) -> (App<'_>, User<'_>) {
    let app = App::new(t, &[(".gitignore", "out\n.env\n"), ("file", "1\n")], "");
    app.set_scripts("", &["cat file > out"]);
    t.xp(["sync"]).success();
    (app, User::new(t, "app"))
}

/// Returns the tags that the engine has for an image.
fn tags(t: &Context, image: &str) -> Vec<String> {
    let prefix = format!("{image}:");
    let names = t.engine().images_with_prefix(&prefix);
    let tags = names.iter().filter_map(|name| name.strip_prefix(&prefix));
    tags.map(str::to_owned).collect()
}

/// Returns the image's name in the final table.
fn built_image(output: &crate::output::Output, service: &str) -> String {
    let row = output.row(service);
    row.split_whitespace().last().expect("an image").to_owned()
}

#[track_caller]
fn id(t: &Context, image: &str) -> Value {
    let found = t.engine().image(image);
    found.unwrap_or_else(|| panic!("{image} is not there"))["Id"].clone()
}

fn build(t: &Context) -> String {
    built_image(&t.xp(["build", "--local"]).success(), "app")
}

fn the_tag_follows_the_content(t: &Context) {
    let (app, user) = cloned(t);
    let clean = build(t);
    assert_eq!(clean, app.image_of_head());
    user.write("file", "2\n");
    let second = build(t);
    let digits = second
        .strip_prefix(&format!("{clean}-dirty-"))
        .unwrap_or_else(|| panic!("{second}"));
    assert!(digits.len() == 8 && digits.chars().all(|c| c.is_ascii_hexdigit()));
    assert_eq!(t.engine().run(&second, ["cat", "/src/out"]).trim(), "2");
    // The branch's tag follows the last build.
    assert_eq!(id(t, &format!("{}:master", app.image())), id(t, &second));
    let labels = &t.engine().image(&second).expect("it was built")["Config"]["Labels"];
    assert_eq!(
        labels["org.opencontainers.image.revision"],
        app.repository.head()
    );
    let version = format!("master-dirty-{digits}");
    assert_eq!(labels["org.opencontainers.image.version"], version);

    user.write("file", "3\n");
    let third = build(t);
    assert_ne!(third, second);
    user.write("new", "");
    let untracked = build(t);
    assert_ne!(untracked, third);
    user.remove("new");
    user.write("file", "2\n");
    // The image exists, and the branch's tag returns to it.
    let again = t.xp(["build", "--local"]).success();
    assert_eq!(built_image(&again, "app"), second);
    assert!(again.row("app").contains(" tagged "), "{again}");
    assert_eq!(id(t, &format!("{}:master", app.image())), id(t, &second));
    user.git(&["checkout", "--quiet", "file"]);
    assert_eq!(build(t), clean);
    assert_eq!(id(t, &format!("{}:master", app.image())), id(t, &clean));
}

fn ignored_files_are_built_without_changing_the_tag(t: &Context) {
    let (app, user) = cloned(t);
    user.write(".env", "secret");
    assert_eq!(build(t), app.image_of_head());
    let list = t.engine().run(&app.image_of_head(), ["ls", "-A", "/src"]);
    assert!(list.contains(".env") && list.contains("out"), "{list}");
    user.write(".dockerignore", ".env\n.git\n");
    let image = build(t);
    assert!(image.contains("-dirty-"));
    let list = t.engine().run(&image, ["ls", "-A", "/src"]);
    assert!(!list.contains(".env") && !list.contains(".git\n"), "{list}");
}

fn files_unchecked_by_git_are_built(t: &Context) {
    let (app, user) = cloned(t);
    assert_eq!(build(t), app.image_of_head());
    for (mark, content) in [("--skip-worktree", "2"), ("--assume-unchanged", "3")] {
        user.write("file", "1\n");
        user.git(&["update-index", mark, "file"]);
        user.write("file", &format!("{content}\n"));
        assert_eq!(user.git(&["status", "--porcelain"]), "", "{mark}");
        let image = build(t);
        assert!(image.contains("-dirty-"), "{mark}: {image}");
        let built = t.engine().run(&image, ["cat", "/src/out"]);
        assert_eq!(built.trim(), content, "{mark}");
        t.xp(["plan", "--local"])
            .success()
            .stdout_contains("Nothing to do: ");
        user.git(&["update-index", "--no-skip-worktree", "file"]);
    }
}

fn a_second_build_does_nothing(t: &Context) {
    let (_app, user) = cloned(t);
    for content in ["1\n", "2\n"] {
        user.write("file", content);
        let first = t.xp(["build", "--local"]).success();
        assert!(first.row("app").contains(" built "), "{first}");
        let second = t.xp(["build", "--local"]).success();
        assert!(second.row("app").contains(" skipped "), "{second}");
        assert!(!second.stderr.contains("app | "), "{second}");
        let plan = t.xp(["plan", "--local"]).success();
        plan.stdout_contains("Nothing to do: ");
    }
    let forced = t.xp(["build", "--local", "--force"]).success();
    assert!(forced.row("app").contains(" built "), "{forced}");
}

/// A platform with its own registry and a cloned service.
fn with_registry(t: &Context) -> (Registry, GitRepository, User<'_>) {
    let registry = t.own_registry(RegistryKind::Open);
    let repository = t.git_repo("app");
    let dockerfile = format!("FROM {}\nCOPY . /src\n", t.engine().busybox());
    let files = [
        ("Dockerfile", dockerfile.as_str()),
        (".gitignore", ".env\n"),
        ("file", "1\n"),
    ];
    repository.commit(&files, "Start");
    let builder = t.builder("sh", &format!("FROM {}\n", t.engine().busybox()), &[]);
    t.manifest(&format!(
        "registry: {}\nservices:\n  app:\n    dir: src/app\n    git: {{ remote: '{}' }}\n    \
         docker: {{ image: {}, tags: [extra] }}\n    \
         dockerBuilder: {{ image: {builder}, network: none }}\n    scripts: {{ build: ['true'] }}\n",
        registry.host(),
        repository.url_http(),
        t.image("app")
    ));
    t.xp(["sync"]).success();
    (registry, repository, User::new(t, "app"))
}

fn writes_since(registry: &Registry, mark: Mark) -> usize {
    let requests = registry.requests_since(mark);
    let is_write = |request: &&Request| !matches!(request.method.as_str(), "GET" | "HEAD");
    requests.iter().filter(is_write).count()
}

fn nothing_is_pushed(t: &Context) {
    let (registry, repository, user) = with_registry(t);
    let image = format!("{}/{}", registry.host(), t.image("app"));
    let mark = registry.mark();
    // Clean and with changes: nothing is pushed, neither the image nor its tags nor the builder.
    t.xp(["build", "--local", "--tag", "mine"]).success();
    user.write("file", "2\n");
    let before_dirty = registry.mark();
    let built = t.xp(["build", "--local", "--tag", "mine"]).success();
    let dirty = built_image(&built, "app");
    // The registry is not queried for images that only exist on this machine.
    assert_eq!(
        t.own_requests(registry.requests_since(before_dirty)).len(),
        0
    );
    t.xp(["build", "--local", "--tag", "mine"]).success();
    assert_eq!(writes_since(&registry, mark), 0);
    assert_eq!(registry.tags(&t.image("app")), [""; 0]);
    assert_eq!(registry.blob_count(), 0);
    for tag in ["mine", "extra", "master"] {
        assert_eq!(id(t, &format!("{image}:{tag}")), id(t, &dirty), "{tag}");
    }

    // A later build of the commit pushes its image, and gives it its names again.
    let built = t.xp(["build"]).success();
    let commit = format!("{image}:{}", repository.head());
    assert_eq!(built_image(&built, "app"), commit);
    let tags = registry.tags(&t.image("app"));
    // A commit may sort before or after a word.
    let head = repository.head();
    let mut expected = [head.as_str(), "extra", "master"];
    expected.sort_unstable();
    assert_eq!(tags, expected);
    let digest = |tag: &str| registry.manifest_digest(&t.image("app"), tag);
    assert!(tags.iter().all(|tag| digest(tag) == digest("master")));
    assert_eq!(id(t, &format!("{image}:master")), id(t, &commit));
    assert_ne!(id(t, &commit), id(t, &dirty));
    let plan = t.xp(["plan"]).success();
    plan.stdout_contains("Nothing to do: ");

    // After a local build of changes, only the branch's tag has to be corrected.
    user.write("file", "3\n");
    t.xp(["build", "--local"]).success();
    assert_ne!(id(t, &format!("{image}:master")), id(t, &commit));
    let mark = registry.mark();
    let tagged = t.xp(["build"]).success();
    assert!(tagged.row("app").contains(" tagged "), "{tagged}");
    assert_eq!(id(t, &format!("{image}:master")), id(t, &commit));
    assert_eq!(writes_since(&registry, mark), 0);
}

fn a_later_build_of_the_commit_is_clean(t: &Context) {
    let (registry, repository, user) = with_registry(t);
    user.write(".env", "secret");
    let commit = format!(
        "{}/{}:{}",
        registry.host(),
        t.image("app"),
        repository.head()
    );
    let listing = |t: &Context| t.engine().run(&commit, ["ls", "-A", "/src"]);
    let local = t.xp(["build", "--local"]).success();
    assert_eq!(built_image(&local, "app"), commit);
    assert!(listing(t).contains(".env"));
    for trust in [&[][..], &["--trust-commit"]] {
        let mut plan = t.xp(["plan"]);
        for argument in trust {
            plan = plan.arg(argument);
        }
        let plan = plan.success();
        let row = plan.row("app");
        assert!(
            row.contains(" build ") && row.contains("built with --local"),
            "{plan}"
        );
    }
    let built = t.xp(["build"]).success();
    assert!(built.row("app").contains(" built "), "{built}");
    assert!(!listing(t).contains(".env"));
    assert_eq!(registry.tags(&t.image("app")).len(), 3);

    // If the registry has the commit's image, that replaces the local one.
    t.xp(["build", "--local", "--force"]).success();
    assert!(listing(t).contains(".env"));
    let pulled = t.xp(["build"]).success();
    assert!(pulled.row("app").contains(" pulled "), "{pulled}");
    assert!(!listing(t).contains(".env"));
}

fn a_clean_tree_uses_the_image_of_the_commit(t: &Context) {
    let (registry, _repository, user) = with_registry(t);
    t.xp(["build"]).success();
    user.write(".env", "secret");
    let skipped = t.xp(["build", "--local"]).success();
    assert!(skipped.row("app").contains(" skipped "), "{skipped}");
    for name in t.engine().images_with_prefix(registry.host()) {
        t.engine().remove_image(&name);
    }
    let pulled = t.xp(["build", "--local"]).success();
    assert!(pulled.row("app").contains(" pulled "), "{pulled}");
    let image = built_image(&pulled, "app");
    let list = t.engine().run(&image, ["ls", "-A", "/src"]);
    assert!(!list.contains(".env"), "{list}");
    // Other inputs result in a different image.
    let manifest = t.read("x-platform.yml");
    t.manifest(&manifest.replace("['true']", "['echo other']"));
    let built = t.xp(["build", "--local"]).success();
    let row = built.row("app");
    assert!(
        row.contains(" built ") && row.contains("scripts.build changed"),
        "{built}"
    );
}

/// A backend that copies its frontend's page, with a script that changes the page first.
fn two(t: &Context) -> Services<'_> {
    let platform = Services::new(t, &["front", "back"]);
    let dockerfile = format!(
        "ARG FRONT\nFROM ${{FRONT}} AS front\nFROM {}\nCOPY --from=front /src/page /page\n",
        t.engine().busybox()
    );
    platform.commit("front", &[("page", "committed\n".to_owned())]);
    platform.commit("back", &[("Dockerfile", dockerfile)]);
    let image = t.image("back");
    let docker = format!(
        "docker: {{ image: {image}, args: {{ FRONT: '${{{{ services.front.image }}}}' }} }}"
    );
    platform.manifest(&[("back", docker)]);
    t.xp(["sync"]).success();
    platform
}

fn needed_services_are_built_from_their_commit(t: &Context) {
    let platform = two(t);
    let (front, back) = (User::new(t, "front"), User::new(t, "back"));
    front.write("page", "changed\n");
    back.write("changed", "");
    let built = t.xp(["build", "--local", "back"]).success();
    let image = built_image(&built, "back");
    assert!(image.contains("-dirty-"), "{image}");
    assert_eq!(t.engine().run(&image, ["cat", "/page"]).trim(), "committed");
    t.assert_built("front", &platform.repository("front").head());
    let front_tags = tags(t, &t.image("front"));
    assert_eq!(
        front_tags,
        [platform.repository("front").head().as_str(), "master"]
    );
    assert_eq!(t.read("src/front/page"), "changed\n");

    // A reference for the needed one takes effect.
    let repository = platform.repository("front");
    repository.branch("other");
    platform.commit("front", &[("page", "of the branch\n".to_owned())]);
    let build = t.xp(["build", "--local", "back", "--reference", "front=other"]);
    let image = built_image(&build.success(), "back");
    assert_eq!(
        t.engine().run(&image, ["cat", "/page"]).trim(),
        "of the branch"
    );
}

fn selected_services_use_each_others_images(t: &Context) {
    let _platform = two(t);
    let front = User::new(t, "front");
    let page = |t: &Context| {
        let built = t.xp(["build", "--local"]).success();
        let image = built_image(&built, "back");
        t.engine().run(&image, ["cat", "/page"]).trim().to_owned()
    };
    assert_eq!(page(t), "committed");
    for content in ["one", "two", "one"] {
        front.write("page", content);
        assert_eq!(page(t), content);
    }
    // Both were built on the other's changes: building the commits starts over.
    let built = t.xp(["build"]).success();
    let image = built_image(&built, "back");
    assert_eq!(t.engine().run(&image, ["cat", "/page"]).trim(), "committed");
}

fn the_plan_matches_the_build(t: &Context) {
    let (app, user) = cloned(t);
    app.set_scripts("", &["cat file > out", "echo a; echo b"]);
    user.write("file", "2\n");
    let plan = t.xp(["plan", "--local"]).success();
    let (table, steps) = plan.stdout.split_once("\napp\n").expect("its steps");
    let (steps, _) = steps.split_once("\n\n").expect("the counts");
    assert!(table.contains("changed: file"), "{plan}");
    let steps: Vec<&str> = steps.lines().map(str::trim).collect();
    let phases: Vec<&str> = steps
        .iter()
        .filter_map(|step| step.split(' ').next())
        .collect();
    assert_eq!(phases, ["container", "build", "build", "image"], "{plan}");
    let build = t.xp(["build", "--local"]).success();
    let run: Vec<String> = build
        .stderr
        .lines()
        .filter_map(|line| line.strip_prefix("app | "))
        .filter_map(|line| line.split_once(": "))
        .filter(|(phase, _)| phases.contains(phase))
        .map(|(phase, title)| format!("{phase:<9}  {title}"))
        .collect();
    assert_eq!(run, steps, "{build}");
    assert_eq!(
        plan.row("app").split_whitespace().last(),
        build.row("app").split_whitespace().last()
    );
    assert!(!t.exists(".xp/build"), "no export is made");
}

fn the_working_copy_is_not_changed(t: &Context) {
    let (app, user) = cloned(t);
    user.write("staged", "staged");
    user.git(&["add", "staged"]);
    user.write("file", "2\n");
    user.write("untracked", "untracked");
    user.git(&[
        "stash",
        "push",
        "--quiet",
        "--include-untracked",
        "--",
        "untracked",
    ]);
    user.write("untracked", "again");
    user.write("out", "of before");
    // The index is already refreshed, so any later write to it is noticed.
    user.git(&["status"]);
    let index = || fs::read(user.dir.join(".git/index")).expect("an index");
    let (before, index_before) = (Snapshot::of(&user), index());
    app.repository
        .commit(&[("file", "of others\n")], "Of others");
    build(t);
    t.xp(["plan", "--local"]).success();
    let mut after = Snapshot::of(&user);
    let out = user.dir.join("out");
    let made = after.files.insert(out.clone(), before.files[&out].clone());
    assert!(
        made.expect("it is still there").ends_with("2\n"),
        "the script's own work stays"
    );
    assert_eq!(after, before);
    assert!(index() == index_before, "the index was written");
}

fn scripts_run_in_the_working_copy(t: &Context) {
    let (app, user) = cloned(t);
    let lines = [
        "mkdir -p out; env | sort > out/variables; pwd > out/place; cat .git/HEAD > out/head",
        "! touch .git/file; ! touch .git/HEAD; ls .git/refs > out/refs",
        "mkdir -p out/cache; echo kept >> out/kept",
    ];
    app.set_scripts("workdir: /go/src/app", &lines);
    user.write("file", "2\n");
    let image = build(t);
    user.write("file", "3\n");
    build(t);
    assert_eq!(t.read("src/app/out/place"), "/go/src/app\n");
    assert_eq!(t.read("src/app/out/head"), "ref: refs/heads/master\n");
    // Files from the build are available to the next one.
    assert_eq!(t.read("src/app/out/kept"), "kept\nkept\n");
    user.write("file", "2\n");
    t.xp(["build", "--local", "--force"]).success();
    let variables = t.read("src/app/out/variables");
    let time = app.repository.git(&["log", "-1", "--format=%ct"]);
    for line in [
        "CI=true".to_owned(),
        format!("SOURCE_DATE_EPOCH={time}"),
        "XP_BRANCH=master".to_owned(),
        format!("XP_COMMIT={}", app.repository.head()),
        format!("XP_IMAGE={image}"),
        "XP_SERVICE=app".to_owned(),
    ] {
        let found = variables.lines().any(|found| found == line);
        assert!(found, "{line}: {variables}");
    }
    user.git(&["checkout", "--quiet", "--detach"]);
    user.write("file", "4\n");
    let image = build(t);
    let version = &t.engine().image(&image).expect("it was built")["Config"]["Labels"];
    let version = version["org.opencontainers.image.version"].as_str();
    let commit = app.repository.head();
    assert!(
        version
            .expect("a version")
            .starts_with(&format!("{commit}-dirty-"))
    );
}

/// Runs git in an image with this machine's programs, like a builder with git.
fn git_works_in_worktrees_and_submodules(t: &Context) {
    let git = git_image(t);
    let repository = t.git_repo("app");
    let dockerfile = format!("FROM {}\nCOPY . /src\n", t.engine().busybox());
    let files = [
        ("Dockerfile", dockerfile.as_str()),
        (".gitignore", "described\n"),
        (".dockerignore", ".git\n"),
        ("file", "1\n"),
    ];
    repository.commit(&files, "Start");
    repository.annotated_tag("v1.0", "One");
    repository.commit(&[("file", "2\n")], "Next");
    let url = repository.url_file();
    let manifest = |dir: &str| {
        t.manifest(&format!(
            "services:\n  app:\n    dir: {dir}\n    git: {{ remote: '{url}' }}\n    docker: {{ image: {} }}\n    \
             dockerBuilder: {{ image: {git}, network: none, workdir: /go/src/app }}\n    \
             scripts: {{ build: ['git describe --dirty > described; git status --porcelain >> described'] }}\n",
            t.image("app")
        ));
    };
    t.git(".", &["clone", "--quiet", &url, "clone"]);
    t.git(
        "clone",
        &["worktree", "add", "--quiet", "--detach", "../worktree"],
    );
    t.git(
        "clone",
        &["worktree", "add", "--quiet", "--detach", "../moved"],
    );
    // With a relative path, as newer versions of git may write it.
    t.write("moved/.git", "gitdir: ../clone/.git/worktrees/moved\n");
    t.git(".", &["clone", "--quiet", "--shared", "clone", "borrowed"]);
    t.git(".", &["init", "--quiet", "super"]);
    let submodule = [
        "-c",
        "protocol.file.allow=always",
        "submodule",
        "add",
        "--quiet",
    ];
    t.git("super", &[&submodule[..], &[&url, "services/app"]].concat());
    let short = &repository.head()[..7];
    for dir in [
        "clone",
        "worktree",
        "moved",
        "borrowed",
        "super/services/app",
    ] {
        manifest(dir);
        let described = || t.read(&format!("{dir}/described"));
        t.xp(["build", "--local", "--force"]).success();
        assert_eq!(described(), format!("v1.0-1-g{short}\n"), "{dir}");
        t.write(&format!("{dir}/file"), "3\n");
        // The same change in another working copy has the same tag, so its image exists.
        t.xp(["build", "--local", "--force"]).success();
        assert_eq!(
            described(),
            format!("v1.0-1-g{short}-dirty\n M file\n"),
            "{dir}"
        );
    }
}

/// Creates an image with git from this machine's programs and libraries.
fn git_image(t: &Context) -> String {
    let image = t.image("git");
    let script = "mkdir -p context/bin; for file in /usr/bin/git $(ldd /usr/bin/git | grep -o '/[^ ]*'); do \
        mkdir -p context$(dirname $file); cp -L $file context$file; done";
    let mut copy = std::process::Command::new("sh");
    process::succeed(copy.args(["-c", script]).current_dir(t.folder()));
    let dockerfile = format!(
        "FROM {}\nCOPY . /\nENV PATH=/bin:/usr/bin\n",
        t.engine().busybox()
    );
    let context = t.folder().join("context");
    fs::remove_dir(context.join("bin")).expect("it is empty");
    fs::write(context.join("Dockerfile"), dockerfile).expect("a Dockerfile");
    let mut build = t.engine().client();
    process::succeed(
        build
            .args(["build", "--quiet", "--tag", &image])
            .arg(&context),
    );
    image
}

fn mount_points_are_removed(t: &Context) {
    t.write("../home/own/file", "own");
    let keys = "workdir: /work\ncache: [ /work/deep/cache, /work/there ]\n\
        mounts: [ \"~/own/file:/work/config:ro\", \"~/own/file:/work/file:ro\" ]";
    let (app, user) = cloned(t);
    fs::create_dir(user.dir.join("there")).expect("a folder");
    app.set_scripts(keys, &["cat config file > out; touch deep/cache/x there/x"]);
    build(t);
    assert_eq!(t.read("src/app/out"), "ownown");
    let status = user.git(&["status", "--porcelain", "--ignored"]);
    assert_eq!(status, "!! out");
    assert!(!t.exists("src/app/deep") && !t.exists("src/app/config"));
    assert!(
        t.exists("src/app/there"),
        "the user's own empty folder stays"
    );
    assert_eq!(t.read("src/app/file"), "1\n");
}

fn files_belong_to_the_caller(t: &Context) {
    const UNKNOWN_UID: u32 = 12345;
    let (app, _user) = cloned(t);
    let builders = ["", "user: root", "user: \"4321:4322\""];
    for (number, keys) in builders.into_iter().enumerate() {
        app.set_scripts(
            keys,
            &[&format!(
                "mkdir -p out; touch out/file-{number}; id -u > out/user"
            )],
        );
        let run = crate::cases::builder::as_unknown_user(t, &app, ["build", "--local", "--force"]);
        run.success();
        let entries = walkdir::WalkDir::new(t.dir().join("src/app"));
        for entry in entries {
            let entry = entry.expect("a folder that can be read");
            let owner = entry.metadata().expect("a file that is there").uid();
            assert_eq!(owner, UNKNOWN_UID, "{keys:?}: {}", entry.path().display());
        }
        assert!(t.exists(&format!("src/app/out/file-{number}")));
    }
    let mode = fs::metadata(t.dir().join("src/app/file")).expect("a file");
    assert_eq!(mode.permissions().mode() & 0o777, 0o644);
}

fn a_kill_leaves_no_container(t: &Context) {
    let (app, user) = cloned(t);
    app.set_scripts("", &["echo half > out; echo begun; sleep 1000"]);
    user.write("file", "2\n");
    let mut running = t.xp(["build", "--local"]).spawn();
    running.wait_for_output("app | begun");
    assert_eq!(t.containers().len(), 1);
    running.kill();
    wait_until("the container is gone", || t.containers().is_empty());
    assert_eq!(user.git(&["status", "--porcelain"]).trim(), "M file");
    app.set_scripts("", &["cat file > out"]);
    let image = build(t);
    assert_eq!(t.engine().run(&image, ["cat", "/src/out"]).trim(), "2");
}

fn a_change_during_the_build_is_reported(t: &Context) {
    let (app, _user) = cloned(t);
    let changed = "src/app changed during the build: it now has uncommitted changes: made";
    app.set_scripts("", &["echo made > made"]);
    let first = t.xp(["build", "--local"]).success();
    let first = first.stderr_contains(changed);
    assert_eq!(built_image(&first, "app"), app.image_of_head());
    // The script's output counts as a change, and is the same each time.
    let second = t.xp(["build", "--local"]).success();
    assert!(second.row("app").contains("changed: made"), "{second}");
    assert!(!second.stderr.contains("changed during"), "{second}");
    let third = t.xp(["build", "--local"]).success();
    assert!(third.row("app").contains(" skipped "), "{third}");
}

fn services_of_one_working_copy_are_built_sequentially(t: &Context) {
    let repository = t.git_repo("shared");
    let dockerfile = format!("FROM {}\nCOPY . /src\n", t.engine().busybox());
    repository.commit(
        &[("Dockerfile", &dockerfile), (".gitignore", "busy\n")],
        "Start",
    );
    let service = |name: &str| {
        format!(
            "  {name}:\n    dir: src/shared\n    git: {{ remote: '{}' }}\n    docker: {{ image: {} }}\n    \
             dockerBuilder: {{ image: {}, network: none }}\n    \
             scripts: {{ build: [ 'mkdir busy && sleep 1 && rmdir busy' ] }}\n",
            repository.url_file(),
            t.image(name),
            t.engine().busybox()
        )
    };
    t.manifest(&format!("services:\n{}{}", service("one"), service("two")));
    t.xp(["sync", "one"]).success();
    t.xp(["build", "--local", "--jobs", "2"]).success();

    // One of them is built from its commit; the working copy does not move while the other is built there.
    let commit = repository.head();
    repository.commit(&[("new", "")], "Of others");
    let manifest = t.read("x-platform.yml");
    t.manifest(&manifest.replacen("    git:", "    needs: [two]\n    git:", 1));
    let built = t.xp(["build", "--local", "one", "--force"]).success();
    assert_eq!(
        built_image(&built, "two"),
        format!("{}:{}", t.image("two"), repository.head())
    );
    assert_eq!(
        built_image(&built, "one"),
        format!("{}:{commit}", t.image("one"))
    );
    assert_eq!(t.git("src/shared", &["rev-parse", "HEAD"]), commit);
    built.stderr_contains("another service is built in place there");
}

fn only_changes_to_the_services_part_count(t: &Context) {
    let repository = t.git_repo("shared");
    let dockerfile = format!("FROM {}\nCOPY . /src\n", t.engine().busybox());
    let (one, two) = (
        ("one/Dockerfile", dockerfile.as_str()),
        ("two/Dockerfile", dockerfile.as_str()),
    );
    let first = repository.commit(&[one, (".gitignore", "out\n")], "One");
    let second = repository.commit(&[two], "Two");
    let service = |name: &str| {
        format!(
            "  {name}:\n    dir: src/shared\n    git: {{ remote: '{}', path: {name} }}\n    docker: {{ image: {} }}\n    \
             dockerBuilder: {{ image: {}, network: none, workdir: /work }}\n    \
             scripts: {{ build: [ 'pwd > out; echo $SOURCE_DATE_EPOCH >> out' ] }}\n",
            repository.url_file(),
            t.image(name),
            t.engine().busybox()
        )
    };
    t.manifest(&format!("services:\n{}{}", service("one"), service("two")));
    t.xp(["sync"]).success();
    let built = t.xp(["build", "--local"]).success();
    assert_eq!(
        built_image(&built, "one"),
        format!("{}:{first}", t.image("one"))
    );
    assert_eq!(
        built_image(&built, "two"),
        format!("{}:{second}", t.image("two"))
    );
    let time = repository.git(&["log", "-1", "--format=%ct", &first]);
    assert_eq!(t.read("src/shared/one/out"), format!("/work/one\n{time}\n"));
    // A change to one, and an unpushed commit, do not affect the other.
    let user = User::new(t, "shared");
    user.commit("two/file", "mine");
    user.write("two/file", "changed");
    let built = t.xp(["build", "--local"]).success();
    assert!(built.row("one").contains(" skipped "), "{built}");
    let two = format!("{}:{}-dirty-", t.image("two"), user.head());
    assert!(built_image(&built, "two").starts_with(&two), "{built}");
    t.xp(["plan", "--local", "--locked"])
        .failure(2)
        .stderr_contains("cannot be used with");
}

fn the_platform_itself_can_be_a_service(t: &Context) {
    let repository = t.git_repo("all");
    let dockerfile = format!("FROM {}\nCOPY . /src\n", t.engine().busybox());
    repository.commit(&[("Dockerfile", &dockerfile)], "Start");
    t.git(".", &["clone", "--quiet", &repository.url_file(), "."]);
    t.manifest(&format!(
        "services:\n  all:\n    dir: .\n    git: {{ remote: '{}' }}\n    docker: {{ image: {} }}\n    \
         dockerBuilder: {{ image: {}, network: none, cache: [ /cache ] }}\n    scripts: {{ build: [ 'touch /cache/file' ] }}\n",
        repository.url_file(),
        t.image("all"),
        t.engine().busybox()
    ));
    let built = t.xp(["build", "--local"]).success();
    let image = built_image(&built, "all");
    assert!(
        image.contains("-dirty-"),
        "the manifest is not committed: {image}"
    );
    let list = t.engine().run(&image, ["ls", "-A", "/src"]);
    assert!(
        list.contains("x-platform.yml") && !list.contains(".xp"),
        "{list}"
    );
    // Its own files do not count as a change.
    let again = t.xp(["build", "--local"]).success();
    assert!(again.row("all").contains(" skipped "), "{again}");
}

fn no_network_is_needed(t: &Context) {
    let (registry, repository, user) = with_registry(t);
    let mark = t.git_server(GitServerKind::Open).mark();
    // The builder was pulled or built while there was a network.
    t.xp(["build", "--local"]).success();
    registry.kill();
    fs::rename(repository.path(), repository.path().with_extension("away")).expect("the remote");
    user.write("file", "2\n");
    t.xp(["build", "--local"]).success();
    user.write("file", "1\n");
    let clean = t.xp(["build", "--local", "--force"]).success();
    assert!(clean.row("app").contains(" built "), "{clean}");
    assert_eq!(
        repository.requests_since(GitServerKind::Open, mark).len(),
        0
    );
    t.xp(["build"]).failure(3);
}

fn services_that_cannot_be_built_in_place_are_reported(t: &Context) {
    let platform = Services::new(t, &["one", "two", "three"]);
    platform.manifest(&[]);
    t.xp(["build", "--local"])
        .failure(2)
        .stderr_contains("no service has one")
        .stderr_contains("hint: `xp sync` clones them");
    t.xp(["sync", "one"]).success();
    t.xp(["build", "--local", "one", "two", "three"])
        .failure(2)
        .stderr_contains("`three` (src/three), `two` (src/two) have none")
        .stderr_contains("hint: `xp sync three two` clones what is missing");
    // Without a name, all that exist.
    let built = t.xp(["build", "--local"]).success();
    assert!(!built.stdout.contains("two"), "{built}");
    for arguments in [["--branch", "master"], ["--reference", "one=master"]] {
        t.xp(["plan", "--local", "one"])
            .args(arguments)
            .failure(2)
            .stderr_contains("conflicts with `--local`, which builds what is checked out")
            .stderr_contains("hint: check out the commit to build");
    }
    t.xp(["plan", "--local", "one", "--reference", "two=master"])
        .failure(2)
        .stderr_contains("has no effect");
    t.write("src/two/file", "mine");
    t.xp(["build", "--local"])
        .failure(2)
        .stderr_contains("src/two is not a git repository")
        .stderr_contains("hint: move it elsewhere");
    t.git("src/two", &["init", "--quiet"]);
    t.xp(["plan", "--local", "two"])
        .failure(2)
        .stderr_contains("src/two has no commit yet")
        .stderr_contains("hint: create a commit first");
    t.write("src/two/.git/HEAD", "garbage");
    t.xp(["plan", "--local", "two"])
        .failure(3)
        .stderr_contains("cannot build `two` in place")
        .stderr_contains("cause: cannot read HEAD in ");
    assert_eq!(t.read("src/two/file"), "mine");
}
