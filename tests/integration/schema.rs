//! Validation of JSON output against its published schema.

use crate::context::Context;

/// Validates a document, or one document per line, with an independent validator.
pub fn assert_follows(t: &Context, name: &str, documents: &str) {
    let schema = format!("{}/schema/{name}.schema.json", env!("CARGO_MANIFEST_DIR"));
    t.write("documents.json", documents);
    let program = "import json, sys, jsonschema\n\
        schema = json.load(open(sys.argv[1]))\n\
        jsonschema.Draft7Validator.check_schema(schema)\n\
        validator = jsonschema.Draft7Validator(schema)\n\
        decoder, text = json.JSONDecoder(), open(sys.argv[2]).read().strip()\n\
        while text:\n\
        \x20   document, end = decoder.raw_decode(text)\n\
        \x20   validator.validate(document)\n\
        \x20   text = text[end:].lstrip()\n";
    t.program("python3", ["-c", program, &schema, "documents.json"])
        .success();
}
