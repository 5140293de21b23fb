//! The engine's own socket, on its own machine.

use std::collections::HashMap;
use std::sync::Mutex;

use crate::client::engine::{
    Bind, ContainerSpec, CreatedContainer, ENGINE_SOCKET, EngineError, Source,
};
use crate::execute::Context;
use crate::execute::stop::StepError;
use crate::plan::ContainerStep;

/// Returns where the engine's socket is on its machine.
pub fn engine_socket(context: &Context) -> String {
    let named = context.engine.socket_of_host();
    named.unwrap_or(ENGINE_SOCKET).to_owned()
}

/// Returns the group that may use the socket: a container says so, as nothing else sees it.
pub async fn group(
    context: &Context,
    step: &ContainerStep,
    labels: &HashMap<String, String>,
) -> Result<Option<u32>, StepError> {
    let socket = engine_socket(context);
    let bind = Bind {
        source: Source::Path(socket.clone()),
        target: "/socket".to_owned(),
        read_only: true,
    };
    let spec = ContainerSpec::for_xp(step.image.clone(), labels.clone(), bind);
    let created = match CreatedContainer::create(&context.engine, &spec).await {
        Err(EngineError::Refused { message, .. }) if message.contains("does not exist") => {
            return Err(StepError::plain(format!(
                "`socket: true` needs the engine's socket, and the machine of the engine at {} has none at {socket}",
                context.engine.address()
            ))
            .hint("leave out `dockerBuilder.socket`, or name the socket: ssh://user@host/path/docker.sock"));
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
    let said = Mutex::new(Vec::new());
    let hear = |bytes: bytes::Bytes| {
        if let Ok(mut said) = said.lock() {
            said.extend_from_slice(&bytes);
        }
    };
    let listed = running.run("ls -nd /socket", "/", &hear).await;
    running.remove().await;
    listed?;
    let said = said.into_inner().unwrap_or_default();
    let said = String::from_utf8_lossy(&said);
    Ok(said
        .split_whitespace()
        .nth(3)
        .and_then(|group| group.parse().ok()))
}
