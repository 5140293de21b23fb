//! The container engine.

use super::machine::{Space, bytes};
use super::{Finding, ProxyFacts, Section, Subject, Trouble, list};

/// What is known of the engine, and of the way to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineFacts {
    /// Where xp looks for it.
    pub address: String,
    /// Whether `DOCKER_HOST` says so.
    pub is_named: bool,
    /// What is at the address, where that is a file of this machine.
    pub socket: Option<Socket>,
    /// The context of docker's that names it.
    pub context: Option<String>,
    /// Other sockets of engines that are there.
    pub others: Vec<String>,
    /// Whether xp runs in a container.
    pub in_container: bool,
    /// The container that xp runs in, where the engine knows it.
    pub own: Option<OwnContainer>,
    /// Whether `DOCKER_BUILDKIT=0` is set.
    pub buildkit_is_off: bool,
    /// What it says of itself.
    pub answer: Result<EngineAnswer, Trouble>,
    /// What the file system of its images has left, where that can be seen.
    pub space: Option<Space>,
    /// The processor that xp runs on, such as `x86_64`.
    pub architecture: &'static str,
    /// The services whose builder has a limit of memory.
    pub limited: Vec<String>,
    /// The proxies that xp uses.
    pub proxies: ProxyFacts,
}

/// What is at the path of an engine's socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Socket {
    /// Nothing.
    Missing,
    /// Something that is no socket.
    Other,
    /// A socket that the user may use.
    Usable,
    /// A socket that the user may not use.
    Denied {
        /// The group that may, by its name or number.
        group: String,
        /// Whether the user belongs to it since a later login.
        joined: bool,
    },
}

/// The container of the engine's that xp runs in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnContainer {
    /// The beginning of its id.
    pub id: String,
    /// The platform's folders, each as xp sees it and as the engine does.
    pub folders: Vec<(String, Result<String, Trouble>)>,
}

/// What an engine says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineAnswer {
    /// Its name, such as `Docker Engine`.
    pub product: String,
    /// Its version.
    pub version: String,
    /// The version of its API.
    pub api: String,
    /// Whether image builds use BuildKit.
    pub buildkit: bool,
    /// The system that its containers run on.
    pub system: String,
    /// The processor that its images are for.
    pub architecture: String,
    /// Whether its root is the user that runs it.
    pub rootless: bool,
    /// The folder of its images, on its own machine.
    pub root: Option<String>,
    /// Whether containers can be limited in memory.
    pub limits_memory: bool,
    /// Its proxies.
    pub proxies: ProxyFacts,
    /// What it warns of.
    pub warnings: Vec<String>,
}

/// Tells what is wrong with the engine.
pub fn engine(facts: &EngineFacts) -> Section {
    let (summary, findings) = match &facts.answer {
        Ok(answer) => (summary(facts, answer), answered(facts, answer)),
        Err(trouble) => (facts.address.clone(), vec![silent(facts, trouble)]),
    };
    Section {
        subject: Subject::Engine,
        summary,
        findings,
    }
}

fn summary(facts: &EngineFacts, answer: &EngineAnswer) -> String {
    let builder = match answer.buildkit {
        true => "BuildKit",
        false => "no BuildKit",
    };
    let rootless = match answer.rootless {
        true => "rootless",
        false => "",
    };
    let free = facts
        .space
        .map(|space| format!("{} free", bytes(space.free)));
    list([
        format!("{} {}", answer.product, answer.version),
        builder.to_owned(),
        rootless.to_owned(),
        free.unwrap_or_default(),
    ])
}

/// Tells why an engine that does not answer might not, and what starts it.
fn silent(facts: &EngineFacts, trouble: &Trouble) -> Finding {
    let mut finding = Finding::of(trouble);
    let mut fixes = Vec::new();
    if let Some(name) = &facts.context {
        fixes.push(format!(
            "docker's context `{name}` names it: `docker context use default` goes back to the engine of this machine"
        ));
    }
    for other in facts.others.iter().filter(|other| **other != facts.address) {
        fixes.push(format!(
            "there is the socket of another engine: `export DOCKER_HOST={other}`"
        ));
    }
    match &facts.socket {
        Some(Socket::Denied { group, joined: true }) => fixes.push(format!(
            "you belong to the group `{group}` since a later login than this one: log in again, or run `newgrp {group}`"
        )),
        Some(Socket::Denied { group, .. }) => fixes.push(format!(
            "`sudo usermod -aG {group} \"$USER\"` lets you use it from the next login on (whoever may use it is root on this machine); \
             a rootless engine needs no such right"
        )),
        Some(socket @ (Socket::Missing | Socket::Usable)) => {
            if facts.in_container && *socket == Socket::Missing {
                fixes.push(format!(
                    "xp runs in a container: where the engine is outside, give it the socket, with `docker run -v {0}:{0} …`",
                    facts.address.trim_start_matches("unix://")
                ));
            }
            fixes.push(
                "start it: `sudo systemctl start docker`, a rootless one `systemctl --user start docker`, \
                 Podman `systemctl --user start podman.socket`"
                    .to_owned(),
            );
        }
        Some(Socket::Other) => {
            finding = finding.because("what is there is no socket");
        }
        None => {}
    }
    if facts.is_named {
        fixes.push(format!(
            "DOCKER_HOST is `{}`: unset it to use the engine of this machine",
            facts.address
        ));
    }
    // Those of the error are general, and these know more.
    // What ssh or TLS says of the way to another machine, nothing here knows better.
    finding.fixes.retain(|fix| !fix.contains("`xp doctor`"));
    if facts.socket.is_none() {
        finding.fixes.extend(fixes);
    } else if !fixes.is_empty() {
        finding.fixes = fixes;
    }
    finding
}

fn answered(facts: &EngineFacts, answer: &EngineAnswer) -> Vec<Finding> {
    let mut findings = vec![Finding::ok(format!(
        "{} {} answers at {}, and speaks API {}",
        answer.product, answer.version, facts.address, answer.api
    ))];
    if !matches!(answer.system.as_str(), "linux" | "") {
        findings.push(
            Finding::error(format!("the engine runs {} containers", answer.system))
                .fix("switch it to Linux containers"),
        );
    }
    if facts.buildkit_is_off {
        findings.push(
            Finding::warning("image builds use the classic builder, as DOCKER_BUILDKIT=0 is set")
                .because("it builds every stage, one after the other, and has no cache mounts")
                .fix("`unset DOCKER_BUILDKIT`"),
        );
    } else if !answer.buildkit {
        findings.push(Finding::note(format!(
            "{} builds images by its own builder: what only BuildKit knows, such as here-documents, may not work",
            answer.product
        )));
    }
    if let Some(space) = facts.space {
        let root = answer.root.as_deref().unwrap_or("the engine's data");
        findings.extend(space.findings(&format!(
            "the file system of {root}, with the engine's images,"
        )));
    } else {
        findings.push(Finding::note(
            "how much space the engine has left cannot be seen from here",
        ));
    }
    if !same_processor(&answer.architecture, facts.architecture) {
        findings.push(
            Finding::warning(format!(
                "the engine builds images for {}, and this machine is {}",
                answer.architecture, facts.architecture
            ))
            .fix("if they are to run here, let DOCKER_HOST name an engine of this machine's kind"),
        );
    }
    findings.extend(way(facts));
    match &facts.own {
        Some(own) => findings.extend(mounted(own)),
        None if facts.in_container => findings.push(Finding::note(
            "xp runs in a container that the engine does not know: where it does not see the files here, they are sent to it and results are brought back",
        )),
        None => {}
    }
    if !answer.limits_memory && !facts.limited.is_empty() {
        findings.push(
            Finding::warning(
                "the engine cannot limit memory, so `dockerBuilder.memory` has no effect",
            )
            .concerning(&facts.limited)
            .fix("switch the memory controller of its control groups on"),
        );
    }
    findings.extend(proxies(facts, answer));
    let warnings = answer.warnings.iter();
    findings.extend(warnings.map(|warning| {
        let text = warning.trim_start_matches("WARNING: ");
        Finding::note(format!("the engine warns: {text}"))
    }));
    findings
}

/// Tells what the engine mounts for the platform's folders.
fn mounted(own: &OwnContainer) -> Vec<Finding> {
    let said = format!(
        "xp runs in the container {}, which the engine knows",
        own.id
    );
    let folders = own
        .folders
        .iter()
        .map(|(folder, on_engine)| match on_engine {
            Ok(path) => Finding::ok(format!("{folder} is {path} on the engine's machine")),
            Err(trouble) => Finding::of(trouble),
        });
    std::iter::once(Finding::ok(said)).chain(folders).collect()
}

/// Builder containers mount folders of the engine's machine, where that has them.
fn way(facts: &EngineFacts) -> Vec<Finding> {
    let mut findings = Vec::new();
    if let Some(name) = &facts.context {
        findings.push(Finding::ok(format!("docker's context `{name}` names it")));
    }
    let rest = facts.address.split_once("://");
    if let Some((scheme, rest)) = rest.filter(|(scheme, _)| *scheme != "unix") {
        let host = rest.split('/').next().unwrap_or_default();
        let loopback = ["127.", "localhost", "[::1]"];
        let is_local = scheme != "ssh" && loopback.iter().any(|it| host.starts_with(it));
        let way = if scheme == "ssh" {
            "ssh"
        } else {
            "the network"
        };
        let where_it_is = match is_local {
            true => "where it does not see this machine's files",
            false => "as it does not see this machine's files",
        };
        findings.push(
            Finding::note(format!("the engine is reached by {way}, at {}", facts.address)).because(format!(
                "{where_it_is}, sources are sent to it and results are brought back; XP_REMOTE_ENGINE=0 says that it sees them"
            )),
        );
    }
    findings
}

/// Pushes and pulls are the engine's, and it has proxies of its own.
fn proxies(facts: &EngineFacts, answer: &EngineAnswer) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (name, proxy) in &answer.proxies.proxies {
        findings.push(Finding::note(format!("the engine's {name} is {proxy}")));
    }
    if let Some(exceptions) = &answer.proxies.exceptions {
        findings.push(Finding::note(format!(
            "the engine's no_proxy is {exceptions}"
        )));
    }
    let (here, there) = (&facts.proxies.proxies, &answer.proxies.proxies);
    if !here.is_empty() && there.is_empty() {
        findings.push(
            Finding::warning("xp uses a proxy, and the engine, which pulls and pushes images, has none")
                .fix("if registries are reached by the proxy only, set `proxies` in the engine's daemon.json"),
        );
    }
    findings
}

fn same_processor(one: &str, other: &str) -> bool {
    let normal = |name: &str| match name {
        "amd64" => "x86_64".to_owned(),
        "arm64" => "aarch64".to_owned(),
        name if name.starts_with("armv") => "arm".to_owned(),
        name => name.to_owned(),
    };
    one.is_empty() || normal(one) == normal(other)
}
