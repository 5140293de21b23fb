//! The platform: services from several repositories, and working copies with a user's changes.

use std::collections::BTreeMap;
use std::process::Command;

use super::state::Folder;
use crate::context::Context;
use crate::output::Output;
use crate::process::succeed;
use crate::repository::{GitRepository, write_file};
use crate::world::Engine;

/// The working copies with a user's changes.
pub const REPOSITORIES: [&str; 2] = ["zbase", "zbackend"];

/// Files in `.git` that a sync may write even if the user has changes.
const FETCHED: [&str; 7] = [
    ".git/objects",
    ".git/refs/remotes",
    ".git/refs/xp",
    ".git/refs/worktree",
    ".git/logs/refs/remotes",
    ".git/FETCH_HEAD",
    ".git/packed-refs",
];

/// Files in the `.git` of an updated working copy that differ between runs: timestamps and numbers.
const MOVED: [&str; 5] = [
    ".git/index",
    ".git/logs",
    ".git/objects",
    ".git/refs/xp",
    ".git/refs/worktree",
];

/// The setup, and the state that must not change.
pub struct Platform {
    image_repositories: Vec<String>,
    user_files: BTreeMap<&'static str, Folder>,
}

impl Platform {
    /// Creates repositories, working copies and the manifest.
    pub fn new(t: &Context, engine: &Engine, registry: &str) -> Self {
        let busybox = engine.busybox();
        let copies = format!("FROM {busybox}\nCOPY . /src\n");
        let large = |name: &str| {
            format!("FROM {busybox}\nCOPY . /src\nRUN yes {name} | head -c 3000000 > /large\n")
        };
        let base = t.git_repo("zbase");
        base.commit(
            &[
                ("Dockerfile", copies.as_str()),
                ("edited", "1\n"),
                ("staged", "1\n"),
                (".gitignore", "*.ignored\n"),
            ],
            "Start",
        );
        let frontend = t.git_repo("zfrontend");
        frontend.commit(
            &[
                ("Dockerfile", large("front").as_str()),
                ("changes", "1\n"),
                ("goes/away", "1\n"),
            ],
            "Start",
        );
        let backend = t.git_repo("zbackend");
        let both =
            "ARG FRONT\nFROM ${FRONT} AS front\nFROM BUSYBOX\nCOPY --from=front /large /front\n\
                    COPY . /src\nRUN cat /front /front > /twice\n"
                .replace("BUSYBOX", busybox);
        backend.commit(&[("Dockerfile", both.as_str()), ("file", "1\n")], "Start");
        let library = t.git_repo("library");
        let library_commit = library.commit(&[("code", "1\n")], "Start");
        let modules = t.git_repo("zmodules");
        modules.commit(&[("Dockerfile", copies.as_str())], "Start");
        modules.add_submodule("library", &library.url_http(), &library_commit);
        let mono = t.git_repo("mono");
        mono.commit(
            &[
                ("services/zone/Dockerfile", copies.as_str()),
                ("services/ztwo/Dockerfile", large("two").as_str()),
                ("services/ztwo/a/b/c", "1\n"),
                ("common/file", "1\n"),
            ],
            "Start",
        );

        let builder = t.builder(
            "tools",
            &format!(
                "FROM {busybox}\nCOPY tool /bin/\nRUN head -c 1000000 /bin/busybox > /weight\n"
            ),
            &[(
                "tool",
                "#!/bin/sh\nfor i in 1 2 3 4; do echo $1 $i; sleep 0.05; done\n",
            )],
        );
        let plugin = t.builder(
            "mark",
            &format!(
                "FROM {busybox}\nENTRYPOINT [\"sh\", \"-c\", \"echo $XP_WITH_WORD > marked\"]\n"
            ),
            &[],
        );
        t.manifest(&manifest(
            t,
            registry,
            (&builder, &plugin, busybox),
            [&base, &frontend, &backend, &mono, &modules],
        ));

        create_user_changes(t, [&base, &frontend, &backend]);
        // The platform builds the commits pushed after this.
        base.commit(&[("edited", "2\n"), ("new", "2\n")], "Second");
        frontend.git(&["rm", "--quiet", "goes/away"]);
        frontend.commit(&[("changes", "2\n"), ("comes/new", "2\n")], "Second");
        backend.commit(&[("file", "2\n")], "Second");

        let names = ["zbase", "zfrontend", "zbackend", "zone", "ztwo", "zmodules"];
        let mut image_repositories: Vec<String> = names.map(|name| t.image(name)).into();
        image_repositories.extend([&builder, &plugin].map(|name| format!("{}/{name}", t.prefix())));
        let user_files = REPOSITORIES.map(|name| (name, user_files(t, name)));
        Self {
            image_repositories,
            user_files: user_files.into(),
        }
    }

    /// Returns the registry repositories that get an image.
    pub fn image_repositories(&self) -> &[String] {
        &self.image_repositories
    }

    /// Asserts that a working copy with a user's changes is unchanged.
    #[track_caller]
    pub fn assert_user_files_unchanged(&self, t: &Context, name: &str, output: &Output) {
        let differences = user_files(t, name).differences(&self.user_files[name]);
        assert_eq!(differences, [""; 0], "{name}, {output}");
    }

    /// Returns the cloned or updated working copies, and asserts that they are complete.
    #[track_caller]
    pub fn updated_working_copies(&self, t: &Context) -> BTreeMap<String, Folder> {
        let names = ["zfrontend", "mono", "zmodules"];
        for name in names.iter().chain(&REPOSITORIES) {
            let dir = format!("src/{name}");
            t.git(&dir, &["fsck", "--connectivity-only", "--no-dangling"]);
            if names.contains(name) {
                assert_eq!(t.git(&dir, &["status", "--porcelain", "--ignored"]), "");
            }
        }
        let folder = |name: &str| {
            let folder = Folder::of(&t.dir().join("src").join(name));
            folder.without(|path| MOVED.iter().any(|moved| path.starts_with(moved)))
        };
        names
            .iter()
            .map(|name| ((*name).to_owned(), folder(name)))
            .collect()
    }
}

fn user_files(t: &Context, name: &str) -> Folder {
    let folder = Folder::of(&t.dir().join("src").join(name));
    folder.without(|path| FETCHED.iter().any(|fetched| path.starts_with(fetched)))
}

/// Clones three of the repositories as the user, with changes in two of them.
fn create_user_changes(t: &Context, repositories: [&GitRepository; 3]) {
    for (repository, name) in repositories.iter().zip(["zbase", "zfrontend", "zbackend"]) {
        let url = match name {
            "zbase" => repository.url_file(),
            _ => repository.url_http(),
        };
        t.git(".", &["clone", "--quiet", &url, &format!("src/{name}")]);
    }
    let write = |path: &str, text: &str| write_file(&t.dir().join("src").join(path), text);
    write("zbase/edited", "an edit\n");
    write("zbase/staged", "a staged edit\n");
    t.git("src/zbase", &["add", "staged"]);
    write("zbase/untracked/deep/file", "mine\n");
    write("zbase/x.ignored", "mine as well\n");
    t.git("src/zbackend", &["switch", "--quiet", "--create", "mine"]);
    write("zbackend/own", "1\n");
    t.git("src/zbackend", &["add", "own"]);
    t.git("src/zbackend", &["commit", "--quiet", "--message", "Mine"]);
    write("zbackend/own", "2\n");
    t.git("src/zbackend", &["stash", "--quiet"]);
    // Without this, the next git command would write the index.
    succeed(Command::new("sync").arg("-f").arg(t.dir()));
}

fn manifest(
    t: &Context,
    registry: &str,
    (builder, plugin, busybox): (&str, &str, &str),
    remotes: [&GitRepository; 5],
) -> String {
    let [base, frontend, backend, mono, modules] = remotes;
    let prefix = t.prefix();
    format!(
        "registry: {registry}/{prefix}
services:
  zbase:
    dir: src/zbase
    git: {{remote: '{}', reference: origin/master}}
    docker: {{image: zbase}}
  zfrontend:
    dir: src/zfrontend
    git: {{remote: '{}', reference: origin/master}}
    dockerBuilder: {{image: '{builder}:newest', workdir: /work, cache: [/cache, /work/.cache], network: none}}
    docker: {{image: zfrontend, tags: ['build-${{{{ env.BUILD_NUMBER }}}}']}}
    scripts:
      prepare: [tool prepare > prepared]
      build: [tool made > made, cp made /cache/made, cp made .cache/made]
      test: [tool tested, grep -q 4 made]
  zbackend:
    dir: src/zbackend
    git: {{remote: '{}', reference: origin/master}}
    dockerBuilder: {{image: '{builder}', user: root, network: none}}
    docker: {{image: zbackend, args: {{FRONT: '${{{{ services.zfrontend.image }}}}'}}}}
    scripts:
      build: ['mkdir -p out; tool made > out/file; chmod 700 out; chmod 400 out/file']
  zone:
    dir: src/mono
    git: {{remote: '{}', path: services/zone}}
    docker: {{image: zone}}
  ztwo:
    dir: src/mono
    git: {{remote: '{}', path: services/ztwo}}
    dockerBuilder: {{image: '{builder}'}}
    docker: {{image: ztwo}}
    sidecars:
      side: {{image: '{busybox}', command: [sleep, '1000'], ready: 'true', phases: [build, verify]}}
    verify: {{command: [sleep, '1000']}}
    scripts:
      prepare: {{run: [tool prepared > prepared], inputs: [a], outputs: [prepared]}}
      build:
        - tool made > made
        - {{run: ['tr a-z A-Z < made > upper'], image: '{busybox}'}}
        - {{plugin: '{plugin}', with: {{word: marked}}}}
      verify: ['cat made prepared marked > verified']
  zmodules:
    dir: src/zmodules
    git: {{remote: '{}', submodules: true}}
    docker: {{image: zmodules}}
",
        base.url_file(),
        frontend.url_http(),
        backend.url_http(),
        mono.url_http(),
        mono.url_http(),
        modules.url_http(),
    )
}
