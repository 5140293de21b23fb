//! Deploying to a cluster with the real kubectl: what is applied, awaited, recorded, and rolled back to.

use std::fs;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;

use super::deploy_render::{Product, manifest, pinned, product, section, write_builder};
use crate::case::Case;
use crate::context::Context;
use crate::wait::wait_until;
use crate::world::{Access, Namespace, Outcome, Refusal};
use crate::xp::Xp;

pub const CASES: &[Case] = cases![
    a_deploy_is_applied_and_recorded,
    missing_images_are_built_first,
    a_partial_deploy_keeps_the_other_services,
    a_rollback_goes_back,
    a_rollback_uses_the_recorded_kustomize_files,
    a_rollback_uses_digests_despite_changed_image_names,
    a_rollback_survives_a_renamed_service,
    a_renamed_image_is_still_replaced,
    a_trusted_image_can_be_rolled_back_to,
    a_failed_rollout_is_reported,
    a_rollout_timeout_is_reported,
    a_rejection_by_the_cluster_is_reported,
    each_environment_uses_its_own_context,
    conflicting_fields_are_taken_over_only_if_requested,
    an_interrupt_is_recorded,
    an_unrecorded_result_is_an_error,
    a_killed_deploy_is_detected,
    concurrent_deploys_are_detected,
    an_environment_is_compared_with_a_lock,
    secrets_are_never_logged,
    a_deploy_can_use_kubectl_from_the_builder,
];

/// The product, already built, and its namespace.
pub(super) fn built(t: &Context) -> (Product, Namespace) {
    t.kubeconfig(&[
        ("other", Access::Nowhere),
        ("full", Access::Full),
        ("restricted", Access::NoDeployments),
    ]);
    let namespace = t.namespace("staging");
    let product = product(t, namespace.name());
    t.xp(["build"]).success();
    (product, namespace)
}

fn deploy<const N: usize>(t: &Context, arguments: [&str; N]) -> Xp {
    t.xp(["deploy", "staging"]).args(arguments)
}

/// Returns the record, with the last deploy first.
fn record(namespace: &Namespace) -> Vec<Value> {
    let object = namespace.object("configmaps", "xp-deploy-staging");
    let object = object.expect("the record");
    let text = object["data"]["record.json"].as_str().expect("a text");
    let record: Value = serde_json::from_str(text).expect("JSON");
    record["deploys"].as_array().expect("deploys").clone()
}

/// Returns the image that a workload in the cluster runs.
pub(super) fn running(namespace: &Namespace, name: &str) -> String {
    let object = namespace.object("deployments", name).expect("a Deployment");
    let pod = &object["spec"]["template"]["spec"];
    let image = match name {
        "zfrontend" => &pod["volumes"][0]["image"]["reference"],
        _ => &pod["containers"][0]["image"],
    };
    image.as_str().expect("an image").to_owned()
}

fn a_deploy_is_applied_and_recorded(t: &Context) {
    let (product, namespace) = built(t);
    let head = product.backend.head();
    namespace.rollouts_take(Duration::from_millis(300));
    deploy(t, [])
        .success()
        .stdout_contains("zbackend   added")
        .stdout_contains(
            "3 objects to create: Deployment zbackend, Deployment zfrontend, Service zbackend",
        )
        .stdout_contains("deploy 1 of staging finished: zbackend, zfrontend")
        .stderr_contains("deployment/zbackend");
    assert_eq!(
        running(&namespace, "zbackend"),
        pinned(t, "zbackend", &head)
    );
    let frontend = pinned(t, "zfrontend", &product.frontend.head());
    assert_eq!(running(&namespace, "zfrontend"), frontend);
    let deploys = record(&namespace);
    assert_eq!(deploys.len(), 1);
    assert_eq!(deploys[0]["state"], "deployed");
    assert_eq!(deploys[0]["set"]["services"]["zbackend"]["commit"], *head);
    assert!(deploys[0]["by"].as_str().is_some_and(|by| !by.is_empty()));
    let copy: Value =
        serde_json::from_str(&t.read(".xp/deploy/staging/record.json")).expect("JSON");
    assert_eq!(copy["deploys"], Value::from(deploys));
    // The server sees the real kubectl and xp's field manager.
    let requests = namespace.requests();
    assert!(
        requests
            .iter()
            .all(|it| it.user_agent.starts_with("kubectl"))
    );
    let applied = requests.iter().filter(|it| {
        it.method == "PATCH" && it.path.contains("fieldManager=xp") && !it.path.contains("dryRun")
    });
    assert_eq!(applied.count(), 3);

    // Nothing changed, so nothing is applied or recorded.
    deploy(t, [])
        .success()
        .stdout_contains("staging is up to date (2 services)");
    assert_eq!(record(&namespace).len(), 1);
    // A change to only the kustomize files counts.
    let text = t
        .read("k8s/base/all.yaml")
        .replace("port: 80", "port: 8080");
    t.write("k8s/base/all.yaml", &text);
    deploy(t, ["--format", "json"])
        .success()
        .stdout_contains("\"deployment/zbackend\"");
    assert_eq!(record(&namespace).len(), 2);
}

fn missing_images_are_built_first(t: &Context) {
    let (product, namespace) = built(t);
    let head = product.backend.commit(&[("content", "newer")], "Newer");
    deploy(t, [])
        .failure(1)
        .stderr_contains("zbackend: the registry has no image of its commit");
    assert!(namespace.objects("deployments").is_empty());
    assert!(
        namespace
            .object("configmaps", "xp-deploy-staging")
            .is_none()
    );
    deploy(t, ["--build"]).success().stdout_contains("built");
    assert_eq!(
        running(&namespace, "zbackend"),
        pinned(t, "zbackend", &head)
    );
}

fn a_partial_deploy_keeps_the_other_services(t: &Context) {
    let (product, namespace) = built(t);
    let before = pinned(t, "zfrontend", &product.frontend.head());
    deploy(t, ["zbackend"])
        .failure(2)
        .stderr_contains(
            "staging has no record yet, so the deployed version of zfrontend is unknown",
        )
        .stderr_contains("hint: `xp deploy staging` deploys all");
    deploy(t, []).success();
    let head = product.backend.commit(&[("content", "newer")], "Newer");
    product.frontend.commit(&[("content", "newer")], "Newer");
    t.xp(["build"]).success();
    deploy(t, ["--services", "zbackend"])
        .success()
        .stdout_contains("zbackend  moved")
        .stdout_contains("1 service unchanged")
        .stdout_contains("1 object to change: Deployment zbackend");
    assert_eq!(
        running(&namespace, "zbackend"),
        pinned(t, "zbackend", &head)
    );
    assert_eq!(running(&namespace, "zfrontend"), before);
    let deploys = record(&namespace);
    assert_eq!(deploys[0]["asked"], serde_json::json!(["zbackend"]));
    let digest = before.split_once('@').expect("a digest").1;
    assert_eq!(deploys[0]["set"]["services"]["zfrontend"]["digest"], digest);
    // Without the cluster, the copy of the record is used.
    deploy(t, ["zbackend", "--render"])
        .success()
        .stderr_contains("warning: using the local copy of the record for zfrontend, from deploy 2")
        .stdout_contains(&before);
}

fn a_rollback_goes_back(t: &Context) {
    let (product, namespace) = built(t);
    deploy(t, ["--rollback"])
        .failure(2)
        .stderr_contains("staging cannot be rolled back: its record is empty");
    t.xp(["deploy"]).failure(2).stderr_contains(
        "error: no environment given\nhint: write `xp deploy ENV`; the manifest has staging\n",
    );
    let mut images = vec![pinned(t, "zbackend", &product.backend.head())];
    deploy(t, []).success();
    for content in ["two", "three"] {
        let head = product.backend.commit(&[("content", content)], content);
        deploy(t, ["--build"]).success();
        images.push(pinned(t, "zbackend", &head));
        assert_eq!(running(&namespace, "zbackend"), images[images.len() - 1]);
    }
    for (image, to) in [(&images[1], 2), (&images[0], 1)] {
        let before = (running(&namespace, "zbackend"), record(&namespace));
        deploy(t, ["--rollback", "--dry-run"])
            .success()
            .stdout_contains("1 object to change: Deployment");
        assert_eq!(
            (running(&namespace, "zbackend"), record(&namespace)),
            before
        );
        deploy(t, ["--rollback"]).success();
        assert_eq!(running(&namespace, "zbackend"), *image);
        assert_eq!(record(&namespace)[0]["rollbackTo"], to);
    }
    deploy(t, ["--rollback"])
        .failure(2)
        .stderr_contains("its record has no earlier successful deploy");
    assert_eq!(record(&namespace).len(), 5);
}

/// Commits the manifest and the kustomize files in the repository of the platform's folder.
fn commit_platform(t: &Context) {
    t.git(".", &["add", "--all", "k8s", "x-platform.yml"]);
    let who = ["-c", "user.name=a", "-c", "user.email=a@example.com"];
    let commit = [&who[..], &["commit", "--quiet", "--message=x"]].concat();
    t.git(".", &commit);
}

fn a_rollback_uses_the_recorded_kustomize_files(t: &Context) {
    let (product, namespace) = built(t);
    let port = || {
        namespace.object("services", "zbackend").expect("a Service")["spec"]["ports"][0]["port"]
            .clone()
    };
    t.git(".", &["init", "--quiet", "--initial-branch=master"]);
    let commit = || commit_platform(t);
    commit();
    deploy(t, []).success();
    let head = t.git(".", &["rev-parse", "HEAD"]);
    assert_eq!(record(&namespace)[0]["manifest"], head.trim());
    let text = t
        .read("k8s/base/all.yaml")
        .replace("port: 80", "port: 8080");
    t.write("k8s/base/all.yaml", &text);
    commit();
    product.backend.commit(&[("content", "newer")], "Newer");
    deploy(t, ["--build"]).success();
    assert_eq!(port(), 8080);
    deploy(t, ["--rollback"])
        .success()
        .stdout_contains("k8s/overlays/staging of ")
        .does_not_contain("warning");
    assert_eq!(port(), 80);
    // The rendered commit is recorded, not the checked-out one.
    assert_eq!(record(&namespace)[0]["manifest"], head.trim());
    // Uncommitted files cannot be restored.
    t.write(
        "k8s/base/all.yaml",
        &text.replace("port: 8080", "port: 8081"),
    );
    deploy(t, []).success();
    assert_eq!(
        record(&namespace)[0]["manifest"]
            .as_str()
            .map(|it| it.ends_with("-dirty")),
        Some(true)
    );
    deploy(t, []).success().stdout_contains("up to date");
    let head = product.backend.commit(&[("content", "newest")], "Newest");
    deploy(t, ["--build"]).success();
    deploy(t, ["--rollback"]).success().stderr_contains(
        "warning: the kustomize files of deploy 4 were not committed: using the current files",
    );
    assert_eq!(port(), 8081);
    assert_ne!(
        running(&namespace, "zbackend"),
        pinned(t, "zbackend", &head)
    );
}

fn a_rollback_uses_digests_despite_changed_image_names(t: &Context) {
    let (product, namespace) = built(t);
    let first = pinned(t, "zbackend", &product.backend.head());
    t.git(".", &["init", "--quiet", "--initial-branch=master"]);
    let commit = || commit_platform(t);
    commit();
    deploy(t, []).success();
    // The old name has no meaning now.
    let text = t
        .read("k8s/base/all.yaml")
        .replace("image: zbackend", "image: back");
    t.write("k8s/base/all.yaml", &text);
    let mapped = section(namespace.name()) + "  images: {zbackend: back}\n";
    manifest(t, &product, &mapped);
    commit();
    product.backend.commit(&[("content", "newer")], "Newer");
    deploy(t, ["--build"]).success();
    // The manifest of that time knows it.
    deploy(t, ["--rollback"])
        .success()
        .stdout_contains("rolls back to deploy 1 of ")
        .does_not_contain("warning");
    assert_eq!(running(&namespace, "zbackend"), first);
    // The overlay has moved, too.
    fs::rename(t.dir().join("k8s/overlays"), t.dir().join("k8s/places")).expect("the overlays");
    manifest(t, &product, &mapped.replace("overlays/", "places/"));
    commit();
    deploy(t, []).success();
    assert_ne!(running(&namespace, "zbackend"), first);
    deploy(t, ["--rollback"])
        .success()
        .stderr_contains("are not available; using the current files with its images: ");
    assert_eq!(running(&namespace, "zbackend"), first);
}

fn a_rollback_survives_a_renamed_service(t: &Context) {
    let (product, namespace) = built(t);
    let first = pinned(t, "zbackend", &product.backend.head());
    t.git(".", &["init", "--quiet", "--initial-branch=master"]);
    commit_platform(t);
    deploy(t, []).success();
    t.xp(["lock"]).success();
    let text = t.read("x-platform.yml");
    let text = text
        .replace("  zbackend:\n", "  core:\n")
        .replace("{image: zbackend}", "{image: core}")
        .replace("  path: k8s\n", "  path: k8s\n  images: {core: zbackend}\n");
    t.manifest(&text);
    commit_platform(t);
    t.xp(["build"]).success();
    let lock = t.read("x-platform.lock");
    t.write("old.lock", &lock);
    t.xp(["lock"]).success();
    t.xp(["diff", "staging"])
        .success()
        .stdout_contains("core  renamed");
    product.backend.commit(&[("content", "newer")], "Newer");
    deploy(t, ["--build"]).success();
    assert_ne!(running(&namespace, "zbackend"), first);
    deploy(t, ["--rollback", "--dry-run"])
        .success()
        .stdout_contains("rolls back to deploy 1 of ")
        .does_not_contain("warning");
    deploy(t, ["--rollback"]).success();
    assert_eq!(running(&namespace, "zbackend"), first);
}

fn a_renamed_image_is_still_replaced(t: &Context) {
    let (product, namespace) = built(t);
    let text = t.read("x-platform.yml");
    let renamed = text.replace("{image: zbackend}", "{image: core}");
    // Before the first deploy, only the name of the service tells.
    t.manifest(&renamed);
    t.xp(["build"]).success();
    deploy(t, ["--dry-run"]).success().stderr_contains(
        "has the image `zbackend`, which is not the image of the service `zbackend`; if it should be, set \
         `zbackend: zbackend` in `deploy.images`",
    );
    t.manifest(&text);
    deploy(t, []).success();
    let before = running(&namespace, "zbackend");
    t.manifest(&renamed);
    for arguments in [&["--dry-run"][..], &["--render"], &[]] {
        let deploy = deploy(t, []);
        let deploy = arguments.iter().fold(deploy, |deploy, it| deploy.arg(it));
        deploy
            .failure(2)
            .stderr_contains("k8s/overlays/staging has images that no longer belong to a service")
            .stderr_contains("zbackend: replaced with the image of zbackend in deploy 1")
            .stderr_contains("set `zbackend` as its name in `deploy.images`");
    }
    assert_eq!(running(&namespace, "zbackend"), before);
    t.manifest(&renamed.replace(
        "  path: k8s\n",
        "  path: k8s\n  images: {zbackend: zbackend}\n",
    ));
    deploy(t, []).success();
    assert_eq!(
        running(&namespace, "zbackend"),
        pinned(t, "core", &product.backend.head())
    );
}

fn a_trusted_image_can_be_rolled_back_to(t: &Context) {
    let (product, namespace) = built(t);
    let text = t.read("x-platform.yml");
    t.manifest(&text.replace("{image: zbackend}", "{image: zbackend, args: {A: b}}"));
    deploy(t, ["--trust-commit"]).success();
    let first = running(&namespace, "zbackend");
    product.backend.commit(&[("content", "newer")], "Newer");
    deploy(t, ["--build"]).success();
    assert_ne!(running(&namespace, "zbackend"), first);
    deploy(t, ["--rollback"]).success();
    assert_eq!(running(&namespace, "zbackend"), first);
}

fn a_failed_rollout_is_reported(t: &Context) {
    let (product, namespace) = built(t);
    let before = pinned(t, "zbackend", &product.backend.head());
    deploy(t, []).success();
    let head = product.backend.commit(&[("content", "bad")], "Bad");
    t.xp(["build"]).success();
    let bad = pinned(t, "zbackend", &head);
    let digest = bad.split_once('@').expect("a digest").1;
    namespace.rollouts_of(digest, Outcome::PullFails);
    deploy(t, [])
        .failure(1)
        .stderr_contains("error: deployment/zbackend: rollout: cannot roll out deployment/zbackend")
        .stderr_contains("ImagePullBackOff")
        .stderr_contains("kubectl --context full --namespace ")
        .stderr_contains("error: 1 of 2 workloads did not roll out in staging")
        .stderr_contains("applied: ")
        .stderr_contains("deployment.apps/zbackend")
        .stderr_contains("hint: `xp deploy staging --rollback` rolls back to deploy 1 of ");
    assert_eq!(record(&namespace)[0]["state"], "failed");
    assert_eq!(running(&namespace, "zbackend"), bad);
    deploy(t, ["zfrontend"]).failure(2).stderr_contains(
        "deploy 2 of staging failed, so the running version of zbackend is unknown",
    );
    // The failed one was applied, so it is what changes.
    deploy(t, ["--rollback"])
        .success()
        .stdout_contains("rolls back to deploy 1 of ")
        .stdout_contains("compared with deploy 2, which failed")
        .stdout_contains("zbackend  moved")
        .stdout_contains("deploy 3 of staging finished");
    assert_eq!(running(&namespace, "zbackend"), before);
    assert_eq!(record(&namespace)[0]["state"], "deployed");
}

fn a_rollout_timeout_is_reported(t: &Context) {
    let (_product, namespace) = built(t);
    namespace.rollouts_of("zbackend", Outcome::Hangs);
    deploy(t, ["--timeout", "2s"])
        .failure(1)
        .stderr_contains("timed out")
        .stderr_contains("hint: no earlier deploy to roll back to");
    assert_eq!(record(&namespace)[0]["state"], "failed");
}

fn a_rejection_by_the_cluster_is_reported(t: &Context) {
    t.requires_own_cluster();
    let (product, namespace) = built(t);
    let restricted = section(namespace.name()).replace("context: full", "context: restricted");
    manifest(t, &product, &restricted);
    deploy(t, [])
        .failure(3)
        .stderr_contains("Forbidden: ")
        .stderr_contains("hint: `kubectl auth can-i --list`");
    assert!(namespace.objects("services").is_empty());
    assert!(
        namespace
            .object("configmaps", "xp-deploy-staging")
            .is_none()
    );

    // The server rejects an object although it passed the dry run: half of the objects are applied.
    manifest(t, &product, &section(namespace.name()));
    let quota = Refusal::Late(Duration::from_millis(1500));
    namespace.refuse("PATCH", "services", quota);
    let running = deploy(t, []).spawn();
    wait_until("the record", || {
        namespace
            .object("configmaps", "xp-deploy-staging")
            .is_some()
    });
    namespace.refuse_nothing();
    let quota = Refusal::Forbidden("exceeded quota".to_owned());
    namespace.refuse("PATCH", "deployments", quota);
    let output = running.wait();
    assert_eq!(output.status.code(), Some(3), "{output}");
    output
        .stderr_contains("error: full rejected part of the deploy")
        .stderr_contains("exceeded quota")
        .stderr_contains("applied: service/zbackend");
    assert_eq!(record(&namespace)[0]["state"], "failed");
    namespace.refuse_nothing();
    deploy(t, []).success();
}

fn each_environment_uses_its_own_context(t: &Context) {
    let (product, namespace) = built(t);
    // The current context is another one and must not matter.
    deploy(t, []).success();
    // A relative kubeconfig is relative to the current folder, wherever the manifest is.
    let file = t.home().join(".kube/config");
    fs::copy(file, t.dir().join("k8s/config")).expect("a copy");
    deploy(t, [])
        .dir(t.dir().join("k8s"))
        .env("KUBECONFIG", "config")
        .success()
        .stdout_contains("up to date");
    let unknown = section(namespace.name()).replace("context: full", "context: ful");
    manifest(t, &product, &unknown);
    deploy(t, [])
        .failure(3)
        .stderr_contains(
            "your kubeconfig has no context `ful`, which environment `staging` requires",
        )
        .stderr_contains("hint: did you mean `full`?");
    let nowhere = section(namespace.name()).replace("context: full", "context: other");
    manifest(t, &product, &nowhere);
    deploy(t, [])
        .failure(3)
        .stderr_contains("hint: run `kubectl cluster-info`");
}

fn conflicting_fields_are_taken_over_only_if_requested(t: &Context) {
    let (_product, namespace) = built(t);
    deploy(t, []).success();
    let name = format!("--namespace={}", namespace.name());
    let scale = "{apiVersion: v1, kind: Service, metadata: {name: zbackend}, spec: {selector: {app: other}}}";
    t.kubectl(["apply", "--server-side", "--filename=-", "--context=full"])
        .arg(&name)
        .arg("--field-manager=somebody")
        .arg("--force-conflicts")
        .stdin(scale)
        .success();
    let text = t
        .read("k8s/base/all.yaml")
        .replace("port: 80", "port: 8080");
    t.write("k8s/base/all.yaml", &text);
    deploy(t, [])
        .failure(3)
        .stderr_contains("somebody")
        .stderr_contains("hint: take over these fields with `--force-conflicts`");
    assert_eq!(record(&namespace).len(), 1);
    deploy(t, ["--force-conflicts"]).success();
}

fn an_interrupt_is_recorded(t: &Context) {
    let (product, namespace) = built(t);
    deploy(t, []).success();
    let before = running(&namespace, "zbackend");
    product.backend.commit(&[("content", "newer")], "Newer");
    t.xp(["build"]).success();
    namespace.rollouts_of("zbackend", Outcome::Hangs);
    let mut deploying = deploy(t, []).spawn();
    deploying.wait_for_output("deployment/zbackend");
    deploying.signal(Signal::INT);
    let output = deploying.wait();
    assert_eq!(output.status.code(), Some(130), "{output}");
    output
        .stderr_contains("error: the deploy to staging was interrupted")
        .stderr_contains("applied: ")
        .stderr_contains("`xp deploy staging --rollback` rolls back to deploy 1");
    assert_eq!(record(&namespace)[0]["state"], "interrupted");
    namespace.rollouts_of("zbackend", Outcome::Succeeds);
    deploy(t, ["--rollback"]).success();
    assert_eq!(running(&namespace, "zbackend"), before);
}

fn an_unrecorded_result_is_an_error(t: &Context) {
    let (product, namespace) = built(t);
    namespace.rollouts_of("zbackend", Outcome::Hangs);
    let mut deploying = deploy(t, []).spawn();
    deploying.wait_for_output("deployment/zbackend");
    let refusal = Refusal::Forbidden("exceeded quota".to_owned());
    namespace.refuse("PUT", "configmaps", refusal);
    namespace.rollouts_of("zbackend", Outcome::Succeeds);
    let output = deploying.wait();
    assert_eq!(output.status.code(), Some(3), "{output}");
    output
        .stderr_contains("error: deploy 1 of staging was rolled out, but its record in the cluster")
        .stderr_contains("exceeded quota")
        .stderr_contains("hint: `xp deploy staging` updates the record");
    namespace.refuse_nothing();
    deploy(t, []).success();
    assert_eq!(record(&namespace)[0]["state"], "deployed");
    // A failure that may not recur is retried.
    product.backend.commit(&[("content", "newer")], "Newer");
    t.xp(["build"]).success();
    namespace.rollouts_of("zbackend", Outcome::Hangs);
    let mut deploying = deploy(t, []).spawn();
    deploying.wait_for_output("deployment/zbackend");
    let written = || {
        let requests = namespace.requests();
        let written = requests.iter();
        written
            .filter(|it| it.method == "PUT" && it.path.contains("configmaps"))
            .count()
    };
    let before = written();
    namespace.refuse("PUT", "configmaps", Refusal::Unavailable);
    namespace.rollouts_of("zbackend", Outcome::Succeeds);
    wait_until("an attempt", || written() > before);
    namespace.refuse_nothing();
    let output = deploying.wait();
    assert_eq!(output.status.code(), Some(0), "{output}");
    assert_eq!(record(&namespace)[0]["state"], "deployed");
}

fn a_killed_deploy_is_detected(t: &Context) {
    let (_product, namespace) = built(t);
    namespace.rollouts_of("zbackend", Outcome::Hangs);
    let mut deploying = deploy(t, []).spawn();
    deploying.wait_for_output("deployment/zbackend");
    deploying.kill();
    assert_eq!(record(&namespace)[0]["state"], "deploying");
    namespace.rollouts_of("zbackend", Outcome::Succeeds);
    // From elsewhere, it is unknown that the deploy is dead.
    let elsewhere = t.folder().join("elsewhere");
    deploy(t, [])
        .env("XP_CACHE_DIR", &elsewhere)
        .failure(3)
        .stderr_contains(" has been deploying to staging since ")
        .stderr_contains("hint: wait for it to finish, or use `--take-over` if it was killed");
    // In the same folder, it is known.
    deploy(t, []).success();
    let deploys = record(&namespace);
    assert_eq!(deploys[0]["state"], "deployed");
    assert_eq!(deploys[1]["state"], "interrupted");
}

fn concurrent_deploys_are_detected(t: &Context) {
    let (_product, namespace) = built(t);
    namespace.rollouts_of("zbackend", Outcome::Hangs);
    let mut first = deploy(t, []).env("USER", "ann").spawn();
    first.wait_for_output("deployment/zbackend");
    let elsewhere = t.folder().join("elsewhere");
    deploy(t, [])
        .env("XP_CACHE_DIR", &elsewhere)
        .failure(3)
        .stderr_contains("error: ann@");
    namespace.rollouts_of("zbackend", Outcome::Succeeds);
    assert_eq!(first.wait().status.code(), Some(0));
    deploy(t, [])
        .env("XP_CACHE_DIR", &elsewhere)
        .success()
        .stdout_contains("is up to date");
}

fn an_environment_is_compared_with_a_lock(t: &Context) {
    let (product, _namespace) = built(t);
    t.xp(["lock"]).success();
    t.xp(["diff", "staging"])
        .failure(2)
        .stderr_contains("nothing has been deployed to staging yet");
    deploy(t, ["--locked"]).success();
    t.xp(["diff", "staging"])
        .success()
        .stdout_contains("staging and x-platform.lock are identical");
    t.git(".", &["init", "--quiet"]);
    t.xp(["diff", "stagin"])
        .failure(2)
        .stderr_contains("did you mean `staging`?");
    let before = product.backend.head();
    let head = product
        .backend
        .commit(&[("content", "newer")], "Make it newer");
    t.xp(["build"]).success();
    t.xp(["lock"]).success();
    t.xp(["diff", "staging", "x-platform.lock"])
        .success()
        .stdout_contains(&format!("{}..{}", &before[..8], &head[..8]))
        .stdout_contains("Make it newer");
    // A service that is not deployed there is no difference.
    let objects = t.read("k8s/base/all.yaml");
    t.write(
        "k8s/base/all.yaml",
        &objects.replace("reference: zfrontend", "reference: other"),
    );
    deploy(t, ["--locked"]).success();
    t.xp(["diff", "staging"])
        .success()
        .stderr_contains("staging references no image of zfrontend: not compared")
        .stdout_contains("staging and x-platform.lock are identical");
    // A file with that name takes precedence.
    fs::copy(t.dir().join("x-platform.lock"), t.dir().join("staging")).expect("a file");
    t.xp(["diff", "staging"])
        .success()
        .stdout_contains("are identical");
}

fn secrets_are_never_logged(t: &Context) {
    let (product, namespace) = built(t);
    let overlay = t.read("k8s/overlays/staging/kustomization.yaml");
    let generator =
        "secretGenerator:\n- {name: login, literals: [password=canary-5522], files: [key.pem]}\n";
    t.write(
        "k8s/overlays/staging/kustomization.yaml",
        &(overlay + generator),
    );
    t.write("k8s/overlays/staging/key.pem", "canary-begin\ncanary-key\n");
    let hidden = |text: &str| {
        // The last one is the prefix of every token in a kubeconfig.
        for canary in ["canary", "Y2FuYXJ5", "token-of-"] {
            assert!(!text.contains(canary), "{canary}: {text}");
        }
    };
    let quiet = |output: crate::output::Output| {
        hidden(&output.stdout);
        hidden(&output.stderr);
    };
    quiet(deploy(t, ["--dry-run", "-v"]).success());
    quiet(deploy(t, ["-v"]).success());
    product.backend.commit(&[("content", "newer")], "Newer");
    quiet(deploy(t, ["--build", "-v", "--format", "json"]).success());
    // A server that quotes the request.
    let secret = namespace.objects("secrets").into_iter().next();
    let secret = secret.expect("a Secret");
    let data = secret["data"]["password"]
        .as_str()
        .expect("a text")
        .to_owned();
    let quoted = format!("webhook says: {data} is canary-5522, with canary-key");
    namespace.refuse("PATCH", "secrets", Refusal::Forbidden(quoted));
    let refused = deploy(t, ["-v"]).failure(3).stderr_contains("***");
    quiet(refused);
    namespace.refuse_nothing();
    // Explicitly requested output is unchanged.
    deploy(t, ["--render"])
        .success()
        .stdout_contains("Y2FuYXJ5");
    let kept = [
        ".xp/logs",
        ".xp/deploy/staging/record.json",
        ".xp/deploy/staging/overlay",
    ];
    for path in kept {
        let walk = walkdir::WalkDir::new(t.dir().join(path));
        for entry in walk
            .into_iter()
            .flatten()
            .filter(|it| it.file_type().is_file())
        {
            let bytes = fs::read(entry.path()).expect("a file");
            hidden(&String::from_utf8_lossy(&bytes));
        }
    }
}

fn a_deploy_can_use_kubectl_from_the_builder(t: &Context) {
    let (product, namespace) = built(t);
    write_builder(t);
    let nothing = t.folder().join("nothing");
    // Its kubeconfig is read-only there, and the cluster is on this machine's loopback interface.
    deploy(t, [])
        .env("PATH", &nothing)
        .success()
        .stdout_contains("3 objects to create")
        .stdout_contains("deploy 1 of staging finished");
    let head = product.backend.head();
    assert_eq!(
        running(&namespace, "zbackend"),
        pinned(t, "zbackend", &head)
    );
    namespace.rollouts_of("zbackend", Outcome::Hangs);
    product.backend.commit(&[("content", "newer")], "Newer");
    t.xp(["build"]).success();
    let mut deploying = deploy(t, []).env("PATH", &nothing).spawn();
    deploying.wait_for_output("deployment/zbackend");
    deploying.signal(Signal::INT);
    assert_eq!(deploying.wait().status.code(), Some(130));
    assert_eq!(record(&namespace)[0]["state"], "interrupted");
    assert!(t.containers().is_empty(), "no container is left");
}
