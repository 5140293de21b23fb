//! The client of `cosign`, which makes and checks signatures.
//!
//! It only sees the signed bytes: xp itself reads and writes what registries have, so that the same credentials,
//! certificates and retries apply as for images, and a registry that does not respond is never taken for a missing
//! signature. Nothing is sent to a transparency log. Passwords are read from the environment, never from arguments.

mod error;
mod process;

use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

pub use error::CosignError;

use process::{ProgramOutput, run};

/// The variable with the password of the private key.
const PASSWORD: &str = "COSIGN_PASSWORD";

/// The variable for a public key that is in no file.
const PUBLIC_KEY: &str = "XP_COSIGN_PUBLIC_KEY";

/// What cosign prints about signatures that are not by the key, for the kinds of keys.
const INVALID: [&str; 5] = [
    "invalid signature",
    "verification error",
    "failed to verify signature",
    "Invalid IEEE_P1363",
    "illegal base64",
];

/// An installed version that can be used.
#[derive(Debug, Clone)]
pub struct Cosign {
    program: PathBuf,
    /// The folder that keys are relative to.
    folder: PathBuf,
    /// Options of newer versions, for signatures without a bundle.
    options: Vec<&'static str>,
    /// Whether the environment has the password of the private key.
    has_password: bool,
}

/// A public key.
#[derive(Debug, Clone)]
pub enum PublicKey {
    /// A file or URI, as cosign accepts it.
    Named(String),
    /// The key itself, in PEM.
    Content(String),
}

impl Cosign {
    /// Checks that an installed version can be used; `program` is its path. `has_password` if the environment has the
    /// password of the private key.
    ///
    /// # Errors
    ///
    /// It is not installed, or too old.
    pub async fn find(
        program: Option<PathBuf>,
        folder: &Path,
        has_password: bool,
    ) -> Result<Self, CosignError> {
        let program = program.ok_or(CosignError::NotInstalled)?;
        let mut cosign = Self {
            program,
            folder: folder.to_owned(),
            options: Vec::new(),
            has_password,
        };
        // Not the version: that of Debian's package is `devel`.
        let help = cosign.run(&["verify-blob", "--help"], &[], b"").await?;
        let help = help.text();
        if !help.contains("--insecure-ignore-tlog") || !help.contains("--private-infrastructure") {
            return Err(CosignError::TooOld {
                program: cosign.program,
            });
        }
        let help = cosign.run(&["sign-blob", "--help"], &[], b"").await?;
        let help = help.text();
        // Since version 3, these are on by default.
        let newer = [
            ("--use-signing-config=true", "--use-signing-config=false"),
            ("--new-bundle-format=true", "--new-bundle-format=false"),
        ];
        let newer = newer.into_iter().filter(|(known, _)| help.contains(known));
        cosign.options = newer.map(|(_, option)| option).collect();
        Ok(cosign)
    }

    /// Returns the public key of a private one, in PEM. The password of the private one is checked by this.
    ///
    /// # Errors
    ///
    /// The key cannot be read or decrypted.
    pub async fn public_key(&self, key: &str) -> Result<PublicKey, CosignError> {
        let output = self.run(&["public-key", "--key", key], &[], b"").await?;
        if !output.is_success() {
            return Err(CosignError::key(key, &output));
        }
        Ok(PublicKey::Content(output.text()))
    }

    /// Signs bytes, and returns the signature in base64.
    ///
    /// # Errors
    ///
    /// The key cannot be used.
    pub async fn sign(&self, key: &str, bytes: &[u8]) -> Result<String, CosignError> {
        let mut arguments = vec!["sign-blob", "--key", key, "--tlog-upload=false", "--yes"];
        arguments.extend(&self.options);
        arguments.push("-");
        let output = self.run(&arguments, &[], bytes).await?;
        let signature = output.text().trim().to_owned();
        if !output.is_success() || signature.is_empty() {
            return Err(CosignError::key(key, &output));
        }
        Ok(signature)
    }

    /// Returns whether a signature, in base64, is by a key.
    ///
    /// # Errors
    ///
    /// The key cannot be read, or the result is not clear.
    pub async fn is_signed(
        &self,
        key: &PublicKey,
        bytes: &[u8],
        signature: &str,
    ) -> Result<bool, CosignError> {
        // Anything else would be taken for a path or URL.
        if signature.is_empty() || BASE64_STANDARD.decode(signature).is_err() {
            return Ok(false);
        }
        let from_variable = format!("env://{PUBLIC_KEY}");
        let (name, variable) = match key {
            PublicKey::Named(name) => (name.as_str(), None),
            PublicKey::Content(pem) => (from_variable.as_str(), Some((PUBLIC_KEY, pem.as_str()))),
        };
        let arguments = [
            "verify-blob",
            "--key",
            name,
            "--signature",
            signature,
            "--insecure-ignore-tlog=true",
            "--private-infrastructure=true",
            "-",
        ];
        let variables: Vec<(&str, &str)> = variable.into_iter().collect();
        let output = self.run(&arguments, &variables, bytes).await?;
        if output.is_success() {
            return Ok(true);
        }
        let printed = output.errors().join("\n");
        if INVALID.iter().any(|part| printed.contains(part)) {
            return Ok(false);
        }
        Err(CosignError::key(name, &output))
    }

    async fn run(
        &self,
        arguments: &[&str],
        variables: &[(&str, &str)],
        input: &[u8],
    ) -> Result<ProgramOutput, CosignError> {
        let mut variables = variables.to_vec();
        if !self.has_password {
            // Otherwise it reads the password from the input.
            variables.push((PASSWORD, ""));
        }
        run(&self.program, arguments, &variables, &self.folder, input).await
    }
}
