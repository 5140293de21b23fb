//! The environment of the process.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::model::environment::{EnvironmentVariable, GIT_CONFIG_COUNT};
use crate::model::environment::{GIT_CONFIG_KEY_N, GIT_CONFIG_VALUE_N};

/// The environment variables of the process. Empty ones count as not set.
pub(super) struct ProcessVariables {
    /// All variables.
    pub all: BTreeMap<String, String>,
}

impl ProcessVariables {
    /// Reads the environment.
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that reads the environment"
    )]
    pub fn read() -> Self {
        // A manifest cannot refer to variables that are not UTF-8.
        let all = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        Self { all }
    }

    /// Returns the value of a variable.
    pub fn get(&self, variable: EnvironmentVariable) -> Option<String> {
        self.named(variable.name)
    }

    /// Returns whether a variable is set.
    pub fn is_set(&self, variable: EnvironmentVariable) -> bool {
        self.get(variable).is_some()
    }

    /// Returns whether a variable is `true`.
    pub fn is_true(&self, variable: EnvironmentVariable) -> bool {
        self.get(variable).as_deref() == Some("true")
    }

    /// Returns the path that a variable has.
    pub fn path(&self, variable: EnvironmentVariable) -> Option<PathBuf> {
        self.get(variable).map(PathBuf::from)
    }

    /// Returns the value of a variable in lower case, else in upper case.
    pub fn in_any_case(&self, variable: EnvironmentVariable) -> Option<String> {
        let upper = || self.named(&variable.name.to_uppercase());
        self.get(variable).or_else(upper)
    }

    /// Returns git settings from the environment, as set by CI systems.
    pub fn git_configuration(&self) -> Vec<(String, String)> {
        let count = self.get(GIT_CONFIG_COUNT);
        let count: usize = count.and_then(|count| count.parse().ok()).unwrap_or(0);
        let settings = (0..count).map_while(|number| {
            let value = self.named(&GIT_CONFIG_VALUE_N.numbered(number));
            let key = self.named(&GIT_CONFIG_KEY_N.numbered(number))?;
            Some((key, value.unwrap_or_default()))
        });
        settings.collect()
    }

    fn named(&self, name: &str) -> Option<String> {
        let value = self.all.get(name);
        value.filter(|value| !value.is_empty()).cloned()
    }
}

#[cfg(test)]
impl<const N: usize> From<[(EnvironmentVariable, &str); N]> for ProcessVariables {
    fn from(variables: [(EnvironmentVariable, &str); N]) -> Self {
        let owned = variables.map(|(variable, value)| (variable.name.to_owned(), value.to_owned()));
        Self {
            all: BTreeMap::from(owned),
        }
    }
}
