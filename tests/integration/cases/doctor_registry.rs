//! `xp doctor` and registries: authentication and push access.

use std::fs;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::json;

use crate::case::Case;
use crate::cases::doctor::{Findings, says};
use crate::cases::small;
use crate::context::Context;
use crate::wait::wait_until;
use crate::world::{Gateway, Incoming, PASSWORD, RegistryKind, Reply, USER};

pub const CASES: &[Case] = cases![
    credentials_are_shown_with_their_source,
    a_wrong_login_is_a_single_finding,
    a_missing_helper_is_named,
    missing_push_permission_is_reported,
    many_repositories_share_one_reason,
    a_read_only_registry_is_reported,
    a_rate_limit_is_reported,
    a_token_without_push_scope_is_not_a_wrong_login,
    an_upload_is_canceled_with_a_delete_token,
    an_upload_is_canceled_at_any_url,
    an_upload_that_cannot_be_canceled_is_a_warning,
    a_wrong_external_registry_url_is_reported,
    a_catch_all_page_does_not_grant_access,
    an_unreachable_registry_is_reported_once,
    an_unknown_ca_is_reported,
    a_slow_registry_does_not_delay_others,
    concurrent_queries_of_a_registry_are_limited,
    an_interrupt_cancels_uploads,
];

/// Writes a platform with one service and the registry of that host.
fn platform(t: &Context, host: &str) {
    let repository = small::repository(t, "zbackend");
    small::platform(t, host, &[("zbackend", &repository)]);
}

fn is_upload(incoming: &Incoming) -> bool {
    incoming.path.contains("/blobs/uploads/")
}

/// A registry behind a script that handles requests to start an upload.
fn refusing(t: &Context, answer: impl Fn() -> Reply + Send + Sync + 'static) -> Gateway {
    Gateway::before(t.registry().host(), move |incoming| {
        let opens = incoming.method == "POST" && is_upload(incoming);
        if opens { answer() } else { Reply::Forward }
    })
}

fn credentials_are_shown_with_their_source(t: &Context) {
    let registry = t.registry_of(RegistryKind::Auth);
    platform(t, registry.host());
    t.log_in(registry);
    let config = t.docker_config().join("config.json").display().to_string();
    t.xp(["doctor", "-v"])
        .success()
        .does_not_contain(PASSWORD)
        .stdout_contains(&format!("the user `{USER}` may push to 1 repository\n"))
        .stdout_contains(&format!("credentials: the user `{USER}`, from {config}\n"));
    assert_eq!(registry.open_uploads(&t.image("zbackend")), 0);

    let script = format!(
        "#!/bin/sh\ncat >/dev/null\necho '{{\"ServerURL\":\"\",\"Username\":\"{USER}\",\"Secret\":\"{PASSWORD}\"}}'\n"
    );
    t.write("../bin/docker-credential-test", &script);
    fs::write(config, json!({"credsStore": "test"}).to_string()).expect("a file");
    let path = std::env::var("PATH").expect("a PATH");
    t.xp(["doctor", "-v"])
        .env(
            "PATH",
            format!("{}:{path}", t.folder().join("bin").display()),
        )
        .success()
        .does_not_contain(PASSWORD)
        .stdout_contains(&format!(
            "credentials: the user `{USER}`, from `docker-credential-test`\n"
        ));
}

fn a_wrong_login_is_a_single_finding(t: &Context) {
    let registry = t.registry_of(RegistryKind::Auth);
    let repositories = ["zbackend", "zfrontend"].map(|name| (name, small::repository(t, name)));
    let list: Vec<_> = repositories
        .iter()
        .map(|(name, one)| (*name, one))
        .collect();
    small::platform(t, registry.host(), &list);
    let anonymous = Findings::of(t, t.xp(["doctor"]), 3);
    let error = anonymous.only("registry", "error");
    says(error, "rejects anonymous users");
    says(error, &format!("docker login {}", registry.host()));

    t.log_in_as(registry, USER, "wr0ng-canary");
    let xp = t.xp(["doctor", "--format", "json"]).failure(3);
    xp.does_not_contain("wr0ng-canary");
    let findings = Findings::of(t, t.xp(["doctor"]), 3);
    let error = findings.only("registry", "error");
    says(error, &format!("rejects the user `{USER}`"));
    says(error, "config.json");
    says(error, &t.image("zbackend"));
    says(error, &t.image("zfrontend"));
}

fn a_missing_helper_is_named(t: &Context) {
    platform(t, t.registry().host());
    let configuration = json!({"credHelpers": {t.registry().host(): "nowhere"}});
    fs::write(
        t.docker_config().join("config.json"),
        configuration.to_string(),
    )
    .expect("a file");
    let findings = Findings::of(t, t.xp(["doctor"]), 3);
    let error = findings.only("registry", "error");
    says(error, "`docker-credential-nowhere`");
    says(error, "install `docker-credential-nowhere`");
}

fn missing_push_permission_is_reported(t: &Context) {
    let gateway = refusing(t, || {
        Reply::error(403, "DENIED", "requested access is denied")
    });
    platform(t, gateway.host());
    t.log_in_host(gateway.host(), "bob", "canary-secret");
    let output = t
        .xp(["doctor"])
        .failure(3)
        .does_not_contain("canary-secret");
    let image = format!("{}/{}", gateway.host(), t.image("zbackend"));
    output
        .stdout_contains(&format!("error    registry {}", gateway.host()))
        .stdout_contains(&format!(
            "does not allow the user `bob` to push to {image}: requested access is denied\n"
        ))
        .stdout_contains(
            "    fix: request access to the repository, or log in as a user who has it\n",
        );
    let requests = gateway.requests();
    let writes = requests.iter().filter(|request| request.method == "POST");
    assert_eq!(writes.count(), 1, "nothing else was tried");
}

fn many_repositories_share_one_reason(t: &Context) {
    let gateway = refusing(t, || Reply::error(403, "DENIED", "no"));
    let names = ["a", "b", "c", "d", "e"];
    let repository = small::repository(t, "all");
    let services = names.map(|name| small::service(t, name, &repository.url_file(), "", ""));
    small::manifest(t, gateway.host(), &services.concat());
    let findings = Findings::of(t, t.xp(["doctor"]), 3);
    let error = findings.only("registry", "error");
    assert_eq!(error["concerns"].as_array().expect("repositories").len(), 5);
    says(error, "and 2 more: no");
}

fn a_read_only_registry_is_reported(t: &Context) {
    let gateway = refusing(t, || {
        Reply::error(405, "UNSUPPORTED", "The operation is unsupported.")
    });
    platform(t, gateway.host());
    let findings = Findings::of(t, t.xp(["doctor"]), 3);
    let error = findings.only("registry", "error");
    says(error, "405");
    says(
        error,
        "the registry may be read-only, or a mirror that does not accept pushes",
    );
}

fn a_rate_limit_is_reported(t: &Context) {
    let gateway = refusing(t, || {
        let headers = vec![("Retry-After", "600".to_owned())];
        Reply::Response(429, headers, String::new())
    });
    platform(t, gateway.host());
    let findings = Findings::of(t, t.xp(["doctor"]), 3);
    says(
        findings.only("registry", "error"),
        "try again in 600 seconds",
    );
}

/// A registry that only accepts tokens; the script determines the scope of a token, and handles other requests.
fn token_registry(
    t: &Context,
    lacks: impl Fn(&str, &Incoming) -> bool + Send + Sync + 'static,
) -> Gateway {
    Gateway::before(t.registry().host(), move |incoming| {
        let host = incoming.header("host").unwrap_or_default().to_owned();
        if incoming.path.starts_with("/token") {
            // The token contains its scope.
            let scope = incoming.path.rsplit("%3A").next().unwrap_or_default();
            let scope = scope
                .split('&')
                .next()
                .unwrap_or_default()
                .replace("%2C", "-");
            return Reply::json(200, &format!(r#"{{"token":"{scope}"}}"#));
        }
        let token = incoming.header("authorization").unwrap_or_default();
        let token = token.strip_prefix("Bearer ").unwrap_or_default();
        if !token.is_empty() && !lacks(token, incoming) {
            return Reply::Forward;
        }
        let error = if token.is_empty() {
            ""
        } else {
            ",error=\"insufficient_scope\""
        };
        let challenge = format!("Bearer realm=\"http://{host}/token\",service=\"test\"{error}");
        Reply::Response(401, vec![("WWW-Authenticate", challenge)], String::new())
    })
}

fn a_token_without_push_scope_is_not_a_wrong_login(t: &Context) {
    let gateway = token_registry(t, |_, incoming| is_upload(incoming));
    platform(t, gateway.host());
    t.log_in_host(gateway.host(), "bob", "canary-secret");
    let findings = Findings::of(t, t.xp(["doctor"]), 3);
    let error = findings.only("registry", "error");
    says(error, "does not allow the user `bob` to push to ");
    says(error, "log in as a user who has it");
}

fn an_upload_is_canceled_with_a_delete_token(t: &Context) {
    let gateway = token_registry(t, |token, incoming| {
        incoming.method == "DELETE" && !token.contains("delete")
    });
    platform(t, gateway.host());
    Findings::of(t, t.xp(["doctor"]), 0).assert_no_problems("registry");
    assert_eq!(t.registry().open_uploads(&t.image("zbackend")), 0);
    let requests = gateway.requests();
    let answers = requests.iter().filter(|request| request.method == "DELETE");
    let answers: Vec<u16> = answers.map(|request| request.status).collect();
    assert_eq!(answers.last(), Some(&204), "{answers:?}");
}

fn an_upload_is_canceled_at_any_url(t: &Context) {
    // Relative, absolute, and on another server, which gets no credentials.
    let elsewhere = Gateway::alone(|incoming| match incoming.header("authorization") {
        Some(_) => Reply::status(500),
        None => Reply::status(204),
    });
    let other = format!("http://{}/upload/1?state=x", elsewhere.host());
    let places = ["/v2/upload/1?state=x".to_owned(), "HOST".to_owned(), other];
    for place in places {
        let gateway = Gateway::before(t.registry().host(), move |incoming| {
            let host = incoming.header("host").unwrap_or_default();
            match incoming.method.as_str() {
                "POST" => {
                    assert_eq!(incoming.header("content-length"), Some("0"));
                    let place =
                        place.replace("HOST", &format!("http://{host}/v2/upload/1?state=x"));
                    Reply::Response(202, vec![("Location", place)], String::new())
                }
                "DELETE" => Reply::status(204),
                _ => Reply::Forward,
            }
        });
        platform_of(t, gateway.host());
        t.log_in_host(gateway.host(), "bob", "secret");
        Findings::of(t, t.xp(["doctor"]), 0).assert_no_problems("registry");
        let all = [gateway.requests(), elsewhere.requests()].concat();
        let canceled = all.iter().any(|request| {
            request.method == "DELETE" && request.path.ends_with("upload/1?state=x")
        });
        assert!(canceled, "{all:?}");
    }
    assert_eq!(elsewhere.requests().len(), 1);
}

/// Rewrites the platform for another registry.
fn platform_of(t: &Context, host: &str) {
    match t.exists("x-platform.yml") {
        false => platform(t, host),
        true => {
            let manifest = t.read("x-platform.yml");
            let rest = manifest.split_once('\n').expect("several lines").1;
            t.manifest(&format!("registry: {host}\n{rest}"));
        }
    }
}

fn an_upload_that_cannot_be_canceled_is_a_warning(t: &Context) {
    let gateway = Gateway::before(t.registry().host(), |incoming| {
        match incoming.method.as_str() {
            "DELETE" => Reply::error(405, "UNSUPPORTED", "no"),
            _ => Reply::Forward,
        }
    });
    platform(t, gateway.host());
    let findings = Findings::of(t, t.xp(["doctor"]), 0);
    let warning = findings.only("registry", "warning");
    says(warning, "failed to cancel the upload");
    says(warning, "405");
}

fn a_wrong_external_registry_url_is_reported(t: &Context) {
    // Like a registry behind a proxy that does not know its external URL.
    let inside = Gateway::alone(|_| Reply::status(401));
    let place = format!("http://{}/v2/upload/1", inside.host());
    let gateway = refusing(t, move || {
        Reply::Response(202, vec![("Location", place.clone())], String::new())
    });
    platform(t, gateway.host());
    let findings = Findings::of(t, t.xp(["doctor"]), 0);
    let warning = findings.only("registry", "warning");
    says(
        warning,
        &format!(
            "the registry is at http://{}, but the URL it returned for the upload is at http://{}, which failed: 401",
            gateway.host(),
            inside.host()
        ),
    );
}

fn a_catch_all_page_does_not_grant_access(t: &Context) {
    let gateway = refusing(t, || {
        Reply::Response(200, Vec::new(), "<html>Welcome</html>".to_owned())
    });
    platform(t, gateway.host());
    let findings = Findings::of(t, t.xp(["doctor"]), 3);
    says(
        findings.only("registry", "error"),
        "unexpected status 200 OK for a new upload",
    );
}

fn an_unreachable_registry_is_reported_once(t: &Context) {
    let repositories = ["zbackend", "zfrontend"].map(|name| (name, small::repository(t, name)));
    let list: Vec<_> = repositories
        .iter()
        .map(|(name, one)| (*name, one))
        .collect();
    small::platform(t, &format!("127.0.0.1:{}", t.closed_port()), &list);
    let findings = Findings::of(t, t.xp(["doctor"]), 3);
    says(
        findings.only("registry", "error"),
        "did not respond to GET /v2/: Connection refused",
    );
    findings.assert_no_problems("git-remotes");
    let proxy =
        Gateway::alone(|_| Reply::Response(502, Vec::new(), "<html>Bad gateway</html>".to_owned()));
    platform_of(t, proxy.host());
    let findings = Findings::of(t, t.xp(["doctor"]), 3);
    says(findings.only("registry", "error"), "502");
}

fn an_unknown_ca_is_reported(t: &Context) {
    let registry = t.registry_of(RegistryKind::Tls);
    platform(t, registry.host());
    let findings = Findings::of(t, t.xp(["doctor"]), 3);
    let error = findings.only("registry", "error");
    says(error, "UnknownIssuer");
    says(
        error,
        &format!("/etc/docker/certs.d/{}/ca.crt", registry.host()),
    );
    let trusted = t
        .xp(["doctor", "-v"])
        .env("SSL_CERT_FILE", t.ca_certificate());
    trusted
        .success()
        .stdout_contains(&format!("https://{} is reachable", registry.host()));
    assert_eq!(registry.open_uploads(&t.image("zbackend")), 0);
}

fn a_slow_registry_does_not_delay_others(t: &Context) {
    let slow = Gateway::alone(|_| {
        std::thread::sleep(Duration::from_secs(30));
        Reply::status(200)
    });
    let repository = small::repository(t, "zbackend");
    let on = |name: &str, host: &str| {
        let service = small::service(t, name, &repository.url_file(), "", "");
        service.replace("image: ", &format!("image: {host}/"))
    };
    let services = on("slow", slow.host()) + &on("good", t.registry().host());
    small::manifest(t, "", &services);
    let begun = Instant::now();
    let xp = t.xp(["doctor", "--timeout", "2", "-v"]).failure(3);
    assert!(begun.elapsed() < Duration::from_secs(15), "{xp}");
    xp.stdout_contains(&format!(
        "the registry {} did not respond within 2s\n",
        slow.host()
    ))
    .stdout_contains("`--timeout SECONDS` waits longer")
    .stdout_contains(&format!(
        "pull and push access to {}/{}\n",
        t.registry().host(),
        t.image("good")
    ))
    .stderr_contains(&format!("waiting for the registry {}", slow.host()));
}

fn concurrent_queries_of_a_registry_are_limited(t: &Context) {
    let repository = small::repository(t, "zbackend");
    let on = |host: &str| -> String {
        let names = (0..60).map(|number| format!("s{number:02}"));
        let service = |name: String| {
            let service = small::service(t, &name, &repository.url_file(), "", "");
            service.replace("image: ", &format!("image: {host}/"))
        };
        names.map(service).collect()
    };
    // All together take longer than the limit for one response.
    let steady = Gateway::before(t.registry().host(), |_| {
        std::thread::sleep(Duration::from_millis(300));
        Reply::Forward
    });
    small::manifest(t, "", &on(steady.host()));
    t.xp(["doctor", "--timeout", "3"])
        .success()
        .stdout_contains("may push to 60 repositories");
    // A registry that stops responding is not queried sixty times.
    let silent = Gateway::alone(|incoming| {
        if incoming.path != "/v2/" {
            std::thread::sleep(Duration::from_secs(20));
        }
        Reply::status(200)
    });
    small::manifest(t, "", &on(silent.host()));
    let begun = Instant::now();
    let xp = t.xp(["doctor", "--timeout", "1"]).failure(3);
    assert!(begun.elapsed() < Duration::from_secs(12), "{xp}");
    xp.stdout_contains("did not respond within 1s")
        .stdout_contains("was not queried because 8 other requests to the server timed out");
}

fn an_interrupt_cancels_uploads(t: &Context) {
    let canceling = std::sync::Arc::new(Mutex::new(false));
    let seen = canceling.clone();
    let gateway = Gateway::before(t.registry().host(), move |incoming| {
        if incoming.method == "DELETE" {
            *seen.lock().expect("not poisoned") = true;
            std::thread::sleep(Duration::from_secs(2));
        }
        Reply::Forward
    });
    platform(t, gateway.host());
    let running = t.xp(["doctor"]).spawn();
    wait_until("the upload is being canceled", || {
        *canceling.lock().expect("not poisoned")
    });
    assert_eq!(t.registry().open_uploads(&t.image("zbackend")), 1);
    running.signal(Signal::INT);
    let output = running.wait();
    assert_eq!(output.status.code(), Some(130), "{output}");
    assert_eq!(output.stdout, "");
    assert_eq!(t.registry().open_uploads(&t.image("zbackend")), 0);
}
