//! API for the crate's own benchmarks and tests; not public.

#![expect(clippy::expect_used, reason = "its inputs are its own")]

mod step_results;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

pub use step_results::{StepRepository, restore, save, step_tag};

use crate::cli;
use crate::model::image::{Digest, EngineImage, ImageReference, Labels, PublishedImage, Tag};
use crate::model::layout::Layout;
use crate::model::manifest::{Manifest, ServiceName, parse};
use crate::model::plan::{Folders, Inventory, Options, Plan, PlanDraft, Presence};
use crate::model::recipe::LABEL_RECIPE;
use crate::model::source::{ReferenceOrigin, ResolvedReference, ServiceSource};

/// Parses a command line as `xp` does; the error is the message for the user.
pub fn check_command_line(words: impl IntoIterator<Item = OsString>) -> Result<(), String> {
    let parsed = cli::parse(words);
    parsed.map(drop).map_err(|error| error.to_string())
}

/// A platform with all external facts known, to measure planning alone.
pub struct Known {
    manifest: Manifest,
    selected: BTreeSet<ServiceName>,
    sources: BTreeMap<ServiceName, ServiceSource>,
    options: Options,
    inventory: Inventory,
}

/// Returns a manifest with this many services; every tenth one needs the one before it.
pub fn manifest(services: usize) -> String {
    let mut text = "registry: r.example.com/x\nservices:\n".to_owned();
    for number in 0..services {
        _ = write!(
            text,
            "  s{number:05}:\n    dir: src/s{number:05}\n    git: {{remote: 'https://g.example.com/s{number:05}.git', reference: origin/master}}\n    \
             dockerBuilder: {{image: 'debian:bookworm-slim', workdir: /src, env: {{MODE: release}}}}\n    \
             docker: {{image: s{number:05}}}\n    scripts: {{build: [make build], test: [make test]}}\n"
        );
        if number % 10 == 9 {
            _ = writeln!(text, "    needs: [s{:05}]", number - 1);
        }
    }
    text
}

/// Parses a valid manifest.
pub fn read(text: &str) -> ValidManifest {
    let manifest = parse(text, Path::new("/p/x-platform.yml"));
    ValidManifest(manifest.unwrap_or_else(|error| panic!("{error}")))
}

/// The result of [`read`].
pub struct ValidManifest(Manifest);

/// The result of [`Known::planning`].
pub struct FinishedPlan(Plan);

impl FinishedPlan {
    /// Returns the number of units that are built.
    pub fn work(&self) -> usize {
        self.0.work().count()
    }
}

impl Known {
    /// Creates the facts for a number of services, with nothing or everything built.
    pub fn new(services: usize, is_built: bool) -> Self {
        let ValidManifest(manifest) = read(&manifest(services));
        let sources = manifest.services.keys().enumerate().map(|(index, name)| {
            let commit = format!("{:040x}", index + 1).parse().expect("40 digits");
            let tip = ResolvedReference {
                commit,
                name: Some("refs/heads/master".to_owned()),
            };
            (
                name.clone(),
                ServiceSource::of(tip, ReferenceOrigin::Manifest),
            )
        });
        let mut known = Self {
            sources: sources.collect(),
            selected: manifest.services.keys().cloned().collect(),
            options: Options::default(),
            inventory: Inventory::default(),
            manifest,
        };
        if is_built {
            known.inventory = known.complete();
        } else {
            let images = known.draft().images();
            known.inventory.registry = images
                .into_iter()
                .map(|it| (it, Presence::Absent))
                .collect();
        }
        known
    }

    fn draft(&self) -> PlanDraft<'_> {
        let environment = &|_: &str| None;
        let (manifest, sources) = (&self.manifest, &self.sources);
        PlanDraft::new(
            manifest,
            &self.selected,
            sources,
            &self.options,
            environment,
        )
        .unwrap_or_else(|error| panic!("{error}"))
    }

    /// Registry and engine have every image with all tags and the current recipe.
    fn complete(&self) -> Inventory {
        let draft = self.draft();
        let recipes = draft
            .recipes(&self.selected, &Folders::new())
            .unwrap_or_else(|error| panic!("{error}"));
        let mut inventory = Inventory::default();
        for (index, (service, recipe)) in recipes.iter().enumerate() {
            let label = (LABEL_RECIPE.to_owned(), recipe.to_string());
            let labels: Labels = Labels::from([label]);
            let digest = format!("sha256:{:064x}", index + 1);
            let digest: Digest = digest.parse().expect("64 digits");
            let image = &draft.image(service).expect("an image of each").image;
            let branch = image.repository().tagged(Tag::from_branch("master"));
            for image in [image.clone(), branch] {
                let image: ImageReference = image;
                let engine = EngineImage {
                    id: digest.to_string(),
                    labels: labels.clone(),
                };
                inventory.engine.insert(image.to_string(), engine);
                inventory
                    .registry
                    .insert(image, Presence::Present(digest.clone()));
            }
            let published = PublishedImage {
                labels,
                config: None,
                ..PublishedImage::default()
            };
            inventory.published.insert(digest, Ok(published));
        }
        inventory
    }

    /// Returns a closure that creates the plan; its inputs are cloned up front.
    pub fn planning(&self) -> impl FnOnce() -> FinishedPlan {
        let inventory = self.inventory.clone();
        move || {
            let decided = self.draft().decide(inventory, Folders::new());
            let decided = decided.unwrap_or_else(|error| panic!("{error}"));
            let plan = decided.complete(&BTreeMap::new(), &Layout::new(PathBuf::from("/p/.xp")));
            FinishedPlan(plan.unwrap_or_else(|error| panic!("{error}")))
        }
    }
}

/// Repeats an operation, for a tool that counts the instructions of a process: the cost of one repetition
/// is the difference between two counts.
pub fn repeat(what: &str, services: usize, times: usize) {
    let is_built = match what {
        "read" => {
            let text = manifest(services);
            for _ in 0..times {
                assert_eq!(read(&text).0.services.len(), services);
            }
            return;
        }
        what => what == "nothing",
    };
    let known = Known::new(services, is_built);
    for _ in 0..times {
        let work = known.planning()().work();
        assert_eq!(work > 0, !is_built, "the plan is a different one");
    }
}
