//! `xp why`: compares each input of a service's build with that of the existing image.

use std::collections::BTreeMap;

use super::bases::{BaseState, RecordedBase, recorded_bases};
use super::built_from::{NeededIds, needed_ids};
use super::compare::{ComparisonResults, ImageComparison, labels_of};
use super::draft::{PlanCandidate, PlanDraft};
use super::recipe::{Folders, Input, InputValue};
use super::script_inputs::shown_lines;
use super::{Inventory, PlanError};
use crate::base::table::{aligned, with_last_cell_below};
use crate::model::image::{Digest, ImageReference, Labels};
use crate::model::manifest::{BaseTracking, Manifest, ScriptItem, ServiceName};
use crate::model::recipe::{InputDigest, LABEL_RECIPE, LABEL_REVISION, Recipe};
use crate::model::source::ReferenceOrigin;

/// The maximum length of a value, in characters.
const LONGEST_VALUE: usize = 60;

/// The displayed length of an image ID.
const ID_DIGITS: usize = 10;

/// Placeholder for an empty cell.
const NOTHING: &str = "-";

/// The start of the names of base images.
const BASES: &str = "bases.";

/// Placeholder for what could not be queried.
const UNKNOWN: &str = "?";

/// All inputs of one service, compared with an image.
#[derive(Debug)]
pub struct Explanation {
    heading: Vec<(&'static str, String)>,
    rows: Vec<InputRow>,
    /// Whether there is an image with a recipe to compare with.
    is_compared: bool,
}

/// One input, now and in the image.
#[derive(Debug)]
struct InputRow {
    name: String,
    current: Option<String>,
    image: Option<String>,
    /// Where it is set.
    from: String,
    /// Its value, unless it may be secret.
    value: String,
}

/// The image to compare with.
struct ComparedImage {
    revision: Option<String>,
    recipe: Option<Recipe>,
    needs: Option<NeededIds>,
}

impl ComparedImage {
    fn of(labels: Option<&Labels>) -> Self {
        let label = |name| labels.and_then(|labels: &Labels| labels.get(name));
        Self {
            revision: label(LABEL_REVISION).cloned(),
            // If it cannot be read, the heading shows the error.
            recipe: label(LABEL_RECIPE).and_then(|text| text.parse().ok()),
            needs: labels.and_then(needed_ids),
        }
    }
}

impl PlanDraft<'_> {
    /// Compares a service with the image of its commit, or with the given image and its labels.
    ///
    /// # Errors
    ///
    /// A build argument or a variable cannot be rendered.
    pub fn explain(
        &self,
        service: &ServiceName,
        inventory: &Inventory,
        folders: &Folders,
        against: Option<(&ImageReference, &Labels)>,
    ) -> Result<Option<Explanation>, PlanError> {
        let Some(candidate) = self.candidate(service) else {
            return Ok(None);
        };
        let ComparisonResults {
            comparisons,
            recipes,
        } = self.compare_all(inventory, folders)?;
        let Some(comparison) = comparisons.get(service) else {
            return Ok(None);
        };
        let inputs = self.inputs(candidate, folders, &recipes)?;
        let labels = match against {
            Some((_, labels)) => Some(labels),
            None => existing_labels(candidate, comparison, inventory),
        };
        let other = ComparedImage::of(labels);
        let mut rows = vec![self.commit_row(candidate, other.revision)];
        let image_recipe = other.recipe.as_ref();
        let digest_of_image = |name: &str| {
            let digest = image_recipe.and_then(|recipe| recipe.input(name));
            digest.map(ToString::to_string)
        };
        for input in &inputs {
            let mut current = Recipe::default();
            input.add_to(&mut current);
            rows.push(InputRow {
                name: input.name.to_string(),
                current: current.input(&input.name).map(ToString::to_string),
                image: digest_of_image(&input.name),
                from: self.location(candidate, input),
                value: shown(&input.value),
            });
        }
        rows.extend(self.needed_rows(candidate, &comparisons, other.needs.as_ref()));
        let bases = labels.and_then(|labels| recorded_bases(labels, inventory));
        let bases = bases.into_iter().flatten();
        rows.extend(bases.map(|base| self.base_row(candidate, &base)));
        let is_removed = |name: &str| inputs.iter().all(|input| input.name != name);
        let of_image = image_recipe.into_iter().flat_map(Recipe::inputs);
        rows.extend(
            of_image
                .filter(|(name, _)| is_removed(name))
                .map(|(name, digest)| removed_input(name, digest)),
        );
        Ok(Some(Explanation {
            heading: self.heading(candidate, comparison, against.map(|(image, _)| image)),
            rows,
            is_compared: image_recipe.is_some(),
        }))
    }

    fn heading(
        &self,
        candidate: &PlanCandidate<'_>,
        comparison: &ImageComparison,
        against: Option<&ImageReference>,
    ) -> Vec<(&'static str, String)> {
        let mut heading = vec![
            ("service", candidate.service.name.to_string()),
            ("image", candidate.image.to_string()),
        ];
        if candidate.image.repository().registry().is_some() {
            heading.push(("registry", comparison.registry.describe()));
        }
        heading.push(("engine", comparison.engine.describe()));
        let excluded = candidate.service.source.selection().excluded_text();
        heading.extend(excluded.map(|patterns| {
            let commit = candidate.source.commit.short();
            let text = format!("{commit}, the last one that changed anything but {patterns}");
            ("commit", text)
        }));
        heading.extend(against.map(|image| ("against", image.to_string())));
        heading
    }

    fn commit_row(&self, candidate: &PlanCandidate<'_>, revision: Option<String>) -> InputRow {
        let source = candidate.source;
        let chosen_by = match source.origin {
            ReferenceOrigin::Manifest => &candidate.service.source.reference_key().join("."),
            ReferenceOrigin::Branch => "--branch",
            ReferenceOrigin::Reference => "--reference",
            ReferenceOrigin::Lock => "the lock",
            ReferenceOrigin::WorkingCopy => "--local",
        };
        let reference = source.tip.name.as_deref().unwrap_or("a commit");
        InputRow {
            name: "commit".to_owned(),
            current: Some(source.commit.short()),
            image: revision.map(|revision| shortened(&revision, 8)),
            from: match source.origin {
                ReferenceOrigin::Manifest => {
                    self.line(candidate, &candidate.service.source.reference_key())
                }
                _ => chosen_by.to_owned(),
            },
            value: format!("{reference} of {}", candidate.service.source.url()),
        }
    }

    /// Returns a row for each needed image with a known ID, and the one that the image was built from.
    fn needed_rows(
        &self,
        candidate: &PlanCandidate<'_>,
        comparisons: &BTreeMap<ServiceName, ImageComparison>,
        built_from: Option<&NeededIds>,
    ) -> Vec<InputRow> {
        let rows = candidate.service.needs.iter().filter_map(|need| {
            let ids = comparisons.get(need)?.ids.as_ref()?;
            let current = shortened(ids.first()?, ID_DIGITS);
            let image = built_from.and_then(|it| it.get(need.as_str()));
            let image = image.map(|id| {
                if ids.contains(id) {
                    current.clone()
                } else {
                    shortened(id.strip_prefix("sha256:").unwrap_or(id), ID_DIGITS)
                }
            });
            Some(InputRow {
                name: format!("needs.{need}.image"),
                current: Some(current),
                image,
                from: NOTHING.to_owned(),
                value: format!("the image of {need}"),
            })
        });
        rows.collect()
    }

    /// Returns the row of a base image.
    fn base_row(&self, candidate: &PlanCandidate<'_>, base: &RecordedBase) -> InputRow {
        let short = |digest: &Digest| {
            let text = digest.as_str();
            shortened(text.strip_prefix("sha256:").unwrap_or(text), ID_DIGITS)
        };
        let is_tracked = candidate.service.docker.bases == BaseTracking::Track;
        let (current, value) = match &base.state {
            BaseState::Same => (Some(short(&base.digest)), "the registry's base image"),
            BaseState::Moved(now) if is_tracked => (Some(short(now)), "moved in its registry"),
            BaseState::Moved(now) => (
                Some(short(now)),
                "moved in its registry; nothing is built without `docker.bases: track`",
            ),
            BaseState::Absent => (None, "not in its registry"),
            BaseState::Unknown => (Some(UNKNOWN.to_owned()), "its registry did not respond"),
        };
        InputRow {
            name: format!("{BASES}{}", base.image.familiar_name()),
            current,
            image: Some(short(&base.digest)),
            from: self.line(candidate, &["docker", "bases"]),
            value: value.to_owned(),
        }
    }

    /// Returns where an input is set: a line of the manifest, a folder or a flag.
    fn location(&self, candidate: &PlanCandidate<'_>, input: &Input<'_>) -> String {
        let name = input.name.as_ref();
        if let Some(needed) = name.strip_prefix("needs.") {
            let needed = needed.parse().ok();
            let line = needed.and_then(|needed: ServiceName| {
                self.manifest.line_of_need(&candidate.service.name, &needed)
            });
            return in_file(self.manifest, line);
        }
        if let Some(line) = self.script_line(candidate, name) {
            return in_file(self.manifest, Some(line));
        }
        // Names of variables and arguments may contain dots.
        for (prefix, keys) in [
            ("docker.args.", ["docker", "args"]),
            ("dockerBuilder.env.", ["dockerBuilder", "env"]),
        ] {
            if let Some(last) = name.strip_prefix(prefix) {
                return self.line(candidate, &[keys[0], keys[1], last]);
            }
        }
        let keys: Vec<&str> = name.split('.').collect();
        self.line(candidate, &keys)
    }

    /// Returns the line of a setting of an item of the scripts, named as in `scripts.build[0].with.url`.
    fn script_line(&self, candidate: &PlanCandidate<'_>, name: &str) -> Option<usize> {
        let (phase, rest) = name.strip_prefix("scripts.")?.split_once('[')?;
        let (index, key) = rest.split_once("].")?;
        let index: usize = index.parse().ok()?;
        let mut phases = candidate.service.scripts.phases().into_iter();
        let (_, items) = phases.find(|(known, _)| known.as_str() == phase)?;
        match items.get(index)? {
            ScriptItem::Line(line) => Some(line.line),
            ScriptItem::Run(item) if key == "run" => item.lines.first().map(|line| line.line),
            ScriptItem::Run(item) => Some(item.line),
            ScriptItem::Plugin(plugin) => {
                let setting = key.strip_prefix("with.");
                let mut settings = plugin.with.entries.iter();
                let setting = settings.find(|entry| Some(entry.name.as_str()) == setting);
                Some(setting.map_or(plugin.line, |entry| entry.line))
            }
        }
    }

    fn line(&self, candidate: &PlanCandidate<'_>, keys: &[&str]) -> String {
        in_file(
            self.manifest,
            self.manifest.line_of(&candidate.service.name, keys),
        )
    }
}

fn in_file(manifest: &Manifest, line: Option<usize>) -> String {
    match line {
        Some(line) => format!("{}:{line}", manifest.file_name()),
        None => "default".to_owned(),
    }
}

/// Returns the labels of the existing image; the registry's takes precedence over the engine's.
fn existing_labels<'i>(
    candidate: &PlanCandidate<'_>,
    comparison: &ImageComparison,
    inventory: &'i Inventory,
) -> Option<&'i Labels> {
    let digest = comparison.digest.as_ref();
    let in_registry = digest.and_then(|digest| labels_of(candidate, digest, inventory)?.ok());
    let in_engine = inventory.in_engine(&candidate.image);
    in_registry.or(in_engine.map(|image| &image.labels))
}

fn removed_input(name: &str, digest: &InputDigest) -> InputRow {
    InputRow {
        name: name.chars().flat_map(char::escape_debug).collect(),
        current: None,
        image: Some(digest.to_string()),
        from: NOTHING.to_owned(),
        value: NOTHING.to_owned(),
    }
}

/// Returns the value of an input for display. Values of variables and build arguments are not shown, because they
/// may be secret; a template that consists only of placeholders is.
fn shown(value: &InputValue<'_>) -> String {
    match value {
        InputValue::Text(text) => shortened(text, LONGEST_VALUE),
        InputValue::Rendered(_, template) if template.is_only_placeholders() => {
            shortened(template.as_written(), LONGEST_VALUE)
        }
        InputValue::Rendered(..) => "(not shown)".to_owned(),
        InputValue::List(items) => {
            let mut lines = shown_lines(items);
            let first = shortened(lines.next().unwrap_or_default(), LONGEST_VALUE - 10);
            match lines.count() {
                0 => first,
                1 => format!("{first} (+1 line)"),
                more => format!("{first} (+{more} lines)"),
            }
        }
        InputValue::Content(name, content) => {
            format!("builders/{name}, content {}", content.short())
        }
        InputValue::Needed(tag, recipe) => {
            let commit = shortened(tag.as_str(), 8);
            format!("commit {commit}, recipe {}", recipe.digest())
        }
    }
}

/// Escapes a character that would change the line. Quotes and backslashes, of which settings have many, stay.
fn escaped(c: char) -> impl Iterator<Item = char> {
    let is_plain = matches!(c, '"' | '\'' | '\\');
    let (plain, escaped) = match is_plain {
        true => (Some(c), None),
        false => (None, Some(c.escape_debug())),
    };
    plain.into_iter().chain(escaped.into_iter().flatten())
}

fn shortened(text: &str, longest: usize) -> String {
    let mut characters = text.chars().flat_map(escaped);
    let start: String = characters.by_ref().take(longest).collect();
    match characters.next() {
        Some(_) if longest > 20 => format!("{start}…"),
        _ => start,
    }
}

impl Explanation {
    /// Returns the explanation as text, fitted to the terminal's width, if any, and followed by `conclusion`.
    pub fn display(&self, conclusion: Option<&str>, columns: Option<usize>) -> String {
        let heading: Vec<Vec<String>> = self
            .heading
            .iter()
            .map(|(name, value)| vec![(*name).to_owned(), value.clone()])
            .collect();
        let mut text = aligned(&heading);
        text.push('\n');
        let names = ["  INPUT", "CURRENT", "IMAGE", "FROM", "VALUE"];
        let mut table = vec![names.map(str::to_owned).to_vec()];
        table.extend(self.rows.iter().map(|row| self.cells(row)));
        text.push_str(&fit_to_terminal(table, columns));
        if let Some(conclusion) = conclusion {
            text.push_str(&format!("\n{conclusion}\n"));
        }
        text
    }

    fn cells(&self, row: &InputRow) -> Vec<String> {
        // An image without labels cannot differ.
        let differs = match row.name.as_str() {
            "commit" => row.image.is_some() && row.current != row.image,
            name if name.starts_with(BASES) => {
                let current = row.current.as_deref();
                current.is_some_and(|it| it != UNKNOWN) && row.current != row.image
            }
            _ => self.is_compared && row.current != row.image,
        };
        let mark = if differs { '*' } else { ' ' };
        let or_nothing = |text: &Option<String>| text.clone().unwrap_or_else(|| NOTHING.to_owned());
        vec![
            format!("{mark} {}", row.name),
            or_nothing(&row.current),
            or_nothing(&row.image),
            row.from.clone(),
            row.value.clone(),
        ]
    }
}

/// Returns the table. If it is too wide for the terminal, each value goes on its own line; if that is not enough,
/// together with its location.
fn fit_to_terminal(mut rows: Vec<Vec<String>>, columns: Option<usize>) -> String {
    let fits = |row: &str| columns.is_none_or(|columns| row.chars().count() <= columns);
    let without_values: Vec<Vec<String>> = rows
        .iter()
        .map(|row| row.iter().take(4).cloned().collect())
        .collect();
    if !aligned(&without_values).lines().all(fits) {
        for row in &mut rows {
            let from_and_value = row.split_off(3).join("  ");
            row.push(from_and_value);
        }
    }
    with_last_cell_below(rows, columns)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_narrow_terminal_shows_values_on_their_own_lines() {
        let row = |name: &str, from: &str, value: &str| InputRow {
            name: name.to_owned(),
            current: Some("12345678".to_owned()),
            image: None,
            from: from.to_owned(),
            value: value.to_owned(),
        };
        let explanation = Explanation {
            heading: vec![("service", "zback".to_owned())],
            rows: vec![
                row("commit", "x.yml:5", "master of a"),
                row("docker.file", "default", "Dockerfile"),
            ],
            is_compared: false,
        };
        let shown = |columns| explanation.display(Some("build: new"), columns);
        let wide = "\
service  zback

  INPUT        CURRENT   IMAGE  FROM     VALUE
  commit       12345678  -      x.yml:5  master of a
  docker.file  12345678  -      default  Dockerfile

build: new
";
        assert_eq!((shown(None), shown(Some(52))), (wide.into(), wide.into()));
        let below = "\
service  zback

  INPUT        CURRENT   IMAGE  FROM
  VALUE
  commit       12345678  -      x.yml:5
  master of a
  docker.file  12345678  -      default
  Dockerfile

build: new
";
        assert_eq!(
            (shown(Some(51)), shown(Some(39))),
            (below.into(), below.into())
        );
        let both_below = "\
service  zback

  INPUT        CURRENT   IMAGE
  FROM  VALUE
  commit       12345678  -
  x.yml:5  master of a
  docker.file  12345678  -
  default  Dockerfile

build: new
";
        assert_eq!(shown(Some(38)), both_below);
    }
}
