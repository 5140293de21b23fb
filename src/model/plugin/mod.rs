//! The contract of plugins: images that perform a step by their own entrypoint.

mod label;
mod rejected;
mod schema;
mod validate;

/// The exit code of a plugin if something outside refused or failed, such as a server.
pub const OUTSIDE: i64 = 3;

pub use label::{LABEL_PLUGIN, PluginDescription, PluginKind};
pub use schema::SettingsSchema;
pub(crate) use validate::{PluginUse, problems};
