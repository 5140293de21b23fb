//! The main shell of a builder container: it prepares the container, forwards signals, and restores the files' owner.

use crate::base::shell::quoted;
use crate::client::engine::container::spec::{ContainerSpec, HOME};

/// Printed by the main shell when the container is prepared.
pub const READY: &str = "xp-ready";

/// The command to confirm that all previous ones were read.
pub const CONFIRM: &str = "confirm";

/// Printed to confirm that it has read all previous commands.
pub const RESPONSE: &str = "xp-here";

/// Returns the script of the main shell. It runs as root and uses few programs besides the shell: an image may lack
/// `grep` and the like.
///
/// It is a single command, which the shell reads to its end before it executes any of it. This prevents `read` from
/// consuming a part of the script as its input.
pub fn main_script(spec: &ContainerSpec) -> String {
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
        // A new volume belongs to root, and an old one may belong to another user.
        let folder = quoted(folder);
        script.push_str(&format!(
            "set -- $(ls -nd {folder}); [ \"$3\" = {uid} ] || chown -hR {uid}:{gid} {folder}\n"
        ));
    }
    if uid != 0 && spec.restores_owner() {
        // The mounted files belong to the caller, and this user must be able to write to them.
        script.push_str(&chown(&spec.written, spec.user));
    }
    script.push_str(&format!(
        "echo {READY}\nstay=\nwhile read -r signal process; do\n\
         case $signal in {CONFIRM}) echo {RESPONSE} ;; stay) stay=1 ;; *) kill \"-$signal\" \"$process\" ;; esac\ndone\n"
    ));
    if spec.restores_owner() {
        // End all other processes, so that no script creates files after the change of owner.
        script.push_str("kill -9 -1\n");
        script.push_str(&chown(&spec.written, spec.owner));
    }
    // Lets the user copy results after a failed transfer.
    script.push_str("[ -z \"$stay\" ] || while sleep 3600; do :; done\n}\n");
    script
}

/// Returns the home folder, and the folders between it and the mounts below it, which the engine created as root.
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

/// Returns a shell command that changes the owner of folders. It does not follow links, and has no effect on read-only
/// mounts.
fn chown(paths: &[String], (uid, gid): (u32, u32)) -> String {
    let paths: Vec<_> = paths.iter().map(|path| quoted(path)).collect();
    format!("chown -hR {uid}:{gid} {}\n", paths.join(" "))
}
