//! Checks of the container engine.

use super::machine::DiskSpace;
use super::{CheckFailure, EngineImageFacts, Finding, Section, Subject, list};
use crate::base::units::disk_size;
use crate::model::engine::{EngineDescription, ProxyFacts};

/// Facts about the engine and the connection to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineConnectionFacts {
    pub address: String,
    /// Whether the address comes from `DOCKER_HOST`.
    pub is_named: bool,
    /// The state of its socket, if the address is a local path.
    pub socket: Option<Socket>,
    /// The Docker context that selected it.
    pub context: Option<String>,
    /// Other engine sockets on this machine.
    pub others: Vec<String>,
    /// Whether xp runs in a container.
    pub in_container: bool,
    /// The container that xp runs in, if this engine runs it.
    pub own: Option<OwnContainerFacts>,
    /// Whether `DOCKER_BUILDKIT=0` is set.
    pub buildkit_is_off: bool,
    /// The facts that it reports.
    pub info: Result<EngineDescription, CheckFailure>,
    /// Free space on the file system of its images, if visible from here.
    pub space: Option<DiskSpace>,
    /// The images of the platform; `None` without a manifest, or if the engine does not list them.
    pub images: Option<EngineImageFacts>,
    /// The architecture of this machine, such as `x86_64`.
    pub architecture: &'static str,
    /// The services whose builder has a memory limit.
    pub limited: Vec<String>,
    /// The proxies that xp uses.
    pub proxies: ProxyFacts,
}

/// State of an engine's socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Socket {
    /// Does not exist.
    Missing,
    /// Not a socket.
    Other,
    /// The user may use it.
    Usable,
    /// The user may not use it.
    Denied {
        /// The group that may use it, by name or number.
        group: String,
        /// Whether the user was added to the group after this login.
        joined: bool,
    },
}

/// The container that xp runs in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnContainerFacts {
    /// The short ID.
    pub id: String,
    /// The platform's folders: the path here, and the path on the engine's machine.
    pub folders: Vec<(String, Result<String, CheckFailure>)>,
}

/// Evaluates the engine.
pub fn engine(facts: &EngineConnectionFacts) -> Section {
    let (summary, findings) = match &facts.info {
        Ok(info) => (summary(facts, info), reachable(facts, info)),
        Err(failure) => (facts.address.clone(), vec![unreachable(facts, failure)]),
    };
    Section {
        subject: Subject::Engine,
        summary,
        findings,
    }
}

fn summary(facts: &EngineConnectionFacts, info: &EngineDescription) -> String {
    let builder = if info.buildkit {
        "BuildKit"
    } else {
        "no BuildKit"
    };
    let rootless = if info.facts.rootless { "rootless" } else { "" };
    let free = facts
        .space
        .map(|space| format!("{} free", disk_size(space.free)));
    let removable = facts.images.as_ref().and_then(EngineImageFacts::summary);
    list([
        format!("{} {}", info.product, info.version),
        builder.to_owned(),
        rootless.to_owned(),
        free.unwrap_or_default(),
        removable.unwrap_or_default(),
    ])
}

/// Explains why an engine may be unreachable, with fixes.
fn unreachable(facts: &EngineConnectionFacts, failure: &CheckFailure) -> Finding {
    let mut finding = Finding::of(failure);
    let mut fixes = Vec::new();
    if let Some(name) = &facts.context {
        fixes.push(format!(
            "the address comes from Docker context `{name}`; `docker context use default` switches back to the local engine"
        ));
    }
    for other in facts.others.iter().filter(|other| **other != facts.address) {
        fixes.push(format!(
            "use another engine on this machine: `export DOCKER_HOST={other}`"
        ));
    }
    match &facts.socket {
        Some(Socket::Denied { group, joined: true }) => fixes.push(format!(
            "you were added to group `{group}` after this login: log in again, or run `newgrp {group}`"
        )),
        Some(Socket::Denied { group, .. }) => fixes.push(format!(
            "run `sudo usermod -aG {group} \"$USER\"` and log in again (members of the group have root access to this machine), \
             or use a rootless engine"
        )),
        Some(socket @ (Socket::Missing | Socket::Usable)) => {
            if facts.in_container && *socket == Socket::Missing {
                fixes.push(format!(
                    "xp runs in a container: if the engine runs on the host, mount its socket with `docker run -v {0}:{0} …`",
                    facts.address.trim_start_matches("unix://")
                ));
            }
            fixes.push(
                "start it: `sudo systemctl start docker`, rootless Docker `systemctl --user start docker`, \
                 Podman `systemctl --user start podman.socket`"
                    .to_owned(),
            );
        }
        Some(Socket::Other) => {
            finding = finding.because("the path is not a socket");
        }
        None => {}
    }
    if facts.is_named {
        fixes.push(format!(
            "DOCKER_HOST is set to `{}`; unset it to use the local engine",
            facts.address
        ));
    }
    // For a local socket, these fixes are more specific than the ones of the error. For a remote engine, the
    // ones of ssh or TLS are.
    finding.fixes.retain(|fix| !fix.contains("`xp doctor`"));
    if facts.socket.is_none() {
        finding.fixes.extend(fixes);
    } else if !fixes.is_empty() {
        finding.fixes = fixes;
    }
    finding
}

fn reachable(facts: &EngineConnectionFacts, info: &EngineDescription) -> Vec<Finding> {
    let mut findings = vec![Finding::ok(format!(
        "{} {} is reachable at {} (API {})",
        info.product, info.version, facts.address, info.api
    ))];
    if !matches!(info.system.as_str(), "linux" | "") {
        findings.push(
            Finding::error(format!("the engine runs {} containers", info.system))
                .fix("switch it to Linux containers"),
        );
    }
    if facts.buildkit_is_off {
        findings.push(
            Finding::warning(
                "image builds use the classic builder because DOCKER_BUILDKIT=0 is set",
            )
            .because("it builds all stages sequentially and does not support cache mounts")
            .fix("`unset DOCKER_BUILDKIT`"),
        );
    } else if !info.buildkit {
        findings.push(Finding::note(format!(
            "{} uses its own builder: BuildKit features such as here-documents may not work",
            info.product
        )));
    }
    if let Some(space) = facts.space {
        let root = info.root.as_deref().unwrap_or("the engine's data");
        findings.extend(space.findings(&format!("the file system of {root} (engine images)")));
    } else {
        findings.push(Finding::note(
            "the engine's free space cannot be determined from here",
        ));
    }
    findings.extend(facts.images.as_ref().map(EngineImageFacts::finding));
    if !same_architecture(&info.facts.architecture, facts.architecture) {
        findings.push(
            Finding::warning(format!(
                "the engine builds images for {}, but this machine is {}",
                info.facts.architecture, facts.architecture
            ))
            .fix("to run them here, set DOCKER_HOST to an engine with this machine's architecture"),
        );
    }
    findings.extend(connection(facts));
    match &facts.own {
        Some(own) => findings.extend(mounts(own)),
        None if facts.in_container => findings.push(Finding::note(
            "xp runs in a container of another engine: if this engine cannot access the files here, sources are uploaded and results downloaded",
        )),
        None => {}
    }
    if !info.limits_memory && !facts.limited.is_empty() {
        findings.push(
            Finding::warning(
                "the engine does not support memory limits, so `dockerBuilder.memory` has no effect",
            )
            .concerning(&facts.limited)
            .fix("enable the memory cgroup controller on its machine"),
        );
    }
    findings.extend(proxies(facts, info));
    let warnings = info.warnings.iter();
    findings.extend(warnings.map(|warning| {
        let text = warning.trim_start_matches("WARNING: ");
        Finding::note(format!("engine warning: {text}"))
    }));
    findings
}

/// Reports where the engine sees the platform's folders.
fn mounts(own: &OwnContainerFacts) -> Vec<Finding> {
    let text = format!("xp runs in container {} of this engine", own.id);
    let folders = own
        .folders
        .iter()
        .map(|(folder, on_engine)| match on_engine {
            Ok(path) => Finding::ok(format!("{folder} is {path} on the engine's machine")),
            Err(failure) => Finding::of(failure),
        });
    std::iter::once(Finding::ok(text)).chain(folders).collect()
}

/// Reports how the engine is reached. Builder containers can mount only folders of the engine's machine.
fn connection(facts: &EngineConnectionFacts) -> Vec<Finding> {
    let mut findings = Vec::new();
    if let Some(name) = &facts.context {
        findings.push(Finding::ok(format!("selected by Docker context `{name}`")));
    }
    let rest = facts.address.split_once("://");
    if let Some((scheme, rest)) = rest.filter(|(scheme, _)| *scheme != "unix") {
        let host = rest.split('/').next().unwrap_or_default();
        let loopback = ["127.", "localhost", "[::1]"];
        let is_local = scheme != "ssh" && loopback.iter().any(|it| host.starts_with(it));
        let transport = if scheme == "ssh" {
            "ssh"
        } else {
            "the network"
        };
        let reason = if is_local {
            "if it cannot access this machine's files"
        } else {
            "because it cannot access this machine's files"
        };
        findings.push(
            Finding::note(format!("the engine is reached over {transport}, at {}", facts.address)).because(format!(
                "{reason}, sources are uploaded and results downloaded; set XP_REMOTE_ENGINE=0 if it can access them"
            )),
        );
    }
    findings
}

/// Reports the proxies of the engine, which pulls and pushes images itself.
fn proxies(facts: &EngineConnectionFacts, info: &EngineDescription) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (name, proxy) in &info.proxies.proxies {
        findings.push(Finding::note(format!("the engine's {name} is {proxy}")));
    }
    if let Some(exceptions) = &info.proxies.exceptions {
        findings.push(Finding::note(format!(
            "the engine's no_proxy is {exceptions}"
        )));
    }
    let (here, there) = (&facts.proxies.proxies, &info.proxies.proxies);
    if !here.is_empty() && there.is_empty() {
        findings.push(
            Finding::warning("xp uses a proxy, but the engine, which pulls and pushes images, has none")
                .fix("if registries are reachable only through the proxy, set `proxies` in the engine's daemon.json"),
        );
    }
    findings
}

fn same_architecture(one: &str, other: &str) -> bool {
    let normalized = |name: &str| match name {
        "amd64" => "x86_64".to_owned(),
        "arm64" => "aarch64".to_owned(),
        name if name.starts_with("armv") => "arm".to_owned(),
        name => name.to_owned(),
    };
    one.is_empty() || normalized(one) == normalized(other)
}
