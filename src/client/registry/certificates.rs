//! TLS certificates of registries, from Docker's `certs.d` folders.

use std::fs;
use std::io;
use std::path::Path;

use super::{RegistryError, RegistrySettings};
use crate::model::image::Registry;

/// CA certificates, and the client certificate with its key, as PEM.
pub(super) type Certificates = (Vec<Vec<u8>>, Option<Vec<u8>>);

/// Reads the registry's folder in `certs.d`: `*.crt` are CA certificates; `*.cert` with the `*.key` of the
/// same name is the client certificate.
pub(super) fn certificates(
    settings: &RegistrySettings,
    registry: &Registry,
) -> Result<Option<Certificates>, RegistryError> {
    for folder in &settings.certificates {
        let Ok(entries) = fs::read_dir(folder.join(registry.as_str())) else {
            continue;
        };
        let mut paths: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
        paths.sort();
        let with = |extension: &str| {
            let extension = extension.to_owned();
            paths
                .iter()
                .filter(move |path| path.extension().is_some_and(|found| *found == *extension))
        };
        let roots = with("crt")
            .map(|path| read(path))
            .collect::<Result<Vec<_>, _>>()?;
        let identity = match with("cert").next() {
            Some(cert) => {
                let mut pem = read(cert)?;
                pem.push(b'\n');
                pem.extend(read(&cert.with_extension("key"))?);
                Some(pem)
            }
            None => None,
        };
        if !roots.is_empty() || identity.is_some() {
            return Ok(Some((roots, identity)));
        }
    }
    Ok(None)
}

fn read(path: &Path) -> Result<Vec<u8>, RegistryError> {
    let failed = |source| RegistryError::Certificate {
        path: path.display().to_string(),
        source,
    };
    let bytes = fs::read(path).map_err(failed)?;
    // Checked here, where the file is known: the library ignores anything that is not PEM.
    if bytes.windows(PEM.len()).any(|window| window == PEM) {
        Ok(bytes)
    } else {
        let what = "no PEM data in the file";
        Err(failed(io::Error::new(io::ErrorKind::InvalidData, what)))
    }
}

const PEM: &[u8] = b"-----BEGIN ";
