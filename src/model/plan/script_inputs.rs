//! The inputs of a recipe that are scripts.
//!
//! A phase of shell lines is one input. Each other item has inputs of its own, one per setting, and is only counted in
//! the phase's input, so that a reason can name what changed.

use super::recipe::{Folders, Input, InputValue};
use crate::model::manifest::{ScriptItem, ScriptLine};

/// Stands for an item that is not a shell line, which cannot contain this character.
const OTHER_ITEM: &str = "\0";

/// Adds the inputs of a phase.
pub(super) fn script_inputs<'b>(
    phase: &'static str,
    items: &'b [ScriptItem],
    folders: &Folders,
    inputs: &mut Vec<Input<'b>>,
) {
    if items.is_empty() {
        return;
    }
    let lines = items.iter().map(|item| match item {
        ScriptItem::Line(line) => line.text.as_str(),
        ScriptItem::Run(_) | ScriptItem::Plugin(_) => OTHER_ITEM,
    });
    inputs.push(Input {
        name: format!("scripts.{phase}").into(),
        value: InputValue::List(lines.collect()),
    });
    for (index, item) in items.iter().enumerate() {
        let key = format!("scripts.{phase}[{index}]");
        match item {
            ScriptItem::Line(_) => {}
            ScriptItem::Run(item) => {
                inputs.extend(Input::image(format!("{key}.image"), &item.image, folders));
                let text = |line: &'b ScriptLine| line.text.as_str();
                inputs.push(Input {
                    name: format!("{key}.run").into(),
                    value: InputValue::List(item.lines.iter().map(text).collect()),
                });
            }
            ScriptItem::Plugin(plugin) => {
                inputs.extend(Input::image(
                    format!("{key}.plugin"),
                    &plugin.image,
                    folders,
                ));
                for entry in &plugin.with.entries {
                    let name = format!("{key}.with.{}", entry.name);
                    inputs.push(Input::text(name, entry.value.canonical()));
                }
                // Only the IDs: a new token does not change the result.
                if !plugin.secrets.is_empty() {
                    inputs.push(Input {
                        name: format!("{key}.secrets").into(),
                        value: InputValue::List(
                            plugin.secrets.keys().map(String::as_str).collect(),
                        ),
                    });
                }
            }
        }
    }
}

/// Returns the lines of a list for display, without what stands for other items.
pub(super) fn shown_lines<'i>(items: &'i [&'i str]) -> impl Iterator<Item = &'i str> {
    items.iter().flat_map(|item| match *item {
        OTHER_ITEM => "…".lines(),
        text => text.lines(),
    })
}
