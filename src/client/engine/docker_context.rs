//! Docker's contexts: the engines that `docker context create` gave names.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use sha2::{Digest as _, Sha256};
use thiserror::Error;

use super::tls::EngineTls;
use crate::error::{Diagnostic, Exit};

/// A context of docker's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DockerContext {
    /// Its name.
    pub name: String,
    /// Where its engine is.
    pub address: String,
    /// What TLS to it takes.
    pub tls: Option<EngineTls>,
}

/// A context that leads to no engine.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum DockerContextError {
    /// There is no context of that name.
    #[error("docker has no context `{name}`, which {said_by} names")]
    Missing {
        /// The name.
        name: String,
        /// What names it.
        said_by: String,
        /// Those that there are.
        known: Vec<String>,
    },
    /// Its file cannot be read.
    #[error("docker's context `{name}` cannot be read: {} {why}", path.display())]
    Unreadable {
        /// The name.
        name: String,
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// TLS is asked for, and nobody says where its files are.
    #[error("DOCKER_TLS_VERIFY asks for TLS, and nothing says where its certificates are")]
    NoCertificates,
}

impl Diagnostic for DockerContextError {
    fn exit(&self) -> Exit {
        Exit::Usage
    }

    fn hints(&self) -> Vec<String> {
        match self {
            Self::Missing { name, known, .. } => {
                let allowed = (name.chars().count() / 3).clamp(1, 4);
                let away = |known: &&String| strsim::damerau_levenshtein(name, known);
                let near = known.iter().filter(|known| away(known) <= allowed);
                let near = near.min_by_key(away);
                let there = match (near, known.is_empty()) {
                    (Some(near), _) => format!("did you mean `{near}`?"),
                    (None, true) => "there are no contexts but `default`".to_owned(),
                    (None, false) => format!("there are {}", known.join(", ")),
                };
                vec![
                    there,
                    "`docker context use default` goes back to the engine of this machine, and DOCKER_HOST overrules a context".to_owned(),
                ]
            }
            Self::NoCertificates => vec![
                "let DOCKER_CERT_PATH name the folder with ca.pem, cert.pem and key.pem; without HOME and DOCKER_CONFIG there is no ~/.docker".to_owned(),
            ],
            Self::Unreadable { name, .. } => vec![format!(
                "`docker context inspect {name}` tells more; DOCKER_HOST overrules a context"
            )],
        }
    }
}

/// Returns the context in use, where it is not the default one. `folder` is that of docker's
/// configuration, `named` is `DOCKER_CONTEXT`.
///
/// # Errors
///
/// One that does not exist, or cannot be read.
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
                "`currentContext` of {}",
                folder?.join("config.json").display()
            ),
        ))
    };
    let named = named.map(|name| (name.to_owned(), "DOCKER_CONTEXT".to_owned()));
    let Some((name, said_by)) = named.or_else(configured) else {
        return Ok(None);
    };
    if matches!(name.as_str(), "" | "default") {
        return Ok(None);
    }
    // Docker names the folder of a context by the digest of its name.
    let id = hex::encode(Sha256::digest(&name));
    let contexts = folder.map(|folder| folder.join("contexts"));
    let path = contexts
        .as_ref()
        .map(|folder| folder.join("meta").join(&id).join("meta.json"));
    let Some((contexts, path)) = contexts.zip(path.filter(|path| path.exists())) else {
        let known = folder.map(known).unwrap_or_default();
        return Err(DockerContextError::Missing {
            name,
            said_by,
            known,
        });
    };
    let unreadable = |why: String| DockerContextError::Unreadable {
        name: name.clone(),
        path: path.clone(),
        why,
    };
    let meta = json(&path).map_err(|error| unreadable(format!("cannot be read: {error}")))?;
    let endpoint = meta.get("Endpoints").and_then(|it| it.get("docker"));
    let host = endpoint
        .and_then(|it| it.get("Host"))
        .and_then(Value::as_str);
    let Some(host) = host.filter(|host| !host.is_empty()) else {
        return Err(unreadable("names no engine".to_owned()));
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
        name,
    }))
}

/// Returns what a context's folder has for TLS, where it has something.
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
    fn one_that_does_not_exist_is_answered_with_a_near_one() {
        let folder = store();
        let error = current(Some(folder.path()), Some("bilders")).unwrap_err();
        assert_eq!(
            error.to_string(),
            "docker has no context `bilders`, which DOCKER_CONTEXT names"
        );
        assert_eq!(error.hints()[0], "did you mean `builders`?");
        add(
            folder.path(),
            "empty",
            r#"{"Name": "empty", "Endpoints": {}}"#,
        );
        let error = current(Some(folder.path()), Some("empty")).unwrap_err();
        assert!(
            error.to_string().ends_with("meta.json names no engine"),
            "{error}"
        );
    }
}
