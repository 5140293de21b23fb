//! Volumes of pods, as folders of this machine.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::environment::Source;

/// Creates the volumes of a pod in a folder, and returns their paths by name. An error is the message of the event
/// `FailedMount`.
pub fn provide(
    source: &Source<'_>,
    folder: &Path,
    claims: &Path,
) -> Result<BTreeMap<String, PathBuf>, String> {
    let volumes = source.pod["spec"]["volumes"].as_array();
    let mut paths = BTreeMap::new();
    for volume in volumes.into_iter().flatten() {
        let name = volume["name"].as_str().unwrap_or_default();
        let path = one(source, volume, &folder.join(name), claims).map_err(|problem| {
            format!("MountVolume.SetUp failed for volume {name:?} : {problem}")
        })?;
        paths.insert(name.to_owned(), path);
    }
    Ok(paths)
}

fn one(source: &Source<'_>, volume: &Value, path: &Path, claims: &Path) -> Result<PathBuf, String> {
    let folder = |path: &Path| {
        fs::create_dir_all(path)
            .and_then(|()| fs::set_permissions(path, Permissions::from_mode(0o777)))
            .map_err(|error| format!("{}: {error}", path.display()))
    };
    let has = |kind: &str| !volume[kind].is_null();
    if has("emptyDir") {
        folder(path)?;
    } else if has("persistentVolumeClaim") {
        let claim = volume["persistentVolumeClaim"]["claimName"].as_str();
        let path = claims.join(claim.unwrap_or_default());
        folder(&path)?;
        return Ok(path);
    } else if has("hostPath") {
        return host_path(&volume["hostPath"], &folder);
    } else if has("secret") {
        folder(path)?;
        from_data(source, "secrets", &volume["secret"], "secretName", path)?;
    } else if has("configMap") {
        folder(path)?;
        from_data(source, "configmaps", &volume["configMap"], "name", path)?;
    } else if has("downwardAPI") {
        folder(path)?;
        fields(source, &volume["downwardAPI"], path)?;
    } else if has("projected") {
        folder(path)?;
        let sources = volume["projected"]["sources"].as_array();
        for projection in sources.into_iter().flatten() {
            from_data(source, "secrets", &projection["secret"], "name", path)?;
            from_data(source, "configmaps", &projection["configMap"], "name", path)?;
            fields(source, &projection["downwardAPI"], path)?;
        }
    } else {
        return Err("the cluster of the tests does not support this type of volume".to_owned());
    }
    Ok(path.to_owned())
}

fn host_path(
    volume: &Value,
    create: &dyn Fn(&Path) -> Result<(), String>,
) -> Result<PathBuf, String> {
    let path = PathBuf::from(volume["path"].as_str().unwrap_or_default());
    let shown = path.display().to_string();
    let kind = volume["type"].as_str().unwrap_or_default();
    let file_type = fs::metadata(&path).map(|data| data.file_type()).ok();
    let is = |test: fn(&fs::FileType) -> bool| file_type.as_ref().is_some_and(test);
    let (is_right, expected) = match kind {
        "DirectoryOrCreate" if file_type.is_none() => {
            create(&path)?;
            (true, "")
        }
        "Directory" | "DirectoryOrCreate" => (is(fs::FileType::is_dir), "directory"),
        "File" => (is(fs::FileType::is_file), "file"),
        "Socket" => (is(FileTypeExt::is_socket), "socket file"),
        _ => (true, ""),
    };
    if is_right {
        Ok(path)
    } else {
        Err(format!(
            "hostPath type check failed: {shown} is not a {expected}"
        ))
    }
}

/// Writes the keys of a Secret or ConfigMap as files.
fn from_data(
    source: &Source<'_>,
    resource: &str,
    reference: &Value,
    name_member: &str,
    folder: &Path,
) -> Result<(), String> {
    let data = source.data(resource, reference, name_member);
    let Some(data) = data.map_err(|waiting| waiting.message)? else {
        return Ok(());
    };
    let default = reference["defaultMode"].as_u64();
    let mode = |value: &Value| value.as_u64().or(default).unwrap_or(0o644);
    let Some(items) = reference["items"].as_array() else {
        for (key, value) in &data {
            write(&folder.join(key), value, mode(&Value::Null))?;
        }
        return Ok(());
    };
    for item in items {
        let key = item["key"].as_str().unwrap_or_default();
        let path = item["path"].as_str().unwrap_or_default();
        let value = data.get(key);
        let value = value.ok_or_else(|| format!("references non-existent secret key: {key}"))?;
        write(&folder.join(path), value, mode(&item["mode"]))?;
    }
    Ok(())
}

fn fields(source: &Source<'_>, volume: &Value, folder: &Path) -> Result<(), String> {
    for item in volume["items"].as_array().into_iter().flatten() {
        let path = item["path"].as_str().unwrap_or_default();
        let field = item["fieldRef"]["fieldPath"].as_str().unwrap_or_default();
        write(&folder.join(path), source.field(field).as_bytes(), 0o644)?;
    }
    Ok(())
}

fn write(path: &Path, content: &[u8], mode: u64) -> Result<(), String> {
    let mode = u32::try_from(mode).unwrap_or(0o644);
    path.parent()
        .map_or(Ok(()), fs::create_dir_all)
        .and_then(|()| fs::write(path, content))
        .and_then(|()| fs::set_permissions(path, Permissions::from_mode(mode)))
        .map_err(|error| format!("{}: {error}", path.display()))
}
