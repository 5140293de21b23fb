//! Authentication: passwords, tokens, credential helpers, private certificate authorities.

use std::fs;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::json;
use walkdir::WalkDir;

use crate::case::Case;
use crate::cases::small;
use crate::context::Context;
use crate::output::Output;
use crate::process;
use crate::world::{
    Gateway, Incoming, PASSWORD, Registry, RegistryKind, Reply, SPECIAL_PASSWORD, SPECIAL_USER,
    USER,
};
use crate::xp::Xp;

pub const CASES: &[Case] = cases![
    a_registry_with_authentication_works_for_all_operations,
    special_characters_in_passwords_work,
    a_registry_with_tls_and_authentication_works_for_all_operations,
    a_private_ca_is_read_from_dockers_locations,
    a_credential_helper_runs_once_per_host_in_the_plan,
    a_helper_without_credentials_means_anonymous,
    a_missing_or_failing_helper_is_named,
    a_missing_helper_for_docker_hub_is_a_warning,
    a_password_is_exchanged_for_a_token,
    an_identity_token_is_exchanged_for_another,
    an_expired_token_is_fetched_again,
    a_late_authentication_challenge_is_handled,
    a_failing_token_server_is_not_reported_as_a_wrong_login,
    the_password_of_a_git_remote_stays_secret,
    a_plain_registry_may_redirect_to_storage_with_tls,
];

/// Asserts that a secret is neither in the output nor in xp's own files.
#[track_caller]
fn keeps_secret(t: &Context, output: Output, secret: &str) -> Output {
    let own = t.dir().join(".xp");
    for entry in WalkDir::new(own).into_iter().flatten() {
        let content = fs::read(entry.path()).unwrap_or_default();
        let found = process::text(&content).contains(secret);
        assert!(!found, "{secret:?} is in {}", entry.path().display());
    }
    output.does_not_contain(secret)
}

/// Pushes the base image to a registry, and removes that name from the engine.
fn push_base(t: &Context, registry: &Registry) -> String {
    let base = format!("{}/base:1", t.registry_prefix(registry));
    t.engine().tag(t.engine().busybox(), &base);
    let mut push = t.engine().client();
    push.env("DOCKER_CONFIG", t.docker_config());
    process::succeed(push.args(["push", "--quiet", &base]));
    t.engine().remove_image(&base);
    base
}

/// Builds with private images everywhere: as base of the builder, as base of the image, and pushed.
fn build_with_private_images(t: &Context, registry: &Registry) {
    let base = push_base(t, registry);
    let builder = t.builder("sh", &format!("FROM {base}\nRUN echo made > /made\n"), &[]);
    let repository = t.git_repo("zbackend");
    let commit = repository.commit(
        &[("Dockerfile", &format!("FROM {base}\nCOPY made /\n"))],
        "Start",
    );
    let more = format!(
        "    dockerBuilder: {{image: {builder}}}\n    scripts: {{build: [cp /made made]}}\n"
    );
    let service = small::service(t, "zbackend", &repository.url_file(), "", &more);
    small::manifest(t, registry.host(), &service);
    let build = t.xp(["build", "-v"]).success();
    keeps_secret(t, build, PASSWORD);

    let image = t.image("zbackend");
    assert!(registry.manifest_digest(&image, &commit).is_some());
    assert!(registry.manifest_digest(&image, "master").is_some());
    let name = format!("{}/{image}:{commit}", registry.host());
    assert_eq!(t.engine().run(&name, ["cat", "/made"]), "made");
    // Then pull it again.
    for name in t
        .engine()
        .images_with_prefix(&format!("{}/{image}", registry.host()))
    {
        t.engine().remove_image(&name);
    }
    t.xp(["build"]).success().stdout_contains("pulled");
    assert_eq!(t.engine().run(&name, ["cat", "/made"]), "made");
}

fn a_registry_with_authentication_works_for_all_operations(t: &Context) {
    let registry = t.registry_of(RegistryKind::Auth);
    t.log_in(registry);
    build_with_private_images(t, registry);
}

fn special_characters_in_passwords_work(t: &Context) {
    let registry = t.registry_of(RegistryKind::Auth);
    t.log_in_as(registry, SPECIAL_USER, SPECIAL_PASSWORD);
    build_with_private_images(t, registry);
}

fn a_registry_with_tls_and_authentication_works_for_all_operations(t: &Context) {
    let registry = t.registry_of(RegistryKind::TlsAuth);
    t.log_in(registry);
    let repository = small::repository(t, "zbackend");
    let commit = repository.head();
    small::platform(t, registry.host(), &[("zbackend", &repository)]);
    let xp = |arguments| t.xp(arguments).env("SSL_CERT_FILE", t.ca_certificate());
    let build = xp(["build", "-v"]).success();
    keeps_secret(t, build, PASSWORD);
    let image = t.image("zbackend");
    assert!(registry.manifest_digest(&image, &commit).is_some());
    for name in t
        .engine()
        .images_with_prefix(&format!("{}/{image}", registry.host()))
    {
        t.engine().remove_image(&name);
    }
    xp(["build", "-v"]).success().stdout_contains("pulled");
    let name = format!("{}/{image}:{commit}", registry.host());
    assert!(t.engine().image(&name).is_some());
}

fn a_private_ca_is_read_from_dockers_locations(t: &Context) {
    let registry = t.registry_of(RegistryKind::Tls);
    let repository = small::repository(t, "zbackend");
    small::platform(t, registry.host(), &[("zbackend", &repository)]);

    let unknown = t.xp(["plan"]).failure(3);
    let place = format!("certs.d/{}/ca.crt", registry.host());
    unknown
        .stderr_contains(registry.host())
        .stderr_contains("UnknownIssuer")
        .stderr_contains(&place)
        .stderr_contains("SSL_CERT_FILE");

    let place = format!("docker/{place}");
    let in_home = t.home().join(".config").join(&place);
    let elsewhere = t.folder().join("config").join(&place);
    for file in [&in_home, &elsewhere] {
        fs::create_dir_all(file.parent().expect("a folder")).expect("a folder for a certificate");
    }
    fs::copy(t.ca_certificate(), &elsewhere).expect("the authority");
    t.xp(["plan"])
        .env("XDG_CONFIG_HOME", t.folder().join("config"))
        .success()
        .stdout_contains("build");
    t.xp(["plan"]).failure(3);
    fs::copy(t.ca_certificate(), &in_home).expect("the authority");
    t.xp(["plan"]).success().stdout_contains("build");
    fs::write(&in_home, "no certificate\n").expect("a broken authority");
    t.xp(["plan"])
        .failure(3)
        .stderr_contains(&in_home.display().to_string())
        .stderr_contains("PEM");
}

/// A credential helper that logs the hosts it is called for, and the PATH to find it.
struct Helper<'t> {
    t: &'t Context,
    path: String,
}

impl<'t> Helper<'t> {
    fn new(t: &'t Context, answer: &str) -> Self {
        let called_hosts = t.folder().join("asked");
        let script = format!(
            "#!/bin/sh\nread -r host\necho \"$1 $host\" >>'{}'\n{answer}\n",
            called_hosts.display()
        );
        t.write("../bin/docker-credential-test", &script);
        let path = std::env::var("PATH").expect("a PATH");
        let path = format!("{}:{path}", t.folder().join("bin").display());
        Self { t, path }
    }

    fn configure(&self, configuration: serde_json::Value) {
        let file = self.t.docker_config().join("config.json");
        fs::write(file, configuration.to_string()).expect("Docker's client configuration");
    }

    fn xp<const N: usize>(&self, arguments: [&str; N]) -> Xp {
        self.t.xp(arguments).env("PATH", &self.path)
    }

    /// Returns the hosts it was called for since the last call, sorted.
    fn called_hosts(&self) -> Vec<String> {
        let file = self.t.folder().join("asked");
        let text = fs::read_to_string(&file).unwrap_or_default();
        let _ = fs::remove_file(file);
        let mut called_hosts: Vec<String> = text.lines().map(str::to_owned).collect();
        called_hosts.sort();
        called_hosts
    }
}

fn right_answer() -> String {
    format!(r#"echo '{{"ServerURL":"","Username":"{USER}","Secret":"{PASSWORD}"}}'"#)
}

fn a_credential_helper_runs_once_per_host_in_the_plan(t: &Context) {
    let registry = t.registry_of(RegistryKind::Auth);
    let host = registry.host();
    let repository = small::repository(t, "zbackend");
    small::platform(t, host, &[("zbackend", &repository)]);
    let helper = Helper::new(t, &right_answer());
    helper.configure(json!({
        "credHelpers": {host: "test", "other.example.com": "test"},
        "auths": {"third.example.com": {}},
    }));
    let build = helper.xp(["build", "-v"]).success();
    keeps_secret(t, build, PASSWORD);
    assert_eq!(helper.called_hosts(), [format!("get {host}")]);
    assert!(!registry.tags(&t.image("zbackend")).is_empty());
    helper
        .xp(["plan"])
        .success()
        .stdout_contains("Nothing to do");
    assert_eq!(helper.called_hosts(), [format!("get {host}")]);

    // One helper for all registries, including those that only the Dockerfile names.
    let base = t.registry().host().to_owned();
    let dockerfile = format!("ARG BASE={base}\nFROM $BASE/no/such:image\n");
    repository.commit(&[("Dockerfile", &dockerfile)], "Another base");
    helper.configure(json!({"credsStore": "test"}));
    helper.xp(["build"]).failure(1);
    let mut expected = [format!("get {host}"), format!("get {base}")];
    expected.sort();
    assert_eq!(helper.called_hosts(), expected);
}

fn a_helper_without_credentials_means_anonymous(t: &Context) {
    let repository = small::repository(t, "zbackend");
    let helper = Helper::new(t, "echo 'credentials not found in native keychain'; exit 1");
    helper.configure(json!({"credsStore": "test"}));
    small::platform(t, t.registry().host(), &[("zbackend", &repository)]);
    helper.xp(["build"]).success();
    let with_login = t.registry_of(RegistryKind::Auth);
    small::platform(t, with_login.host(), &[("zbackend", &repository)]);
    helper
        .xp(["plan"])
        .failure(3)
        .stderr_contains("anonymous users");
}

fn a_missing_or_failing_helper_is_named(t: &Context) {
    let registry = t.registry_of(RegistryKind::Auth);
    let repository = small::repository(t, "zbackend");
    small::platform(t, registry.host(), &[("zbackend", &repository)]);
    let helper = Helper::new(t, "echo 'the keychain is locked' >&2; exit 1");
    helper.configure(json!({"credsStore": "missing"}));
    helper
        .xp(["build"])
        .failure(3)
        .stderr_contains("`docker-credential-missing`")
        .stderr_contains(registry.host())
        .stderr_contains("PATH");
    helper.configure(json!({"credHelpers": {registry.host(): "test"}}));
    helper
        .xp(["build"])
        .failure(3)
        .stderr_contains("`docker-credential-test`")
        .stderr_contains("the keychain is locked");
    fs::write(
        t.docker_config().join("config.json"),
        "{\"auths\": canary-password",
    )
    .expect("a file");
    t.xp(["build"])
        .failure(3)
        .stderr_contains("config.json")
        .does_not_contain("canary-password");
    assert!(!t.exists("src"));
}

fn a_missing_helper_for_docker_hub_is_a_warning(t: &Context) {
    // The engine has the base, so no credentials are needed.
    let repository = t.git_repo("zbackend");
    let dockerfile = format!("FROM {}\nRUN true\n", t.engine().busybox());
    repository.commit(&[("Dockerfile", &dockerfile)], "Start");
    small::platform(t, "", &[("zbackend", &repository)]);
    let helper = Helper::new(t, "exit 1");
    helper.configure(json!({"credsStore": "missing"}));
    helper
        .xp(["build"])
        .success()
        .stderr_contains("warning: the credential helper `docker-credential-missing`");
}

/// A registry that only accepts tokens, like Harbor: the open one behind a gateway that also issues them, for
/// requests that `is_right` accepts.
fn token_registry(
    t: &Context,
    is_right: impl Fn(&Incoming) -> bool + Send + Sync + 'static,
) -> Gateway {
    Gateway::before(t.registry().host(), move |incoming| {
        let host = incoming.header("host").unwrap_or_default();
        if incoming.path.starts_with("/token") {
            return match is_right(incoming) {
                true => Reply::json(
                    200,
                    r#"{"token":"canary-token","access_token":"canary-token"}"#,
                ),
                false => Reply::error(401, "UNAUTHORIZED", "authentication required"),
            };
        }
        if incoming.header("authorization") == Some("Bearer canary-token") {
            return Reply::Forward;
        }
        let challenge = format!("Bearer realm=\"http://{host}/token\",service=\"test-registry\"");
        Reply::Response(401, vec![("WWW-Authenticate", challenge)], String::new())
    })
}

fn a_password_is_exchanged_for_a_token(t: &Context) {
    let basic = format!("Basic {}", BASE64_STANDARD.encode("bob:canary-password"));
    let gateway = token_registry(t, move |incoming| {
        let is_of_service = incoming.path.contains("service=test-registry");
        is_of_service && incoming.header("authorization") == Some(&basic)
    });
    let repository = small::repository(t, "zbackend");
    let commit = repository.head();
    small::platform(t, gateway.host(), &[("zbackend", &repository)]);
    refused_with(t, "rejects anonymous users");

    t.log_in_host(gateway.host(), "bob", "wrong-password");
    let refused = refused_with(t, "rejects the user `bob`");
    refused.does_not_contain("wrong-password");

    t.log_in_host(gateway.host(), "bob", "canary-password");
    let build = t.xp(["build", "-v"]).success();
    let build = keeps_secret(t, build, "canary-password");
    keeps_secret(t, build, "canary-token");
    let image = t.image("zbackend");
    let mut expected = [commit.as_str(), "master"];
    expected.sort_unstable();
    assert_eq!(t.registry().tags(&image), expected);
    // One token for both tags. A token for other repositories as well is the engine's, which checks whether a
    // layer already exists.
    let scope = format!("&scope=repository%3A{}%3Apull", image.replace('/', "%2F"));
    let requests = gateway.requests();
    let tokens = requests
        .iter()
        .filter(|request| request.path.ends_with(&scope) && request.status == 200);
    assert_eq!(tokens.count(), 1, "{requests:?}");
}

fn an_identity_token_is_exchanged_for_another(t: &Context) {
    let gateway = token_registry(t, |incoming| {
        incoming.method == "POST"
            && incoming.body.contains("grant_type=refresh_token")
            && incoming.body.contains("refresh_token=canary-identity")
            && incoming.body.contains("service=test-registry")
    });
    let repository = small::repository(t, "zbackend");
    small::platform(t, gateway.host(), &[("zbackend", &repository)]);
    let configuration = json!({"auths": {gateway.host(): {"identitytoken": "canary-identity"}}});
    fs::write(
        t.docker_config().join("config.json"),
        configuration.to_string(),
    )
    .expect("a file");
    let build = t.xp(["build", "-v"]).success();
    keeps_secret(t, build, "canary");
    assert_eq!(t.registry().tags(&t.image("zbackend")).len(), 2);

    // Same format as from helpers.
    let helper = Helper::new(
        t,
        r#"echo '{"Username":"<token>","Secret":"canary-identity"}'"#,
    );
    helper.configure(json!({"credsStore": "test"}));
    helper
        .xp(["plan"])
        .success()
        .stdout_contains("Nothing to do");
    let helper = Helper::new(
        t,
        r#"echo '{"Username":"<token>","Secret":"canary-wrong"}'"#,
    );
    helper
        .xp(["plan"])
        .failure(3)
        .stderr_contains("rejects the identity token")
        .does_not_contain("canary");
}

fn an_expired_token_is_fetched_again(t: &Context) {
    let given = AtomicUsize::new(0);
    let gateway = Gateway::before(t.registry().host(), move |incoming| {
        let host = incoming.header("host").unwrap_or_default();
        let challenge = vec![(
            "WWW-Authenticate",
            format!("Bearer realm=\"http://{host}/token\""),
        )];
        if incoming.path.starts_with("/token") {
            let number = given.fetch_add(1, Ordering::Relaxed);
            return Reply::json(200, &format!(r#"{{"token":"number-{number}"}}"#));
        }
        match incoming.header("authorization") {
            None | Some("Bearer number-0") => Reply::Response(401, challenge, String::new()),
            _ => Reply::Forward,
        }
    });
    let repository = small::repository(t, "zbackend");
    small::platform(t, gateway.host(), &[("zbackend", &repository)]);
    t.xp(["plan"]).success().stdout_contains("build");
}

fn a_late_authentication_challenge_is_handled(t: &Context) {
    // Some registries serve `/v2/` without authentication and require it only for images.
    let registry = t.registry_of(RegistryKind::Auth);
    let gateway = Gateway::before(registry.host(), |incoming| match incoming.path.as_str() {
        "/v2/" => Reply::json(200, "{}"),
        _ => Reply::Forward,
    });
    let repository = small::repository(t, "zbackend");
    small::platform(t, gateway.host(), &[("zbackend", &repository)]);
    t.log_in_host(gateway.host(), USER, PASSWORD);
    t.xp(["plan"]).success().stdout_contains("build");
}

fn a_failing_token_server_is_not_reported_as_a_wrong_login(t: &Context) {
    let closed = t.closed_port();
    for (realm, what) in [
        (
            format!("http://127.0.0.1:{closed}/token"),
            "did not respond",
        ),
        ("nonsense".to_owned(), "is not a valid URL"),
        ("http://HOST/down".to_owned(), "503"),
        ("http://HOST/empty".to_owned(), "returned no token"),
    ] {
        let gateway = Gateway::alone(move |incoming| {
            let host = incoming.header("host").unwrap_or_default();
            let challenge = format!("Bearer realm=\"{}\"", realm.replace("HOST", host));
            match incoming.path.split('?').next() {
                Some("/down") => Reply::status(503),
                Some("/empty") => Reply::json(200, "{}"),
                _ => Reply::Response(401, vec![("WWW-Authenticate", challenge)], String::new()),
            }
        });
        let repository = t.git_repo(&format!("zbackend-{}", what.replace(' ', "-")));
        repository.commit(&[("Dockerfile", small::DOCKERFILE)], "Start");
        small::platform(t, gateway.host(), &[("zbackend", &repository)]);
        let plan = t.xp(["plan"]).failure(3);
        plan.stderr_contains("token server")
            .stderr_contains(what)
            .does_not_contain("docker login");
    }
}

fn the_password_of_a_git_remote_stays_secret(t: &Context) {
    let repository = small::repository(t, "zbackend");
    let url = repository.url_http_login();
    assert!(url.contains(PASSWORD));
    let url = url.replace(&format!(":{PASSWORD}@"), ":canary-password@");
    let service = small::service(t, "zbackend", &url, "", "");
    small::manifest(t, "", &service);
    let build = t.xp(["build", "-v"]).failure(3);
    keeps_secret(t, build, "canary-password");
    let plan = t.xp(["plan", "--branch", "master"]).failure(3);
    plan.does_not_contain("canary-password");
}

#[track_caller]
fn refused_with(t: &Context, why: &str) -> Output {
    t.xp(["build"]).failure(3).stderr_contains(why)
}

fn a_plain_registry_may_redirect_to_storage_with_tls(t: &Context) {
    let (registry, storage) = (
        t.own_registry(RegistryKind::Open),
        t.own_registry(RegistryKind::Tls),
    );
    let repository = small::repository(t, "a");
    let services = [("a", &repository)];
    small::platform(t, registry.host(), &services);
    t.xp(["build"]).success();
    let data = |registry: &Registry| registry.files("").parent().expect("a folder").to_owned();
    fs::create_dir_all(data(&storage)).expect("a folder");
    let copy = ["-a", &format!("{}/.", data(&registry).display())];
    process::succeed(Command::new("cp").args(copy).arg(data(&storage)));
    let host = storage.host().to_owned();
    let gateway = Gateway::before(registry.host(), move |incoming| {
        if incoming.method == "GET" && incoming.path.contains("/blobs/sha256:") {
            let location = format!("https://{host}{}", incoming.path);
            Reply::Response(307, vec![("Location", location)], String::new())
        } else {
            Reply::Forward
        }
    });
    small::platform(t, gateway.host(), &services);
    let plan = || t.xp(["plan", "--no-pull", "--all"]);
    plan().failure(3).stderr_contains("SSL_CERT_FILE");
    plan()
        .env("SSL_CERT_FILE", t.ca_certificate())
        .success()
        .stdout_contains("in the registry");
}
