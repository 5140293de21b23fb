//! Decodes `clean`.

use super::super::clean::{Clean, CleanCache, CleanKeep};
use super::context::{DecodeContext, DecodedValue};
use super::quantity;

/// The largest number of days and of commits.
const MAX: u32 = 100_000;

pub(super) fn clean(cx: &mut DecodeContext, value: &DecodedValue) -> Option<Clean> {
    let mut fields = value.fields(cx)?;
    let (keep, cache) = (fields.take("keep"), fields.take("cache"));
    fields.finish(cx);
    let mut clean = Clean::default();
    if let Some(keep) = keep {
        clean.keep = self::keep(cx, &keep)?;
    }
    if let Some(cache) = cache {
        clean.cache = self::cache(cx, &cache)?;
    }
    Some(clean)
}

fn keep(cx: &mut DecodeContext, value: &DecodedValue) -> Option<CleanKeep> {
    let mut keep = CleanKeep::default();
    let mut fields = value.fields(cx)?;
    let keys = [
        ("days", &mut keep.days),
        ("commits", &mut keep.commits),
        ("deploys", &mut keep.deploys),
    ];
    for (key, number) in keys {
        if let Some(value) = fields.take(key) {
            // Without the last deploy, an environment could not be rolled back.
            let least = if key == "deploys" { 1 } else { 0 };
            *number = value.parse_with(cx, |text| count(text, least))?;
        }
    }
    fields.finish(cx);
    Some(keep)
}

fn cache(cx: &mut DecodeContext, value: &DecodedValue) -> Option<CleanCache> {
    let mut cache = CleanCache::default();
    let mut fields = value.fields(cx)?;
    if let Some(value) = fields.take("days") {
        cache.days = value.parse_with(cx, |text| count(text, 0))?;
    }
    if let Some(value) = fields.take("size") {
        cache.size = value.parse_with(cx, quantity::bytes)?;
    }
    fields.finish(cx);
    Some(cache)
}

fn count(text: &str, least: u32) -> Result<u32, String> {
    let number = text.parse().ok();
    let number = number.filter(|number| (least..=MAX).contains(number));
    number.ok_or_else(|| format!("`{text}` must be a whole number from {least} to {MAX}"))
}
