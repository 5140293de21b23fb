//! Quantities of resources, such as `500m` and `2Gi`.

use serde_json::Value;

const SUFFIXES: &[(&str, f64)] = &[
    ("Ki", 1024.0),
    ("Mi", 1_048_576.0),
    ("Gi", 1_073_741_824.0),
    ("Ti", 1_099_511_627_776.0),
    ("m", 0.001),
    ("k", 1e3),
    ("M", 1e6),
    ("G", 1e9),
    ("T", 1e12),
];

/// Returns the number that a quantity means; `None` if it is missing or invalid.
pub fn parse(value: &Value) -> Option<f64> {
    if let Some(number) = value.as_f64() {
        return Some(number);
    }
    let text = value.as_str()?;
    let suffixed = SUFFIXES
        .iter()
        .find_map(|(suffix, factor)| Some((text.strip_suffix(suffix)?, factor)));
    match suffixed {
        Some((number, factor)) => number.parse::<f64>().ok().map(|number| number * factor),
        None => text.parse().ok(),
    }
}

/// Formats a number as a quantity.
pub fn format(number: f64) -> String {
    let thousandths = (number * 1000.0).round();
    if thousandths % 1000.0 == 0.0 {
        format!("{}", thousandths / 1000.0)
    } else {
        format!("{thousandths}m")
    }
}
