//! Gathers facts about the container engine.

use std::fs;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{Access, access};
use time::OffsetDateTime;

use super::machine::proxies;
use super::{DoctorContext, EngineState, files};
use crate::client::engine::Engine;
use crate::execute::path_mapping::PathMapping;
use crate::flow::clean::{self, PlatformContext};
use crate::model::doctor::{
    CheckFailure, EngineConnectionFacts, EngineImageFacts, OwnContainerFacts, Socket, StoragePart,
};
use crate::model::environment;

/// How long the images of the platform are counted.
const IMAGES_TIMEOUT: Duration = Duration::from_secs(5);

/// Queries the engine, and inspects its socket.
pub(super) async fn engine(context: &DoctorContext<'_>) -> EngineConnectionFacts {
    let settings = context.settings;
    let address = settings.engine.address.clone();
    let what = format!("the container engine at {address}");
    let queried = context.limited(what, async {
        let engine = Engine::connect(&settings.engine).await?;
        let (description, own) = tokio::join!(engine.describe(), engine.own_container());
        // `xp doctor` does not write a probe file.
        let path_mapping = own.ok().flatten().map(PathMapping::Mounted);
        description.map(|description| (engine, description, path_mapping))
    });
    let queried = queried.await;
    let connected = queried.as_ref().ok().map(|(engine, _, _)| engine.clone());
    let (info, state, path_mapping) = match queried {
        Ok((engine, description, path_mapping)) => {
            let state = EngineState {
                insecure_registries: description.facts.insecure_registries.clone(),
                engine: Some(engine),
            };
            (Ok(description), state, path_mapping)
        }
        Err(failure) => (Err(failure), EngineState::default(), None),
    };
    context.engine.send_replace(Some(state));
    let images = match &connected {
        Some(engine) => images(context, engine).await,
        None => None,
    };
    let path = address.strip_prefix("unix://").map(Path::new);
    let root = info.as_ref().ok().and_then(|info| info.root.clone());
    let variable = |name: &str| settings.variables.get(name).map(String::as_str);
    let is_set = |name| variable(name).is_some_and(|value| !value.is_empty());
    let in_container = ["/.dockerenv", "/run/.containerenv"];
    EngineConnectionFacts {
        is_named: is_set(environment::DOCKER_HOST.name),
        socket: path.map(|path| socket(path, user(context))),
        context: settings.engine.context.clone(),
        others: others(context, path),
        in_container: in_container.iter().any(|path| Path::new(path).exists()),
        own: path_mapping.and_then(|path_mapping| own_container(context, &path_mapping)),
        buildkit_is_off: !settings.engine.buildkit,
        // The data folder of a remote engine is not on this machine.
        space: root
            .filter(|_| path.is_some())
            .and_then(|root| files::space(Path::new(&root))),
        images,
        architecture: std::env::consts::ARCH,
        limited: context.services_with(|service| {
            let builder = service.builder.as_ref();
            builder.is_some_and(|builder| builder.memory.is_some())
        }),
        proxies: proxies(&settings.proxies),
        address,
        info,
    }
}

/// Counts the images of the platform.
async fn images(context: &DoctorContext<'_>, engine: &Engine) -> Option<EngineImageFacts> {
    let platform = context.platform.as_ref()?;
    let platform = PlatformContext {
        manifest: platform.manifest,
        cache_dir: &platform.cache_dir,
        variables: &context.settings.variables,
    };
    let _waiting = context.waiting.begin("the images of the engine");
    let now = OffsetDateTime::now_utc().unix_timestamp();
    let estimate = clean::estimate(platform, engine, now);
    match tokio::time::timeout(IMAGES_TIMEOUT, estimate).await {
        Ok(Ok(plan)) => Some(EngineImageFacts::Known(StoragePart::images(&plan))),
        // Other checks report what is wrong with the engine or a builder.
        Ok(Err(_)) => None,
        Err(_) => Some(EngineImageFacts::Slow),
    }
}

/// Returns where the engine sees the platform's folder, and the folders mounted separately.
fn own_container(
    context: &DoctorContext<'_>,
    path_mapping: &PathMapping,
) -> Option<OwnContainerFacts> {
    let PathMapping::Mounted(own) = path_mapping else {
        return None;
    };
    let on_engine = |path: &Path| match path_mapping.source(path) {
        Ok(_) => Ok(path_mapping.shown(path)),
        Err(error) => Err(CheckFailure::of(&error)),
    };
    let mut folders: Vec<(String, Result<String, CheckFailure>)> = Vec::new();
    if let Some(platform) = &context.platform {
        let folder = &platform.manifest.folder;
        let outer = on_engine(folder);
        let services = context.services();
        let inner = services.map(|service| folder.join(&service.dir));
        let inner = std::iter::once(platform.cache_dir.clone()).chain(inner);
        // Skip folders at the expected path below the platform's folder.
        let separate = inner.filter(|path| path.exists()).filter_map(|path| {
            let found = on_engine(&path);
            let below = path.strip_prefix(folder).ok();
            let expected = below.zip(outer.as_ref().ok());
            let expected =
                expected.map(|(below, outer)| Path::new(outer).join(below).display().to_string());
            (found.as_ref().ok() != expected.as_ref()).then(|| (path.display().to_string(), found))
        });
        let separate: Vec<_> = separate.collect();
        folders.push((folder.display().to_string(), outer));
        folders.extend(separate);
        folders.dedup();
    }
    Some(OwnContainerFacts {
        id: own.id.chars().take(12).collect(),
        folders,
    })
}

fn user<'s>(context: &'s DoctorContext<'_>) -> &'s str {
    let variables = &context.settings.variables;
    let user = [environment::USER, environment::LOGNAME]
        .iter()
        .find_map(|variable| variables.get(variable.name));
    user.map_or("", String::as_str)
}

/// Returns whether a socket may be used, and by which group.
fn socket(path: &Path, user: &str) -> Socket {
    let Ok(metadata) = fs::metadata(path) else {
        return Socket::Missing;
    };
    if !metadata.file_type().is_socket() {
        return Socket::Other;
    }
    if access(path, Access::READ_OK | Access::WRITE_OK).is_ok() {
        return Socket::Usable;
    }
    let groups = fs::read_to_string("/etc/group").unwrap_or_default();
    let (group, members) = group(&groups, metadata.gid());
    Socket::Denied {
        group,
        joined: members
            .iter()
            .any(|member| !user.is_empty() && member == user),
    }
}

/// Returns the name and the members of a group.
fn group(groups: &str, id: u32) -> (String, Vec<String>) {
    let found = groups.lines().find_map(|line| {
        let mut fields = line.split(':');
        let (name, number) = (fields.next()?, fields.nth(1)?);
        let members = fields.next().unwrap_or_default();
        (number.parse() == Ok(id)).then_some((name, members))
    });
    match found {
        Some((name, members)) => {
            let members = members.split(',').map(str::to_owned);
            (name.to_owned(), members.collect())
        }
        // It may be defined in LDAP.
        None => (id.to_string(), Vec::new()),
    }
}

/// Returns the addresses of other usable sockets at default paths.
fn others(context: &DoctorContext<'_>, used: Option<&Path>) -> Vec<String> {
    let settings = context.settings;
    let runtime = settings.variables.get(environment::XDG_RUNTIME_DIR.name);
    let runtime = runtime.map(PathBuf::from);
    let home = settings.caller.home.clone();
    let below =
        |folder: &Option<PathBuf>, path: &str| folder.as_ref().map(|folder| folder.join(path));
    let defaults = [
        Some(PathBuf::from("/var/run/docker.sock")),
        below(&runtime, "docker.sock"),
        below(&runtime, "podman/podman.sock"),
        below(&home, ".docker/desktop/docker.sock"),
        below(&home, ".docker/run/docker.sock"),
        Some(PathBuf::from("/run/podman/podman.sock")),
    ];
    let is_other = |path: &PathBuf| {
        let same = used.is_some_and(|used| path.canonicalize().ok() == used.canonicalize().ok());
        !same && socket(path, "") == Socket::Usable
    };
    let others = defaults.into_iter().flatten().filter(is_other);
    others
        .map(|path| format!("unix://{}", path.display()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_parsed() {
        let groups = "root:x:0:\ndocker:x:998:ann,bob\n";
        let docker = (
            "docker".to_owned(),
            vec!["ann".to_owned(), "bob".to_owned()],
        );
        assert_eq!(group(groups, 998), docker);
        assert_eq!(group(groups, 5).0, "5");
    }

    #[test]
    fn a_socket_is_recognized() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("engine.sock");
        assert_eq!(socket(&path, "bob"), Socket::Missing);
        assert_eq!(socket(folder.path(), "bob"), Socket::Other);
        let _listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
        assert_eq!(socket(&path, "bob"), Socket::Usable);
    }
}
