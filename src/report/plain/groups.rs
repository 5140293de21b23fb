//! Groups each unit's output in a CI system's log.
//!
//! Groups can neither nest nor interleave, so one of the running units is *live*: its group is open, and
//! its lines are printed immediately. Output of the others is buffered, and printed as a group when both
//! they and the live unit have ended. Their start and end are reported immediately, in the open group.

use std::io::Write;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use super::ci::Ci;
use super::line_buffer::LineBuffer;
use crate::model::event::Unit;

/// Prints lines, grouped if the CI system supports it.
pub struct Groups {
    ci: Ci,
    output: Box<dyn Write + Send>,
    /// For buffered lines that do not fit in memory.
    folder: PathBuf,
    /// Started units that are not completely printed, in the order of their start, including the live
    /// one.
    units: Vec<Group>,
    live: Option<Unit>,
}

struct Group {
    unit: Unit,
    started: u64,
    lines: LineBuffer,
    end: Option<GroupEnd>,
}

struct GroupEnd {
    at: u64,
    failed: bool,
    /// Lines after the group.
    closing: String,
}

impl Groups {
    /// Prints to `output`; `folder` is for buffered lines.
    pub fn new(ci: Ci, output: Box<dyn Write + Send>, folder: PathBuf) -> Self {
        Self {
            ci,
            output,
            folder,
            units: Vec::new(),
            live: None,
        }
    }

    /// Prints messages of xp immediately, inside or outside of a group.
    pub fn print(&mut self, lines: &str) {
        write(&mut self.output, lines);
    }

    /// Starts a unit; `line` is printed if another one is live.
    pub fn begin(&mut self, unit: &Unit, line: &str) {
        if !self.ci.has_groups() {
            return;
        }
        self.units.push(Group {
            unit: unit.clone(),
            started: now(),
            lines: LineBuffer::default(),
            end: None,
        });
        match self.live {
            None => self.go_live(),
            Some(_) => self.print(line),
        }
    }

    /// Prints lines of a unit, now or later in its group.
    pub fn print_of(&mut self, unit: &Unit, lines: &str) {
        if self.live.as_ref() != Some(unit)
            && let Some(group) = self.units.iter_mut().find(|group| group.unit == *unit)
        {
            group.lines.push(lines, &self.folder);
        } else {
            write(&mut self.output, lines);
        }
    }

    /// Ends a unit; `line` has its result, `problems` its annotations.
    pub fn end(&mut self, unit: &Unit, failed: bool, line: &str, problems: &str) {
        let closing = format!("{line}{problems}");
        let end = GroupEnd {
            at: now(),
            failed,
            closing,
        };
        match &self.live {
            None => return self.print(&end.closing),
            Some(live) if live == unit => {}
            // Printed now, and again below its own group.
            Some(_) => write(&mut self.output, line),
        }
        match self.units.iter_mut().find(|group| group.unit == *unit) {
            Some(group) => group.end = Some(end),
            // Never started, for example because a dependency failed.
            None => self.units.push(Group {
                unit: unit.clone(),
                started: end.at,
                lines: LineBuffer::default(),
                end: Some(end),
            }),
        }
        if self.live.as_ref() == Some(unit) {
            self.close_live();
            self.print_ended();
            self.go_live();
        }
    }

    /// Closes the open group and prints all buffered lines.
    pub fn finish(&mut self) {
        self.close_live();
        self.print_ended();
        while !self.units.is_empty() {
            let group = self.units.remove(0);
            self.print_whole(group);
        }
    }

    /// Opens the group of the unit that has been running longest.
    fn go_live(&mut self) {
        let (ci, output) = (self.ci, &mut self.output);
        let Some(group) = self.units.iter_mut().find(|group| group.end.is_none()) else {
            return;
        };
        write(
            output,
            &ci.open(&group.unit.to_string(), group.started, true),
        );
        _ = std::mem::take(&mut group.lines).copy_to(output);
        self.live = Some(group.unit.clone());
    }

    fn close_live(&mut self) {
        let Some(unit) = self.live.take() else {
            return;
        };
        write(&mut self.output, &self.ci.close(&unit.to_string(), now()));
        if let Some(at) = self.units.iter().position(|group| group.unit == unit) {
            let end = self.units.remove(at).end;
            self.print(&end.map(|end| end.closing).unwrap_or_default());
        }
    }

    fn print_ended(&mut self) {
        let (mut ended, running): (Vec<_>, Vec<_>) = std::mem::take(&mut self.units)
            .into_iter()
            .partition(|group| group.end.is_some());
        self.units = running;
        ended.sort_by_key(|group| group.end.as_ref().map(|end| end.at));
        for group in ended {
            self.print_whole(group);
        }
    }

    fn print_whole(&mut self, group: Group) {
        let (ci, output) = (self.ci, &mut self.output);
        let name = group.unit.to_string();
        let (at, failed) = group
            .end
            .as_ref()
            .map_or((now(), false), |end| (end.at, end.failed));
        if !group.lines.is_empty() {
            // Failures are not collapsed.
            write(output, &ci.open(&name, group.started, !failed));
            _ = group.lines.copy_to(output);
            write(output, &ci.close(&name, at));
        }
        write(
            output,
            &group.end.map(|end| end.closing).unwrap_or_default(),
        );
    }
}

fn write(output: &mut impl Write, text: &str) {
    // A closed pipe must not stop the work.
    _ = output.write_all(text.as_bytes());
}

/// Returns the seconds since the Unix epoch.
fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::shared_output::SharedOutput;

    struct GroupedLog {
        groups: Groups,
        output: SharedOutput,
    }

    impl GroupedLog {
        fn new(ci: Ci) -> Self {
            let output = SharedOutput::default();
            let folder = std::env::temp_dir();
            let groups = Groups::new(ci, Box::new(output.clone()), folder);
            Self { groups, output }
        }

        fn begin(&mut self, name: &str) {
            self.groups.begin(&unit(name), &format!("{name} started\n"));
        }

        fn print(&mut self, name: &str, line: &str) {
            self.groups.print_of(&unit(name), &format!("{line}\n"));
        }

        fn end(&mut self, name: &str) {
            let line = format!("{name} is done\n");
            self.groups.end(&unit(name), false, &line, "");
        }

        fn text(self) -> String {
            self.output.take()
        }
    }

    fn unit(name: &str) -> Unit {
        Unit::Service(name.parse().unwrap())
    }

    #[test]
    fn one_unit_is_live_and_the_others_follow_in_their_groups() {
        let mut log = GroupedLog::new(Ci::GitHub);
        log.begin("a");
        log.begin("b");
        log.print("b", "b1");
        log.print("a", "a1");
        log.begin("c");
        log.print("c", "c1");
        log.end("b");
        log.print("a", "a2");
        log.end("a");
        log.print("c", "c2");
        log.end("c");
        log.begin("d");
        log.end("d");
        log.groups.finish();
        assert_eq!(
            log.text(),
            "::group::a\nb started\na1\nc started\nb is done\na2\n::endgroup::\na is done\n\
             ::group::b\nb1\n::endgroup::\nb is done\n\
             ::group::c\nc1\nc2\n::endgroup::\nc is done\n\
             ::group::d\n::endgroup::\nd is done\n"
        );
    }

    #[test]
    fn a_unit_that_never_started_has_no_group() {
        let mut log = GroupedLog::new(Ci::GitHub);
        log.begin("a");
        log.end("b");
        log.end("a");
        log.end("c");
        assert_eq!(
            log.text(),
            "::group::a\nb is done\n::endgroup::\na is done\nb is done\nc is done\n"
        );
    }

    #[test]
    fn an_interrupted_run_prints_all_buffered_lines() {
        let mut log = GroupedLog::new(Ci::GitHub);
        log.begin("a");
        log.begin("b");
        log.print("b", "b1");
        log.groups.finish();
        assert_eq!(
            log.text(),
            "::group::a\nb started\n::endgroup::\n::group::b\nb1\n::endgroup::\n"
        );
    }

    #[test]
    fn failures_are_not_collapsed_and_annotated_once() {
        let mut log = GroupedLog::new(Ci::GitLab);
        log.begin("a");
        log.begin("b");
        log.print("b", "b1");
        log.groups
            .end(&unit("b"), true, "b failed\n", "a problem\n");
        log.end("a");
        let text = log.text();
        let text: String = text.chars().filter(|c| !c.is_ascii_digit()).collect();
        assert_eq!(
            text,
            "section_start::xp_a[collapsed=true]\r\x1b[Ka\nb started\nb failed\n\
             section_end::xp_a\r\x1b[K\na is done\n\
             section_start::xp_b\r\x1b[Kb\nb\nsection_end::xp_b\r\x1b[K\nb failed\na problem\n"
        );
    }

    #[test]
    fn without_a_ci_system_lines_are_printed_immediately() {
        let mut log = GroupedLog::new(Ci::Plain);
        log.begin("a");
        log.begin("b");
        log.print("b", "b1");
        log.print("a", "a1");
        log.end("b");
        log.end("a");
        assert_eq!(log.text(), "b1\na1\nb is done\na is done\n");
    }
}
