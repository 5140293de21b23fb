//! The registries that the engine contacts without TLS, or without verifying certificates.

use std::collections::HashSet;
use std::net::IpAddr;

use ipnet::IpNet;

use crate::model::image::Registry;

/// Hosts and networks, as the engine lists them.
#[derive(Debug, Default)]
pub(super) struct InsecureRegistries {
    hosts: HashSet<String>,
    networks: Vec<IpNet>,
}

impl InsecureRegistries {
    /// Parses hosts such as `registry.example.com:5000` and networks such as `10.0.0.0/8`.
    pub fn new(listed: impl IntoIterator<Item = String>) -> Self {
        let mut insecure = Self::default();
        for item in listed {
            match item.parse() {
                Ok(network) => insecure.networks.push(network),
                Err(_) => _ = insecure.hosts.insert(item),
            }
        }
        insecure
    }

    /// Returns whether a registry is listed by host, with or without port, or by address.
    pub fn contains(&self, registry: &Registry) -> bool {
        let address: Option<IpAddr> = registry.host().parse().ok();
        self.hosts.contains(registry.as_str())
            || self.hosts.contains(registry.host())
            || address.is_some_and(|address| {
                self.networks
                    .iter()
                    .any(|network| network.contains(&address))
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::image::ImageRepository;

    #[test]
    fn hosts_and_networks_match() {
        let listed = [
            "r.example.com:5000",
            "10.0.0.0/8",
            "fd00::/8",
            "192.168.1.7/32",
            "s.example.com",
        ];
        let insecure = InsecureRegistries::new(listed.map(str::to_owned));
        let contains = |name: &str| {
            let repository: ImageRepository = format!("{name}/x").parse().unwrap();
            insecure.contains(repository.registry().unwrap())
        };
        for name in [
            "r.example.com:5000",
            "10.1.2.3:5000",
            "10.9.9.9",
            "[fd12::1]:5000",
            "192.168.1.7:80",
            "s.example.com:443",
        ] {
            assert!(contains(name), "{name}");
        }
        for name in [
            "r.example.com",
            "r.example.com:5001",
            "11.1.2.3:5000",
            "[fe80::1]:5000",
            "192.168.1.8:80",
            "t.example.com",
        ] {
            assert!(!contains(name), "{name}");
        }
    }
}
