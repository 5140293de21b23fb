//! Planning a clean-up of large repositories.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::json;
use sha2::{Digest as _, Sha256};

use crate::measure::{Contestant, Ratio, in_turns};
use crate::platform::Platform;
use crate::result::{Case, Table, Target, spread};
use crate::world::World;

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";

/// The tags of each image: of its commit, and its identity tag.
const TAGS: usize = 2;

/// Measures `xp clean` for 200 services with 100 tags each.
pub fn run(world: &World) -> Case {
    let count = world.size().of(2, 200, 200);
    let images = world.size().of(3, 50, 50);
    let rounds = world.size().of(1, 3, 5);
    let platform = Platform::new(world, "clean", count, false);
    let prefix = platform.images("xp");
    let folder = platform.folder("xp", count, &prefix);
    let mut requests = String::new();
    for service in platform.services() {
        fill(world, &prefix, service, images, &mut requests);
    }
    let list = folder.join("requests.curl");
    fs::write(&list, requests).expect("a list");
    let measured = in_turns(
        world,
        rounds,
        vec![
            Contestant::new("`xp clean`", || {
                world.xp(&folder, &["clean", "--registry", "--quiet"])
            }),
            Contestant::new("lower bound: one curl for all manifests", || {
                let mut curl = world.command("curl");
                curl.args(["--silent", "--show-error", "--fail", "--parallel"]);
                curl.args(["--parallel-max", "100", "--parallel-immediate", "--config"]);
                curl.arg(&list);
                curl
            }),
        ],
    );
    let time = measured[0].time().as_secs_f64();
    let mut targets = vec![
        Target::at_most("20,000 tags are planned within 30 s", time, 30.0, "s"),
        Target {
            text: "compared with the bare requests for the manifests".to_owned(),
            is_met: true,
            found: format!("{} times", spread(Ratio::of(&measured[0], &measured[1]))),
        },
    ];
    if let Some(peak) = measured[0].peak() {
        #[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
        let mebibytes = peak as f64 / 1024.0;
        targets.push(Target::at_most(
            "less than 100 MiB of memory",
            mebibytes,
            100.0,
            "MiB",
        ));
    }
    Case {
        name: "clean",
        title: "(q) Clean-up",
        setup: format!(
            "{count} services with a repository of {} tags each, two for each image. Each image needs a request for each tag, and one for its \
             labels and age. Nothing is removed.",
            images * TAGS
        ),
        tables: vec![Table::of("0 ms", &measured)],
        targets,
    }
}

/// Writes images into the files of the registry, which is much faster than pushing them, and the requests for their
/// manifests.
fn fill(world: &World, prefix: &str, service: &str, images: usize, requests: &mut String) {
    let (host, path) = prefix.split_once('/').expect("a path");
    let registry = Storage {
        root: world.folder().join("registry/data/docker/registry/v2"),
        repository: format!("{path}/{service}"),
    };
    let layer = registry.blob(b"a layer");
    for number in 0..images {
        let commit = hex::encode(Sha256::digest(format!("{service} {number}")))[..40].to_owned();
        let created = format!("2024-01-01T00:{:02}:{:02}Z", number / 60, number % 60);
        let labels = json!({
            "x-platform.service": service,
            "x-platform.recipe": "{\"version\":1,\"inputs\":{\"docker.file\":\"0123456789\"}}",
            "org.opencontainers.image.revision": commit,
            "org.opencontainers.image.version": "master",
            "org.opencontainers.image.created": created,
        });
        let config = json!({"created": created, "config": {"Labels": labels}}).to_string();
        let manifest = json!({
            "schemaVersion": 2, "mediaType": MANIFEST,
            "config": {"mediaType": CONFIG, "digest": registry.blob(config.as_bytes()), "size": config.len()},
            "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": layer, "size": 7}],
        });
        let digest = registry.manifest(manifest.to_string().as_bytes());
        for tag in [commit.clone(), format!("{commit}-0123456789ab")] {
            registry.tag(&tag, &digest);
            if !requests.is_empty() {
                requests.push_str("next\n");
            }
            let url = format!("http://{host}/v2/{path}/{service}/manifests/{tag}");
            _ = writeln!(
                requests,
                "url = \"{url}\"\nheader = \"Accept: {MANIFEST}\"\noutput = \"/dev/null\""
            );
        }
    }
}

/// The files of one repository of Debian's registry.
struct Storage {
    root: PathBuf,
    repository: String,
}

impl Storage {
    fn blob(&self, content: &[u8]) -> String {
        let digits = hex::encode(Sha256::digest(content));
        let folder = self
            .root
            .join("blobs/sha256")
            .join(&digits[..2])
            .join(&digits);
        write(&folder.join("data"), content);
        let digest = format!("sha256:{digits}");
        let link = self.folder("_layers/sha256").join(&digits).join("link");
        write(&link, digest.as_bytes());
        digest
    }

    fn manifest(&self, content: &[u8]) -> String {
        let digest = self.blob(content);
        let digits = digest.trim_start_matches("sha256:");
        let link = self
            .folder("_manifests/revisions/sha256")
            .join(digits)
            .join("link");
        write(&link, digest.as_bytes());
        digest
    }

    fn tag(&self, tag: &str, digest: &str) {
        let folder = self.folder("_manifests/tags").join(tag);
        write(&folder.join("current/link"), digest.as_bytes());
        let digits = digest.trim_start_matches("sha256:");
        write(
            &folder.join("index/sha256").join(digits).join("link"),
            digest.as_bytes(),
        );
    }

    fn folder(&self, name: &str) -> PathBuf {
        self.root
            .join("repositories")
            .join(&self.repository)
            .join(name)
    }
}

fn write(path: &Path, content: &[u8]) {
    fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
    fs::write(path, content).expect("a file");
}
