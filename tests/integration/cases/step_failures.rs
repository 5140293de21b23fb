//! Results of phases that cannot be saved or restored: no failure of a cache fails a build.

use std::fs;
use std::path::PathBuf;

use rustix::process::Signal;

use super::step_results::Staged;
use crate::case::Case;
use crate::context::Context;
use crate::random::Random;
use crate::wait::wait_until;

pub const CASES: &[Case] = cases![
    a_damaged_result_is_not_used,
    a_phase_that_cannot_run_instead_of_its_result_fails,
    a_result_that_the_registry_lost_is_made_again,
    outputs_that_cannot_be_saved_are_used,
    outputs_that_cannot_be_saved_are_shared_by_all_phases,
    a_kill_while_saving_leaves_no_result,
    folders_of_phases_are_removed_when_there_is_nothing_to_do,
    builds_with_and_without_restored_results_are_equal,
];

fn files(t: &Context, folder: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(t.dir().join(".xp/steps").join(folder));
    let entries = entries.into_iter().flatten();
    entries
        .map(|entry| entry.expect("an entry").path())
        .collect()
}

/// Overwrites the archives of all results; returns their number.
fn damage_archives(t: &Context) -> usize {
    let archives = files(t, "archives");
    for archive in &archives {
        let length = fs::metadata(archive).expect("an archive").len();
        let bytes = vec![b'x'; usize::try_from(length).expect("a small file")];
        fs::write(archive, bytes).expect("to damage it");
    }
    archives.len()
}

fn a_damaged_result_is_not_used(t: &Context) {
    let app = Staged::new(t);
    app.manifest("", &Staged::phases());
    t.xp(["build"]).success();
    let first = app.ids();
    assert_eq!(damage_archives(t), 2);
    app.repository.commit(&[("other", "2\n")], "Other");
    // The plan does not need the builder, so it may be missing.
    for image in t.engine().images_with_prefix(t.prefix()) {
        if image.contains("builders") {
            t.engine().remove_image(&image);
        }
    }
    let builders = t.engine().images_with_prefix("builders/sh");
    for image in builders {
        t.engine().remove_image(&image);
    }
    t.xp(["build"])
        .success()
        .stderr_contains(
            "the result of `prepare` on this machine cannot be used: the archive is damaged",
        )
        .stdout_contains("1 phase restored");
    let second = app.ids();
    assert_ne!(second[0], first[0]);
    assert_ne!(second[1], first[1]);
    // The new results are good.
    app.repository.commit(&[("other", "3\n")], "Other");
    t.xp(["build"])
        .success()
        .stdout_contains("3 phases restored");
    assert_eq!(app.ids(), second);
}

fn a_phase_that_cannot_run_instead_of_its_result_fails(t: &Context) {
    let app = Staged::new(t);
    app.manifest("", &Staged::phases());
    t.xp(["build"]).success();
    damage_archives(t);
    // The network is not part of the key, so the plan still restores the phases.
    let manifest = t.read("x-platform.yml");
    let network = manifest.replace("network: none", "network: no-such-network");
    t.write("x-platform.yml", &network);
    app.repository.commit(&[("other", "2\n")], "Other");
    t.xp(["plan"]).success().stdout_contains("restore");
    t.xp(["build"])
        .failure(1)
        .stderr_contains("no-such-network")
        .does_not_contain("no container");
}

fn a_result_that_the_registry_lost_is_made_again(t: &Context) {
    let app = Staged::new(t);
    let registry = t.own_registry(crate::world::RegistryKind::Open);
    app.manifest(registry.host(), &Staged::phases());
    t.xp(["build"]).success();
    let first = app.ids();
    let image = t.image("app");
    let tags = registry.tags(&image);
    let lost: Vec<String> = tags
        .iter()
        .filter(|tag| tag.starts_with("step-"))
        .flat_map(|tag| {
            let manifest = registry.image_manifest(&image, tag);
            let layers = manifest["layers"].as_array().cloned().unwrap_or_default();
            layers
                .into_iter()
                .map(|it| it["digest"].as_str().expect("a digest").to_owned())
        })
        .collect();
    for digest in &lost {
        registry.lose_blob(&image, digest);
    }
    let runner = app.fresh_machine();
    app.repository.commit(&[("other", "2\n")], "Other");
    t.xp(["build"])
        .dir(&runner)
        .success()
        .stderr_contains("the result of `prepare` in the registry cannot be used: ");
    let id = fs::read_to_string(runner.join(".xp/build/app/modules/id")).expect("a file");
    assert_ne!(id, first[0]);
}

fn outputs_that_cannot_be_saved_are_used(t: &Context) {
    let app = Staged::new(t);
    let phases = Staged::phases();
    let link = "'mkdir modules', 'ln -s /etc/passwd modules/link'";
    app.manifest("", &phases.replace("'mkdir modules'", link));
    t.xp(["build"]).success().stderr_contains(
        "app: the result of `prepare` was not saved: the link modules/link leads to /etc/passwd, outside of the source folder",
    );
    app.repository.commit(&[("other", "2\n")], "Other");
    // The other phases have results.
    t.xp(["build"])
        .success()
        .stdout_contains("2 phases restored");
    assert!(t.dir().join(".xp/build/app/modules/link").is_symlink());
    assert_eq!(app.read("out/dist/app"), "one\nmain\n");
}

fn outputs_that_cannot_be_saved_are_shared_by_all_phases(t: &Context) {
    let app = Staged::new(t);
    let phases = "      prepare:
        run: ['mkdir modules', 'echo 1 > modules/a', 'ln -s /etc/passwd modules/link']
        inputs: [package.json]
        outputs: [modules]
      build: ['cat modules/a > made', 'echo 2 > modules/b']
      test: {run: ['cat modules/a', 'echo 3 > modules/c'], inputs: []}
";
    app.manifest("", phases);
    t.xp(["build"])
        .success()
        .stderr_contains("the result of `prepare` was not saved");
    // The image has those that the phases without inputs saw.
    let modules = t.dir().join(".xp/build/app/modules");
    assert!(modules.join("link").is_symlink());
    assert_eq!(app.read("modules/b"), "2\n");
    assert!(!modules.join("c").exists());
}

fn a_kill_while_saving_leaves_no_result(t: &Context) {
    let app = Staged::new(t);
    let phases = "      build:
        run: ['mkdir made', 'dd if=/dev/urandom of=made/file bs=1M count=80']
        inputs: [package.json]
        outputs: [made]
";
    app.manifest("", phases);
    let running = t.xp(["build"]).spawn();
    wait_until("it is saving", || !files(t, "temp").is_empty());
    running.signal(Signal::KILL);
    running.wait();
    assert!(files(t, "results").is_empty());
    t.xp(["build"]).success().does_not_contain("restored");
    assert_eq!(files(t, "results").len(), 1);
    assert!(files(t, "temp").is_empty());
    app.repository.commit(&[("other", "2\n")], "Other");
    t.xp(["build"])
        .success()
        .stdout_contains("1 phase restored");
}

/// Random edits of a repository: the tree of each build equals that of a build without results, and files have the same
/// order by time.
fn builds_with_and_without_restored_results_are_equal(t: &Context) {
    let app = Staged::new(t);
    let phases = "      prepare:
        run: ['mkdir -p gen/deep', 'cat package.json libs/* > gen/deep/all', 'ln -s deep/all gen/link']
        inputs: [package.json, libs]
        outputs: [gen]
      build:
        run: ['sleep 0.03; mkdir -p dist', 'cat gen/link src/* > dist/app', 'chmod 750 dist/app', 'cp -R gen dist/copy', 'touch gen/deep/changed', 'sleep 0.03; mkdir -m 700 dist/empty']
        inputs: [src, ':!src/*.md']
        outputs: [dist]
      test:
        run: ['test ! -e gen/deep/changed', 'sleep 0.03; wc -c < dist/app > size']
        inputs: ['*.txt']
        outputs: [size]
";
    app.manifest("", phases);
    let mut random = Random::new(Random::any_seed());
    let names = [
        "package.json",
        "libs/a",
        "libs/b",
        "src/main",
        "src/x.txt",
        "src/y.md",
        "other",
        "c.txt",
    ];
    app.repository
        .commit(&[("libs/a", "1\n"), ("c.txt", "1\n")], "Files");
    let tree = || {
        let script = "find . | sort | while read -r f; do stat -c '%n %F %a' \"$f\"; \
            if [ -L \"$f\" ]; then readlink \"$f\"; elif [ -f \"$f\" ]; then sha256sum < \"$f\"; fi; done";
        let output = std::process::Command::new("sh")
            .args(["-c", script])
            .current_dir(t.dir().join(".xp/build/app"))
            .output();
        String::from_utf8(output.expect("a list").stdout).expect("text")
    };
    let by_time = || {
        let names = ["dist/app", "dist/empty", "gen/deep/all", "other", "size"];
        let time = |name: &&str| {
            let path = t.dir().join(".xp/build/app").join(name);
            let metadata = path.symlink_metadata();
            metadata.and_then(|it| it.modified()).expect("a time")
        };
        let mut names = names.to_vec();
        names.sort_by_key(time);
        names
    };
    let order = ["other", "gen/deep/all", "dist/app", "dist/empty", "size"];
    for _ in 0..6 {
        let value = format!("{}\n", random.below(3));
        let name = random.pick(&names);
        app.repository
            .git(&["commit", "--allow-empty", "-q", "-m", "Empty"]);
        app.repository.commit(
            &[
                (name, &value),
                (
                    "Dockerfile",
                    &format!("FROM scratch\nCOPY . /src\n# {}\n", random.below(1000)),
                ),
            ],
            "Edit",
        );
        t.xp(["build"]).success();
        let restored = tree();
        assert_eq!(by_time(), order);
        t.xp(["build", "--force", "--no-restore"]).success();
        assert_eq!(restored, tree());
        assert_eq!(by_time(), order);
    }
}

fn folders_of_phases_are_removed_when_there_is_nothing_to_do(t: &Context) {
    let app = Staged::new(t);
    app.manifest("", &Staged::phases());
    t.xp(["build"]).success();
    let good = app.repository.head();
    app.repository
        .commit(&[("src/main", "broken\n")], "Break it");
    t.xp(["build"]).failure(1);
    assert!(t.exists(".xp/stage/app"), "`xp shell --failed` uses it");
    app.repository.git(&["reset", "--quiet", "--hard", &good]);
    app.repository
        .git(&["push", "--quiet", "--force", "origin", "HEAD:master"]);
    t.xp(["build"])
        .success()
        .stdout_contains("Nothing to do: 1 service up to date");
    assert!(!t.exists(".xp/stage/app"));
}
