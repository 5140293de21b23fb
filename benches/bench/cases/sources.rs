//! Nothing to do, with sources from a plugin: 20 services on one Mercurial server against the same on git.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

use crate::measure::{Contestant, Ratio, in_turns};
use crate::platform::Platform;
use crate::result::{Case, Table, Target, spread};
use crate::size::Size;
use crate::world::World;

/// Measures it, next to the bare container of the plugin.
pub fn run(world: &World) -> Case {
    let count = world.size().of(2, 20, 20);
    let git = Platform::new(world, "sources-git", count, false);
    let images = git.images("sources");
    let git = git.folder("sources-git", count, &images);
    let base = hg_base(world);
    let server = HgServer::start(world);
    let hg = mercurial(world, &server, &base, count);
    for folder in [&git, &hg] {
        world.say(&format!("building {count} images"));
        world.succeed(&mut world.xp(folder, &["build", "--quiet"]));
    }
    let plugin = format!("{}/sources-hg/builders/hg:newest", world.registry());
    let contestants = vec![
        Contestant::new("`xp build`, git", || world.xp(&git, &["build", "--quiet"])),
        Contestant::new("`xp build`, Mercurial", || {
            world.xp(&hg, &["build", "--quiet"])
        }),
        Contestant::new("`docker run` of the plugin", || {
            bare_call(world, &hg, &plugin, &server.url, count)
        }),
    ];
    let measured = in_turns(world, world.size().of(1, 5, 7), contestants);
    let targets = if world.size() == Size::Tiny {
        Vec::new()
    } else {
        let more = measured[1].time().saturating_sub(measured[0].time());
        let call = measured[2].time();
        let ratio = more.as_secs_f64() / call.as_secs_f64();
        vec![Target {
            found: format!(
                "{:.0} ms more than with git, {ratio:.1} times the bare call ({} times as long as with git)",
                more.as_secs_f64() * 1000.0,
                spread(Ratio::of(&measured[1], &measured[0]))
            ),
            ..Target::at_most(
                "20 services on one Mercurial server: at most 1.5 bare calls of the plugin more than git",
                ratio,
                1.5,
                "",
            )
        }]
    };
    Case {
        name: "sources",
        title: "(l) Sources from a plugin",
        setup: format!(
            "Nothing to do, for {count} services that are all in git, or all on one `hg serve`, where one container of \
             `builders/hg` resolves them. `docker run` is the same call of the plugin without xp."
        ),
        tables: vec![Table::of(format!("{count} services"), &measured)],
        targets,
    }
}

/// `hg serve`, stopped on drop.
struct HgServer {
    process: Child,
    repositories: PathBuf,
    url: String,
}

impl HgServer {
    fn start(world: &World) -> Self {
        let folder = world.folder().join("hg");
        let (process, port) = world.serve("hg-http", &folder);
        Self {
            process,
            repositories: folder.join("repositories"),
            url: format!("http://127.0.0.1:{port}"),
        }
    }
}

impl Drop for HgServer {
    fn drop(&mut self) {
        _ = self.process.kill();
        _ = self.process.wait();
    }
}

/// Imports a base image with this machine's Mercurial, and returns its name.
fn hg_base(world: &World) -> String {
    let root = world.part("hg-root");
    let mut copy = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/bin/world"));
    world.succeed(copy.arg("hg-root").arg(&root));
    let image = format!("{}/base/hg:1", world.registry());
    let context = world.part("hg-base");
    let dockerfile = format!(
        "FROM {}\nCOPY root /\nENV PATH=/bin:/usr/bin\n",
        world.base_image()
    );
    fs::write(context.join("Dockerfile"), dockerfile).expect("a file");
    fs::rename(&root, context.join("root")).expect("a folder");
    let mut build = world.docker();
    world.succeed(
        build
            .args(["build", "--quiet", "--tag", &image])
            .arg(&context),
    );
    image
}

/// Writes a platform whose services are Mercurial repositories.
fn mercurial(world: &World, server: &HgServer, base: &str, count: usize) -> PathBuf {
    let url = &server.url;
    let folder = world.part("sources-hg");
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("builders/hg");
    let builder = folder.join("builders/hg");
    fs::create_dir_all(&builder).expect("a folder");
    for name in ["Dockerfile", "plugin.py"] {
        fs::copy(sources.join(name), builder.join(name)).expect("a copy");
    }
    let mut manifest = format!(
        "registry: {}/sources-hg\nbuilders: {{args: {{BASE: '{base}'}}}}\nservices:\n",
        world.registry()
    );
    for number in 0..count {
        let name = format!("s{number}");
        let repository = server.repositories.join(&name);
        fs::create_dir_all(&repository).expect("a folder");
        let hg = |arguments: &[&str]| {
            let mut command = world.command("hg");
            command.env("HGRCPATH", "").env("HGUSER", "A Developer");
            world.succeed(command.args(arguments).current_dir(&repository));
        };
        hg(&["init"]);
        fs::write(
            repository.join("Dockerfile"),
            "FROM scratch\nCOPY content /\n",
        )
        .expect("a file");
        fs::write(repository.join("content"), &name).expect("a file");
        hg(&["commit", "--quiet", "--addremove", "--message", "Start"]);
        manifest += &format!(
            "  {name}:\n    dir: src/{name}\n    \
             scm: {{plugin: builders/hg, network: host, with: {{url: '{url}/{name}'}}}}\n    \
             docker: {{image: {name}}}\n"
        );
    }
    fs::write(folder.join("x-platform.yml"), manifest).expect("a manifest");
    folder
}

/// Returns a call of the plugin for all services, as xp makes it.
fn bare_call(world: &World, folder: &Path, plugin: &str, url: &str, count: usize) -> Command {
    let config = folder.join("config");
    fs::create_dir_all(&config).expect("a folder");
    let queries = (0..count).map(|number| {
        format!(
            "{{\"id\":\"s{number}\",\"with\":{{\"url\":\"{url}/s{number}\"}},\"reference\":null}}"
        )
    });
    let queries: Vec<String> = queries.collect();
    fs::write(
        config.join("resolve.json"),
        format!("[{}]", queries.join(",")),
    )
    .expect("a file");
    let mut run = world.docker();
    let mount = format!("{}:/config:ro", config.display());
    run.args([
        "run",
        "--rm",
        "--network",
        "host",
        "--volume",
        &mount,
        "--volume",
        "/out",
    ]);
    run.args([plugin, "resolve"]);
    run
}
