//! Calls of a plugin.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use crate::base::units::elapsed;
use crate::client::engine::{
    Bind, CreatedHeld, EngineError, HeldContainer, HeldFile, HeldSpec, Holder, MountSource,
    UploadItem,
};
use crate::execute::ExecuteContext;
use crate::execute::secrets::{PluginFiles, of_scm_plugin};
use crate::execute::step_error::{StepError, Stop};
use crate::model::environment::XP_TRANSFER_TIMEOUT;
use crate::model::plan::PluginCall;
use crate::model::plugin::OUTSIDE;

/// The folder that a plugin writes to.
pub(super) const OUT: &str = "/out";

/// What a plugin reports about a commit that it fetched.
pub(super) const FACTS: &str = "/run/fetched.json";

/// The number of bytes at the end of the output that an error can show.
const TAIL: usize = 4096;

/// The number of lines of output in an error.
const TAIL_LINES: usize = 5;

/// One call of a plugin.
pub(in crate::execute) struct Call<'c> {
    pub plugin: &'c PluginCall,
    /// `resolve`, `fetch` or `sbom`.
    pub command: &'static str,
    /// The content of the configuration file.
    pub config: Vec<u8>,
    pub binds: Vec<Bind>,
    /// Files that are copied into the container, because an engine on another machine cannot mount them.
    pub uploads: Vec<UploadItem>,
    pub labels: HashMap<String, String>,
}

impl Call<'_> {
    /// Runs the plugin to its end; `output` receives its output, and `read` reads what it wrote.
    pub async fn run<T>(
        &self,
        context: &ExecuteContext,
        output: impl Fn(Bytes) + Send + Sync + 'static,
        read: impl AsyncFnOnce(&HeldContainer) -> Result<T, StepError>,
    ) -> Result<T, Stop> {
        let secrets = of_scm_plugin(context, self.plugin)?;
        let holder = Holder::start(&context.engine, &self.labels);
        let holder = holder.await.map_err(StepError::from)?;
        let result = self
            .in_container(context, &holder, secrets, output, read)
            .await;
        holder.end().await;
        result
    }

    async fn in_container<T>(
        &self,
        context: &ExecuteContext,
        holder: &Holder,
        secrets: PluginFiles,
        output: impl Fn(Bytes) + Send + Sync + 'static,
        read: impl AsyncFnOnce(&HeldContainer) -> Result<T, StepError>,
    ) -> Result<T, Stop> {
        let spec = self.spec(secrets.files);
        let created = CreatedHeld::create(&context.engine, &spec, holder);
        let created = created.await.map_err(|error| self.not_started(error))?;
        if !self.uploads.is_empty()
            && let Err(error) = created.send_items(self.uploads.clone()).await
        {
            created.remove().await;
            return Err(StepError::from(error).into());
        }
        let tail = Arc::new(Mutex::new(Vec::new()));
        let (last_output, kept) = (watch::Sender::new(Instant::now()), tail.clone());
        let silence = last_output.subscribe();
        let show = Arc::new(move |bytes: Bytes| {
            last_output.send_replace(Instant::now());
            let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
            keep(&mut kept, &bytes);
            drop(kept);
            if !bytes.is_empty() {
                output(bytes);
            }
        });
        let redacted = Arc::new(secrets.redactor.stream());
        let started = created.start({
            let (redacted, show) = (redacted.clone(), show.clone());
            move |bytes| show(redacted.push(bytes))
        });
        let container = started.await.map_err(|error| self.not_started(error))?;
        let code = tokio::select! {
            code = container.wait() => code.map_err(|error| StepError::from(error).into()),
            () = context.cancel.cancelled() => Err(Stop::Cancelled),
            () = silent(&silence, context.transfer_timeout) => {
                Err(self.hangs(context.transfer_timeout).into())
            }
        };
        show(redacted.end());
        let result = match code {
            Ok(0) => read(&container).await.map_err(Stop::from),
            Ok(code) => {
                let printed = tail.lock().unwrap_or_else(PoisonError::into_inner).clone();
                Err(self.failed(code, &String::from_utf8_lossy(&printed)).into())
            }
            Err(stop) => Err(stop),
        };
        container.remove().await;
        result
    }

    fn spec(&self, secrets: Vec<HeldFile>) -> HeldSpec {
        let file = |path: String, bytes| HeldFile {
            path: PathBuf::from(path),
            bytes,
            mode: 0o644,
            owner: (0, 0),
        };
        let config = file(
            format!("/config/{}.json", self.command),
            self.config.clone(),
        );
        // Also creates `/run`.
        let facts = file(FACTS.to_owned(), b"{}".to_vec());
        let out = Bind {
            source: MountSource::Fresh,
            target: OUT.to_owned(),
            read_only: false,
        };
        HeldSpec {
            image: self.plugin.image.to_string(),
            command: Some(vec![self.command.to_owned()]),
            env: vec![("CI".to_owned(), "true".to_owned())],
            user: Some((0, 0)),
            labels: self.labels.clone(),
            binds: [out].into_iter().chain(self.binds.clone()).collect(),
            network: self.plugin.network.clone(),
            files: [config, facts].into_iter().chain(secrets).collect(),
            remains: true,
            ..HeldSpec::default()
        }
    }

    fn not_started(&self, error: EngineError) -> StepError {
        let mut failed = StepError::from(error);
        failed = failed.hint(format!(
            "a plugin of this kind is an image whose entrypoint accepts the command `{}`; {} is set in {}",
            self.command, self.plugin.plugin, self.plugin.location
        ));
        failed
    }

    fn hangs(&self, limit: Duration) -> StepError {
        let (plugin, location) = (&self.plugin.plugin, &self.plugin.location);
        let message = format!(
            "`{}` of {plugin} printed nothing for {} ({location})",
            self.command,
            elapsed(limit)
        );
        let hint = format!(
            "its server may be hanging; set {} to wait longer",
            XP_TRANSFER_TIMEOUT.name
        );
        StepError::plain(message).outside().hint(hint)
    }

    fn failed(&self, code: i64, printed: &str) -> StepError {
        let PluginCall {
            plugin, location, ..
        } = self.plugin;
        let command = self.command;
        let mut message = format!("`{command}` of {plugin} exited with {code} ({location})");
        let lines: Vec<&str> = printed.lines().map(str::trim_end).collect();
        let lines: Vec<&str> = lines.into_iter().filter(|line| !line.is_empty()).collect();
        for line in &lines[lines.len().saturating_sub(TAIL_LINES)..] {
            message.push_str("\n  ");
            message.extend(line.chars().filter(|c| !c.is_control()));
        }
        let error = StepError::plain(message);
        match code {
            OUTSIDE => error.outside(),
            126 | 127 => error.hint("126 and 127: the entrypoint of the image cannot be run"),
            137 => error.hint("137: killed, possibly because it ran out of memory"),
            _ => error,
        }
    }
}

/// Waits until there was no output for this long.
async fn silent(last_output: &watch::Receiver<Instant>, limit: Duration) {
    loop {
        let end = *last_output.borrow() + limit;
        if end <= Instant::now() {
            return;
        }
        sleep_until(end).await;
    }
}

/// Keeps the end of the output.
fn keep(tail: &mut Vec<u8>, bytes: &[u8]) {
    tail.extend_from_slice(bytes);
    let excess = tail.len().saturating_sub(TAIL);
    tail.drain(..excess);
}
