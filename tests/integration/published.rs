//! Contents of an image in a registry, without the parts that differ between builds.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::sync::Mutex;

use serde_json::Value;

use crate::world::Registry;

/// An image without timestamps: its configuration with labels, and the files of each layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublishedImage {
    configuration: String,
    layers: Vec<String>,
}

impl PublishedImage {
    /// Reads the image of a tag.
    #[track_caller]
    pub fn of(registry: &Registry, repository: &str, tag: &str) -> Self {
        let mut configuration = registry.image_configuration(repository, tag);
        without_times(&mut configuration);
        let manifest = registry.image_manifest(repository, tag);
        let layers = manifest["layers"].as_array().expect("an image manifest");
        let layers = layers.iter().map(|layer| {
            let digest = layer["digest"].as_str().expect("a layer");
            listing(digest, registry)
        });
        Self {
            configuration: configuration.to_string(),
            layers: layers.collect(),
        }
    }
}

/// Removes the creation time, and the digests of layers and needed images, which depend on file times.
fn without_times(configuration: &mut Value) {
    let fields = configuration.as_object_mut().expect("a configuration");
    for key in ["created", "rootfs", "container", "container_config"] {
        fields.remove(key);
    }
    // The IDs of needed images also depend on file times.
    if let Some(labels) = fields["config"]["Labels"].as_object_mut() {
        labels.remove("x-platform.needs");
    }
    for step in fields["history"].as_array_mut().expect("a history") {
        step.as_object_mut().expect("a step").remove("created");
    }
}

/// Returns a line for each file of a layer: type, mode, owner, name and contents.
fn listing(digest: &str, registry: &Registry) -> String {
    // Most layers come from a base image.
    static KNOWN: Mutex<BTreeMap<String, String>> = Mutex::new(BTreeMap::new());
    if let Some(known) = KNOWN.lock().expect("not poisoned").get(digest) {
        return known.clone();
    }
    let program = "\
import hashlib, sys, tarfile
layer = tarfile.open(fileobj=sys.stdin.buffer, mode='r|*')
for file in layer:
    content = layer.extractfile(file).read() if file.isreg() else b''
    print(file.type, oct(file.mode), file.uid, file.gid, file.name, file.linkname, hashlib.sha1(content).hexdigest())
";
    let mut python = Command::new("python3")
        .args(["-c", program])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python3, which bin/test installs");
    let mut input = python.stdin.take().expect("a pipe");
    let layer = registry.blob(digest);
    let writer = std::thread::spawn(move || input.write_all(&layer));
    let output = python.wait_with_output().expect("a child that ends");
    writer.join().expect("no panic").expect("it reads all");
    assert!(output.status.success(), "{digest} is no layer");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut known = KNOWN.lock().expect("not poisoned");
    known.insert(digest.to_owned(), text.clone());
    text
}
