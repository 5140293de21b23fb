//! Working copies: initial clones, and syncs without changes.

use std::cell::Cell;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::measure::{Contestant, Measured, Ratio, in_turns};
use crate::platform::{Platform, import, make_bare};
use crate::result::{Case, Table, Target, spread};
use crate::world::World;

/// Measures it for many small repositories and for one large one.
pub fn run(world: &World) -> Case {
    let count = world.size().of(2, 20, 50);
    let rounds = world.size().of(1, 3, 5);
    let platform = Platform::new(world, "sync", count, false);
    let urls: Vec<(String, String)> = platform
        .services()
        .iter()
        .map(|service| (service.clone(), platform.url(service)))
        .collect();
    let many = Remotes::new(world, "many", urls);
    let far = Duration::from_millis(50);
    let jobs: &[usize] = world.size().of(&[2], &[4, 8, 16], &[2, 4, 8, 16, 32]);
    let mut tables = Vec::new();
    let mut targets = Vec::new();
    let near_and_far = [Duration::ZERO, far];
    let round_trips = world
        .size()
        .of(&near_and_far[..1], &near_and_far[..], &near_and_far[..]);
    for &round_trip in round_trips {
        world.set_round_trip(round_trip);
        let first = many.first(rounds, jobs);
        let again = many.again(rounds, jobs);
        world.set_round_trip(Duration::ZERO);
        for (what, measured) in [("first", first), ("nothing new", again)] {
            let title = format!(
                "{count} repositories, {} ms, {what}",
                round_trip.as_millis()
            );
            targets.push(target(&title, &measured));
            tables.push(Table::of(title, &measured));
        }
    }
    let (files, commits) = world
        .size()
        .of((100, 20), (10_000, 2000), (100_000, 20_000));
    world.say(&format!(
        "making a repository of {files} files and {commits} commits"
    ));
    let large = world.repositories().join("large.git");
    make_large(world, &large, files, commits);
    let url = format!("{}/large.git", world.git_url());
    let large = Remotes::new(world, "large", vec![("large".to_owned(), url)]);
    let first = large.first(rounds.min(3), &[1]);
    let again = large.again(rounds, &[1]);
    for (what, measured) in [("first", first), ("nothing new", again)] {
        let title = format!("{files} files, {commits} commits, 0 ms, {what}");
        targets.push(target(&title, &measured));
        tables.push(Table::of(title, &measured));
    }
    Case {
        name: "sync",
        title: "(d) Working copies",
        setup: "\"First\" creates them in an empty folder; for \"nothing new\", they are up to date. git runs under `xargs`, with various \
                numbers of jobs; `west` is from PyPI, with its defaults."
            .to_owned(),
        tables,
        targets,
    }
}

fn target(title: &str, measured: &[Measured]) -> Target {
    let git = measured.iter().filter(|it| it.name.starts_with("git"));
    let best = git.min_by_key(|it| it.time()).expect("git is among them");
    let ratio = Ratio::of(&measured[0], best);
    Target {
        found: format!("{} of the time of \"{}\"", spread(ratio), best.name),
        ..Target::at_most(
            format!("{title}: no slower than git with the best number of jobs"),
            ratio.median,
            1.0,
            "",
        )
    }
}

/// Remotes, and the folders of the contestants.
struct Remotes<'a> {
    world: &'a World,
    name: &'static str,
    urls: Vec<(String, String)>,
}

impl<'a> Remotes<'a> {
    fn new(world: &'a World, name: &'static str, urls: Vec<(String, String)>) -> Self {
        Self { world, name, urls }
    }

    /// Clones into an empty folder.
    fn first(&self, rounds: usize, jobs: &[usize]) -> Vec<Measured> {
        let number = Cell::new(0_usize);
        let folder = Cell::new(PathBuf::new());
        let begin = || {
            let old = folder.take();
            if old.exists() {
                fs::remove_dir_all(old).expect("an old folder");
            }
            number.set(number.get() + 1);
            folder.set(self.folder(&number.get().to_string()));
        };
        let here = || {
            let path = folder.take();
            folder.set(path.clone());
            path
        };
        let mut contestants = vec![
            Contestant::new("`xp sync`", || self.xp(&here())).prepared(begin),
            Contestant::new("west update", || self.west(&here())).prepared(begin),
        ];
        for &jobs in jobs {
            let clone = move || self.git(&here(), jobs, "git clone --quiet \"$2\" \"src/$1\"");
            let name = format!("git clone, {jobs} at once");
            contestants.push(Contestant::new(name, clone).prepared(begin));
        }
        let measured = in_turns(self.world, rounds, contestants);
        fs::remove_dir_all(folder.take()).expect("the last folder");
        measured
    }

    /// Syncs existing working copies.
    fn again(&self, rounds: usize, jobs: &[usize]) -> Vec<Measured> {
        let [xp, west, git] = ["xp", "west", "git"].map(|contestant| self.folder(contestant));
        if !xp.join("src").exists() {
            self.world.succeed(&mut self.xp(&xp));
            self.world.succeed(&mut self.west(&west));
            let clone = "git clone --quiet \"$2\" \"src/$1\"";
            self.world.succeed(&mut self.git(&git, 4, clone));
        }
        let mut contestants = vec![
            Contestant::new("`xp sync`", || self.xp(&xp)),
            Contestant::new("west update", || self.west(&west)),
        ];
        for &jobs in jobs {
            let git = git.clone();
            let fetch = move || self.git(&git, jobs, "git -C \"src/$1\" fetch --quiet origin");
            contestants.push(Contestant::new(format!("git fetch, {jobs} at once"), fetch));
        }
        in_turns(self.world, rounds, contestants)
    }

    fn xp(&self, folder: &Path) -> Command {
        self.world.xp(folder, &["sync", "--quiet"])
    }

    fn west(&self, folder: &Path) -> Command {
        let mut west = self.world.command("python3");
        west.args(["-m", "west", "update"]).current_dir(folder);
        west
    }

    fn git(&self, folder: &Path, jobs: usize, line: &str) -> Command {
        let mut command = self.world.command("sh");
        let line = format!("xargs --max-procs {jobs} --max-args 2 sh -ec '{line}' - <list");
        command.args(["-c", &line]).current_dir(folder);
        command
    }

    /// Creates a folder that all contestants can run in.
    fn folder(&self, contestant: &str) -> PathBuf {
        let folder = self.world.part(&format!("sync-{}-{contestant}", self.name));
        let (mut manifest, mut west, mut list) = (
            "services:\n".to_owned(),
            "manifest:\n  projects:\n".to_owned(),
            String::new(),
        );
        for (name, url) in &self.urls {
            _ = writeln!(
                manifest,
                "  {name}: {{dir: src/{name}, git: {{remote: '{url}', reference: origin/master}}, docker: {{image: {name}}}}}"
            );
            _ = writeln!(
                west,
                "    - {{name: {name}, url: '{url}', revision: master, path: src/{name}}}"
            );
            _ = writeln!(list, "{name} {url}");
        }
        fs::create_dir_all(folder.join("manifest")).expect("a folder");
        fs::create_dir_all(folder.join(".west")).expect("a folder");
        fs::write(folder.join("x-platform.yml"), manifest).expect("a manifest");
        fs::write(folder.join("manifest/west.yml"), west).expect("a manifest");
        // Same as `west init --local manifest`.
        fs::write(
            folder.join(".west/config"),
            "[manifest]\npath = manifest\nfile = west.yml\n",
        )
        .expect("west's configuration");
        fs::write(folder.join("list"), list).expect("a list");
        folder
    }
}

/// Creates a repository with a number of files and a number of commits that change one file each.
fn make_large(world: &World, repository: &Path, files: usize, commits: usize) {
    make_bare(world, repository);
    let path = |number: usize| format!("d{:03}/e{:02}/f{number:06}.txt", number % 317, number % 31);
    import(world, repository, |out| {
        for number in 1..=commits {
            let time = 1_600_000_000 + number * 60;
            write!(
                out,
                "commit refs/heads/master\nmark :{number}\ncommitter T <t@example.com> {time} +0000\ndata 2\nx\n\n"
            )?;
            if number > 1 {
                writeln!(out, "from :{}", number - 1)?;
            }
            let touched = match number {
                1 => 0..files,
                _ => (number * 7919) % files..(number * 7919) % files + 1,
            };
            for file in touched {
                let content = format!("file {file} as of commit {number}\n").repeat(8);
                write!(
                    out,
                    "M 100644 inline {}\ndata {}\n{content}\n",
                    path(file),
                    content.len()
                )?;
            }
        }
        Ok(())
    });
    world.succeed(
        world
            .git(repository)
            .args(["repack", "-a", "-d", "--quiet"]),
    );
}
