//! A platform whose images are described and signed, with the real cosign, oras and skopeo.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::compose_project::path as compose_path;
use crate::context::Context;
use crate::output::Output;
use crate::repository::GitRepository;
use crate::world::{Gateway, Registry, Reply};
use crate::xp::Xp;

pub const PASSWORD: &str = "correct horse";

/// Returns the path of cosign or oras, which bin/setup downloads.
pub fn tool(name: &str) -> PathBuf {
    let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/supply-tools");
    let file = tools.join(name);
    assert!(
        file.is_file(),
        "there is no {}; bin/test downloads it",
        file.display()
    );
    file
}

pub fn path() -> String {
    let cosign = tool("cosign");
    let folder = cosign.parent().expect("a folder");
    format!("{}:{}", folder.display(), compose_path())
}

pub fn with_tools(xp: Xp) -> Xp {
    xp.env("PATH", path()).env("COSIGN_PASSWORD", PASSWORD)
}

pub fn xp<const N: usize>(t: &Context, arguments: [&str; N]) -> Xp {
    with_tools(t.xp(arguments))
}

pub fn run<const N: usize>(t: &Context, program: &str, arguments: [&str; N]) -> Xp {
    let program = tool(program);
    with_tools(t.program(program.to_str().expect("UTF-8"), arguments))
}

/// Creates a pair of keys, `<name>.key` and `<name>.pub`.
pub fn create_keys(t: &Context, name: &str) {
    let create = ["generate-key-pair", "--output-key-prefix", name];
    run(t, "cosign", create).success();
}

/// Options of `cosign verify` for a registry and keys of a test.
const VERIFY_OPTIONS: [&str; 6] = [
    "--key",
    "cosign.pub",
    "--insecure-ignore-tlog=true",
    "--private-infrastructure=true",
    "--allow-insecure-registry=true",
    "--allow-http-registry=true",
];

/// Signs an image with the real cosign.
pub fn cosign_sign(t: &Context, key: &str, image: &str) {
    let sign = run(t, "cosign", ["sign", "--key", key]).args([
        "--yes",
        "--tlog-upload=false",
        "--allow-insecure-registry=true",
        "--allow-http-registry=true",
    ]);
    sign.arg(image).success();
}

/// Verifies an image with the real cosign, by the key `cosign.pub`.
pub fn cosign_verify(t: &Context, image: &str) -> Output {
    let verify = run(t, "cosign", ["verify"]).args(VERIFY_OPTIONS);
    verify.arg(image).success()
}

/// Verifies the provenance of an image with the real cosign, by the key `cosign.pub`.
pub fn cosign_verify_provenance(t: &Context, image: &str) -> Output {
    let command = ["verify-attestation", "--type", "slsaprovenance1"];
    let verify = run(t, "cosign", command).args(VERIFY_OPTIONS);
    verify.arg(image).success()
}

/// Attaches a file to an image with the real oras, and returns the digest of the attachment.
pub fn oras_attach(t: &Context, image: &str, kind: &str) -> String {
    t.write("note.txt", kind);
    let attach = [
        "attach",
        "--plain-http",
        "--format",
        "json",
        "--artifact-type",
        kind,
    ];
    let attached = run(t, "oras", attach).args([image, "note.txt"]).success();
    let attached: Value = serde_json::from_str(&attached.stdout).expect("JSON");
    attached["digest"].as_str().expect("a digest").to_owned()
}

/// Writes a manifest with the service `a` and these keys.
pub fn manifest(t: &Context, host: &str, repository: &GitRepository, supply: &str, more: &str) {
    t.manifest(&format!(
        "registry: {host}\nsupply: {supply}\nservices:\n  a:\n    dir: src/a\n    git: {{remote: '{}'}}\n    \
         docker: {{image: {}}}\n{more}",
        repository.url_http(),
        t.image("a"),
    ));
}

pub const SIGNED: &str = "{provenance: true, sign: {key: cosign.key, publicKey: cosign.pub}}";

/// A platform with one service.
pub struct Platform<'t> {
    pub t: &'t Context,
    pub repository: GitRepository,
    pub host: String,
}

impl<'t> Platform<'t> {
    pub fn new(t: &'t Context, host: &str, supply: &str) -> Self {
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

    pub fn set(&self, supply: &str) {
        manifest(self.t, &self.host, &self.repository, supply, "");
    }

    pub fn xp<const N: usize>(&self, arguments: [&str; N]) -> Xp {
        xp(self.t, arguments)
    }

    pub fn digest(&self, registry: &Registry) -> String {
        let digest = registry.manifest_digest(&self.t.image("a"), &self.repository.head());
        digest.expect("the image")
    }

    pub fn image(&self, registry: &Registry) -> String {
        let digest = self.digest(registry);
        format!("{}/{}@{digest}", self.host, self.t.image("a"))
    }

    pub fn signature_tag(&self, registry: &Registry) -> String {
        format!("{}.sig", self.digest(registry).replace(':', "-"))
    }
}

/// Returns the statement that oras finds at an image.
pub fn statement(t: &Context, image: &str, kind: &str) -> Value {
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

pub fn verify(t: &Context) -> Xp {
    xp(t, ["verify"])
}

/// Returns a gateway that adds the referrers API of OCI 1.1 for a repository, which Debian's registry lacks.
pub fn with_referrers_api(registry: &Registry, repository: &str) -> Gateway {
    let files = registry.files(repository);
    let repositories = registry.files("");
    let data = repositories.parent().expect("a folder");
    let blobs = data.join("blobs/sha256");
    Gateway::before(registry.host(), move |incoming| {
        match incoming.path.rsplit_once("/referrers/") {
            Some((_, subject)) => {
                let subject = subject.split('?').next().unwrap_or_default();
                let media_type = "application/vnd.oci.image.index.v1+json".to_owned();
                let body = referrers(&files, &blobs, subject);
                Reply::Response(200, vec![("Content-Type", media_type)], body)
            }
            None => Reply::Forward,
        }
    })
}

/// Returns the referrers that a registry stores, as the API lists them.
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
