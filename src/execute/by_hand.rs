//! Steps as shell commands, for a person who repeats one that failed.
//!
//! No value that comes from the caller's environment is in them, but its variable's name.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::client::engine::{Bind, ContainerSpec, HOME, Source};
use crate::manifest::SecretSource;
use crate::plan::{ImageStep, ScriptStep};
use crate::shell::quoted;

/// Where a script ran.
pub struct Place<'a> {
    /// The container.
    pub spec: &'a ContainerSpec,
    /// Its variables that are not to be shown, as a shell reads them.
    pub env_by_hand: &'a BTreeMap<String, String>,
    /// The folder of the container.
    pub dir: &'a str,
    /// The folders that were made to be mounted upon.
    pub mount_points: &'a [PathBuf],
    /// Where the ssh agent's socket is in the container; outside it is another one tomorrow.
    pub ssh_agent: &'a str,
}

/// Returns the command that runs a script's line in a container like that of the build; none where the
/// files would have to be given to another user first.
pub fn script(place: &Place<'_>, step: &ScriptStep) -> Option<String> {
    let spec = place.spec;
    let (uid, gid) = spec.user;
    let is_owner = spec.user == spec.owner;
    if !is_owner && uid != 0 {
        return None;
    }
    let mut words: Vec<String> = ["docker run --rm --init --no-healthcheck --entrypoint /bin/sh"]
        .map(str::to_owned)
        .to_vec();
    words.push(format!("--user {uid}:{gid}"));
    words.extend(spec.groups.iter().map(|id| format!("--group-add {id}")));
    if let Some(network) = &spec.network {
        words.push(format!("--network {}", quoted(network)));
    }
    words.extend(spec.memory.map(|bytes| format!("--memory {bytes}")));
    words.extend(
        spec.nano_cpus
            .map(|cpus| format!("--cpus {}", decimal(cpus))),
    );
    if uid != 0 {
        // A home that may be written, as that of a build.
        words.push(format!("--tmpfs {HOME}:exec,mode=1777"));
    }
    let binds = spec.binds.iter();
    words.extend(binds.map(|bind| format!("--mount {}", mount(bind, place.ssh_agent))));
    if !spec.env.iter().any(|(name, _)| name == "HOME") {
        let home = if uid == 0 { "/root" } else { HOME };
        words.push(format!("--env HOME={home}"));
    }
    words.extend(spec.env.iter().map(|(name, value)| {
        let hidden = place.env_by_hand.get(name).cloned();
        format!(
            "--env {name}={}",
            hidden.unwrap_or_else(|| quoted(value).into_owned())
        )
    }));
    words.push(format!("--workdir {}", quoted(place.dir)));
    words.push(quoted(&spec.image.to_string()).into_owned());
    match is_owner {
        true => words.push(format!("-ec {}", quoted(&step.text))),
        false => {
            let owner = format!("{}:{}", spec.owner.0, spec.owner.1);
            let written: Vec<_> = spec.written.iter().map(|path| quoted(path)).collect();
            let give_back = format!("chown -hR {owner} {}", written.join(" "));
            let run = format!("trap {} EXIT; /bin/sh -ec \"$0\"", quoted(&give_back));
            words.push(format!("-c {} {}", quoted(&run), quoted(&step.text)));
        }
    }
    let command = words.join(" ");
    Some(match made_first(place.mount_points) {
        Some(made) => format!("{made} && {command}"),
        None => command,
    })
}

/// Returns the command that builds an image from the same files, with the same arguments; `typed` says how
/// a path is typed where the command is, `secret` where the file of a secret is.
pub fn image(
    step: &ImageStep,
    typed: impl Fn(&Path) -> PathBuf,
    secret: impl Fn(&str) -> PathBuf,
) -> String {
    let path = |path: &Path| quoted(&typed(path).display().to_string()).into_owned();
    // A docker command of 20.10 knows neither secrets nor agents otherwise.
    let takes_buildkit = step.ssh || !step.secrets.is_empty();
    let mut words = takes_buildkit
        .then(|| "DOCKER_BUILDKIT=1".to_owned())
        .into_iter()
        .collect::<Vec<_>>();
    words.push("docker build".to_owned());
    if step.dockerfile != step.context.join("Dockerfile") {
        words.push(format!("--file {}", path(&step.dockerfile)));
    }
    words.extend(step.fresh.then(|| "--no-cache".to_owned()));
    let target = step.target.as_deref();
    words.extend(target.map(|target| format!("--target {}", quoted(target))));
    words.extend(step.args.iter().map(|(name, value)| {
        let hidden = step.args_by_hand.get(name).cloned();
        format!(
            "--build-arg {name}={}",
            hidden.unwrap_or_else(|| quoted(value).into_owned())
        )
    }));
    words.extend(step.secrets.iter().map(|(id, source)| {
        let from = match source {
            SecretSource::Environment { name, .. } => format!("env={name}"),
            SecretSource::File(file) => field(format!("src={}", secret(file).display())),
        };
        format!("--secret {}", quoted(&format!("id={id},{from}")))
    }));
    words.extend(step.ssh.then(|| "--ssh default".to_owned()));
    words.push(path(&step.context));
    words.join(" ")
}

/// Returns what makes the folders that hold further mount points: the engine would make them as root, and
/// the next build could not remove what is in them.
fn made_first(mount_points: &[PathBuf]) -> Option<String> {
    let made = |path: &Path| mount_points.iter().any(|point| point == path);
    let parents = mount_points.iter().filter_map(|point| point.parent());
    let mut parents: Vec<String> = parents
        .filter(|parent| made(parent))
        .map(|parent| quoted(&parent.display().to_string()).into_owned())
        .collect();
    parents.dedup();
    (!parents.is_empty()).then(|| format!("mkdir -p {}", parents.join(" ")))
}

/// Returns a field of a line of CSV.
fn field(text: String) -> String {
    match text.contains([',', '"', '\n']) {
        true => format!("\"{}\"", text.replace('"', "\"\"")),
        false => text,
    }
}

/// Returns the value of `--mount`, whose fields are those of a line of CSV.
fn mount(bind: &Bind, ssh_agent: &str) -> String {
    let target = field(format!("dst={}", bind.target));
    let mode = if bind.read_only { ",readonly" } else { "" };
    if bind.target == ssh_agent {
        return format!(
            "type=bind,src=\"${{SSH_AUTH_SOCK?}}\",{}{mode}",
            quoted(&target)
        );
    }
    let source = match &bind.source {
        Source::Path(path) => format!("type=bind,{}", field(format!("src={path}"))),
        Source::Volume { name, folder } => {
            let folder = folder.iter();
            let folder = folder.map(|it| format!(",{}", field(format!("volume-subpath={it}"))));
            let folder: String = folder.collect();
            format!("type=volume,src={name}{folder},volume-nocopy")
        }
        Source::Kept { name, .. } => format!("type=volume,src={name},volume-nocopy"),
        Source::Fresh => "type=volume,volume-nocopy".to_owned(),
    };
    quoted(&format!("{source},{target}{mode}")).into_owned()
}

/// Returns billionths as a decimal number.
fn decimal(billionths: u64) -> String {
    let (whole, rest) = (billionths / 1_000_000_000, billionths % 1_000_000_000);
    match rest {
        0 => whole.to_string(),
        rest => format!("{whole}.{}", format!("{rest:09}").trim_end_matches('0')),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::event::Phase;

    fn spec() -> ContainerSpec {
        let bind = |source: &str, target: &str, read_only| Bind {
            source: Source::Path(source.to_owned()),
            target: target.to_owned(),
            read_only,
        };
        ContainerSpec {
            image: "builders/app:1".parse().unwrap(),
            labels: HashMap::new(),
            env: vec![
                ("A".to_owned(), "it's".to_owned()),
                ("TOKEN".to_owned(), "secret".to_owned()),
            ],
            user: (1000, 100),
            owner: (1000, 100),
            written: vec!["/work".to_owned(), "/a b".to_owned()],
            taken: Vec::new(),
            groups: vec![7],
            binds: vec![
                bind("/p/a, b", "/work", false),
                bind("/tmp/agent", "/agent", true),
            ],
            network: Some("none".to_owned()),
            memory: Some(1024),
            nano_cpus: Some(1_500_000_000),
        }
    }

    fn by_hand(spec: &ContainerSpec, mount_points: &[PathBuf]) -> Option<String> {
        let env_by_hand = BTreeMap::from([("TOKEN".to_owned(), "\"${X?}\"".to_owned())]);
        let place = Place {
            spec,
            env_by_hand: &env_by_hand,
            dir: "/work",
            mount_points,
            ssh_agent: "/agent",
        };
        let step = ScriptStep {
            phase: Phase::Build,
            text: "echo \"$A\"; exit 3".to_owned(),
            line: 1,
        };
        script(&place, &step)
    }

    #[test]
    fn a_script_runs_as_in_its_build() {
        let command = by_hand(&spec(), &[]).unwrap();
        assert_eq!(
            command,
            "docker run --rm --init --no-healthcheck --entrypoint /bin/sh --user 1000:100 --group-add 7 \
             --network none --memory 1024 --cpus 1.5 --tmpfs /home/xp:exec,mode=1777 \
             --mount 'type=bind,\"src=/p/a, b\",dst=/work' \
             --mount type=bind,src=\"${SSH_AUTH_SOCK?}\",dst=/agent,readonly \
             --env HOME=/home/xp --env A='it'\\''s' --env TOKEN=\"${X?}\" --workdir /work builders/app:1 \
             -ec 'echo \"$A\"; exit 3'"
        );
    }

    #[test]
    fn a_build_has_its_secrets_by_their_names() {
        let manifest = crate::manifest::parse(
            "services: {a: {dir: a, git: {remote: 'h:x'}, docker: {image: a, secrets: {f: {file: 'a, b'}, n: {env: N}}}}}",
            Path::new("x-platform.yml"),
        );
        let services = manifest.unwrap().services;
        let secrets = services.values().next().unwrap().docker.secrets.clone();
        let step = ImageStep {
            root: "/p".into(),
            context: "/p".into(),
            left_out: None,
            dockerfile: "/p/Dockerfile".into(),
            target: None,
            args: BTreeMap::new(),
            args_by_hand: BTreeMap::new(),
            secrets,
            ssh: true,
            labels: BTreeMap::new(),
            commit_time: None,
            fresh: false,
            names: Vec::new(),
            needs: Vec::new(),
        };
        assert_eq!(
            image(&step, Path::to_path_buf, |file| Path::new("/m").join(file)),
            "DOCKER_BUILDKIT=1 docker build --secret 'id=f,\"src=/m/a, b\"' --secret id=n,env=N \
             --ssh default /p"
        );
    }

    #[test]
    fn files_stay_the_callers() {
        let mut spec = spec();
        spec.user = (0, 0);
        let command = by_hand(&spec, &[]).unwrap();
        let end = "-c 'trap '\\''chown -hR 1000:100 /work '\\''\\'\\'''\\''/a b'\\''\\'\\'''\\'''\\'' EXIT; \
                   /bin/sh -ec \"$0\"' 'echo \"$A\"; exit 3'";
        assert!(command.ends_with(end), "{command}");
        // Nobody else could write to what is the caller's.
        spec.user = (5, 5);
        assert_eq!(by_hand(&spec, &[]), None);
    }

    #[test]
    fn folders_that_hold_mount_points_are_made_by_the_caller() {
        let points = ["/p/.git", "/p/web", "/p/web/node_modules"].map(PathBuf::from);
        let command = by_hand(&spec(), &points).unwrap();
        assert!(
            command.starts_with("mkdir -p /p/web && docker run "),
            "{command}"
        );
    }
}
