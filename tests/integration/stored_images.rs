//! A registry with images made by hand, so that they can be of any age and kind.

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::context::Context;
use crate::output::Output;
use crate::repository::GitRepository;
use crate::world::Registry;
use crate::xp::Xp;

pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";

pub const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";

pub const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";

const EMPTY: &str = "application/vnd.oci.empty.v1+json";

/// A time that is long ago, and a later one.
pub const OLD: &str = "2024-01-01T00:00:00Z";

pub const LATER: &str = "2024-06-01T00:00:00Z";

/// A platform with the service `app` and images made by hand, so that they can be of any age.
pub struct Shop<'t> {
    pub t: &'t Context,
    pub registry: &'t Registry,
    pub repository: String,
    pub app: GitRepository,
}

impl<'t> Shop<'t> {
    pub fn new(t: &'t Context, registry: &'t Registry) -> Self {
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
    pub fn manifest(&self, host: &str, keys: &str) {
        self.t.manifest(&format!(
            "registry: {host}/{}\nclean: {{keep: {{days: 14, commits: 1, deploys: 1}}}}\n{keys}services:\n  app:\n    \
             dir: src/app\n    git: {{remote: '{}', reference: origin/master}}\n    docker: {{image: app}}\n",
            self.t.prefix(),
            self.app.url_file(),
        ));
    }

    /// Puts the configuration of an image, which was built with the result of [`Shop::step_result`].
    pub fn config(&self, commit: &str, branch: &str, created: &str) -> Value {
        let labels = json!({
            "x-platform.service": "app",
            "x-platform.recipe": "{\"version\":1,\"inputs\":{}}",
            "x-platform.steps": json!({"build": step_key(commit)}).to_string(),
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

    pub fn blob(&self, media_type: &str, text: &str) -> Value {
        self.registry
            .put_blob(&self.repository, media_type, text.as_bytes())
    }

    /// Puts a manifest under each of the tags, or without a tag, and returns its digest.
    pub fn put(&self, manifest: &Value, tags: &[&str]) -> String {
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

    pub fn image(&self, commit: &str, branch: &str, created: &str, tags: &[&str]) -> String {
        let manifest = json!({
            "schemaVersion": 2, "mediaType": OCI_MANIFEST,
            "config": self.config(commit, branch, created),
            "layers": [self.blob(LAYER, "a layer")],
        });
        self.put(&manifest, tags)
    }

    /// Puts an old image of a commit with its usual tags.
    pub fn old(&self, number: usize) -> String {
        let commit = commit(number);
        self.image(&commit, "master", OLD, &[&commit, &identity(&commit)])
    }

    /// Puts the old result of a phase of a commit.
    pub fn step_result(&self, commit: &str) -> String {
        let key = step_key(commit);
        let document = json!({
            "version": 1, "key": key, "service": "app", "phase": "build", "commit": commit,
            "savedAt": 1_704_067_200, "seconds": 1.0, "parts": [],
        });
        let kind = "application/vnd.x-platform.step.v1";
        let manifest = json!({
            "schemaVersion": 2, "mediaType": OCI_MANIFEST, "artifactType": kind,
            "config": self.blob(&format!("{kind}+json"), &document.to_string()),
            "layers": [self.blob(EMPTY, "{}")],
        });
        self.put(&manifest, &[&format!("step-{key}")])
    }

    /// Puts something that describes an image, without a tag.
    pub fn referrer(&self, subject: &str, what: &str) -> String {
        let manifest = json!({
            "schemaVersion": 2, "mediaType": OCI_MANIFEST, "artifactType": "application/x-sbom",
            "config": self.blob(EMPTY, "{}"),
            "layers": [self.blob("application/x-sbom", what)],
            "subject": {"mediaType": OCI_MANIFEST, "digest": subject, "size": 1},
        });
        self.put(&manifest, &[])
    }

    /// Puts the index that lists a referrer where the registry does not.
    pub fn referrers_index(&self, subject: &str, referrer: &str) -> String {
        let listed = json!({"mediaType": OCI_MANIFEST, "digest": referrer, "size": 1});
        let index = json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [listed]});
        self.put(&index, &[&subject.replace(':', "-")])
    }

    pub fn clean<const N: usize>(&self, arguments: [&str; N]) -> Xp {
        self.t.xp(["clean", "--registry"]).args(arguments)
    }

    pub fn has(&self, digest: &str) -> bool {
        self.registry
            .manifests(&self.repository)
            .iter()
            .any(|it| it == digest)
    }

    pub fn everything(&self) -> (Vec<String>, Vec<String>) {
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
    pub fn stocked(&self) -> [String; 3] {
        let head = self.app.head();
        let tip = self.image(&head, "master", LATER, &[&head, &identity(&head), "master"]);
        [tip, self.old(1), self.old(2)]
    }
}

pub fn commit(number: usize) -> String {
    format!("{number:040x}")
}

fn step_key(commit: &str) -> String {
    format!("{commit:0>64}")
}

pub fn identity(commit: &str) -> String {
    format!("{commit}-0123456789ab")
}

pub fn items(output: &Output) -> Vec<Value> {
    let document: Value = serde_json::from_str(&output.stdout).expect("JSON");
    document["items"].as_array().expect("items").clone()
}

/// Returns the reason of an item.
pub fn reason(items: &[Value], digest: &str) -> String {
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

/// Puts an index of two images without tags, and a signature of it.
pub fn signed_index(shop: &Shop<'_>, number: usize, shared: &Value) -> [String; 3] {
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
        "config": shop.blob(EMPTY, "{}"),
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

pub fn shared_part(shop: &Shop<'_>) -> Value {
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
