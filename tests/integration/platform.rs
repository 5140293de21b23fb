//! Manifests with many similar services, and checks of the built images.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::context::Context;
use crate::process;
use crate::repository::GitRepository;

/// A service of a manifest. Its working copy is `src/<name>`, its image `<prefix>/<name>`.
pub struct Service {
    name: String,
    remote: String,
    reference: Option<String>,
    dir: String,
    /// Additional keys of `git`.
    git: String,
    /// Additional lines of the service's mapping.
    more: String,
}

impl Service {
    /// Creates a service on the default branch of a remote.
    pub fn new(name: &str, remote: impl Into<String>) -> Self {
        Self {
            name: name.to_owned(),
            remote: remote.into(),
            reference: None,
            dir: format!("src/{name}"),
            git: String::new(),
            more: String::new(),
        }
    }

    /// Sets `git.reference`.
    pub fn reference(mut self, reference: &str) -> Self {
        self.reference = Some(reference.to_owned());
        self
    }

    /// Adds keys of `git`, such as `path: services/zbackend`.
    pub fn git(mut self, keys: &str) -> Self {
        _ = write!(self.git, ", {keys}");
        self
    }

    /// Sets `dir`.
    pub fn dir(mut self, dir: &str) -> Self {
        self.dir = dir.to_owned();
        self
    }

    /// Sets `dockerBuilder.image` and a line of `scripts.build`.
    pub fn script(mut self, builder: &str, line: &str) -> Self {
        _ = writeln!(self.more, "    dockerBuilder: {{image: {builder:?}}}");
        _ = writeln!(self.more, "    scripts: {{build: [{line:?}]}}");
        self
    }
}

impl Context {
    /// Writes a manifest with these services and without a registry.
    pub fn platform(&self, services: &[Service]) {
        let mut text = "services:\n".to_owned();
        for service in services {
            let Service {
                name,
                remote,
                reference,
                dir,
                git,
                more,
            } = service;
            let reference = reference
                .as_ref()
                .map(|reference| format!(", reference: {reference:?}"))
                .unwrap_or_default();
            _ = writeln!(text, "  {name}:\n    dir: {dir}");
            _ = writeln!(text, "    git: {{remote: {remote:?}{reference}{git}}}");
            _ = writeln!(
                text,
                "    docker: {{image: {:?}}}\n{more}",
                self.image(name)
            );
        }
        self.manifest(&text);
    }

    /// Creates a repository with a commit of a Dockerfile that copies all files to `/files`, and
    /// a file named `file`.
    pub fn built_repo(&self, name: &str) -> GitRepository {
        let repository = self.git_repo(name);
        let dockerfile = format!("FROM {}\nCOPY . /files\n", self.engine().busybox());
        repository.commit(&[("Dockerfile", &dockerfile), ("file", "1\n")], "First");
        repository
    }

    /// Writes a builder with this machine's git.
    pub fn git_builder(&self) -> String {
        let dockerfile = format!("FROM {}\nCOPY root /\n", self.engine().busybox());
        let builder = self.builder("git", &dockerfile, &[]);
        let root = self.dir().join(&builder).join("root");
        self.copy_program("git", &root);
        builder
    }

    /// Copies a program of this machine with its libraries to the root folder of an image.
    pub fn copy_program(&self, name: &str, root: &Path) {
        let script = format!("command -v {name}");
        let program = process::succeed(Command::new("sh").args(["-c", &script]));
        self.copy_file(&program, root, &format!("bin/{name}"));
    }

    /// Copies a program by its path, with its libraries.
    pub fn copy_file(&self, program: &str, root: &Path, here: &str) {
        // `ldd` fails for a static program.
        let libraries = process::run(Command::new("ldd").arg(program));
        let libraries = process::text(&libraries.stdout);
        let paths = libraries
            .split_whitespace()
            .filter(|word| word.starts_with('/'));
        for path in paths.map(|path| (path, path)).chain([(program, here)]) {
            let (from, to) = path;
            let to = root.join(to.trim_start_matches('/'));
            fs::create_dir_all(to.parent().expect("a folder")).expect("a folder of the image");
            fs::copy(from, &to).unwrap_or_else(|error| panic!("{from}: {error}"));
        }
    }

    /// Asserts that the engine has an image of a service tagged and labeled with a commit. Returns its
    /// `docker inspect` output.
    #[track_caller]
    pub fn assert_built(&self, service: &str, commit: &str) -> Value {
        let name = format!("{}:{commit}", self.image(service));
        let image = self
            .engine()
            .image(&name)
            .unwrap_or_else(|| panic!("{name} was not built"));
        let revision = &image["Config"]["Labels"]["org.opencontainers.image.revision"];
        assert_eq!(revision, commit, "{service}");
        image
    }

    /// Asserts that no file written by xp contains a text: logs, configurations, reflogs, exports.
    #[track_caller]
    pub fn assert_secret_is_nowhere(&self, secret: &str) {
        let mut grep = Command::new("grep");
        grep.args([
            "--recursive",
            "--text",
            "--files-with-matches",
            "--fixed-strings",
        ]);
        grep.args(["--exclude=x-platform.yml", "--", secret]);
        let found = process::run(grep.arg(self.dir()));
        assert_eq!(process::text(&found.stdout), "", "{secret} was written");
    }
}
