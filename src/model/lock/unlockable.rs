//! Errors for images that cannot be locked.

use std::collections::BTreeSet;
use std::fmt;

use crate::base::error::{Diagnostic, Exit};
use crate::model::manifest::{EnvironmentName, ServiceName};
use crate::model::plan::ImageLookup;
use crate::model::recipe::{RecipeChange, RecipeStatus, is_test_input};

/// Why an image cannot be locked, because the lock could not be deployed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LockProblem {
    /// The registry does not have it.
    Missing {
        /// What distinguishes it from the commit's usual image, if it is a variant.
        variant: Option<String>,
    },
    /// The registry's image was built from other inputs than the current ones.
    Stale(Vec<RecipeChange>),
    /// The registry's image was built from a working copy and may differ from the commit.
    FromWorkingCopy,
    /// The registry's image was built with other commits or builds of these services, whose entries are kept.
    OtherDependencies(BTreeSet<ServiceName>),
}

impl LockProblem {
    /// Returns why an image cannot be locked, from its state in the registry.
    ///
    /// `variant` is the image's variant, if it is one; `kept` are the services whose entries in the lock are kept.
    pub fn of(
        lookup: &ImageLookup,
        variant: Option<&str>,
        kept: &BTreeSet<ServiceName>,
    ) -> Option<Self> {
        match lookup {
            ImageLookup::Absent => Some(Self::Missing {
                variant: variant.map(str::to_owned),
            }),
            ImageLookup::Found(RecipeStatus::Stale(changes)) => {
                let kept_need = |change: &RecipeChange| {
                    let need = change.name().strip_prefix("needs.")?;
                    kept.iter().find(|name| name.as_str() == need).cloned()
                };
                let other_dependencies: Option<BTreeSet<ServiceName>> =
                    changes.iter().map(kept_need).collect();
                Some(match other_dependencies {
                    Some(other_dependencies) if !other_dependencies.is_empty() => {
                        Self::OtherDependencies(other_dependencies)
                    }
                    _ => Self::Stale(changes.clone()),
                })
            }
            ImageLookup::FromWorkingCopy => Some(Self::FromWorkingCopy),
            ImageLookup::NotQueried | ImageLookup::Found(_) => None,
            // Failed queries were reported earlier.
            ImageLookup::Unknown(_) | ImageLookup::UnreadableRecipe(_) => None,
        }
    }

    fn needs_build(&self) -> bool {
        !matches!(self, Self::OtherDependencies(_))
    }

    /// Returns whether the image was built from another build of an image that it needs.
    fn is_of_another_set(&self) -> bool {
        match self {
            Self::OtherDependencies(_) => true,
            Self::Stale(changes) => changes.iter().any(RecipeChange::is_rebuilt_need),
            Self::Missing { .. } | Self::FromWorkingCopy => false,
        }
    }

    fn lacks_only_tests(&self) -> bool {
        match self {
            Self::Stale(changes) => changes.iter().all(|change| is_test_input(change.name())),
            Self::Missing { .. } | Self::OtherDependencies(_) | Self::FromWorkingCopy => false,
        }
    }
}

/// Images that are missing for a lock or a deploy.
#[derive(Debug, thiserror::Error)]
pub struct UnlockableImages {
    services: Vec<(ServiceName, LockProblem)>,
    /// The command-line options that chose the commits.
    options: Vec<String>,
    /// The environment, if this is about a deploy rather than a lock.
    environment: Option<EnvironmentName>,
    /// The services whose images were looked up in the engine.
    in_engine: BTreeSet<ServiceName>,
}

impl UnlockableImages {
    /// Creates an error about these services. `options` are the command-line options that chose their commits, such as
    /// `--branch TASK-981`.
    pub fn new(services: Vec<(ServiceName, LockProblem)>, options: Vec<String>) -> Self {
        Self {
            services,
            options,
            environment: None,
            in_engine: BTreeSet::new(),
        }
    }

    /// Sets the services whose images were looked up in the engine rather than in a registry.
    pub fn in_engine(self, in_engine: BTreeSet<ServiceName>) -> Self {
        Self { in_engine, ..self }
    }

    /// Turns the error into one about a deploy to an environment.
    pub fn of_deploy(self, environment: &EnvironmentName) -> Self {
        Self {
            environment: Some(environment.clone()),
            ..self
        }
    }

    /// Returns whether every image can be locked.
    pub fn is_empty(&self) -> bool {
        self.services.is_empty()
    }

    /// Returns the services whose images were built from other builds of the images that they need.
    pub fn of_another_set(&self) -> Vec<&ServiceName> {
        let services = self.services.iter();
        let services = services.filter(|(_, problem)| problem.is_of_another_set());
        services.map(|(name, _)| name).collect()
    }

    /// Returns the hint for updating an outdated lock.
    pub fn update(&self) -> String {
        let lock = self.command("lock", &BTreeSet::new());
        if self.needs_build() {
            let build = self.command("build", &BTreeSet::new());
            return format!("`{lock}` updates it, once `{build}` has built what is missing");
        }
        let locked_together = self.locked_together();
        if locked_together.is_empty() {
            format!("`{lock}` updates it")
        } else {
            format!("`{}` updates it", self.command("lock", &locked_together))
        }
    }

    fn needs_build(&self) -> bool {
        let mut problems = self.services.iter().map(|(_, problem)| problem);
        problems.any(LockProblem::needs_build)
    }

    /// Returns the services that require newer entries of their dependencies, and those dependencies.
    fn locked_together(&self) -> BTreeSet<&ServiceName> {
        let mut locked_together = BTreeSet::new();
        for (service, problem) in &self.services {
            if let LockProblem::OtherDependencies(needs) = problem {
                locked_together.insert(service);
                locked_together.extend(needs);
            }
        }
        locked_together
    }

    /// Returns a command for these services, or all, with the options of references.
    pub fn command(&self, name: &str, services: &BTreeSet<&ServiceName>) -> String {
        let services = services.iter().map(|service| service.to_string());
        let words = ["xp".to_owned(), name.to_owned()].into_iter();
        let words: Vec<String> = words
            .chain(services)
            .chain(self.options.iter().cloned())
            .collect();
        words.join(" ")
    }
}

impl fmt::Display for UnlockableImages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (image, verb) = match self.services.len() {
            1 => ("an image".to_owned(), "is"),
            count => (format!("{count} images"), "are"),
        };
        let done = match self.environment {
            None => "locked",
            Some(_) => "deployed",
        };
        if self.needs_build() {
            write!(f, "{image} {verb} not built yet; nothing was {done}")?;
        } else {
            write!(
                f,
                "{image} {verb} built with different dependencies than the {done} ones; nothing was {done}"
            )?;
        }
        for (service, problem) in &self.services {
            let place = if self.in_engine.contains(service) {
                "engine"
            } else {
                "registry"
            };
            match problem {
                LockProblem::Missing { variant } => {
                    write!(f, "\n  {service}: the {place} has no image of its commit")?;
                    if let Some(variant) = variant {
                        write!(f, " with {variant}")?;
                    }
                }
                LockProblem::FromWorkingCopy => write!(
                    f,
                    "\n  {service}: the {place}'s image was built from a working copy with --local"
                )?,
                LockProblem::Stale(changes) => {
                    let changes: Vec<String> = changes.iter().map(ToString::to_string).collect();
                    let changes = changes.join(", ");
                    write!(
                        f,
                        "\n  {service}: the {place}'s image was built from other inputs: {changes}"
                    )?;
                }
                LockProblem::OtherDependencies(needs) => {
                    let needs: Vec<String> = needs.iter().map(|need| format!("`{need}`")).collect();
                    let needs = needs.join(", ");
                    write!(
                        f,
                        "\n  {service}: the {place}'s image was built with a different {needs} than the {done} one"
                    )?;
                }
            }
        }
        Ok(())
    }
}

impl Diagnostic for UnlockableImages {
    fn exit(&self) -> Exit {
        Exit::ServiceFailed
    }

    fn hints(&self) -> Vec<String> {
        let mut hints = Vec::new();
        if self.needs_build() {
            let build = self.command("build", &BTreeSet::new());
            let deploy_hint = match &self.environment {
                Some(environment) => {
                    let deploy = self.command(&format!("deploy {environment}"), &BTreeSet::new());
                    format!("; `{deploy} --build` builds before deploying")
                }
                None => String::new(),
            };
            let mut services = self.services.iter();
            let verb = if services.all(|(service, _)| self.in_engine.contains(service)) {
                "builds"
            } else {
                "builds and pushes"
            };
            hints.push(format!("`{build}` {verb} them{deploy_hint}"));
        }
        let locked_together = self.locked_together();
        if !locked_together.is_empty() {
            hints.push(match &self.environment {
                None => {
                    let lock = self.command("lock", &locked_together);
                    format!("`{lock}` locks them together")
                }
                Some(environment) => {
                    let deploy = self.command(&format!("deploy {environment}"), &locked_together);
                    format!("`{deploy}` deploys them together")
                }
            });
        }
        let mut problems = self.services.iter().map(|(_, problem)| problem);
        if self.environment.is_none() && problems.all(LockProblem::lacks_only_tests) {
            hints.push("`--no-test` locks images that were built without tests".to_owned());
        }
        hints
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::recipe::Recipe;

    fn recipe(inputs: &[&str]) -> Recipe {
        let inputs: Vec<String> = inputs
            .iter()
            .map(|name| format!(r#""{name}":"0123456789""#))
            .collect();
        let text = format!(r#"{{"version":1,"inputs":{{{}}}}}"#, inputs.join(","));
        text.parse().unwrap()
    }

    fn problem(new_inputs: &[&str], kept: &[&str]) -> Option<LockProblem> {
        let changes = recipe(new_inputs).changes_since(&recipe(&[]));
        let kept = kept.iter().map(|name| name.parse().unwrap()).collect();
        LockProblem::of(
            &ImageLookup::Found(RecipeStatus::Stale(changes)),
            None,
            &kept,
        )
    }

    fn unlocked(problem: Option<LockProblem>) -> UnlockableImages {
        let service = ("back".parse().unwrap(), problem.unwrap());
        UnlockableImages::new(vec![service], vec!["--branch topic".to_owned()])
    }

    #[test]
    fn services_with_other_dependencies_are_locked_together() {
        let error = unlocked(problem(&["needs.front"], &["front", "other"]));
        assert_eq!(
            error.to_string(),
            "an image is built with different dependencies than the locked ones; nothing was locked\n  \
             back: the registry's image was built with a different `front` than the locked one"
        );
        assert_eq!(
            error.hints(),
            ["`xp lock back front --branch topic` locks them together"]
        );
        assert_eq!(
            error.update(),
            "`xp lock back front --branch topic` updates it"
        );
    }

    #[test]
    fn other_changes_require_a_build() {
        for (inputs, kept) in [
            (["needs.front", "scripts.build"], ["front"]),
            (["needs.front", "needs.other"], ["front"]),
        ] {
            let error = unlocked(problem(&inputs, &kept));
            let text = error.to_string();
            let reason = "built from other inputs: needs.front is new, ";
            assert!(text.contains(reason), "{text}");
            assert_eq!(
                error.hints(),
                ["`xp build --branch topic` builds and pushes them"]
            );
        }
        assert_eq!(unlocked(problem(&["scripts.test"], &[])).hints().len(), 2);
    }

    #[test]
    fn a_missing_image_is_named_with_its_variant() {
        let missing = |variant| LockProblem::of(&ImageLookup::Absent, variant, &BTreeSet::new());
        let text = |variant| unlocked(missing(variant)).to_string();
        assert!(text(None).ends_with("back: the registry has no image of its commit"));
        assert!(text(Some("topic")).ends_with("has no image of its commit with topic"));
        assert_eq!(
            unlocked(missing(None)).update(),
            "`xp lock --branch topic` updates it, once `xp build --branch topic` has built what is missing"
        );
        let nothing = UnlockableImages::new(Vec::new(), Vec::new());
        assert!(nothing.is_empty());
        assert_eq!(nothing.update(), "`xp lock` updates it");
    }
}
