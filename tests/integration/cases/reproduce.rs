//! Failed steps, reproduced by the printed commands.

use std::fs;

use super::builder::{as_unknown_user, assert_owned_by};
use crate::app::App;
use crate::case::Case;
use crate::context::Context;
use crate::output::Output;

pub const CASES: &[Case] = cases![
    a_failed_script_can_be_reproduced,
    a_failed_script_of_a_working_copy_can_be_reproduced,
    a_reproduced_script_leaves_no_files_owned_by_root,
    a_failed_image_build_can_be_reproduced,
    secrets_are_not_printed,
    a_shell_opens_where_a_script_failed,
    a_shell_opens_where_a_local_build_failed,
    a_shell_opens_where_an_image_build_failed,
    a_shell_requires_a_failed_build,
];

/// Returns the command printed for a failed step.
#[track_caller]
pub fn command(output: &Output) -> String {
    let (_, rest) = output
        .stderr
        .split_once("\n  debug with:\n    ")
        .expect("a command");
    let (command, _) = rest.split_once("\nhint: ").unwrap_or((rest, ""));
    command.to_owned()
}

pub fn repeat(t: &Context, command: &str) -> crate::xp::Xp {
    // From any folder, because all paths are absolute.
    t.program("sh", ["-c", command]).dir("/")
}

const SCRIPT: &str = "echo \"it's $XP_SERVICE at $PWD\" as $(id -u)\n\
    test -w \"$HOME\" && touch $HOME/.x && cat made-before /cache/file && ls .git/HEAD\n\
    exit 7";

fn a_failed_script_can_be_reproduced(t: &Context) {
    let keys = "workdir: \"/go/src/an app\"\ncache: [ /cache, \"/go/src/an app/web/node_modules\" ]\n\
                memory: 512m\ncpus: 0.5\nenv: { QUOTED: \"a 'b' \\\"c\\\" $D `e`\" }";
    let before = "echo before > made-before; echo \"$QUOTED\" > /cache/file";
    let app = App::with_scripts(t, keys, &[before, SCRIPT]);
    let output = as_unknown_user(t, &app, ["build", "-v"]).failure(1);
    let output =
        output.stderr_contains("hint: `xp shell --failed app` opens a shell in its container");
    let printed = "it's app at /go/src/an app as 12345\nbefore\na 'b' \"c\" $D `e`\n.git/HEAD\n";
    assert!(output.stderr.contains("a 'b' \"c\" $D `e`"), "{output}");
    let command = command(&output);
    for _ in 0..2 {
        let again = repeat(t, &command).failure(7);
        assert_eq!(again.stdout, printed);
    }
    assert!(t.containers().is_empty());
    // Its leftovers do not disturb the next build.
    app.set_scripts(keys, &["true"]);
    as_unknown_user(t, &app, ["build"]).success();
}

fn a_failed_script_of_a_working_copy_can_be_reproduced(t: &Context) {
    let before = "echo before > made-before; echo cached > /cache/file";
    let app = App::with_scripts(t, "cache: [ /cache ]", &[before, SCRIPT]);
    t.xp(["sync"]).success();
    let output = app.build().args(["--local", "-v"]).failure(1);
    fs::write(t.dir().join("src/app/made-before"), "by me\n").expect("a file");
    let again = repeat(t, &command(&output)).failure(7);
    assert_eq!(
        again.stdout,
        "it's app at /workspace as 0\nby me\ncached\n.git/HEAD\n"
    );
}

fn a_reproduced_script_leaves_no_files_owned_by_root(t: &Context) {
    let app = App::with_scripts(
        t,
        "user: root\ncache: [ /cache ]",
        &["mkdir -p a/b; id -u; exit 9"],
    );
    let output = as_unknown_user(t, &app, ["build", "-v"]).failure(1);
    let again = repeat(t, &command(&output)).failure(9);
    assert_eq!(again.stdout, "0\n");
    assert_owned_by(&app.export("a"), 12345);

    // Another user could not write to the caller's files, so no command is printed.
    app.set_scripts("user: \"4321:4321\"", &["exit 9"]);
    let output = as_unknown_user(t, &app, ["build", "-v"]).failure(1);
    assert!(!output.stderr.contains("debug with"), "{output}");
}

fn a_failed_image_build_can_be_reproduced(t: &Context) {
    let dockerfile = format!(
        "FROM {} AS first\nARG A\nRUN echo \"arg: $A\"; cat made; exit 8\nFROM scratch\n",
        t.engine().busybox()
    );
    let app = App::with_scripts(t, "", &["echo by the script > made"]);
    let dockerfile = dockerfile
        .replace("cat made", "cat /made")
        .replace("RUN", "COPY made /\nRUN");
    app.repository
        .commit(&[("docker file", &dockerfile)], "Fail");
    let image = app.image();
    let docker = format!(
        "docker: {{ image: {image}, file: \"docker file\", target: first, args: {{ A: \"x ${{{{ service.name }}}}'s\" }} }}"
    );
    let builder = format!(
        "dockerBuilder: {{ image: {}, network: none }}",
        t.engine().busybox()
    );
    app.set_keys(&format!(
        "{builder}\n{docker}\nscripts: {{ build: [ \"echo by the script > made\" ] }}"
    ));
    for buildkit in ["0", "1"] {
        let build = app.build().arg("-v").env("DOCKER_BUILDKIT", buildkit);
        let output = build.failure(1);
        let again = repeat(t, &command(&output)).run();
        assert!(!again.status.success(), "{again}");
        let printed = format!("{}{}", again.stdout, again.stderr);
        assert!(
            printed.contains("arg: x app's") && printed.contains("by the script"),
            "{again}"
        );
    }
}

fn secrets_are_not_printed(t: &Context) {
    const SECRET: &str = "s3cret 'value'";
    let keys = "env: { TOKEN: \"to ${{ env.SECRET }} of ${{ service.name }}\" }";
    let app = App::with_scripts(t, keys, &["echo ${#TOKEN}; exit 7"]);
    let output = app.build().arg("-v").env("SECRET", SECRET).failure(1);
    let output = output.does_not_contain(SECRET).does_not_contain("s3cret");
    let command = command(&output);
    let length = format!("to {SECRET} of app").len();
    let again = repeat(t, &command).env("SECRET", SECRET).failure(7);
    assert_eq!(again.stdout, format!("{length}\n"));
    // Without the variable, the command names it.
    let again = repeat(t, &command).run();
    assert!(!again.status.success());
    again.stderr_contains("SECRET");
    t.assert_secret_is_nowhere("s3cret");
}

fn a_shell_opens_where_a_script_failed(t: &Context) {
    let keys = "workdir: /go/src/app\ncache: [ /cache ]\nenv: { TOKEN: \"${{ env.SECRET }}\" }";
    let lines = [
        "mkdir -p out; echo half > out/file; env | sort > /cache/env",
        "cat out/file\nexit 7",
    ];
    let app = App::with_scripts(t, keys, &lines);
    app.build().env("SECRET", "s3cret").failure(1);
    // Later changes to the working copy are not part of the failed build.
    let failed = app.repository.head();
    app.repository.commit(&[("later", "")], "Later");
    t.xp(["sync"]).success();
    let script = "pwd; cat out/file; ls; git rev-parse HEAD 2> /dev/null; cat .git/HEAD; env | sort > now; diff now /cache/env; echo mine > out/mine\nexit 5\n";
    let shell = || t.xp(["shell", "app", "--failed"]).env("SECRET", "s3cret");
    let output = shell().stdin(script).failure(5);
    let listed = output.stdout.replace("PWD=/go/src/app\n", "");
    assert!(
        listed.starts_with("/go/src/app\nhalf\nDockerfile\nout\n"),
        "{output}"
    );
    assert!(listed.contains(&failed), "{output}");
    // The same variables as in the build, except those that shells set.
    let differs = |line: &&str| {
        line.starts_with(['+', '-']) && !line.starts_with("+++") && !line.starts_with("---")
    };
    let differing: Vec<&str> = output.stdout.lines().filter(differs).collect();
    let of_shells = |line: &&&str| {
        ["SHLVL", "OLDPWD", "_=", "HOSTNAME"]
            .iter()
            .any(|name| line[1..].starts_with(name))
    };
    assert_eq!(
        differing.iter().filter(|line| !of_shells(line)).count(),
        0,
        "{differing:?}"
    );
    let output = output
        .stderr_contains("run 1: app: build: `cat out/file …` exited with 7 (x-platform.yml:")
        .stderr_contains(
            "using the files that the build left in .xp/build/app; the next build replaces them",
        )
        .stderr_contains("to repeat it in this shell:\n  sh -ec 'cat out/file\nexit 7'\n");
    assert!(output.stderr.lines().count() < 8, "{output}");
    // Its changes remain for the next shell, and are gone after the next build.
    let output = shell()
        .stdin("cat out/mine; sh -ec 'cat out/file\nexit 7'\n")
        .failure(7);
    assert!(output.stdout.starts_with("mine\nhalf\n"), "{output}");
    app.set_scripts(keys, &["test ! -e out"]);
    app.build().env("SECRET", "s3cret").success();
}

fn a_shell_opens_where_a_local_build_failed(t: &Context) {
    let app = App::with_scripts(t, "", &["echo half > made", "exit 7"]);
    t.xp(["sync"]).success();
    app.build().arg("--local").failure(1);
    let output = t
        .xp(["shell", "--failed", "app"])
        .stdin("cat made; echo $CI; touch mine\n")
        .success();
    assert_eq!(output.stdout, "half\ntrue\n");
    output.stderr_contains("using the files of your working copy, src/app, in their current state");
    assert!(t.exists("src/app/mine"));
}

fn a_shell_opens_where_an_image_build_failed(t: &Context) {
    let app = App::with_scripts(t, "", &["echo by the script > made"]);
    let dockerfile = format!("FROM {}\nRUN exit 8\n", t.engine().busybox());
    app.repository
        .commit(&[("Dockerfile", &dockerfile)], "Fail");
    app.build().failure(1);
    let output = t
        .xp(["shell", "--failed", "app"])
        .stdin("cat made\n")
        .success();
    assert_eq!(output.stdout, "by the script\n");
    output.stderr_contains("to repeat it outside of this shell:\n  docker build ");
}

fn a_shell_requires_a_failed_build(t: &Context) {
    let app = App::with_scripts(t, "", &["true"]);
    let shell = || t.xp(["shell", "--failed", "app"]);
    let output = shell().failure(2);
    output.stderr_contains("error: `app` has not been built\nhint: `xp build app` builds it");
    app.build().success();
    let output = shell().failure(2);
    output.stderr_contains(
        "error: the last build of `app` (run 1) did not fail\nhint: `xp shell app`",
    );
    app.set_scripts("", &["exit 7"]);
    app.build().failure(1);
    // Commands that only sync do not touch the files.
    t.xp(["sync"]).success();
    shell().success();
    fs::remove_dir_all(app.export("")).expect("the export");
    shell()
        .failure(2)
        .stderr_contains("error: the files of the build were removed");
    app.set_scripts("", &["echo begun; sleep 1000"]);
    let mut running = app.build().spawn();
    running.wait_for_output("app | begun");
    shell()
        .failure(2)
        .stderr_contains("is still building `app`");
    running.kill();
    shell().failure(2).stderr_contains("was interrupted");
    app.set_scripts("mounts: [ \"~/missing:/extra\" ]", &["true"]);
    app.build().arg("--force").failure(1);
    shell()
        .failure(2)
        .stderr_contains("but not in its builder container: container: ");
}
