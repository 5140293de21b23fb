//! Platforms with many services: their repositories, and a folder for each contestant.

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::world::World;

/// Services with a repository each, in a separate folder of the git server.
pub struct Platform<'a> {
    world: &'a World,
    /// Component of the URLs and image names.
    name: String,
    services: Vec<String>,
    has_scripts: bool,
}

/// A file of a repository: path and contents.
pub type File<'a> = (&'a str, &'a str);

impl<'a> Platform<'a> {
    /// Creates the repositories of a number of services, with one commit each.
    pub fn new(world: &'a World, name: &str, count: usize, has_scripts: bool) -> Self {
        let services: Vec<String> = (1..=count).map(|number| format!("s{number:03}")).collect();
        let platform = Self {
            world,
            name: name.to_owned(),
            services,
            has_scripts,
        };
        let dockerfile = format!("FROM {}\nCOPY . /app\n", world.base_image());
        for service in &platform.services {
            let repository = platform.repository(service);
            make_bare(world, &repository);
            let text = format!("the source of {service}\n");
            let script = "mkdir -p dist\nsha256sum source > dist/sum\ncp source dist/app\n";
            let files = [
                ("Dockerfile", dockerfile.as_str()),
                ("source", &text),
                ("make.sh", script),
            ];
            commit(world, &repository, &files);
        }
        platform
    }

    /// Returns the names of the services.
    pub fn services(&self) -> &[String] {
        &self.services
    }

    /// Returns the bare repository of a service.
    pub fn repository(&self, service: &str) -> PathBuf {
        self.world
            .repositories()
            .join(&self.name)
            .join(format!("{service}.git"))
    }

    /// Returns the URL of a service's repository.
    pub fn url(&self, service: &str) -> String {
        format!("{}/{}/{service}.git", self.world.git_url(), self.name)
    }

    /// Commits a new, unique source file to a service.
    pub fn change(&self, service: &str, content: &str) {
        self.change_file(service, "source", content);
    }

    /// Commits a file to a service.
    pub fn change_file(&self, service: &str, path: &str, content: &str) {
        commit(self.world, &self.repository(service), &[(path, content)]);
    }

    /// Returns the image prefix of a contestant.
    pub fn images(&self, contestant: &str) -> String {
        format!("{}/{}/{contestant}", self.world.registry(), self.name)
    }

    /// Creates the folder of a contestant, with an xp manifest of the first services.
    pub fn folder(&self, contestant: &str, count: usize, images: &str) -> PathBuf {
        self.folder_of(contestant, count, images, &self.world.base_image())
    }

    /// Like [`Self::folder`], with all services, whose scripts run in a builder.
    pub fn folder_with_builder(&self, contestant: &str, images: &str, builder: &str) -> PathBuf {
        self.folder_of(contestant, self.services.len(), images, builder)
    }

    fn folder_of(&self, contestant: &str, count: usize, images: &str, builder: &str) -> PathBuf {
        let folder = self
            .world
            .part(&format!("{}-{contestant}-{count}", self.name));
        let mut manifest = format!("version: 1\nregistry: {images}\nservices:\n");
        for service in &self.services[..count] {
            let url = self.url(service);
            _ = write!(
                manifest,
                "  {service}:\n    dir: src/{service}\n    git: {{remote: '{url}', reference: origin/master}}\n    docker: {{image: {service}}}\n"
            );
            if self.has_scripts {
                _ = write!(
                    manifest,
                    "    dockerBuilder: {{image: '{builder}', network: none}}\n    scripts: {{build: [sh make.sh]}}\n"
                );
            }
        }
        fs::write(folder.join("x-platform.yml"), manifest).expect("a manifest");
        folder
    }

    /// Writes a compose file for services in `src` of a folder.
    pub fn write_compose_file(&self, folder: &Path, count: usize, images: &str) {
        let mut text = "version: '3.4'\nservices:\n".to_owned();
        for service in &self.services[..count] {
            _ = writeln!(
                text,
                "  {service}: {{build: ./src/{service}, image: '{images}/{service}:compose'}}"
            );
        }
        fs::write(folder.join("docker-compose.yml"), text).expect("a file");
    }

    /// Writes a bake file for services in `src` of a folder.
    pub fn write_bake_file(&self, folder: &Path, count: usize, images: &str) {
        let services = self.services[..count].iter();
        let targets: Vec<String> = services
            .map(|service| {
                format!(
                    "\"{service}\": {{\"context\": \"src/{service}\", \"tags\": [\"{images}/{service}:bake\"]}}"
                )
            })
            .collect();
        let text = format!(
            "{{\"group\": {{\"default\": {{\"targets\": {:?}}}}}, \"target\": {{{}}}}}\n",
            &self.services[..count],
            targets.join(", ")
        );
        fs::write(folder.join("docker-bake.json"), text).expect("a file");
    }

    /// Clones services into `src` of a folder and runs their scripts, for programs that do neither.
    pub fn prepare_sources(&self, folder: &Path, count: usize) {
        self.prepare_clones(folder, count);
        for service in &self.services[..count] {
            let mut make = self.world.command("sh");
            make.arg("make.sh")
                .current_dir(folder.join("src").join(service));
            self.world.succeed(&mut make);
        }
    }

    /// Clones services into `src` of a folder.
    pub fn prepare_clones(&self, folder: &Path, count: usize) {
        for service in &self.services[..count] {
            let mut clone = self.world.git(folder);
            clone.args([
                "clone",
                "--quiet",
                &self.url(service),
                &format!("src/{service}"),
            ]);
            self.world.succeed(&mut clone);
        }
    }

    /// Returns a baseline script of `scripts/`, which reads the services from standard input.
    pub fn script(&self, script: &str, folder: &Path, count: usize, images: &str) -> Command {
        let scripts = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/bench/scripts");
        let list = folder.join("services.txt");
        fs::write(&list, self.services[..count].join("\n") + "\n").expect("a list");
        let mut command = self.world.command("sh");
        command
            .arg(format!("{scripts}/{script}.sh"))
            .arg(&list)
            .current_dir(folder);
        command.env("SCRIPTS", scripts);
        command.env("GIT", format!("{}/{}", self.world.git_url(), self.name));
        command
            .env("IMAGES", images)
            .env("BASE", self.world.base_image());
        if self.has_scripts {
            command.env("BUILD", "sh make.sh");
        }
        command
    }
}

/// Creates an empty bare repository.
pub fn make_bare(world: &World, repository: &Path) {
    fs::create_dir_all(repository).expect("a folder");
    let mut init = world.git(repository);
    world.succeed(init.args(["init", "--quiet", "--bare", "--initial-branch=master", "."]));
}

/// Commits files on top of the master branch.
pub fn commit(world: &World, repository: &Path, files: &[File<'_>]) {
    let parent = repository.join("refs/heads/master");
    let parent = fs::read_to_string(parent).unwrap_or_default();
    let mut text =
        "commit refs/heads/master\ncommitter T <t@example.com> 1700000000 +0000\ndata 2\nx\n\n"
            .to_owned();
    if !parent.trim().is_empty() {
        _ = writeln!(text, "from {}", parent.trim());
    }
    for (path, content) in files {
        _ = write!(
            text,
            "M 100644 inline {path}\ndata {}\n{content}\n",
            content.len()
        );
    }
    import(world, repository, |input| input.write_all(text.as_bytes()));
}

/// Runs `git fast-import`.
pub fn import(
    world: &World,
    repository: &Path,
    write: impl FnOnce(&mut dyn std::io::Write) -> std::io::Result<()>,
) {
    let mut import = world.git(repository);
    import
        .args(["fast-import", "--quiet"])
        .stdin(Stdio::piped());
    let mut import = import.spawn().expect("git");
    let mut input = std::io::BufWriter::new(import.stdin.take().expect("a pipe"));
    write(&mut input)
        .and_then(|()| input.flush())
        .expect("git reads");
    drop(input);
    assert!(import.wait().expect("git ends").success());
}
