//! `xp doctor`: one line for each subject without problems; cause and fix for each problem.

use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::case::Case;
use crate::cases::deploy_render::{manifest, product, section, write_builder};
use crate::cases::small;
use crate::context::Context;
use crate::output::Output;
use crate::platform::Service;
use crate::process;
use crate::schema::assert_follows;
use crate::working_copy::User;
use crate::world::Access;
use crate::xp::Xp;

pub const CASES: &[Case] = cases![
    passing_checks_take_one_line,
    a_missing_manifest_does_not_hide_other_checks,
    an_invalid_manifest_is_reported_with_positions,
    an_unreachable_engine_does_not_hide_other_results,
    the_docker_context_is_used_and_reported,
    the_classic_builder_is_a_warning,
    missing_references_have_suggestions,
    refusals_of_remotes_are_distinguished,
    an_unknown_host_key_is_reported_with_sshs_message,
    a_replaced_remote_url_is_reported,
    local_work_is_not_a_problem,
    problems_of_working_copies_are_reported,
    a_builder_without_a_folder_is_an_error,
    a_missing_external_builder_is_an_error,
    a_foreign_cache_folder_is_rejected,
    a_full_disk_is_reported,
    missing_programs_are_named,
    proxies_are_shown_without_passwords,
    only_selected_services_are_checked,
    offline_contacts_no_server,
    clusters_are_queried,
];

/// The findings of `xp doctor --format json`.
pub struct Findings(Value);

impl Findings {
    /// Runs it, and validates the document against the schema.
    #[track_caller]
    pub fn of(t: &Context, xp: Xp, code: i32) -> Self {
        let output = xp.args(["--format", "json"]).failure(code);
        Self::read(t, &output)
    }

    #[track_caller]
    fn read(t: &Context, output: &Output) -> Self {
        assert_follows(t, "doctor", &output.stdout);
        Self(serde_json::from_str(&output.stdout).expect("JSON"))
    }

    /// Returns the findings about a subject with this severity.
    pub fn about(&self, subject: &str, severity: &str) -> Vec<&Value> {
        let subjects = self.0["subjects"].as_array().expect("subjects").iter();
        let subjects = subjects.filter(|one| one["subject"] == subject);
        let findings = subjects.flat_map(|one| one["findings"].as_array().expect("findings"));
        findings
            .filter(|finding| finding["severity"] == severity)
            .collect()
    }

    /// Returns the only finding about a subject with this severity.
    #[track_caller]
    pub fn only(&self, subject: &str, severity: &str) -> &Value {
        match self.about(subject, severity).as_slice() {
            [one] => one,
            all => panic!("{} of {subject} are {severity}: {:#}", all.len(), self.0),
        }
    }

    /// Asserts that a subject has no warnings or errors.
    #[track_caller]
    pub fn assert_no_problems(&self, subject: &str) {
        for severity in ["warning", "error"] {
            let found = self.about(subject, severity);
            assert!(found.is_empty(), "{found:#?}");
        }
    }
}

/// Asserts that a finding contains a text anywhere.
#[track_caller]
pub fn says(finding: &Value, text: &str) {
    let all = ["what", "causes", "fixes", "concerns"].map(|field| match &finding[field] {
        Value::Array(list) => list
            .iter()
            .filter_map(Value::as_str)
            .collect::<Vec<_>>()
            .join("\n"),
        one => one.as_str().unwrap_or_default().to_owned(),
    });
    let all = all.join("\n");
    assert!(all.contains(text), "{text:?} is not in {finding:#}");
}

/// A platform with a registry, scripts and a builder, without problems.
fn healthy_platform(t: &Context) {
    let repository = small::repository(t, "zbackend");
    let builder = t.builder("sh", &format!("FROM {}\n", t.engine().busybox()), &[]);
    let more =
        format!("    dockerBuilder: {{image: {builder}}}\n    scripts: {{build: [\"true\"]}}\n");
    let service = small::service(t, "zbackend", &repository.url_http(), "", &more);
    small::manifest(t, t.registry().host(), &service);
}

fn passing_checks_take_one_line(t: &Context) {
    healthy_platform(t);
    let fresh = t.xp(["doctor"]).success();
    let fresh = fresh
        .stdout_contains("x-platform.yml, 1 service\n")
        .stdout_contains("BuildKit")
        .stdout_contains("anonymous users may push to 2 repositories\n")
        .stdout_contains("1 remote, 1 reference\n")
        .stdout_contains("1 builder image, 1 not built yet\n")
        .stdout_contains("1 not cloned yet\n");
    let count = fresh
        .stdout
        .lines()
        .filter(|line| !line.starts_with("  "))
        .count();
    assert_eq!(count, 9, "a line a subject, and a verdict: {fresh}");
    assert!(!t.exists(".xp") && !t.exists("src"), "nothing was made");
    assert_eq!(t.registry().open_uploads(&t.image("zbackend")), 0);
    assert_eq!(fresh.stderr, "");

    t.xp(["build"]).success();
    let verbose = t.xp(["doctor", "-v"]).success();
    let host = t.registry().host();
    verbose
        .stdout_contains("  ok: x-platform.yml is valid\n")
        .stdout_contains("is in the engine and in the registry\n")
        .stdout_contains(&format!(
            "  ok: http://{host} is reachable; credentials: none\n"
        ))
        .stdout_contains(&format!(
            "  ok: pull and push access to {host}/{}\n",
            t.image("zbackend")
        ))
        .stdout_contains("origin/master is ")
        .stdout_contains("  ok: src/zbackend is on master\n")
        .stderr_contains("checking engine, registries, git remotes and folders");
    let findings = Findings::of(t, t.xp(["doctor"]), 0);
    for subject in [
        "manifest",
        "registry",
        "git-remotes",
        "builders",
        "working-copies",
    ] {
        assert!(!findings.about(subject, "ok").is_empty(), "{subject}");
        findings.assert_no_problems(subject);
    }
    let quiet = t.xp(["doctor", "-q"]).success();
    assert_eq!((quiet.stdout.as_str(), quiet.stderr.as_str()), ("", ""));
}

fn a_missing_manifest_does_not_hide_other_checks(t: &Context) {
    let findings = Findings::of(t, t.xp(["doctor"]), 2);
    let manifest = findings.only("manifest", "error");
    says(manifest, "could not find x-platform.yml in ");
    says(manifest, "`-f FILE`");
    assert!(findings.about("engine", "error").is_empty());
    says(
        findings.about("engine", "ok")[0],
        " is reachable at unix://",
    );
}

fn an_invalid_manifest_is_reported_with_positions(t: &Context) {
    t.manifest("services:\n  zbackend:\n    dirr: src/zbackend\n    docker: {image: x}\n");
    let findings = Findings::of(t, t.xp(["doctor"]), 2);
    let errors = findings.about("manifest", "error");
    assert!(errors.len() > 1, "{errors:?}");
    let unknown = errors
        .iter()
        .find(|error| error["what"].to_string().contains("dirr"));
    let unknown = unknown.expect("the unknown key is told");
    says(unknown, "x-platform.yml:3:5: ");
    says(unknown, "dir");
    assert!(!findings.about("engine", "ok").is_empty());
    t.xp(["doctor"])
        .failure(2)
        .stdout_contains("error    manifest")
        .stdout_contains("only this machine was checked");
}

fn an_unreachable_engine_does_not_hide_other_results(t: &Context) {
    healthy_platform(t);
    let socket = t.folder().join("nothing.sock");
    let host = format!("unix://{}", socket.display());
    let findings = Findings::of(t, t.xp(["doctor"]).env("DOCKER_HOST", &host), 3);
    let engine = findings.only("engine", "error");
    says(engine, &host);
    says(engine, "systemctl start docker");
    says(engine, "DOCKER_HOST is set to");
    for subject in ["registry", "git-remotes", "working-copies", "builders"] {
        findings.assert_no_problems(subject);
    }
    fs::write(&socket, "").expect("a file");
    let findings = Findings::of(t, t.xp(["doctor"]).env("DOCKER_HOST", &host), 3);
    says(findings.only("engine", "error"), "the path is not a socket");
    let remote = format!("tcp://127.0.0.1:{}", t.closed_port());
    let findings = Findings::of(t, t.xp(["doctor"]).env("DOCKER_HOST", &remote), 3);
    says(findings.only("engine", "error"), &remote);
    let wrong = t.xp(["doctor"]).env("DOCKER_HOST", "ftp://somewhere");
    says(
        Findings::of(t, wrong, 2).only("engine", "error"),
        "ftp://somewhere",
    );
    // Other commands refer to it.
    t.xp(["plan"])
        .env("DOCKER_HOST", &remote)
        .failure(3)
        .stderr_contains("xp doctor");
}

fn the_docker_context_is_used_and_reported(t: &Context) {
    let name = "remote-one";
    let configuration = json!({"currentContext": name}).to_string();
    fs::write(t.docker_config().join("config.json"), configuration).expect("a file");
    let id: String = Sha256::digest(name)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let meta = json!({"Name": name, "Endpoints": {"docker": {"Host": "unix:///run/other.sock"}}});
    let folder = t.docker_config().join("contexts/meta").join(id);
    fs::create_dir_all(&folder).expect("a folder");
    fs::write(folder.join("meta.json"), meta.to_string()).expect("a file");
    // The tests' engine is not at a default location, so none responds here.
    let runtime = t.folder().join("no-runtime");
    let xp = || {
        t.xp(["doctor"])
            .env_remove("DOCKER_HOST")
            .env("XDG_RUNTIME_DIR", &runtime)
    };
    let findings = Findings::of(t, xp(), 2);
    let error = findings.only("engine", "error");
    says(error, "unix:///run/other.sock");
    says(error, "Docker context `remote-one`");
    // Both use the engine that is set explicitly.
    let named = Findings::of(t, t.xp(["doctor"]), 2);
    assert!(named.about("engine", "error").is_empty());
    assert!(!named.0.to_string().contains("remote-one"));
    let default = xp().env("DOCKER_CONTEXT", "default");
    assert!(
        !Findings::of(t, default, 2)
            .0
            .to_string()
            .contains("remote-one")
    );
}

fn the_classic_builder_is_a_warning(t: &Context) {
    healthy_platform(t);
    let findings = Findings::of(t, t.xp(["doctor"]).env("DOCKER_BUILDKIT", "0"), 0);
    let warnings = findings.about("engine", "warning");
    assert!(
        warnings
            .iter()
            .any(|one| one["what"].to_string().contains("classic builder"))
    );
    t.xp(["doctor"])
        .env("DOCKER_BUILDKIT", "0")
        .success()
        .stdout_contains("warning  engine ")
        .stdout_contains("no BuildKit")
        .stdout_contains("    fix: `unset DOCKER_BUILDKIT`\n");
}

fn missing_references_have_suggestions(t: &Context) {
    let repository = small::repository(t, "zbackend");
    let url = repository.url_http();
    t.platform(&[
        Service::new("zbackend", &url).reference("origin/mastre"),
        Service::new("zfrontend", &url).reference("origin/master"),
    ]);
    let findings = Findings::of(t, t.xp(["doctor"]), 2);
    let error = findings.only("git-remotes", "error");
    says(error, "has no branch or tag `origin/mastre`");
    says(error, "did you mean `master` instead of `origin/mastre`?");
    says(findings.only("git-remotes", "ok"), "origin/master is ");
}

fn refusals_of_remotes_are_distinguished(t: &Context) {
    let repository = small::repository(t, "zbackend");
    let absent = format!("{}-absent", repository.url_http());
    let nobody = format!("http://127.0.0.1:{}/x.git", t.closed_port());
    t.platform(&[
        Service::new("good", repository.url_http()),
        Service::new("login", repository.url_http_login_as("bob", "wr0ng-canary")),
        Service::new("absent", &absent),
        Service::new("nobody", &nobody),
    ]);
    let output = t.xp(["doctor", "--format", "json"]).failure(3);
    let output = output.does_not_contain("wr0ng-canary");
    let findings = Findings::read(t, &output);
    assert_eq!(findings.about("git-remotes", "ok").len(), 1);
    let errors = findings.about("git-remotes", "error");
    assert_eq!(errors.len(), 3);
    for (service, text) in [
        ("login", "rejected the user `bob`"),
        ("absent", "no git repository at "),
        ("nobody", "Connection refused"),
    ] {
        let of_service = |error: &&&Value| error["concerns"][0] == service;
        let error = errors.iter().find(of_service).expect("an error a remote");
        says(error, text);
        assert!(
            !error["fixes"].as_array().expect("fixes").is_empty(),
            "{error}"
        );
    }
}

fn an_unknown_host_key_is_reported_with_sshs_message(t: &Context) {
    let repository = small::repository(t, "zbackend");
    t.platform(&[Service::new("zbackend", repository.url_ssh())]);
    let ssh = |known: &Path, key: &str| {
        format!(
            "ssh -F none -o IdentityAgent=none -o UserKnownHostsFile='{}' -o GlobalKnownHostsFile=none {key}",
            known.display()
        )
    };
    let empty = ssh(&t.home().join("known_hosts"), "");
    let findings = Findings::of(t, t.xp(["doctor"]).env("GIT_SSH_COMMAND", empty), 3);
    let error = findings.only("git-remotes", "error");
    says(error, "Host key verification failed");
    says(error, "ssh-keyscan");
    let no_key = ssh(&t.sshd().known_hosts(), "-o IdentityFile=none");
    let xp = t
        .xp(["doctor"])
        .env("GIT_SSH_COMMAND", no_key)
        .env_remove("SSH_AUTH_SOCK");
    let error = Findings::of(t, xp, 3);
    let error = error.only("git-remotes", "error");
    says(error, "Permission denied");
    says(error, "no ssh agent: SSH_AUTH_SOCK is not set");
    Findings::of(t, t.xp(["doctor"]), 0).assert_no_problems("git-remotes");
}

fn a_replaced_remote_url_is_reported(t: &Context) {
    let repository = small::repository(t, "zbackend");
    t.platform(&[Service::new(
        "zbackend",
        "https://git.example.com/x/zbackend.git",
    )]);
    let key = format!("url.{}.insteadOf", repository.url_http());
    let value = "https://git.example.com/x/zbackend.git";
    t.git("", &["config", "--global", &key, value]);
    let findings = Findings::of(t, t.xp(["doctor"]), 0);
    let found = findings.only("git-remotes", "ok");
    says(
        found,
        "https://git.example.com/x/zbackend.git (via http://127.0.0.1:",
    );
}

fn local_work_is_not_a_problem(t: &Context) {
    let repository = small::repository(t, "zbackend");
    small::platform(t, "", &[("zbackend", &repository)]);
    t.xp(["sync"]).success();
    let user = User::new(t, "zbackend");
    user.commit("mine", "1\n");
    user.write("mine", "2\n");
    user.write("new", "3\n");
    let findings = Findings::of(t, t.xp(["doctor"]), 0);
    let note = findings.only("working-copies", "note");
    let expected =
        "src/zbackend is on master: 1 commit not pushed, 1 file modified, 1 file untracked";
    assert_eq!(note["what"], expected);
    findings.assert_no_problems("working-copies");
    t.xp(["doctor"])
        .success()
        .stdout_contains("working copies")
        .stdout_contains("1 working copy, 1 with local changes\n");
    user.git(&["checkout", "--quiet", "--detach", "--force"]);
    user.remove("new");
    user.git(&["bisect", "start"]);
    let findings = Findings::of(t, t.xp(["doctor"]), 0);
    let note = findings.only("working-copies", "note");
    says(note, "(detached HEAD)");
    says(note, "bisect in progress");
}

fn problems_of_working_copies_are_reported(t: &Context) {
    let names = ["moved", "locked", "foreign", "broken", "gone"];
    let repositories = names.map(|name| (name, small::repository(t, name)));
    let list: Vec<_> = repositories
        .iter()
        .map(|(name, one)| (*name, one))
        .collect();
    small::platform(t, "", &list);
    t.xp(["sync", "moved", "locked", "broken"]).success();
    let moved = User::new(t, "moved");
    moved.git(&[
        "remote",
        "set-url",
        "origin",
        "https://bob:canary-secret@git.example.com/old.git",
    ]);
    let lock = User::new(t, "locked").dir.join(".git/index.lock");
    fs::write(&lock, "").expect("a lock");
    let now = Findings::of(t, t.xp(["doctor", "locked"]), 0);
    now.assert_no_problems("working-copies");
    let file = fs::File::options()
        .write(true)
        .open(&lock)
        .expect("the lock");
    file.set_modified(SystemTime::now() - Duration::from_secs(600))
        .expect("an old lock");
    t.write("src/foreign/thesis.txt", "precious");
    let broken = User::new(t, "broken").dir.join(".git/HEAD");
    fs::write(broken, "nonsense").expect("a broken HEAD");

    let output = t.xp(["doctor", "--format", "json"]).failure(3);
    let findings = Findings::read(t, &output.does_not_contain("canary-secret"));
    let warnings = findings.about("working-copies", "warning");
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    says(
        warnings[0],
        "src/locked has been locked by src/locked/.git/index.lock for 10 minutes",
    );
    says(warnings[0], "rm src/locked/.git/index.lock");
    says(warnings[1], "src/moved is not a clone of file://");
    says(warnings[1], "git.example.com/old.git");
    let errors = findings.about("working-copies", "error");
    assert_eq!(errors.len(), 2, "{errors:?}");
    says(errors[0], "src/broken");
    says(errors[1], "src/foreign is not a working copy");
    assert_eq!(t.read("src/foreign/thesis.txt"), "precious");
}

fn a_builder_without_a_folder_is_an_error(t: &Context) {
    healthy_platform(t);
    let manifest = t.read("x-platform.yml");
    t.manifest(&manifest.replace("-sh}", "-shh}"));
    let findings = Findings::of(t, t.xp(["doctor"]), 2);
    let error = findings.only("builders", "error");
    says(error, "builder `");
    says(error, "did you mean `");
    says(error, "zbackend");
}

fn a_missing_external_builder_is_an_error(t: &Context) {
    let repository = small::repository(t, "zbackend");
    let image = format!("{}/{}:1", t.registry().host(), t.image("toolchain"));
    let more =
        format!("    dockerBuilder: {{image: '{image}'}}\n    scripts: {{build: [\"true\"]}}\n");
    let service = small::service(t, "zbackend", &repository.url_file(), "", &more);
    small::manifest(t, "", &service);
    let findings = Findings::of(t, t.xp(["doctor"]), 2);
    let error = findings.only("builders", "error");
    says(
        error,
        &format!("builder image {image} not found in the engine or its registry"),
    );
    says(error, "zbackend");

    t.engine().tag(t.engine().busybox(), &image);
    let found = Findings::of(t, t.xp(["doctor"]), 0);
    says(found.only("builders", "ok"), "is in the engine");
    process::succeed(t.engine().client().args(["push", "--quiet", &image]));
    t.engine().remove_image(&image);
    let found = Findings::of(t, t.xp(["doctor"]), 0);
    says(
        found.only("builders", "ok"),
        "is in the registry and will be pulled",
    );
}

fn a_foreign_cache_folder_is_rejected(t: &Context) {
    healthy_platform(t);
    t.write("../thesis/thesis.txt", "precious");
    let folder = t.folder().join("thesis");
    let findings = Findings::of(t, t.xp(["doctor"]).env("XP_CACHE_DIR", &folder), 2);
    let error = findings.only("machine", "error");
    says(error, "contains files that xp did not create");
    says(error, "XP_CACHE_DIR");
    let below_file = folder.join("thesis.txt/own");
    let findings = Findings::of(t, t.xp(["doctor"]).env("XP_CACHE_DIR", &below_file), 3);
    says(findings.only("machine", "error"), "not a folder");
    assert_eq!(fs::read_dir(&folder).expect("the folder").count(), 1);
}

fn a_full_disk_is_reported(t: &Context) {
    healthy_platform(t);
    let disk = t.folder().join("disk");
    fs::create_dir_all(&disk).expect("a folder");
    let mut unshare = vec!["--mount"];
    if !rustix::process::geteuid().is_root() {
        unshare.extend(["--user", "--map-current-user", "--keep-caps"]);
    }
    let script = format!(
        "mount -t tmpfs -o size=4m,nr_inodes=100 tmpfs '{}' && exec '{}' doctor --format json",
        disk.display(),
        env!("CARGO_BIN_EXE_xp")
    );
    let mut run = t
        .program("unshare", [])
        .env("XP_CACHE_DIR", disk.join("own"));
    for argument in unshare {
        run = run.arg(argument);
    }
    let output = run.arg("sh").arg("-c").arg(script).failure(3);
    let findings = Findings::read(t, &output);
    let error = findings.only("machine", "error");
    says(error, "has 4 MiB free; a build needs at least 1 GiB");
    says(error, "docker system prune");
    let files = findings.only("machine", "warning");
    says(files, "free inodes");
}

fn missing_programs_are_named(t: &Context) {
    let repository = t.git_repo("zbackend");
    let attributes = "*.bin filter=lfs diff=lfs merge=lfs -text\n";
    repository.commit(
        &[
            ("Dockerfile", small::DOCKERFILE),
            (".gitattributes", attributes),
        ],
        "Start",
    );
    t.platform(&[Service::new("zbackend", repository.url_file())]);
    t.xp(["sync"]).success();
    let empty = t.folder().join("empty");
    fs::create_dir_all(&empty).expect("a folder");
    let findings = Findings::of(t, t.xp(["doctor"]).env("PATH", &empty), 3);
    let error = findings.only("machine", "error");
    says(error, "program `git-lfs` not found on PATH");
    says(error, "zbackend");
    t.platform(&[Service::new(
        "zbackend",
        "git@git.example.com:x/zbackend.git",
    )]);
    let xp = t
        .xp(["doctor", "--offline"])
        .env("PATH", &empty)
        .env_remove("GIT_SSH_COMMAND");
    let findings = Findings::of(t, xp, 3);
    let errors = findings.about("machine", "error");
    says(
        errors[0],
        "program `ssh` not found on PATH; it is needed for git remotes over ssh",
    );
}

fn proxies_are_shown_without_passwords(t: &Context) {
    healthy_platform(t);
    let proxy = "http://bob:canary-secret@proxy.example.com:3128";
    let doctor = t
        .xp(["doctor", "-v"])
        .env("https_proxy", proxy)
        .env("no_proxy", "internal.example.com");
    doctor
        .success()
        .does_not_contain("canary-secret")
        .stdout_contains("  note: https_proxy is http://proxy.example.com:3128\n")
        .stdout_contains("  note: no_proxy is internal.example.com\n")
        .stdout_contains(
            "xp uses a proxy, but the engine, which pulls and pushes images, has none",
        );
}

fn only_selected_services_are_checked(t: &Context) {
    let repository = small::repository(t, "zbackend");
    t.platform(&[
        Service::new("good", repository.url_http()),
        Service::new("bad", format!("{}-absent", repository.url_http())),
    ]);
    t.xp(["doctor", "good"])
        .success()
        .stdout_contains("1 of 2 services, good\n")
        .stdout_contains("1 remote, 1 reference\n");
    t.xp(["doctor"]).failure(3);
    t.xp(["doctor", "goood"])
        .failure(2)
        .stderr_contains("goood");
}

fn offline_contacts_no_server(t: &Context) {
    let registry = t.own_registry(crate::world::RegistryKind::Open);
    let repository = small::repository(t, "zbackend");
    let (git, of_registry) = (
        t.git_server(crate::world::GitServerKind::Open).mark(),
        registry.mark(),
    );
    let service = small::service(t, "zbackend", &repository.url_http(), "", "");
    small::manifest(t, registry.host(), &service);
    t.xp(["doctor", "--offline"])
        .success()
        .stdout_contains("not checked");
    assert!(registry.requests_since(of_registry).is_empty());
    let requests = repository.requests_since(crate::world::GitServerKind::Open, git);
    assert!(requests.is_empty());
}

fn clusters_are_queried(t: &Context) {
    t.kubeconfig(&[("other", Access::Nowhere), ("full", Access::Full)]);
    let namespace = t.namespace("staging");
    let product = product(t, namespace.name());
    t.xp(["doctor", "-v"]).success().stdout_contains(&format!(
        "staging: namespace {} in full is reachable; nothing deployed yet",
        namespace.name()
    ));
    let with_context = |context: &str| {
        let environment = section(namespace.name()).replace("context: full", context);
        manifest(t, &product, &environment);
        Findings::of(t, t.xp(["doctor"]), 0)
    };
    let findings = with_context("context: ful");
    let warning = findings.only("clusters", "warning");
    says(warning, "no context `ful`, which environment staging uses");
    says(warning, "did you mean `full`?");
    let findings = with_context("context: other");
    let warning = findings.only("clusters", "warning");
    says(warning, "staging: namespace");
    says(warning, "kubectl cluster-info");
    // Clusters that were excluded or cannot be reached are not queried.
    Findings::of(t, t.xp(["doctor", "--offline"]), 0).assert_no_problems("clusters");
    let nothing = t.folder().join("nothing");
    let without = || t.xp(["doctor"]).env("PATH", &nothing);
    let findings = Findings::of(t, without(), 0);
    says(
        findings.only("clusters", "warning"),
        "or add builders/k8s/Dockerfile",
    );
    write_builder(t);
    let findings = Findings::of(t, without(), 0);
    findings.assert_no_problems("clusters");
    says(findings.only("clusters", "note"), "builders/k8s");
    // A file that cannot be read affects all environments.
    fs::write(t.home().join(".kube/config"), "{").expect("a file");
    let findings = Findings::of(t, t.xp(["doctor"]), 0);
    says(findings.only("clusters", "warning"), "read the kubeconfig");
}
