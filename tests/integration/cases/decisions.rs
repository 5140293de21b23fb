//! The decision table; each row is tested with a real registry and a real engine.

use std::fs;

use serde_json::{Value, json};

use crate::case::Case;
use crate::cases::small;
use crate::context::Context;
use crate::process;
use crate::repository::GitRepository;
use crate::world::{Registry, Request};

pub const CASES: &[Case] = cases![
    a_missing_image_is_built_and_pushed,
    an_existing_image_is_skipped,
    an_image_only_in_the_registry_is_pulled,
    an_image_only_in_the_engine_is_pushed,
    without_a_registry_only_the_engine_matters,
    no_push_keeps_the_image_in_the_engine,
    force_rebuilds_only_the_selected_services,
    a_branch_that_moved_back_gets_its_tag_without_an_upload,
    additional_tags_are_set_in_registry_and_engine,
    a_branch_with_a_slash_has_a_unique_tag,
    a_git_tag_becomes_an_image_tag,
    images_of_other_tools_are_reused_in_any_format,
    no_tag_can_replace_the_image_of_a_commit,
    a_service_can_have_only_one_reference,
];

/// One service in the shared registry.
struct OneService<'t> {
    t: &'t Context,
    registry: &'t Registry,
    repository: GitRepository,
    image: String,
}

impl<'t> OneService<'t> {
    fn new(t: &'t Context) -> Self {
        let one = Self {
            t,
            registry: t.registry(),
            repository: small::repository(t, "zbackend"),
            image: t.image("zbackend"),
        };
        small::platform(t, one.registry.host(), &[("zbackend", &one.repository)]);
        one
    }

    /// Returns the image's name in the engine.
    fn in_engine(&self, tag: &str) -> String {
        format!("{}/{}:{tag}", self.registry.host(), self.image)
    }

    /// Returns the tags that the engine has.
    fn engine_tags(&self) -> Vec<String> {
        let names = self.t.engine().images_with_prefix(&self.in_engine(""));
        let tag = |name: &String| name.rsplit(':').next().expect("a tag").to_owned();
        names.iter().map(tag).collect()
    }

    fn registry_tags(&self) -> Vec<String> {
        self.registry.tags(&self.image)
    }

    fn digest(&self, tag: &str) -> String {
        let digest = self.registry.manifest_digest(&self.image, tag);
        digest.unwrap_or_else(|| panic!("the registry has no {tag}"))
    }

    fn forget_in_engine(&self) {
        for tag in self.engine_tags() {
            self.t.engine().remove_image(&self.in_engine(&tag));
        }
    }

    fn forget_in_registry(&self) {
        let identities = self.registry.identity_tags(&self.image);
        for tag in self.registry_tags().into_iter().chain(identities) {
            self.registry.delete_tag(&self.image, &tag);
        }
    }
}

fn sorted<const N: usize>(tags: [&str; N]) -> Vec<String> {
    let mut tags = tags.map(str::to_owned).to_vec();
    tags.sort();
    tags
}

fn a_missing_image_is_built_and_pushed(t: &Context) {
    let one = OneService::new(t);
    let commit = one.repository.head();
    let mark = one.registry.mark();
    let build = t.xp(["build"]).success();
    build
        .stdout_contains("built")
        .stdout_contains("  new commit  ");

    assert_eq!(one.registry_tags(), sorted([&commit, "master"]));
    assert_eq!(one.engine_tags(), sorted([&commit, "master"]));
    assert_eq!(one.digest(&commit), one.digest("master"));
    let labels = one.registry.labels(&one.image, &commit);
    assert_eq!(labels["org.opencontainers.image.revision"], commit);
    assert_eq!(labels["org.opencontainers.image.version"], "master");
    // The commit's tag comes first: a branch's tag never refers to an image that has no commit tag.
    let requests = t.own_requests(one.registry.requests_since(mark));
    let puts = requests.iter().filter(|request| {
        request.method == "PUT" && request.path.contains("/manifests/") && request.status == 201
    });
    let tags: Vec<&str> = puts
        .filter_map(|request| request.path.rsplit('/').next())
        .collect();
    let identity = one.registry.identity_tags(&one.image).concat();
    assert_eq!(one.digest(&identity), one.digest(&commit));
    assert_eq!(tags, [commit.as_str(), identity.as_str(), "master"]);
}

/// Returns the test's requests. Podman does not record which manifest a push created in the registry, so xp
/// reads the image's labels there; those two requests are left out.
fn without_labels(t: &Context, requests: Vec<Request>) -> Vec<Request> {
    let mut requests = t.own_requests(requests);
    if t.engine().product().is_podman() {
        requests.retain(|request| request.method != "GET" || !request.path.contains("/sha256:"));
    }
    requests
}

fn an_existing_image_is_skipped(t: &Context) {
    let one = OneService::new(t);
    t.xp(["build"]).success();
    let mark = one.registry.mark();
    let build = t.xp(["build"]).success();
    build
        .stdout_contains("skipped")
        .stdout_contains("in the registry and the engine");
    let requests = without_labels(t, one.registry.requests_since(mark));
    assert!(
        requests.iter().all(|request| request.method == "HEAD"),
        "{requests:?}"
    );
    t.xp(["plan"]).success().stdout_contains("Nothing to do");
}

fn an_image_only_in_the_registry_is_pulled(t: &Context) {
    let one = OneService::new(t);
    let commit = one.repository.head();
    t.xp(["build"]).success();
    one.forget_in_engine();
    fs::remove_dir_all(t.dir().join("src")).expect("the working copy");

    let skip = t.xp(["build", "--no-pull"]).success();
    skip.stdout_contains("skipped");
    assert_eq!(one.engine_tags(), [""; 0]);

    let mark = one.registry.mark();
    let pull = t.xp(["build"]).success();
    pull.stdout_contains("pulled")
        .stdout_contains("in the registry, not in the engine");
    assert_eq!(one.engine_tags(), sorted([&commit, "master"]));
    let requests = t.own_requests(one.registry.requests_since(mark));
    let only_reads = |method: &str| matches!(method, "HEAD" | "GET");
    assert!(
        requests.iter().all(|request| only_reads(&request.method)),
        "{requests:?}"
    );
    assert!(!t.exists("src"), "nothing is cloned for a pull");
}

fn an_image_only_in_the_engine_is_pushed(t: &Context) {
    let one = OneService::new(t);
    let commit = one.repository.head();
    t.xp(["build"]).success();
    let digest = one.digest(&commit);
    one.forget_in_registry();
    fs::remove_dir_all(t.dir().join("src")).expect("the working copy");

    let push = t.xp(["build"]).success();
    push.stdout_contains("pushed")
        .stdout_contains("in the engine, not in the registry");
    assert_eq!(one.registry_tags(), sorted([&commit, "master"]));
    assert_eq!(one.digest(&commit), digest);
    assert!(!t.exists("src"), "nothing is cloned for a push");
}

fn without_a_registry_only_the_engine_matters(t: &Context) {
    let repository = small::repository(t, "zbackend");
    let commit = repository.head();
    small::platform(t, "", &[("zbackend", &repository)]);
    let name = |tag: &str| format!("{}:{tag}", t.image("zbackend"));
    t.xp(["build"]).success().stdout_contains("new commit");
    let names = t.engine().images_with_prefix(t.prefix());
    assert_eq!(names, sorted([&name(&commit), &name("master")]));
    t.xp(["build"]).success().stdout_contains("skipped");
    // A lost tag is set again without a build.
    t.engine().remove_image(&name("master"));
    t.xp(["build"]).success().stdout_contains("tagged");
    assert!(t.engine().image(&name("master")).is_some());
}

fn no_push_keeps_the_image_in_the_engine(t: &Context) {
    let one = OneService::new(t);
    let commit = one.repository.head();
    t.xp(["build", "--no-push"])
        .success()
        .stdout_contains("built");
    assert_eq!(one.engine_tags(), sorted([&commit, "master"]));
    assert_eq!(one.registry_tags(), [""; 0]);
    t.xp(["build", "--no-push"])
        .success()
        .stdout_contains("skipped")
        .stdout_contains("--no-push");
    t.xp(["build"]).success().stdout_contains("pushed");
    assert_eq!(one.registry_tags(), sorted([&commit, "master"]));
}

fn force_rebuilds_only_the_selected_services(t: &Context) {
    let registry = t.registry();
    let services = ["zbackend", "zfrontend"].map(|name| {
        let repository = small::repository(t, name);
        // Each build results in a different image, so the registry shows whether a build took place.
        let more = format!(
            "    dockerBuilder: {{image: '{}'}}\n    scripts:\n      build:\n        - cat /proc/sys/kernel/random/uuid > content\n",
            t.engine().busybox()
        );
        let needs = if name == "zbackend" { "    needs: [zfrontend]\n" } else { "" };
        let service = small::service(t, name, &repository.url_file(), "", &(more + needs));
        (service, repository.head())
    });
    let [(backend, backend_commit), (frontend, frontend_commit)] = services;
    small::manifest(t, registry.host(), &(backend + &frontend));
    let digests = || {
        let digest = |name: &str, tag: &str| registry.manifest_digest(&t.image(name), tag);
        assert_eq!(
            digest("zbackend", &backend_commit),
            digest("zbackend", "master")
        );
        (
            digest("zbackend", &backend_commit).expect("it was pushed"),
            digest("zfrontend", &frontend_commit).expect("it was pushed"),
        )
    };
    t.xp(["build"]).success();
    let before = digests();
    let forced = t.xp(["build", "--force", "zbackend"]).success();
    forced.stdout_contains("--force");
    let after = digests();
    assert_ne!(before.0, after.0);
    assert_eq!(before.1, after.1);
}

fn a_branch_that_moved_back_gets_its_tag_without_an_upload(t: &Context) {
    let one = OneService::new(t);
    let first = one.repository.head();
    t.xp(["build"]).success();
    let second = one.repository.commit(&[("content", "other")], "Second");
    t.xp(["build"]).success();
    assert_eq!(one.digest("master"), one.digest(&second));
    let engine_id = |tag: &str| t.engine().image(&one.in_engine(tag)).expect(tag)["Id"].clone();
    assert_eq!(engine_id("master"), engine_id(&second));

    one.repository.git(&["reset", "--quiet", "--hard", &first]);
    one.repository
        .git(&["push", "--quiet", "--force", "origin", "HEAD:master"]);
    let mark = one.registry.mark();
    let tag = t.xp(["build"]).success();
    tag.stdout_contains("tagged");
    assert_eq!(one.digest("master"), one.digest(&first));
    assert_ne!(one.digest("master"), one.digest(&second));
    assert_eq!(engine_id("master"), engine_id(&first));

    let requests = without_labels(t, one.registry.requests_since(mark));
    let mut asked: Vec<String> = requests
        .iter()
        .map(|request| {
            let last = request.path.rsplit('/').next().unwrap_or_default();
            format!("{} {last}", request.method)
        })
        .collect();
    // The second one is queried before the remote's response shows that it is no longer needed.
    asked[..3].sort();
    let looks = [&first, &second].map(|commit| format!("HEAD {commit}"));
    let mut expected = sorted([&looks[0], &looks[1], "HEAD master"]);
    if !t.engine().product().is_podman() {
        expected.push(format!("GET {}", one.digest(&first)));
    }
    expected.push("PUT master".to_owned());
    assert_eq!(asked, expected, "no blob is asked for or sent");
}

fn additional_tags_are_set_in_registry_and_engine(t: &Context) {
    let registry = t.registry();
    let repository = small::repository(t, "zbackend");
    let commit = repository.head();
    let url = repository.url_file();
    let tags = ", tags: ['build-${{ env.BUILD_NUMBER }}', '${{ service.name }}']";
    let service = small::service(t, "zbackend", &url, tags, "");
    small::manifest(t, registry.host(), &service);
    t.xp(["build"])
        .failure(2)
        .stderr_contains("BUILD_NUMBER")
        .stderr_contains("x-platform.yml:6:");

    let build = t.xp(["build", "--tag", "nightly"]);
    build.env("BUILD_NUMBER", "7").success();
    let image = t.image("zbackend");
    let mut expected = sorted([&commit, "master", "build-7", "zbackend", "nightly"]);
    assert_eq!(registry.tags(&image), expected);

    // The next build number adds a tag to the same image.
    let mark = registry.mark();
    let build = t.xp(["build"]).env("BUILD_NUMBER", "8").success();
    build.stdout_contains("tagged").stdout_contains("build-8");
    expected.push("build-8".to_owned());
    expected.sort();
    assert_eq!(registry.tags(&image), expected);
    let prefix = format!("{}/{image}:", registry.host());
    assert_eq!(t.engine().images_with_prefix(&prefix).len(), expected.len());
    let digest = registry.manifest_digest(&image, &commit);
    for tag in &expected {
        assert_eq!(registry.manifest_digest(&image, tag), digest, "{tag}");
    }
    let requests = without_labels(t, registry.requests_since(mark));
    let is_put = |request: &&Request| request.method == "PUT";
    assert_eq!(requests.iter().filter(is_put).count(), 1, "{requests:?}");
    assert!(
        requests
            .iter()
            .all(|request| !request.path.contains("/blobs/")),
        "{requests:?}"
    );
}

fn a_branch_with_a_slash_has_a_unique_tag(t: &Context) {
    let one = OneService::new(t);
    one.repository.branch("feature/x");
    let commit = one.repository.commit(&[("content", "new")], "Feature");
    t.xp(["build", "--branch", "feature/x"]).success();
    // The digits are from the SHA-1 of the branch's name.
    let tag = "feature-x-45239254";
    assert_eq!(one.registry_tags(), sorted([&commit, tag]));
    assert_eq!(one.digest(tag), one.digest(&commit));
    assert_eq!(one.engine_tags(), sorted([&commit, tag]));
}

fn a_git_tag_becomes_an_image_tag(t: &Context) {
    let one = OneService::new(t);
    let commit = one.repository.head();
    let object = one.repository.annotated_tag("v1.0", "The first");
    one.repository.commit(&[("content", "later")], "Later");
    t.xp(["build", "--reference", "zbackend=v1.0"]).success();
    assert_eq!(one.registry_tags(), sorted([&commit, "v1.0"]));
    assert!(!one.registry_tags().contains(&object));
    let labels = one.registry.labels(&one.image, &commit);
    assert_eq!(labels["org.opencontainers.image.version"], "v1.0");
}

fn images_of_other_tools_are_reused_in_any_format(t: &Context) {
    let one = OneService::new(t);
    let image = one.in_engine("by-docker");
    let mut build = t.engine().client();
    // The classic builder's cache has images of other tests, which remove them.
    build.args(["build", "--quiet", "--no-cache", "--tag", &image]);
    process::succeed(build.arg(one.repository.clone_path()));
    t.engine().docker(["push", "--quiet", &image]);
    t.engine().remove_image(&image);
    let schema2 = one.registry.image_manifest(&one.image, "by-docker");

    // The same layers in the other formats.
    let mut oci = schema2.clone();
    oci["mediaType"] = json!("application/vnd.oci.image.manifest.v1+json");
    oci["config"]["mediaType"] = json!("application/vnd.oci.image.config.v1+json");
    for layer in oci["layers"].as_array_mut().expect("layers") {
        layer["mediaType"] = json!("application/vnd.oci.image.layer.v1.tar+gzip");
    }
    let put = |tag: &str, manifest: &Value| one.registry.put_manifest(&one.image, tag, manifest);
    let described_schema2 = put("by-hand", &schema2);
    let described_oci = put("by-hand-oci", &oci);
    let index = |media_type: &str, described: Value| json!({"schemaVersion": 2, "mediaType": media_type, "manifests": [described]});
    for manifest in [
        oci,
        index("application/vnd.oci.image.index.v1+json", described_oci),
        index(
            "application/vnd.docker.distribution.manifest.list.v2+json",
            described_schema2,
        ),
    ] {
        let media_type = manifest["mediaType"]
            .as_str()
            .expect("a media type")
            .to_owned();
        let commit = one.repository.commit(&[("content", &media_type)], "Next");
        put(&commit, &manifest);
        let build = t.xp(["build"]).success();
        build.stdout_contains("pulled");
        assert!(one.engine_tags().contains(&commit), "{media_type}");
        // The branch's tag has the same manifest, in its own format.
        assert_eq!(one.digest("master"), one.digest(&commit), "{media_type}");
        let plan = t.xp(["plan"]).success();
        plan.stdout_contains("Nothing to do");
    }
    assert!(!t.exists("src"), "nothing was built");
}

fn no_tag_can_replace_the_image_of_a_commit(t: &Context) {
    let registry = t.registry();
    let repository = small::repository(t, "one");
    let first = repository.head();
    let manifest = |tags: &str| {
        let services = small::service(t, "one", &repository.url_http(), tags, "");
        small::manifest(t, registry.host(), &services);
    };
    manifest("");
    t.xp(["build"]).success();
    let image = t.image("one");
    let digest = registry.manifest_digest(&image, &first);
    // Anyone who can push a branch can give it such a name.
    let variant = format!("{first}-TASK-981");
    repository.branch(&variant);
    repository.commit(&[("content", "2")], "Second");
    let branch = format!("one={variant}");
    t.xp(["build", "--reference", &branch]).success();
    assert_eq!(registry.manifest_digest(&image, &variant), None);
    assert_eq!(registry.manifest_digest(&image, &first), digest);
    t.xp(["build", "--reference", &branch, "--tag", &first])
        .failure(2)
        .stderr_contains("would overwrite the image of a commit")
        .stderr_contains("hint: add a prefix");
    manifest(", tags: ['${{ env.OTHER }}']");
    t.xp(["build", "--reference", &branch])
        .env("OTHER", &first)
        .failure(2)
        .stderr_contains("is reserved for the image of another commit");
    // Its own commit does not conflict.
    t.xp(["build"]).env("OTHER", &first).success();
    assert_eq!(registry.manifest_digest(&image, &first), digest);
}

fn a_service_can_have_only_one_reference(t: &Context) {
    let repository = small::repository(t, "one");
    repository.branch("topic");
    let services = small::service(t, "one", &repository.url_http(), "", "");
    small::manifest(t, t.registry().host(), &services);
    let (master, topic) = ("one=master", "one=topic");
    t.xp(["plan", "--reference", master, "--reference", topic])
        .failure(2)
        .stderr_contains("`--reference one=master` conflicts with `--reference one=topic`");
    t.xp(["plan", "--reference", topic, "--reference", topic])
        .success();
}
