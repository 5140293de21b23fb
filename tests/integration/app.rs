//! A platform with one service, `app`, for tests of builds.

use std::path::PathBuf;

use crate::context::Context;
use crate::repository::GitRepository;
use crate::xp::Xp;

/// A platform with the service `app`, without a registry.
pub struct App<'a> {
    context: &'a Context,
    /// The repository of the service.
    pub repository: GitRepository,
}

impl<'a> App<'a> {
    /// Creates a platform with a service that has these files and these additional manifest keys, without indentation.
    /// A Dockerfile that copies everything to `/src` is included.
    pub fn new(context: &'a Context, files: &[(&str, &str)], keys: &str) -> Self {
        let repository = context.git_repo("app");
        let dockerfile = format!("FROM {}\nCOPY . /src\n", context.engine().busybox());
        repository.commit(
            &[&[("Dockerfile", dockerfile.as_str())], files].concat(),
            "Start",
        );
        let app = Self {
            context,
            repository,
        };
        app.set_keys(keys);
        app
    }

    /// Like [`Self::new`], with a busybox builder without network and the scripts `build`.
    pub fn with_scripts(context: &'a Context, builder_keys: &str, lines: &[&str]) -> Self {
        Self::new(context, &[], &build_keys(context, builder_keys, lines))
    }

    /// Changes the service's additional keys.
    pub fn set_keys(&self, keys: &str) {
        let image = self.image();
        let url = self.repository.url_file();
        let keys = indent(keys, 4);
        self.context.manifest(&format!(
            "services:\n  app:\n    dir: src/app\n    git: {{ remote: \"{url}\" }}\n{keys}\n{}",
            if keys.contains("    docker:") {
                String::new()
            } else {
                format!("    docker: {{ image: {image} }}\n")
            }
        ));
    }

    /// Changes the scripts.
    pub fn set_scripts(&self, builder_keys: &str, lines: &[&str]) {
        self.set_keys(&build_keys(self.context, builder_keys, lines));
    }

    /// Returns `xp build`.
    pub fn build(&self) -> Xp {
        self.context.xp(["build"])
    }

    /// Returns the name of the service's image.
    pub fn image(&self) -> String {
        self.context.image("app")
    }

    /// Returns the image of the last commit.
    pub fn image_of_head(&self) -> String {
        format!("{}:{}", self.image(), self.repository.head())
    }

    /// Returns whether the engine has the image of the last commit.
    pub fn is_built(&self) -> bool {
        self.context.engine().image(&self.image_of_head()).is_some()
    }

    /// Returns a path in the build folder of the service.
    pub fn export(&self, path: &str) -> PathBuf {
        self.context.dir().join(".xp/build/app").join(path)
    }

    /// Returns the contents of a file in the build folder of the service.
    #[track_caller]
    pub fn read(&self, path: &str) -> String {
        self.context.read(&format!(".xp/build/app/{path}"))
    }

    /// Returns the log of a phase of the last run.
    #[track_caller]
    pub fn log(&self, run: usize, phase: &str) -> Vec<u8> {
        let path = self
            .context
            .dir()
            .join(format!(".xp/logs/{run}/app/{phase}.log"));
        std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }
}

/// Returns the keys of a service with this build script.
pub fn build_keys(context: &Context, builder_keys: &str, lines: &[&str]) -> String {
    let busybox = context.engine().busybox();
    let builder_keys = indent(builder_keys, 2);
    let network = if builder_keys.contains("network:") {
        ""
    } else {
        "  network: none\n"
    };
    let lines: String = lines
        .iter()
        .map(|line| format!("    - |-\n{}\n", indent(line, 6)))
        .collect();
    format!(
        "dockerBuilder:\n  image: {busybox}\n{network}{builder_keys}\nscripts:\n  build:\n{lines}"
    )
}

fn indent(text: &str, columns: usize) -> String {
    let lines: Vec<String> = text
        .lines()
        .map(|line| format!("{:columns$}{line}", ""))
        .collect();
    lines.join("\n")
}
