//! The worker's messages as lines of its log.
//!
//! Each line is a JSON object with a sequence number, so that a stream that was interrupted can be read again from a
//! little earlier without losing or repeating a message. Container runtimes split lines at 16 KiB, so a long message is
//! sent in parts. Other lines, such as those of a crash, are no messages.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::model::doctor::Finding;
use crate::model::event::{Event, Phase, Unit, UnitSummary};
use crate::model::image::{Digest, ImageReference};

/// The version of the stream.
pub const STREAM_VERSION: u64 = 1;

/// The maximum length of a message that is sent as a whole. A part is at most twice as long: quotes are escaped.
const LONGEST: usize = 5500;

/// The number of stray lines that are kept.
const STRAY_LINES: usize = 20;

/// The maximum length of a stray line.
const STRAY_LENGTH: usize = 500;

/// A message of the worker.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WorkerMessage {
    /// The first message.
    Begin {
        /// The version of the stream.
        version: u64,
        /// The version of xp.
        xp: String,
    },
    /// An event without bytes.
    Event(Box<Event>),
    /// Output of a step or sidecar.
    Output {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        phase: Option<Phase>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        sidecar: Option<String>,
        #[serde(flatten)]
        bytes: WireBytes,
    },
    /// A JUnit XML file.
    TestReport {
        file: String,
        #[serde(flatten)]
        bytes: WireBytes,
    },
    /// The last message: the outcome.
    End(Box<UnitEnd>),
    /// The last message of a probe.
    Findings(Vec<Finding>),
}

/// The outcome of a unit on the worker.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct UnitEnd {
    /// The result.
    pub summary: UnitSummary,
    /// Whether nothing was done, except to fetch its source.
    #[serde(default)]
    pub only_fetched: bool,
    /// The digest of the image that was pushed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
    /// Its identity tag.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<ImageReference>,
    /// Whether the registry did not allow moving the commit's tag to the image.
    #[serde(default)]
    pub is_commit_tag_refused: bool,
}

/// Bytes as text, or in base64 if they are not UTF-8.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WireBytes {
    Text(String),
    Base64(String),
}

impl From<&Bytes> for WireBytes {
    fn from(bytes: &Bytes) -> Self {
        match str::from_utf8(bytes) {
            Ok(text) => Self::Text(text.to_owned()),
            Err(_) => Self::Base64(STANDARD.encode(bytes)),
        }
    }
}

impl From<WireBytes> for Bytes {
    fn from(bytes: WireBytes) -> Self {
        match bytes {
            WireBytes::Text(text) => text.into(),
            // The worker wrote it, so it is valid.
            WireBytes::Base64(text) => STANDARD.decode(text).unwrap_or_default().into(),
        }
    }
}

impl WorkerMessage {
    /// Returns the message for an event of a unit; `None` for an event that only concerns the worker.
    pub fn of(event: Event) -> Option<Self> {
        Some(match event {
            Event::Output { phase, bytes, .. } => Self::Output {
                phase: Some(phase),
                sidecar: None,
                bytes: (&bytes).into(),
            },
            Event::SidecarOutput { sidecar, bytes, .. } => Self::Output {
                phase: None,
                sidecar: Some(sidecar),
                bytes: (&bytes).into(),
            },
            Event::TestReport { file, bytes, .. } => Self::TestReport {
                file,
                bytes: (&bytes).into(),
            },
            event @ (Event::StepStarted { .. }
            | Event::StepFinished { .. }
            | Event::Progress { .. }
            | Event::PhaseRestored { .. }
            | Event::SidecarStarted { .. }
            | Event::SidecarReady { .. }
            | Event::SidecarEnded { .. }
            | Event::Note { .. }
            | Event::Warning { .. }
            | Event::Retrying { .. }) => Self::Event(Box::new(event)),
            _ => return None,
        })
    }

    /// Returns the event of a unit; `None` for the first and the last message.
    pub fn into_event(self, unit: &Unit) -> Option<Event> {
        let unit = unit.clone();
        match self {
            Self::Event(event) => Some(*event),
            Self::Output {
                sidecar: Some(sidecar),
                bytes,
                ..
            } => Some(Event::SidecarOutput {
                unit,
                sidecar,
                bytes: bytes.into(),
            }),
            Self::Output { phase, bytes, .. } => Some(Event::Output {
                unit,
                phase: phase?,
                bytes: bytes.into(),
            }),
            Self::TestReport { file, bytes } => Some(Event::TestReport {
                unit,
                file,
                copy: String::new(),
                bytes: bytes.into(),
            }),
            Self::Begin { .. } | Self::End(_) | Self::Findings(_) => None,
        }
    }
}

/// A line of the log.
#[derive(Default, Serialize, Deserialize)]
struct Line {
    seq: u64,
    /// A whole message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    message: Option<WorkerMessage>,
    /// A part of the text of one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    part: Option<String>,
    /// Whether it is the first part.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    first: bool,
    /// Whether it is the last part.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    last: bool,
}

/// Turns messages into lines.
#[derive(Debug, Default)]
pub struct LineWriter {
    next: u64,
}

impl LineWriter {
    /// Returns the lines of a message, each with its line end.
    ///
    /// # Errors
    ///
    /// The message cannot be written as JSON.
    pub fn lines(&mut self, message: WorkerMessage) -> serde_json::Result<String> {
        let text = serde_json::to_string(&message)?;
        if text.len() <= LONGEST {
            return self.line(Line {
                message: Some(message),
                ..Line::default()
            });
        }
        let mut lines = String::new();
        let mut rest = text.as_str();
        while !rest.is_empty() {
            let (part, remaining) = rest.split_at(rest.floor_char_boundary(LONGEST));
            lines.push_str(&self.line(Line {
                part: Some(part.to_owned()),
                first: lines.is_empty(),
                last: remaining.is_empty(),
                ..Line::default()
            })?);
            rest = remaining;
        }
        Ok(lines)
    }

    fn line(&mut self, line: Line) -> serde_json::Result<String> {
        let seq = self.next;
        self.next += 1;
        let mut line = serde_json::to_string(&Line { seq, ..line })?;
        line.push('\n');
        Ok(line)
    }
}

/// Reads the messages of a log, which may be read several times from different positions.
#[derive(Debug, Default)]
pub struct LineReader {
    next: u64,
    /// The parts of a message that has not ended.
    parts: Option<String>,
    /// The number of lines that were lost since the last call of [`LineReader::take_lost`].
    lost: u64,
    /// The time of the last line, from which to read again.
    time: Option<String>,
    /// The last lines that are no messages.
    stray: Vec<String>,
}

impl LineReader {
    /// Takes a line with the time in front of it, as the cluster reports it.
    pub fn push(&mut self, line: &str) -> Option<WorkerMessage> {
        let (time, text) = line.split_once(' ').unwrap_or(("", line));
        let is_new = self.time.as_deref().is_none_or(|last| last < time);
        if is_new && time.starts_with(|c: char| c.is_ascii_digit()) {
            self.time = Some(time.to_owned());
        }
        let Ok(line) = serde_json::from_str::<Line>(text) else {
            if is_new && !text.trim().is_empty() {
                self.keep_stray(text);
            }
            return None;
        };
        if line.seq < self.next {
            return None;
        }
        if line.seq > self.next {
            self.lost += line.seq - self.next;
            self.parts = None;
        }
        self.next = line.seq + 1;
        let Some(part) = line.part else {
            self.parts = None;
            return line.message;
        };
        if line.first {
            self.parts = Some(String::new());
        }
        // After lost lines, it may be the middle of a message.
        self.parts.as_mut()?.push_str(&part);
        if !line.last {
            return None;
        }
        let text = self.parts.take()?;
        match serde_json::from_str(&text) {
            Ok(message) => Some(message),
            Err(_) => {
                self.lost += 1;
                None
            }
        }
    }

    /// Returns the time from which to read the log again, in whole seconds as the cluster reads it.
    pub fn since(&self) -> Option<String> {
        let time = self.time.as_deref()?;
        let seconds = time.split(['.', 'Z']).next()?;
        Some(format!("{seconds}Z"))
    }

    /// Returns whether any message was read.
    pub fn has_begun(&self) -> bool {
        self.next > 0
    }

    /// Returns how many lines were lost since the last call.
    pub fn take_lost(&mut self) -> u64 {
        std::mem::take(&mut self.lost)
    }

    /// Returns the last lines that are no messages, such as those of a crash.
    pub fn stray_lines(&self) -> &[String] {
        &self.stray
    }

    fn keep_stray(&mut self, text: &str) {
        if self.stray.len() == STRAY_LINES {
            self.stray.remove(0);
        }
        let end = text.floor_char_boundary(STRAY_LENGTH);
        self.stray.push(text[..end].to_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unit() -> Unit {
        Unit::Service("zbackend".parse().unwrap())
    }

    fn output(bytes: &'static [u8]) -> Event {
        Event::Output {
            unit: unit(),
            phase: Phase::Build,
            bytes: Bytes::from_static(bytes),
        }
    }

    fn logged(writer: &mut LineWriter, event: Event, time: &str) -> Vec<String> {
        let message = WorkerMessage::of(event).unwrap();
        let lines = writer.lines(message).unwrap();
        lines.lines().map(|line| format!("{time} {line}")).collect()
    }

    #[test]
    fn events_survive_the_log() {
        let long = "\u{1b}[31m\"ä\\".repeat(4000);
        let events = [
            output(b"text\n"),
            output(b"\xff\x00binary"),
            Event::Output {
                unit: unit(),
                phase: Phase::Build,
                bytes: long.into(),
            },
            Event::warning("w"),
            Event::SidecarOutput {
                unit: unit(),
                sidecar: "db".to_owned(),
                bytes: Bytes::from_static(b"ready"),
            },
            Event::TestReport {
                unit: unit(),
                file: "a.xml".to_owned(),
                copy: String::new(),
                bytes: Bytes::from_static(b"<a/>"),
            },
        ];
        let (mut writer, mut reader) = (LineWriter::default(), LineReader::default());
        for event in events {
            let lines = logged(&mut writer, event.clone(), "2026-11-30T02:00:00.5Z");
            assert!(lines.iter().all(|line| line.len() < 12 * 1024));
            let read: Vec<Event> = lines
                .iter()
                .filter_map(|line| reader.push(line)?.into_event(&unit()))
                .collect();
            assert_eq!(read, [event]);
        }
        assert_eq!(reader.take_lost(), 0);
        assert_eq!(reader.since().as_deref(), Some("2026-11-30T02:00:00Z"));
        assert!(WorkerMessage::of(Event::Interrupted).is_none());
    }

    #[test]
    fn a_stream_that_is_read_again_repeats_nothing() {
        let mut writer = LineWriter::default();
        let mut lines = Vec::new();
        for number in 0..50 {
            let time = format!("2026-11-30T02:00:{:02}.1Z", number / 10);
            let text = format!("{number}{}\n", "x".repeat(number * 300));
            let event = Event::Output {
                unit: unit(),
                phase: Phase::Build,
                bytes: text.into(),
            };
            lines.extend(logged(&mut writer, event, &time));
        }
        // Interrupted after every line, and read again from the second of the last one.
        for cut in 0..lines.len() {
            let mut reader = LineReader::default();
            let mut read: Vec<WorkerMessage> = lines[..cut]
                .iter()
                .filter_map(|line| reader.push(line))
                .collect();
            let since = reader.since().unwrap_or_default();
            let again = lines
                .iter()
                .filter(|line| line.as_str() >= since.trim_end_matches('Z'));
            read.extend(again.filter_map(|line| reader.push(line)));
            assert_eq!(read.len(), 50, "{cut}");
            assert_eq!(reader.take_lost(), 0);
        }
    }

    #[test]
    fn lost_lines_are_counted_and_never_joined() {
        let mut writer = LineWriter::default();
        let long = || Event::warning("y".repeat(20_000));
        let one = logged(&mut writer, long(), "1");
        let two = logged(&mut writer, long(), "2");
        let end = logged(&mut writer, Event::note("end"), "3");
        let mut reader = LineReader::default();
        // The log was rotated: the end of the first message and the start of the second one are missing.
        let read: Vec<WorkerMessage> = one[..1]
            .iter()
            .chain(&two[1..])
            .chain(&end)
            .filter_map(|line| reader.push(line))
            .collect();
        assert_eq!(read.len(), 1);
        assert_eq!(reader.take_lost(), one.len() as u64);
        assert_eq!(reader.take_lost(), 0);
    }

    #[test]
    fn other_lines_are_kept_once() {
        let mut reader = LineReader::default();
        for _ in 0..2 {
            assert!(
                reader
                    .push("2026-11-30T02:00:00.1Z panicked at x")
                    .is_none()
            );
            assert!(reader.push("2026-11-30T02:00:00.2Z 42").is_none());
        }
        assert_eq!(reader.stray_lines(), ["panicked at x", "42"]);
        assert!(!reader.has_begun());
    }
}
