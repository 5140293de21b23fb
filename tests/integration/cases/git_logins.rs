//! Authentication for git over HTTP: where credentials come from, and that they are never shown.

use std::fs;
use std::path::PathBuf;

use crate::case::Case;
use crate::context::Context;
use crate::output::Output;
use crate::platform::Service;
use crate::repository::{GitRepository, write_file};
use crate::world::{PASSWORD, USER};

pub const CASES: &[Case] = cases![
    logins_are_read_from_netrc,
    a_credential_helper_runs_once,
    a_wrong_login_is_reported,
    tokens_are_never_shown,
    a_private_ca_can_be_configured,
];

fn logins_are_read_from_netrc(t: &Context) {
    let remote = t.git_repo("zbackend");
    let first = remote.commit(&[], "First");
    t.platform(&[Service::new("zbackend", remote.url_http_auth())]);
    t.xp(["sync"])
        .failure(3)
        .stderr_contains("the server requires a user and a password for http://127.0.0.1:")
        .stderr_contains("hint: add them to ~/.netrc or to a git credential helper");
    let netrc = format!("machine 127.0.0.1 login {USER} password {PASSWORD}\n");
    fs::write(t.home().join(".netrc"), netrc).expect("a file of the home folder");
    t.xp(["sync"]).success().does_not_contain(PASSWORD);
    assert_eq!(t.git("src/zbackend", &["rev-parse", "HEAD"]), first);
}

/// Writes a credential helper that logs its requests, and returns the log file.
fn credential_helper(t: &Context, password: &str) -> PathBuf {
    let (helper, notes) = (t.home().join("helper"), t.home().join("notes"));
    let script = format!(
        "#!/bin/sh\n\
         echo \"$1\" >>'{}'\n\
         [ \"$1\" != get ] || printf 'username={USER}\\npassword={password}\\n'\n",
        notes.display()
    );
    write_file(&helper, &script);
    let helper = helper.display().to_string();
    t.git("", &["config", "--global", "credential.helper", &helper]);
    notes
}

fn a_credential_helper_runs_once(t: &Context) {
    let remotes: Vec<GitRepository> = (0..6).map(|n| t.git_repo(&format!("r{n}"))).collect();
    let services = remotes.iter().enumerate().map(|(n, remote)| {
        remote.commit(&[], "First");
        Service::new(&format!("s{n}"), remote.url_http_auth())
    });
    t.platform(&services.collect::<Vec<_>>());
    let notes = credential_helper(t, PASSWORD);
    t.xp(["sync"]).success().does_not_contain(PASSWORD);
    for n in 0..6 {
        t.git(&format!("src/s{n}"), &["rev-parse", "--verify", "HEAD"]);
    }
    assert_eq!(fs::read_to_string(notes).expect("notes"), "get\nstore\n");
    t.assert_secret_is_nowhere(PASSWORD);
}

fn a_wrong_login_is_reported(t: &Context) {
    let remote = t.git_repo("zbackend");
    remote.commit(&[], "First");
    let refused = |output: Output| {
        output
            .stderr_contains(&format!(
                "the server rejected the user `{USER}` for http://"
            ))
            .stderr_contains("hint: check the password or token")
            .does_not_contain("wr0ng");
        assert!(!t.exists("src"), "nothing is cloned");
    };
    t.platform(&[Service::new(
        "zbackend",
        remote.url_http_login_as(USER, "wr0ng"),
    )]);
    refused(t.xp(["sync"]).failure(3));
    refused(t.xp(["plan"]).failure(3));

    t.platform(&[Service::new("zbackend", remote.url_http_auth())]);
    let netrc = format!("machine 127.0.0.1 login {USER} password wr0ng\n");
    fs::write(t.home().join(".netrc"), netrc).expect("a file of the home folder");
    refused(t.xp(["sync"]).failure(3));

    fs::remove_file(t.home().join(".netrc")).expect("it was there");
    let notes = credential_helper(t, "wr0ng");
    refused(t.xp(["sync"]).failure(3));
    assert_eq!(fs::read_to_string(notes).expect("notes"), "get\nerase\n");
}

fn tokens_are_never_shown(t: &Context) {
    let remote = t.built_repo("zbackend");
    let first = remote.head();
    for credentials in ["T0KEN", "T0KEN:x-oauth-basic", "T0KEN:"] {
        t.platform(&[Service::new("zbackend", remote.url_http_with(credentials))]);
        t.xp(["sync", "--verbose"])
            .failure(3)
            .stderr_contains("http://***@127.0.0.1:")
            .does_not_contain("T0KEN");
    }
    t.manifest(&format!(
        "services:\n  a: {{git: {{remote: {}}}, dirr: a}}\n",
        remote.url_http_with("T0KEN")
    ));
    t.xp(["sync"]).failure(2).does_not_contain("T0KEN");
    // A server that requires no authentication accepts any credentials.
    let url = remote.url_http().replace("http://", "http://T0KEN@");
    t.platform(&[Service::new("zbackend", url)]);
    t.xp(["build", "--verbose"])
        .success()
        .stderr_contains("http://***@127.0.0.1:")
        .does_not_contain("T0KEN");
    let image = t.assert_built("zbackend", &first);
    assert!(!image.to_string().contains("T0KEN"));
    assert_eq!(
        t.git("src/zbackend", &["remote", "get-url", "origin"]),
        remote.url_http()
    );
    t.assert_secret_is_nowhere("T0KEN");
}

fn a_private_ca_can_be_configured(t: &Context) {
    let remote = t.git_repo("zbackend");
    let first = remote.commit(&[], "First");
    t.platform(&[Service::new("zbackend", remote.url_https())]);
    t.xp(["sync"])
        .failure(3)
        .stderr_contains("the certificate of 127.0.0.1:")
        .stderr_contains("hint: set SSL_CERT_FILE");
    t.xp(["sync"])
        .env("SSL_CERT_FILE", t.ca_certificate())
        .success();
    assert_eq!(t.git("src/zbackend", &["rev-parse", "HEAD"]), first);
}
