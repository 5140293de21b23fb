//! Shell commands that reproduce a failed step.
//!
//! They contain no values from the caller's environment, only the names of variables.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::ExecuteContext;
use super::secrets::{self, CONFIG, SECRETS};
use crate::base::shell::quoted;
use crate::client::engine::{Bind, ContainerSpec, HOME, MountSource};
use crate::model::manifest::SecretSource;
use crate::model::plan::{ImageStep, PluginStep, ScriptStep};

/// The environment that a script ran in.
pub struct ScriptEnvironment<'a> {
    /// The container's configuration.
    pub spec: &'a ContainerSpec,
    /// Variables with secret values, as shell expressions.
    pub env_for_shell: &'a BTreeMap<String, String>,
    /// The working directory in the container.
    pub dir: &'a str,
    /// The folders that were created as mount points.
    pub mount_points: Vec<PathBuf>,
    /// The ssh agent's socket in the container; outside, its path differs per session.
    pub ssh_agent: &'a str,
}

/// Returns the command that runs a script line in a container like that of the build; `None` if the files would need
/// another owner first.
pub fn script(environment: &ScriptEnvironment<'_>, step: &ScriptStep) -> Option<String> {
    let spec = environment.spec;
    let (uid, _) = spec.user;
    let is_owner = spec.user == spec.owner;
    if !is_owner && uid != 0 {
        return None;
    }
    let mut words = vec!["docker run --rm --init --no-healthcheck --entrypoint /bin/sh".to_owned()];
    add_settings(environment, &mut words);
    words.push(format!("--workdir {}", quoted(environment.dir)));
    words.push(quoted(&spec.image.to_string()).into_owned());
    if is_owner {
        words.push(format!("-ec {}", quoted(&step.text)));
    } else {
        let owner = format!("{}:{}", spec.owner.0, spec.owner.1);
        let written: Vec<_> = spec.written.iter().map(|path| quoted(path)).collect();
        let chown = format!("chown -hR {owner} {}", written.join(" "));
        let run = format!("trap {} EXIT; /bin/sh -ec \"$0\"", quoted(&chown));
        words.push(format!("-c {} {}", quoted(&run), quoted(&step.text)));
    }
    Some(after_parents(environment, words.join(" ")))
}

/// Returns the command that runs a plugin on the same files with the same settings; `None` if the files would need
/// another owner first.
pub fn plugin(
    context: &ExecuteContext,
    environment: &ScriptEnvironment<'_>,
    step: &PluginStep,
) -> Option<String> {
    let spec = environment.spec;
    if spec.user != spec.owner {
        return None;
    }
    let mut words = vec!["docker run --rm --init --no-healthcheck".to_owned()];
    add_settings(environment, &mut words);
    let config = step.container.config.as_deref().unwrap_or("{}");
    let mut files = vec![
        "xp_files=$(mktemp -d)".to_owned(),
        format!("printf %s {} > \"$xp_files/config.json\"", quoted(config)),
    ];
    words.push(format!(
        "--mount type=bind,src=\"$xp_files/config.json\",dst={CONFIG},readonly"
    ));
    for (id, source) in &step.container.secrets {
        let file = match source {
            SecretSource::Environment { name, .. } => {
                files.push(format!("printf %s \"${{{name}?}}\" > \"$xp_files/{id}\""));
                format!("\"$xp_files/{id}\"")
            }
            SecretSource::File(file) => {
                let path = secrets::path_of(context, file).display().to_string();
                quoted(&path).into_owned()
            }
        };
        words.push(format!(
            "--mount type=bind,src={file},dst={SECRETS}/{id},readonly"
        ));
    }
    words.push(format!("--workdir {}", quoted(environment.dir)));
    words.push(quoted(&spec.image.to_string()).into_owned());
    let command = format!("{} && {}", files.join(" && "), words.join(" "));
    Some(after_parents(environment, command))
}

/// Adds the settings of a container other than its entrypoint and command.
fn add_settings(environment: &ScriptEnvironment<'_>, words: &mut Vec<String>) {
    let spec = environment.spec;
    let (uid, gid) = spec.user;
    let platform = spec.platform.iter();
    words.extend(platform.map(|platform| format!("--platform {platform}")));
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
        // A writable home, as in a build.
        words.push(format!("--tmpfs {HOME}:exec,mode=1777"));
    }
    let binds = spec.binds.iter();
    words.extend(binds.map(|bind| format!("--mount {}", mount(bind, environment.ssh_agent))));
    if !spec.env.iter().any(|(name, _)| name == "HOME") {
        let home = if uid == 0 { "/root" } else { HOME };
        words.push(format!("--env HOME={home}"));
    }
    words.extend(spec.env.iter().map(|(name, value)| {
        let hidden = environment.env_for_shell.get(name).cloned();
        format!(
            "--env {name}={}",
            hidden.unwrap_or_else(|| quoted(value).into_owned())
        )
    }));
}

/// Returns a command that runs after the parent folders of mount points are created.
fn after_parents(environment: &ScriptEnvironment<'_>, command: String) -> String {
    match make_parents(&environment.mount_points) {
        Some(mkdir) => format!("{mkdir} && {command}"),
        None => command,
    }
}

/// Returns the command that builds an image from the same files with the same arguments. `typed` translates paths for
/// the machine that runs the command, `secret` returns the file of a secret.
pub fn image(
    step: &ImageStep,
    typed: impl Fn(&Path) -> PathBuf,
    secret: impl Fn(&str) -> PathBuf,
) -> String {
    let path = |path: &Path| quoted(&typed(path).display().to_string()).into_owned();
    // Without it, the docker command 20.10 supports neither secrets, ssh agents nor other platforms.
    let needs_buildkit = step.ssh || !step.secrets.is_empty() || step.platform.is_some();
    let mut words = needs_buildkit
        .then(|| "DOCKER_BUILDKIT=1".to_owned())
        .into_iter()
        .collect::<Vec<_>>();
    words.push("docker".to_owned());
    words.extend(
        step.engine
            .iter()
            .map(|engine| format!("--context {}", quoted(engine))),
    );
    words.push("build".to_owned());
    if step.dockerfile != step.context.join("Dockerfile") {
        words.push(format!("--file {}", path(&step.dockerfile)));
    }
    let platform = step.platform.iter();
    words.extend(platform.map(|platform| format!("--platform {platform}")));
    words.extend(step.fresh.then(|| "--no-cache".to_owned()));
    let target = step.target.as_deref();
    words.extend(target.map(|target| format!("--target {}", quoted(target))));
    words.extend(step.args.iter().map(|(name, value)| {
        let hidden = step.args_for_shell.get(name).cloned();
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

/// Returns the command that creates the parent folders of mount points: the engine would create them as root, and the
/// next build could not remove them.
fn make_parents(mount_points: &[PathBuf]) -> Option<String> {
    let made = |path: &Path| mount_points.iter().any(|point| point == path);
    let parents = mount_points.iter().filter_map(|point| point.parent());
    let mut parents: Vec<String> = parents
        .filter(|parent| made(parent))
        .map(|parent| quoted(&parent.display().to_string()).into_owned())
        .collect();
    parents.dedup();
    (!parents.is_empty()).then(|| format!("mkdir -p {}", parents.join(" ")))
}

/// Quotes a CSV field.
fn field(text: String) -> String {
    if text.contains([',', '"', '\n']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text
    }
}

/// Returns the value of `--mount`, which is a CSV line.
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
        MountSource::Path(path) => format!("type=bind,{}", field(format!("src={path}"))),
        MountSource::Volume { name, folder } => {
            let folder = folder.iter();
            let folder = folder.map(|it| format!(",{}", field(format!("volume-subpath={it}"))));
            let folder: String = folder.collect();
            format!("type=volume,src={name}{folder},volume-nocopy")
        }
        MountSource::Kept { name, .. } => format!("type=volume,src={name},volume-nocopy"),
        MountSource::Fresh => "type=volume,volume-nocopy".to_owned(),
    };
    quoted(&format!("{source},{target}{mode}")).into_owned()
}

/// Formats billionths as a decimal number.
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
    use crate::model::event::Phase;
    use crate::model::plan::BaseUse;
    use crate::model::source::PathSelection;

    fn spec() -> ContainerSpec {
        let bind = |source: &str, target: &str, read_only| Bind {
            source: MountSource::Path(source.to_owned()),
            target: target.to_owned(),
            read_only,
        };
        ContainerSpec {
            image: "builders/app:1".parse().unwrap(),
            platform: None,
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
            volumes_from: None,
            network: Some("none".to_owned()),
            memory: Some(1024),
            nano_cpus: Some(1_500_000_000),
        }
    }

    fn script_command(spec: &ContainerSpec, mount_points: &[PathBuf]) -> Option<String> {
        let env_for_shell = BTreeMap::from([("TOKEN".to_owned(), "\"${X?}\"".to_owned())]);
        let environment = ScriptEnvironment {
            spec,
            env_for_shell: &env_for_shell,
            dir: "/work",
            mount_points: mount_points.to_vec(),
            ssh_agent: "/agent",
        };
        let step = ScriptStep {
            phase: Phase::Build,
            image: None,
            text: "echo \"$A\"; exit 3".to_owned(),
            file: "x-platform.yml".to_owned(),
            line: 1,
        };
        script(&environment, &step)
    }

    #[test]
    fn the_script_command_matches_the_build() {
        let command = script_command(&spec(), &[]).unwrap();
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
    fn the_build_command_names_secrets_without_values() {
        let manifest = crate::model::manifest::parse(
            "services: {a: {dir: a, git: {remote: 'h:x'}, docker: {image: a, secrets: {f: {file: 'a, b'}, n: {env: N}}}}}",
            Path::new("x-platform.yml"),
        );
        let services = manifest.unwrap().services;
        let secrets = services.values().next().unwrap().docker.secrets.clone();
        let step = ImageStep {
            root: "/p".into(),
            folder: "/p".into(),
            context: "/p".into(),
            selected: PathSelection::default(),
            excluded: None,
            dockerfile: "/p/Dockerfile".into(),
            target: None,
            args: BTreeMap::new(),
            args_for_shell: BTreeMap::new(),
            secrets,
            ssh: true,
            platform: None,
            engine: None,
            labels: BTreeMap::new(),
            commit_time: None,
            fresh: false,
            layers: None,
            bases: BaseUse::Unrecorded,
            builders: Vec::new(),
            names: Vec::new(),
            is_verified: false,
            needs: Vec::new(),
        };
        assert_eq!(
            image(&step, Path::to_path_buf, |file| Path::new("/m").join(file)),
            "DOCKER_BUILDKIT=1 docker build --secret 'id=f,\"src=/m/a, b\"' --secret id=n,env=N \
             --ssh default /p"
        );
    }

    #[test]
    fn files_still_belong_to_the_caller() {
        let mut spec = spec();
        spec.user = (0, 0);
        let command = script_command(&spec, &[]).unwrap();
        let end = "-c 'trap '\\''chown -hR 1000:100 /work '\\''\\'\\'''\\''/a b'\\''\\'\\'''\\'''\\'' EXIT; \
                   /bin/sh -ec \"$0\"' 'echo \"$A\"; exit 3'";
        assert!(command.ends_with(end), "{command}");
        // Another user could not write to the caller's files.
        spec.user = (5, 5);
        assert_eq!(script_command(&spec, &[]), None);
    }

    #[test]
    fn parents_of_mount_points_are_created_by_the_caller() {
        let points = ["/p/.git", "/p/web", "/p/web/node_modules"].map(PathBuf::from);
        let command = script_command(&spec(), &points).unwrap();
        assert!(
            command.starts_with("mkdir -p /p/web && docker run "),
            "{command}"
        );
    }
}
