//! The engine's socket on a remote machine.

use std::collections::HashMap;
use std::sync::Mutex;

use crate::client::engine::{
    Bind, ContainerSpec, CreatedContainer, ENGINE_SOCKET, EngineError, MountSource,
};
use crate::execute::ExecuteContext;
use crate::execute::step_error::StepError;
use crate::model::plan::ContainerStep;

/// Returns the path of the engine's socket on its machine.
pub fn engine_socket(context: &ExecuteContext) -> String {
    let named = context.engine.host_socket();
    named.unwrap_or(ENGINE_SOCKET).to_owned()
}

/// Returns the group of the socket, which only a container can see.
pub async fn group(
    context: &ExecuteContext,
    step: &ContainerStep,
    labels: &HashMap<String, String>,
) -> Result<Option<u32>, StepError> {
    let socket = engine_socket(context);
    let bind = Bind {
        source: MountSource::Path(socket.clone()),
        target: "/socket".to_owned(),
        read_only: true,
    };
    let mut spec = ContainerSpec::for_xp(step.image.clone(), labels.clone(), bind);
    spec.platform.clone_from(&step.platform);
    let created = match CreatedContainer::create(&context.engine, &spec).await {
        Err(EngineError::Refused { message, .. }) if message.contains("does not exist") => {
            return Err(StepError::plain(format!(
                "`socket: true` requires the engine's socket, but the machine of the engine at {} has none at {socket}",
                context.engine.address()
            ))
            .hint("remove `dockerBuilder.socket`, or include the socket's path in the engine's address: ssh://user@host/path/docker.sock"));
        }
        created => created?,
    };
    let running = match created.start(&spec).await {
        Ok(running) => running,
        Err(error) => {
            created.remove().await;
            return Err(error.into());
        }
    };
    let output = Mutex::new(Vec::new());
    let append = |bytes: bytes::Bytes| {
        if let Ok(mut output) = output.lock() {
            output.extend_from_slice(&bytes);
        }
    };
    let listed = running
        .run("ls -nd /socket", "/", Vec::new(), &append)
        .await;
    running.remove().await;
    listed?;
    let output = output.into_inner().unwrap_or_default();
    let output = String::from_utf8_lossy(&output);
    Ok(output
        .split_whitespace()
        .nth(3)
        .and_then(|group| group.parse().ok()))
}
