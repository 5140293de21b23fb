//! Docker contexts: engines that were named with `docker context create`.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use sha2::{Digest as _, Sha256};
use thiserror::Error;

use super::tls::EngineTls;
use crate::base::error::{Diagnostic, Exit};
use crate::base::suggest;

/// A docker context.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DockerContext {
    /// Its name.
    pub name: String,
    /// The address of its engine.
    pub address: String,
    /// The files for TLS, if it is used.
    pub tls: Option<EngineTls>,
}

/// A docker context cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum DockerContextError {
    /// The context does not exist.
    #[error("docker context `{name}` not found (set by {set_by})")]
    Missing {
        /// The name.
        name: String,
        /// The variable or file that selects it.
        set_by: String,
        /// The existing contexts.
        known: Vec<String>,
    },
    /// Its file cannot be read.
    #[error("cannot use docker context `{name}`: {} {why}", path.display())]
    Unreadable {
        /// The name.
        name: String,
        /// The file.
        path: PathBuf,
        /// The reason.
        why: String,
    },
    /// The context of the manifest does not exist.
    #[error("docker context `{name}` not found (set by `engines` in {manifest})")]
    MissingInManifest {
        /// The name.
        name: String,
        /// The file name of the manifest.
        manifest: String,
        /// The existing contexts.
        known: Vec<String>,
    },
    /// TLS is requested, but its files are not configured.
    #[error("DOCKER_TLS_VERIFY is set, but no certificate folder is configured")]
    NoCertificates,
}

impl Diagnostic for DockerContextError {
    fn exit(&self) -> Exit {
        Exit::Usage
    }

    fn hints(&self) -> Vec<String> {
        match self {
            Self::Missing { name, known, .. } => {
                let near = suggest::nearest(name, known.iter().map(String::as_str));
                let suggestion = match (near, known.is_empty()) {
                    (Some(near), _) => suggest::did_you_mean(near),
                    (None, true) => "the only context is `default`".to_owned(),
                    (None, false) => format!("known contexts: {}", known.join(", ")),
                };
                vec![
                    suggestion,
                    "`docker context use default` switches back to the engine of this machine; DOCKER_HOST overrides any context".to_owned(),
                ]
            }
            Self::MissingInManifest { name, known, .. } => {
                let near = suggest::nearest(name, known.iter().map(String::as_str));
                let suggestion = near.map(suggest::did_you_mean);
                let create = format!(
                    "`docker context create {name} --docker host=ssh://USER@HOST` creates it"
                );
                suggestion.into_iter().chain([create]).collect()
            }
            Self::NoCertificates => vec![
                "set DOCKER_CERT_PATH to the folder with ca.pem, cert.pem and key.pem; the default is unknown because neither HOME nor DOCKER_CONFIG is set".to_owned(),
            ],
            Self::Unreadable { name, .. } => vec![format!(
                "run `docker context inspect {name}` for details; DOCKER_HOST overrides any context"
            )],
        }
    }
}

/// Returns the context in use; `None` for the default one. `folder` is docker's configuration folder, `named` is
/// `DOCKER_CONTEXT`.
///
/// # Errors
///
/// The context does not exist or cannot be read.
pub fn current(
    folder: Option<&Path>,
    named: Option<&str>,
) -> Result<Option<DockerContext>, DockerContextError> {
    let configured = || {
        let configuration = json(&folder?.join("config.json")).ok()?;
        let name = configuration.get("currentContext")?.as_str()?.to_owned();
        Some((
            name,
            format!(
                "`currentContext` in {}",
                folder?.join("config.json").display()
            ),
        ))
    };
    let named = named.map(|name| (name.to_owned(), "DOCKER_CONTEXT".to_owned()));
    let Some((name, set_by)) = named.or_else(configured) else {
        return Ok(None);
    };
    if matches!(name.as_str(), "" | "default") {
        return Ok(None);
    }
    match named_context(folder, &name)? {
        Some(context) => Ok(Some(context)),
        None => Err(DockerContextError::Missing {
            name,
            set_by,
            known: folder.map(known).unwrap_or_default(),
        }),
    }
}

/// Returns a context of the manifest, by its name.
///
/// # Errors
///
/// The context does not exist or cannot be read.
pub fn of_manifest(
    folder: Option<&Path>,
    name: &str,
    manifest: &str,
) -> Result<DockerContext, DockerContextError> {
    let missing = || DockerContextError::MissingInManifest {
        name: name.to_owned(),
        manifest: manifest.to_owned(),
        known: folder.map(known).unwrap_or_default(),
    };
    named_context(folder, name)?.ok_or_else(missing)
}

/// Returns the context with a name; `None` if there is none.
fn named_context(
    folder: Option<&Path>,
    name: &str,
) -> Result<Option<DockerContext>, DockerContextError> {
    // Docker names the folder of a context after the digest of its name.
    let id = hex::encode(Sha256::digest(name));
    let contexts = folder.map(|folder| folder.join("contexts"));
    let path = contexts
        .as_ref()
        .map(|folder| folder.join("meta").join(&id).join("meta.json"));
    let Some((contexts, path)) = contexts.zip(path.filter(|path| path.exists())) else {
        return Ok(None);
    };
    let unreadable = |why: String| DockerContextError::Unreadable {
        name: name.to_owned(),
        path: path.clone(),
        why,
    };
    let meta = json(&path).map_err(|error| unreadable(format!("cannot be read: {error}")))?;
    let endpoint = meta.get("Endpoints").and_then(|it| it.get("docker"));
    let host = endpoint
        .and_then(|it| it.get("Host"))
        .and_then(Value::as_str);
    let Some(host) = host.filter(|host| !host.is_empty()) else {
        return Err(unreadable("has no engine address".to_owned()));
    };
    let skips = endpoint
        .and_then(|it| it.get("SkipTLSVerify"))
        .and_then(Value::as_bool);
    Ok(Some(DockerContext {
        address: host.to_owned(),
        tls: tls(
            &contexts.join("tls").join(&id).join("docker"),
            skips == Some(true),
        ),
        name: name.to_owned(),
    }))
}

/// Returns the TLS settings in a context's folder, if any.
fn tls(folder: &Path, skips_verification: bool) -> Option<EngineTls> {
    let file = |name: &str| Some(folder.join(name)).filter(|path| path.exists());
    let found = EngineTls {
        authority: file("ca.pem"),
        identity: file("cert.pem").zip(file("key.pem")),
        verify: !skips_verification,
    };
    let is_used = found.authority.is_some() || found.identity.is_some() || skips_verification;
    is_used.then_some(found)
}

fn known(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder.join("contexts/meta"))
        .into_iter()
        .flatten()
        .flatten();
    let names = entries.filter_map(|entry| {
        let meta = json(&entry.path().join("meta.json")).ok()?;
        Some(meta.get("Name")?.as_str()?.to_owned())
    });
    let mut names: Vec<String> = names.collect();
    names.sort();
    names
}

fn json(path: &Path) -> std::io::Result<Value> {
    Ok(serde_json::from_slice(&fs::read(path)?)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let id = "b3a2ae0ef8f8b3ee5bf3fd2c0c4ef5ad";
        let meta = folder.path().join("contexts/meta").join(id);
        fs::create_dir_all(&meta).unwrap();
        fs::write(meta.join("meta.json"), r#"{"Name": "builders"}"#).unwrap();
        folder
    }

    fn add(folder: &Path, name: &str, meta: &str) -> PathBuf {
        let id = hex::encode(Sha256::digest(name));
        let path = folder.join("contexts/meta").join(&id);
        fs::create_dir_all(&path).unwrap();
        fs::write(path.join("meta.json"), meta).unwrap();
        let tls = folder.join("contexts/tls").join(&id).join("docker");
        fs::create_dir_all(&tls).unwrap();
        tls
    }

    #[test]
    fn the_context_in_use_is_found() {
        let folder = store();
        let tls = add(
            folder.path(),
            "far",
            r#"{"Name": "far", "Endpoints": {"docker": {"Host": "tcp://far:2376", "SkipTLSVerify": false}}}"#,
        );
        let read = |named| current(Some(folder.path()), named).unwrap();
        assert_eq!(read(None), None);
        assert_eq!(read(Some("default")), None);
        let far = read(Some("far")).unwrap();
        assert_eq!((far.address.as_str(), far.tls), ("tcp://far:2376", None));
        fs::write(tls.join("ca.pem"), "").unwrap();
        fs::write(
            folder.path().join("config.json"),
            r#"{"currentContext": "far"}"#,
        )
        .unwrap();
        let far = read(None).unwrap().tls.unwrap();
        assert_eq!(far.authority, Some(tls.join("ca.pem")));
        assert!(far.verify && far.identity.is_none());
        assert_eq!(read(Some("default")), None);
    }

    #[test]
    fn a_context_of_the_manifest_is_found() {
        let folder = store();
        let meta = r#"{"Name": "arm", "Endpoints": {"docker": {"Host": "ssh://arm"}}}"#;
        add(folder.path(), "arm", meta);
        let read = |name| of_manifest(Some(folder.path()), name, "x-platform.yml");
        assert_eq!(read("arm").unwrap().address, "ssh://arm");
        let error = read("bilder").unwrap_err();
        assert_eq!(
            error.to_string(),
            "docker context `bilder` not found (set by `engines` in x-platform.yml)"
        );
        assert_eq!(error.hints()[0], "did you mean `builders`?");
    }

    #[test]
    fn an_unknown_context_suggests_a_similar_one() {
        let folder = store();
        let error = current(Some(folder.path()), Some("bilders")).unwrap_err();
        assert_eq!(
            error.to_string(),
            "docker context `bilders` not found (set by DOCKER_CONTEXT)"
        );
        assert_eq!(error.hints()[0], "did you mean `builders`?");
        add(
            folder.path(),
            "empty",
            r#"{"Name": "empty", "Endpoints": {}}"#,
        );
        let error = current(Some(folder.path()), Some("empty")).unwrap_err();
        assert!(
            error
                .to_string()
                .ends_with("meta.json has no engine address"),
            "{error}"
        );
    }
}
