//! Foreign or incomplete images under a commit's tag.

use serde_json::{Value, json};

use super::deploy::built;
use crate::case::Case;
use crate::context::Context;
use crate::output::Output;
use crate::world::Registry;

pub const CASES: &[Case] = cases![
    an_artifact_is_an_error,
    a_recipe_that_is_not_json_is_an_error,
    a_large_configuration_is_read,
    an_incomplete_index_is_pushed_again,
];

const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// The image of the service `zbackend` by its commit, in the shared registry.
struct Image<'t> {
    registry: &'t Registry,
    repository: String,
    commit: String,
}

impl<'t> Image<'t> {
    fn new(t: &'t Context) -> Self {
        let (product, _) = built(t);
        Self {
            registry: t.registry(),
            repository: t.image("zbackend"),
            commit: product.backend.head(),
        }
    }

    fn put(&self, tag: &str, manifest: &Value) -> Value {
        self.registry.put_manifest(&self.repository, tag, manifest)
    }

    fn digest(&self) -> String {
        let digest = self
            .registry
            .manifest_digest(&self.repository, &self.commit);
        digest.expect("the image")
    }

    /// Pushes an image with these labels and the layers of the built one.
    fn put_labelled(&self, tag: &str, labels: &Value) -> Value {
        let (registry, repository) = (self.registry, &self.repository);
        let mut manifest = registry.image_manifest(repository, "master");
        let mut configuration = registry.image_configuration(repository, "master");
        configuration["config"]["Labels"] = labels.clone();
        let media_type = manifest["config"]["mediaType"].as_str().expect("a type");
        let bytes = configuration.to_string();
        let described = registry.put_blob(repository, media_type, bytes.as_bytes());
        manifest["config"] = described;
        self.put(tag, &manifest)
    }

    /// Pushes an index under the commit's tag.
    fn put_index(&self, listed: &[Value]) {
        let index = json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": listed});
        self.put(&self.commit, &index);
    }
}

/// Runs each command that looks at images; all must report the same.
fn all_fail(t: &Context, check: impl Fn(&str, Output)) {
    check("plan", t.xp(["plan", "zbackend"]).failure(3));
    check(
        "plan --no-pull",
        t.xp(["plan", "zbackend", "--no-pull"]).failure(3),
    );
    check("why", t.xp(["why", "zbackend"]).failure(3));
    check("lock", t.xp(["lock"]).failure(3));
    check("deploy", t.xp(["deploy", "staging"]).failure(3));
    assert!(!t.exists("x-platform.lock"));
}

fn an_artifact_is_an_error(t: &Context) {
    let image = Image::new(t);
    let (registry, repository) = (image.registry, &image.repository);
    let mut attestation = image.put_labelled("by-hand", &json!({}));
    attestation["platform"] = json!({"os": "unknown", "architecture": "unknown"});
    let empty = registry.put_blob(repository, "application/vnd.oci.empty.v1+json", b"{}");
    let packages = registry.put_blob(repository, "application/spdx+json", b"{\"a\": 1}");
    let artifact = json!({
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "artifactType": "application/spdx+json",
        "config": empty,
        "layers": [packages],
    });
    let attestations = "is not an image but an index with only attestations";
    let not_an_image = "is not an image but an artifact of type application/spdx+json";
    for (put, what) in [(true, attestations), (false, not_an_image)] {
        match put {
            true => image.put_index(&[attestation.clone()]),
            false => _ = image.put(&image.commit, &artifact),
        }
        all_fail(t, |command, output| {
            assert!(output.stderr.contains(what), "{command}: {output}");
            assert!(
                output.stderr.contains("hint: `xp build --force`"),
                "{output}"
            );
        });
        let status = t.xp(["status", "zbackend"]).failure(3);
        status.stderr_contains(what);
    }
    t.xp(["build", "--force", "zbackend"]).success();
    let plan = t.xp(["plan", "zbackend"]).success();
    plan.stdout_contains("Nothing to do");
}

fn a_recipe_that_is_not_json_is_an_error(t: &Context) {
    let image = Image::new(t);
    image.put_labelled(&image.commit, &json!({"x-platform.recipe": "{"}));
    all_fail(t, |command, output| {
        let is_said = output.stderr.contains("invalid label `x-platform.recipe`");
        assert!(is_said, "{command}: {output}");
    });
    let status = t.xp(["status", "zbackend", "--format", "json"]).success();
    status.stdout_contains("\"registry\": \"unverified\"");
    t.xp(["build", "--force", "zbackend"]).success();
    t.xp(["lock"]).success();
}

fn a_large_configuration_is_read(t: &Context) {
    let image = Image::new(t);
    image.put_labelled(&image.commit, &json!({"padding": "x".repeat(5 << 20)}));
    for _ in 0..2 {
        let plan = t.xp(["plan", "zbackend"]).success();
        plan.stdout_contains("unverified");
    }
    t.xp(["why", "zbackend"])
        .success()
        .stdout_contains("unverified");
    let status = t.xp(["status", "zbackend"]).success();
    status.stdout_contains("unverified");
    t.xp(["lock"]).success();
}

fn an_incomplete_index_is_pushed_again(t: &Context) {
    let image = Image::new(t);
    let own = image
        .registry
        .image_manifest(&image.repository, &image.commit);
    let own = image.put("by-hand", &own);
    let part = |label: &str| {
        let mut part = image.put_labelled("by-hand", &json!({"is": label}));
        part["platform"]["architecture"] = json!("riscv64");
        part
    };
    let asked = |part: &Value, mark| {
        let digest = part["digest"].as_str().expect("a digest");
        let requests = image.registry.requests_since(mark);
        requests
            .iter()
            .filter(|it| it.path.ends_with(digest))
            .count()
    };
    // The registry may lose a part at any time.
    let whole = part("whole");
    image.put_index(&[own.clone(), whole.clone()]);
    for _ in 0..2 {
        let mark = image.registry.mark();
        t.xp(["plan", "zbackend"])
            .success()
            .stdout_contains("in the registry");
        assert_eq!(asked(&whole, mark), 1);
    }
    // Otherwise, the image is found by its identity tag.
    for tag in image.registry.identity_tags(&image.repository) {
        image.registry.delete_tag(&image.repository, &tag);
    }
    let lost = part("lost");
    image.put_index(&[own, lost.clone()]);
    let digest = lost["digest"].as_str().expect("a digest");
    image.registry.delete_manifest(&image.repository, digest);
    let broken = image.digest();

    let incomplete = "in the engine, not in the registry; the registry's image is incomplete";
    t.xp(["plan", "zbackend"])
        .success()
        .stdout_contains(incomplete);
    t.xp(["why", "zbackend"])
        .success()
        .stdout_contains("absent");
    let status = t.xp(["status", "zbackend", "--format", "json"]).success();
    status.stdout_contains("\"registry\": \"absent\"");
    t.xp(["lock"]).failure(1).stderr_contains("zbackend");
    t.xp(["deploy", "staging"])
        .failure(1)
        .stderr_contains("zbackend");
    t.xp(["why", "zbackend", "--against", &broken])
        .failure(3)
        .stderr_contains("is incomplete: the registry lacks an image that its index lists");

    t.xp(["build", "zbackend"]).success();
    assert_ne!(image.digest(), broken);
    t.xp(["lock"]).success();
}
