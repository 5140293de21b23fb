//! `docker.context` and `docker.file` in a repository of several services.

use std::fs;

use crate::case::Case;
use crate::context::Context;
use crate::repository::GitRepository;

pub const CASES: &[Case] = cases![
    a_dockerfile_copies_from_the_top_of_the_repository,
    a_local_build_sees_no_more_than_an_export,
    a_missing_dockerfile_lists_those_that_exist,
    a_path_above_the_repository_is_refused,
];

/// A workspace of two services and a library. The Dockerfiles copy from its top.
struct Workspace<'a> {
    t: &'a Context,
    remote: GitRepository,
}

impl<'a> Workspace<'a> {
    fn new(t: &'a Context) -> Self {
        let remote = t.git_repo("workspace");
        let base = t.engine().busybox();
        let api =
            format!("FROM {base}\nCOPY . /all\nCOPY libs/common /common\nCOPY services/api /api\n");
        remote.commit(
            &[
                ("go.work", "use ./services/api\n"),
                ("services/api/Dockerfile", &api),
                ("services/api/main", "api\n"),
                ("services/web/main", "web\n"),
                ("libs/common/lib", "common\n"),
                (
                    "docker/web.Dockerfile",
                    &format!("FROM {base}\nCOPY main /web\n"),
                ),
                ("secret.env", "PASSWORD=canary\n"),
            ],
            "A workspace",
        );
        Self { t, remote }
    }

    fn set(&self, git: &str, docker: &str) {
        let (url, image) = (self.remote.url_file(), self.t.image("api"));
        self.t.manifest(&format!(
            "services:\n  api:\n    dir: src/workspace\n    git: {{ remote: \"{url}\", {git} }}\n    docker: {{ image: {image}, {docker} }}\n"
        ));
    }

    fn files(&self, tag: &str, folder: &str) -> String {
        let image = format!("{}:{tag}", self.t.image("api"));
        let script = format!("cd {folder} && find . -type f | sort");
        self.t.engine().run(&image, ["sh", "-c", &script])
    }
}

const API: &str = "path: services/api, include: [go.work, libs/common]";

fn a_dockerfile_copies_from_the_top_of_the_repository(t: &Context) {
    let workspace = Workspace::new(t);
    let head = workspace.remote.head();
    workspace.set(API, "context: /");
    t.xp(["build"]).success();
    // Only the paths in the manifest.
    assert_eq!(
        workspace.files(&head, "/all"),
        "./go.work\n./libs/common/lib\n./services/api/Dockerfile\n./services/api/main"
    );
    assert_eq!(workspace.files(&head, "/api"), "./Dockerfile\n./main");
    assert_eq!(workspace.files(&head, "/common"), "./lib");

    // The Dockerfile at the top, the context in the service's folder.
    workspace.set(
        "path: services/web, include: [docker]",
        "file: /docker/web.Dockerfile",
    );
    t.xp(["build"])
        .success()
        .stdout_contains("docker.file changed");
    let image = format!("{}:{head}", t.image("api"));
    assert_eq!(t.engine().run(&image, ["cat", "/web"]), "web");
    // A folder below the top, with a path relative to it.
    workspace.set(
        "path: services/web, include: [docker]",
        "file: /docker/web.Dockerfile, context: /services/web",
    );
    t.xp(["build"])
        .success()
        .stdout_contains("docker.context changed");
    assert_eq!(t.engine().run(&image, ["cat", "/web"]), "web");

    // Without `path`, the top is the service's folder.
    workspace.set(
        "reference: master",
        "context: /, file: /services/api/Dockerfile",
    );
    t.xp(["build"]).success();
    assert!(workspace.files(&head, "/all").contains("./secret.env"));
}

fn a_local_build_sees_no_more_than_an_export(t: &Context) {
    let workspace = Workspace::new(t);
    workspace.set(API, "context: /");
    t.xp(["sync"]).success();
    let copy = t.dir().join("src/workspace");
    fs::write(copy.join("services/api/edited"), "1").expect("a file");
    fs::write(copy.join("services/web/edited"), "1").expect("a file");
    fs::write(copy.join("untracked"), "1").expect("a file");
    let output = t.xp(["build", "--local"]).success();
    let row = output.row("api");
    let (_, tag) = row.rsplit_once(':').expect("a tag");
    assert_eq!(
        workspace.files(tag, "/all"),
        "./go.work\n./libs/common/lib\n./services/api/Dockerfile\n./services/api/edited\n./services/api/main"
    );
}

fn a_missing_dockerfile_lists_those_that_exist(t: &Context) {
    let workspace = Workspace::new(t);
    let fails = |git: &str, docker: &str, hint: &str| {
        workspace.set(git, docker);
        let output = t.xp(["build"]).failure(1);
        let output = output.stderr_contains("error: api: image: no Dockerfile at ");
        output.stderr_contains(&format!("hint: {hint}"));
    };
    fails(
        API,
        "file: /Dockerfile",
        "did you mean `docker.file: Dockerfile`?",
    );
    fails(
        "path: services/web, include: [docker]",
        "context: /",
        "did you mean `docker.file: /docker/web.Dockerfile`?",
    );
    fails(
        "reference: master",
        "context: .",
        "`docker.file` can be docker/web.Dockerfile, services/api/Dockerfile",
    );
    fails(
        "path: services/web",
        "context: .",
        "`docker.file` names the Dockerfile; of a shared repository, only `git.path` and `git.include` are exported",
    );
}

fn a_path_above_the_repository_is_refused(t: &Context) {
    let workspace = Workspace::new(t);
    for (docker, message) in [
        (
            "context: ..",
            "`..` must not contain `..`; `/` is the repository root",
        ),
        ("context: /../x", "must not contain `..`"),
        ("file: /", "`/` is a folder, not a Dockerfile"),
        (
            "file: ../Dockerfile",
            "must not contain `..`; `/` is the repository root",
        ),
    ] {
        workspace.set(API, docker);
        t.xp(["plan"]).failure(2).stderr_contains(message);
    }
}
