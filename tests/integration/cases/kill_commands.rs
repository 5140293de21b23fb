//! Commands other than builds that are killed at random moments, and simply run again.

use std::fs;
use std::thread;
use std::time::Instant;

use super::deploy_render::product;
use super::kill::{Kill, number};
use crate::app::App;
use crate::case::Case;
use crate::context::Context;
use crate::random::Random;
use crate::siege::{Folder, partial_files, processes_of};
use crate::wait::wait_until;

pub const CASES: &[Case] = cases![
    killed_commands_can_be_rerun,
    a_kill_does_not_damage_the_working_copy,
];

/// The number of kills for each command; `XP_KILL_COUNT` overrides it.
const KILLS: u64 = 4;

/// Parts of a working copy that differ between runs: times, inode numbers, and what the test's own reset
/// records.
const DIFFERS: [&str; 5] = [
    ".git/index",
    ".git/logs",
    ".git/objects",
    ".git/FETCH_HEAD",
    ".git/ORIG_HEAD",
];

/// A command to kill, and how to compare its results.
struct KilledCommand<'t> {
    t: &'t Context,
    arguments: &'static [&'static str],
    /// Restores the state before the command.
    reset: &'t dyn Fn(),
    /// Returns the state after it.
    outcome: &'t dyn Fn() -> Folder,
}

impl KilledCommand<'_> {
    fn xp(&self) -> crate::xp::Xp {
        let mut xp = self.t.xp([]).env("TMPDIR", self.t.folder().join("tmp"));
        for argument in self.arguments {
            xp = xp.arg(argument);
        }
        xp
    }

    fn kill_and_rerun(&self, random: &mut Random) {
        let run_undisturbed = || {
            (self.reset)();
            let begun = Instant::now();
            let output = self.xp().success();
            (begun.elapsed(), output)
        };
        let (_, expected) = run_undisturbed();
        let outcome = (self.outcome)();
        let (duration, _) = run_undisturbed();
        for _ in 0..number("XP_KILL_COUNT").unwrap_or(KILLS) {
            let kill = Kill::any(random, duration);
            (self.reset)();
            let running = self.xp().spawn();
            thread::sleep(kill.after);
            kill.carry_out(&running);
            let killed = running.wait();
            let again = self.xp().run();
            let story = format!("{kill} of {duration:?}: {killed}\nthen {again}");
            assert!(again.status.success(), "{story}");
            // The output of these depends on what was left to do.
            if !["sync", "lock"].contains(&self.arguments[0]) {
                assert_eq!(again.stdout, expected.stdout, "{story}");
            }
            self.demand_nothing_left(&story);
            let differences = (self.outcome)().differences(&outcome);
            assert_eq!(differences, [""; 0], "{story}");
        }
    }

    fn demand_nothing_left(&self, story: &str) {
        wait_until("no container is left", || self.t.containers().is_empty());
        let temporary = Folder::of(&self.t.folder().join("tmp"));
        assert!(temporary.is_empty(), "{temporary:?} after {story}");
        assert_eq!(partial_files(&self.t.dir()), [""; 0], "{story}");
        assert_eq!(processes_of(self.t.folder()), [""; 0], "{story}");
    }
}

fn random() -> Random {
    let seed = number("XP_KILL_SEED").unwrap_or_else(Random::any_seed);
    eprintln!("kill_commands: XP_KILL_SEED={seed}");
    Random::new(seed)
}

fn killed_commands_can_be_rerun(t: &Context) {
    let mut random = random();
    fs::create_dir(t.folder().join("tmp")).expect("a folder");
    let product = product(t, "staging");
    t.xp(["build"]).success();
    let commits = [product.backend.head(), product.frontend.head()];
    let remove = |path: &str| {
        let path = t.dir().join(path);
        let removed = match path.is_dir() {
            true => fs::remove_dir_all(&path),
            false => fs::remove_file(&path),
        };
        assert!(removed.is_ok() || !path.exists(), "{}", path.display());
    };
    let reset = || ["src", ".xp", "x-platform.lock"].map(remove);
    let outcome = || {
        Folder::of(&t.dir()).without(|path| {
            path.starts_with(".xp/logs")
                || path.starts_with(".xp/") && path.ends_with("/lock")
                || DIFFERS.iter().any(|it| path.contains(it))
        })
    };
    let commands: [&[&str]; 3] = [&["sync"], &["lock"], &["deploy", "staging", "--render"]];
    for arguments in commands {
        KilledCommand {
            t,
            arguments,
            reset: &|| _ = reset(),
            outcome: &outcome,
        }
        .kill_and_rerun(&mut random);
    }
    // An outdated working copy is updated, whenever the command was killed.
    t.xp(["sync"]).success();
    let reset = || {
        for (service, commit) in ["zbackend", "zfrontend"].iter().zip(&commits) {
            t.git(
                &format!("src/{service}"),
                &["reset", "--quiet", "--hard", commit],
            );
            t.git(
                &format!("src/{service}"),
                &["update-ref", "refs/remotes/origin/master", commit],
            );
        }
    };
    for repository in [&product.backend, &product.frontend] {
        let files: Vec<(String, String)> = (0..40)
            .map(|number| (format!("folder/file{number}"), "x".repeat(number)))
            .collect();
        let mut files: Vec<(&str, &str)> = files
            .iter()
            .map(|(path, text)| (path.as_str(), text.as_str()))
            .collect();
        files.push(("content", "other"));
        repository.commit(&files, "More");
    }
    KilledCommand {
        t,
        arguments: &["sync"],
        reset: &reset,
        outcome: &outcome,
    }
    .kill_and_rerun(&mut random);
    for service in ["zbackend", "zfrontend"] {
        let status = t.git(&format!("src/{service}"), &["status", "--porcelain"]);
        assert_eq!(status, "");
    }
}

fn a_kill_does_not_damage_the_working_copy(t: &Context) {
    let mut random = random();
    fs::create_dir(t.folder().join("tmp")).expect("a folder");
    let builder = "user: root\ncache: [ /workspace/.cache/deep, /workspace/made/cache ]";
    let app = App::with_scripts(t, builder, &["echo made > made/file; sleep 0.3"]);
    t.xp(["sync"]).success();
    let copy = t.dir().join("src/app");
    fs::write(copy.join("mine"), "precious\n").expect("a file");
    let before = Folder::of(&copy);
    let of_copy = || Folder::of(&copy);
    let images = || t.engine().images_with_prefix(&app.image());
    // A script that creates ignored files, and images that are rebuilt.
    let reset = || {
        for image in images() {
            t.engine().remove_image(&image);
        }
        _ = fs::remove_dir_all(copy.join("made"));
    };
    KilledCommand {
        t,
        arguments: &["run", "app", "--", "sh", "-c", "sleep 0.3; echo done"],
        reset: &|| (),
        outcome: &of_copy,
    }
    .kill_and_rerun(&mut random);
    assert_eq!(of_copy().differences(&before), [""; 0]);
    KilledCommand {
        t,
        arguments: &["build", "--local", "--quiet", "app"],
        reset: &reset,
        outcome: &of_copy,
    }
    .kill_and_rerun(&mut random);
    // The script's files exist, and no folders that were created only as mount points.
    let differences = of_copy().differences(&before);
    assert_eq!(differences.len(), 2, "{differences:?}");
}
