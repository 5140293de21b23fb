//! Builds with the classic builder, for engines without BuildKit.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use bollard::body_try_stream;
use bollard::models::BuildInfo;
use bollard::query_parameters::BuildImageOptionsBuilder;
use futures_util::StreamExt as _;

use super::log::BuildLog;
use super::{BuildFailure, BuildWatcher, ContextProgress, ImageBuild, by_engine_name};
use crate::client::engine::build::context::ContextFolder;
use crate::client::engine::build::session::counted;
use crate::client::engine::transfer::images::to_engine;
use crate::client::engine::transfer::messages::ignore_trailing_bytes;
use crate::client::engine::{Engine, EngineError};
use crate::model::dockerfile::FailedInstruction;

impl Engine {
    /// Builds an image with `POST /build`. This builder looks for images in the engine before it queries a registry.
    pub(super) async fn build_classic(
        &self,
        build: &ImageBuild<'_>,
        context: Arc<ContextFolder>,
        watcher: BuildWatcher<'_>,
    ) -> Result<String, BuildFailure> {
        let action = || "build the image".to_owned();
        let to_map = |map: &BTreeMap<String, String>| -> HashMap<String, String> {
            let entries = map.iter();
            entries
                .map(|(name, value)| (name.clone(), value.clone()))
                .collect()
        };
        let mut options = BuildImageOptionsBuilder::default()
            .dockerfile(context.dockerfile())
            .rm(true)
            .forcerm(true)
            .nocache(build.fresh)
            .buildargs(&to_map(build.args))
            .labels(&to_map(build.labels));
        if let Some(target) = build.target {
            options = options.target(target);
        }
        let credentials = by_engine_name(&build.credentials).into_iter();
        let credentials = credentials.map(|(name, it)| (name, to_engine(it)));
        let mut sent = ContextProgress::new(watcher);
        let archive = counted(context.stream(), &sent.bytes, sent.failed.clone());
        let engine = self.without_timeout();
        let messages = engine.build_image(
            options.build(),
            Some(credentials.collect()),
            Some(body_try_stream(archive)),
        );
        let mut messages = Box::pin(ignore_trailing_bytes(messages));
        let mut log = BuildLog::default();
        loop {
            let message = tokio::select! {
                message = messages.next() => message,
                _ = sent.ticks.tick() => {
                    sent.report();
                    continue;
                }
            };
            let Some(message) = message else { break };
            let failed = match message {
                // The client library returns an error only if the detail has a message.
                Ok(BuildInfo {
                    error_detail: Some(detail),
                    ..
                }) => EngineError::refused(action(), detail),
                Ok(message) => {
                    log.write(message, watcher.output);
                    continue;
                }
                Err(error) => EngineError::new(action(), error),
            };
            let instruction = FailedInstruction::in_message(&failed.to_string());
            let instruction = instruction.or_else(|| log.step());
            instruction.into_iter().for_each(watcher.failed);
            return Err(sent.failure(failed));
        }
        sent.report();
        let without_id = || EngineError::Refused {
            action: action(),
            message: "the build returned no image id".to_owned(),
            status: None,
        };
        Ok(log.id().ok_or_else(without_id)?)
    }
}
