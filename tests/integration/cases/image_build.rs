//! Image builds with BuildKit and the classic builder.

use std::time::Duration;

use crate::app::App;
use crate::case::Case;
use crate::context::Context;
use crate::output::Output;
use crate::xp::Xp;

pub const CASES: &[Case] = cases![
    files_are_copied_unchanged,
    dockerignore_is_followed,
    files_used_by_instructions_are_sent,
    file_names_can_contain_any_bytes,
    file_context_target_and_arguments_are_used,
    dockerfile_outside_the_context,
    only_committed_files_are_in_the_image,
    a_lowercase_dockerfile_is_used,
    missing_dockerfile_is_reported,
    links_cannot_copy_host_files_into_the_image,
    a_failing_instruction_is_reported,
    lines_of_parallel_stages_do_not_mix,
    unsupported_syntax_is_named,
    a_large_context_uses_little_memory,
];

/// The memory limit of `xp`, however much data passes through it.
const MEMORY_LIMIT: u64 = 100_000_000;

/// Returns the engine's builders: Docker has two, which a user can select; Podman has its own.
fn builders(t: &Context) -> &'static [&'static str] {
    if t.engine().product().is_podman() {
        &["Podman"]
    } else {
        &["BuildKit", "classic"]
    }
}

fn with(builder: &str, xp: Xp) -> Xp {
    match builder {
        "classic" => xp.env("DOCKER_BUILDKIT", "0"),
        _ => xp,
    }
}

/// Builds, whether or not the image exists, and verifies that this builder did it.
#[track_caller]
fn build(builder: &str, app: &App<'_>) -> Output {
    let output = with(builder, app.build().arg("--force")).success();
    let built_by = if output.stderr.contains("app | Step 1/") {
        "classic"
    } else if output.stderr.contains("STEP 1/") {
        "Podman"
    } else {
        "BuildKit"
    };
    assert_eq!(built_by, builder, "{output}");
    output
}

fn files_are_copied_unchanged(t: &Context) {
    let long = format!(
        "{}/{}/{}",
        "a".repeat(120),
        "b".repeat(120),
        "c".repeat(150)
    );
    let script = format!(
        "mkdir -p made {}; echo long > {long}; ln -s ../outside/nowhere made/link\n\
         echo x > made/private; chmod 600 made/private; mkdir -m 700 made/closed; mkfifo made/pipe\n\
         echo x > 'made/with space'; printf x > \"$(printf 'made/\\377')\"; chmod 755 made/with*",
        &long[..241]
    );
    let app = App::with_scripts(t, "user: root", &[&script]);
    app.repository.write(&[("run.sh", "#!/bin/sh\n")]);
    app.repository.git(&["config", "core.symlinks", "true"]);
    std::os::unix::fs::symlink("run.sh", app.repository.clone_path().join("to-run"))
        .expect("a link");
    app.repository.commit(&[], "A program and a link");
    for builder in builders(t) {
        build(builder, &app);
        let look = format!(
            "cd /src; stat -c '%a %U %n' run.sh Dockerfile made/private made/closed made/with*; \
             readlink to-run; readlink made/link; cat {long}; test ! -e made/pipe; ls made | wc -l"
        );
        let found = t.engine().run(&app.image_of_head(), ["sh", "-c", &look]);
        let expected = "755 root run.sh\n644 root Dockerfile\n600 root made/private\n\
            700 root made/closed\n755 root made/with space\nrun.sh\n../outside/nowhere\nlong\n5";
        assert_eq!(found, expected, "{builder}");
    }
}

fn dockerignore_is_followed(t: &Context) {
    let ignore =
        "# comment\n.dockerignore\n**/*.log\n!keep.log\nnode_modules\n/top\nkept/*\n!kept/this\n";
    let files = [
        (".dockerignore", ignore),
        ("a.log", ""),
        ("deep/down/b.log", ""),
        ("keep.log", ""),
        ("node_modules/x", ""),
        ("deep/node_modules/x", ""),
        ("top/x", ""),
        ("deep/top/x", ""),
        ("kept/this/x", ""),
        ("kept/that", ""),
    ];
    let app = App::new(t, &files, "");
    let expected = "/src/Dockerfile\n/src/deep/node_modules/x\n/src/deep/top/x\n/src/keep.log\n/src/kept/this/x";
    for builder in builders(t) {
        build(builder, &app);
        let look = ["sh", "-c", "find /src -type f | sort"];
        assert_eq!(
            t.engine().run(&app.image_of_head(), look),
            expected,
            "{builder}"
        );
    }
}

fn files_used_by_instructions_are_sent(t: &Context) {
    let files = [
        ("one", ""),
        ("deep/a.txt", ""),
        ("deep/down/b", ""),
        ("behind/x", ""),
        ("mounted/x", ""),
    ];
    let app = App::new(t, &files, "");
    app.set_scripts("", &["ln -s behind link"]);
    for (instructions, expected) in [
        ("COPY one deep/a.txt /src/", "/src\n/src/a.txt\n/src/one"),
        ("COPY deep/*.txt /src/", "/src\n/src/a.txt"),
        ("COPY ./deep/down /src/", "/src\n/src/b"),
        ("COPY link/ /src/", "/src\n/src/x"),
        ("ADD link/x /src/", "/src\n/src/x"),
        (
            "RUN --mount=type=bind,source=mounted,target=/mnt cp -R /mnt /src",
            "/src\n/src/x",
        ),
    ] {
        let dockerfile = format!("FROM {}\n{instructions}\n", t.engine().busybox());
        app.repository
            .commit(&[("Dockerfile", &dockerfile)], instructions);
        build(builders(t)[0], &app);
        let look = ["sh", "-c", "find /src | sort"];
        let found = t.engine().run(&app.image_of_head(), look);
        assert_eq!(found, expected, "{instructions}");
    }
}

fn file_names_can_contain_any_bytes(t: &Context) {
    let app = App::with_scripts(t, "", &["echo x > \"$(printf 'caf\\351')\""]);
    app.build().success();
    let look = ["sh", "-c", "find /src | od -c | grep -c 351"];
    assert_eq!(t.engine().run(&app.image_of_head(), look), "1");
}

fn file_context_target_and_arguments_are_used(t: &Context) {
    let dockerfile = "ARG BASE\nFROM ${BASE} AS first\nARG COLOUR\nCOPY . /src\n\
         RUN echo \"$COLOUR\" > /colour; echo first > /stage\n\
         FROM first\nRUN echo second > /stage\n";
    let files = [("docker/Dockerfile.app", dockerfile), ("front/page", "")];
    let app = App::new(t, &files, "");
    let keys = |target: &str| {
        format!(
            "docker:\n  image: {}\n  file: docker/Dockerfile.app\n  context: front\n{target}\
             \x20 args: {{ BASE: {}, COLOUR: \"dark red ${{{{ service.name }}}} $X\" }}",
            app.image(),
            t.engine().busybox()
        )
    };
    for builder in builders(t) {
        for (target, stage) in [("", "second"), ("  target: first\n", "first")] {
            app.set_keys(&keys(target));
            build(builder, &app);
            let look = ["sh", "-c", "cat /stage /colour; ls /src"];
            let found = t.engine().run(&app.image_of_head(), look);
            assert_eq!(
                found,
                format!("{stage}\ndark red app $X\npage"),
                "{builder}"
            );
        }
    }
    app.set_keys(&keys("  target: third\n"));
    app.build()
        .arg("--force")
        .failure(1)
        .stderr_contains("third");
}

fn dockerfile_outside_the_context(t: &Context) {
    let files = [
        ("front/page", ""),
        ("front/.dockerignore", "secret\n"),
        ("front/secret", ""),
    ];
    let app = App::new(t, &files, "");
    app.set_keys(&format!(
        "docker: {{ image: {}, context: front, file: Dockerfile }}",
        app.image()
    ));
    for builder in builders(t) {
        build(builder, &app);
        let look = ["ls", "-A", "/src"];
        let found = t.engine().run(&app.image_of_head(), look);
        // All builders except BuildKit read the Dockerfile from the archive, so `COPY .` copies it as well.
        let dockerfile = match *builder {
            "BuildKit" => "",
            _ => ".dockerfile.xp\n",
        };
        assert_eq!(
            found,
            format!("{dockerfile}.dockerignore\npage"),
            "{builder}"
        );
    }
}

fn only_committed_files_are_in_the_image(t: &Context) {
    let app = App::with_scripts(t, "", &["cp source made; touch left-over"]);
    let files = [
        ("source", "committed"),
        (".gitignore", ".env\n*.tmp\n"),
        ("mode.sh", "#!/bin/sh\n"),
    ];
    app.repository.commit(&files, "Files");
    t.xp(["sync"]).success();
    t.write("src/app/.env", "a secret");
    t.write("src/app/untracked", "untracked");
    t.write("src/app/source", "edited");
    app.build().success();
    let left = app.export("ignored.tmp");
    std::fs::write(&left, "left over").expect("the export can be written");
    std::fs::write(app.export("source"), "edited").expect("the export can be written");
    app.set_scripts("", &["test ! -e left-over; cp source made"]);
    app.build().arg("--force").success();
    let look = [
        "sh",
        "-c",
        "cd /src; find . -type f | sort; cat source made",
    ];
    assert_eq!(
        t.engine().run(&app.image_of_head(), look),
        "./.gitignore\n./Dockerfile\n./made\n./mode.sh\n./source\ncommittedcommitted"
    );
    assert_eq!(t.read("src/app/source"), "edited");
    assert_eq!(t.read("src/app/.env"), "a secret");
}

fn a_lowercase_dockerfile_is_used(t: &Context) {
    let app = App::new(t, &[], "");
    app.repository.git(&["mv", "Dockerfile", "dockerfile"]);
    app.repository.commit(
        &[("dockerfile.dockerignore", "ignored\n"), ("ignored", "1\n")],
        "As docker build takes it, too",
    );
    for builder in builders(t) {
        build(builder, &app);
        let files = t.engine().run(&app.image_of_head(), ["ls", "/src"]);
        assert_eq!(files, "dockerfile\ndockerfile.dockerignore", "{builder}");
    }
    // Next to a `Dockerfile`, it is an ordinary file.
    let usual = format!("FROM {}\nCOPY . /usual\n", t.engine().busybox());
    app.repository.commit(&[("Dockerfile", &usual)], "Both");
    build(builders(t)[0], &app);
    t.engine()
        .run(&app.image_of_head(), ["ls", "/usual/dockerfile"]);
}

fn missing_dockerfile_is_reported(t: &Context) {
    let app = App::new(t, &[], "");
    app.set_keys(&format!(
        "docker: {{ image: {}, file: docker/Missing }}",
        app.image()
    ));
    let output = app.build().failure(1);
    let path = app.export("docker/Missing");
    output.stderr_contains(&format!(
        "error: app: image: no Dockerfile at {}",
        path.display()
    ));
    app.set_keys(&format!(
        "docker: {{ image: {}, context: no-folder, file: Dockerfile }}",
        app.image()
    ));
    app.build()
        .failure(1)
        .stderr_contains("no-folder is not a folder");
}

fn links_cannot_copy_host_files_into_the_image(t: &Context) {
    let secret = t.folder().join("secret");
    std::fs::create_dir(&secret).expect("a folder");
    std::fs::write(secret.join("key"), "canary").expect("a file");
    let app = App::new(t, &[], "");
    let keys = |docker: &str| {
        let script = format!("rm -rf files; ln -s {} files", secret.display());
        format!(
            "dockerBuilder: {{ image: {}, network: none }}\nscripts: {{ build: [ '{script}' ] }}\n\
             docker: {{ image: {}, {docker} }}",
            t.engine().busybox(),
            app.image(),
        )
    };
    for docker in ["context: files, file: Dockerfile", "file: files/key"] {
        app.set_keys(&keys(docker));
        for builder in builders(t) {
            let output = with(builder, app.build()).failure(1);
            let output = output.stderr_contains("points outside the service's files");
            assert!(!output.stderr.contains("canary"), "{output}");
            assert_eq!(t.engine().image(&format!("{}:master", app.image())), None);
        }
    }
}

fn a_failing_instruction_is_reported(t: &Context) {
    let app = App::new(t, &[], "");
    let base = t.engine().busybox();
    for (number, builder) in builders(t).iter().enumerate() {
        let dockerfile = format!(
            "FROM {base}\nRUN echo {builder} says no; \\\n    exit 7; : {} end of a long line\n",
            "x".repeat(60)
        );
        app.repository
            .commit(&[("Dockerfile", &dockerfile)], "Fail");
        let output = with(builder, app.build()).failure(1);
        let says = format!("\n    {builder} says no\n");
        let output = output
            .stderr_contains("error: app: image: ")
            .stderr_contains(&says);
        let output = output.stderr_contains("image.log");
        assert!(output.stderr.contains('7'), "{output}");
        if !t.engine().product().is_podman() {
            // The log has the whole command, once.
            assert!(output.stderr.contains(" …` exited with 7"), "{output}");
            let (_, error) = output.stderr.rsplit_once("\nerror: app: ").expect("it");
            assert_eq!(error.matches("end of a long line").count(), 1, "{output}");
        }
        let log = String::from_utf8(app.log(number + 1, "image"));
        assert!(log.expect("text").contains(&format!("{builder} says no\n")));
        assert!(!app.is_built());
    }
    app.repository
        .commit(&[("Dockerfile", "FROM\n")], "Nonsense");
    for builder in builders(t) {
        with(builder, app.build())
            .failure(1)
            .stderr_contains("error: app: image: ");
    }
}

fn lines_of_parallel_stages_do_not_mix(t: &Context) {
    // Each line is printed in three parts, a moment apart, and the last one is left without its line break.
    let stage = |name: &str| {
        format!(
            "FROM {base} AS {name}\n\
             RUN for i in 1 2 3 4 5 6 7 8; do for part in first second third; do \
             printf '{name}-%s-%s ' $part $i; sleep 0.05; done; test $i = 8 || echo; done; touch /{name}\n",
            base = t.engine().busybox()
        )
    };
    let base = t.engine().busybox();
    let stages = ["red", "green", "blue"];
    let stage_texts: String = stages.iter().map(|name| stage(name)).collect();
    let copies: String = stages
        .iter()
        .map(|name| format!("COPY --from={name} /{name} /\n"))
        .collect();
    let dockerfile = format!("{stage_texts}FROM {base}\n{copies}");
    let app = App::new(t, &[], "");
    app.repository
        .commit(&[("Dockerfile", &dockerfile)], "Stages");
    for (number, builder) in builders(t).iter().enumerate() {
        build(builder, &app);
        let log = String::from_utf8(app.log(number + 1, "image")).expect("text");
        for name in stages {
            for i in 1..=8 {
                let line = format!("{name}-first-{i} {name}-second-{i} {name}-third-{i}");
                let lines = log.lines().filter(|it| it.trim_end() == line);
                assert_eq!(lines.count(), 1, "{builder}: {line}\n{log}");
            }
        }
    }
}

fn a_large_context_uses_little_memory(t: &Context) {
    let dockerfile = format!(
        "FROM {}\nRUN --mount=target=/src stat -c %s /src/large > /size\n",
        t.engine().busybox()
    );
    let app = App::with_scripts(t, "", &["truncate -s 1G large"]);
    app.repository
        .commit(&[("Dockerfile", &dockerfile)], "A large file");
    // The engine writes the gigabyte twice, to a disk that other tests also use.
    let output = app.build().timeout(Duration::from_secs(600)).success();
    assert!(
        output.peak_memory < MEMORY_LIMIT,
        "{} bytes",
        output.peak_memory
    );
    assert_eq!(
        t.engine().run(&app.image_of_head(), ["cat", "/size"]),
        "1073741824"
    );
}

fn unsupported_syntax_is_named(t: &Context) {
    let product = t.engine().product();
    let supports_newer = product.is_podman() || product.is_docker_since(23);
    let app = App::new(t, &[], "");
    let base = t.engine().busybox();
    let closed = t.closed_port();
    let unreachable = format!("# syntax=127.0.0.1:{closed}/docker/dockerfile:1\nFROM {base}\n");
    for (dockerfile, is_supported, hint) in [
        (
            format!("FROM {base}\nRUN <<EOF\necho 1\nEOF\n"),
            supports_newer,
            "does not support the heredoc `<<EOF` in line 2",
        ),
        (
            format!("FROM {base}\nCOPY --link Dockerfile /\n"),
            supports_newer,
            "does not support `--link`",
        ),
        // Podman ignores the line.
        (
            unreachable,
            product.is_podman(),
            "makes the engine fetch that image",
        ),
    ] {
        app.repository
            .commit(&[("Dockerfile", &dockerfile)], "Use another syntax");
        let build = app.build().env("XP_RETRIES", "0").run();
        if is_supported {
            assert!(build.status.success(), "{build}");
        } else {
            assert!(!build.status.success(), "{build}");
            build.stderr_contains(hint);
        }
    }
}
