//! `docker.secrets` and `docker.ssh`: a Dockerfile can mount them, and no image keeps them.

use std::fs;
use std::process::{Child, Command, Stdio};

use crate::app::{App, build_keys};
use crate::case::Case;
use crate::context::Context;
use crate::process;
use crate::wait::wait_until;

pub const CASES: &[Case] = cases![
    secrets_are_available_to_instructions_but_not_stored_in_images,
    a_new_value_does_not_rebuild_the_image,
    a_missing_secret_is_reported_before_anything_runs,
    the_classic_builder_does_not_support_secrets,
    a_build_with_secrets_can_be_reproduced,
    the_ssh_agent_is_available_to_instructions,
];

const VALUE: &str = "c4nary of a variable\nin two lines";

/// Creates a service with these instructions in its Dockerfile and these keys in `docker`.
fn app<'a>(t: &'a Context, instructions: &str, keys: &str) -> App<'a> {
    let app = App::new(t, &[], "");
    let dockerfile = format!("FROM {}\n{instructions}\n", t.engine().busybox());
    app.repository
        .commit(&[("Dockerfile", &dockerfile)], "Secrets");
    set_keys(&app, keys);
    app
}

fn set_keys(app: &App<'_>, keys: &str) {
    app.set_keys(&format!("docker: {{ image: {}, {keys} }}", app.image()));
}

fn digest(text: &str) -> String {
    let command = format!("printf '%s' '{text}' | sha1sum | cut -d ' ' -f 1");
    process::succeed(Command::new("sh").args(["-c", &command]))
}

/// Asserts that a text is not in any layer or in the history of an image.
#[track_caller]
fn assert_image_lacks(t: &Context, image: &str, text: &str) {
    let archive = t.folder().join("image.tar").display().to_string();
    process::succeed(
        t.engine()
            .client()
            .args(["save", "--output", &archive, image]),
    );
    let found = process::run(Command::new("grep").args([
        "--text",
        "--count",
        "--fixed-strings",
        "--",
        text,
        &archive,
    ]));
    assert_eq!(
        process::text(&found.stdout).trim(),
        "0",
        "{text} is in {image}"
    );
    let mut client = t.engine().client();
    let history = process::succeed(client.args(["history", "--no-trunc", image]));
    assert!(!history.contains(text), "{history}");
    fs::remove_file(archive).expect("it was made");
}

fn secrets_are_available_to_instructions_but_not_stored_in_images(t: &Context) {
    let app = app(
        t,
        "RUN --mount=type=secret,id=npm cat /run/secrets/npm; sha1sum < /run/secrets/npm > /variable\n\
         RUN --mount=type=secret,id=net.rc,target=/root/.netrc sha1sum < /root/.netrc > /home-file\n\
         RUN --mount=type=secret,id=beside sha1sum < /run/secrets/beside > /beside; \
         [ -e /run/secrets/npm ] && echo leaked > /leaked; true",
        "secrets: { npm: { env: NPM }, net.rc: { file: ~/.netrc }, beside: { file: secrets/x } }",
    );
    fs::write(t.home().join(".netrc"), "c4nary of the home").expect("a file");
    t.write("secrets/x", "c4nary beside");
    let build = app.build().args(["-v"]).env("NPM", VALUE).success();
    build
        .stderr_contains("docker build --secret id=beside --secret id=net.rc --secret id=npm")
        // What an instruction prints.
        .stderr_contains("***")
        .does_not_contain("c4nary");
    let image = app.image_of_head();
    for (file, value) in [
        ("/variable", VALUE),
        ("/home-file", "c4nary of the home"),
        ("/beside", "c4nary beside"),
    ] {
        let found = t.engine().run(&image, ["cat", file]);
        assert_eq!(found, format!("{}  -", digest(value)), "{file}");
    }
    assert_eq!(
        t.engine()
            .run(&image, ["sh", "-c", "ls /leaked 2>&1 || echo none"])
            .lines()
            .last(),
        Some("none")
    );
    assert_image_lacks(t, &image, "c4nary");
    fs::remove_dir_all(t.dir().join("secrets")).expect("it was made");
    t.assert_secret_is_nowhere("c4nary");
    app.build()
        .args(["--force"])
        .env("NPM", "")
        .failure(2)
        .stderr_contains("secrets/x: ");
    // An empty secret is not an error; some engines then mount nothing. BuildKit caches instructions
    // regardless of their secrets, so this one differs.
    t.write("secrets/x", "");
    let dockerfile = format!(
        "FROM {}\nRUN --mount=type=secret,id=npm test ! -s /run/secrets/npm && echo none > /length\n",
        t.engine().busybox()
    );
    app.repository
        .commit(&[("Dockerfile", &dockerfile)], "An empty one");
    app.build().env("NPM", "").success();
    let length = t.engine().run(&app.image_of_head(), ["cat", "/length"]);
    assert_eq!(length, "none");
}

fn a_new_value_does_not_rebuild_the_image(t: &Context) {
    let app = app(
        t,
        "RUN --mount=type=secret,id=npm test -e /run/secrets/npm",
        "secrets: { npm: { env: NPM } }",
    );
    app.build().env("NPM", "one").success();
    t.xp(["plan"])
        .env("NPM", "two")
        .success()
        .stdout_contains("Nothing to do");
    // Not needed if nothing is built.
    t.xp(["plan"]).success().stdout_contains("Nothing to do");
    set_keys(&app, "secrets: { npm: { env: NPM }, other: { env: NPM } }");
    let plan = t.xp(["plan"]).env("NPM", "two").success();
    plan.stdout_contains("docker.secrets changed")
        .does_not_contain("two");
    set_keys(&app, "secrets: { npm: { env: NPM } }, ssh: true");
    t.xp(["plan"])
        .env("NPM", "two")
        .success()
        .stdout_contains("docker.ssh is new");
}

fn a_missing_secret_is_reported_before_anything_runs(t: &Context) {
    let app = app(
        t,
        "RUN --mount=type=secret,id=npm,required=true cat /run/secrets/npm",
        "secrets: { npm: { env: NPM } }",
    );
    for command in ["plan", "build"] {
        t.xp([command])
            .failure(2)
            .stderr_contains("environment variable `NPM` is not set")
            .stderr_contains("x-platform.yml:")
            .stderr_contains("npm: { env: NPM }");
    }
    let scripts = |keys: &str| {
        let builder = format!(
            "dockerBuilder: {{ image: {}, network: none }}",
            t.engine().busybox()
        );
        app.set_keys(&format!(
            "{builder}\ndocker: {{ image: {}, {keys} }}\nscripts: {{ build: [ \"touch ran\" ] }}",
            app.image()
        ));
    };
    scripts("secrets: { npm: { file: /nowhere/npm } }");
    app.build()
        .failure(2)
        .stderr_contains("the secret `npm` of `docker.secrets`: cannot read /nowhere/npm")
        .stderr_contains("service `app`: the secret `npm`")
        .stderr_contains("x-platform.yml:")
        .stderr_contains("create the file");
    scripts("secrets: { npm: { file: /dev/zero } }");
    app.build()
        .failure(2)
        .stderr_contains("/dev/zero is not a regular file");
    let large = t.home().join("large");
    fs::write(&large, vec![b'x'; 500 * 1024 + 1]).expect("a file");
    scripts("secrets: { npm: { file: ~/large } }");
    app.build()
        .failure(2)
        .stderr_contains("it is larger than 500 KiB");
    scripts("ssh: true");
    app.build()
        .failure(2)
        .stderr_contains("`docker.ssh` requires an ssh agent, but SSH_AUTH_SOCK is not set");
    let keys = build_keys(t, "ssh: true", &["touch ran"]);
    app.set_keys(&format!("docker: {{ image: {} }}\n{keys}", app.image()));
    app.build()
        .failure(2)
        .stderr_contains(
            "service `app`: `dockerBuilder.ssh` requires an ssh agent, but SSH_AUTH_SOCK is not set",
        )
        .stderr_contains("x-platform.yml:");
    assert!(!app.export("ran").exists());
    // A missing secret is reported by its name.
    scripts("secrets: { other: { env: HOME } }");
    app.build().failure(1).stderr_contains("npm");
}

fn the_classic_builder_does_not_support_secrets(t: &Context) {
    let app = app(t, "RUN true", "secrets: { npm: { env: HOME } }");
    app.build()
        .env("DOCKER_BUILDKIT", "0")
        .failure(1)
        .stderr_contains(
            "`docker.secrets` requires BuildKit, but DOCKER_BUILDKIT=0 turns BuildKit off",
        )
        .stderr_contains("hint: unset DOCKER_BUILDKIT");
}

fn a_build_with_secrets_can_be_reproduced(t: &Context) {
    let app = app(
        t,
        "RUN --mount=type=secret,id=npm --mount=type=secret,id=f echo of $(cat /run/secrets/npm | wc -c) $(cat /run/secrets/f | wc -c); exit 3",
        "secrets: { npm: { env: NPM }, f: { file: \"a, b\" } }",
    );
    t.write("a, b", "12345");
    let failed = app.build().arg("-v").env("NPM", "c4nary").failure(1);
    let failed = failed.stderr_contains("of 6 5").does_not_contain("c4nary");
    let (_, rest) = failed
        .stderr
        .split_once("\n  debug with:\n    ")
        .expect("a command");
    let command = rest.split('\n').next().expect("a line");
    assert!(command.contains("--secret id=npm,env=NPM"), "{command}");
    // The tests' docker command has no BuildKit, so only its text is checked.
    let words = format!("docker() {{ printf '%s\\n' \"$DOCKER_BUILDKIT\" \"$@\"; }}; {command}");
    let words = process::succeed(Command::new("sh").args(["-c", &words]));
    let file = t.dir().join("a, b").display().to_string();
    let context = app.export("").display().to_string();
    let expected = format!(
        "1\nbuild\n--secret\nid=f,\"src={file}\"\n--secret\nid=npm,env=NPM\n{}",
        context.trim_end_matches('/')
    );
    assert_eq!(words, expected);
}

struct Agent(Child);

impl Drop for Agent {
    fn drop(&mut self) {
        _ = self.0.kill();
        _ = self.0.wait();
    }
}

fn the_ssh_agent_is_available_to_instructions(t: &Context) {
    let app = app(
        t,
        "COPY root /\nRUN --mount=type=ssh ssh-add -l > /keys",
        "ssh: [default]",
    );
    t.copy_program("ssh-add", &app.repository.clone_path().join("root"));
    app.repository.commit(&[], "The program");
    let socket = t.folder().join("agent.sock").display().to_string();
    let agent = Command::new("ssh-agent")
        .args(["-D", "-a", &socket])
        .stdout(Stdio::null())
        .spawn()
        .expect("ssh-agent, which bin/test installs");
    let _agent = Agent(agent);
    wait_until("the agent listens", || fs::exists(&socket).unwrap_or(false));
    let key = t.folder().join("key").display().to_string();
    process::succeed(Command::new("ssh-keygen").args([
        "-q",
        "-t",
        "ed25519",
        "-N",
        "",
        "-C",
        "of the test",
        "-f",
        &key,
    ]));
    process::succeed(
        Command::new("ssh-add")
            .args(["-q", &key])
            .env("SSH_AUTH_SOCK", &socket),
    );
    app.build().env("SSH_AUTH_SOCK", &socket).success();
    let keys = t.engine().run(&app.image_of_head(), ["cat", "/keys"]);
    assert!(keys.contains("of the test (ED25519)"), "{keys}");
    // It is not available to an instruction that does not mount it, or under another name.
    let dockerfile = format!(
        "FROM {}\nRUN test -z \"$SSH_AUTH_SOCK\"\nRUN --mount=type=ssh,id=other,required=true true\n",
        t.engine().busybox()
    );
    app.repository
        .commit(&[("Dockerfile", &dockerfile)], "Another one");
    app.build()
        .env("SSH_AUTH_SOCK", &socket)
        .failure(1)
        .stderr_contains("other");
    // An agent that is gone is reported as such.
    let gone = t.folder().join("gone").display().to_string();
    app.build()
        .env("SSH_AUTH_SOCK", gone)
        .failure(2)
        .stderr_contains("`docker.ssh` requires an ssh agent, but none responds at ");
}
