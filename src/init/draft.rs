//! A manifest to be, with what there is to say of its parts.

use crate::image::RegistryPrefix;
use crate::manifest::UnknownServices;
use crate::manifest::select::choose;

/// A manifest to be.
#[derive(Debug, Default)]
pub struct Draft {
    /// What it was made of, for its first lines.
    pub sources: Vec<String>,
    /// The registry.
    pub registry: Registry,
    /// The services, in the order of their names.
    pub services: Vec<Service>,
    /// What is no service, and why.
    pub left_out: Vec<LeftOut>,
}

/// Where images are pushed.
#[derive(Debug, Default, PartialEq, Eq)]
pub enum Registry {
    /// Nothing is known.
    #[default]
    Unknown,
    /// The sources name one, which nobody has confirmed.
    Suggested(String),
    /// It was asked for.
    Given(RegistryPrefix),
}

/// Something that is no service.
#[derive(Debug, PartialEq, Eq)]
pub struct LeftOut {
    /// What it is.
    pub what: String,
    /// Why it is none.
    pub why: String,
    /// Whether somebody should see to it.
    pub todo: bool,
}

/// A service to be.
#[derive(Debug, Default)]
pub struct Service {
    /// The name.
    pub name: String,
    /// `dir`
    pub dir: String,
    /// `git.remote`
    pub remote: String,
    /// `git.reference`
    pub reference: Option<String>,
    /// `git.path`
    pub path: Option<String>,
    /// `git.submodules`
    pub submodules: bool,
    /// `docker.image`
    pub image: String,
    /// `docker.file`
    pub file: Option<String>,
    /// `docker.context`
    pub context: Option<String>,
    /// `docker.target`
    pub target: Option<String>,
    /// `docker.args`
    pub args: Vec<Argument>,
    /// `needs`
    pub needs: Vec<String>,
    /// `dockerBuilder` and `scripts`
    pub scripts: Option<Scripts>,
    /// What there is to say, and about which key.
    pub remarks: Vec<Remark>,
}

/// A build argument.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Argument {
    /// Its name.
    pub name: String,
    /// Its value; none where only a person can know it.
    pub value: Option<String>,
    /// What there is to say of it.
    pub remark: Option<String>,
    /// What the value may be where it is not known.
    pub suggested: Option<String>,
}

/// Scripts, and the builder image that they run in.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Scripts {
    /// `dockerBuilder.image`
    pub builder: String,
    /// Whether that builder is there; the scripts are comments where it is not.
    pub is_there: bool,
    /// `scripts.prepare`
    pub prepare: Vec<String>,
    /// `scripts.build`
    pub build: Vec<String>,
    /// `scripts.test`
    pub test: Vec<String>,
}

/// Something to say of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remark {
    /// The key that it stands above.
    pub key: Key,
    /// Whether somebody should see to it.
    pub todo: bool,
    /// A sentence, or a part of one.
    pub text: String,
}

/// Above which key a remark stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Key {
    /// The service's name.
    Service,
    /// `dir`
    Dir,
    /// `git.remote`
    Remote,
    /// `git.reference`, or where it would stand
    Reference,
    /// `docker.image`
    Image,
    /// `docker.file`, or where it would stand
    File,
    /// `scripts`, or where they would stand
    Scripts,
}

impl Draft {
    /// Returns the registry that the sources name, where nobody has said another.
    pub fn suggested_registry(&self) -> Option<&str> {
        match &self.registry {
            Registry::Suggested(prefix) => Some(prefix),
            Registry::Unknown | Registry::Given(_) => None,
        }
    }

    /// Tells whether services have the names, or names of the patterns.
    ///
    /// # Errors
    ///
    /// Names those that no service has.
    pub fn check_patterns(&self, patterns: &[String]) -> Result<(), UnknownServices> {
        let names = self.services.iter().map(|service| service.name.as_str());
        choose(names, patterns).map(drop)
    }
}

impl Service {
    /// Returns the services that it needs, those of its arguments, too.
    pub fn all_needs(&self) -> Vec<String> {
        let values = self.args.iter().filter_map(|arg| arg.value.as_deref());
        let images = values.filter_map(|value| {
            let name = value.strip_prefix("${{ services.")?;
            name.strip_suffix(".image }}").map(str::to_owned)
        });
        images.chain(self.needs.iter().cloned()).collect()
    }

    /// Adds something to say.
    pub fn remark(&mut self, key: Key, text: impl Into<String>) {
        self.add(key, false, text.into());
    }

    /// Adds something that somebody should see to.
    pub fn todo(&mut self, key: Key, text: impl Into<String>) {
        self.add(key, true, text.into());
    }

    fn add(&mut self, key: Key, todo: bool, text: String) {
        let remark = Remark { key, todo, text };
        if !self.remarks.contains(&remark) {
            self.remarks.push(remark);
        }
    }
}
