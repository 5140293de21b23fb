//! The `kubectl proxy` of a build on a fleet.

use std::fs;
use std::path::Path;
use std::time::Instant;

use rustix::process::{Pid, Signal, kill_process};

use super::fleet::FleetPlatform;
use crate::case::Case;
use crate::context::Context;
use crate::repository::write_file;
use crate::wait::wait_until;

pub const CASES: &[Case] = cases![
    a_killed_run_leaves_no_proxy,
    a_proxy_that_was_killed_is_started_again,
    a_proxy_that_cannot_be_started_again_is_reported,
];

/// Returns the processes whose current folder is the one of the proxy's socket, with their command lines.
fn processes(platform: &Path) -> Vec<(Pid, String)> {
    let folder = platform.join(".xp/kubectl");
    let entries = fs::read_dir("/proc").expect("processes").flatten();
    let found = entries.filter_map(|entry| {
        let pid: i32 = entry.file_name().to_str()?.parse().ok()?;
        let current = fs::read_link(entry.path().join("cwd")).ok()?;
        // A deleted folder has a suffix.
        if !current.starts_with(&folder) && !current.to_str()?.starts_with(folder.to_str()?) {
            return None;
        }
        let line = fs::read(entry.path().join("cmdline")).ok()?;
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        // A zombie has none.
        (!line.is_empty()).then(|| (Pid::from_raw(pid).expect("not zero"), line))
    });
    found.collect()
}

/// Returns `kubectl proxy` itself, without the shell that watches it.
fn proxy(platform: &Path) -> Option<Pid> {
    let mut all = processes(platform).into_iter();
    let is_proxy = |line: &str| line.contains(" proxy --unix-socket") && !line.starts_with("sh ");
    all.find(|(_, line)| is_proxy(line)).map(|(pid, _)| pid)
}

fn a_killed_run_leaves_no_proxy(t: &Context) {
    let platform = FleetPlatform::new(t);
    platform.set_script("echo started; sleep 1000");
    let mut running = t
        .xp(["build", "base", "--fleet", "ci", "--verbose"])
        .spawn();
    running.wait_for_output("running in the pod");
    assert!(proxy(&t.dir()).is_some(), "{:?}", processes(&t.dir()));
    running.kill();
    wait_until("the proxy and its shell have ended", || {
        processes(&t.dir()).is_empty()
    });
}

fn a_proxy_that_was_killed_is_started_again(t: &Context) {
    let platform = FleetPlatform::new(t);
    platform.set_script("echo started; sleep 4; echo ended; echo text > made");
    let mut running = t
        .xp(["build", "base", "--fleet", "ci", "--verbose"])
        .spawn();
    running.wait_for_output("started");
    let first = proxy(&t.dir()).expect("it runs");
    kill_process(first, Signal::KILL).expect("it runs");
    running.wait_for_output("`kubectl proxy` exited; starting it again");
    let build = running.wait();
    assert!(build.status.success(), "{build}");
    assert!(build.row("base").contains("built"), "{build}");
    let printed = format!("{}{}", build.stdout, build.stderr);
    assert_eq!(printed.matches("base | ended").count(), 1, "{build}");
    assert!(platform.namespace.objects("secrets").is_empty());
    wait_until("the second one has ended", || {
        processes(&t.dir()).is_empty()
    });
}

fn a_proxy_that_cannot_be_started_again_is_reported(t: &Context) {
    let platform = FleetPlatform::new(t);
    platform.set_script("echo started; sleep 1000");
    // The kubectl of PATH, as long as the file `broken` does not exist.
    let (bin, broken) = (t.folder().join("bin"), t.folder().join("broken"));
    let script = format!(
        "#!/bin/sh\nif [ -e '{}' ]; then echo 'error: no login' >&2; exit 1; fi\n\
         PATH=${{PATH#*:}}; exec kubectl \"$@\"\n",
        broken.display()
    );
    write_file(&bin.join("kubectl"), &script);
    let path = std::env::var("PATH").expect("PATH");
    let mut running = t
        .xp(["build", "base", "--fleet", "ci", "--verbose"])
        .env("PATH", format!("{}:{path}", bin.display()))
        .spawn();
    running.wait_for_output("started");
    fs::write(&broken, "").expect("a file");
    let start = Instant::now();
    let proxy = proxy(&t.dir()).expect("it runs");
    kill_process(proxy, Signal::KILL).expect("it runs");
    let build = running.wait();
    assert_eq!(build.status.code(), Some(3), "{build}");
    assert!(start.elapsed().as_secs() < 30, "{build}");
    let build = build.stderr_contains("cannot run `kubectl proxy`: no login");
    build.stderr_contains("hint: run xp again; ");
}
