//! Job control: the session and process group of xp, and the foreground group of a terminal.
//!
//! A process in a PID namespace may belong to a session and a group from outside, which the kernel reports
//! as 0. The usual types of process ids have no 0, so these numbers are parsed from `/proc`.

use std::fs;
use std::os::fd::AsFd;

use rustix::io::Errno;
use rustix::termios::tcgetpgrp;

/// Separates the program's name from the numbers in `/proc/pid/stat`, see proc(5).
const AFTER_NAME: &str = ") ";

/// The ids that job control depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct ProcessIds {
    parent: u32,
    group: u32,
    session: u32,
}

/// Returns whether this process is in the terminal's foreground group. A background process would be stopped
/// if it read keys.
pub fn is_foreground(terminal: impl AsFd) -> bool {
    let Some(own) = process_ids("self") else {
        // Without /proc this is unknown; assume the foreground.
        return tcgetpgrp(terminal).is_ok();
    };
    match tcgetpgrp(terminal) {
        Ok(group) => group.as_raw_pid().unsigned_abs() == own.group,
        // How rustix reports a group outside of the namespace.
        Err(Errno::OPNOTSUPP) => own.group == 0,
        Err(_) => false,
    }
}

/// Returns whether a shell could resume this process after it is stopped. Without a shell, for example as the main
/// process of a container, it could not be resumed.
pub fn can_be_resumed() -> bool {
    let Some(own) = process_ids("self") else {
        return false;
    };
    let is_leader = own.session == std::process::id();
    let parent = (own.parent != 0)
        .then(|| process_ids(&own.parent.to_string()))
        .flatten();
    !is_leader && parent.is_some_and(|parent| parent.session == own.session)
}

fn process_ids(process: &str) -> Option<ProcessIds> {
    parse(&fs::read_to_string(format!("/proc/{process}/stat")).ok()?)
}

/// Parses `/proc/pid/stat`. The program's name, in parentheses, may contain anything.
fn parse(stat: &str) -> Option<ProcessIds> {
    let (_, numbers) = stat.rsplit_once(AFTER_NAME)?;
    let mut numbers = numbers.split(' ').skip(1).map(str::parse);
    let mut next = || numbers.next()?.ok();
    Some(ProcessIds {
        parent: next()?,
        group: next()?,
        session: next()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_contain_anything() {
        let process_ids = parse("2 (a) b 1 2 3) R 1 4 5 0 -1 4194304").unwrap();
        assert_eq!(
            (process_ids.parent, process_ids.group, process_ids.session),
            (1, 4, 5)
        );
    }

    #[test]
    fn ids_outside_of_the_namespace_are_zero() {
        let process_ids = parse("1 (xp) S 0 0 0 0 -1 4194304").unwrap();
        assert_eq!(
            (process_ids.parent, process_ids.group, process_ids.session),
            (0, 0, 0)
        );
    }

    #[test]
    fn invalid_numbers_are_rejected() {
        assert_eq!(parse("1 (xp) S a b c"), None);
        assert_eq!(parse(""), None);
    }

    #[test]
    fn this_process_is_found() {
        assert!(process_ids("self").is_some());
    }
}
