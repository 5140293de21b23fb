//! The contract of plugins: images that perform a step by their own entrypoint.

mod label;
mod rejected;
mod schema;
mod validate;

pub use label::{LABEL_PLUGIN, PluginDescription, PluginKind};
pub use schema::SettingsSchema;
pub(crate) use validate::problems;
