//! Live bars: a line for each running unit, with its phase, its last output and its time.

use std::collections::HashMap;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::terminal::{NoControlEcho, columns};
use super::text::{LineSplitter, last_lines, paint, shortened};
use super::{Ended, Settings, summary};
use crate::event::{Event, Phase, Unit};

/// How often a bar's clock is drawn anew.
const TICK: Duration = Duration::from_millis(120);

/// Draws on the terminal that is standard error.
pub struct Bars {
    settings: Settings,
    screen: MultiProgress,
    stage: Option<ProgressBar>,
    footer: Option<ProgressBar>,
    running: HashMap<Unit, Running>,
    name_width: usize,
    quiet_keys: Option<NoControlEcho>,
}

struct Running {
    bar: ProgressBar,
    phase: Option<Phase>,
    splitter: LineSplitter,
}

impl Bars {
    /// Returns the view.
    pub fn new(settings: Settings) -> Self {
        // Drawn at most ten times a second: enough for the eye, and cheap.
        let screen = MultiProgress::with_draw_target(ProgressDrawTarget::stderr_with_hz(10));
        Self {
            settings,
            screen,
            stage: None,
            footer: None,
            running: HashMap::new(),
            name_width: 0,
            quiet_keys: None,
        }
    }

    /// Shows one event.
    pub fn draw(&mut self, event: &Event) {
        match event {
            Event::Note(text) => self.print(text),
            Event::Warning(text) => {
                self.print(&paint(&format!("warning: {text}"), self.settings.color));
            }
            Event::Interrupted => {
                // From now on xp may end at any moment.
                self.quiet_keys = None;
                self.print("interrupted: stopping what runs");
            }
            Event::StageStarted(text) => {
                if self.quiet_keys.is_none() {
                    self.quiet_keys = NoControlEcho::begin();
                }
                let bar = self.add(style("{spinner} {wide_msg}"));
                bar.set_message(text.clone());
                self.stage = Some(bar);
            }
            Event::StageFinished => {
                if let Some(bar) = self.stage.take() {
                    bar.finish_and_clear();
                    self.screen.remove(&bar);
                }
            }
            Event::RunStarted { units, .. } => {
                self.name_width = units
                    .iter()
                    .map(|unit| unit.to_string().chars().count())
                    .max()
                    .unwrap_or(0)
                    .min(longest_name());
                let footer = self.screen.add(ProgressBar::new(units.len() as u64));
                footer.set_style(style("{pos} of {len} done, {elapsed}"));
                footer.enable_steady_tick(TICK);
                self.footer = Some(footer);
            }
            Event::UnitStarted { unit } => self.start(unit),
            Event::StepStarted { unit, phase, title } => {
                if let Some(running) = self.running.get_mut(unit) {
                    running.phase = Some(*phase);
                    running.splitter = LineSplitter::default();
                    running
                        .bar
                        .set_prefix(prefix(unit, *phase, self.name_width));
                    running.bar.set_message(first_line(title));
                }
                if self.settings.verbose {
                    self.print(&format!("{unit} | {phase}: {}", first_line(title)));
                }
            }
            Event::Output { unit, bytes, .. } => {
                let Some(running) = self.running.get_mut(unit) else {
                    return;
                };
                // Without `--verbose` only the last line is ever seen.
                let seen = match self.settings.verbose {
                    true => bytes,
                    false => last_lines(bytes, 10),
                };
                if seen.len() < bytes.len() {
                    running.splitter = LineSplitter::default();
                }
                let lines = running.splitter.push(seen);
                if let Some(line) = lines.iter().rev().find(|line| !line.trim().is_empty()) {
                    running.bar.set_message(line.clone());
                }
                if self.settings.verbose {
                    for line in lines {
                        self.print(format!("{unit} | {line}").trim_end());
                    }
                }
            }
            Event::Progress {
                unit,
                phase,
                done,
                total,
            } => {
                if let Some(running) = self.running.get(unit) {
                    running.bar.set_message(progress(*phase, *done, *total));
                }
            }
            Event::Planned(_) | Event::StepFinished { .. } => {}
            Event::UnitFinished { unit, .. } => {
                if let Some(running) = self.running.remove(unit) {
                    running.bar.finish_and_clear();
                    self.screen.remove(&running.bar);
                }
                if let Some(footer) = &self.footer {
                    footer.inc(1);
                }
            }
        }
    }

    /// Shows how a unit ended: a line that scrolls away.
    pub fn ended(&self, unit: &Unit, ended: &Ended) {
        self.print(&format!(
            "{unit:<width$}  {}",
            summary::outcome_line(ended),
            width = self.name_width
        ));
    }

    /// Takes all bars away.
    pub fn clear(&mut self) {
        self.quiet_keys = None;
        for running in self.running.values() {
            running.bar.finish_and_clear();
        }
        for bar in [self.stage.take(), self.footer.take()]
            .into_iter()
            .flatten()
        {
            bar.finish_and_clear();
        }
        _ = self.screen.clear();
    }

    fn start(&mut self, unit: &Unit) {
        let bar = self.add(style("{spinner} {prefix} {elapsed:>4}  {wide_msg}"));
        bar.set_prefix(name(unit, self.name_width));
        self.running.insert(
            unit.clone(),
            Running {
                bar,
                phase: None,
                splitter: LineSplitter::default(),
            },
        );
    }

    fn add(&self, style: ProgressStyle) -> ProgressBar {
        let bar = ProgressBar::new_spinner().with_style(style);
        let bar = match &self.footer {
            Some(footer) => self.screen.insert_before(footer, bar),
            None => self.screen.add(bar),
        };
        bar.enable_steady_tick(TICK);
        bar
    }

    fn print(&self, line: &str) {
        _ = self.screen.println(line);
    }
}

fn style(template: &str) -> ProgressStyle {
    // The templates are this file's own; a wrong one shows as a bar without style.
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_spinner())
}

fn prefix(unit: &Unit, phase: Phase, width: usize) -> String {
    format!("{}  {:<9}", name(unit, width), phase.as_str())
}

fn name(unit: &Unit, width: usize) -> String {
    let name = shortened(&unit.to_string(), width);
    format!("{name:<width$}")
}

/// Returns how long a name may be in a bar: what is printed wants its room as well.
fn longest_name() -> usize {
    columns(std::io::stderr()).unwrap_or(80) / 3
}

fn first_line(text: &str) -> String {
    let mut lines = text.lines();
    let first = lines.next().unwrap_or_default().to_owned();
    if lines.next().is_some() {
        format!("{first} …")
    } else {
        first
    }
}

fn progress(phase: Phase, done: u64, total: u64) -> String {
    let amount = |value: u64| match phase {
        Phase::Sync => format!("{value} objects"),
        _ => indicatif::HumanBytes(value).to_string(),
    };
    match total {
        0 => amount(done),
        total => format!("{} of {}", amount(done), amount(total)),
    }
}
