//! The manifest's text, kept for errors that are found after parsing.

/// A manifest's text, and the path shown in its errors.
#[derive(Debug)]
pub(crate) struct ManifestText {
    /// The path as the user specified it.
    pub path: String,
    /// The text; empty if the file could not be read.
    pub text: String,
}
