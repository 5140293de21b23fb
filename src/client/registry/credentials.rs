//! Registry credentials, from Docker's configuration and its credential helpers.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use docker_credential::{CredentialRetrievalError, DockerCredential};

use super::RegistryError;
use crate::model::image::Registry;

/// Credentials for a registry.
#[derive(Clone, PartialEq, Eq)]
pub enum Credentials {
    /// User and password.
    Password {
        /// The user.
        user: String,
        /// The password.
        password: String,
    },
    /// A refresh token, exchanged for access tokens.
    IdentityToken(String),
}

/// Hides the secret.
impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Credentials({})", self.who())
    }
}

impl Credentials {
    /// Returns the user, for messages.
    pub fn who(&self) -> String {
        match self {
            Self::Password { user, .. } => format!("the user `{user}`"),
            Self::IdentityToken(_) => "the identity token".to_owned(),
        }
    }
}

/// Returns the credentials of one registry; runs only the helper configured for it.
pub(super) fn find(
    folder: Option<&Path>,
    registry: &Registry,
) -> Result<Option<Credentials>, RegistryError> {
    let Some(folder) = folder else {
        return Ok(None);
    };
    let path = folder.join("config.json");
    let configuration = |what: String| RegistryError::Configuration {
        path: path.display().to_string(),
        what,
    };
    let bytes = match fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(configuration(error.to_string())),
    };
    let server = server_of(registry);
    let helper = || helper_name(&bytes, server);
    match docker_credential::get_credential_from_reader(bytes.as_slice(), server) {
        Ok(DockerCredential::UsernamePassword(user, password)) => {
            Ok(Some(Credentials::Password { user, password }))
        }
        Ok(DockerCredential::IdentityToken(token)) => Ok(Some(Credentials::IdentityToken(token))),
        Err(
            CredentialRetrievalError::NoCredentialConfigured
            | CredentialRetrievalError::ConfigNotFound,
        ) => Ok(None),
        Err(CredentialRetrievalError::HelperFailure {
            helper,
            stdout,
            stderr,
        }) => {
            let output = format!("{stdout}{stderr}");
            // The standard message of a helper that has no credentials.
            if output.contains("credentials not found") {
                return Ok(None);
            }
            let what = format!(
                "failed: {}",
                output.trim().lines().next().unwrap_or("it gave no reason")
            );
            Err(RegistryError::Helper {
                helper,
                registry: registry.clone(),
                what,
            })
        }
        Err(CredentialRetrievalError::HelperCommunicationError) => Err(RegistryError::Helper {
            helper: helper(),
            registry: registry.clone(),
            what: "cannot be run: check that it is installed and on the PATH".to_owned(),
        }),
        Err(CredentialRetrievalError::MalformedHelperResponse) => Err(RegistryError::Helper {
            helper: helper(),
            registry: registry.clone(),
            what: "returned malformed output".to_owned(),
        }),
        Err(error) => Err(configuration(error.to_string())),
    }
}

/// The source of a registry's credentials.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CredentialSource {
    /// Docker's configuration has neither credentials nor a helper for it.
    NotConfigured,
    /// They are in this file.
    File(PathBuf),
    /// This program provides them.
    Helper(String),
}

/// Returns where credentials come from, without running a helper.
pub(super) fn source_of(folder: Option<&Path>, registry: &Registry) -> CredentialSource {
    let Some(path) = folder.map(|folder| folder.join("config.json")) else {
        return CredentialSource::NotConfigured;
    };
    let bytes = fs::read(&path).unwrap_or_default();
    let mut value: serde_json::Value = serde_json::from_slice(&bytes).unwrap_or_default();
    let server = server_of(registry);
    let own_helper = value
        .get("credHelpers")
        .and_then(|helpers| helpers.get(server))
        .and_then(serde_json::Value::as_str);
    if own_helper.is_some_and(|helper| !helper.is_empty()) {
        return CredentialSource::Helper(helper_name(&bytes, server));
    }
    // Credentials in the file take precedence over the default helper. Without helper names, the library
    // reads only the file.
    let has_store = value
        .as_object_mut()
        .and_then(|value| value.remove("credsStore"))
        .is_some_and(|store| store.as_str().is_some_and(|store| !store.is_empty()));
    let in_file =
        docker_credential::get_credential_from_reader(value.to_string().as_bytes(), server);
    match in_file {
        Ok(_) => CredentialSource::File(path),
        Err(_) if has_store => CredentialSource::Helper(helper_name(&bytes, server)),
        Err(_) => CredentialSource::NotConfigured,
    }
}

/// Returns the key of a registry in Docker's configuration.
fn server_of(registry: &Registry) -> &str {
    if registry.is_docker_hub() {
        "https://index.docker.io/v1/"
    } else {
        registry.as_str()
    }
}

/// Returns the credential helper of a registry, for messages.
pub(super) fn helper_of(folder: Option<&Path>, registry: &Registry) -> String {
    let configuration = folder.and_then(|folder| fs::read(folder.join("config.json")).ok());
    helper_name(&configuration.unwrap_or_default(), server_of(registry))
}

/// Returns the helper program configured for a registry.
fn helper_name(configuration: &[u8], server: &str) -> String {
    let value: serde_json::Value = serde_json::from_slice(configuration).unwrap_or_default();
    let helper = value
        .get("credHelpers")
        .and_then(|helpers| helpers.get(server))
        .or_else(|| value.get("credsStore"));
    format!(
        "docker-credential-{}",
        helper.and_then(serde_json::Value::as_str).unwrap_or("?")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn registry(name: &str) -> Registry {
        let repository: crate::model::image::ImageRepository = format!("{name}/x").parse().unwrap();
        repository.registry().unwrap().clone()
    }

    fn find_in(config: &str, name: &str) -> Result<Option<Credentials>, RegistryError> {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("config.json"), config).unwrap();
        find(Some(folder.path()), &registry(name))
    }

    #[test]
    fn a_password_is_found_and_hidden() {
        // bob:s3cret
        let found = find_in(
            r#"{"auths":{"h.example:5000":{"auth":"Ym9iOnMzY3JldA=="}}}"#,
            "h.example:5000",
        );
        let credentials = found.unwrap().unwrap();
        assert_eq!(
            credentials,
            Credentials::Password {
                user: "bob".to_owned(),
                password: "s3cret".to_owned()
            }
        );
        assert!(!format!("{credentials:?}").contains("s3cret"));
    }

    #[test]
    fn without_file_or_entry_there_are_no_credentials() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(
            find(Some(folder.path()), &registry("h.example")).unwrap(),
            None
        );
        assert_eq!(find_in(r#"{"auths":{}}"#, "h.example").unwrap(), None);
    }

    #[test]
    fn a_missing_helper_is_named() {
        let error = find_in(
            r#"{"credHelpers":{"h.example":"nowhere-to-be-found"}}"#,
            "h.example",
        )
        .unwrap_err();
        assert!(
            error
                .to_string()
                .contains("`docker-credential-nowhere-to-be-found` for h.example"),
            "{error}"
        );
    }

    #[test]
    fn the_source_is_known_without_running_a_helper() {
        let source = |config: &str| {
            let folder = tempfile::tempdir().unwrap();
            let file = folder.path().join("config.json");
            fs::write(&file, config).unwrap();
            match source_of(Some(folder.path()), &registry("h.example:5000")) {
                CredentialSource::File(path) => {
                    assert_eq!(path, file);
                    "file".to_owned()
                }
                CredentialSource::Helper(name) => name,
                CredentialSource::NotConfigured => "nowhere".to_owned(),
            }
        };
        let auths = r#""auths":{"h.example:5000":{"auth":"Ym9iOnMzY3JldA=="}}"#;
        assert_eq!(source(&format!("{{{auths}}}")), "file");
        assert_eq!(
            source(&format!(r#"{{{auths},"credsStore":"all"}}"#)),
            "file"
        );
        assert_eq!(
            source(&format!(
                r#"{{{auths},"credHelpers":{{"h.example:5000":"own"}}}}"#
            )),
            "docker-credential-own"
        );
        assert_eq!(
            source(r#"{"auths":{"h.example:5000":{}},"credsStore":"all"}"#),
            "docker-credential-all"
        );
        assert_eq!(source("{}"), "nowhere");
        assert_eq!(
            source_of(None, &registry("h.example:5000")),
            CredentialSource::NotConfigured
        );
    }

    #[test]
    fn a_broken_file_is_named() {
        let error = find_in("{", "h.example").unwrap_err();
        assert!(error.to_string().contains("config.json"), "{error}");
    }
}
