//! The health check of an image, as a command.

use bollard::models::HealthConfig;

use crate::client::engine::{Engine, EngineError};

impl Engine {
    /// Returns the command of an image's HEALTHCHECK; `None` if it has none.
    ///
    /// The engine itself waits for the interval of the health check, by default half a minute, before it runs it for the
    /// first time.
    ///
    /// # Errors
    ///
    /// If the engine does not respond, or does not have the image.
    pub async fn health_command(&self, image: &str) -> Result<Option<Vec<String>>, EngineError> {
        let found = self.docker.inspect_image(image).await;
        let found =
            found.map_err(|error| EngineError::new(format!("inspect the image {image}"), error))?;
        let config = found.config.unwrap_or_default();
        let shell = config.shell.filter(|shell| !shell.is_empty());
        let shell = shell.unwrap_or_else(|| ["/bin/sh", "-c"].map(str::to_owned).to_vec());
        Ok(config.healthcheck.and_then(|check| command(&check, shell)))
    }
}

/// Returns whether a health check has a command: it may be there only to disable that of the image.
pub(super) fn has_command(check: &HealthConfig) -> bool {
    command(check, Vec::new()).is_some()
}

fn command(check: &HealthConfig, shell: Vec<String>) -> Option<Vec<String>> {
    let (kind, arguments) = check.test.as_deref()?.split_first()?;
    match kind.as_str() {
        "CMD" if !arguments.is_empty() => Some(arguments.to_vec()),
        "CMD-SHELL" if !arguments.is_empty() => Some([shell, arguments.to_vec()].concat()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_health_check_is_a_program_or_a_line_for_the_shell() {
        let shown = |test: &[&str]| {
            let check = HealthConfig {
                test: Some(test.iter().map(|it| (*it).to_owned()).collect()),
                ..Default::default()
            };
            let shell = vec!["/bin/ash".to_owned(), "-c".to_owned()];
            command(&check, shell).map(|it| it.join(" "))
        };
        assert_eq!(shown(&["CMD", "ping", "db"]).unwrap(), "ping db");
        assert_eq!(
            shown(&["CMD-SHELL", "a && b"]).unwrap(),
            "/bin/ash -c a && b"
        );
        for none in [&[][..], &["NONE"], &["CMD"], &["CMD-SHELL"]] {
            assert_eq!(shown(none), None, "{none:?}");
        }
    }
}
