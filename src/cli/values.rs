//! Parsers for option values.

use std::time::Duration;

use crate::model::manifest::ServiceName;
use crate::model::source::GitReference;

pub fn jobs(text: &str) -> Result<u16, String> {
    match text.parse() {
        Ok(0) | Err(_) => Err(format!("it must be a number from 1 to {}", u16::MAX)),
        Ok(count) => Ok(count),
    }
}

pub fn run_number(text: &str) -> Result<u64, String> {
    let invalid = |_| "it must be the number of a run; `xp logs --list` lists them".to_owned();
    text.parse().map_err(invalid)
}

pub fn seconds(text: &str) -> Result<u64, String> {
    let count = text.parse().ok().filter(|count| (1..=3600).contains(count));
    count.ok_or_else(|| "it must be a number of seconds from 1 to 3600".to_owned())
}

pub fn duration(text: &str) -> Result<Duration, String> {
    crate::model::manifest::duration(text)
}

pub fn variable(text: &str) -> Result<(String, Option<String>), String> {
    let (name, value) = match text.split_once('=') {
        Some((name, value)) => (name, Some(value.to_owned())),
        None => (text, None),
    };
    if name.is_empty() {
        return Err("write `--env NAME` or `--env NAME=VALUE`".to_owned());
    }
    Ok((name.to_owned(), value))
}

pub fn service_reference(text: &str) -> Result<(ServiceName, GitReference), String> {
    let Some((service, reference)) = text.split_once('=') else {
        return Err("write SERVICE=REF, such as zbackend=origin/main".to_owned());
    };
    let service = service.parse().map_err(|error| format!("{error}"))?;
    let reference = reference.parse().map_err(|error| format!("{error}"))?;
    Ok((service, reference))
}
