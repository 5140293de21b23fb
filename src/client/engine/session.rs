//! The session of a build with BuildKit: what the engine may ask of the client while it builds.
//!
//! It asks for files, for credentials of registries, for secrets, and for the ssh agent, and each answer goes to it
//! alone: but for the files, nothing of them becomes part of an image. The client library has a session of its own,
//! which knows credentials only.

mod archive;
mod files;
mod ssh_agent;

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::path::PathBuf;

use bollard::health::health_server::{Health, HealthServer};
use bollard::health::{
    HealthCheckRequest, HealthCheckResponse, HealthListRequest, HealthListResponse,
};
use bollard::moby::buildkit::secrets::v1::secrets_server::{Secrets, SecretsServer};
use bollard::moby::buildkit::secrets::v1::{GetSecretRequest, GetSecretResponse};
use bollard::moby::filesync::packet::file_sync_server::FileSyncServer;
use bollard::moby::filesync::v1::auth_server::{Auth, AuthServer};
use bollard::moby::filesync::v1::{
    CredentialsRequest, CredentialsResponse, FetchTokenRequest, FetchTokenResponse,
    GetTokenAuthorityRequest, GetTokenAuthorityResponse, VerifyTokenAuthorityRequest,
    VerifyTokenAuthorityResponse,
};
use bollard::moby::sshforward::v1::ssh_server::SshServer;
use bollard::moby::upload::v1::upload_server::UploadServer;
use futures_util::StreamExt as _;
use futures_util::stream::{self, Pending};
use tokio::sync::oneshot;
use tonic::transport::Server;
use tonic::{Request, Response, Status, async_trait};

use super::archive::nonce;
use super::{Engine, EngineError};
use crate::client::registry::Credentials;
pub(super) use archive::{Archive, counted};
pub(super) use files::Files;
use ssh_agent::SshAgent;

/// The value of a secret, which nothing prints.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretValue(Vec<u8>);

impl SecretValue {
    /// The longest that BuildKit takes, in bytes.
    pub const MAX_LENGTH: usize = 500 * 1024;

    /// Wraps a value.
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }
}

impl fmt::Debug for SecretValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretValue(…)")
    }
}

/// What the engine may ask for.
pub(super) struct Offered {
    /// Credentials by what the engine calls the registry.
    pub credentials: HashMap<String, Credentials>,
    /// Secrets by their ids.
    pub secrets: BTreeMap<String, SecretValue>,
    /// The socket of the ssh agent.
    pub ssh_agent: Option<PathBuf>,
    /// The files of the context, one by one.
    pub files: Option<Files>,
    /// The context as one archive.
    pub archive: Option<Archive>,
}

/// A session, which ends when this is dropped.
pub(super) struct Session {
    id: String,
    /// Its end is what ends the server.
    _open: oneshot::Sender<()>,
}

impl Session {
    /// Opens a session at the engine.
    pub async fn open(engine: &Engine, offered: Offered) -> Result<Self, EngineError> {
        let action = "open a session for the build";
        // Made by the client, and unique at the engine.
        let id = format!("xp-{}{}", nonce(), nonce());
        let mut methods = vec![
            "grpc.health.v1.Health/Check",
            "moby.filesync.v1.Auth/Credentials",
            "moby.buildkit.secrets.v1.Secrets/GetSecret",
        ];
        if offered.ssh_agent.is_some() {
            methods.push("moby.sshforward.v1.SSH/CheckAgent");
            methods.push("moby.sshforward.v1.SSH/ForwardAgent");
        }
        if offered.files.is_some() {
            methods.push("moby.filesync.v1.FileSync/DiffCopy");
        }
        if offered.archive.is_some() {
            methods.push("moby.upload.v1.Upload/Pull");
        }
        // The engine would compare files with those that came under the same key before, by size and time alone.
        let mut headers = format!(
            "Upgrade: h2c\r\nX-Docker-Expose-Session-Uuid: {id}\r\nX-Docker-Expose-Session-Sharedkey: {id}\r\n"
        );
        for method in methods {
            headers.push_str(&format!(
                "X-Docker-Expose-Session-Grpc-Method: /{method}\r\n"
            ));
        }
        let answer = engine.upgrade("/session", &headers, "", action).await?;
        let connection = answer.into_stream();
        let ssh = offered
            .ssh_agent
            .map(|socket| SshServer::new(SshAgent { socket }));
        let (open, ended) = oneshot::channel();
        tokio::spawn(
            Server::builder()
                .add_service(HealthServer::new(Alive))
                .add_service(AuthServer::new(KnownCredentials(offered.credentials)))
                .add_service(
                    SecretsServer::new(KnownSecrets(offered.secrets))
                        .max_encoding_message_size(2 * SecretValue::MAX_LENGTH),
                )
                .add_optional_service(ssh)
                .add_optional_service(offered.files.map(FileSyncServer::new))
                .add_optional_service(offered.archive.map(UploadServer::new))
                .serve_with_incoming_shutdown(
                    // No second connection comes, which is no reason to end the first.
                    stream::iter([Ok::<_, std::io::Error>(connection)]).chain(stream::pending()),
                    async {
                        _ = ended.await;
                    },
                ),
        );
        Ok(Self { id, _open: open })
    }

    /// Returns what a build names it by.
    pub fn id(&self) -> &str {
        &self.id
    }
}

/// The engine asks every few seconds whether the client is there.
struct Alive;

#[async_trait]
impl Health for Alive {
    type WatchStream = Pending<Result<HealthCheckResponse, Status>>;

    async fn check(
        &self,
        _: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        const SERVING: i32 = 1;
        Ok(Response::new(HealthCheckResponse { status: SERVING }))
    }

    async fn list(
        &self,
        _: Request<HealthListRequest>,
    ) -> Result<Response<HealthListResponse>, Status> {
        Err(Status::unimplemented("there is one service"))
    }

    async fn watch(
        &self,
        _: Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        Err(Status::unimplemented("ask again"))
    }
}

struct KnownCredentials(HashMap<String, Credentials>);

#[async_trait]
impl Auth for KnownCredentials {
    async fn credentials(
        &self,
        request: Request<CredentialsRequest>,
    ) -> Result<Response<CredentialsResponse>, Status> {
        Ok(Response::new(match self.0.get(&request.get_ref().host) {
            Some(Credentials::Password { user, password }) => CredentialsResponse {
                username: user.clone(),
                secret: password.clone(),
            },
            // Without a user the engine takes it for what it is.
            Some(Credentials::IdentityToken(token)) => CredentialsResponse {
                username: String::new(),
                secret: token.clone(),
            },
            None => CredentialsResponse::default(),
        }))
    }

    // The engine exchanges credentials for tokens itself where the client does not.
    async fn fetch_token(
        &self,
        _: Request<FetchTokenRequest>,
    ) -> Result<Response<FetchTokenResponse>, Status> {
        Err(Status::unimplemented("the engine fetches tokens"))
    }

    async fn get_token_authority(
        &self,
        _: Request<GetTokenAuthorityRequest>,
    ) -> Result<Response<GetTokenAuthorityResponse>, Status> {
        Err(Status::unavailable("the engine fetches tokens"))
    }

    async fn verify_token_authority(
        &self,
        _: Request<VerifyTokenAuthorityRequest>,
    ) -> Result<Response<VerifyTokenAuthorityResponse>, Status> {
        Err(Status::unavailable("the engine fetches tokens"))
    }
}

struct KnownSecrets(BTreeMap<String, SecretValue>);

#[async_trait]
impl Secrets for KnownSecrets {
    async fn get_secret(
        &self,
        request: Request<GetSecretRequest>,
    ) -> Result<Response<GetSecretResponse>, Status> {
        let id = &request.get_ref().id;
        match self.0.get(id) {
            Some(SecretValue(data)) => Ok(Response::new(GetSecretResponse { data: data.clone() })),
            None => Err(Status::not_found(format!("`docker.secrets` has no `{id}`"))),
        }
    }
}
