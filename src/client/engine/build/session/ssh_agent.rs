//! Forwards the ssh agent to instructions that mount it.

use std::path::PathBuf;

use bollard::moby::sshforward::v1::ssh_server::Ssh;
use bollard::moby::sshforward::v1::{BytesMessage, CheckAgentRequest, CheckAgentResponse};
use futures_util::stream::BoxStream;
use futures_util::{StreamExt as _, TryStreamExt as _};
use tokio::io::AsyncWriteExt as _;
use tokio::net::UnixStream;
use tokio_util::io::ReaderStream;
use tonic::{Request, Response, Status, Streaming, async_trait};

/// The id of the agent if an instruction specifies none.
const DEFAULT: &str = "default";

/// The user's ssh agent.
pub(super) struct SshAgent {
    pub socket: PathBuf,
}

#[async_trait]
impl Ssh for SshAgent {
    type ForwardAgentStream = BoxStream<'static, Result<BytesMessage, Status>>;

    async fn check_agent(
        &self,
        request: Request<CheckAgentRequest>,
    ) -> Result<Response<CheckAgentResponse>, Status> {
        match request.get_ref().id.as_str() {
            "" | DEFAULT => Ok(Response::new(CheckAgentResponse {})),
            id => Err(Status::not_found(format!(
                "`docker.ssh` forwards only the agent `{DEFAULT}`, not `{id}`"
            ))),
        }
    }

    /// Forwards bytes in both directions.
    async fn forward_agent(
        &self,
        request: Request<Streaming<BytesMessage>>,
    ) -> Result<Response<Self::ForwardAgentStream>, Status> {
        let agent = UnixStream::connect(&self.socket).await.map_err(|error| {
            let socket = self.socket.display();
            Status::unavailable(format!(
                "cannot connect to the ssh agent at {socket}: {error}"
            ))
        })?;
        let (responses, mut requests) = agent.into_split();
        let mut incoming = request.into_inner();
        tokio::spawn(async move {
            while let Ok(Some(message)) = incoming.message().await {
                if requests.write_all(&message.data).await.is_err() {
                    break;
                }
            }
            // Dropping `requests` closes the connection to the agent.
        });
        let responses = ReaderStream::new(responses)
            .map_ok(|bytes| BytesMessage {
                data: bytes.to_vec(),
            })
            .map_err(|error| Status::unavailable(error.to_string()));
        Ok(Response::new(responses.boxed()))
    }
}
