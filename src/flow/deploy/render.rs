//! Renders the kustomize files: unchanged, and with pinned images.

use std::fs;
use std::path::Path;

use super::DeployTask;
use super::files::EnvironmentFiles;
use super::services::joined;
use crate::base::error;
use crate::base::error::Failure;
use crate::model::deploy::{
    Deployment, ForeignNamespaces, ImageNames, NamedImages, NotPinned, Overlay, RenderedObjects,
    redactor,
};
use crate::model::lock::Lock;
use crate::model::manifest::ServiceName;

impl DeployTask<'_> {
    /// Renders the user's overlay unchanged, and finds the services that it references. For a rollback it must
    /// reference all services of `back`: others would run with the tag in the files.
    pub(super) async fn plain(
        &self,
        files: &EnvironmentFiles,
        names: &ImageNames,
        back: Option<&Deployment>,
    ) -> Result<(RenderedObjects, NamedImages), Failure> {
        let (_, plain) = self.render(&files.overlay, &files.shown).await?;
        let named = names.named(&plain, &files.fields);
        if let Some(back) = back {
            let unnamed = back.set.services.keys();
            let unnamed = unnamed.filter(|name| !named.services.contains_key(*name));
            let unnamed: Vec<&ServiceName> = unnamed.collect();
            if !unnamed.is_empty() {
                return Err(Failure::usage(format!(
                    "{} references no image of {}, which is part of deploy {}\n\
                     hint: the files may use another image name than the manifest: map it in `deploy.images`",
                    files.shown,
                    joined(&unnamed),
                    back.number
                )));
            }
        }
        Ok((plain, named))
    }

    /// Renders the generated overlay around the user's, and checks the result.
    pub(super) async fn pinned(
        &self,
        files: &EnvironmentFiles,
        plain: &RenderedObjects,
        named: &NamedImages,
        names: &ImageNames,
        set: &Lock,
    ) -> Result<(String, RenderedObjects), Failure> {
        let missing = named.services.keys();
        let missing = missing.filter(|name| !set.services.contains_key(*name));
        let missing: Vec<&ServiceName> = missing.collect();
        if !missing.is_empty() {
            let name = &self.request.environment.name;
            return Err(Failure::usage(format!(
                "{} references {}, but this release has no image of it\n\
                 hint: `xp deploy {name}` deploys the current images of all services",
                files.shown,
                joined(&missing)
            )));
        }
        let folder = self
            .session
            .layout
            .environment(&self.request.environment.name);
        let folder = folder.join("overlay");
        let written = |error: std::io::Error| {
            Failure::outside(format!("cannot write {}: {error}", folder.display()))
        };
        fs::create_dir_all(&folder).map_err(written)?;
        let real = folder.canonicalize().map_err(written)?;
        let overlay = Overlay::around(
            &files.overlay,
            &real,
            named,
            set,
            &files.fields,
            &files.options,
        );
        fs::write(real.join("kustomization.yaml"), overlay.kustomization).map_err(written)?;
        fs::write(real.join(Overlay::FIELDS), overlay.fields).map_err(written)?;
        let (text, rendered) = self.render(&real, &files.shown).await?;
        ForeignNamespaces::check(&files.shown, &self.request.environment.namespace, &rendered)?;
        NotPinned::check(&files.shown, plain, &rendered, &files.fields, names, set)?;
        Ok((text, rendered))
    }

    async fn render(
        &self,
        folder: &Path,
        shown: &str,
    ) -> Result<(String, RenderedObjects), Failure> {
        let text = self.kubectl.render(folder).await.map_err(|error| {
            let cause = error::chain(&error);
            Failure::usage(format!("cannot render {shown}\n  cause: {cause}"))
        })?;
        let rendered = RenderedObjects::read(&text).ok_or_else(|| {
            Failure::outside(format!("kustomize rendered invalid YAML from {shown}"))
        })?;
        self.secrets.merge(redactor(&rendered));
        Ok((text, rendered))
    }
}
