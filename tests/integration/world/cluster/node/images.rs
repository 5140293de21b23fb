//! Images of containers: present in the engine, or pulled.

use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE};
use serde_json::{Value, json};

use super::Waiting;
use super::engine::{EngineApi, EngineError, encoded};

/// Returns the ID of the image of a container, which is pulled if its policy says so.
pub fn provide(
    engine: &EngineApi,
    container: &Value,
    logins: &[Value],
    mut on_event: impl FnMut(&str, &str, &str),
) -> Result<String, Waiting> {
    let image = container["image"].as_str().unwrap_or_default();
    let name = full_name(image);
    let default = if name.ends_with(":latest") {
        "Always"
    } else {
        "IfNotPresent"
    };
    let policy = container["imagePullPolicy"].as_str().unwrap_or(default);
    let id = id(engine, &name).map_err(|error| not_pulled(image, &error))?;
    match (policy, id) {
        ("Never", None) => {
            let message =
                format!("Container image {image:?} is not present with pull policy of Never");
            return Err(Waiting::new("ErrImageNeverPull", message));
        }
        ("Never" | "IfNotPresent", Some(id)) => {
            let message = format!("Container image {image:?} already present on machine");
            on_event("Normal", "Pulled", &message);
            return Ok(id);
        }
        _ => {}
    }
    on_event("Normal", "Pulling", &format!("Pulling image {image:?}"));
    let login = login_for(&name, logins);
    let pulled = engine
        .pull(&name, &login)
        .and_then(|()| self::id(engine, &name));
    match pulled {
        Ok(Some(id)) => {
            let message =
                format!("Successfully pulled image {image:?} in 10ms (10ms including waiting)");
            on_event("Normal", "Pulled", &message);
            Ok(id)
        }
        Ok(None) => Err(Waiting::new("ErrImagePull", format!("{image}: not found"))),
        Err(error) => {
            let waiting = not_pulled(image, &error);
            on_event("Warning", "Failed", &waiting.message);
            on_event("Warning", "Failed", "Error: ErrImagePull");
            Err(waiting)
        }
    }
}

fn not_pulled(image: &str, error: &EngineError) -> Waiting {
    let message = format!(
        "Failed to pull image {image:?}: failed to pull and unpack image {image:?}: {}",
        error.message
    );
    Waiting::new("ErrImagePull", message)
}

fn id(engine: &EngineApi, name: &str) -> Result<Option<String>, EngineError> {
    match engine.get(&format!("/images/{}/json", encoded(name))) {
        Ok(image) => Ok(image["Id"].as_str().map(str::to_owned)),
        Err(error) if error.code == 404 => Ok(None),
        Err(error) => Err(error),
    }
}

/// Adds the default tag.
fn full_name(image: &str) -> String {
    let last = image.rsplit('/').next().unwrap_or_default();
    if last.contains(':') || image.contains('@') {
        image.to_owned()
    } else {
        format!("{image}:latest")
    }
}

/// Returns the value of `X-Registry-Auth` from the first Secret with a login for the registry of an image.
fn login_for(image: &str, logins: &[Value]) -> String {
    let host = image.split('/').next().unwrap_or_default();
    let found = logins.iter().find_map(|secret| {
        let data = secret["data"][".dockerconfigjson"].as_str()?;
        let config: Value = serde_json::from_slice(&BASE64_STANDARD.decode(data).ok()?).ok()?;
        let entries = config["auths"].as_object()?;
        let is_meant = |name: &str| {
            let name = name
                .trim_start_matches("https://")
                .trim_start_matches("http://");
            name.split('/').next() == Some(host)
        };
        let entry = entries.iter().find(|(name, _)| is_meant(name))?.1;
        let (user, password) = match entry["auth"].as_str() {
            Some(auth) => {
                let text = String::from_utf8(BASE64_STANDARD.decode(auth).ok()?).ok()?;
                let (user, password) = text.split_once(':')?;
                (user.to_owned(), password.to_owned())
            }
            None => (text(&entry["username"]), text(&entry["password"])),
        };
        Some(json!({ "username": user, "password": password, "serveraddress": host }))
    });
    BASE64_URL_SAFE.encode(found.unwrap_or_else(|| json!({})).to_string())
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
