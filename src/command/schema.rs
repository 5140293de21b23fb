//! `xp schema`

use crate::base::error::Failure;
use crate::cli::SchemaOf;
use crate::model::{doctor, manifest, record};

/// Prints a JSON Schema.
pub fn run(of: SchemaOf) -> Result<(), Failure> {
    super::print_json(&match of {
        SchemaOf::Manifest => manifest::schema(),
        SchemaOf::Doctor => doctor::schema(),
        SchemaOf::Events => record::schema(),
        SchemaOf::Plan => record::plan_schema(),
    })
}
