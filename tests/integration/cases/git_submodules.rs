//! Submodules in the files available to a build.

use std::fs;

use crate::case::Case;
use crate::context::Context;
use crate::platform::Service;
use crate::repository::GitRepository;
use crate::working_copy::{Snapshot, User};
use crate::world::GitServerKind;

pub const CASES: &[Case] = cases![
    submodules_are_checked_out_recursively,
    without_the_key_a_submodule_is_an_empty_folder,
    a_commit_on_no_branch_is_fetched,
    only_submodules_of_the_path_are_checked_out,
    unsafe_submodules_are_rejected,
    a_missing_submodule_is_reported,
    logins_are_used_for_submodules,
];

impl GitRepository {
    /// Adds another repository as a submodule, with any kind of URL, and commits it.
    pub fn add_submodule(&self, path: &str, url: &str, commit: &str) -> String {
        let modules = self.clone_path().join(".gitmodules");
        let mut text = fs::read_to_string(&modules).unwrap_or_default();
        text.push_str(&format!(
            "[submodule \"{path}\"]\n\tpath = {path}\n\turl = {url}\n"
        ));
        self.write(&[(".gitmodules", &text)]);
        self.set_submodule(path, commit)
    }

    /// Sets a submodule to another commit.
    fn set_submodule(&self, path: &str, commit: &str) -> String {
        self.git(&["add", ".gitmodules"]);
        self.git(&[
            "update-index",
            "--add",
            "--cacheinfo",
            &format!("160000,{commit},{path}"),
        ]);
        // `add --all` in a later commit must not treat it as deleted.
        fs::create_dir_all(self.clone_path().join(path)).expect("a folder");
        self.git(&["commit", "--quiet", "--message", "A submodule"]);
        self.git(&["push", "--quiet", "origin", "HEAD"]);
        self.head()
    }
}

fn service(url: &str) -> Service {
    Service::new("zbackend", url).git("submodules: true")
}

fn image(t: &Context, commit: &str) -> String {
    t.assert_built("zbackend", commit);
    format!("{}:{commit}", t.image("zbackend"))
}

fn submodules_are_checked_out_recursively(t: &Context) {
    let (inner, lib, remote) = (
        t.git_repo("inner"),
        t.git_repo("lib"),
        t.built_repo("zbackend"),
    );
    let inner_first = inner.commit(&[("deep", "one\n")], "First");
    inner.commit(&[("deep", "two\n")], "Second");
    lib.commit(
        &[(".gitattributes", "*.dos eol=crlf\n"), ("x.dos", "1\n")],
        "First",
    );
    // Each relative URL is resolved against its own repository's.
    let lib_commit = lib.add_submodule("vendor/inner", "../inner.git", &inner_first);
    lib.commit(&[("later", "not yet\n")], "Later");
    remote.annotated_tag("v1", "One");
    let commit = remote.add_submodule("libs/a b", "./../lib.git", &lib_commit);
    let builder = t.git_builder();
    let script = "{ git describe --dirty; git status --porcelain; } > /tmp/said; mv /tmp/said said";
    t.platform(&[service(&remote.url_http()).script(&builder, script)]);
    t.xp(["plan"])
        .success()
        .stdout_contains("with submodules into .xp/build/zbackend");
    t.xp(["build"]).success();
    let image = image(t, &commit);
    let list =
        "cd /files; find . -type f | sort; cat 'libs/a b/vendor/inner/deep' 'libs/a b/x.dos' said";
    let text = t.engine().run(&image, ["sh", "-c", list]);
    let expected = format!(
        "./.gitmodules\n./Dockerfile\n./file\n./libs/a b/.gitattributes\n./libs/a b/.gitmodules\n\
         ./libs/a b/vendor/inner/deep\n./libs/a b/x.dos\n./said\none\n1\r\nv1-1-g{}",
        &commit[..7]
    );
    assert_eq!(text, expected);
    // Fetched objects are cached: only the reference is requested.
    let mark = t.git_server(GitServerKind::Open).mark();
    t.xp(["build", "--force"]).success();
    for repository in [&inner, &lib] {
        assert!(
            repository
                .requests_since(GitServerKind::Open, mark)
                .is_empty()
        );
    }
    // The working copy and its submodules belong to the user.
    assert_eq!(
        fs::read_dir(t.dir().join("src/zbackend/libs/a b"))
            .expect("a folder")
            .count(),
        0
    );
    assert!(!t.exists("src/zbackend/.git/modules"));
}

fn without_the_key_a_submodule_is_an_empty_folder(t: &Context) {
    let (lib, remote) = (t.git_repo("lib"), t.built_repo("zbackend"));
    let lib_commit = lib.commit(&[("x", "1\n")], "First");
    let commit = remote.add_submodule("lib", "../lib.git", &lib_commit);
    t.platform(&[Service::new("zbackend", remote.url_http())]);
    t.xp(["build"]).success();
    let list = t.engine().run(&image(t, &commit), ["find", "/files/lib"]);
    assert_eq!(list, "/files/lib");
}

fn a_commit_on_no_branch_is_fetched(t: &Context) {
    let (lib, remote) = (t.git_repo("lib"), t.built_repo("zbackend"));
    lib.commit(&[("x", "1\n")], "First");
    let second = lib.commit(&[("x", "2\n")], "Second");
    lib.tag("kept");
    lib.rewrite(&[("x", "3\n")], "Rewritten");
    let mut expected = second.clone();
    for url in [lib.url_http(), lib.url_file()] {
        let remote_url = if url.starts_with("file") {
            remote.url_file()
        } else {
            remote.url_http()
        };
        fs::remove_file(remote.clone_path().join(".gitmodules")).ok();
        remote.add_submodule("lib", &url, &expected);
        t.platform(&[service(&remote_url)]);
        t.xp(["build"]).success();
        let text = t
            .engine()
            .run(&image(t, &remote.head()), ["cat", "/files/lib/x"]);
        assert_eq!(text, "2");
        fs::remove_dir_all(t.dir().join(".xp/modules")).expect("what was fetched");
        expected = second.clone();
        remote.commit(&[("file", &url)], "Change");
    }
}

fn only_submodules_of_the_path_are_checked_out(t: &Context) {
    let (lib, other, remote) = (
        t.git_repo("lib"),
        t.git_repo("other"),
        t.built_repo("zbackend"),
    );
    let lib_first = lib.commit(&[("x", "1\n")], "First");
    let lib_second = lib.commit(&[("x", "2\n")], "Second");
    let other_commit = other.commit(&[("y", "1\n")], "First");
    let dockerfile = format!("FROM {}\nCOPY . /files\n", t.engine().busybox());
    remote.commit(&[("svc/Dockerfile", &dockerfile)], "A service");
    let with_lib = remote.add_submodule("svc/lib", &lib.url_http(), &lib_first);
    remote.add_submodule("elsewhere", &other.url_http(), &other_commit);
    let script = "git -C .. describe --always --dirty > /tmp/said; mv /tmp/said said";
    let builder = t.git_builder();
    let services = || {
        [service(&remote.url_http())
            .git("path: svc")
            .script(&builder, script)]
    };
    t.platform(&services());
    let mark = t.git_server(GitServerKind::Open).mark();
    t.xp(["build"]).success();
    let text = t
        .engine()
        .run(&image(t, &with_lib), ["cat", "/files/lib/x", "/files/said"]);
    assert_eq!(text, format!("1\n{}", &with_lib[..7]), "it is not dirty");
    assert!(
        other.requests_since(GitServerKind::Open, mark).is_empty(),
        "it is not needed"
    );
    // A new commit of the submodule results in a new commit of the service.
    let moved = remote.set_submodule("svc/lib", &lib_second);
    t.xp(["build"]).success();
    assert_eq!(
        t.engine().run(&image(t, &moved), ["cat", "/files/lib/x"]),
        "2"
    );
    // Correcting a URL later counts, except for an unrelated submodule.
    let set_url = |name: &str, url: &str| {
        let key = format!("submodule.{name}.url");
        remote.git(&["config", "--file", ".gitmodules", &key, url]);
        remote.commit(&[], "Set a URL")
    };
    set_url("svc/lib", "file:///gone/lib.git");
    remote.commit(&[("svc/file", "1\n")], "Build with the wrong one");
    fs::remove_dir_all(t.dir().join(".xp/modules")).expect("what was fetched");
    t.xp(["build"]).failure(3);
    let corrected = set_url("svc/lib", &lib.url_http());
    set_url("elsewhere", "file:///gone/other.git");
    t.xp(["build"]).success();
    assert_eq!(
        t.engine()
            .run(&image(t, &corrected), ["cat", "/files/lib/x"]),
        "2"
    );
    // A submodule is not a folder of the repository.
    t.platform(&[service(&remote.url_http()).git("path: svc/lib")]);
    t.xp(["plan"])
        .failure(2)
        .stderr_contains("`svc/lib` is a submodule");
    t.platform(&[service(&remote.url_http()).git("path: svc/lib/deep")]);
    t.xp(["plan"])
        .failure(2)
        .stderr_contains("`svc/lib/deep` is inside the submodule `svc/lib`")
        .stderr_contains(
            "set `git.remote` to the submodule's repository, and `git.path` to `deep`",
        );
}

fn unsafe_submodules_are_rejected(t: &Context) {
    let remote = t.built_repo("zbackend");
    let lib = t.git_repo("lib");
    let commit = lib.commit(&[("x", "1\n")], "First");
    let ran = t.folder().join("ran");
    let program = format!("ext::{}", ran.display());
    for (url, reason) in [
        (lib.url_file(), "is a path on this machine"),
        (
            lib.path().display().to_string(),
            "is a path on this machine",
        ),
        (program, "remote helpers such as `ext::`"),
        ("-oProxyCommand=id:x".to_owned(), "must not start with `-`"),
        ("../../../../../../x".to_owned(), "leads above"),
    ] {
        fs::remove_file(remote.clone_path().join(".gitmodules")).ok();
        let head = remote.add_submodule("lib", &url, &commit);
        remote.commit(&[("file", &url)], "Change");
        t.platform(&[service(&remote.url_http())]);
        t.xp(["build"])
            .failure(3)
            .stderr_contains("cannot check out the submodule `lib` at")
            .stderr_contains(reason);
        assert!(!ran.exists() && !head.is_empty());
    }
    let modules = "[submodule \"x\"]\n\tpath = ../x\n\turl = ../lib.git\n";
    remote.commit(&[(".gitmodules", modules)], "Leads out");
    t.xp(["build"])
        .failure(3)
        .stderr_contains("the path `../x` is outside the repository");
    // Programs named in `.gitmodules` are not run; git refuses them, too.
    let modules = format!(
        "[submodule \"lib\"]\n\tpath = lib\n\turl = ../lib.git\n\tupdate = !touch {}\n",
        ran.display()
    );
    remote.commit(&[(".gitmodules", &modules)], "A program");
    t.xp(["build"])
        .failure(3)
        .stderr_contains("invalid value for submodule 'update' property");
    // Submodules excluded by default are not included.
    let modules = "[submodule \"lib\"]\n\tpath = lib\n\turl = ../nowhere.git\n\tupdate = none\n";
    let head = remote.commit(&[(".gitmodules", modules)], "None");
    t.xp(["build"]).success();
    let list = t.engine().run(&image(t, &head), ["find", "/files/lib"]);
    assert_eq!(list, "/files/lib");
    assert!(!ran.exists());
}

fn a_missing_submodule_is_reported(t: &Context) {
    let (lib, remote) = (t.git_repo("lib"), t.built_repo("zbackend"));
    let commit = lib.commit(&[("x", "1\n")], "First");
    remote.add_submodule("libs/x", "../lib.git", &"1".repeat(40));
    t.platform(&[service(&remote.url_http())]);
    t.xp(["sync"]).success();
    let user = User::new(t, "zbackend");
    user.write("file", "mine\n");
    let before = Snapshot::of(&user);
    t.xp(["build"]).failure(3).stderr_contains(
        "error: zbackend: export: cannot check out the submodule `libs/x` at 11111111",
    );
    assert_eq!(Snapshot::of(&user), before);
    fs::remove_file(remote.clone_path().join(".gitmodules")).expect("it is there");
    remote.commit(&[], "Forgotten");
    t.xp(["build"])
        .failure(3)
        .stderr_contains("`.gitmodules` has no URL for it");
    remote.add_submodule("libs/x", "../nowhere.git", &commit);
    t.xp(["build"])
        .failure(3)
        .stderr_contains("the submodule `libs/x`")
        .stderr_contains("no git repository at http://");
}

fn logins_are_used_for_submodules(t: &Context) {
    let (lib, remote) = (t.git_repo("lib"), t.built_repo("zbackend"));
    let lib_commit = lib.commit(&[("x", "1\n")], "First");
    let commit = remote.add_submodule("lib", "../lib.git", &lib_commit);
    t.platform(&[service(&remote.url_http_login())]);
    t.xp(["build", "--verbose"])
        .success()
        .does_not_contain(crate::world::PASSWORD);
    assert_eq!(
        t.engine().run(&image(t, &commit), ["cat", "/files/lib/x"]),
        "1"
    );
    t.assert_secret_is_nowhere(crate::world::PASSWORD);
    // Over ssh, too.
    fs::remove_dir_all(t.dir().join(".xp/modules")).expect("what was fetched");
    t.platform(&[service(&remote.url_ssh())]);
    fs::remove_dir_all(t.dir().join("src")).expect("the working copy");
    t.xp(["build", "--force"]).success();
    assert!(
        fs::read_dir(t.dir().join(".xp/modules"))
            .expect("a folder")
            .count()
            > 0
    );
}
