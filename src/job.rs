//! Job control: to which session and group of processes xp belongs, and whose keys a terminal has.
//!
//! What is started in a PID namespace may belong to a session and a group that were made outside: inside,
//! the kernel calls them 0. So these numbers are read as text; the types of a process's id have no 0.

use std::fs;
use std::os::fd::AsFd;

use rustix::io::Errno;
use rustix::termios::tcgetpgrp;

/// What stands between the name of a program and its numbers, source: proc(5), `/proc/pid/stat`.
const AFTER_NAME: &str = ") ";

/// Where a process stands among others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Standing {
    parent: u32,
    group: u32,
    session: u32,
}

/// Tells whether the keys of a terminal are this process's: one in the background would be stopped for
/// taking them.
pub fn has_keys_of(terminal: impl AsFd) -> bool {
    let Some(own) = standing("self") else {
        // Without /proc nobody can tell; most often a person waits at the terminal.
        return tcgetpgrp(terminal).is_ok();
    };
    match tcgetpgrp(terminal) {
        Ok(group) => group.as_raw_pid().unsigned_abs() == own.group,
        // So says the library for a group of outside.
        Err(Errno::OPNOTSUPP) => own.group == 0,
        Err(_) => false,
    }
}

/// Tells whether there is a shell that could continue this process once it is stopped: nobody could where
/// it was started alone, such as in a container of its own.
pub fn can_be_resumed() -> bool {
    let Some(own) = standing("self") else {
        return false;
    };
    let leads = own.session == std::process::id();
    let parent = (own.parent != 0)
        .then(|| standing(&own.parent.to_string()))
        .flatten();
    !leads && parent.is_some_and(|parent| parent.session == own.session)
}

fn standing(process: &str) -> Option<Standing> {
    parse(&fs::read_to_string(format!("/proc/{process}/stat")).ok()?)
}

/// Reads what the kernel tells of a process; its name, in brackets, may hold anything.
fn parse(stat: &str) -> Option<Standing> {
    let (_, numbers) = stat.rsplit_once(AFTER_NAME)?;
    let mut numbers = numbers.split(' ').skip(1).map(str::parse);
    let mut next = || numbers.next()?.ok();
    Some(Standing {
        parent: next()?,
        group: next()?,
        session: next()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_hold_anything() {
        let standing = parse("2 (a) b 1 2 3) R 1 4 5 0 -1 4194304").unwrap();
        assert_eq!(
            (standing.parent, standing.group, standing.session),
            (1, 4, 5)
        );
    }

    #[test]
    fn what_is_outside_is_zero() {
        let standing = parse("1 (xp) S 0 0 0 0 -1 4194304").unwrap();
        assert_eq!(
            (standing.parent, standing.group, standing.session),
            (0, 0, 0)
        );
    }

    #[test]
    fn what_is_no_number_is_nothing() {
        assert_eq!(parse("1 (xp) S a b c"), None);
        assert_eq!(parse(""), None);
    }

    #[test]
    fn this_process_is_found() {
        assert!(standing("self").is_some());
    }
}
