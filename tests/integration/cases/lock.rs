//! The lock: written, checked, and used.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::case::Case;
use crate::cases::small;
use crate::context::Context;
use crate::repository::GitRepository;
use crate::working_copy::{Snapshot, User};
use crate::world::{GitServerKind, Registry};

pub const CASES: &[Case] = cases![
    a_lock_records_commits_and_images,
    a_moved_branch_makes_the_lock_outdated,
    services_can_be_locked_individually,
    missing_images_are_not_locked,
    a_locked_build_uses_the_old_commit_and_moves_no_branch,
    a_locked_build_queries_no_git_remote,
    an_unsatisfiable_lock_is_explained,
    replaced_and_missing_images_are_reported,
    images_without_tests_are_locked_only_if_requested,
    a_damaged_lock_is_reported_and_kept,
    locks_of_two_users_are_the_same,
    working_copies_follow_the_lock_and_return,
    services_of_one_working_copy_are_locked_together,
    images_that_were_not_built_together_are_not_up_to_date,
    a_topic_train_is_locked_by_its_image_names,
    services_of_one_repository_are_locked_at_their_own_commits,
    a_failed_write_keeps_the_old_lock,
    an_image_of_a_working_copy_is_not_locked,
];

/// The services `zbackend`, which has scripts, and `zfrontend`, in the shared registry.
struct Product<'t> {
    t: &'t Context,
    registry: &'t Registry,
    backend: GitRepository,
    frontend: GitRepository,
    builder: String,
}

impl<'t> Product<'t> {
    fn new(t: &'t Context) -> Self {
        let base = format!("FROM {}\n", t.engine().busybox());
        let product = Self {
            t,
            registry: t.registry(),
            backend: small::repository(t, "zbackend"),
            frontend: small::repository(t, "zfrontend"),
            builder: t.builder("go", &base, &[]),
        };
        product.manifest("true", "");
        product
    }

    /// Writes the manifest with these lines in the backend's script and tests.
    fn manifest(&self, build: &str, test: &str) {
        let test = match test {
            "" => String::new(),
            line => format!(", test: ['{line}']"),
        };
        let more = format!(
            "    dockerBuilder: {{image: {}}}\n    scripts: {{build: ['{build}']{test}}}\n",
            self.builder
        );
        let backend = small::service(self.t, "zbackend", &self.backend.url_http(), "", &more);
        let frontend = small::service(self.t, "zfrontend", &self.frontend.url_http(), "", "");
        small::manifest(self.t, self.registry.host(), &(backend + &frontend));
    }

    /// Builds everything and locks it.
    fn locked(t: &'t Context) -> Self {
        let product = Self::new(t);
        t.xp(["build"]).success();
        t.xp(["lock"]).success();
        product
    }

    fn digest(&self, name: &str, tag: &str) -> String {
        let digest = self.registry.manifest_digest(&self.t.image(name), tag);
        digest.unwrap_or_else(|| panic!("the registry has no {name}:{tag}"))
    }
}

fn lock_text(t: &Context) -> String {
    t.read("x-platform.lock")
}

fn short(commit: &str) -> &str {
    &commit[..8]
}

fn a_lock_records_commits_and_images(t: &Context) {
    let product = Product::new(t);
    t.xp(["build"]).success();
    let (backend, frontend) = (product.backend.head(), product.frontend.head());
    let output = t.xp(["lock"]).success();
    output
        .stdout_contains("zbackend   added   ")
        .stdout_contains("created x-platform.lock with 2 services");
    let text = lock_text(t);
    let image = |name: &str| format!("{}/{}", product.registry.host(), t.image(name));
    for line in [
        "version: 1\nservices:\n  zbackend:\n".to_owned(),
        format!("    remote: {}\n", product.backend.url_http()),
        "    reference: origin/master\n    name: refs/heads/master\n".to_owned(),
        format!("    image: {}:", image("zbackend")),
        format!("    digest: {}\n", product.digest("zbackend", &backend)),
        format!("    digest: {}\n", product.digest("zfrontend", &frontend)),
        format!(
            "    builder: {}/{}:",
            product.registry.host(),
            product.builder
        ),
        "    recipe: ".to_owned(),
        backend,
        frontend,
    ] {
        assert!(text.contains(&line), "{line} is not in\n{text}");
    }
    // Nothing changed: the same bytes, and not even written.
    let path = t.dir().join("x-platform.lock");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o444)).unwrap();
    let before = fs::metadata(&path).unwrap().modified().unwrap();
    t.xp(["lock"])
        .success()
        .stdout_contains("x-platform.lock is up to date (2 services)");
    assert_eq!(lock_text(t), text);
    assert_eq!(fs::metadata(&path).unwrap().modified().unwrap(), before);
    // No engine is needed for that.
    t.xp(["lock", "--check"])
        .env("DOCKER_HOST", "unix:///nowhere")
        .success()
        .stdout_contains("x-platform.lock is up to date");
    assert!(!t.exists(".x-platform.lock.new"));
}

fn a_moved_branch_makes_the_lock_outdated(t: &Context) {
    let product = Product::locked(t);
    let text = lock_text(t);
    let old = product.backend.head();
    let new = product.backend.commit(&[("content", "2")], "Second");
    let check = t.xp(["lock", "--check"]).failure(1);
    let range = format!("{}..{}", short(&old), short(&new));
    let check = check
        .stdout_contains(&range)
        .stdout_contains("no image in the registry")
        .stderr_contains("x-platform.lock is out of date")
        .stderr_contains("hint: `xp lock` updates it, once `xp build` has built what is missing");
    assert!(!check.stdout.contains("zfrontend"), "{check}");
    assert_eq!(lock_text(t), text, "a check writes nothing");

    // A lock of images that are not built could not be deployed.
    let refused = t.xp(["lock"]).failure(1);
    refused
        .stderr_contains("zbackend: the registry has no image of its commit")
        .stderr_contains("`xp build` builds and pushes them");
    assert_eq!(lock_text(t), text);

    t.xp(["build"]).success();
    let check = t.xp(["lock", "--check"]).failure(1);
    let check = check.stderr_contains("hint: `xp lock` updates it");
    assert!(
        !check.stderr.contains("once"),
        "nothing is missing: {check}"
    );
    let lock = t.xp(["lock"]).success();
    lock.stdout_contains(&format!("zbackend  moved   {range}"))
        .stdout_contains("1 service unchanged")
        .stdout_contains("updated x-platform.lock");
    let now = lock_text(t);
    assert!(now.contains(&new) && !now.contains(&old), "{now}");
    t.xp(["lock", "--check"]).success();

    // Services removed from the manifest are removed from the lock.
    let backend = small::service(t, "zbackend", &product.backend.url_http(), "", "");
    small::manifest(t, product.registry.host(), &backend);
    t.xp(["build"]).success();
    t.xp(["lock", "--check"])
        .failure(1)
        .stdout_contains("zfrontend  removed")
        .stdout_contains("recipe");
    t.xp(["lock"]).success();
    assert!(!lock_text(t).contains("zfrontend"));
}

fn services_can_be_locked_individually(t: &Context) {
    let product = Product::new(t);
    t.xp(["build"]).success();
    t.xp(["lock", "zfrontend"])
        .success()
        .stdout_contains("with 1 service");
    // The manifest has more services than the lock.
    t.xp(["build", "--locked"])
        .failure(2)
        .stderr_contains("zbackend: not in the lock")
        .stderr_contains("hint: `xp lock zbackend` adds what is missing");
    t.xp(["build", "--locked", "zfrontend"]).success();
    t.xp(["lock", "--check", "zfrontend"]).success();
    t.xp(["lock", "--check"])
        .failure(1)
        .stdout_contains("zbackend  added");
    t.xp(["lock"]).success();

    let text = lock_text(t);
    let (backend, frontend) = (product.backend.head(), product.frontend.head());
    let new_backend = product.backend.commit(&[("content", "2")], "Second");
    let new_frontend = product.frontend.commit(&[("content", "2")], "Second");
    t.xp(["build"]).success();
    let (old_digest, new_digest) = (
        product.digest("zbackend", &backend),
        product.digest("zbackend", &new_backend),
    );
    t.xp(["lock", "--services", "zbackend"]).success();
    let expected = text
        .replace(&backend, &new_backend)
        .replace(&old_digest, &new_digest);
    assert_eq!(lock_text(t), expected, "the other entry stays as it is");
    assert!(!expected.contains(&new_frontend) && expected.contains(&frontend));

    // The options for references work as in a build.
    product.backend.branch("topic");
    let topic = product.backend.commit(&[("content", "3")], "Third");
    t.xp(["build", "--branch", "topic"]).success();
    t.xp(["lock", "zbackend", "--branch", "topic"])
        .success()
        .stdout_contains("reference origin/master to topic");
    let text = lock_text(t);
    assert!(
        text.contains(&topic) && text.contains("reference: topic\n"),
        "{text}"
    );
    assert!(text.contains("name: refs/heads/topic\n"), "{text}");
    t.xp(["lock", "nothing"]).failure(2);
}

fn missing_images_are_not_locked(t: &Context) {
    let product = Product::new(t);
    t.xp(["lock"])
        .failure(1)
        .stderr_contains("2 images are not built yet; nothing was locked")
        .stderr_contains("zfrontend: the registry has no image of its commit");
    assert!(!t.exists("x-platform.lock"));
    // Images that only the engine has cannot be deployed either.
    t.xp(["build", "--no-push"]).success();
    t.xp(["lock"]).failure(1);
    t.xp(["build"]).success();
    product.manifest("true; true", "");
    t.xp(["lock"]).failure(1).stderr_contains(
        "zbackend: the registry's image was built from other inputs: scripts.build changed",
    );
    assert!(!t.exists("x-platform.lock"));
    t.xp(["lock", "--trust-commit"]).success();
    t.xp(["lock", "--check"]).success();
    let build = t.xp(["build", "--locked"]).success();
    assert!(build.row("zbackend").contains("skipped"), "{build}");
    fs::remove_file(t.dir().join("x-platform.lock")).expect("the lock");

    // Without a registry, there is no digest, and commits are pinned.
    let frontend = small::service(t, "zfrontend", &product.frontend.url_http(), "", "");
    small::manifest(t, "", &frontend);
    t.xp(["lock"]).success();
    let text = lock_text(t);
    assert!(
        !text.contains("digest:") && text.contains(&product.frontend.head()),
        "{text}"
    );
    t.xp(["lock", "--check"]).success();
    t.xp(["build", "--locked"]).success();
}

fn a_locked_build_uses_the_old_commit_and_moves_no_branch(t: &Context) {
    let frontend = small::repository(t, "zfrontend");
    let old = frontend.head();
    let service = small::service(t, "zfrontend", &frontend.url_http(), "", "");
    small::manifest(t, "", &service);
    t.xp(["lock"]).success();
    let new = frontend.commit(&[("content", "2")], "Second");
    t.xp(["build"]).success();
    let name = |tag: &str| format!("{}:{tag}", t.image("zfrontend"));
    let id = |tag: &str| {
        t.engine()
            .image(&name(tag))
            .map(|image| image["Id"].clone())
    };
    let branch = id("master");
    assert_eq!(branch, id(&new));
    assert!(id(&old).is_none());

    let build = t.xp(["build", "--locked"]).success();
    assert!(build.row("zfrontend").contains(short(&old)), "{build}");
    let image = t.assert_built("zfrontend", &old);
    let labels = &image["Config"]["Labels"];
    // As originally built.
    assert_eq!(labels["org.opencontainers.image.version"], "master");
    assert_eq!(id("master"), branch, "the branch is further on");
    assert_ne!(id(&old), id(&new));
    t.xp(["plan", "--locked"])
        .success()
        .stdout_contains("Nothing to do");
    // Requested tags are set.
    t.xp(["build", "--locked", "--tag", "release-1"]).success();
    assert_eq!(id("release-1"), id(&old));
    // The old image belongs to the old build: building the branch again does not touch it.
    t.xp(["build"]).success();
    assert_eq!(id("master"), branch);
}

fn a_locked_build_queries_no_git_remote(t: &Context) {
    let product = Product::locked(t);
    product.backend.commit(&[("content", "2")], "Second");
    fs::remove_dir_all(t.dir().join("src")).expect("the working copies");
    let marks = t.git_server(GitServerKind::Open).mark();
    t.xp(["build", "--locked"])
        .success()
        .stdout_contains("in the registry and the engine");
    let requests = product.backend.requests_since(GitServerKind::Open, marks);
    assert!(requests.is_empty(), "{requests:?}");
    assert!(!t.exists("src"));
    for arguments in [
        ["build", "--locked", "--branch=x"],
        ["plan", "--locked", "--reference=zbackend=x"],
        ["build", "--locked", "--force"],
        ["sync", "--locked", "--branch=x"],
        ["build", "--lock-file=x", "zbackend"],
    ] {
        t.xp(arguments).failure(2);
    }
}

fn an_unsatisfiable_lock_is_explained(t: &Context) {
    let product = Product::locked(t);
    let text = lock_text(t);
    // The script has changed since.
    product.manifest("echo changed", "");
    for command in ["build", "plan"] {
        t.xp([command, "--locked"])
            .failure(2)
            .stderr_contains("x-platform.lock does not match the manifest")
            .stderr_contains(
                "zbackend: its build inputs differ from the locked ones: scripts.build changed",
            );
    }
    t.xp(["build", "--locked", "zfrontend"]).success();
    t.xp(["lock", "--check"])
        .failure(1)
        .stdout_contains("zbackend  changed")
        .stdout_contains("recipe");
    product.manifest("true", "");
    t.xp(["build", "--locked"]).success();
    // The builder, too.
    t.write(&format!("{}/more", product.builder), "x");
    t.xp(["build", "--locked"])
        .failure(2)
        .stderr_contains("dockerBuilder.image changed");
    fs::remove_file(t.dir().join(&product.builder).join("more")).unwrap();

    // A different remote, and a removed service.
    let moved = small::service(t, "zbackend", &product.frontend.url_http(), "", "");
    small::manifest(t, product.registry.host(), &moved);
    t.xp(["sync", "--locked"])
        .failure(2)
        .stderr_contains("zfrontend: not in the manifest");
    assert!(!product.t.exists("src/zfrontend/.git/refs/worktree/xp/head"));
    // A different registry.
    small::manifest(
        t,
        "",
        &small::service(t, "zfrontend", &product.frontend.url_http(), "", ""),
    );
    t.xp(["build", "--locked"])
        .failure(2)
        .stderr_contains("zfrontend: its image is");
    assert_eq!(lock_text(t), text);
    t.xp(["build", "--locked", "--lock-file", "missing"])
        .failure(2)
        .stderr_contains("lock not found")
        .stderr_contains("create it with `xp lock`");
}

fn replaced_and_missing_images_are_reported(t: &Context) {
    let product = Product::locked(t);
    let commit = product.frontend.head();
    let image = t.image("zfrontend");
    let locked = product.digest("zfrontend", &commit);
    let text = lock_text(t);

    // Another image is pushed under the commit's tag; the identity tag still has the locked one.
    let other = format!("{}/{}:master", product.registry.host(), t.image("zbackend"));
    let repository = format!("{}/{image}", product.registry.host());
    let tag = format!("{repository}:{commit}");
    t.engine().docker(["tag", &other, &tag]);
    t.engine().docker(["push", &tag]);
    assert_ne!(product.digest("zfrontend", &commit), locked);
    t.xp(["lock", "--check"]).success();
    t.xp(["build", "--locked"])
        .success()
        .stdout_contains("pulled");
    let here = t.engine().image(&format!("{repository}@{locked}"));
    let by_tag = t.engine().image(&tag).expect("the engine has it");
    assert_eq!(here.expect("the locked image")["Id"], by_tag["Id"]);
    // A build moves the tag back without building.
    let build = t.xp(["build"]).success();
    assert!(!build.stdout.contains(" built "), "{build}");
    assert_eq!(product.digest("zfrontend", &commit), locked);

    // First all tags are removed, then the image.
    for tag in product.registry.identity_tags(&image) {
        product.registry.delete_tag(&image, &tag);
    }
    product.registry.delete_tag(&image, &commit);
    t.xp(["build", "--locked"]).success();
    product.registry.delete_manifest(&image, &locked);
    t.xp(["build", "--locked"])
        .failure(3)
        .stderr_contains("an image is no longer in the registry")
        .stderr_contains(&format!("zfrontend: {repository}@{locked}"))
        .stderr_contains("a new build has a different digest");
    assert!(product.registry.manifest_digest(&image, &commit).is_none());
    assert_eq!(lock_text(t), text);
    // Unaffected services are available.
    t.xp(["build", "--locked", "zbackend"]).success();
    // A registry that cannot tell does not count as one without the image.
    t.manifest(&t.read("x-platform.yml").replace(
        product.registry.host(),
        &format!("127.0.0.1:{}", t.closed_port()),
    ));
    let broken = text.replace(product.registry.host(), "127.0.0.1:1");
    t.write("x-platform.lock", &broken);
    t.xp(["lock", "--check"]).failure(3);
}

fn images_without_tests_are_locked_only_if_requested(t: &Context) {
    let product = Product::new(t);
    product.manifest("true", "true");
    t.xp(["build", "--no-test"]).success();
    t.xp(["lock"])
        .failure(1)
        .stderr_contains(
            "zbackend: the registry's image was built from other inputs: scripts.test is new\n",
        )
        .stderr_contains("hint: `--no-test` locks images that were built without tests");
    t.xp(["lock", "--no-test"]).success();
    let commit = product.backend.head();
    let before = product.digest("zbackend", &commit);
    // The lock names the exact image, so nothing is built to run tests.
    t.xp(["build", "--locked"])
        .success()
        .stdout_contains("skipped");
    assert_eq!(product.digest("zbackend", &commit), before);
}

fn a_damaged_lock_is_reported_and_kept(t: &Context) {
    let product = Product::locked(t);
    let text = lock_text(t);
    let commit = product.backend.head();
    let damages = [
        ("", "the lock is empty"),
        (
            &text.replace("version: 1", "version: 7"),
            "was written by a newer xp",
        ),
        (
            &text.replace("  zfrontend:", "<<<<<<< HEAD\n  zfrontend:"),
            "merge conflict",
        ),
        (&text.replacen(&commit, &"0".repeat(40), 1), "do not match"),
        (
            &text.replacen("digest: sha256:", "digest: ", 1),
            "invalid digest",
        ),
        (
            &text.replacen("    remote:", "    remot:", 1),
            "did you mean `remote`?",
        ),
        (&text[..text.len() / 2], "x-platform.lock:"),
    ];
    for (damaged, message) in damages {
        t.write("x-platform.lock", damaged);
        for arguments in [
            &["lock"][..],
            &["lock", "--check"],
            &["lock", "zbackend"],
            &["build", "--locked"],
            &["sync", "--locked"],
            &["diff", "x-platform.lock", "x-platform.lock"],
        ] {
            let mut xp = t.xp([]);
            for argument in arguments {
                xp = xp.arg(argument);
            }
            let output = xp.failure(2);
            output
                .stderr_contains(message)
                .stderr_contains("x-platform.lock");
            assert_eq!(lock_text(t), damaged, "{arguments:?}");
        }
    }
    // A user's comment would be lost.
    let commented = text.replace("  zfrontend:", "  # frozen until May\n  zfrontend:");
    t.write("x-platform.lock", &commented);
    t.xp(["build", "--locked"]).success();
    product.backend.commit(&[("content", "2")], "Second");
    t.xp(["build"]).success();
    t.xp(["lock"])
        .failure(2)
        .stderr_contains("has a comment, which would be lost")
        .stderr_contains("line 14");
    assert_eq!(lock_text(t), commented);
}

fn locks_of_two_users_are_the_same(t: &Context) {
    let product = Product::locked(t);
    let text = lock_text(t);
    // Another folder, home, and user in the URL: they are specific to the machine and may be secret.
    let other = t.folder().join("other");
    fs::create_dir_all(&other).unwrap();
    let login = product.backend.url_http_login();
    let manifest = t.read("x-platform.yml");
    fs::write(other.join("x-platform.yml"), &manifest).unwrap();
    let builder = other.join(&product.builder);
    fs::create_dir_all(&builder).unwrap();
    let dockerfile = t.read(&format!("{}/Dockerfile", product.builder));
    fs::write(builder.join("Dockerfile"), dockerfile).unwrap();
    t.xp(["lock"]).dir(&other).env("HOME", &other).success();
    assert_eq!(
        fs::read_to_string(other.join("x-platform.lock")).unwrap(),
        text
    );

    let with_login = manifest.replace(&product.backend.url_http(), &login);
    assert_ne!(with_login, manifest);
    t.manifest(&with_login);
    t.xp(["lock"]).success();
    let locked = lock_text(t);
    assert!(!locked.contains(crate::world::PASSWORD), "{locked}");
    assert!(
        locked.contains(&product.backend.url_http_auth()),
        "{locked}"
    );
    t.xp(["build", "--locked"]).success();
}

fn working_copies_follow_the_lock_and_return(t: &Context) {
    let product = Product::locked(t);
    let (old_backend, old_frontend) = (product.backend.head(), product.frontend.head());
    let new_backend = product.backend.commit(&[("content", "2")], "Second");
    let new_frontend = product.frontend.commit(&[("content", "2")], "Second");
    t.xp(["sync"]).success();
    let (backend, frontend) = (User::new(t, "zbackend"), User::new(t, "zfrontend"));
    assert_eq!(backend.head(), new_backend);

    t.xp(["sync", "--locked"])
        .success()
        .stdout_contains("moved from");
    assert_eq!(
        (backend.head(), frontend.head()),
        (old_backend.clone(), old_frontend)
    );
    assert_eq!(
        backend.git(&["rev-parse", "master"]),
        new_backend,
        "the branch stays"
    );
    assert_eq!(backend.git(&["status", "--porcelain"]), "");
    t.xp(["sync", "--locked"])
        .success()
        .stdout_contains("up to date");
    // And back to the branch.
    t.xp(["sync"]).success();
    for user in [&backend, &frontend] {
        assert_eq!(user.git(&["symbolic-ref", "HEAD"]), "refs/heads/master");
        assert_eq!(user.git(&["status", "--porcelain"]), "");
    }
    assert_eq!(frontend.head(), new_frontend);

    // A working copy cloned for the lock has a detached head; later it has a branch.
    fs::remove_dir_all(&backend.dir).unwrap();
    t.xp(["sync", "--locked"])
        .success()
        .stdout_contains("cloned");
    assert_eq!(backend.head(), old_backend);
    t.xp(["sync"]).success();
    assert_eq!(backend.git(&["symbolic-ref", "HEAD"]), "refs/heads/master");
    assert_eq!(backend.head(), new_backend);

    // The user's changes stay, so the lock is not satisfied; a build does not care.
    type Work = fn(&User);
    let works: [(&str, Work); 4] = [
        ("modified files: content", |user| {
            user.write("content", "mine")
        }),
        ("1 commit not pushed", |user| {
            user.git(&["checkout", "--quiet", "content"]);
            user.commit("mine", "x");
        }),
        ("branch `mine` is checked out", |user| {
            _ = user.git(&["switch", "--quiet", "--create", "mine"]);
        }),
        ("HEAD is detached", |user| {
            _ = user.git(&["checkout", "--quiet", "--detach", "mine"]);
        }),
    ];
    for (reason, work) in works {
        work(&backend);
        let before = Snapshot::of(&backend);
        let output = t.xp(["sync", "--locked"]).failure(1);
        output
            .stdout_contains(reason)
            .stderr_contains("is not at the locked commit");
        assert_eq!(Snapshot::of(&backend), before, "{reason}");
        t.xp(["build", "--locked"]).success();
        assert_eq!(Snapshot::of(&backend), before, "{reason}");
    }
}

fn services_of_one_working_copy_are_locked_together(t: &Context) {
    let repository = small::repository(t, "shared");
    let services: String = ["one", "two"]
        .map(|name| {
            let service = small::service(t, name, &repository.url_http(), "", "");
            service.replace(&format!("dir: src/{name}"), "dir: src/shared")
        })
        .concat();
    small::manifest(t, "", &services);
    t.xp(["lock"]).success();
    let first = repository.head();
    let second = repository.commit(&[("content", "2")], "Second");
    t.xp(["lock", "two"]).success();
    repository.commit(&[("content", "3")], "Third");
    let user = User::new(t, "shared");
    // One checkout cannot have two commits: the later one is checked out, and the earlier one is reported.
    for _ in 0..2 {
        let output = t.xp(["sync", "--locked"]).failure(1);
        let both = format!(
            "no locked commit has the locked files of both `one` ({}) and `two` ({})",
            short(&first),
            short(&second)
        );
        assert!(!output.row("two").contains(&both), "{output}");
        assert!(output.row("one").contains(&both), "{output}");
        output.stderr_contains("hint: lock them together with `xp lock one two`");
        assert_eq!(user.head(), second);
    }
    t.xp(["sync", "--locked", "one"]).success();
    assert_eq!(user.head(), first);
    t.xp(["lock", "one", "two"]).success();
    t.xp(["sync", "--locked"]).success();
    assert_eq!(user.head(), repository.head());
    repository.git(&["switch", "--quiet", "--orphan", "other"]);
    repository.commit(
        &[("Dockerfile", small::DOCKERFILE), ("content", "4")],
        "Other",
    );
    t.xp(["lock", "one", "--branch", "other"]).success();
    t.xp(["sync", "--locked"])
        .failure(1)
        .stderr_contains("no locked commit has the locked files of both `one`")
        .stderr_contains("hint: lock them together with `xp lock one two`")
        .does_not_contain("is not at the locked commit");
    t.xp(["build", "--locked"]).success();
}

fn images_that_were_not_built_together_are_not_up_to_date(t: &Context) {
    let registry = t.registry();
    let backend = small::repository(t, "zbackend");
    let frontend = t.git_repo("zfrontend");
    let busybox = t.engine().busybox();
    let dockerfile = format!("FROM {busybox}\nRUN cat /proc/sys/kernel/random/uuid > /id\n");
    frontend.commit(&[("Dockerfile", &dockerfile)], "Start");
    let needs = "    needs: [zfrontend]\n";
    let services = small::service(t, "zbackend", &backend.url_http(), "", needs)
        + &small::service(t, "zfrontend", &frontend.url_http(), "", "");
    small::manifest(t, registry.host(), &services);
    t.xp(["build"]).success();
    t.xp(["lock"]).success();
    t.xp(["build", "--no-cache", "zfrontend"]).success();
    t.xp(["lock", "zfrontend"]).success();
    // Every entry is current, but `xp lock` would refuse them.
    t.xp(["lock"]).failure(1).stderr_contains("zbackend: ");
    t.xp(["lock", "--check"]).failure(1).stderr_contains(
        "images were not built from each other: zbackend\nhint: `xp lock` updates it",
    );
    t.xp(["build"]).success();
    t.xp(["lock"]).success();
    t.xp(["lock", "--check"]).success();
}

fn a_topic_train_is_locked_by_its_image_names(t: &Context) {
    let registry = t.registry();
    let (backend, frontend) = (
        small::repository(t, "zbackend"),
        small::repository(t, "zfrontend"),
    );
    let needs = "    needs: [zfrontend]\n";
    let services = small::service(t, "zbackend", &backend.url_http(), "", needs)
        + &small::service(t, "zfrontend", &frontend.url_http(), "", "");
    small::manifest(t, registry.host(), &services);
    t.xp(["build"]).success();
    frontend.branch("TASK-981");
    let topic = frontend.commit(&[("content", "2")], "Topic");
    // The commit's usual image exists, but not the train's.
    for (option, value, variant) in [
        ("--branch", "TASK-981", "TASK-981"),
        ("--reference", "zfrontend=TASK-981", "zfrontend=TASK-981"),
    ] {
        t.xp(["lock", option, value])
            .failure(1)
            .stderr_contains(&format!(
                "zbackend: the registry has no image of its commit with {variant}\n"
            ))
            .stderr_contains("zfrontend: the registry has no image of its commit\n")
            .stderr_contains(&format!(
                "hint: `xp build {option} {value}` builds and pushes them"
            ));
    }
    t.xp(["build", "--branch", "TASK-981"]).success();
    t.xp(["lock", "--branch", "TASK-981"]).success();
    let text = lock_text(t);
    let commit = backend.head();
    assert!(
        text.contains(&format!("zbackend:{commit}-TASK-981\n")),
        "{text}"
    );
    let digest = registry.manifest_digest(&t.image("zbackend"), &format!("{commit}-TASK-981"));
    assert!(text.contains(&digest.expect("the train's image")), "{text}");
    assert!(text.contains("    reference: TASK-981\n"), "{text}");
    t.xp(["lock", "--check", "--branch", "TASK-981"]).success();
    // The lock alone determines the image names, and the images are unchanged.
    let build = t.xp(["build", "--locked"]).success();
    assert!(build.row("zbackend").contains("skipped"), "{build}");
    assert!(
        build
            .row("zbackend")
            .contains(&format!("{commit}-TASK-981")),
        "{build}"
    );
    assert!(build.row("zfrontend").contains("skipped"), "{build}");
    // Without the train, it is a different set.
    t.xp(["lock", "--check"])
        .failure(1)
        .stdout_contains("-TASK-981 to ")
        .stdout_contains("reference TASK-981 to origin/master");
    t.xp(["lock"]).success();
    assert!(!lock_text(t).contains("TASK-981"));
    t.xp(["build", "--locked"]).success();

    // The locked service stays behind, and the image of its dependent was built with the new one. The image
    // that matches the lock is found by its identity tag.
    let before = lock_text(t);
    frontend.switch("master");
    frontend.commit(&[("content", "3")], "Second");
    t.xp(["build"]).success();
    t.xp(["lock", "zbackend"]).success();
    assert_eq!(lock_text(t), before);
    for tag in registry.identity_tags(&t.image("zbackend")) {
        registry.delete_tag(&t.image("zbackend"), &tag);
    }
    let refused = t.xp(["lock", "zbackend"]).failure(1);
    let refused = refused
        .stderr_contains(
            "zbackend: the registry's image was built with a different `zfrontend` than the locked one",
        )
        .stderr_contains("hint: `xp lock zbackend zfrontend` locks them together");
    assert!(!refused.stderr.contains("xp build"), "{refused}");
    assert_eq!(lock_text(t), before);
    t.xp(["lock", "zbackend", "zfrontend"]).success();
    assert!(!lock_text(t).contains(&topic));
}

fn services_of_one_repository_are_locked_at_their_own_commits(t: &Context) {
    let repository = t.git_repo("mono");
    let file = |name: &str, content: &str| (format!("{name}/content"), content.to_owned());
    let commit = |name: &str, content: &str, message: &str| {
        let (path, content) = file(name, content);
        let dockerfile = format!("{name}/Dockerfile");
        repository.commit(
            &[(&path, &content), (&dockerfile, small::DOCKERFILE)],
            message,
        )
    };
    let one = commit("one", "1", "One");
    let two = commit("two", "1", "Two");
    let url = repository.url_http();
    let service = |name: &str| {
        format!(
            "  {name}:\n    dir: src/mono\n    git: {{remote: '{url}', reference: origin/master, path: {name}}}\n    \
             docker: {{image: {}}}\n",
            t.image(name)
        )
    };
    small::manifest(t, t.registry().host(), &(service("one") + &service("two")));
    t.xp(["build"]).success();
    t.xp(["lock"]).success();
    let text = lock_text(t);
    for part in [
        format!("    path: one\n    commit: {one}\n"),
        format!("    path: two\n    commit: {two}\n"),
    ] {
        assert!(text.contains(&part), "{part} is not in\n{text}");
    }
    // A commit that touches neither does not make the lock outdated, although the branch moved.
    repository.commit(&[("README", "x")], "Neither");
    t.xp(["lock", "--check"]).success();
    let later = commit("one", "2", "One again");
    t.xp(["build"]).success();
    t.write("old.lock", &text);
    t.xp(["lock"])
        .success()
        .stdout_contains(&format!(
            "one      moved   {}..{}",
            short(&one),
            short(&later)
        ))
        .stdout_contains("1 service unchanged");
    let diff = t.xp(["diff", "old.lock"]).success();
    let diff = diff
        .stdout_contains("1 commit\n")
        .stdout_contains("One again");
    assert!(!diff.stdout.contains("Neither"), "{diff}");

    t.xp(["build", "--locked", "--lock-file", "old.lock"])
        .success();
    // The files of both, unchanged: the later commit has them.
    t.xp(["sync", "--locked", "--lock-file", "old.lock"])
        .success();
    assert_eq!(t.git("src/mono", &["rev-parse", "HEAD"]), two);
    t.xp(["sync", "--locked"]).success();
    assert_eq!(t.git("src/mono", &["rev-parse", "HEAD"]), later);
    // One was locked again and the other was not, and the one's commit has new files of both.
    let newer_two = commit("two", "2", "Two again");
    let newer_one = commit("one", "3", "One once more");
    t.xp(["build"]).success();
    t.xp(["lock", "one"]).success();
    for is_new in [false, true] {
        if is_new {
            fs::remove_dir_all(t.dir().join("src/mono")).expect("the working copy");
        }
        let output = t.xp(["sync", "--locked"]).failure(1);
        assert!(
            output.row("two").contains("no locked commit has"),
            "{output}"
        );
        assert!(
            !output.row("one").contains("no locked commit has"),
            "{output}"
        );
        output
            .stderr_contains(&format!(
                "both `one` ({}) and `two` ({})",
                short(&newer_one),
                short(&two)
            ))
            .stderr_contains("hint: lock them together with `xp lock one two`");
    }
    t.xp(["sync", "--locked", "two"]).success();
    assert_eq!(t.git("src/mono", &["rev-parse", "HEAD"]), two);
    t.xp(["lock", "two"]).success();
    assert!(lock_text(t).contains(&newer_two));
    t.xp(["sync", "--locked"]).success();
    assert_eq!(t.git("src/mono", &["rev-parse", "HEAD"]), newer_one);
    // A different folder means a different service.
    let manifest = t.read("x-platform.yml");
    t.manifest(
        &manifest
            .replace("path: two", "path: one/../two")
            .replace("one/../", "./"),
    );
    t.xp(["build", "--locked"]).success();
    t.manifest(&manifest.replace(", path: two", ""));
    t.xp(["build", "--locked"])
        .failure(2)
        .stderr_contains("two: its `git.path` is `two` in the lock, but none in the manifest");
}

fn a_failed_write_keeps_the_old_lock(t: &Context) {
    let product = Product::locked(t);
    let text = lock_text(t);
    product.backend.commit(&[("content", "2")], "Second");
    t.xp(["build"]).success();
    // A file that xp did not create is at the path of the new one.
    fs::create_dir_all(t.dir().join(".x-platform.lock.new/mine")).unwrap();
    t.xp(["lock"])
        .failure(3)
        .stderr_contains("x-platform.lock cannot be written");
    assert_eq!(lock_text(t), text);
    assert!(t.exists(".x-platform.lock.new/mine"));
    // In another working copy, it can be checked out.
    t.xp(["lock", "--lock-file", "release.lock"]).success();
    assert_eq!(lock_text(t), text);
    t.xp(["lock", "--check", "--lock-file", "release.lock"])
        .success();
    t.xp(["build", "--locked", "--lock-file", "release.lock"])
        .success();
    t.xp(["lock", "--lock-file", "missing/release.lock"])
        .failure(3);
}

fn an_image_of_a_working_copy_is_not_locked(t: &Context) {
    let registry = t.registry();
    let frontend = small::repository(t, "zfrontend");
    let services = small::service(t, "zfrontend", &frontend.url_http(), "", "");
    small::manifest(t, registry.host(), &services);
    t.xp(["sync"]).success();
    t.xp(["build", "--local"]).success();
    let image = format!(
        "{}/{}:{}",
        registry.host(),
        t.image("zfrontend"),
        frontend.head()
    );
    t.engine().docker(["push", "--quiet", &image]);
    // The commit is trusted, and the image does not match it.
    let refused = "the registry's image was built from a working copy with --local";
    t.xp(["lock"]).failure(1).stderr_contains(refused);
    // The commit is trusted, and the image does not match it.
    t.xp(["lock", "--trust-commit"])
        .failure(1)
        .stderr_contains(refused);
    t.xp(["plan"])
        .success()
        .stdout_contains("the registry's image was built with --local");
    t.xp(["build"]).success();
    t.xp(["plan", "--exit-code"]).success();
    t.xp(["lock"]).success();
}
