//! Settings that the schema of a plugin rejects.

use super::validate::PluginUse;
use crate::base::suggest;
use crate::model::manifest::error::SourceProblem;

/// A setting that a schema rejects.
#[derive(Debug)]
pub struct RejectedSetting {
    /// The parts of its path.
    pub path: Vec<String>,
    pub reason: Rejection,
}

/// Why a setting is rejected.
#[derive(Debug)]
pub enum Rejection {
    /// The plugin has no such setting; with a hint.
    Unknown(Option<String>),
    /// Its name is invalid.
    Name(Box<Self>),
    /// It lacks other settings.
    Lacks(Vec<String>),
    /// It has another type.
    Type {
        wanted: Vec<String>,
        found: &'static str,
    },
    /// It is none of these values.
    NoneOf(Vec<String>),
    /// It is not in a range.
    MustBe(String),
    /// It has too little or too much.
    MustHave(String),
    /// It does not match a regular expression.
    Pattern(String),
    /// It has none of several forms, each of which rejects it.
    NoForm(Vec<RejectedSetting>),
    /// It has several forms of which only one is allowed.
    SeveralForms,
    /// It must not be there.
    NotAllowed,
}

impl RejectedSetting {
    /// Returns the problem of the manifest.
    pub(crate) fn in_manifest(self, plugin: &PluginUse<'_>) -> SourceProblem {
        let mut name = format!("{}.with", plugin.key);
        for part in &self.path {
            match part.parse::<usize>() {
                Ok(index) => name.push_str(&format!("[{index}]")),
                Err(_) => name.push_str(&format!(".{part}")),
            }
        }
        let is_name = matches!(self.reason, Rejection::Unknown(_) | Rejection::Name(_));
        let span = if plugin.with.is_empty() {
            plugin.span
        } else {
            plugin.with.span_of(&self.path, is_name)
        };
        let written = plugin.with.text_of(&self.path).unwrap_or_default();
        let help = self.reason.help(&written);
        SourceProblem::at(span, format!("`{name}` {}", self.reason.message())).maybe_help(help)
    }
}

impl Rejection {
    /// Returns what is wrong, after the setting's name.
    fn message(&self) -> String {
        let quoted = |names: &[String], joint: &str| {
            let names: Vec<String> = names.iter().map(|it| format!("`{it}`")).collect();
            names.join(joint)
        };
        match self {
            Self::Unknown(_) => "is not a setting of this plugin".to_owned(),
            Self::Name(reason) => format!("has an invalid name: it {}", reason.message()),
            Self::Lacks(names) => format!("lacks {}", quoted(names, " and ")),
            Self::Type { wanted, found } => {
                let wanted: Vec<&str> = wanted.iter().map(|it| noun(it)).collect();
                format!("must be {}, not {}", wanted.join(" or "), noun(found))
            }
            Self::NoneOf(choices) if choices.len() == 1 => {
                format!("must be {}", quoted(choices, ""))
            }
            Self::NoneOf(choices) => format!("must be one of {}", quoted(choices, ", ")),
            Self::MustBe(what) => format!("must be {what}"),
            Self::MustHave(what) => format!("must have {what}"),
            Self::Pattern(pattern) => format!("must match the regular expression `{pattern}`"),
            Self::NoForm(_) => "has none of the allowed forms".to_owned(),
            Self::SeveralForms => "has several forms of which only one is allowed".to_owned(),
            Self::NotAllowed => "is not allowed".to_owned(),
        }
    }

    fn help(&self, written: &str) -> Option<String> {
        match self {
            Self::Unknown(hint) => hint.clone(),
            Self::Type { wanted, found } => {
                let is_scalar = matches!(*found, "boolean" | "number");
                let wants_text = wanted.iter().any(|it| it == "string");
                (is_scalar && wants_text).then(|| format!("quote it: '{written}'"))
            }
            Self::NoneOf(choices) => {
                let near = suggest::nearest(written, choices.iter().map(String::as_str));
                near.map(suggest::did_you_mean)
            }
            Self::NoForm(rejected) => {
                let reasons = rejected.iter().map(|it| it.reason.message());
                let reasons: Vec<String> = reasons.collect();
                (!reasons.is_empty()).then(|| format!("it {}", reasons.join("; or it ")))
            }
            _ => None,
        }
    }
}

/// Returns a type's name in YAML's terms.
fn noun(name: &str) -> &str {
    match name {
        "boolean" => "a boolean",
        "number" => "a number",
        "integer" => "an integer",
        "string" => "a string",
        "array" => "a list",
        "object" => "a mapping",
        name => name,
    }
}
