//! Names of Jobs.

use sha2::{Digest as _, Sha256};

use crate::model::event::Unit;
use crate::model::image::ImageReference;

/// The maximum length of a Job's name: the pod's name and the label `job-name` contain it.
const MAX_LENGTH: usize = 63;

/// The number of digits of the image's digest.
const DIGITS: usize = 12;

/// The number of digits that stand for the part of a name that was cut off or replaced.
const NAME_DIGITS: usize = 8;

/// What makes two units the same work, so that they share one Job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobIdentity<'a> {
    /// The image under its identity tag: repository, commit and recipe. A builder image has a tag that names its content.
    pub image: &'a ImageReference,
    /// The run, if its work must not be shared: `--force`.
    pub run: Option<&'a str>,
}

/// Returns the name of a unit's Job: `xp-<service>-<digest>`.
pub fn job_name(unit: &Unit, identity: &JobIdentity<'_>) -> String {
    let mut hash = Sha256::new();
    hash.update(identity.image.to_string());
    if let Some(run) = identity.run {
        hash.update([0]);
        hash.update(run);
    }
    let mut digest = hex::encode(hash.finalize());
    digest.truncate(DIGITS);
    let name = match unit {
        Unit::Builder(name) => format!("builder-{name}"),
        unit => unit.to_string(),
    };
    format!("xp-{}-{digest}", label(&name))
}

/// Returns a part of a DNS label. A name that has to be changed gets a digest, so that it stays unique.
fn label(name: &str) -> String {
    let longest = MAX_LENGTH - "xp--".len() - DIGITS;
    let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if name.len() <= longest && name.chars().all(is_plain) {
        return name.to_owned();
    }
    let mut digest = hex::encode(Sha256::digest(name));
    digest.truncate(NAME_DIGITS);
    let lower = name.to_ascii_lowercase();
    let plain = lower.chars().map(|c| if is_plain(c) { c } else { '-' });
    let plain: String = plain.take(longest - NAME_DIGITS - 1).collect();
    format!("{}-{digest}", plain.trim_end_matches('-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(service: &str, image: &str, run: Option<&str>) -> String {
        let image = image.parse().unwrap();
        let unit = Unit::Service(service.parse().unwrap());
        job_name(&unit, &JobIdentity { image: &image, run })
    }

    #[test]
    fn equal_images_have_equal_jobs() {
        let tag = "r.example.com/zbackend:0123456789012345678901234567890123456789-0123456789ab";
        let one = name("zbackend", tag, None);
        assert!(one.starts_with("xp-zbackend-"), "{one}");
        assert_eq!(one.len(), "xp-zbackend-".len() + 12);
        assert_eq!(one, name("zbackend", tag, None));
        assert_ne!(one, name("zbackend", &tag.replace("9ab", "9ac"), None));
        assert_ne!(one, name("zbackend", tag, Some("a")));
        assert_ne!(
            name("zbackend", tag, Some("b")),
            name("zbackend", tag, Some("a"))
        );
    }

    #[test]
    fn names_are_labels() {
        let long = "x".repeat(63);
        for service in ["a", "0", "A_b.c", "a-b.", long.as_str(), "Ab"] {
            let found = name(service, "r.example.com/a:1", None);
            let is_inside = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
            assert!(
                found.len() <= MAX_LENGTH && found.chars().all(is_inside),
                "{found}"
            );
            assert!(!found.contains("--"), "{found}");
        }
        let names = ["a.b", "a_b", "a-b", "A-b"].map(|it| name(it, "r.example.com/a:1", None));
        let mut distinct = names.to_vec();
        distinct.sort();
        distinct.dedup();
        assert_eq!(distinct.len(), names.len(), "{names:?}");
        let builder = Unit::Builder("go".parse().unwrap());
        let image = "r.example.com/go:1".parse().unwrap();
        let identity = JobIdentity {
            image: &image,
            run: None,
        };
        assert!(job_name(&builder, &identity).starts_with("xp-builder-go-"));
    }
}
