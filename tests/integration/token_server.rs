//! A server that issues the tokens of a registry, which decide what a user may do: see [`Context::token_registry`].
//!
//! [`Context::token_registry`]: crate::context::Context::token_registry

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use crate::process;
use crate::world::{Gateway, Incoming, Reply};

/// How long a token is valid, in seconds.
const VALID: u64 = 300;

/// A token server; stopped on drop.
pub struct TokenServer {
    gateway: Gateway,
    certificate: PathBuf,
}

impl TokenServer {
    /// Starts a server with its key in a folder. Its tokens permit at most these actions.
    pub fn new(folder: &Path, permitted: &'static [&'static str]) -> Self {
        let (key, certificate) = (folder.join("tokens.key"), folder.join("tokens.pem"));
        let mut create = Command::new("openssl");
        create.args(["req", "-x509", "-nodes", "-days", "7", "-subj", "/CN=xp"]);
        create.args(["-newkey", "rsa:2048", "-keyout"]).arg(&key);
        process::succeed(create.arg("-out").arg(&certificate));
        let chain = std::fs::read_to_string(&certificate).expect("the certificate");
        let gateway = Gateway::alone(move |incoming| {
            let token = token(&key, &chain, access(incoming, permitted));
            Reply::json(200, &json!({ "token": token }).to_string())
        });
        Self {
            gateway,
            certificate,
        }
    }

    /// Returns the URL of the server.
    pub fn realm(&self) -> String {
        format!("http://{}/token", self.gateway.host())
    }

    /// Returns the certificate that its tokens contain.
    pub fn certificate(&self) -> &Path {
        &self.certificate
    }
}

/// Returns the permitted part of the requested access.
fn access(incoming: &Incoming, permitted: &[&str]) -> Value {
    let query = incoming.path.split_once('?').map_or("", |(_, query)| query);
    let scopes = query.split('&').filter_map(|it| it.strip_prefix("scope="));
    let scopes = scopes.filter_map(|scope| {
        let scope = scope.replace("%3A", ":").replace("%2F", "/");
        let scope = scope.replace("%2C", ",");
        let (kind, rest) = scope.split_once(':')?;
        let (name, wanted) = rest.rsplit_once(':')?;
        let wanted = wanted.split(',');
        let actions: Vec<&str> = wanted.filter(|it| permitted.contains(it)).collect();
        Some(json!({ "type": kind, "name": name, "actions": actions }))
    });
    scopes.collect()
}

/// Returns a JSON web token that is signed with the key.
fn token(key: &Path, certificate: &str, access: Value) -> String {
    let lines = certificate.lines();
    let der: String = lines.filter(|line| !line.starts_with('-')).collect();
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("a time");
    let now = now.as_secs();
    let header = json!({ "typ": "JWT", "alg": "RS256", "x5c": [der] });
    let claims = json!({
        "iss": "xp", "sub": "ci", "aud": "registry", "jti": now.to_string(),
        "iat": now, "nbf": now - VALID, "exp": now + VALID, "access": access,
    });
    let encode = |part: Value| BASE64_URL_SAFE_NO_PAD.encode(part.to_string());
    let signed = format!("{}.{}", encode(header), encode(claims));
    let mut sign = Command::new("sh");
    sign.args([
        "-c",
        "printf %s \"$1\" | openssl dgst -sha256 -sign \"$2\" | base64 -w 0",
    ]);
    sign.args(["sh", &signed]).arg(key);
    let signature = BASE64_STANDARD.decode(process::succeed(&mut sign).trim());
    let signature = BASE64_URL_SAFE_NO_PAD.encode(signature.expect("base64"));
    format!("{signed}.{signature}")
}
