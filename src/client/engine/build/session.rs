//! The session of a build with BuildKit: gRPC services that the client provides to the engine during a build.
//!
//! They provide files, registry credentials, secrets, and the ssh agent. Only the files become part of an image. The
//! client library's own session supports only credentials.

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

use crate::base::nonce::nonce;
use crate::client::engine::{Engine, EngineError};
use crate::client::registry::Credentials;
pub use archive::{ContextArchive, counted};
pub use files::ContextFiles;
use ssh_agent::SshAgent;

/// The value of a secret, which is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretValue(Vec<u8>);

impl SecretValue {
    /// The maximum length that BuildKit accepts, in bytes.
    pub const MAX_LENGTH: usize = 500 * 1024;

    /// Returns the value.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

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

/// The services of a session.
pub struct SessionServices {
    /// Credentials by the engine's name of the registry.
    pub credentials: HashMap<String, Credentials>,
    /// Secrets by id.
    pub secrets: BTreeMap<String, SecretValue>,
    /// The socket of the ssh agent.
    pub ssh_agent: Option<PathBuf>,
    /// The context as single files.
    pub files: Option<ContextFiles>,
    /// The context as one archive.
    pub archive: Option<ContextArchive>,
}

/// A session, which ends when this is dropped.
pub struct BuildKitSession {
    id: String,
    /// Dropping it stops the server.
    _open: oneshot::Sender<()>,
}

impl BuildKitSession {
    /// Opens a session.
    pub async fn open(engine: &Engine, services: SessionServices) -> Result<Self, EngineError> {
        let action = "open a session for the build";
        // Chosen by the client, and must be unique in the engine.
        let id = format!("xp-{}{}", nonce(), nonce());
        let mut methods = vec![
            "grpc.health.v1.Health/Check",
            "moby.filesync.v1.Auth/Credentials",
            "moby.buildkit.secrets.v1.Secrets/GetSecret",
        ];
        if services.ssh_agent.is_some() {
            methods.push("moby.sshforward.v1.SSH/CheckAgent");
            methods.push("moby.sshforward.v1.SSH/ForwardAgent");
        }
        if services.files.is_some() {
            methods.push("moby.filesync.v1.FileSync/DiffCopy");
        }
        if services.archive.is_some() {
            methods.push("moby.upload.v1.Upload/Pull");
        }
        // The shared key is unique, because the engine skips files that have the same size and time as an earlier one
        // with the same key.
        let mut headers = format!(
            "Upgrade: h2c\r\nX-Docker-Expose-Session-Uuid: {id}\r\nX-Docker-Expose-Session-Sharedkey: {id}\r\n"
        );
        for method in methods {
            headers.push_str(&format!(
                "X-Docker-Expose-Session-Grpc-Method: /{method}\r\n"
            ));
        }
        let upgraded = engine.upgrade("/session", &headers, "", action).await?;
        let connection = upgraded.into_stream();
        let ssh = services
            .ssh_agent
            .map(|socket| SshServer::new(SshAgent { socket }));
        let (open, ended) = oneshot::channel();
        tokio::spawn(
            Server::builder()
                .add_service(HealthServer::new(HealthService))
                .add_service(AuthServer::new(CredentialService(services.credentials)))
                .add_service(
                    SecretsServer::new(SecretService(services.secrets))
                        .max_encoding_message_size(2 * SecretValue::MAX_LENGTH),
                )
                .add_optional_service(ssh)
                .add_optional_service(services.files.map(FileSyncServer::new))
                .add_optional_service(services.archive.map(UploadServer::new))
                .serve_with_incoming_shutdown(
                    // The stream must not end after the only connection, as that would stop the server.
                    stream::iter([Ok::<_, std::io::Error>(connection)]).chain(stream::pending()),
                    async {
                        _ = ended.await;
                    },
                ),
        );
        Ok(Self { id, _open: open })
    }

    /// Returns its id, which the build request refers to.
    pub fn id(&self) -> &str {
        &self.id
    }
}

/// Responds to the health checks that the engine sends every few seconds.
struct HealthService;

#[async_trait]
impl Health for HealthService {
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
        Err(Status::unimplemented("not supported"))
    }

    async fn watch(
        &self,
        _: Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        Err(Status::unimplemented("not supported"))
    }
}

struct CredentialService(HashMap<String, Credentials>);

#[async_trait]
impl Auth for CredentialService {
    async fn credentials(
        &self,
        request: Request<CredentialsRequest>,
    ) -> Result<Response<CredentialsResponse>, Status> {
        Ok(Response::new(match self.0.get(&request.get_ref().host) {
            Some(Credentials::Password { user, password }) => CredentialsResponse {
                username: user.clone(),
                secret: password.clone(),
            },
            // With an empty user name, the engine treats it as a token.
            Some(Credentials::IdentityToken(token)) => CredentialsResponse {
                username: String::new(),
                secret: token.clone(),
            },
            None => CredentialsResponse::default(),
        }))
    }

    // The engine exchanges credentials for tokens itself if the client does not.
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

struct SecretService(BTreeMap<String, SecretValue>);

#[async_trait]
impl Secrets for SecretService {
    async fn get_secret(
        &self,
        request: Request<GetSecretRequest>,
    ) -> Result<Response<GetSecretResponse>, Status> {
        let id = &request.get_ref().id;
        match self.0.get(id) {
            Some(SecretValue(data)) => Ok(Response::new(GetSecretResponse { data: data.clone() })),
            None => Err(Status::not_found(format!(
                "no secret `{id}` in `docker.secrets`"
            ))),
        }
    }
}
