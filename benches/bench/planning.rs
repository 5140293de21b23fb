//! A platform with all external facts known, to measure planning alone.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use xp::model::image::{EngineImage, ImageReference, Labels, PublishedImage, Tag};
use xp::model::layout::Layout;
use xp::model::manifest::{Manifest, ServiceName, parse};
use xp::model::plan::{Draft, Folders, Inventory, Options, Plan, Presence};
use xp::model::recipe::LABEL_RECIPE;
use xp::model::source::{Origin, ResolvedReference, ServiceSource};

/// The argument that makes this program run one operation and exit.
pub const ALONE: &str = "--alone";

/// Inputs of a plan.
pub struct Known {
    manifest: Manifest,
    selected: BTreeSet<ServiceName>,
    sources: BTreeMap<ServiceName, ServiceSource>,
    options: Options,
    inventory: Inventory,
}

/// Returns a manifest with a number of services, where every tenth needs the previous one.
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
pub fn read(text: &str) -> Manifest {
    parse(text, Path::new("/p/x-platform.yml")).unwrap_or_else(|error| panic!("{error}"))
}

impl Known {
    /// Creates the facts for a number of services, with nothing or everything built.
    pub fn new(services: usize, is_built: bool) -> Self {
        let manifest = read(&manifest(services));
        let sources = manifest.services.keys().enumerate().map(|(index, name)| {
            let commit = format!("{:040x}", index + 1).parse().expect("40 digits");
            let tip = ResolvedReference {
                commit,
                name: Some("refs/heads/master".to_owned()),
            };
            (name.clone(), ServiceSource::of(tip, Origin::Manifest))
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

    fn draft(&self) -> Draft<'_> {
        let environment = &|_: &str| None;
        let (manifest, sources) = (&self.manifest, &self.sources);
        Draft::new(
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
            let digest: xp::model::image::Digest = digest.parse().expect("64 digits");
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
            };
            inventory.published.insert(digest, Ok(published));
        }
        inventory
    }

    /// Returns a copy of the facts, which a plan consumes.
    pub fn inventory(&self) -> Inventory {
        self.inventory.clone()
    }

    /// Creates the plan.
    pub fn plan(&self, inventory: Inventory) -> Plan {
        let decided = self.draft().decide(inventory, Folders::new());
        let decided = decided.unwrap_or_else(|error| panic!("{error}"));
        decided
            .complete(&BTreeMap::new(), &Layout::new(PathBuf::from("/p/.xp")))
            .unwrap_or_else(|error| panic!("{error}"))
    }
}

/// Repeats an operation, for a tool that counts the instructions of a process: the cost of one repetition
/// is the difference between two counts.
pub fn repeat(what: &str, services: usize, times: usize) {
    let is_built = match what {
        "read" => {
            let text = manifest(services);
            for _ in 0..times {
                assert_eq!(read(&text).services.len(), services);
            }
            return;
        }
        what => what == "nothing",
    };
    let known = Known::new(services, is_built);
    for _ in 0..times {
        let plan = known.plan(known.inventory());
        assert_eq!(
            plan.work().count() > 0,
            !is_built,
            "the plan is another one"
        );
    }
}
