//! Images built from other services' images, and only from those.

use std::io::Read as _;
use std::net::TcpListener;
use std::thread;

use crate::case::Case;
use crate::context::Context;
use crate::repository::GitRepository;
use crate::wait::wait_until;

pub const CASES: &[Case] = cases![
    the_engines_image_is_used_instead_of_the_registrys,
    an_image_in_the_engine_needs_no_registry_query,
    a_missing_needed_image_is_an_error,
    a_replaced_needed_image_is_an_error,
];

/// The service `base` with a script that writes the file `/made`, and `top`, which is built from it.
pub struct Platform<'t> {
    t: &'t Context,
    pub base: GitRepository,
    pub top: GitRepository,
    registry: Option<String>,
}

impl<'t> Platform<'t> {
    /// Creates the repositories; `registry` is a registry's host.
    pub fn new(t: &'t Context, registry: Option<&str>) -> Self {
        let base = t.git_repo("base");
        let dockerfile = format!("FROM {}\nCOPY made /made\n", t.engine().busybox());
        base.commit(&[("Dockerfile", &dockerfile)], "Start");
        let top = t.git_repo("top");
        top.commit(&[("Dockerfile", "ARG BASE\nFROM ${BASE}\n")], "Start");
        Self {
            t,
            base,
            top,
            registry: registry.map(str::to_owned),
        }
    }

    /// Writes the manifest, in which `base` produces this text.
    pub fn set_output(&self, text: &str) {
        let t = self.t;
        let registry = self.registry.as_ref();
        let registry = registry.map(|host| format!("registry: {host}\n"));
        t.manifest(&format!(
            "{}services:\n  base:\n    dir: src/base\n    git: {{ remote: '{}' }}\n    \
             dockerBuilder: {{ image: {}, network: none }}\n    scripts: {{ build: [echo {text} > made] }}\n    \
             docker: {{ image: {} }}\n  top:\n    dir: src/top\n    git: {{ remote: '{}' }}\n    \
             docker:\n      image: {}\n      args: {{ BASE: '${{{{ services.base.image }}}}' }}\n",
            registry.unwrap_or_default(),
            self.base.url_file(),
            t.engine().busybox(),
            t.image("base"),
            self.top.url_file(),
            t.image("top"),
        ));
    }

    /// Returns the text `base` had written when a service's image in the engine was built.
    pub fn made(&self, service: &str) -> String {
        let made = self.t.engine().run(&self.image(service), ["cat", "/made"]);
        made.trim().to_owned()
    }

    /// Returns the image of a service's last commit.
    pub fn image(&self, service: &str) -> String {
        let repository = match service {
            "base" => &self.base,
            _ => &self.top,
        };
        let host = self.registry.as_ref().map(|host| format!("{host}/"));
        let host = host.unwrap_or_default();
        format!("{host}{}:{}", self.t.image(service), repository.head())
    }

    /// Adds keys to `top`, the last service in the manifest.
    fn add_to_top(&self, keys: &str) {
        let manifest = self.t.read("x-platform.yml");
        self.t.manifest(&(manifest + keys));
    }
}

fn the_engines_image_is_used_instead_of_the_registrys(t: &Context) {
    let platform = Platform::new(t, Some(t.registry().host()));
    platform.set_output("old");
    t.xp(["build"]).success();
    assert_eq!(platform.made("top"), "old");
    platform.set_output("new");
    t.xp(["build", "--no-push"]).success();
    assert_eq!(platform.made("base"), "new");
    assert_eq!(platform.made("top"), "new");
    let why = t.xp(["why", "top"]).success();
    assert!(why.stdout.contains("engine    verified"), "{}", why.stdout);
}

/// Such a registry would make the build wait forever.
fn an_image_in_the_engine_needs_no_registry_query(t: &Context) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = listener.local_addr().unwrap();
    thread::spawn(move || {
        for connection in listener.incoming().flatten() {
            thread::spawn(move || {
                let mut connection = connection;
                while matches!(connection.read(&mut [0; 1024]), Ok(read) if read > 0) {}
            });
        }
    });
    let base = format!("{silent}/{}:1", t.image("base"));
    t.engine().tag(t.engine().busybox(), &base);
    let app = t.git_repo("app");
    app.commit(
        &[("Dockerfile", &format!("FROM {base}\nCOPY . /src\n"))],
        "Start",
    );
    t.manifest(&format!(
        "services:\n  app:\n    dir: src/app\n    git: {{ remote: '{}' }}\n    docker: {{ image: {} }}\n",
        app.url_file(),
        t.image("app")
    ));
    t.xp(["build"]).success();
    let image = format!("{}:{}", t.image("app"), app.head());
    assert!(t.engine().image(&image).is_some());
}

/// The image is removed while the scripts of its dependent run.
fn a_missing_needed_image_is_an_error(t: &Context) {
    let platform = Platform::new(t, None);
    platform.set_output("old");
    t.xp(["build", "--services", "base"]).success();
    platform.add_to_top(&format!(
        "    dockerBuilder: {{ image: {}, network: none }}\n    scripts:\n      \
         build: ['touch begun; while [ ! -e go ]; do sleep 0.1; done']\n",
        t.engine().busybox()
    ));
    let build = t.xp(["build"]).spawn();
    let export = t.dir().join(".xp/build/top");
    wait_until("the script", || export.join("begun").exists());
    let base = platform.image("base");
    t.engine().remove_image(&base);
    std::fs::write(export.join("go"), "").unwrap();
    let build = build.wait();
    assert_eq!(build.status.code(), Some(1), "{build}");
    let said = format!("the engine no longer has the needed image {base}");
    assert!(build.stderr.contains(&said), "{build}");
    assert!(t.engine().image(&platform.image("top")).is_none());
}

/// The name is moved to another image while its dependent is built.
fn a_replaced_needed_image_is_an_error(t: &Context) {
    let platform = Platform::new(t, None);
    platform.set_output("old");
    let dockerfile = "ARG BASE\nFROM ${BASE}\nRUN echo waiting && sleep 4\n";
    platform.top.commit(&[("Dockerfile", dockerfile)], "Wait");
    let mut build = t.xp(["build"]).spawn();
    build.wait_for_output("RUN echo waiting");
    let base = platform.image("base");
    t.engine().tag(t.engine().busybox(), &base);
    let build = build.wait();
    assert_eq!(build.status.code(), Some(1), "{build}");
    assert!(
        build
            .stderr
            .contains("the image of `base` was replaced in the engine"),
        "{build}"
    );
    assert!(t.engine().image(&platform.image("top")).is_none());
}
