//! The keys of compose files that do not affect how an image is built.
//!
//! Keys that are neither read nor listed here are marked, so that nothing is lost without notice.

use super::super::yaml::unknown_keys;
use crate::model::manifest::node::Node;

/// Top-level keys: read here, or about running containers.
const FILE: &[&str] = &[
    "configs", "include", "models", "name", "networks", "secrets", "services", "version", "volumes",
];

/// Keys of a service: read here, or about running its container.
const SERVICE: &[&str] = &[
    "annotations",
    "attach",
    "blkio_config",
    "build",
    "cap_add",
    "cap_drop",
    "cgroup",
    "cgroup_parent",
    "command",
    "configs",
    "container_name",
    "cpu_count",
    "cpu_percent",
    "cpu_period",
    "cpu_quota",
    "cpu_rt_period",
    "cpu_rt_runtime",
    "cpu_shares",
    "cpus",
    "cpuset",
    "credential_spec",
    "depends_on",
    "deploy",
    "develop",
    "device_cgroup_rules",
    "devices",
    "dns",
    "dns_opt",
    "dns_search",
    "domainname",
    "entrypoint",
    "env_file",
    "environment",
    "expose",
    "extends",
    "external_links",
    "extra_hosts",
    "gpus",
    "group_add",
    "healthcheck",
    "hostname",
    "image",
    "init",
    "ipc",
    "isolation",
    "label_file",
    "labels",
    "links",
    "logging",
    "mac_address",
    "mem_limit",
    "mem_reservation",
    "mem_swappiness",
    "memswap_limit",
    "models",
    "network_mode",
    "networks",
    "oom_kill_disable",
    "oom_score_adj",
    "pid",
    "pids_limit",
    "platform",
    "ports",
    "post_start",
    "pre_stop",
    "privileged",
    "profiles",
    "pull_policy",
    "read_only",
    "restart",
    "runtime",
    "scale",
    "secrets",
    "security_opt",
    "shm_size",
    "stdin_open",
    "stop_grace_period",
    "stop_signal",
    "storage_opt",
    "sysctls",
    "tmpfs",
    "tty",
    "ulimits",
    "use_api_socket",
    "user",
    "userns_mode",
    "uts",
    "volume_driver",
    "volumes",
    "volumes_from",
    "working_dir",
];

/// Keys of `build`: read here, or only about how fast it builds.
const BUILD: &[&str] = &[
    "additional_contexts",
    "args",
    "cache_from",
    "cache_to",
    "context",
    "dockerfile",
    "dockerfile_inline",
    "no_cache",
    "platforms",
    "pull",
    "secrets",
    "ssh",
    "tags",
    "target",
];

/// Returns the top-level keys that are not read.
pub(super) fn unknown_in_file(root: &Node) -> Vec<String> {
    unknown_keys(root, FILE, "")
}

/// Returns the keys of a service that may affect its build and are not read.
pub(super) fn unknown_in_service(service: &Node) -> Vec<String> {
    unknown_keys(service, SERVICE, "")
}

/// Returns the keys of `build` that may affect the image and are not read.
pub(super) fn unknown_in_build(build: &Node) -> Vec<String> {
    unknown_keys(build, BUILD, "build.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_sorted() {
        for list in [FILE, SERVICE, BUILD] {
            assert!(list.is_sorted());
        }
    }
}
