//! Every secret passed to xp is a unique word. None of these words may appear anywhere: not in the output,
//! not in xp's own files, not in an image or a registry.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::atomic::{AtomicUsize, Ordering};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use crate::case::Case;
use crate::context::Context;
use crate::output::Output;
use crate::process;
use crate::world::{Gateway, GitServerKind, Incoming, Reply};
use crate::xp::Xp;

pub const CASES: &[Case] = cases![
    no_secret_leaks_after_a_build,
    no_secret_leaks_after_a_failure,
];

/// The common prefix.
const CANARY: &str = "c4nary";

/// A server's failure.
#[derive(Clone, Copy, PartialEq)]
enum Fault {
    None = 0,
    GitRefuses,
    GitFails,
    GitIsCutOff,
    RegistryRefuses,
    TokensAreRefused,
    TokensFail,
    TokensAreNone,
    PushIsForbidden,
    PushFails,
}

const FAULTS: [Fault; 9] = [
    Fault::GitRefuses,
    Fault::GitFails,
    Fault::GitIsCutOff,
    Fault::RegistryRefuses,
    Fault::TokensAreRefused,
    Fault::TokensFail,
    Fault::TokensAreNone,
    Fault::PushIsForbidden,
    Fault::PushFails,
];

/// A platform with a secret in every place that can have one.
struct SecretPlatform<'t> {
    t: &'t Context,
    registry: Gateway,
    _git: Gateway,
    fault: std::sync::Arc<AtomicUsize>,
}

fn basic(user_and_password: &str) -> String {
    format!("Basic {}", BASE64_STANDARD.encode(user_and_password))
}

fn is_by(incoming: &Incoming, logins: &[String]) -> bool {
    let header = incoming.header("authorization").unwrap_or_default();
    logins.iter().any(|login| login == header)
}

impl<'t> SecretPlatform<'t> {
    fn new(t: &'t Context) -> Self {
        let fault = std::sync::Arc::new(AtomicUsize::new(0));
        let is = |shared: &std::sync::Arc<AtomicUsize>| {
            let shared = shared.clone();
            move |fault: Fault| shared.load(Ordering::Relaxed) == fault as usize
        };
        let has = is(&fault);
        let registry = Gateway::before(t.registry().host(), move |incoming| {
            let host = incoming.header("host").unwrap_or_default();
            if incoming.path.starts_with("/token") {
                return match is_by(incoming, &[basic("bob:c4nary-registry")]) {
                    _ if has(Fault::TokensFail) => Reply::status(500),
                    _ if has(Fault::TokensAreNone) => {
                        Reply::json(200, r#"{"tokenn":"c4nary-other-token"}"#)
                    }
                    true if !has(Fault::TokensAreRefused) => {
                        Reply::json(200, r#"{"token":"c4nary-token"}"#)
                    }
                    _ => Reply::error(401, "UNAUTHORIZED", "authentication required"),
                };
            }
            let writes = incoming.method != "GET" && incoming.method != "HEAD";
            if has(Fault::RegistryRefuses) || writes && has(Fault::PushIsForbidden) {
                return Reply::error(403, "DENIED", "requested access to the resource is denied");
            }
            // The check before the build passes; later requests fail.
            if has(Fault::PushFails) && matches!(incoming.method.as_str(), "PUT" | "PATCH") {
                return Reply::error(400, "BLOB_UPLOAD_INVALID", "no");
            }
            if incoming.header("authorization") == Some("Bearer c4nary-token") {
                return Reply::Forward;
            }
            let challenge = format!("Bearer realm=\"http://{host}/token\",service=\"x\"");
            Reply::Response(401, vec![("WWW-Authenticate", challenge)], String::new())
        });
        let has = is(&fault);
        let address = t.git_server(GitServerKind::Open).url("", "");
        let address = address.trim_start_matches("http://").trim_end_matches('/');
        let address = address.split('/').next().expect("a host");
        let git = Gateway::before(address, move |incoming| {
            let logins = ["alice:c4nary-git-url", "alice:c4nary-git-helper"].map(basic);
            match is_by(incoming, &logins) {
                _ if has(Fault::GitRefuses) => Reply::status(403),
                _ if has(Fault::GitFails) => Reply::status(501),
                _ if has(Fault::GitIsCutOff) => {
                    Reply::Response(200, Vec::new(), "00ffgarbage".to_owned())
                }
                true => Reply::Forward,
                false => {
                    let challenge = "Basic realm=\"git\"".to_owned();
                    Reply::Response(401, vec![("WWW-Authenticate", challenge)], String::new())
                }
            }
        });
        let repository = t.git_repo("by-url");
        let of_helper = t.git_repo("by-helper");
        let dockerfile = format!(
            "FROM {}\nARG API_TOKEN\nRUN --mount=type=secret,id=v --mount=type=secret,id=f \
             test -n \"$API_TOKEN\" && test -s /run/secrets/v && test -s /run/secrets/f\n\
             COPY file /\n",
            t.engine().busybox()
        );
        repository.commit(&[("Dockerfile", &dockerfile), ("file", "1")], "First");
        of_helper.commit(
            &[("Dockerfile", "FROM scratch\nCOPY file /\n"), ("file", "1")],
            "First",
        );
        let through = |url: String, login: &str| {
            let real = format!("http://{address}");
            url.replace(&real, &format!("http://{login}{}", git.host()))
        };
        let by_url = through(repository.url_http(), "alice:c4nary-git-url@");
        let by_helper = through(of_helper.url_http(), "");
        t.log_in_host(registry.host(), "bob", "c4nary-registry");
        let helper = t.folder().join("helper");
        let script = "#!/bin/sh\n[ \"$1\" != get ] || printf 'username=alice\\npassword=c4nary-git-helper\\n'\n";
        fs::write(&helper, script).expect("a file");
        fs::set_permissions(&helper, fs::Permissions::from_mode(0o755)).expect("a mode");
        let helper = helper.display().to_string();
        t.git("", &["config", "--global", "credential.helper", &helper]);
        fs::write(t.home().join("secret-file"), "c4nary-secret-file").expect("a file");
        let image = |name: &str| format!("{}/{}", registry.host(), t.image(name));
        let manifest = format!(
            "services:\n  \
               by-url:\n    \
                 dir: src/by-url\n    \
                 git: {{ remote: '{by_url}' }}\n    \
                 dockerBuilder: {{ image: {}, network: none, env: {{ TOKEN: '${{{{ env.OF_SCRIPTS }}}}' }} }}\n    \
                 scripts: {{ build: [ 'test ${{#TOKEN}} -gt 5 # SCRIPT' ] }}\n    \
                 docker:\n      \
                   image: {}\n      \
                   args: {{ API_TOKEN: '${{{{ env.OF_ARGUMENTS }}}}' }}\n      \
                   secrets: {{ v: {{ env: OF_SECRETS }}, f: {{ file: ~/secret-file }} }}\n  \
               by-helper:\n    \
                 dir: src/by-helper\n    \
                 git: {{ remote: '{by_helper}' }}\n    \
                 docker: {{ image: {} }}\n",
            t.engine().busybox(),
            image("by-url"),
            image("by-helper"),
        );
        t.manifest(&manifest);
        Self {
            t,
            registry,
            _git: git,
            fault,
        }
    }

    fn set(&self, fault: Fault) {
        self.fault.store(fault as usize, Ordering::Relaxed);
    }

    fn xp(&self, line: &str) -> Xp {
        let words = line.split_whitespace();
        words
            .fold(self.t.xp([]), Xp::arg)
            .env("OF_SCRIPTS", "c4nary-of-scripts")
            .env("OF_ARGUMENTS", "c4nary-of-arguments")
            .env("OF_SECRETS", "c4nary-of-secrets")
    }

    /// Runs a command and asserts that its output contains no secret.
    #[track_caller]
    fn quiet(&self, line: &str) -> Output {
        let output = self.xp(line).run().does_not_contain(CANARY);
        for encoded in [
            "alice:c4nary-git-url",
            "alice:c4nary-git-helper",
            "bob:c4nary-registry",
        ] {
            let encoded = BASE64_STANDARD.encode(encoded);
            let output = format!("{}{}", output.stdout, output.stderr);
            assert!(!output.contains(&encoded), "{line}: {output}");
        }
        output
    }

    /// Asserts that xp's files contain no secret, including the configurations of clones.
    #[track_caller]
    fn assert_nothing_written(&self) {
        self.t.assert_secret_is_nowhere(CANARY);
    }
}

/// Commands that show as much as possible of a platform and its last run.
const COMMANDS: &[&str] = &[
    "plan -v",
    "plan --format json",
    "why by-url",
    "why by-helper",
    "status -v",
    "sync -v",
    "graph",
    "logs",
    "logs by-url",
    "report",
    "report --junit target.xml",
    "lock -v",
    "doctor",
    "doctor --format json",
];

fn no_secret_leaks_after_a_build(t: &Context) {
    let platform = SecretPlatform::new(t);
    let build = platform.quiet("build -v");
    assert!(build.status.success(), "{build}");
    // xp warns about values that Docker itself stores.
    let build = build.stderr_contains(
        "warning: by-url: the build argument `API_TOKEN` comes from the environment",
    );
    assert!(
        !build.stderr.contains("by-helper: the build argument"),
        "{build}"
    );
    let json = platform.quiet("build --force --format json");
    assert!(json.status.success(), "{json}");
    for line in COMMANDS {
        platform.quiet(line);
    }
    platform.assert_nothing_written();
    let registry = platform.registry.host();
    for name in t
        .engine()
        .images_with_prefix(&format!("{registry}/{}", t.prefix()))
    {
        let history = process::succeed(t.engine().client().args(["history", "--no-trunc", &name]));
        let words = history.split(|c: char| !(c.is_ascii_alphanumeric() || c == '-'));
        let found: BTreeSet<&str> = words.filter(|word| word.starts_with(CANARY)).collect();
        // Docker keeps arguments in the history; nothing else is there.
        let expected = BTreeSet::from(["c4nary-of-arguments"]);
        let is_with_argument = name.contains("/by-url:");
        assert_eq!(
            found,
            if is_with_argument {
                expected
            } else {
                BTreeSet::new()
            },
            "{name}: {history}"
        );
        let image = t.engine().image(&name).expect("it is listed");
        let labels = image["Config"].to_string();
        assert!(!labels.contains(CANARY), "{name}: {labels}");
    }
    for name in ["by-url", "by-helper"] {
        assert!(
            !t.registry().tags(&t.image(name)).is_empty(),
            "{name} was pushed"
        );
    }
}

fn no_secret_leaks_after_a_failure(t: &Context) {
    let platform = SecretPlatform::new(t);
    for fault in FAULTS {
        platform.set(fault);
        let build = platform.quiet("build -v --force");
        let number = fault as usize;
        assert!(
            matches!(build.status.code(), Some(1 | 3)),
            "fault {number}: {build}"
        );
        for line in [
            "plan -v",
            "sync -v",
            "doctor",
            "logs",
            "report",
            "build --force --format json",
        ] {
            platform.quiet(line);
        }
        platform.assert_nothing_written();
        fs::remove_dir_all(t.dir().join("src")).ok();
    }
    platform.set(Fault::None);
    // First a script fails, then an instruction: both are reported with a command for a shell.
    let text = t.read("x-platform.yml");
    t.manifest(&text.replace("# SCRIPT", "&& exit 3"));
    let build = platform.quiet("build -v").stderr_contains("debug with:");
    assert_eq!(build.status.code(), Some(1), "{build}");
    t.manifest(&text.replace("env: OF_SECRETS", "env: EMPTY"));
    let build = platform
        .xp("build -v --force")
        .env("EMPTY", "")
        // Another argument, so the instruction is not cached.
        .env("OF_ARGUMENTS", "c4nary-of-other-arguments")
        .run()
        .does_not_contain(CANARY);
    let build = build
        .stderr_contains("debug with:")
        .stderr_contains("--secret id=v,env=EMPTY");
    assert_eq!(build.status.code(), Some(1), "{build}");
    for line in ["logs", "report", "report --junit target.xml"] {
        platform.quiet(line);
    }
    // A secret in a wrong place, so that errors quote the line.
    for (from, to) in [
        ("services:", "servicess:"),
        ("remote: '", "remote: '--upload-pack="),
        ("    dir: src/by-url\n", ""),
        ("git: {", "git: { refrence: x,"),
    ] {
        t.manifest(&text.replace(from, to));
        let plan = platform.quiet("plan");
        assert_eq!(plan.status.code(), Some(2), "{plan}");
    }
    platform.assert_nothing_written();
}
