//! The JSON Schema of a platform's manifest, with the settings of its plugins.

use std::collections::BTreeMap;

use serde_json::Value;

use super::session::manifest_file;
use super::survey;
use crate::host::settings::Settings;
use crate::model::manifest::{self, BuilderName, Manifest};
use crate::model::plugin::{PluginDescription, PluginKind, SettingsSchema};

/// Returns the schema of every manifest, with the settings of the plugins in the platform's builder folders. Without a
/// platform, and for folders that cannot be read, it has no settings.
pub fn schema(settings: &Settings) -> Value {
    let file = manifest_file(settings).ok();
    let manifest = file.and_then(|file| manifest::open(&file).ok());
    let plugins = manifest.map(|partial| plugins(partial.manifest()));
    manifest::schema_with_plugins(&plugins.unwrap_or_default())
}

/// Returns the schemas of the settings of steps, by folder.
fn plugins(manifest: &Manifest) -> BTreeMap<BuilderName, Value> {
    let names = survey::builder_names(manifest).into_iter();
    let plugins = names.filter_map(|name| {
        let (_, folder) = survey::folder_builder(manifest, &name).ok()?;
        let description = PluginDescription::parse(&folder.plugin?).ok()?;
        let is_step = description.kind == PluginKind::Step;
        let with = description.with.unwrap_or(Value::Bool(true));
        // Not all editors understand references.
        let with = SettingsSchema::new(&with).ok()?.inlined();
        is_step.then_some((name, with))
    });
    plugins.collect()
}
