//! `xp schema`

use crate::base::error::Failure;
use crate::cli::SchemaName;
use crate::model::{check, doctor, manifest, metadata, record};

/// Prints a JSON Schema.
pub fn run(of: SchemaName) -> Result<(), Failure> {
    super::print_json(&match of {
        SchemaName::Manifest => manifest::schema(),
        SchemaName::Doctor => doctor::schema(),
        SchemaName::Check => check::schema(),
        SchemaName::Events => record::schema(),
        SchemaName::Plan => record::plan_schema(),
        SchemaName::Metadata => metadata::schema(),
    })
}
