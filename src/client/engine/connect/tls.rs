//! TLS to an engine, usually with a private certificate authority.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

use crate::client::engine::EngineError;

/// The files for TLS to an engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineTls {
    /// The authority that signed the engine's certificate; if `None`, the system's authorities.
    pub authority: Option<PathBuf>,
    /// The client certificate and its key.
    pub identity: Option<(PathBuf, PathBuf)>,
    /// Whether to verify the engine's certificate.
    pub verify: bool,
}

/// Creates the TLS configuration from the files.
pub fn configuration(files: Option<&EngineTls>) -> Result<ClientConfig, EngineError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let versions = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| EngineError::Tls(error.to_string()))?;
    let roots = Arc::new(roots(files.and_then(|files| files.authority.as_deref()))?);
    let verifier = WebPkiServerVerifier::builder_with_provider(roots.clone(), provider.clone());
    let builder = match files {
        Some(files) if !files.verify => versions
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AcceptAnyCertificate(provider))),
        _ => versions.with_webpki_verifier(
            verifier
                .build()
                .map_err(|error| EngineError::Tls(error.to_string()))?,
        ),
    };
    match files.and_then(|files| files.identity.as_ref()) {
        None => Ok(builder.with_no_client_auth()),
        Some((certificate, key)) => {
            let chain = certificates(certificate)?;
            let secret = PrivateKeyDer::from_pem_slice(&read(key)?)
                .map_err(|error| unreadable(key, error))?;
            builder
                .with_client_auth_cert(chain, secret)
                .map_err(|error| unreadable(certificate, error))
        }
    }
}

fn roots(authority: Option<&Path>) -> Result<RootCertStore, EngineError> {
    let mut roots = RootCertStore::empty();
    match authority {
        Some(path) => {
            for certificate in certificates(path)? {
                roots
                    .add(certificate)
                    .map_err(|error| unreadable(path, error))?;
            }
        }
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    Ok(roots)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, EngineError> {
    let text = read(path)?;
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    match read {
        Ok(found) if found.is_empty() => Err(unreadable(path, "it contains no certificate")),
        Ok(found) => Ok(found),
        Err(error) => Err(unreadable(path, error)),
    }
}

fn read(path: &Path) -> Result<Vec<u8>, EngineError> {
    fs::read(path).map_err(|error| unreadable(path, error))
}

fn unreadable(path: &Path, why: impl std::fmt::Display) -> EngineError {
    EngineError::Tls(format!("{} cannot be read: {why}", path.display()))
}

/// Accepts any certificate, for contexts with `SkipTLSVerify`.
#[derive(Debug)]
struct AcceptAnyCertificate(Arc<rustls::crypto::CryptoProvider>);

impl ServerCertVerifier for AcceptAnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
