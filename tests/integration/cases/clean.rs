//! `xp clean`: what is removed from registries, the engine and the cache folder, and above all what is not.

use std::collections::BTreeSet;
use std::fs;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Instant;

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::deploy_render::product;
use super::kill::{Kill, number};
use super::needed_images::Platform;
use crate::case::Case;
use crate::context::Context;
use crate::output::Output;
use crate::random::Random;
use crate::repository::GitRepository;
use crate::schema::assert_follows;
use crate::world::{Access, Fault, Gateway, Refusal, Registry, RegistryKind, Reply};
use crate::xp::Xp;

pub const CASES: &[Case] = cases![
    unused_images_are_removed_with_reasons,
    images_that_xp_built_are_kept_with_what_they_need,
    locks_of_all_branches_and_tags_keep_images,
    an_incomplete_clone_of_the_platform_stops,
    clusters_keep_what_they_run_and_ran,
    a_cluster_that_does_not_respond_stops,
    a_registry_without_deletion_is_reported,
    a_login_without_permission_is_reported,
    tags_are_listed_in_pages,
    a_missing_page_stops,
    indexes_and_signatures_share_the_fate_of_images,
    what_the_referrers_api_lists_goes_with_its_image,
    tags_are_removed_where_registries_can,
    a_saved_plan_is_carried_out_or_refused,
    an_image_that_is_tagged_meanwhile_stays,
    a_fault_at_any_request_damages_nothing,
    a_killed_clean_up_is_finished_by_the_next,
    the_engine_is_cleaned,
    the_cache_folder_is_cleaned,
];

const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";

/// A time that is long ago, and a later one.
const OLD: &str = "2024-01-01T00:00:00Z";
const LATER: &str = "2024-06-01T00:00:00Z";

/// A platform with the service `app` and images made by hand, so that they can be of any age.
struct Shop<'t> {
    t: &'t Context,
    registry: &'t Registry,
    repository: String,
    app: GitRepository,
}

impl<'t> Shop<'t> {
    fn new(t: &'t Context, registry: &'t Registry) -> Self {
        let app = t.git_repo("app");
        app.commit(&[("Dockerfile", "FROM scratch\n")], "Start");
        let shop = Self {
            t,
            registry,
            repository: t.image("app"),
            app,
        };
        shop.manifest(registry.host(), "");
        shop
    }

    /// Writes the manifest with another host of the registry, and more keys.
    fn manifest(&self, host: &str, keys: &str) {
        self.t.manifest(&format!(
            "registry: {host}/{}\nclean: {{keep: {{days: 14, commits: 1, deploys: 1}}}}\n{keys}services:\n  app:\n    \
             dir: src/app\n    git: {{remote: '{}', reference: origin/master}}\n    docker: {{image: app}}\n",
            self.t.prefix(),
            self.app.url_file(),
        ));
    }

    fn config(&self, commit: &str, branch: &str, created: &str) -> Value {
        let labels = json!({
            "x-platform.service": "app",
            "x-platform.recipe": "{\"version\":1,\"inputs\":{}}",
            "org.opencontainers.image.revision": commit,
            "org.opencontainers.image.version": branch,
            "org.opencontainers.image.created": created,
        });
        let config = json!({
            "created": created, "architecture": "amd64", "os": "linux",
            "config": {"Labels": labels}, "rootfs": {"type": "layers", "diff_ids": []},
        });
        self.blob(OCI_CONFIG, &config.to_string())
    }

    fn blob(&self, media_type: &str, text: &str) -> Value {
        self.registry
            .put_blob(&self.repository, media_type, text.as_bytes())
    }

    /// Puts a manifest under each of the tags, or without a tag, and returns its digest.
    fn put(&self, manifest: &Value, tags: &[&str]) -> String {
        let digest = format!(
            "sha256:{}",
            hex::encode(Sha256::digest(manifest.to_string()))
        );
        if tags.is_empty() {
            self.registry
                .put_manifest(&self.repository, &digest, manifest);
        }
        for tag in tags {
            self.registry.put_manifest(&self.repository, tag, manifest);
        }
        digest
    }

    fn image(&self, commit: &str, branch: &str, created: &str, tags: &[&str]) -> String {
        let manifest = json!({
            "schemaVersion": 2, "mediaType": OCI_MANIFEST,
            "config": self.config(commit, branch, created),
            "layers": [self.blob(LAYER, "a layer")],
        });
        self.put(&manifest, tags)
    }

    /// Puts an old image of a commit with its usual tags.
    fn old(&self, number: usize) -> String {
        let commit = commit(number);
        self.image(&commit, "master", OLD, &[&commit, &identity(&commit)])
    }

    fn clean<const N: usize>(&self, arguments: [&str; N]) -> Xp {
        self.t.xp(["clean", "--registry"]).args(arguments)
    }

    fn has(&self, digest: &str) -> bool {
        self.registry
            .manifests(&self.repository)
            .iter()
            .any(|it| it == digest)
    }

    fn everything(&self) -> (Vec<String>, Vec<String>) {
        let tags = self.registry.all_tags(&self.repository);
        let present = |tag: &String| {
            self.registry
                .manifest_digest(&self.repository, tag)
                .is_some()
        };
        let tags = tags.into_iter().filter(present).collect();
        (self.registry.manifests(&self.repository), tags)
    }

    /// The current commit's image, which is kept, and two old ones.
    fn stocked(&self) -> [String; 3] {
        let head = self.app.head();
        let tip = self.image(&head, "master", LATER, &[&head, &identity(&head), "master"]);
        [tip, self.old(1), self.old(2)]
    }
}

fn commit(number: usize) -> String {
    format!("{number:040x}")
}

fn identity(commit: &str) -> String {
    format!("{commit}-0123456789ab")
}

fn items(output: &Output) -> Vec<Value> {
    let document: Value = serde_json::from_str(&output.stdout).expect("JSON");
    document["items"].as_array().expect("items").clone()
}

/// Returns the reason of an item.
fn reason(items: &[Value], digest: &str) -> String {
    let item = items
        .iter()
        .find(|item| item["name"] == digest && item["action"] != "untag");
    let item = item.unwrap_or_else(|| panic!("{digest} is not in {items:#?}"));
    format!(
        "{}: {}",
        item["action"].as_str().unwrap(),
        item["reason"].as_str().unwrap()
    )
}

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

fn a_registry_without_deletion_is_reported(t: &Context) {
    let registry = t.own_registry(RegistryKind::NoDeletion);
    let shop = Shop::new(t, &registry);
    shop.stocked();
    let before = shop.everything();
    shop.clean([]).success().stdout_contains("2 to remove");
    shop.clean(["--delete"])
        .failure(3)
        .stderr_contains("does not delete images")
        .stderr_contains("nothing was removed")
        .stderr_contains("REGISTRY_STORAGE_DELETE_ENABLED=true");
    assert_eq!(shop.everything(), before);
}

fn a_login_without_permission_is_reported(t: &Context) {
    let shop = Shop::new(t, t.registry());
    shop.stocked();
    let before = shop.everything();
    let host = shop.registry.host().to_owned();
    let denied = Gateway::before(&host, |incoming| match incoming.method.as_str() {
        "DELETE" => Reply::error(403, "DENIED", "requested access to the resource is denied"),
        _ => Reply::Forward,
    });
    shop.manifest(denied.host(), "");
    shop.clean(["--delete"])
        .failure(3)
        .stderr_contains("to delete images of")
        .stderr_contains("hint: log in as a user who may delete images");
    let scope = Gateway::before(&host, |incoming| match incoming.method.as_str() {
        "DELETE" => {
            let challenge = "Basic realm=\"x\", error=\"insufficient_scope\"".to_owned();
            Reply::Response(401, vec![("WWW-Authenticate", challenge)], String::new())
        }
        _ => Reply::Forward,
    });
    shop.manifest(scope.host(), "");
    shop.clean(["--delete"])
        .failure(3)
        .stderr_contains("to delete images of");
    assert_eq!(shop.everything(), before);
}

/// Adds many tags to an image directly, and returns all tags of the repository.
fn many_tags(shop: &Shop<'_>, digest: &str, count: usize) -> Vec<String> {
    for number in 0..count {
        let tag = format!("{}-{number:012x}", commit(2));
        shop.registry.link_tag(&shop.repository, &tag, digest);
    }
    shop.registry.all_tags(&shop.repository)
}

/// Lists tags in pages of 1000, as registries do that are newer than Debian's.
fn pages(
    tags: Vec<String>,
    link: impl Fn(&str) -> String + Send + Sync + 'static,
) -> impl Fn(&str) -> Option<Reply> {
    move |path: &str| {
        let (list, query) = path.split_once('?')?;
        if !list.ends_with("/tags/list") {
            return None;
        }
        let last = query
            .split('&')
            .find_map(|part| part.strip_prefix("last="))
            .unwrap_or("");
        let page: Vec<&String> = tags
            .iter()
            .filter(|tag| tag.as_str() > last)
            .take(1000)
            .collect();
        let mut headers = vec![("Content-Type", "application/json".to_owned())];
        if let Some(end) = page.last().filter(|end| Some(**end) != tags.last()) {
            let url = format!("{list}?n=1000&last={end}");
            headers.push(("Link", format!("<{}>; rel=\"next\"", link(&url))));
        }
        Some(Reply::Response(
            200,
            headers,
            json!({"name": "x", "tags": page}).to_string(),
        ))
    }
}

/// The number of tags in a repository with many.
fn tag_count() -> usize {
    match std::env::var("XP_SCALE").as_deref() {
        Ok("full") => 20_000,
        _ => 2_500,
    }
}

fn tags_are_listed_in_pages(t: &Context) {
    let registry = t.own_registry(RegistryKind::Open);
    let shop = Shop::new(t, &registry);
    let [_, _, second] = shop.stocked();
    let tags = many_tags(&shop, &second, tag_count());
    let upstream = registry.host().to_owned();
    let removed = |host: &str| {
        shop.manifest(host, "");
        let output = shop.clean(["--format", "json"]).success();
        let found = items(&output);
        let item = found
            .iter()
            .find(|item| item["name"] == second.as_str())
            .expect("the image");
        assert_eq!(item["action"], "remove");
        item["tags"].as_array().expect("tags").len()
    };
    let expected = tag_count() + 2;
    // Debian's registry sends all at once.
    assert_eq!(removed(&upstream), expected);
    let links: [fn(&str) -> String; 2] = [
        |url| url.to_owned(),
        // A proxy does not know its own name.
        |url| format!("https://registry.internal:5000{url}"),
    ];
    for link in links {
        let list = pages(tags.clone(), link);
        let gateway = Gateway::before(&upstream, move |incoming| {
            list(&incoming.path).unwrap_or(Reply::Forward)
        });
        assert_eq!(removed(gateway.host()), expected);
        let lists = gateway
            .requests()
            .iter()
            .filter(|it| it.path.contains("/tags/list"))
            .count();
        assert_eq!(lists, 1 + tags.len() / 1000);
    }
}

fn a_missing_page_stops(t: &Context) {
    let registry = t.own_registry(RegistryKind::Open);
    let shop = Shop::new(t, &registry);
    let [_, _, second] = shop.stocked();
    let tags = many_tags(&shop, &second, 1_500);
    let before = shop.everything();
    let faults: [fn() -> Reply; 4] = [
        || Reply::status(429),
        || Reply::status(404),
        || Reply::json(200, "{\"tags\": [\"a\""),
        || Reply::Broken(Fault::Reset),
    ];
    for fault in faults {
        let list = pages(tags.clone(), str::to_owned);
        let gateway = Gateway::before(registry.host(), move |incoming| {
            match list(&incoming.path) {
                Some(_) if incoming.path.contains("last=") => fault(),
                page => page.unwrap_or(Reply::Forward),
            }
        });
        shop.manifest(gateway.host(), "");
        shop.clean(["--delete"]).env("XP_RETRIES", "1").failure(3);
        assert_eq!(shop.everything(), before);
    }
    // A list that leads to itself.
    let gateway = Gateway::before(registry.host(), |incoming| {
        if !incoming.path.contains("/tags/list") {
            return Reply::Forward;
        }
        let link = vec![("Link", format!("<{}>; rel=next", incoming.path))];
        Reply::Response(200, link, "{\"tags\": [\"a\"]}".to_owned())
    });
    shop.manifest(gateway.host(), "");
    shop.clean(["--delete"])
        .failure(3)
        .stderr_contains("does not end");
    assert_eq!(shop.everything(), before);
}

/// Puts an index of two images without tags, and a signature of it.
fn signed_index(shop: &Shop<'_>, number: usize, shared: &Value) -> [String; 3] {
    let commit = commit(number);
    let manifest = json!({
        "schemaVersion": 2, "mediaType": OCI_MANIFEST,
        "config": shop.config(&commit, "master", OLD), "layers": [],
    });
    let own = shop.put(&manifest, &[]);
    let own = json!({
        "mediaType": OCI_MANIFEST, "digest": own, "size": manifest.to_string().len(),
        "platform": {"os": "linux", "architecture": "amd64"},
    });
    let index = json!({
        "schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [own, shared],
    });
    let digest = shop.put(&index, &[&commit, &identity(&commit)]);
    let signature = json!({
        "schemaVersion": 2, "mediaType": OCI_MANIFEST,
        "config": shop.blob("application/vnd.oci.empty.v1+json", "{}"),
        "layers": [shop.blob("application/x-signature", &format!("of {digest}"))],
    });
    let tag = format!("{}.sig", digest.replace(':', "-"));
    let signature = shop.put(&signature, &[&tag]);
    [
        digest,
        own["digest"].as_str().expect("a digest").to_owned(),
        signature,
    ]
}

fn shared_part(shop: &Shop<'_>) -> Value {
    let manifest = json!({
        "schemaVersion": 2, "mediaType": OCI_MANIFEST,
        "config": shop.config(&commit(9), "master", OLD), "layers": [],
    });
    let digest = shop.put(&manifest, &[]);
    json!({
        "mediaType": OCI_MANIFEST, "digest": digest, "size": manifest.to_string().len(),
        "platform": {"os": "linux", "architecture": "arm64"},
    })
}

fn indexes_and_signatures_share_the_fate_of_images(t: &Context) {
    let shop = Shop::new(t, t.registry());
    let shared = shared_part(&shop);
    let kept = signed_index(&shop, 1, &shared);
    let removed = signed_index(&shop, 2, &shared);
    // Without its tags, only the lock names it.
    for tag in [commit(1), identity(&commit(1))] {
        shop.registry.delete_tag(&shop.repository, &tag);
    }
    t.write("x-platform.lock", &format!("digest: {}\n", kept[0]));
    let output = shop.clean(["--delete", "--format", "json"]).success();
    let found = items(&output);
    assert_eq!(
        reason(&found, &kept[0]),
        "keep: lock x-platform.lock",
        "{output}"
    );
    let mut expected: Vec<String> = kept.to_vec();
    expected.push(shared["digest"].as_str().expect("a digest").to_owned());
    expected.sort();
    assert_eq!(shop.everything().0, expected, "{output}");
    assert!(removed.iter().all(|digest| !shop.has(digest)));
}

/// As in version 1.1 of the specification, in pages of one.
fn what_the_referrers_api_lists_goes_with_its_image(t: &Context) {
    let shop = Shop::new(t, t.registry());
    let [kept, removed, also_removed] = shop.stocked();
    let describe = |subject: &str, what: &str| {
        let manifest = json!({
            "schemaVersion": 2, "mediaType": OCI_MANIFEST,
            "artifactType": "application/x-sbom",
            "config": shop.blob("application/vnd.oci.empty.v1+json", "{}"),
            "layers": [shop.blob("application/x-sbom", what)],
            "subject": {"mediaType": OCI_MANIFEST, "digest": subject, "size": 1},
        });
        shop.put(&manifest, &[])
    };
    let of_kept = describe(&kept, "kept");
    let of_removed = ["one", "two"].map(|what| describe(&removed, what));
    let (subject, listed) = (removed.clone(), of_removed.clone());
    let gateway = Gateway::before(shop.registry.host(), move |incoming| {
        let Some((list, of)) = incoming.path.split_once("/referrers/") else {
            return Reply::Forward;
        };
        let (of, page) = of.split_once("?page=").unwrap_or((of, "0"));
        let page: usize = page.parse().expect("a page");
        let mut headers = vec![("Content-Type", OCI_INDEX.to_owned())];
        if of != subject {
            let index = json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": []});
            return Reply::Response(200, headers, index.to_string());
        }
        if page == 0 {
            let next = format!("<{list}/referrers/{of}?page=1>; rel=\"next\"");
            headers.push(("Link", next));
        }
        let one = json!({"mediaType": OCI_MANIFEST, "digest": listed[page], "size": 1});
        let index = json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [one]});
        Reply::Response(200, headers, index.to_string())
    });
    shop.manifest(gateway.host(), "");
    let output = shop.clean(["--delete"]).success();
    for gone in [&removed, &also_removed, &of_removed[0], &of_removed[1]] {
        assert!(!shop.has(gone), "{gone}: {output}");
    }
    assert!(shop.has(&kept) && shop.has(&of_kept), "{output}");
    let deleted: Vec<String> = gateway
        .requests()
        .into_iter()
        .filter(|it| it.method == "DELETE")
        .map(|it| it.path)
        .collect();
    let position = |digest: &str| deleted.iter().position(|path| path.ends_with(digest));
    let image = position(&removed).expect("it was deleted");
    for referrer in &of_removed {
        assert!(
            position(referrer).expect("it was deleted") < image,
            "{deleted:?}"
        );
    }
}

fn tags_are_removed_where_registries_can(t: &Context) {
    let shop = Shop::new(t, t.registry());
    let [_, locked, _] = shop.stocked();
    let topic = commit(3);
    let topic = shop.image(&topic, "topic", OLD, &[&topic]);
    assert!(shop.has(&topic));
    shop.registry.link_tag(&shop.repository, "topic", &locked);
    t.write("x-platform.lock", &format!("digest: {locked}\n"));
    // Debian's registry cannot.
    let output = shop.clean(["--delete"]).success();
    let output = output.stdout_contains("registry: 2 removed");
    output.stderr_contains("the registry cannot remove single tags");
    assert_eq!(
        shop.registry.manifest_digest(&shop.repository, "topic"),
        Some(locked.clone())
    );
    // It is not tried again.
    shop.clean([]).success().does_not_contain("untag");

    // A registry that can, as in version 1.1 of the specification.
    let [fresh, other] = [4, 5].map(|number| shop.old(number));
    assert!(shop.has(&fresh) && shop.has(&other));
    let topic = commit(6);
    shop.image(&topic, "topic", OLD, &[&topic, &identity(&topic)]);
    let folder = shop.registry.files(&shop.repository);
    let gateway = Gateway::before(shop.registry.host(), move |incoming| {
        let tag = incoming.path.rsplit('/').next().unwrap_or_default();
        if incoming.method != "DELETE" || tag.starts_with("sha256:") {
            return Reply::Forward;
        }
        let tag = folder.join("_manifests/tags").join(tag);
        match fs::remove_dir_all(tag) {
            Ok(()) => Reply::status(202),
            Err(_) => Reply::error(404, "MANIFEST_UNKNOWN", "manifest unknown"),
        }
    });
    shop.manifest(gateway.host(), "");
    let output = shop.clean(["--delete"]).success();
    assert_eq!(
        shop.registry.manifest_digest(&shop.repository, "topic"),
        None,
        "{output}"
    );
    assert!(shop.has(&locked));
    shop.clean(["--delete"])
        .success()
        .stdout_contains("registry: 0 removed");
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

/// A registry with something of every kind, which is restored before each run.
struct Siege<'t> {
    shop: Shop<'t>,
    kept: BTreeSet<String>,
    saved: std::path::PathBuf,
}

impl<'t> Siege<'t> {
    fn new(t: &'t Context) -> Self {
        let shop = Shop::new(t, t.registry());
        let [tip, _, _] = shop.stocked();
        let shared = shared_part(&shop);
        let kept = signed_index(&shop, 3, &shared);
        signed_index(&shop, 4, &shared);
        t.write("x-platform.lock", &format!("digest: {}\n", kept[0]));
        let kept = kept
            .into_iter()
            .chain([tip, shared["digest"].as_str().unwrap().to_owned()]);
        let saved = t.folder().join("saved");
        let files = shop.registry.files(&shop.repository);
        copy(&files, &saved);
        Self {
            kept: kept.collect(),
            shop,
            saved,
        }
    }

    fn reset(&self) {
        let files = self.shop.registry.files(&self.shop.repository);
        fs::remove_dir_all(&files).expect("the files of the repository");
        copy(&self.saved, &files);
        _ = fs::remove_dir_all(self.shop.t.dir().join(".xp"));
    }

    fn demand_kept(&self, story: &str) {
        let found: BTreeSet<String> = self.shop.everything().0.into_iter().collect();
        assert!(self.kept.is_subset(&found), "{story}\n{found:?}");
    }

    fn demand_done(&self, story: &str) {
        let found: BTreeSet<String> = self.shop.everything().0.into_iter().collect();
        assert_eq!(found, self.kept, "{story}");
    }
}

fn copy(from: &std::path::Path, to: &std::path::Path) {
    let mut copy = std::process::Command::new("cp");
    copy.args(["--recursive", "--no-target-directory"])
        .arg(from)
        .arg(to);
    crate::process::succeed(&mut copy);
}

fn a_fault_at_any_request_damages_nothing(t: &Context) {
    let siege = Siege::new(t);
    let failing = Arc::new(Mutex::new((0, None::<usize>)));
    let state = failing.clone();
    let gateway = Gateway::before(siege.shop.registry.host(), move |_| {
        let mut state = state.lock().expect("not poisoned");
        let number = state.0;
        state.0 += 1;
        match state.1 {
            // From then on, as when a registry goes down.
            Some(first) if number >= first => Reply::status(503),
            _ => Reply::Forward,
        }
    });
    siege.shop.manifest(gateway.host(), "");
    let run = |first: Option<usize>| {
        siege.reset();
        *failing.lock().expect("not poisoned") = (0, first);
        let output = siege.shop.clean(["--delete"]).env("XP_RETRIES", "0").run();
        (output, failing.lock().expect("not poisoned").0)
    };
    let (output, requests) = run(None);
    assert!(output.status.success(), "{output}");
    siege.demand_done(&output.to_string());
    let step = match number("XP_TEST_LONG") {
        Some(_) => 1,
        None => requests / 12 + 1,
    };
    for first in (0..requests).step_by(step) {
        let (output, _) = run(Some(first));
        assert_eq!(output.status.code(), Some(3), "request {first}: {output}");
        siege.demand_kept(&format!("request {first}: {output}"));
        *failing.lock().expect("not poisoned") = (0, None);
        let again = siege.shop.clean(["--delete"]).success();
        siege.demand_done(&format!("request {first}: {output}\nthen {again}"));
    }
}

fn a_killed_clean_up_is_finished_by_the_next(t: &Context) {
    let seed = number("XP_KILL_SEED").unwrap_or_else(Random::any_seed);
    eprintln!("clean: XP_KILL_SEED={seed}");
    let mut random = Random::new(seed);
    let siege = Siege::new(t);
    let begun = Instant::now();
    siege.shop.clean(["--delete"]).success();
    let duration = begun.elapsed();
    for _ in 0..number("XP_KILL_COUNT").unwrap_or(8) {
        siege.reset();
        let kill = Kill::any(&mut random, duration);
        let running = siege.shop.clean(["--delete"]).spawn();
        thread::sleep(kill.after);
        kill.carry_out(&running);
        let killed = running.wait();
        siege.demand_kept(&format!("{kill} of {duration:?}: {killed}"));
        let again = siege.shop.clean(["--delete"]).success();
        let story = format!("{kill} of {duration:?}: {killed}\nthen {again}");
        siege.demand_done(&story);
        let more = siege.shop.clean(["--delete"]).success();
        assert!(
            more.stdout.contains("registry: 0 removed"),
            "{story}\nthen {more}"
        );
    }
}

fn the_engine_is_cleaned(t: &Context) {
    let platform = Platform::new(t, None);
    let keep = || {
        let manifest = t.read("x-platform.yml");
        t.manifest(&format!(
            "clean: {{keep: {{days: 0, commits: 0}}}}\n{manifest}"
        ));
    };
    platform.set_output("old");
    t.xp(["build"]).success();
    let old = platform.image("top");
    platform.top.commit(&[("README", "1")], "One");
    t.xp(["build"]).success();
    let used = platform.image("top");
    let container = t.engine().docker([
        "create",
        "--name",
        &format!("{}-c", t.prefix().replace('/', "-")),
        &used,
        "x",
    ]);
    let container = String::from_utf8_lossy(&container.stdout).trim().to_owned();
    platform.top.commit(&[("README", "2")], "Two");
    t.xp(["build"]).success();
    let named = format!("{}:mine", t.image("top"));
    let foreign = platform.image("top");
    t.engine().tag(&foreign, &named);
    platform.top.commit(&[("README", "3")], "Three");
    t.xp(["build"]).success();
    keep();
    let shown = t.xp(["clean", "--engine"]).success();
    let shown = shown.stdout_contains("nothing names it");
    let shown = shown.stdout_contains("engine: 1 to remove");
    assert!(t.engine().image(&old).is_some(), "{shown}");
    let done = t.xp(["clean", "--engine", "--delete"]).success();
    assert!(t.engine().image(&old).is_none(), "{done}");
    for image in [
        &used,
        &foreign,
        &named,
        &platform.image("top"),
        &platform.image("base"),
    ] {
        assert!(t.engine().image(image).is_some(), "{image}: {done}");
    }
    t.xp(["clean", "--engine", "--delete"])
        .success()
        .stdout_contains("engine: 0 removed");
    let plan = t.xp(["plan"]).success();
    assert!(!plan.stdout.contains(" build "), "{plan}");
    t.engine().docker(["rm", &container]);
}

fn the_cache_folder_is_cleaned(t: &Context) {
    let platform = Platform::new(t, None);
    platform.set_output("x");
    t.xp(["build"]).success();
    t.write(".xp/build/former/file", "x");
    t.write(".xp/cache/former/go-1/file", "x");
    t.write(".xp/clone/z/file", "x");
    t.write(".xp/unknown/file", "x");
    t.write("src/former/file", "mine");
    let shown = t.xp(["clean", "--cache"]).success();
    let shown = shown.stdout_contains("build/former");
    let shown = shown.stdout_contains("of the service former, which is not in the manifest");
    shown.stdout_contains("cache: 3 to remove");
    assert!(t.exists(".xp/build/former/file"));
    let doctor = t.xp(["doctor", "--offline", "-v"]).run();
    assert!(
        doctor.stdout.contains("`xp clean --cache` shows it"),
        "{doctor}"
    );
    t.xp(["clean", "--cache", "--delete"])
        .success()
        .stdout_contains("cache: 3 removed");
    for gone in [".xp/build/former", ".xp/cache/former", ".xp/clone/z"] {
        assert!(!t.exists(gone), "{gone}");
    }
    for kept in [
        ".xp/build/base",
        ".xp/logs/1",
        ".xp/unknown/file",
        "src/former/file",
    ] {
        assert!(t.exists(kept), "{kept}");
    }
    t.xp(["clean", "--cache", "--delete"])
        .success()
        .stdout_contains("cache: 0 removed");
    // By size: nothing may stay, but the last run does.
    let manifest = t.read("x-platform.yml");
    t.manifest(&format!("clean: {{cache: {{size: 0}}}}\n{manifest}"));
    t.xp(["clean", "--cache", "--delete"])
        .success()
        .stdout_contains("the cache is larger than 0 bytes");
    assert!(!t.exists(".xp/build/base") && t.exists(".xp/logs/1"));
    let build = t.xp(["build"]).success();
    assert!(!build.stdout.contains(" built "), "{build}");
}
