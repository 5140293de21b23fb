//! Large amounts of everything: services, remotes, files, output. `XP_SCALE=full` uses the sizes of the
//! largest platforms, and adds cases that take minutes and gigabytes.

use std::fmt::Write as _;
use std::os::unix::fs::symlink;
use std::time::Duration;

use super::small;
use crate::app::App;
use crate::case::Case;
use crate::context::Context;
use crate::output::Output;
use crate::process;
use crate::repository::git_command;
use crate::world::{GitServerKind, Mark};

pub const CASES: &[Case] = cases![
    many_services_use_few_files_and_little_memory,
    services_of_one_remote_take_one_request,
    a_repository_of_many_files_uses_little_memory,
];

/// Cases that take minutes.
pub const LONG: &[Case] = cases![
    a_log_of_a_gigabyte_is_complete,
    a_context_of_five_gibibytes_is_sent,
];

/// The memory limit of `xp`, however much data passes through it.
const MEMORY_LIMIT: u64 = 100_000_000;

/// The limit for open files of `xp`, which is the default on some systems.
const FILES: &str = "ulimit -n 256";

/// Returns whether everything is tested at full size.
pub fn is_full() -> bool {
    std::env::var_os("XP_SCALE").is_some_and(|value| value == "full")
}

fn many_services_use_few_files_and_little_memory(t: &Context) {
    let (remotes, services) = if is_full() { (500, 2000) } else { (100, 400) };
    let repository = small::repository(t, "all");
    for number in 0..remotes {
        // Each URL leads to the same repository; for xp and the server, they are different ones.
        let link = t.repositories().join(format!("r{number}.git"));
        symlink(repository.path(), link).expect("a link");
    }
    let mut text = String::new();
    for number in 0..services {
        let url = repository
            .url_http()
            .replace("all.git", &format!("r{}.git", number % remotes));
        text += &small::service(t, &format!("s{number}"), &url, "", "");
    }
    small::manifest(t, &t.registry_prefix(t.registry()), &text);
    let plan = limited(t, "plan");
    let rows = plan.stdout.matches("  new commit  ").count();
    assert_eq!(rows, services, "{plan}");
    is_small(&plan);
    let asked = t.git_server(GitServerKind::Open);
    let asked = t.own_requests(asked.requests_since(Mark::START));
    assert_eq!(asked.len(), remotes, "a request a remote");
    let registry = t.own_requests(t.registry().requests_since(Mark::START));
    // The commit's tag, the branch's, and the identity tag, because the image is missing.
    assert_eq!(registry.len(), 3 * services, "three requests an image");
}

fn services_of_one_remote_take_one_request(t: &Context) {
    let repository = small::repository(t, "all");
    let services = (0..200).map(|number| {
        let name = format!("s{number}");
        small::service(t, &name, &repository.url_http(), "", "")
    });
    small::manifest(t, "", &services.collect::<String>());
    let plan = limited(t, "plan");
    is_small(&plan);
    let requests = repository.requests_since(GitServerKind::Open, Mark::START);
    assert_eq!(requests.len(), 1, "{requests:?}");
}

fn a_repository_of_many_files_uses_little_memory(t: &Context) {
    let files = if is_full() { 100_000 } else { 20_000 };
    let repository = small::repository(t, "large");
    let mut text = format!(
        "commit refs/heads/master\ncommitter T <t@example.com> 1700000000 +0000\ndata 2\nx\n\nfrom {}\n",
        repository.head()
    );
    for number in 0..files {
        let content = format!("{number}\n");
        _ = write!(
            text,
            "M 100644 inline d{}/f{number}\ndata {}\n{content}\n",
            number % 97,
            content.len()
        );
    }
    let mut import = git_command(repository.path(), &t.home());
    process::succeed_with_input(import.args(["fast-import", "--quiet"]), text.as_bytes());
    let service = small::service(t, "large", &repository.url_http(), "", "");
    small::manifest(t, "", &service);
    for command in ["sync", "build", "build --local", "status"] {
        let done = limited(t, command);
        is_small(&done);
    }
    let count = "git -C src/large ls-files | wc -l && git -C src/large status --porcelain";
    let count = t.program("sh", ["-c", count]).success();
    assert_eq!(count.stdout.trim(), (files + 2).to_string());
}

fn a_log_of_a_gigabyte_is_complete(t: &Context) {
    let line = "yes 0123456789012345678901234567890123456789 | head -c 1000000000";
    let app = App::with_scripts(t, "", &[line]);
    let output = app.build().arg("--quiet");
    is_small(&output.timeout(Duration::from_secs(900)).success());
    let log = app.log(1, "build");
    assert!(log.len() > 1_000_000_000, "{} bytes", log.len());
}

fn a_context_of_five_gibibytes_is_sent(t: &Context) {
    let dockerfile = format!(
        "FROM {}\nRUN --mount=target=/src stat -c %s /src/large > /size\n",
        t.engine().busybox()
    );
    let app = App::with_scripts(t, "", &["truncate -s 5G large"]);
    app.repository
        .commit(&[("Dockerfile", &dockerfile)], "A large file");
    let output = app.build().timeout(Duration::from_secs(1800)).success();
    is_small(&output);
    let size = t.engine().run(&app.image_of_head(), ["cat", "/size"]);
    assert_eq!(size, "5368709120");
}

/// Runs xp with a low limit for open files.
fn limited(t: &Context, command: &str) -> Output {
    let xp = env!("CARGO_BIN_EXE_xp");
    let line = format!("{FILES} && exec {xp} {command}");
    t.program("sh", ["-c", &line])
        .timeout(Duration::from_secs(300))
        .success()
}

fn is_small(output: &Output) {
    println!("{} MB", output.peak_memory / 1_000_000);
    assert!(
        output.peak_memory < MEMORY_LIMIT,
        "{} bytes",
        output.peak_memory
    );
}
