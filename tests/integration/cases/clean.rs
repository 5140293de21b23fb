//! `xp clean --registry`: what is removed, and above all what is not.

use std::fs;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::deploy_render::product;
use super::needed_images::Platform;
use crate::case::Case;
use crate::context::Context;
use crate::schema::assert_follows;
use crate::stored_images::{OLD, Shop, commit, items, reason};
use crate::world::{Access, Gateway, Refusal, Reply};

pub const CASES: &[Case] = cases![
    unused_images_are_removed_with_reasons,
    images_that_xp_built_are_kept_with_what_they_need,
    locks_of_all_branches_and_tags_keep_images,
    an_incomplete_clone_of_the_platform_stops,
    a_shallow_clone_of_the_platform_stops,
    clusters_keep_what_they_run_and_ran,
    a_cluster_that_does_not_respond_stops,
    a_saved_plan_is_carried_out_or_refused,
    an_image_that_is_tagged_meanwhile_stays,
];

fn unused_images_are_removed_with_reasons(t: &Context) {
    let shop = Shop::new(t, t.registry());
    let [tip, first, second] = shop.stocked();
    let gone = commit(3);
    let gone = shop.image(&gone, "topic", OLD, &[&gone, "topic"]);
    let young = commit(4);
    let young = shop.image(&young, "master", "2099-01-01T00:00:00Z", &[&young]);
    let released = commit(5);
    let released = shop.image(&released, "master", OLD, &[&released, "v1.4"]);
    let unknown = commit(6);
    let unknown = shop.image(&unknown, "master", "0001-01-01T00:00:00Z", &[&unknown]);
    let before = shop.everything();

    let output = shop.clean(["--format", "json"]).success();
    assert_follows(t, "clean", &output.stdout);
    let found = items(&output);
    assert_eq!(reason(&found, &tip), "keep: tip of origin/master");
    assert!(
        reason(&found, &first).starts_with("remove: older than 14 days"),
        "{output}"
    );
    assert_eq!(
        reason(&found, &gone),
        "remove: its branch topic no longer exists"
    );
    assert_eq!(
        reason(&found, &young),
        "keep: the last commit of master with an image"
    );
    assert!(
        reason(&found, &released).starts_with("keep: tagged v1.4"),
        "{output}"
    );
    assert!(reason(&found, &unknown).starts_with("keep: "), "{output}");
    assert_eq!(shop.everything(), before);

    let shown = shop.clean([]).success();
    assert!(shown.row("remove").contains(&first[7..19]) || shown.stdout.contains(&first[7..19]));
    let shown = shown.stdout_contains("registry: 3 to remove");
    shown.stdout_contains("`xp clean --registry --delete` removes them");
    shop.clean(["--delete", "--max-delete", "2"])
        .failure(2)
        .stderr_contains("3 items would be removed, more than `--max-delete 2`");
    assert_eq!(shop.everything(), before);

    shop.clean(["--delete", "--max-delete", "3"])
        .success()
        .stdout_contains("registry: 3 removed");
    for digest in [&first, &second, &gone] {
        assert!(!shop.has(digest), "{digest}");
    }
    for digest in [&tip, &young, &released, &unknown] {
        assert!(shop.has(digest), "{digest}");
    }
    let after = shop.everything();
    assert_eq!(after.1.len(), 7, "{after:?}");
    shop.clean(["--delete"])
        .success()
        .stdout_contains("registry: 0 removed");
    assert_eq!(shop.everything(), after);
}

fn images_that_xp_built_are_kept_with_what_they_need(t: &Context) {
    let registry = t.registry();
    let platform = Platform::new(t, Some(registry.host()));
    let keep = |t: &Context| {
        let manifest = t.read("x-platform.yml");
        t.manifest(&format!(
            "clean: {{keep: {{days: 0, commits: 0}}}}\n{manifest}"
        ));
    };
    platform.set_output("old");
    t.xp(["build"]).success();
    let old = platform.top.head();
    platform.top.commit(&[("README", "new")], "Change");
    platform.set_output("new");
    t.xp(["build"]).success();
    keep(t);
    let digest = |service: &str, tag: &str| registry.manifest_digest(&t.image(service), tag);
    let top = digest("top", &platform.top.head()).expect("the image");
    assert_eq!(digest("top", "master").as_ref(), Some(&top));
    let before = registry.manifests(&t.image("base"));
    assert_eq!(before.len(), 2);
    let output = t.xp(["clean", "--registry", "--format", "json"]).success();
    let found = items(&output);
    assert_eq!(reason(&found, &top), "keep: tip of HEAD", "{output}");
    t.xp(["clean", "--registry", "--delete"]).success();
    assert_eq!(digest("top", &old), None);
    assert_eq!(digest("top", &platform.top.head()), Some(top));
    // Both images of `base` are of the last commit.
    assert_eq!(registry.manifests(&t.image("base")), before);
    // What is left can be pulled, and nothing is built again.
    for service in ["base", "top"] {
        let name = platform.image(service);
        t.engine().remove_image(&name);
        assert!(
            t.engine().docker(["pull", &name]).status.success(),
            "{name}"
        );
    }
    let plan = t.xp(["plan"]).success();
    assert!(!plan.stdout.contains(" build "), "{plan}");
}

fn locks_of_all_branches_and_tags_keep_images(t: &Context) {
    let shop = Shop::new(t, t.registry());
    let [_, tagged, on_branch] = shop.stocked();
    let [unlocked, working, in_history] = [3, 4, 5].map(|number| shop.old(number));
    let lock = |digest: &str| format!("version: 1\nservices:\n  app: {{digest: '{digest}'}}\n");
    let commit = |message: &str| {
        t.git(
            ".",
            &["add", "--force", "x-platform.yml", "x-platform.lock"],
        );
        t.git(".", &["commit", "--quiet", "--message", message]);
    };
    t.git(".", &["init", "--quiet", "--initial-branch", "main"]);
    t.write("x-platform.lock", &lock(&tagged));
    commit("1.4");
    t.git(".", &["tag", "v1.4"]);
    t.git(".", &["switch", "--quiet", "--create", "release"]);
    t.write("x-platform.lock", &lock(&on_branch));
    commit("Release");
    t.git(".", &["switch", "--quiet", "main"]);
    t.write("x-platform.lock", &lock(&in_history));
    commit("Earlier");
    t.write("x-platform.lock", &lock(&commit_digest()));
    commit("Now");
    t.write("x-platform.lock", &lock(&working));
    let output = shop.clean(["--delete", "--format", "json"]).success();
    let found = items(&output);
    assert_eq!(
        reason(&found, &tagged),
        "keep: lock x-platform.lock at tag v1.4"
    );
    assert_eq!(
        reason(&found, &on_branch),
        "keep: lock x-platform.lock at branch release"
    );
    assert_eq!(reason(&found, &working), "keep: lock x-platform.lock");
    assert!(reason(&found, &in_history).starts_with("keep: lock x-platform.lock in the commit "));
    assert!(!shop.has(&unlocked));
    for digest in [tagged, on_branch, working, in_history] {
        assert!(shop.has(&digest), "{digest}");
    }
}

/// A digest that no image has.
fn commit_digest() -> String {
    format!("sha256:{}", "f".repeat(64))
}

fn an_incomplete_clone_of_the_platform_stops(t: &Context) {
    let shop = Shop::new(t, t.registry());
    let [_, locked, _] = shop.stocked();
    let before = shop.everything();
    let remote = t.git_repo("platform");
    remote.commit(&[("x-platform.lock", &format!("digest: {locked}"))], "Lock");
    remote.branch("release");
    remote.switch("release");
    remote.commit(
        &[("x-platform.lock", &format!("digest: {locked}\n"))],
        "Release",
    );
    remote.switch("master");
    t.git(".", &["init", "--quiet", "--initial-branch", "master"]);
    t.git(".", &["remote", "add", "origin", &remote.url_file()]);
    t.git(".", &["fetch", "--quiet", "--no-tags", "origin", "master"]);
    shop.clean(["--delete"])
        .failure(3)
        .stderr_contains("does not have the commits of branch release")
        .stderr_contains("hint: fetch all of them");
    assert_eq!(shop.everything(), before);
    t.git(
        ".",
        &[
            "fetch",
            "--quiet",
            "origin",
            "+refs/heads/*:refs/remotes/origin/*",
        ],
    );
    shop.clean(["--delete"]).success();
    assert!(shop.has(&locked));
    // The remote is gone.
    t.git(
        ".",
        &["remote", "set-url", "origin", "file:///nowhere/x.git"],
    );
    let before = shop.everything();
    shop.clean(["--delete"])
        .failure(3)
        .stderr_contains("cannot list the branches and tags of the platform's remote origin");
    assert_eq!(shop.everything(), before);
}

fn a_shallow_clone_of_the_platform_stops(t: &Context) {
    let shop = Shop::new(t, t.registry());
    let [_, locked, unlocked] = shop.stocked();
    let before = shop.everything();
    t.write("remote/x-platform.lock", &format!("digest: {locked}\n"));
    t.git("remote", &["init", "--quiet", "--initial-branch", "master"]);
    let commit = |message: &str| {
        t.git("remote", &["add", "--force", "x-platform.lock"]);
        t.git("remote", &["commit", "--quiet", "--message", message]);
    };
    commit("With a lock");
    t.write("remote/x-platform.lock", "services: {}\n");
    commit("Without it");
    let remote = format!("file://{}", t.dir().join("remote").display());
    let fetch = |option: &str| {
        let branches = "+refs/heads/*:refs/remotes/origin/*";
        t.git(".", &["fetch", "--quiet", option, "origin", branches]);
    };
    t.git(".", &["init", "--quiet", "--initial-branch", "master"]);
    t.git(".", &["remote", "add", "origin", &remote]);
    fetch("--depth=1");
    let refused = shop.clean(["--delete"]).failure(3);
    refused
        .stderr_contains("is shallow: it does not have the commits before ")
        .stderr_contains("nothing was removed")
        .stderr_contains("hint: `git fetch --unshallow` fetches the rest");
    assert_eq!(shop.everything(), before);
    fetch("--unshallow");
    shop.clean(["--delete"]).success();
    assert!(shop.has(&locked) && !shop.has(&unlocked));
}

fn clusters_keep_what_they_run_and_ran(t: &Context) {
    let namespace = t.namespace("staging");
    t.kubeconfig(&[("full", Access::Full)]);
    let shop = Shop::new(t, t.registry());
    let [_, by_pod, by_tag] = shop.stocked();
    let unused = shop.old(3);
    shop.manifest(t.registry().host(), &environments(namespace.name(), "full"));
    let host = shop.registry.host();
    let pod = format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: one}}\nspec:\n  containers:\n  \
         - {{name: a, image: '{host}/{}@{by_pod}'}}\n  - {{name: b, image: '{host}/{}:{}'}}\n",
        shop.repository,
        shop.repository,
        commit(2),
    );
    t.write("pod.yaml", &pod);
    t.kubectl([
        "--namespace",
        namespace.name(),
        "create",
        "--filename",
        "pod.yaml",
    ])
    .success();
    let output = shop.clean(["--delete", "--format", "json"]).success();
    let found = items(&output);
    assert_eq!(reason(&found, &by_pod), "keep: running in staging");
    assert_eq!(reason(&found, &by_tag), "keep: running in staging");
    assert!(shop.has(&by_pod) && shop.has(&by_tag) && !shop.has(&unused));
}

fn environments(namespace: &str, context: &str) -> String {
    format!(
        "deploy:\n  path: k8s\n  environments:\n    staging: {{overlay: o, context: {context}, namespace: {namespace}}}\n"
    )
}

fn a_cluster_that_does_not_respond_stops(t: &Context) {
    t.kubeconfig(&[("nowhere", Access::Nowhere), ("full", Access::Full)]);
    let namespace = t.namespace("staging");
    let shop = Shop::new(t, t.registry());
    shop.stocked();
    let before = shop.everything();
    let stops = |context: &str| {
        shop.manifest(
            t.registry().host(),
            &environments(namespace.name(), context),
        );
        let output = shop.clean(["--delete"]).failure(3);
        assert!(output.stderr.contains("error: "), "{output}");
        assert_eq!(shop.everything(), before, "{context}");
    };
    stops("nowhere");
    stops("unknown");
    for resource in ["pods", "cronjobs", "configmaps"] {
        let forbidden = Refusal::Forbidden("not allowed".to_owned());
        namespace.refuse("GET", resource, forbidden);
        stops("full");
        namespace.refuse_nothing();
    }
    // After a deploy, its record keeps the images.
    let product = product(t, namespace.name());
    t.kubeconfig(&[("full", Access::Full)]);
    t.xp(["build"]).success();
    t.xp(["deploy", "staging"]).success();
    let manifest = t.read("x-platform.yml");
    t.manifest(&format!(
        "clean: {{keep: {{days: 0, commits: 0}}}}\n{manifest}"
    ));
    let image = t.image("zbackend");
    let digest = t
        .registry()
        .manifest_digest(&image, &product.backend.head());
    product.backend.commit(&[("README", "x")], "Change");
    let output = t.xp(["clean", "--registry", "--format", "json"]).success();
    let reason = reason(&items(&output), &digest.expect("the image"));
    let expected = ["keep: running in staging", "keep: deploy 1 of staging"];
    assert!(expected.contains(&reason.as_str()), "{reason}");
}

fn a_saved_plan_is_carried_out_or_refused(t: &Context) {
    let shop = Shop::new(t, t.registry());
    let [_, first, second] = shop.stocked();
    shop.clean(["--save", "plan.json"])
        .success()
        .stdout_contains("`xp clean --use plan.json` removes them");
    assert_follows(t, "clean", &t.read("plan.json"));
    assert!(shop.has(&first));
    let third = shop.old(3);
    t.write("x-platform.lock", &format!("digest: {first}\n"));
    let before = shop.everything();
    let refused = t.xp(["clean", "--use", "plan.json"]).failure(2);
    let refused = refused.stderr_contains("the plan no longer applies, so nothing was removed");
    refused.stderr_contains("is kept: lock x-platform.lock");
    assert_eq!(shop.everything(), before);
    fs::remove_file(t.dir().join("x-platform.lock")).expect("the lock");
    t.xp(["clean", "--use", "plan.json"])
        .success()
        .stdout_contains("registry: 2 removed");
    assert!(!shop.has(&first) && !shop.has(&second) && shop.has(&third));
    // It is done, so it has nothing left to do.
    t.xp(["clean", "--use", "plan.json"])
        .success()
        .stdout_contains("registry: 0 removed");
    assert!(shop.has(&third));
    t.write("other.json", "{}");
    t.xp(["clean", "--use", "other.json"])
        .failure(2)
        .stderr_contains("is not a saved plan");
}

fn an_image_that_is_tagged_meanwhile_stays(t: &Context) {
    let shop = Shop::new(t, t.registry());
    let [_, first, second] = shop.stocked();
    let folder = shop.registry.files(&shop.repository);
    let tagged = first.clone();
    let lists = AtomicUsize::new(0);
    let gateway = Gateway::before(shop.registry.host(), move |incoming| {
        // The second list is the one directly before the removal.
        if incoming.path.contains("/app/tags/list") && lists.fetch_add(1, Ordering::Relaxed) == 1 {
            let current = folder.join("_manifests/tags/release/current");
            fs::create_dir_all(&current).expect("a folder");
            fs::write(current.join("link"), &tagged).expect("a link");
        }
        Reply::Forward
    });
    shop.manifest(gateway.host(), "");
    shop.clean(["--delete"])
        .success()
        .stderr_contains("the tag release refers to it since the plan was made")
        .stdout_contains("registry: 1 removed");
    assert!(shop.has(&first) && !shop.has(&second));
}
