//! `xp schema`

use crate::cli::SchemaOf;
use crate::error::Failure;
use crate::{doctor, manifest, plan};

/// Prints a JSON Schema.
pub fn run(of: SchemaOf) -> Result<(), Failure> {
    super::print_json(&match of {
        SchemaOf::Manifest => manifest::schema(),
        SchemaOf::Plan => plan::schema(),
        SchemaOf::Doctor => doctor::schema(),
    })
}
