//! `xp run` and `xp shell` on a terminal.

use crate::app::App;
use crate::case::Case;
use crate::context::Context;
use crate::wait::wait_until;

pub const CASES: &[Case] = cases![
    programs_have_a_terminal,
    keys_reach_the_program,
    any_byte_is_forwarded,
    the_terminal_is_restored,
    a_closed_terminal_ends_the_program,
    a_terminal_requires_one_on_both_sides,
    the_prompt_shows_the_service,
    a_shell_reads_from_a_pipe,
];

fn synced(t: &Context) -> App<'_> {
    let app = App::with_scripts(t, "", &["true"]);
    t.xp(["sync"]).success();
    app
}

fn programs_have_a_terminal(t: &Context) {
    synced(t);
    let script = "trap 'stty size' WINCH; stty size; echo $TERM; tty > /dev/null && echo is one; \
                  until [ -e go ]; do sleep 0.1; done; read line; echo \"got $line\"; exit 3";
    let mut terminal = t
        .xp(["run", "app", "--", "sh", "-c", script])
        .in_terminal(91, 23);
    terminal.wait_for("23 91\nxterm-256color\nis one");
    terminal.resize(77, 31);
    terminal.wait_for("31 77");
    t.write("src/app/go", "");
    terminal.type_keys("hello\r");
    terminal.wait_for("got hello");
    let (status, _) = terminal.wait();
    assert_eq!(status.code(), Some(3));
    assert!(t.containers().is_empty());
}

fn keys_reach_the_program(t: &Context) {
    synced(t);
    // Each key as typed: Ctrl-C, Ctrl-Z, Ctrl-P, Ctrl-D.
    let script = "stty raw -echo; echo ready; dd bs=1 count=4 2> /dev/null | od -An -tx1";
    let mut terminal = t
        .xp(["run", "app", "--", "sh", "-c", script])
        .in_terminal(80, 24);
    terminal.wait_for("ready");
    terminal.type_keys("\x03\x1a\x10\x04");
    terminal.wait_for("03 1a 10 04");
    assert!(terminal.wait().0.success());

    let mut terminal = t
        .xp(["run", "app", "--", "sh", "-c", "echo ready; sleep 1000"])
        .in_terminal(80, 24);
    terminal.wait_for("ready");
    terminal.type_keys("\x03");
    assert_eq!(terminal.wait().0.code(), Some(130));

    let mut terminal = t
        .xp(["run", "app", "--", "sh", "-c", "echo ready; cat"])
        .in_terminal(80, 24);
    terminal.wait_for("ready");
    terminal.type_keys("line\r\x04");
    let (status, screen) = terminal.wait();
    assert!(status.success());
    assert_eq!(screen.trim(), "ready\nline\nline");
}

fn any_byte_is_forwarded(t: &Context) {
    synced(t);
    // Each piece separately, because a connection might interpret a single one.
    let script = "for byte in 0 1 2 377; do printf \"\\\\$byte\"; sleep 0.3; done; echo end";
    let mut terminal = t
        .xp(["run", "app", "--", "sh", "-c", script])
        .in_terminal(80, 24);
    terminal.wait_for("end");
    let written = terminal.written();
    assert!(written.contains("\0\u{1}\u{2}\u{fffd}end"), "{written:?}");
    terminal.type_keys("");
    assert!(terminal.wait().0.success());
}

fn the_terminal_is_restored(t: &Context) {
    synced(t);
    let xp = env!("CARGO_BIN_EXE_xp");
    let after = |command: &str, keys: &str| {
        let script = format!(
            "stty -g > before; {command}; echo code $?; stty -g > after; cmp before after && echo same"
        );
        let mut terminal = t.program("sh", ["-c", &script]).in_terminal(100, 24);
        if !keys.is_empty() {
            terminal.wait_for("ready");
            terminal.type_keys(keys);
        }
        let screen = terminal.wait().1;
        assert!(screen.contains("\nsame"), "{command}: {screen}");
        screen
    };
    let run = |script: &str| format!("{xp} run app -- sh -c '{script}'");
    assert!(after(&run("stty raw -echo; exit 4"), "").contains("code 4"));
    assert!(after(&run("echo ready; sleep 1000"), "\x03").contains("code 130"));
    assert!(after(&format!("{xp} run app -- frobnicate"), "").contains("code 127"));
    // Output from elsewhere while the program runs.
    let meanwhile = |what: &str| {
        let script = "touch ready; exec sleep 1000";
        let start = "sh -c 'echo $$ > pid; exec \"$@\"' -";
        format!(
            "rm -f src/app/ready; (until [ -e src/app/ready ]; do sleep 0.1; done; sleep 1; {what}) & {start} {}",
            run(script)
        )
    };
    for (signal, code) in [("TERM", 143), ("HUP", 129)] {
        let screen = after(&meanwhile(&format!("kill -{signal} $(cat pid)")), "");
        assert!(screen.contains(&format!("code {code}")), "{screen}");
    }
    // The container ends before its program.
    let docker = format!("docker --host {}", t.engine().host());
    let volume = t.dir().join("src/app");
    let remove = format!(
        "{docker} rm --force $({docker} ps --quiet --filter volume={}) > /dev/null",
        volume.display()
    );
    let screen = after(&meanwhile(&remove), "");
    assert!(
        screen.contains("error: ") || screen.contains("code 137"),
        "{screen}"
    );
    assert!(t.containers().is_empty());
}

fn a_closed_terminal_ends_the_program(t: &Context) {
    synced(t);
    let script = "trap '' HUP; echo ready; sleep 1000";
    let terminal = t
        .xp(["run", "app", "--", "sh", "-c", script])
        .in_terminal(80, 24);
    terminal.wait_for("ready");
    assert_eq!(t.containers().len(), 1);
    terminal.close();
    wait_until("the container is gone", || t.containers().is_empty());
}

fn a_terminal_requires_one_on_both_sides(t: &Context) {
    synced(t);
    let xp = env!("CARGO_BIN_EXE_xp");
    let run = |options: &str| {
        format!(
            "{xp} run app {options} -- sh -c 'test -t 0 && echo in; test -t 1 && echo out; echo end'"
        )
    };
    let screen = |script: String| {
        t.program("sh", ["-c", &script])
            .in_terminal(80, 24)
            .wait()
            .1
    };
    assert_eq!(screen(run("")).trim(), "in\nout\nend");
    assert_eq!(screen(format!("{} | cat", run(""))).trim(), "end");
    assert_eq!(screen(format!("echo | {}", run(""))).trim(), "end");
    assert_eq!(screen(run("-T")).trim(), "end");
    let output = t.program("sh", ["-c", &run("--terminal")]).success();
    assert_eq!(output.stdout, "in\r\nout\r\nend\r\n");
    // Its input ends, too.
    let output = t
        .xp(["run", "-t", "app", "--", "cat"])
        .stdin("x\n")
        .success();
    assert_eq!(output.stdout, "x\r\nx\r\n");
}

fn the_prompt_shows_the_service(t: &Context) {
    synced(t);
    let mut terminal = t.xp(["shell", "app"]).in_terminal(80, 24);
    terminal.wait_for("app:/workspace$ ");
    terminal.type_keys("cd /tmp && echo made > /workspace/made\r");
    terminal.wait_for("app:/tmp$ ");
    // Ctrl-C ends the program in it, not the shell.
    terminal.type_keys("sh -c 'echo be\"\"gun; exec sleep 1000'\r");
    terminal.wait_for("begun");
    terminal.type_keys("\x03");
    terminal.type_keys("echo inter''rupted\r");
    terminal.wait_for("interrupted");
    terminal.type_keys("exit 6\r");
    let (status, _) = terminal.wait();
    assert_eq!(status.code(), Some(6));
    assert_eq!(t.read("src/app/made"), "made\n");
    assert!(t.containers().is_empty());
    let terminal = t
        .xp(["shell"])
        .dir(t.dir().join("src/app"))
        .in_terminal(80, 24);
    terminal.wait_for("app:/workspace$ ");
    drop(terminal);
    wait_until("the container is gone", || t.containers().is_empty());
}

fn a_shell_reads_from_a_pipe(t: &Context) {
    synced(t);
    let output = t.xp(["shell", "app"]).stdin("pwd\nexit 5\n").failure(5);
    assert_eq!(
        (output.stdout.as_str(), output.stderr.as_str()),
        ("/workspace\n", "")
    );
}
