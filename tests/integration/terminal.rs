//! Running a program in a terminal, and reading its screen.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{Mode, OFlags};
use rustix::process::{Pid, Signal, kill_process_group};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use crate::process;

/// A program in a pseudo terminal; killed on drop.
pub struct Terminal {
    command: String,
    child: Child,
    keyboard: File,
    shown: Arc<Shown>,
    deadline: Instant,
}

struct Shown {
    content: Mutex<Content>,
    changed: Condvar,
}

struct Content {
    screen: vt100::Parser,
    bytes: Vec<u8>,
    closed: bool,
}

impl Terminal {
    /// Runs the command in a terminal of this size.
    pub fn start(command: &Command, columns: u16, rows: u16, timeout: Duration) -> Self {
        let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a pseudo terminal");
        grantpt(&ours)
            .and_then(|()| unlockpt(&ours))
            .expect("a pseudo terminal");
        let name = ptsname(&ours, Vec::new()).expect("a pseudo terminal has a name");
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        let theirs = rustix::fs::open(name, flags, Mode::empty()).expect("its other end");
        set_size(&ours, columns, rows);

        let duplicate = |file: &OwnedFd| file.try_clone().expect("a file can be duplicated");
        let mut in_session = in_new_session(command);
        in_session.stdin(Stdio::from(duplicate(&theirs)));
        in_session
            .stdout(Stdio::from(duplicate(&theirs)))
            .stderr(Stdio::from(theirs));
        let child = in_session
            .spawn()
            .expect("setsid is part of every Linux system");
        // Drop our copies of the descriptors, which would keep the terminal open.
        drop(in_session);

        let content = Content {
            screen: vt100::Parser::new(rows, columns, 0),
            bytes: Vec::new(),
            closed: false,
        };
        let shown = Arc::new(Shown {
            content: Mutex::new(content),
            changed: Condvar::new(),
        });
        let keyboard = File::from(duplicate(&ours));
        show(Arc::clone(&shown), File::from(ours));
        let deadline = Instant::now() + timeout;
        Self {
            command: process::display(command),
            child,
            keyboard,
            shown,
            deadline,
        }
    }

    /// Returns the current text of the screen.
    pub fn screen(&self) -> String {
        self.shown
            .content
            .lock()
            .expect("not poisoned")
            .screen
            .screen()
            .contents()
    }

    /// Returns everything written to the terminal, including control sequences.
    pub fn written(&self) -> String {
        process::text(&self.shown.content.lock().expect("not poisoned").bytes)
    }

    /// Waits until the screen shows a text.
    #[track_caller]
    pub fn wait_for(&self, text: &str) {
        self.wait_until(|screen| screen.contains(text), text);
    }

    /// Waits until the screen no longer shows a text.
    #[track_caller]
    pub fn wait_until_gone(&self, text: &str) {
        self.wait_until(|screen| !screen.contains(text), text);
    }

    #[track_caller]
    fn wait_until(&self, is_reached: impl Fn(&str) -> bool, text: &str) {
        let mut content = self.shown.content.lock().expect("not poisoned");
        loop {
            let screen = content.screen.screen().contents();
            if is_reached(&screen) {
                return;
            }
            let time = self.deadline.saturating_duration_since(Instant::now());
            let over = content.closed || time.is_zero();
            assert!(
                !over,
                "{text:?} is not as expected on the screen of `{}`:\n{screen}",
                self.command
            );
            content = self
                .shown
                .changed
                .wait_timeout(content, time)
                .expect("not poisoned")
                .0;
        }
    }

    /// Types keys; `"\x03"` is Ctrl-C.
    pub fn type_keys(&mut self, keys: &str) {
        self.keyboard
            .write_all(keys.as_bytes())
            .expect("the terminal is open");
    }

    /// Resizes it.
    pub fn resize(&self, columns: u16, rows: u16) {
        set_size(&self.keyboard, columns, rows);
        let mut content = self.shown.content.lock().expect("not poisoned");
        content.screen.screen_mut().set_size(rows, columns);
    }

    /// Sends SIGHUP to the program without waiting for it to exit.
    pub fn close(self) {
        let _ = kill_process_group(Pid::from_child(&self.child), Signal::HUP);
        let mut this = self;
        let _ = this.child.wait();
    }

    /// Waits for the program to exit and returns its status and the last screen.
    #[track_caller]
    pub fn wait(mut self) -> (ExitStatus, String) {
        loop {
            let status = self.child.try_wait().expect("a child can be waited for");
            let closed = self.shown.content.lock().expect("not poisoned").closed;
            if let (Some(status), true) = (status, closed) {
                return (status, self.screen());
            }
            let late = Instant::now() > self.deadline;
            assert!(
                !late,
                "`{}` has not ended; its screen:\n{}",
                self.command,
                self.screen()
            );
            thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            // The program leads its own session and therefore its own process group.
            let _ = kill_process_group(Pid::from_child(&self.child), Signal::KILL);
            let _ = self.child.wait();
        }
    }
}

/// Returns the command wrapped in `setsid`, which makes its input the controlling terminal and then
/// executes the command with the same process ID.
fn in_new_session(command: &Command) -> Command {
    let mut in_session = Command::new("setsid");
    in_session
        .arg("--ctty")
        .arg(command.get_program())
        .args(command.get_args())
        .env_clear();
    for (name, value) in command.get_envs() {
        if let Some(value) = value {
            in_session.env(name, value);
        }
    }
    if let Some(directory) = command.get_current_dir() {
        in_session.current_dir(directory);
    }
    in_session
}

fn set_size(terminal: impl std::os::fd::AsFd, columns: u16, rows: u16) {
    let size = Winsize {
        ws_col: columns,
        ws_row: rows,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    tcsetwinsize(terminal, size).expect("a terminal has a size");
}

fn show(shown: Arc<Shown>, mut output: File) {
    thread::spawn(move || {
        let mut buffer = [0; 16 * 1024];
        loop {
            // Reading fails once the last process has closed it.
            let length = output.read(&mut buffer).unwrap_or(0);
            let mut content = shown.content.lock().expect("not poisoned");
            content.screen.process(&buffer[..length]);
            content.bytes.extend_from_slice(&buffer[..length]);
            content.closed = length == 0;
            drop(content);
            shown.changed.notify_all();
            if length == 0 {
                return;
            }
        }
    });
}
