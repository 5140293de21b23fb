//! The main shell of a builder container: it prepares, passes signals on, and gives files back.

use super::container_spec::{ContainerSpec, HOME};
use crate::shell::quoted;

/// What the container's own shell prints when everything is prepared.
pub(super) const READY: &str = "xp-ready";

/// What it answers when it is asked whether it has read all that was told it.
pub(super) const ANSWER: &str = "xp-here";

/// What the container's main shell does, as root and with no more than a shell needs: an image may
/// lack `grep` and the like.
///
/// All of it is one command, as a shell executes nothing before it has read a command to its end:
/// so `read` cannot take a part of the script for its input.
pub(super) fn main_script(spec: &ContainerSpec) -> String {
    let (uid, gid) = spec.user;
    let mut script = String::from("{ exec 2> /dev/null\n");
    if uid == 0 {
        script.push_str("mkdir -p /root\n");
    } else {
        let home = home_folders(spec).join(" ");
        // Tools such as git, ssh and npm fail for a user without a name.
        script.push_str(&format!(
            r#"mkdir -p /etc {home}; chown {uid}:{gid} {home}
known=; while IFS=: read -r name _ id _; do [ "$id" = {uid} ] && known=1; done < /etc/passwd
[ -n "$known" ] || echo 'xp:x:{uid}:{gid}:xp:{HOME}:/bin/sh' >> /etc/passwd
known=; while IFS=: read -r name _ id _; do [ "$id" = {gid} ] && known=1; done < /etc/group
[ -n "$known" ] || echo 'xp:x:{gid}:' >> /etc/group
"#
        ));
    }
    for folder in &spec.taken {
        // A volume is root's when it is new, and may have been another user's last time.
        let folder = quoted(folder);
        script.push_str(&format!(
            "set -- $(ls -nd {folder}); [ \"$3\" = {uid} ] || chown -hR {uid}:{gid} {folder}\n"
        ));
    }
    if uid != 0 && spec.gives_back() {
        // What is mounted belongs to the caller, and this user has to write to it.
        script.push_str(&chown(&spec.written, spec.user));
    }
    script.push_str(&format!(
        "echo {READY}\nstay=\nwhile read -r signal process; do\n\
         case $signal in answer) echo {ANSWER} ;; stay) stay=1 ;; *) kill \"-$signal\" \"$process\" ;; esac\ndone\n"
    ));
    if spec.gives_back() {
        // No script may write behind the back of what follows: all processes but this one end.
        script.push_str("kill -9 -1\n");
        script.push_str(&chown(&spec.written, spec.owner));
    }
    // For somebody to copy what could not be brought back.
    script.push_str("[ -z \"$stay\" ] || while sleep 3600; do :; done\n}\n");
    script
}

/// Returns the home folder, and those between it and what is mounted below it: the engine made
/// these as root.
fn home_folders(spec: &ContainerSpec) -> Vec<String> {
    let mut folders = vec![HOME.to_owned()];
    for bind in &spec.binds {
        let Some(below) = bind.target.strip_prefix(&format!("{HOME}/")) else {
            continue;
        };
        let ends = below.match_indices('/').map(|(end, _)| &below[..end]);
        folders.extend(ends.map(|folder| quoted(&format!("{HOME}/{folder}")).into_owned()));
    }
    folders
}

/// Returns a shell line that gives folders to a user. Links are not followed, and what is mounted
/// read-only stays.
fn chown(paths: &[String], (uid, gid): (u32, u32)) -> String {
    let paths: Vec<_> = paths.iter().map(|path| quoted(path)).collect();
    format!("chown -hR {uid}:{gid} {}\n", paths.join(" "))
}
