//! Provenance, signatures, and their verification, with the real cosign, oras and skopeo.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};

use crate::case::Case;
use crate::compose_project::{ComposePlatform, path as compose_path};
use crate::context::Context;
use crate::output::Output;
use crate::process;
use crate::repository::GitRepository;
use crate::world::{Gateway, Incoming, Registry, RegistryKind, Reply};
use crate::xp::Xp;

pub const CASES: &[Case] = cases![
    provenance_is_attached_without_a_rebuild,
    provenance_names_what_an_image_was_built_from,
    provenance_contains_no_credentials,
    images_and_provenance_are_signed,
    several_signatures_are_supported,
    a_wrong_key_is_recognized,
    a_signature_of_another_image_is_recognized,
    provenance_of_another_commit_is_recognized,
    a_throttled_registry_is_unknown,
    a_registry_with_the_referrers_api_is_supported,
    an_index_is_verified_with_its_platforms,
    locks_are_verified,
    an_unsigned_image_is_built_again,
    a_locked_image_must_verify,
    an_unsigned_image_is_not_deployed,
    a_bill_of_materials_is_attached,
    an_invalid_bill_of_materials_is_an_error,
    unusable_keys_and_programs_are_reported_before_the_build,
];

const PASSWORD: &str = "correct horse";

/// Returns the path of cosign or oras, which bin/setup downloads.
fn tool(name: &str) -> PathBuf {
    let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/supply-tools");
    let file = tools.join(name);
    assert!(
        file.is_file(),
        "there is no {}; bin/test downloads it",
        file.display()
    );
    file
}

fn path() -> String {
    let cosign = tool("cosign");
    let folder = cosign.parent().expect("a folder");
    format!("{}:{}", folder.display(), compose_path())
}

fn with_tools(xp: Xp) -> Xp {
    xp.env("PATH", path()).env("COSIGN_PASSWORD", PASSWORD)
}

fn xp<const N: usize>(t: &Context, arguments: [&str; N]) -> Xp {
    with_tools(t.xp(arguments))
}

fn run<const N: usize>(t: &Context, program: &str, arguments: [&str; N]) -> Xp {
    let program = tool(program);
    with_tools(t.program(program.to_str().expect("UTF-8"), arguments))
}

/// Creates a pair of keys, `<name>.key` and `<name>.pub`.
fn create_keys(t: &Context, name: &str) {
    let create = ["generate-key-pair", "--output-key-prefix", name];
    run(t, "cosign", create).success();
}

/// Writes a manifest with the service `a` and these keys.
fn manifest(t: &Context, host: &str, repository: &GitRepository, supply: &str, more: &str) {
    t.manifest(&format!(
        "registry: {host}\nsupply: {supply}\nservices:\n  a:\n    dir: src/a\n    git: {{remote: '{}'}}\n    \
         docker: {{image: {}}}\n{more}",
        repository.url_http(),
        t.image("a"),
    ));
}

const SIGNED: &str = "{provenance: true, sign: {key: cosign.key, publicKey: cosign.pub}}";

const VERIFIED: &str =
    "{provenance: true, verify: true, sign: {key: cosign.key, publicKey: cosign.pub}}";

/// A platform with one service.
struct Platform<'t> {
    t: &'t Context,
    repository: GitRepository,
    host: String,
}

impl<'t> Platform<'t> {
    fn new(t: &'t Context, host: &str, supply: &str) -> Self {
        let repository = t.built_repo("a");
        create_keys(t, "cosign");
        let platform = Self {
            t,
            repository,
            host: host.to_owned(),
        };
        platform.set(supply);
        platform
    }

    fn set(&self, supply: &str) {
        manifest(self.t, &self.host, &self.repository, supply, "");
    }

    fn xp<const N: usize>(&self, arguments: [&str; N]) -> Xp {
        xp(self.t, arguments)
    }

    fn digest(&self, registry: &Registry) -> String {
        let digest = registry.manifest_digest(&self.t.image("a"), &self.repository.head());
        digest.expect("the image")
    }

    fn image(&self, registry: &Registry) -> String {
        let digest = self.digest(registry);
        format!("{}/{}@{digest}", self.host, self.t.image("a"))
    }

    fn signature_tag(&self, registry: &Registry) -> String {
        format!("{}.sig", self.digest(registry).replace(':', "-"))
    }
}

/// Returns the statement that oras finds at an image.
fn statement(t: &Context, image: &str, kind: &str) -> Value {
    let discover = ["discover", "--plain-http", "--format", "json", image];
    let found = run(t, "oras", discover).success();
    let found: Value = serde_json::from_str(&found.stdout).expect("JSON");
    let manifests = found["manifests"].as_array().expect("a list");
    let mut of_kind = manifests.iter().filter(|it| it["artifactType"] == kind);
    let attached = of_kind.next().unwrap_or_else(|| panic!("{found}"));
    let reference = attached["reference"].as_str().expect("a reference");
    let fetched = run(t, "oras", ["manifest", "fetch", "--plain-http", reference]).success();
    let fetched: Value = serde_json::from_str(&fetched.stdout).expect("JSON");
    let (repository, digest) = image.split_once('@').expect("a digest");
    assert_eq!(fetched["subject"]["digest"], digest);
    let layer = fetched["layers"][0]["digest"].as_str().expect("a layer");
    let layer = format!("{repository}@{layer}");
    let fetch = ["blob", "fetch", "--plain-http", "--output", "-", &layer];
    let document = run(t, "oras", fetch).success();
    serde_json::from_str(&document.stdout).expect("JSON")
}

fn verify(t: &Context) -> Xp {
    xp(t, ["verify"])
}

/// Returns the result of `xp verify` for the service `a`.
fn result(output: &Output) -> String {
    let results: Value = serde_json::from_str(&output.stdout).expect("JSON");
    let result = results["images"][0]["result"].as_str();
    result.expect("a result").to_owned()
}

fn provenance_is_attached_without_a_rebuild(t: &Context) {
    let registry = t.registry();
    let platform = Platform::new(t, registry.host(), "{}");
    platform.xp(["build"]).success();
    let digest = platform.digest(registry);
    platform.set("{provenance: true}");
    // What exists is not built again, and described with the next push.
    platform
        .xp(["plan"])
        .success()
        .does_not_contain("attach provenance");
    platform.xp(["build"]).success();
    assert_eq!(platform.digest(registry), digest);
    verify(t)
        .failure(1)
        .stdout_contains("no provenance")
        .stdout_contains("0 of 1 image verified.")
        .stderr_contains("1 of 1 image does not verify");
    platform.repository.commit(&[("file", "2\n")], "Second");
    let plan = platform.xp(["plan", "--all"]).success();
    plan.stdout_contains("attach provenance");
    let plan = platform.xp(["plan", "--format", "json"]).success();
    let plan: Value = serde_json::from_str(&plan.stdout).expect("JSON");
    let steps = plan["units"][0]["steps"].as_array().expect("steps");
    let phases: Vec<&str> = steps.iter().filter_map(|it| it["phase"].as_str()).collect();
    assert!(
        phases.windows(2).any(|it| it == ["push", "attest"]),
        "{phases:?}"
    );
    platform.xp(["build"]).success();
    verify(t)
        .success()
        .stdout_contains("1 of 1 image verified.");
    // The registry has no referrers API, so the provenance is listed by a tag.
    let tag = platform.digest(registry).replace(':', "-");
    let index = registry.image_manifest(&t.image("a"), &tag);
    assert_eq!(
        index["manifests"][0]["artifactType"],
        "application/vnd.in-toto+json"
    );
    let listed = format!("docker://{}/{}:{tag}", registry.host(), t.image("a"));
    t.program(
        "skopeo",
        ["inspect", "--raw", "--tls-verify=false", &listed],
    )
    .success()
    .stdout_contains("application/vnd.in-toto+json");
    // Forcing a build adds another one, and both are valid.
    platform.xp(["build", "--force"]).success();
    verify(t).success();
}

fn provenance_names_what_an_image_was_built_from(t: &Context) {
    let registry = t.registry();
    let base = t.built_repo("base");
    let repository = t.git_repo("a");
    let dockerfile = format!("FROM {}\nCOPY made /\n", t.engine().busybox());
    repository.commit(&[("Dockerfile", &dockerfile)], "First");
    let builder = t.builder("tools", &format!("FROM {}\n", t.engine().busybox()), &[]);
    t.manifest(&format!(
        "registry: {}\nsupply: {{provenance: true, builder: 'https://ci.example.com/x'}}\nservices:\n  base:\n    \
         dir: src/base\n    git: {{remote: '{}'}}\n    docker: {{image: {}}}\n    supply: {{provenance: false}}\n  \
         a:\n    dir: src/a\n    git: {{remote: '{}', reference: origin/master}}\n    docker: {{image: {}}}\n    \
         dockerBuilder: {{image: {builder}}}\n    scripts: {{build: [touch made]}}\n    needs: [base]\n",
        registry.host(),
        base.url_http(),
        t.image("base"),
        repository.url_http(),
        t.image("a"),
    ));
    t.git(".", &["init", "--quiet"]);
    t.git(
        ".",
        &[
            "remote",
            "add",
            "origin",
            "https://bob:s3cret@git.example.com/platform.git",
        ],
    );
    t.git(".", &["add", "x-platform.yml"]);
    t.git(".", &["commit", "--quiet", "--message", "Start"]);
    let commit = t.git(".", &["rev-parse", "HEAD"]).trim().to_owned();
    xp(t, ["build"]).success();
    let digest = registry.manifest_digest(&t.image("a"), &repository.head());
    let digest = digest.expect("an image");
    let image = format!("{}/{}@{digest}", registry.host(), t.image("a"));
    let statement = statement(t, &image, "application/vnd.in-toto+json");
    assert_eq!(statement["_type"], "https://in-toto.io/Statement/v1");
    assert_eq!(statement["predicateType"], "https://slsa.dev/provenance/v1");
    assert_eq!(
        format!(
            "sha256:{}",
            statement["subject"][0]["digest"]["sha256"]
                .as_str()
                .unwrap()
        ),
        digest
    );
    let definition = &statement["predicate"]["buildDefinition"];
    assert_eq!(definition["externalParameters"]["service"], "a");
    assert_eq!(
        definition["externalParameters"]["reference"],
        "refs/heads/master"
    );
    assert!(
        definition["internalParameters"]["recipe"]
            .as_object()
            .is_some_and(|recipe| recipe.contains_key("scripts.build")),
        "{definition}"
    );
    let dependency = |name: &str| {
        let dependencies = definition["resolvedDependencies"].as_array();
        let mut found = dependencies.expect("a list").iter();
        let found = found.find(|it| it["name"] == name);
        found
            .unwrap_or_else(|| panic!("{name}: {definition}"))
            .clone()
    };
    let source = dependency("source");
    assert_eq!(
        source["uri"],
        format!("git+{}@refs/heads/master", repository.url_http())
    );
    assert_eq!(source["digest"]["gitCommit"], repository.head());
    let manifest = dependency("manifest");
    assert_eq!(manifest["uri"], "git+https://git.example.com/platform.git");
    assert_eq!(manifest["digest"]["gitCommit"], commit);
    assert!(dependency("builder")["digest"]["sha256"].is_string());
    let needed = registry.manifest_digest(&t.image("base"), &base.head());
    assert_eq!(
        format!(
            "sha256:{}",
            dependency("image of base")["digest"]["sha256"]
                .as_str()
                .unwrap()
        ),
        needed.expect("an image")
    );
    let details = &statement["predicate"]["runDetails"];
    assert_eq!(details["builder"]["id"], "https://ci.example.com/x");
    assert!(details["metadata"]["startedOn"].is_string());
    assert!(!statement.to_string().contains("s3cret"));
    verify(t)
        .success()
        .stdout_contains("nothing is required")
        .stdout_contains("1 of 2 images verified.");
}

fn provenance_contains_no_credentials(t: &Context) {
    let registry = t.registry_of(RegistryKind::Auth);
    t.log_in(registry);
    let repository = t.built_repo("a");
    t.manifest(&format!(
        "registry: {}\nsupply: {{provenance: true}}\nservices:\n  a:\n    dir: src/a\n    git: {{remote: '{}'}}\n    \
         docker: {{image: {}, args: {{TOKEN: '${{{{ env.TOKEN }}}}'}}}}\n",
        registry.host(),
        repository.url_http_login(),
        t.image("a"),
    ));
    xp(t, ["build"]).env("TOKEN", "t0ken").success();
    xp(t, ["verify"]).env("TOKEN", "t0ken").success();
    let login = repository.url_http_login();
    let (_, rest) = login.split_once("://").expect("a URL");
    let (login, _) = rest.rsplit_once('@').expect("a login");
    let (_, password) = login.split_once(':').expect("a password");
    let attached = registry.manifests(&t.image("a"));
    assert!(attached.len() >= 3, "{attached:?}");
    for digest in attached {
        let manifest = registry.blob(&digest);
        let manifest: Value = serde_json::from_slice(&manifest).expect("JSON");
        for layer in manifest["layers"].as_array().into_iter().flatten() {
            if layer["mediaType"] == "application/vnd.in-toto+json" {
                let bytes = registry.blob(layer["digest"].as_str().expect("a digest"));
                let text = String::from_utf8_lossy(&bytes).into_owned();
                assert!(
                    !text.contains(password) && !text.contains("t0ken"),
                    "{text}"
                );
            }
        }
    }
}

fn images_and_provenance_are_signed(t: &Context) {
    let registry = t.registry();
    let platform = Platform::new(t, registry.host(), SIGNED);
    let plan = platform.xp(["plan", "--all"]).success();
    plan.stdout_contains("sign with cosign.key");
    platform.xp(["build"]).success().does_not_contain(PASSWORD);
    verify(t)
        .success()
        .stdout_contains("verified")
        .stdout_contains("1 of 1 image verified.");
    // Only the public key is needed.
    fs::remove_file(t.dir().join("cosign.key")).expect("the key");
    verify(t).env_remove("COSIGN_PASSWORD").success();
    let image = platform.image(registry);
    let options = [
        "--key",
        "cosign.pub",
        "--insecure-ignore-tlog=true",
        "--private-infrastructure=true",
        "--allow-insecure-registry=true",
        "--allow-http-registry=true",
    ];
    let mut cosign = run(t, "cosign", ["verify"]).args(options);
    cosign = cosign.arg(&image);
    let verified = cosign.success();
    assert!(
        verified.stdout.contains(&platform.digest(registry)),
        "{verified}"
    );
    let attestation = run(
        t,
        "cosign",
        ["verify-attestation", "--type", "slsaprovenance1"],
    );
    let attestation = attestation.args(options).arg(&image).success();
    let envelope: Value = serde_json::from_str(attestation.stdout.trim()).expect("JSON");
    assert_eq!(envelope["payloadType"], "application/vnd.in-toto+json");
    // The same envelope is a referrer.
    let attached = statement(t, &image, "application/vnd.dsse.envelope.v1+json");
    assert_eq!(attached["payload"], envelope["payload"]);
    // Nothing to do, so nothing is signed again.
    let before = registry.all_tags(&t.image("a"));
    let tag = platform.signature_tag(registry);
    let layers = |registry: &Registry| {
        let manifest = registry.image_manifest(&t.image("a"), &tag);
        manifest["layers"].as_array().map_or(0, Vec::len)
    };
    platform.xp(["build"]).success();
    assert_eq!(registry.all_tags(&t.image("a")), before);
    assert_eq!(layers(registry), 1);
}

fn several_signatures_are_supported(t: &Context) {
    let registry = t.registry();
    let platform = Platform::new(t, registry.host(), "{}");
    platform.xp(["build"]).success();
    create_keys(t, "other");
    let image = platform.image(registry);
    // Another key signs it first, then this platform's key, with the real cosign.
    for key in ["other.key", "cosign.key"] {
        let sign = run(t, "cosign", ["sign", "--key", key]).args([
            "--yes",
            "--tlog-upload=false",
            "--allow-insecure-registry=true",
            "--allow-http-registry=true",
        ]);
        sign.arg(&image).success();
    }
    platform.set("{sign: {key: cosign.key, publicKey: cosign.pub}}");
    verify(t).success();
    platform.set("{sign: {key: other.key, publicKey: other.pub}}");
    verify(t).success();
    create_keys(t, "third");
    platform.set("{sign: {key: third.key, publicKey: third.pub}}");
    verify(t)
        .failure(1)
        .stdout_contains("signed with another key");
    // xp keeps the signatures of others.
    platform.xp(["build", "--force"]).success();
    verify(t).success();
}

fn a_wrong_key_is_recognized(t: &Context) {
    let registry = t.registry();
    let platform = Platform::new(t, registry.host(), SIGNED);
    platform.xp(["build"]).success();
    create_keys(t, "other");
    platform.set("{sign: {key: other.key, publicKey: other.pub}}");
    let output = xp(t, ["verify", "--format", "json"]).failure(1);
    assert_eq!(result(&output), "wrong-key");
    output.stderr_contains("signed with another key");
    // The signature is right, but not that of the provenance.
    let image = platform.image(registry);
    let sign = run(t, "cosign", ["sign", "--key", "other.key"]).args([
        "--yes",
        "--tlog-upload=false",
        "--allow-insecure-registry=true",
        "--allow-http-registry=true",
    ]);
    sign.arg(&image).success();
    verify(t).success();
    platform.set("{provenance: true, sign: {key: other.key, publicKey: other.pub}}");
    verify(t)
        .failure(1)
        .stdout_contains("wrong provenance: not signed with the key");
}

fn a_signature_of_another_image_is_recognized(t: &Context) {
    let registry = t.registry();
    let platform = Platform::new(t, registry.host(), SIGNED);
    platform.xp(["build"]).success();
    let tag = platform.signature_tag(registry);
    let signature = registry.manifest_digest(&t.image("a"), &tag);
    let signature = signature.expect("a signature");
    platform.repository.commit(&[("file", "2\n")], "Second");
    platform.set("{provenance: false}");
    platform.xp(["build"]).success();
    platform.set(SIGNED);
    let output = xp(t, ["verify", "--format", "json"]).failure(1);
    assert_eq!(result(&output), "unsigned");
    // Anyone who can push can copy a signature.
    let tag = platform.signature_tag(registry);
    registry.link_tag(&t.image("a"), &tag, &signature);
    let output = xp(t, ["verify", "--format", "json"]).failure(1);
    assert_eq!(result(&output), "wrong-digest");
    output.stderr_contains("its signature is for another image, sha256:");
}

fn provenance_of_another_commit_is_recognized(t: &Context) {
    let registry = t.registry();
    let platform = Platform::new(t, registry.host(), "{provenance: true}");
    platform.xp(["build"]).success();
    let first = platform.repository.head();
    let digest = platform.digest(registry);
    platform.repository.commit(&[("file", "2\n")], "Second");
    // The image of the first commit gets the tag of the second one.
    registry.link_tag(&t.image("a"), &platform.repository.head(), &digest);
    verify(t).failure(1).stdout_contains(&format!(
        "wrong provenance: it names the commit {first}, not "
    ));
}

fn is_signature(incoming: &Incoming) -> bool {
    incoming.method == "GET" && incoming.path.ends_with(".sig")
}

fn is_referrers(incoming: &Incoming) -> bool {
    incoming.path.contains("/referrers/")
}

fn a_throttled_registry_is_unknown(t: &Context) {
    let registry = t.own_registry(RegistryKind::Open);
    let limited = Arc::new([AtomicBool::new(false), AtomicBool::new(false)]);
    let limits = Arc::clone(&limited);
    let gateway = Gateway::before(registry.host(), move |incoming| {
        let is_limited = (limits[0].load(Ordering::SeqCst) && is_signature(incoming))
            || (limits[1].load(Ordering::SeqCst) && is_referrers(incoming));
        if is_limited {
            Reply::error(429, "TOOMANYREQUESTS", "slow down")
        } else {
            Reply::Forward
        }
    });
    let platform = Platform::new(t, gateway.host(), SIGNED);
    platform.xp(["build"]).success();
    for which in 0..2 {
        limited[which].store(true, Ordering::SeqCst);
        let output = xp(t, ["verify", "--format", "json"])
            .env("XP_RETRIES", "0")
            .failure(3);
        assert_eq!(result(&output), "unknown");
        output
            .stderr_contains("cannot tell whether 1 image verify")
            .stderr_contains("429");
        platform.set(VERIFIED);
        platform
            .xp(["build"])
            .env("XP_RETRIES", "0")
            .failure(3)
            .stderr_contains("nothing was built");
        platform.set(SIGNED);
        limited[which].store(false, Ordering::SeqCst);
    }
    verify(t).success();
    registry.stop();
    xp(t, ["verify"]).env("XP_RETRIES", "0").failure(3);
}

/// Returns the referrers that a registry stores, as the API of OCI 1.1 lists them. Debian's registry lacks it.
fn referrers(files: &Path, blobs: &Path, subject: &str) -> String {
    let revisions = fs::read_dir(files.join("_manifests/revisions/sha256"));
    let mut manifests = Vec::new();
    for entry in revisions.into_iter().flatten().flatten() {
        let hex = entry.file_name().to_string_lossy().into_owned();
        let blob = blobs.join(&hex[..2]).join(&hex).join("data");
        let Ok(bytes) = fs::read(blob) else { continue };
        let Ok(manifest) = serde_json::from_slice::<Value>(&bytes) else {
            continue;
        };
        if manifest["subject"]["digest"] == subject {
            manifests.push(json!({
                "mediaType": manifest["mediaType"],
                "digest": format!("sha256:{hex}"),
                "size": bytes.len(),
                "artifactType": manifest["artifactType"],
                "annotations": manifest["annotations"],
            }));
        }
    }
    json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": manifests,
    })
    .to_string()
}

fn a_registry_with_the_referrers_api_is_supported(t: &Context) {
    let registry = t.own_registry(RegistryKind::Open);
    let files = registry.files(&t.image("a"));
    let repositories = registry.files("");
    let blobs = repositories
        .parent()
        .expect("a folder")
        .join("blobs/sha256");
    let gateway = Gateway::before(registry.host(), move |incoming| {
        match incoming.path.rsplit_once("/referrers/") {
            Some((_, subject)) => {
                let subject = subject.split('?').next().unwrap_or_default();
                let media_type = "application/vnd.oci.image.index.v1+json".to_owned();
                let body = referrers(&files, &blobs, subject);
                Reply::Response(200, vec![("Content-Type", media_type)], body)
            }
            None => Reply::Forward,
        }
    });
    let platform = Platform::new(t, gateway.host(), SIGNED);
    platform.xp(["build"]).success();
    verify(t).success();
    // No index is written where the registry itself lists them.
    let tag = platform.digest(&registry).replace(':', "-");
    let tags = registry.all_tags(&t.image("a"));
    assert!(!tags.contains(&tag), "{tags:?}");
    let image = platform.image(&registry);
    let attached = statement(t, &image, "application/vnd.dsse.envelope.v1+json");
    assert!(attached["payload"].is_string());
}

/// Pushes an index with the platform's image in place of it, as engines with the containerd image store do.
fn an_index_is_verified_with_its_platforms(t: &Context) {
    let registry = t.registry();
    let platform = Platform::new(
        t,
        registry.host(),
        "{sign: {key: cosign.key, publicKey: cosign.pub}}",
    );
    platform.xp(["build"]).success();
    let repository = t.image("a");
    let child = platform.digest(registry);
    let bytes = registry.blob(&child);
    let manifest: Value = serde_json::from_slice(&bytes).expect("JSON");
    if manifest["manifests"].is_array() {
        // The engine pushes indexes itself.
        let output = xp(t, ["verify", "--format", "json"]).success();
        let results: Value = serde_json::from_str(&output.stdout).expect("JSON");
        assert_eq!(results["images"][0]["platforms"][0]["result"], "verified");
        return;
    }
    let media_type = manifest["mediaType"].as_str().expect("a type").to_owned();
    let index = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [{
            "mediaType": media_type,
            "digest": child,
            "size": bytes.len(),
            "platform": { "os": "linux", "architecture": "amd64" },
        }],
    });
    let head = platform.repository.head();
    registry.put_manifest(&repository, &head, &index);
    for tag in registry.identity_tags(&repository) {
        registry.put_manifest(&repository, &tag, &index);
    }
    let digest = platform.digest(registry);
    assert_ne!(digest, child);
    let output = xp(t, ["verify", "--format", "json"]).failure(1);
    assert_eq!(result(&output), "unsigned");
    let results: Value = serde_json::from_str(&output.stdout).expect("JSON");
    assert_eq!(results["images"][0]["platforms"][0]["result"], "verified");
    let sign = run(t, "cosign", ["sign", "--key", "cosign.key"]).args([
        "--yes",
        "--tlog-upload=false",
        "--allow-insecure-registry=true",
        "--allow-http-registry=true",
    ]);
    sign.arg(platform.image(registry)).success();
    verify(t).success().stdout_contains(&format!("  {child}"));
    // The index vouches for its images, unless their own signatures contradict it.
    registry.delete_tag(&repository, &format!("{}.sig", child.replace(':', "-")));
    verify(t).success();
    registry.delete_manifest(&repository, &child);
    xp(t, ["verify"])
        .failure(1)
        .stdout_contains("not in the registry");
}

fn locks_are_verified(t: &Context) {
    let registry = t.registry();
    let platform = Platform::new(t, registry.host(), SIGNED);
    platform.xp(["build"]).success();
    platform.xp(["lock"]).success();
    // What the lock names, whatever is current.
    platform.repository.commit(&[("file", "2\n")], "Second");
    platform.xp(["verify", "x-platform.lock"]).success();
    verify(t).failure(1).stdout_contains("not in the registry");
    let tag = format!("{}.sig", locked_digest(t).replace(':', "-"));
    registry.delete_tag(&t.image("a"), &tag);
    platform
        .xp(["verify", "x-platform.lock"])
        .failure(1)
        .stdout_contains("unsigned");
    platform
        .xp(["verify", "nothing"])
        .failure(2)
        .stderr_contains("nothing");
    platform.set("{}");
    verify(t)
        .failure(2)
        .stderr_contains("sets neither `supply.sign` nor `supply.provenance`");
}

/// Returns the digest in the lock.
fn locked_digest(t: &Context) -> String {
    let lock = t.read("x-platform.lock");
    let (_, rest) = lock.split_once("digest: ").expect("a digest");
    rest.lines().next().expect("a line").trim().to_owned()
}

fn an_unsigned_image_is_built_again(t: &Context) {
    let registry = t.registry();
    let platform = Platform::new(t, registry.host(), "{}");
    // As if another user had pushed it, with the right labels.
    platform.xp(["build"]).success();
    let unsigned = platform.digest(registry);
    let head = platform.repository.head();
    platform.set(VERIFIED);
    let plan = platform.xp(["plan"]).success();
    assert!(plan.row("a").contains(" build "), "{plan}");
    plan.stdout_contains("the registry's image does not verify: unsigned");
    platform.xp(["build"]).success();
    verify(t).success();
    // It may be the same image, if the build is reproducible; it is signed now.
    let signed = platform.digest(registry);
    let build = platform.xp(["build"]).success();
    assert!(build.row("a").contains(" skipped "), "{build}");
    // The same tag on another image, with the right labels, is not used.
    if signed != unsigned {
        registry.link_tag(&t.image("a"), &head, &unsigned);
        for tag in registry.identity_tags(&t.image("a")) {
            if tag.len() == 53 {
                registry.link_tag(&t.image("a"), &tag, &unsigned);
            }
        }
        let plan = platform.xp(["plan"]).success();
        assert!(plan.row("a").contains(" build "), "{plan}");
        platform.xp(["build"]).success();
        verify(t).success();
        assert_ne!(platform.digest(registry), unsigned);
    }
}

fn a_locked_image_must_verify(t: &Context) {
    let registry = t.registry();
    let platform = Platform::new(t, registry.host(), "{}");
    platform.xp(["build"]).success();
    platform.xp(["lock"]).success();
    platform.set(VERIFIED);
    platform
        .xp(["build", "--locked"])
        .failure(1)
        .stderr_contains("1 of 1 image does not verify; nothing was built")
        .stderr_contains("a: unsigned");
}

fn an_unsigned_image_is_not_deployed(t: &Context) {
    let platform = ComposePlatform::new(t);
    create_keys(t, "cosign");
    let manifest = |supply: &str| {
        let registry = t.registry_prefix(t.registry());
        platform.manifest(
            &format!("registry: {registry}\n{supply}"),
            "{dev: {compose: docker-compose.yml, timeout: 60s, verify: true}}",
        );
    };
    let deploy = || with_tools(platform.deploy([]));
    manifest("");
    deploy()
        .failure(1)
        .stderr_contains("the registry has no image of its commit");
    with_tools(platform.xp(["build"])).success();
    deploy()
        .failure(2)
        .stderr_contains("nothing to verify images by");
    manifest("supply: {sign: {key: cosign.key, publicKey: cosign.pub}}\n");
    deploy()
        .failure(1)
        .stderr_contains("2 of 2 images do not verify; nothing was deployed to dev")
        .stderr_contains("zbackend: unsigned");
    assert!(platform.containers("zbackend").is_empty());
    with_tools(platform.xp(["build", "--force"])).success();
    deploy().success();
    platform.running("zbackend");
    with_tools(platform.xp(["verify", "dev"]))
        .success()
        .stdout_contains("2 of 2 images verified.");
}

fn unusable_keys_and_programs_are_reported_before_the_build(t: &Context) {
    let registry = t.registry();
    let platform = Platform::new(t, registry.host(), SIGNED);
    let nothing_is_built = || {
        assert_eq!(registry.all_tags(&t.image("a")), Vec::<String>::new());
    };
    platform
        .xp(["build"])
        .env("COSIGN_PASSWORD", "wrong")
        .failure(2)
        .stderr_contains("cannot use the key cosign.key")
        .stderr_contains("hint: set COSIGN_PASSWORD to the password of the private key");
    platform
        .xp(["build"])
        .env_remove("COSIGN_PASSWORD")
        .failure(2)
        .stderr_contains("COSIGN_PASSWORD");
    t.xp(["build"])
        .env("COSIGN_PASSWORD", PASSWORD)
        .failure(3)
        .stderr_contains("`cosign` is not on PATH")
        .stderr_contains("hint: install version 2.2 or later");
    platform.set("{sign: {key: missing.key}}");
    platform
        .xp(["build"])
        .failure(2)
        .stderr_contains("cannot use the key missing.key");
    create_keys(t, "other");
    platform.set("{sign: {key: cosign.key, publicKey: other.pub}}");
    platform
        .xp(["build"])
        .failure(2)
        .stderr_contains("other.pub is not the public key of cosign.key");
    nothing_is_built();
    // An old version lacks options.
    t.write("old/cosign", "#!/bin/sh\necho 'cosign 1.4'\n");
    platform.set(SIGNED);
    let old = format!("{}:{}", t.dir().join("old").display(), path());
    platform
        .xp(["build"])
        .env("PATH", old)
        .failure(3)
        .stderr_contains("is too old: version 2.2 or later is required");
    nothing_is_built();
    // A key in a variable.
    let key = t.read("cosign.key");
    platform.set("{sign: {key: 'env://SIGNING_KEY'}}");
    platform.xp(["build"]).env("SIGNING_KEY", &key).success();
    platform.xp(["verify"]).env("SIGNING_KEY", &key).success();
}

/// Creates an image with syft, and the folder of the plugin in this repository, which is built on it.
fn sbom_plugin(t: &Context) -> String {
    let folder = t.dir().join("syft");
    fs::create_dir_all(&folder).expect("a folder");
    fs::copy(tool("syft"), folder.join("syft")).expect("a copy");
    let dockerfile = format!("FROM {}\nCOPY syft /bin/\n", t.engine().busybox());
    t.write("syft/Dockerfile", &dockerfile);
    let base = format!("{}:latest", t.image("syft"));
    let folder = folder.to_str().expect("UTF-8");
    process::succeed(
        t.engine()
            .client()
            .args(["build", "--quiet", "--tag", &base, folder]),
    );
    let plugin = Path::new(env!("CARGO_MANIFEST_DIR")).join("builders/sbom");
    let read = |name: &str| fs::read_to_string(plugin.join(name)).expect("a file");
    let dockerfile = read("Dockerfile").replace("debian:bookworm-slim", &base);
    t.builder("sbom", &dockerfile, &[("plugin", &read("plugin"))])
}

fn a_bill_of_materials_is_attached(t: &Context) {
    let registry = t.registry();
    let plugin = sbom_plugin(t);
    let platform = Platform::new(t, registry.host(), "{}");
    platform.repository.commit(
        &[
            ("Dockerfile", "FROM scratch\nCOPY root /\n"),
            (
                "root/var/lib/dpkg/status",
                "Package: libc6\nStatus: install ok installed\nVersion: 2.36-9\nArchitecture: amd64\nMaintainer: x\nDescription: y\n\n",
            ),
            ("root/etc/os-release", "ID=debian\nVERSION_ID=\"12\"\n"),
            (
                "root/app/node_modules/left-pad/package.json",
                "{\"name\":\"left-pad\",\"version\":\"1.3.0\"}",
            ),
            (
                "root/usr/lib/python3/dist-packages/foo-1.0.dist-info/METADATA",
                "Metadata-Version: 2.1\nName: foo\nVersion: 1.0\n",
            ),
        ],
        "Packages",
    );
    let supply = |with: &str| {
        format!(
            "{{provenance: true, sbom: {{plugin: {plugin}{with}}}, sign: {{key: cosign.key, publicKey: cosign.pub}}}}"
        )
    };
    platform.set(&supply(""));
    let plan = platform.xp(["plan", "--all"]).success();
    plan.stdout_contains(&format!("attach a bill of materials of {plugin}"));
    platform.xp(["build"]).success();
    let document = statement(t, &platform.image(registry), "application/spdx+json");
    assert_eq!(document["spdxVersion"], "SPDX-2.3");
    let packages = document["packages"].as_array().expect("a list");
    for (name, version) in [("libc6", "2.36-9"), ("left-pad", "1.3.0"), ("foo", "1.0")] {
        let is_found = packages
            .iter()
            .any(|it| it["name"] == name && it["versionInfo"] == version);
        assert!(is_found, "{name}: {document}");
    }
    // The signed provenance names the document.
    let image = platform.image(registry);
    let envelope = statement(t, &image, "application/vnd.dsse.envelope.v1+json");
    let payload = base64(envelope["payload"].as_str().expect("text"));
    assert!(payload.contains("application/spdx+json"), "{payload}");
    verify(t).success();
    assert!(!t.exists(".xp/sbom/a"));
    // The plugin is not an input of the image.
    platform.set(&supply(", with: {format: cyclonedx-json}"));
    let plan = platform.xp(["plan"]).success();
    plan.does_not_contain("bill of materials");
    platform.repository.commit(&[("other", "1")], "Other");
    platform.xp(["build"]).success();
    let document = statement(
        t,
        &platform.image(registry),
        "application/vnd.cyclonedx+json",
    );
    assert_eq!(document["bomFormat"], "CycloneDX");
}

/// Decodes base64.
fn base64(text: &str) -> String {
    let mut command = std::process::Command::new("sh");
    command.args(["-c", "printf %s \"$1\" | base64 -d", "sh", text]);
    process::succeed(&mut command)
}

fn an_invalid_bill_of_materials_is_an_error(t: &Context) {
    let registry = t.registry();
    let busybox = t.engine().busybox().to_owned();
    let entrypoint = |line: &str| {
        let dockerfile = format!("FROM {busybox}\nENTRYPOINT [\"sh\", \"-c\", \"{line}\"]\n");
        t.builder("sbom", &dockerfile, &[])
    };
    let platform = Platform::new(t, registry.host(), "{}");
    for (line, code, message) in [
        ("true", 1, "is missing, is not a regular file"),
        (
            "echo '{}' > /out/sbom.json",
            1,
            "is neither SPDX nor CycloneDX in JSON",
        ),
        ("echo broken; exit 1", 1, "`sbom` of "),
        ("exit 3", 3, "exited with 3"),
    ] {
        let plugin = entrypoint(line);
        platform.set(&format!("{{sbom: {{plugin: {plugin}}}}}"));
        platform
            .xp(["build", "--force"])
            .failure(code)
            .stderr_contains(message)
            .stderr_contains("x-platform.yml:2");
    }
    platform.set("{sbom: {plugin: builders/nothing}}");
    platform
        .xp(["build", "--force"])
        .failure(2)
        .stderr_contains("builders/nothing");
    platform.set("{sbom: {}}");
    platform
        .xp(["build"])
        .failure(2)
        .stderr_contains("`supply.sbom` has no `plugin`");
}
