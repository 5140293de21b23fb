//! Recipes under former names: renaming a needed service does not make the images built from it stale.
//!
//! A recipe contains the names of needed services: in `needs.NAME`, and in the text that stands for their images in
//! arguments and variables. Neither affects the content of an image. The format of recipes cannot change, because
//! existing images have them as labels; instead, an image is also accepted if its label is the current recipe with
//! other names, which the manifest no longer has. The digest of `needs.NAME` proves that the name meant the same
//! commit and recipe.

use std::collections::BTreeMap;

use super::compare::ImageComparison;
use super::draft::{PlanCandidate, PlanDraft};
use super::sidecars;
use crate::model::image::Tag;
use crate::model::manifest::{ServiceName, Template};
use crate::model::recipe::{InputDigest, Recipe};

/// The names of needed services that an image was built with, by current name.
pub(super) type FormerNames = BTreeMap<ServiceName, String>;

/// The prefix of the inputs that are needed services.
const NEEDS: &str = "needs.";

impl PlanDraft<'_> {
    /// Returns the names under which `label`, the recipe of an image, is the current recipe of a service, except for
    /// the inputs of tests unless `is_tested`; `None` if it is another recipe.
    pub(super) fn former_names(
        &self,
        candidate: &PlanCandidate<'_>,
        recipe: &Recipe,
        label: &Recipe,
        is_tested: bool,
        earlier: &BTreeMap<ServiceName, ImageComparison>,
    ) -> Option<FormerNames> {
        let service = candidate.service;
        let mut former = FormerNames::new();
        let mut renamed = recipe.clone();
        for need in &service.needs {
            let input = format!("{NEEDS}{need}");
            let digests = [
                recipe.input(&input).copied(),
                self.former_digest(need, earlier),
            ];
            let is_same = |digest: &InputDigest| digests.contains(&Some(*digest));
            let is_free = |name: &str| {
                let exists =
                    |name: &str| self.manifest.services.keys().any(|it| it.as_str() == name);
                !exists(name) && !former.values().any(|taken| taken == name)
            };
            let (name, digest) = match label.input(&input) {
                Some(digest) => is_same(digest).then(|| (need.to_string(), *digest))?,
                None => {
                    let needs = label
                        .inputs()
                        .filter_map(|(name, digest)| Some((name.strip_prefix(NEEDS)?, digest)));
                    let mut found = needs.filter(|(name, digest)| is_same(digest) && is_free(name));
                    found
                        .next()
                        .map(|(name, digest)| (name.to_owned(), *digest))?
                }
            };
            renamed = renamed.without(&input);
            renamed.set(format!("{NEEDS}{name}"), digest);
            former.insert(need.clone(), name);
        }
        let builder = service.builder.iter().flat_map(|builder| &builder.env);
        let env = builder.map(|(name, template)| (format!("dockerBuilder.env.{name}"), template));
        let args = service.docker.args.iter();
        let args = args.map(|(name, template)| (format!("docker.args.{name}"), template));
        let beside = sidecars::templates(service);
        let templates: Vec<(String, &Template)> = args.chain(env).chain(beside).collect();
        for (input, template) in templates {
            // The variables of containers are inputs only if there are scripts.
            if recipe.input(&input).is_some() {
                let rendered = self.render_for_recipe_as(template, candidate, &|need| {
                    former
                        .get(need)
                        .map_or_else(|| need.to_string(), String::clone)
                });
                renamed.add(input, &rendered.ok()?);
            }
        }
        let changes = renamed.stale_inputs(label, is_tested);
        changes.is_empty().then_some(former)
    }

    /// Returns the digest of a needed service whose image has a recipe with former names itself.
    fn former_digest(
        &self,
        need: &ServiceName,
        earlier: &BTreeMap<ServiceName, ImageComparison>,
    ) -> Option<InputDigest> {
        let former = earlier.get(need)?.former_recipe.as_ref()?;
        let tag = Tag::from_source(self.sources.get(need)?);
        let mut recipe = Recipe::default();
        recipe.add(NEEDS, &format!("{tag} {}", former.without_platforms()));
        recipe.input(NEEDS).copied()
    }
}
