//! Privileged containers.

use std::fs;

use serde_json::{Value, json};

/// The capabilities that all engines know, in the kernel's order.
const CAPABILITIES: [&str; 38] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
];

/// Makes a container privileged. An engine without all capabilities, such as that of a machine that is a container
/// itself, refuses that: the container gets those that there are.
pub fn allow(host: &mut Value) {
    let present = bounding_set();
    let is_present = |number: usize| present >> number & 1 == 1;
    if (0..CAPABILITIES.len()).all(is_present) {
        host["Privileged"] = true.into();
        return;
    }
    let names = CAPABILITIES.iter().enumerate();
    let names = names.filter(|(number, _)| is_present(*number));
    host["CapAdd"] = names.map(|(_, name)| Value::from(*name)).collect();
    host["SecurityOpt"] = json!(["seccomp=unconfined", "apparmor=unconfined"]);
    host["MaskedPaths"] = json!([]);
    host["ReadonlyPaths"] = json!([]);
    host["DeviceCgroupRules"] = json!(["a *:* rwm"]);
    if let Some(binds) = host["Binds"].as_array_mut() {
        binds.push("/sys/fs/cgroup:/sys/fs/cgroup".into());
    }
}

/// Returns the capabilities that processes of this machine can have.
fn bounding_set() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let set = status.lines().find_map(|line| line.strip_prefix("CapBnd:"));
    set.and_then(|set| u64::from_str_radix(set.trim(), 16).ok())
        .unwrap_or(u64::MAX)
}
