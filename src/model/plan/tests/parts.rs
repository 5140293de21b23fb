//! Services in a part of a repository, and submodules.

use super::*;
use crate::model::recipe::Recipe;

fn platform() -> TestPlatform {
    let text = MANIFEST.replace(
        "reference: origin/master}",
        "reference: origin/master, path: services/back, include: [libs/x, go.mod], submodules: true}",
    );
    let mut platform = TestPlatform::of(&text);
    platform.sources.get_mut(&name("back")).unwrap().commit = earlier();
    platform
}

/// The commit that last touched the service, which is not the tip.
fn earlier() -> CommitId {
    "e".repeat(40).parse().unwrap()
}

#[test]
fn the_tip_is_followed_and_the_earlier_commit_is_built() {
    let plan = platform().plan(&["back"]);
    let back = plan.units.last().unwrap();
    assert_eq!(back.commit, Some(earlier()));
    assert_eq!(
        back.image.to_string(),
        format!("r.example.com/x/back:{}", earlier())
    );
    let mut seen = 0;
    for step in &back.steps {
        match step {
            Step::Sync(sync) => {
                assert_eq!(sync.resolved.commit, commit("back"));
                assert_eq!(sync.commit, earlier());
            }
            Step::Export(export) => {
                assert_eq!(export.commit, earlier());
                let paths = &export.selection.paths;
                assert_eq!(*paths, ["services/back", "go.mod", "libs/x"]);
                assert!(export.submodules);
                assert_eq!(export.modules, Path::new("/p/.xp/modules"));
                assert_eq!(export.lfs, Path::new("/p/.xp/lfs"));
            }
            Step::Container(container) => {
                assert_eq!(container.env["XP_COMMIT"], earlier().to_string());
                assert_eq!(container.workdir, "/go/src/back");
                assert_eq!(container.script_dir, "/go/src/back/services/back");
                assert_eq!(container.source, Path::new("/p/.xp/build/back"));
            }
            Step::Image(image) => {
                let root = Path::new("/p/.xp/build/back");
                assert_eq!(
                    (image.root.as_path(), image.context.as_path()),
                    (root, root.join("services/back").as_path())
                );
                let revision = &image.labels["org.opencontainers.image.revision"];
                assert_eq!(*revision, earlier().to_string());
                assert_eq!(image.labels["org.opencontainers.image.version"], "master");
            }
            _ => continue,
        }
        seen += 1;
    }
    assert_eq!(seen, 4);
    let text = plan.display(Path::new("/p"), Detail::FILE, Duration::ZERO);
    let export =
        "eeeeeeee, services/back, go.mod, libs/x only, with submodules into .xp/build/back";
    assert!(text.contains(export), "{text}");
}

#[test]
fn excluded_files_are_an_input_in_any_order() {
    let recipe = |exclude: &str| -> (Recipe, String) {
        let text = MANIFEST.replace(
            "reference: origin/master}",
            &format!("reference: origin/master, exclude: {exclude}}}"),
        );
        let plan = TestPlatform::of(&text).plan(&["back"]);
        let text = plan.display(Path::new("/p"), Detail::FILE, Duration::ZERO);
        (plan.units.last().unwrap().recipe.clone().unwrap(), text)
    };
    let (one, text) = recipe("[docs, '*.md']");
    assert!(
        text.contains(" without docs, *.md into .xp/build/back"),
        "{text}"
    );
    assert_eq!(recipe("['*.md', docs/, docs]").0, one);
    let before = TestPlatform::new().plan(&["back"]);
    let before = before.units.last().unwrap().recipe.clone().unwrap();
    let changes = one.changes_since(&before);
    assert_eq!(changes.len(), 1);
    assert_eq!(changes[0].to_string(), "git.exclude is new");
    assert_eq!(recipe("[]").0, before);
}

#[test]
fn included_paths_are_an_input() {
    let recipe = |platform: &TestPlatform| -> Recipe {
        let plan = platform.plan(&["back"]);
        plan.units.last().unwrap().recipe.clone().unwrap()
    };
    let changes = recipe(&platform()).changes_since(&recipe(&TestPlatform::new()));
    let changes: Vec<String> = changes.iter().map(ToString::to_string).collect();
    assert_eq!(
        changes,
        [
            "git.include is new",
            "git.path is new",
            "git.submodules is new"
        ]
    );
}
