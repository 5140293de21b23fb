//! Image registries and their contents.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::access_log::{AccessLog, Mark, Request};
use super::server::{Server, Starter};
use super::tls::Certificates;
use crate::process;

/// Kind of registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RegistryKind {
    /// Plain HTTP, no authentication.
    Open,
    /// Plain HTTP, basic authentication.
    Auth,
    /// HTTPS with a certificate of the private CA, no authentication.
    Tls,
    /// HTTPS and basic authentication.
    TlsAuth,
    /// Plain HTTP, no authentication, and no deletion of images.
    NoDeletion,
}

impl RegistryKind {
    pub(super) const COUNT: usize = 5;

    pub(super) fn has_auth(self) -> bool {
        matches!(self, Self::Auth | Self::TlsAuth)
    }

    pub(super) fn has_tls(self) -> bool {
        matches!(self, Self::Tls | Self::TlsAuth)
    }

    pub(super) fn folder_name(self) -> &'static str {
        match self {
            Self::Open => "registry",
            Self::Auth => "registry-auth",
            Self::Tls => "registry-tls",
            Self::TlsAuth => "registry-tls-auth",
            Self::NoDeletion => "registry-no-deletion",
        }
    }
}

/// A registry. Its contents are read from its files, which needs no credentials, adds no requests to
/// the log, and is independent of any client.
pub struct Registry {
    server: Server,
    data: PathBuf,
    host: String,
    log: AccessLog,
}

impl Registry {
    pub(super) fn start(
        starter: &Starter,
        kind: RegistryKind,
        directory: &Path,
        htpasswd: Option<&Path>,
        certificates: Option<&Certificates>,
    ) -> Result<Self, String> {
        let mut arguments = server_arguments(htpasswd, certificates);
        if kind == RegistryKind::NoDeletion {
            arguments.push("--no-delete".to_owned());
        }
        let data = directory.join("data");
        Self::launch(starter, directory, &arguments, &data, certificates)
    }

    /// Starts a registry with the contents of another one, which only accepts tokens of the server at `realm` with this
    /// certificate.
    pub(super) fn start_with_tokens(
        starter: &Starter,
        directory: &Path,
        contents: &Registry,
        realm: &str,
        certificate: &Path,
    ) -> Result<Self, String> {
        let text = |path: &Path| path.display().to_string();
        let data = contents.data.ancestors().nth(3).expect("it has four parts");
        let arguments = ["--tokens", realm, &text(certificate), &text(data)];
        let arguments = arguments.map(str::to_owned);
        Self::launch(starter, directory, &arguments, data, None)
    }

    fn launch(
        starter: &Starter,
        directory: &Path,
        arguments: &[String],
        data: &Path,
        certificates: Option<&Certificates>,
    ) -> Result<Self, String> {
        let (server, port) = Server::start_on_port(starter, "registry", directory, arguments)?;
        let host = format!("127.0.0.1:{port}");
        let scheme = if certificates.is_some() {
            "https"
        } else {
            "http"
        };
        let authority = certificates.map(|certificates| certificates.authority.as_path());
        let log = directory.join("access.log");
        let log = AccessLog::new(log, format!("{scheme}://{host}"), authority);
        Ok(Self {
            server,
            data: data.join("docker/registry/v2"),
            host,
            log,
        })
    }

    /// Returns the host as in an image's name: `127.0.0.1:<port>`.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Returns the tags of a repository, sorted; empty if the repository does not exist.
    pub fn tags(&self, repository: &str) -> Vec<String> {
        let mut tags = self.all_tags(repository);
        tags.retain(|tag| {
            !is_identity(tag) && !tag.rsplit_once('-').is_some_and(|(of, _)| is_identity(of))
        });
        tags
    }

    /// Returns the immutable tags: `<sha-1>-<recipe>`.
    pub fn identity_tags(&self, repository: &str) -> Vec<String> {
        let mut tags = self.all_tags(repository);
        tags.retain(|tag| is_identity(tag));
        tags
    }

    /// Returns the tags of a repository, including the immutable ones.
    pub fn all_tags(&self, repository: &str) -> Vec<String> {
        let tags = self.repository(repository).join("_manifests/tags");
        let mut tags: Vec<String> = fs::read_dir(tags)
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .collect();
        tags.sort();
        tags
    }

    /// Returns the digest that a tag points to, such as `sha256:…`.
    pub fn manifest_digest(&self, repository: &str, tag: &str) -> Option<String> {
        fs::read_to_string(self.tag(repository, tag).join("current/link")).ok()
    }

    /// Returns the image manifest of a tag.
    #[track_caller]
    pub fn image_manifest(&self, repository: &str, tag: &str) -> Value {
        let digest = self
            .manifest_digest(repository, tag)
            .unwrap_or_else(|| panic!("{} has no {repository}:{tag}", self.host));
        self.json(&digest)
    }

    /// Returns the image configuration of a tag.
    #[track_caller]
    pub fn image_configuration(&self, repository: &str, tag: &str) -> Value {
        let manifest = self.image_manifest(repository, tag);
        let digest = manifest["config"]["digest"]
            .as_str()
            .expect("an image manifest");
        self.json(digest)
    }

    /// Returns the image labels of a tag.
    #[track_caller]
    pub fn labels(&self, repository: &str, tag: &str) -> BTreeMap<String, String> {
        let configuration = self.image_configuration(repository, tag);
        let labels = configuration["config"]["Labels"].clone();
        serde_json::from_value::<Option<_>>(labels)
            .expect("labels are text")
            .unwrap_or_default()
    }

    /// Returns the number of blobs: layers, configurations and image manifests.
    pub fn blob_count(&self) -> usize {
        let prefixes = fs::read_dir(self.data.join("blobs/sha256"))
            .into_iter()
            .flatten()
            .flatten();
        prefixes
            .map(|prefix| fs::read_dir(prefix.path()).into_iter().flatten().count())
            .sum()
    }

    /// Returns the number of open uploads to a repository. For a canceled upload the registry keeps the
    /// folder, but not its data and start time.
    pub fn open_uploads(&self, repository: &str) -> usize {
        let uploads = fs::read_dir(self.repository(repository).join("_uploads"));
        let uploads = uploads.into_iter().flatten().flatten();
        let is_open = |path: PathBuf| path.join("startedat").exists() || path.join("data").exists();
        uploads.filter(|upload| is_open(upload.path())).count()
    }

    /// Puts an image manifest, like another tool, and returns its descriptor for an index.
    #[track_caller]
    pub fn put_manifest(&self, repository: &str, tag: &str, manifest: &Value) -> Value {
        let media_type = manifest["mediaType"].as_str().expect("a media type");
        let url = format!("http://{}/v2/{repository}/manifests/{tag}", self.host);
        let header = format!("Content-Type: {media_type}");
        put(&url, &header, manifest.to_string().as_bytes());
        let architecture = if cfg!(target_arch = "aarch64") {
            "arm64"
        } else {
            "amd64"
        };
        json!({
            "mediaType": media_type,
            "digest": self.manifest_digest(repository, tag),
            "size": manifest.to_string().len(),
            "platform": {"os": "linux", "architecture": architecture},
        })
    }

    /// Uploads a blob and returns its descriptor for a manifest.
    #[track_caller]
    pub fn put_blob(&self, repository: &str, media_type: &str, bytes: &[u8]) -> Value {
        let digest = format!("sha256:{}", hex::encode(Sha256::digest(bytes)));
        let begin = format!("http://{}/v2/{repository}/blobs/uploads/", self.host);
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--fail", "--noproxy", "*", "--request", "POST"]);
        curl.args([
            "--output",
            "/dev/null",
            "--write-out",
            "%header{location}",
            &begin,
        ]);
        let location = process::succeed(&mut curl);
        let url = format!("{}&digest={digest}", location.trim());
        put(&url, "Content-Type: application/octet-stream", bytes);
        json!({"mediaType": media_type, "digest": digest, "size": bytes.len()})
    }

    /// Sets a tag directly in the files, without a request.
    #[track_caller]
    pub fn link_tag(&self, repository: &str, tag: &str, digest: &str) {
        let folder = self.tag(repository, tag);
        let hex = digest.strip_prefix("sha256:").expect("a SHA-256 digest");
        for folder in [
            folder.join("current"),
            folder.join("index/sha256").join(hex),
        ] {
            fs::create_dir_all(&folder).expect("a folder");
            fs::write(folder.join("link"), digest).expect("a link");
        }
    }

    /// Returns the digests of the manifests of a repository, with or without tags.
    pub fn manifests(&self, repository: &str) -> Vec<String> {
        let revisions = self
            .repository(repository)
            .join("_manifests/revisions/sha256");
        let entries = fs::read_dir(revisions).into_iter().flatten().flatten();
        let present = entries.filter(|entry| entry.path().join("link").exists());
        let digests = present.map(|it| format!("sha256:{}", it.file_name().to_string_lossy()));
        let mut digests: Vec<String> = digests.collect();
        digests.sort();
        digests
    }

    /// Deletes a tag.
    #[track_caller]
    pub fn delete_tag(&self, repository: &str, tag: &str) {
        fs::remove_dir_all(self.tag(repository, tag)).expect("the tag exists");
    }

    /// Deletes a blob of a repository and its bytes, as damaged storage does.
    #[track_caller]
    pub fn lose_blob(&self, repository: &str, digest: &str) {
        let hex = digest.strip_prefix("sha256:").expect("a SHA-256 digest");
        let layers = self.repository(repository).join("_layers/sha256");
        fs::remove_dir_all(layers.join(hex)).expect("the blob of the repository");
        let blob = self.data.join("blobs/sha256").join(&hex[..2]).join(hex);
        fs::remove_dir_all(blob).expect("the blob");
    }

    /// Deletes an image by digest.
    #[track_caller]
    pub fn delete_manifest(&self, repository: &str, digest: &str) {
        let hex = digest.strip_prefix("sha256:").expect("a SHA-256 digest");
        let revisions = self
            .repository(repository)
            .join("_manifests/revisions/sha256");
        fs::remove_dir_all(revisions.join(hex)).expect("the image exists");
    }

    /// Returns the current position in the log, for [`Registry::requests_since`].
    pub fn mark(&self) -> Mark {
        self.log.mark()
    }

    /// Returns the requests of all tests since a position.
    pub fn requests_since(&self, mark: Mark) -> Vec<Request> {
        self.log.since(mark)
    }

    /// Stops the registry.
    pub fn stop(&self) {
        self.server.stop();
    }

    /// Kills the registry, like a crash.
    pub fn kill(&self) {
        self.server.kill();
    }

    /// Returns the folder with the files of a repository.
    pub fn files(&self, repository: &str) -> PathBuf {
        self.repository(repository)
    }

    fn repository(&self, name: &str) -> PathBuf {
        self.data.join("repositories").join(name)
    }

    fn tag(&self, repository: &str, tag: &str) -> PathBuf {
        self.repository(repository)
            .join("_manifests/tags")
            .join(tag)
    }

    /// Returns the bytes of a blob.
    #[track_caller]
    pub fn blob(&self, digest: &str) -> Vec<u8> {
        let hex = digest.strip_prefix("sha256:").expect("a SHA-256 digest");
        let blob = self
            .data
            .join("blobs/sha256")
            .join(&hex[..2])
            .join(hex)
            .join("data");
        fs::read(blob).expect("the registry has the blob of a manifest")
    }

    fn json(&self, digest: &str) -> Value {
        serde_json::from_slice(&self.blob(digest)).expect("the blob is JSON")
    }
}

/// Returns the arguments of `bin/world` after the port.
pub(super) fn server_arguments(
    htpasswd: Option<&Path>,
    certificates: Option<&Certificates>,
) -> Vec<String> {
    let text = |path: &Path| path.display().to_string();
    let mut arguments = Vec::new();
    if let Some(htpasswd) = htpasswd {
        arguments.extend(["--auth".to_owned(), text(htpasswd)]);
    }
    if let Some(certificates) = certificates {
        let (server, key) = (text(&certificates.server), text(&certificates.server_key));
        arguments.extend(["--tls".to_owned(), server, key]);
    }
    arguments
}

fn is_identity(tag: &str) -> bool {
    let is_hex = |text: &str, length| {
        text.len() == length && text.bytes().all(|byte| byte.is_ascii_hexdigit())
    };
    tag.split_once('-')
        .is_some_and(|(commit, recipe)| is_hex(commit, 40) && is_hex(recipe, 12))
}

/// Sends an HTTP request and asserts success.
#[track_caller]
fn put(url: &str, header: &str, body: &[u8]) {
    let file = tempfile::NamedTempFile::new().expect("a file");
    fs::write(file.path(), body).expect("a file");
    let mut curl = Command::new("curl");
    curl.args(["--silent", "--fail-with-body", "--noproxy", "*"]);
    curl.args(["--request", "PUT", "--header", header, "--data-binary"]);
    curl.arg(format!("@{}", file.path().display())).arg(url);
    process::succeed(&mut curl);
}
