//! A CA of the test run, and a certificate for its servers.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::process;

/// The files of a private CA and of a certificate for `localhost` and `127.0.0.1`.
pub struct Certificates {
    pub authority: PathBuf,
    pub server: PathBuf,
    pub server_key: PathBuf,
    /// A folder with `ca.pem`, `cert.pem` and `key.pem` for a client of an engine.
    pub client: PathBuf,
}

impl Certificates {
    /// Creates both in a folder.
    pub fn generate(directory: &Path) -> Self {
        fs::create_dir_all(directory).expect("a folder for certificates");
        let certificates = Self {
            authority: directory.join("ca.pem"),
            server: directory.join("server.pem"),
            server_key: directory.join("server.key"),
            client: directory.join("client"),
        };
        let authority_key = directory.join("ca.key");

        let mut authority = request("/CN=xp test authority");
        authority
            .arg("-keyout")
            .arg(&authority_key)
            .arg("-out")
            .arg(&certificates.authority);
        extend(&mut authority, "basicConstraints=critical,CA:TRUE");
        extend(&mut authority, "keyUsage=critical,keyCertSign,cRLSign");
        process::succeed(&mut authority);

        let mut server = request("/CN=localhost");
        server
            .arg("-keyout")
            .arg(&certificates.server_key)
            .arg("-out")
            .arg(&certificates.server);
        server
            .arg("-CA")
            .arg(&certificates.authority)
            .arg("-CAkey")
            .arg(&authority_key);
        extend(&mut server, "basicConstraints=critical,CA:FALSE");
        extend(&mut server, "extendedKeyUsage=serverAuth");
        extend(&mut server, "subjectAltName=DNS:localhost,IP:127.0.0.1");
        process::succeed(&mut server);

        fs::create_dir_all(&certificates.client).expect("a folder for a client");
        let file = |name: &str| certificates.client.join(name);
        fs::copy(&certificates.authority, file("ca.pem")).expect("the authority's certificate");
        let mut client = request("/CN=xp test client");
        client.arg("-keyout").arg(file("key.pem"));
        client.arg("-out").arg(file("cert.pem"));
        client.arg("-CA").arg(&certificates.authority);
        client.arg("-CAkey").arg(&authority_key);
        extend(&mut client, "basicConstraints=critical,CA:FALSE");
        extend(&mut client, "extendedKeyUsage=clientAuth");
        process::succeed(&mut client);
        certificates
    }
}

fn request(subject: &str) -> Command {
    let mut command = Command::new("openssl");
    command.args(["req", "-x509", "-nodes", "-days", "7", "-subj", subject]);
    command.args(["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]);
    command
}

fn extend(command: &mut Command, extension: &str) {
    command.args(["-addext", extension]);
}
