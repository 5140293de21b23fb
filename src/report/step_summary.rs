//! The job summary of GitHub Actions: a file to which each step adds Markdown.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;

use super::RunReport;

/// The largest summary that GitHub accepts from a step: 1 MiB.
const LIMIT: u64 = 1 << 20;

/// Adds the report of a run.
///
/// # Errors
///
/// The file cannot be written, or is full.
pub fn append(path: &Path, report: &RunReport<'_>) -> io::Result<()> {
    let mut file = File::options().create(true).append(true).open(path)?;
    let used = file.metadata()?.len();
    let room = LIMIT.saturating_sub(used + 1);
    let text = report.markdown(usize::try_from(room).unwrap_or(usize::MAX));
    if text.is_empty() {
        return Err(io::Error::other("it has reached the limit of 1 MiB"));
    }
    // A line without line break would continue in the heading.
    let separator = if used > 0 { "\n" } else { "" };
    file.write_all(format!("{separator}{text}").as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::record::RunRecord;

    #[test]
    fn a_summary_grows_up_to_the_limit() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("summary");
        let record = RunRecord {
            command: "xp build".to_owned(),
            exit: Some(0),
            ..RunRecord::default()
        };
        let report = RunReport::new(&record, None, &[]);
        std::fs::write(&path, "of an earlier command").unwrap();
        append(&path, &report).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains("command\n<!--"), "{text}");
        assert!(text.contains("\n## `xp build`: nothing to do\n"), "{text}");
        let full = "x".repeat(usize::try_from(LIMIT).unwrap() - 100);
        std::fs::write(&path, &full).unwrap();
        let error = append(&path, &report).unwrap_err();
        assert!(error.to_string().contains("1 MiB"), "{error}");
        assert_eq!(std::fs::metadata(&path).unwrap().len(), full.len() as u64);
    }
}
