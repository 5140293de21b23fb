//! Fuzz targets of the reports: see `fuzzing`.

use super::text::{LineSplitter, clean, first_line, shortened};
use super::{RunReport, RunState};
use crate::model::record::RunRecord;
use crate::store::runs::Run;

/// Output of a program, cleaned for a terminal.
pub fn log(bytes: &[u8]) {
    let shown = clean(bytes);
    assert!(!shown.contains(char::is_control), "{shown:?}");
    let short = shortened(&shown, 20);
    assert!(super::text::width(&short) <= 20, "{short:?}");
    _ = first_line(&shown);
    let mut lines = LineSplitter::default();
    for chunk in bytes.chunks(5) {
        for line in lines.push(chunk) {
            assert!(!line.contains(char::is_control), "{line:?}");
        }
    }
    _ = lines.flush();
}

/// A JUnit file that scripts wrote: what is passed on is well-formed.
pub fn test_report(bytes: &[u8]) {
    if let Some(xml) = super::document::suite_of_file(bytes) {
        assert!(roxmltree::Document::parse(&xml).is_ok(), "{xml}");
    }
}

/// The documents of a run: the XML is well-formed, and the page has no script but its own.
pub(crate) fn record(record: &RunRecord) {
    let run = Run {
        number: 1,
        folder: "/nowhere".into(),
    };
    _ = RunState::new(record, false);
    for now in [None, Some(1.0)] {
        let report = RunReport::new(record, now, &[]);
        let xml = report.junit(&run);
        assert!(roxmltree::Document::parse(&xml).is_ok(), "{xml}");
        let html = report.html(&run);
        assert_eq!(html.matches("<script").count(), 1, "{html}");
    }
}
