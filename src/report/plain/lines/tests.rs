use time::OffsetDateTime;

use super::*;
use crate::model::event::{FailedStep, Measure};
use crate::report::Ci;
use crate::report::shared_output::SharedOutput;

struct CapturedLines {
    lines: Lines,
    output: SharedOutput,
}

impl CapturedLines {
    fn new(settings: OutputSettings) -> Self {
        let output = SharedOutput::default();
        let (manifest, folder) = (Path::new("/ws/product/x-platform.yml"), PathBuf::new());
        let lines = Lines::printing_to(Box::new(output.clone()), settings, manifest, folder);
        Self { lines, output }
    }

    fn text(&self) -> String {
        self.output.take()
    }

    fn output(&mut self, bytes: &'static [u8]) {
        self.lines.draw(&Event::Output {
            unit: unit(),
            phase: Phase::Build,
            bytes: bytes::Bytes::from_static(bytes),
        });
    }

    fn begin(&mut self) {
        self.lines.draw(&Event::UnitStarted { unit: unit() });
        self.lines.draw(&Event::StepStarted {
            unit: unit(),
            phase: Phase::Build,
            title: "make".to_owned(),
        });
    }
}

fn unit() -> Unit {
    Unit::Service("app".parse().unwrap())
}

fn prefixed(log_prefix: LogPrefix) -> OutputSettings {
    OutputSettings {
        log_prefix,
        ..OutputSettings::default()
    }
}

#[test]
fn lines_are_prefixed_with_their_unit() {
    let mut log = CapturedLines::new(prefixed(LogPrefix::Service));
    log.begin();
    log.output(b"one\n\n  two  \nthr");
    assert_eq!(
        log.text(),
        "app | build: make\napp | one\napp |\napp |   two\n"
    );
    log.output(b"ee\n");
    assert_eq!(log.text(), "app | three\n");
}

#[test]
fn empty_lines_take_no_longer_than_others() {
    const EMPTY: &[u8] = &[b'\n'; 1 << 20];
    let begun = Instant::now();
    let mut log = CapturedLines::new(prefixed(LogPrefix::None));
    log.begin();
    log.text();
    log.output(EMPTY);
    assert_eq!(log.text().as_bytes(), EMPTY);
    // Takes less than a second; a quadratic implementation took hours.
    assert!(begun.elapsed() < Duration::from_secs(60));
}

#[test]
fn control_characters_are_removed() {
    let mut log = CapturedLines::new(prefixed(LogPrefix::Service));
    log.lines.draw(&Event::StepStarted {
        unit: unit(),
        phase: Phase::Build,
        title: "printf '\x1b[2J\r'\nmake".to_owned(),
    });
    log.lines
        .draw(&Event::warning("a remote says \x1b]0;title\x07".to_owned()));
    assert_eq!(
        log.text(),
        "app | build: printf '[2J'\napp |        make\nwarning: a remote says ]0;title\n"
    );
}

#[test]
fn without_a_prefix_only_output_is_unprefixed() {
    let mut log = CapturedLines::new(prefixed(LogPrefix::None));
    log.begin();
    log.output(b"one\n\n  two\n");
    assert_eq!(log.text(), "app | build: make\none\n\n  two\n");
}

#[test]
fn times_are_in_utc() {
    let mut log = CapturedLines::new(prefixed(LogPrefix::Time));
    log.begin();
    log.output(b"one\n");
    let text = log.text();
    for line in text.lines() {
        let (time, rest) = line.split_once(' ').unwrap();
        assert!(rest.starts_with("app | "), "{line}");
        let parsed = OffsetDateTime::parse(time, &time::format_description::well_known::Rfc3339);
        let age = OffsetDateTime::now_utc() - parsed.unwrap();
        assert!(age < Duration::from_secs(60) && time.len() == 24, "{line}");
    }
}

#[test]
fn a_silent_unit_is_reported_as_running() {
    let mut log = CapturedLines::new(prefixed(LogPrefix::Service));
    log.begin();
    log.lines.draw(&Event::Progress {
        unit: unit(),
        phase: Phase::Push,
        measure: Measure::Bytes,
        done: 1_000_000,
        total: Some(4_000_000),
        bytes: 1_000_000,
    });
    log.text();
    let now = Instant::now();
    log.lines.tick(now + Duration::from_secs(59));
    assert_eq!(log.text(), "");
    log.lines.tick(now + Duration::from_secs(61));
    let text = log.text();
    assert!(
        text.starts_with("app | build: still running after 1m0"),
        "{text}"
    );
    assert!(text.ends_with("s, 1.00 MB of 4.00 MB\n"), "{text}");
    log.lines.tick(now + Duration::from_secs(100));
    assert_eq!(log.text(), "");
}

#[test]
fn a_failure_is_annotated_at_its_line_in_the_manifest() {
    let settings = OutputSettings {
        ci: Ci::GitHub,
        workspace: PathBuf::from("/ws"),
        log_prefix: LogPrefix::None,
        ..OutputSettings::default()
    };
    let mut log = CapturedLines::new(settings);
    log.begin();
    log.output(b"::endgroup::\n");
    let step = FailedStep {
        hints: vec!["look".to_owned()],
        line: Some(7),
        tail: vec!["100% of 7".to_owned(), ": :endgroup::".to_owned()],
        ..FailedStep::new(Phase::Build, "`make` exited with 2".to_owned())
    };
    let ended = UnitSummary {
        elapsed: Duration::from_secs(1),
        ..UnitSummary::failed(step)
    };
    log.lines.ended(&unit(), &ended);
    log.lines.finish();
    assert_eq!(
        log.text(),
        "::group::app\napp | build: make\n: :endgroup::\n::endgroup::\n\
         app | FAILED after 1.0s: build: `make` exited with 2\n\
         ::error file=product/x-platform.yml,line=7,title=app%3A build failed\
         ::`make` exited with 2%0Ahint: look%0A%0AThe end of its log:%0A100%25 of 7%0A: :endgroup::\n"
    );
}
