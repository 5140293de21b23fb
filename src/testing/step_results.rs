//! Results of phases: archives, and artifacts in a registry.

use std::fs::File;
use std::io::Seek as _;
use std::path::Path;
use std::time::Duration;

use tokio::runtime::Runtime;

use crate::base::error::chain;
use crate::client::http::{Http, Proxies};
use crate::client::registry::{NewArtifact, RegistryClient, RegistrySettings};
use crate::client::retry::{Policy, Retries};
use crate::client::timeouts::Timeouts;
use crate::model::image::ImageRepository;
use crate::model::step_result::{STEP_ARTIFACT, StepKey, StepResult};
use crate::store::step_archive::{pack, unpack};

/// Packs an output of a folder to a file, and returns the document that describes it.
pub fn save(folder: &Path, output: &str, name: &str, to: &mut File) -> String {
    let outputs = &[output.to_owned()];
    let blob = pack(folder, outputs, to).unwrap_or_else(|error| panic!("{}", chain(&error)));
    let result = StepResult {
        key: StepKey::of(name.as_bytes()),
        service: "service".to_owned(),
        phase: "build".to_owned(),
        commit: "0".repeat(40),
        saved_at: 1,
        seconds: 2.0,
        parts: vec![("name".to_owned(), name.to_owned())],
        outputs: Some(blob),
    };
    result.to_json()
}

/// Restores an output from a file that [`save`] has written.
pub fn restore(document: &str, from: File, folder: &Path, output: &str) -> Result<(), String> {
    let result = StepResult::from_json(document.as_bytes()).ok_or("invalid document")?;
    let blob = result.outputs.ok_or("no outputs")?;
    unpack(from, folder, &[output.to_owned()], &blob).map_err(|error| chain(&error))
}

/// The results in a repository. Errors are complete messages.
pub struct StepRepository {
    runtime: Runtime,
    client: RegistryClient,
    repository: ImageRepository,
}

impl StepRepository {
    /// Returns the results in a repository, with the logins in a folder.
    pub fn new(repository: &str, docker_config: &Path) -> Self {
        let policy = Policy {
            shortest: Duration::from_millis(50),
            longest: Duration::from_millis(200),
            ..Policy::REQUEST
        };
        let retries = Retries::silent(policy);
        let http = Http::new(&Proxies::default(), Timeouts::default(), retries);
        let settings = RegistrySettings {
            docker_config: Some(docker_config.to_owned()),
            certificates: Vec::new(),
        };
        Self {
            runtime: Runtime::new().expect("a runtime"),
            client: RegistryClient::new(http.expect("an HTTP client"), settings),
            repository: repository.parse().expect("a repository"),
        }
    }

    /// Pushes the result with a name, with or without a file, and returns the digest of its manifest.
    pub fn push(&self, name: &str, document: &str, file: Option<&File>) -> Result<String, String> {
        let mut result = StepResult::from_json(document.as_bytes()).ok_or("invalid document")?;
        result.key = StepKey::of(name.as_bytes());
        result.outputs = result.outputs.filter(|_| file.is_some());
        let blob = file.zip(result.outputs.as_ref());
        let artifact = NewArtifact {
            kind: STEP_ARTIFACT,
            document: &result.to_json(),
            annotations: &result.annotations(),
            blob: blob.map(|(file, blob)| (file, &blob.digest, blob.bytes)),
        };
        let tag = result.key.tag();
        let pushed = self.client.push_artifact(&self.repository, &tag, artifact);
        let digest = self.runtime.block_on(pushed);
        digest
            .map(|it| it.to_string())
            .map_err(|error| chain(&error))
    }

    /// Returns the document of the result with a name.
    pub fn find(&self, name: &str) -> Result<Option<String>, String> {
        let key = StepKey::of(name.as_bytes());
        let (repository, tag) = (&self.repository, key.tag());
        let found = self.client.artifact(repository, &tag, STEP_ARTIFACT);
        let found = self
            .runtime
            .block_on(found)
            .map_err(|error| chain(&error))?;
        let Some(artifact) = found else {
            return Ok(None);
        };
        let result = StepResult::from_json(&artifact.document).ok_or("invalid document")?;
        assert_eq!(result.key, key);
        let blob = result.outputs.as_ref();
        assert_eq!(
            artifact.blob,
            blob.map(|blob| (blob.digest.clone(), blob.bytes))
        );
        Ok(Some(result.to_json()))
    }

    /// Downloads the file of a result.
    pub fn fetch(&self, document: &str, to: &mut File) -> Result<(), String> {
        let result = StepResult::from_json(document.as_bytes()).ok_or("invalid document")?;
        let blob = result.outputs.ok_or("no outputs")?;
        let (repository, limit) = (&self.repository, blob.bytes);
        let fetched = self.client.fetch_blob(repository, &blob.digest, limit, to);
        self.runtime
            .block_on(fetched)
            .map_err(|error| chain(&error))?;
        to.rewind().expect("a file");
        Ok(())
    }
}

/// Returns the tag of the result with a name.
pub fn step_tag(name: &str) -> String {
    StepKey::of(name.as_bytes()).tag().as_str().to_owned()
}
