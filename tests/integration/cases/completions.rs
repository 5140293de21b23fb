//! Completion as users see it: keys typed in a real bash, zsh and fish.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::small;
use crate::case::Case;
use crate::context::Context;
use crate::repository::write_file;
use crate::terminal::Terminal;

pub const CASES: &[Case] = cases![
    bash_completes,
    zsh_completes,
    fish_completes,
    unknown_values_have_no_completions,
    many_services_are_completed_quickly
];

const TIMEOUT: Duration = Duration::from_secs(60);

/// The text typed before the key, and how the line continues after it and after `%%`.
const LINES: &[(&str, &str)] = &[
    ("xp pl", "xp plan %%"),
    ("xp build zb", "xp build zbackend %%"),
    (
        "xp build --no-push zbackend zf",
        "xp build --no-push zbackend zfrontend %%",
    ),
    ("xp build --services=zb", "xp build --services=zbackend"),
    (
        "xp build --services zbackend,zf",
        "xp build --services zbackend,zfrontend",
    ),
    (
        "xp build --reference zf",
        "xp build --reference zfrontend=%%",
    ),
    (
        "xp build --reference zbackend=TA",
        "xp build --reference zbackend=TASK-981 %%",
    ),
    (
        "xp build --reference zbackend=origin/TA",
        "xp build --reference zbackend=origin/TASK-981 %%",
    ),
    ("xp build --branch TA", "xp build --branch TASK-981 %%"),
    ("xp build --branch and", "xp build --branch and\\&more %%"),
    ("xp build --branch 'an", "xp build --branch 'and&more' %%"),
    (
        "xp why zbackend --against v1",
        "xp why zbackend --against v1.0 %%",
    ),
    ("xp plan --form", "xp plan --format %%"),
    ("xp plan --format j", "xp plan --format json %%"),
    ("xp builder update tool", "xp builder update toolchain %%"),
    ("xp -C oth", "xp -C other/%%"),
    ("xp -C other build thi", "xp -C other build third %%"),
    (
        "xp -f other/x-platform.yml build thi",
        "xp -f other/x-platform.yml build third %%",
    ),
    ("xp -f other/x-pl", "xp -f other/x-platform.yml %%"),
];

fn bash_completes(t: &Context) {
    completes(
        t,
        "bash",
        &["--norc", "--noprofile", "-i"],
        "source <(xp completions bash)",
    );
}

fn zsh_completes(t: &Context) {
    let setup = "autoload -U compinit && compinit -D -u && source <(xp completions zsh)";
    completes(t, "zsh", &["-f", "-i"], setup);
}

fn fish_completes(t: &Context) {
    completes(
        t,
        "fish",
        &["--no-config", "-i"],
        "xp completions fish | source",
    );
}

fn completes(t: &Context, shell: &str, arguments: &[&str], setup: &str) {
    platform(t);
    let mut terminal = start(t, shell, arguments);
    terminal.type_keys(&format!("{setup}; echo rea''dy\r"));
    terminal.wait_for("ready");
    for (typed, shown) in LINES {
        // Every line starts on an empty screen: Ctrl-U deletes the previous line, Ctrl-L clears the screen.
        terminal.type_keys("\x15\x0c");
        terminal.wait_until_gone("%%");
        terminal.type_keys(typed);
        terminal.wait_for(typed);
        terminal.type_keys("\t");
        terminal.wait_for(shown.trim_end_matches(['%', ' ']));
        terminal.type_keys("%%");
        terminal.wait_for(shown);
    }
    terminal.type_keys("\x15\x0c");
    terminal.wait_until_gone("%%");
    // The platform was synced once; builds and syncs are numbered runs.
    terminal.type_keys("xp logs --run \t%%");
    terminal.wait_for("xp logs --run 1 %%");
    // Several candidates are listed.
    terminal.type_keys("\x15\x0c");
    terminal.wait_until_gone("%%");
    terminal.type_keys("xp build --branch \t\t");
    for branch in ["TASK-981", "master", "and"] {
        terminal.wait_for(branch);
    }
}

/// Two services in a platform, and another platform below it.
fn platform(t: &Context) {
    let backend = small::repository(t, "zbackend");
    backend.branch("TASK-981");
    backend.branch("and&more");
    backend.tag("v1.0");
    let frontend = small::repository(t, "zfrontend");
    small::platform(t, "", &[("zbackend", &backend), ("zfrontend", &frontend)]);
    t.write("builders/toolchain/Dockerfile", "FROM scratch\n");
    t.xp(["sync", "zbackend"]).success();
    let third = small::service(t, "third", "file:///nowhere/third.git", "", "");
    t.write("other/x-platform.yml", &format!("services:\n{third}"));
}

fn start(t: &Context, shell: &str, arguments: &[&str]) -> Terminal {
    let program = Path::new(env!("CARGO_BIN_EXE_xp"));
    let folder = program.parent().expect("the program lies in a folder");
    let mut command = Command::new(shell);
    command.args(arguments).current_dir(t.dir());
    command
        .env(
            "PATH",
            format!("{}:/usr/local/bin:/usr/bin:/bin", folder.display()),
        )
        .env("HOME", t.home())
        .env("LANG", "C.UTF-8")
        .env("TERM", "xterm-256color")
        .env("PS1", "> ")
        // Without servers: a completion that contacted one would find nothing.
        .env("DOCKER_HOST", "tcp://127.0.0.1:1");
    Terminal::start(&command, 120, 40, TIMEOUT)
}

fn unknown_values_have_no_completions(t: &Context) {
    let complete = |words: &[&str]| {
        let mut xp = t.xp(["__complete", "fish", "--", "xp"]);
        for word in words {
            xp = xp.arg(word);
        }
        let output = xp.env("DOCKER_HOST", "tcp://127.0.0.1:1").success();
        assert_eq!(output.stderr, "", "{output}");
        output.stdout
    };
    // No manifest, an invalid one, one that cannot be read.
    assert_eq!(complete(&["build", ""]), "");
    t.manifest("services: [");
    assert_eq!(complete(&["build", ""]), "");
    assert_eq!(complete(&["-f", "/dev/null", "build", ""]), "");
    assert_eq!(complete(&["-C", "/nowhere", "build", ""]), "");
    assert!(complete(&["pl"]).contains("plan"));

    // A service that was never cloned, and one with a damaged working copy.
    let service = small::service(t, "a", "file:///nowhere/a.git", "", "");
    small::manifest(t, "", &service);
    assert_eq!(complete(&["build", "--branch", ""]), "");
    write_file(&t.dir().join("src/a/.git"), "damaged");
    assert_eq!(complete(&["build", "--branch", ""]), "");
    assert_eq!(complete(&["build", ""]), "space\na\tsrc/a\n");
    assert!(!t.exists(".xp"), "a completion leaves nothing behind");

    // Requests that no script would make.
    t.xp(["__complete", "bash", "--", "too", "many", "words"])
        .success();
}

fn many_services_are_completed_quickly(t: &Context) {
    let mut services = String::new();
    for number in 0..500 {
        let name = format!("s{number}");
        _ = write!(
            services,
            "{}",
            small::service(t, &name, "file:///nowhere/x.git", "", "")
        );
    }
    small::manifest(t, "", &services);
    // A completion that takes too long is empty. The tests' xp is not optimized, and other tests may keep the machine
    // busy, so it is retried.
    let is_complete = || {
        let output = t
            .xp(["__complete", "fish", "--", "xp", "build", ""])
            .success();
        output.stdout.lines().count() == 501
    };
    assert!((0..5).any(|_| is_complete()));
}
