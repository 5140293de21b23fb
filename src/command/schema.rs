//! `xp schema`

use crate::base::error::Failure;
use crate::cli::SchemaName;
use crate::flow::platform_schema;
use crate::host::settings::Settings;
use crate::model::{check, clean, doctor, fleet, manifest, metadata, record};

/// Prints a JSON Schema that depends on no platform.
pub fn run(of: SchemaName) -> Result<(), Failure> {
    super::print_json(&match of {
        SchemaName::Manifest | SchemaName::Platform => manifest::schema(),
        SchemaName::Doctor => doctor::schema(),
        SchemaName::Check => check::schema(),
        SchemaName::Clean => clean::schema(),
        SchemaName::Events => record::schema(),
        SchemaName::Plan => record::plan_schema(),
        SchemaName::Metadata => metadata::schema(),
        SchemaName::Unit => fleet::schema(),
    })
}

/// Prints the JSON Schema of the manifest with the settings of the platform's plugins.
pub fn of_platform(settings: &Settings) -> Result<(), Failure> {
    super::print_json(&platform_schema::schema(settings))
}
