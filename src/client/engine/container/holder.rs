//! Holders: containers that end with xp's connection, and the containers that joined their process namespace with them.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};

use bollard::body_full;
use bollard::models::{ContainerCreateBody, HostConfig};
use bollard::query_parameters::{
    AttachContainerOptionsBuilder, CreateContainerOptions, ImportImageOptionsBuilder,
    StartContainerOptions,
};
use bytes::Bytes;
use futures_util::StreamExt as _;
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncWrite, AsyncWriteExt as _};

use super::builder::remove;
use crate::client::engine::{Engine, EngineError};

/// The repository of the holder's image in the engine.
const REPOSITORY: &str = "x-platform/holder";

/// A label of the holder's image.
const LABEL: &str = "x-platform.holder";

/// The address at which the program is loaded.
const BASE: u64 = 0x40_0000;

/// The size of the program's ELF headers.
const HEADERS: usize = 64 + 56;

/// The holder's program for x86-64: it ignores SIGCHLD, so that the kernel reaps orphans, and reads its input to the end.
///
/// The bytes after the code are the `sigaction` for `SIG_IGN`.
#[rustfmt::skip]
const X86_64: [u8; 104] = [
    0xb8, 0x0d, 0x00, 0x00, 0x00,                   // mov eax, 13          rt_sigaction(
    0xbf, 0x11, 0x00, 0x00, 0x00,                   // mov edi, 17            SIGCHLD,
    0x48, 0x8d, 0x35, 0x37, 0x00, 0x00, 0x00,       // lea rsi, [ignore]      &ignore,
    0x31, 0xd2,                                     // xor edx, edx           NULL,
    0x41, 0xba, 0x08, 0x00, 0x00, 0x00,             // mov r10d, 8            8)
    0x0f, 0x05,                                     // syscall
    0x31, 0xc0,                                     // again: xor eax, eax  read(
    0x31, 0xff,                                     // xor edi, edi           0,
    0x48, 0x8d, 0xb4, 0x24, 0x00, 0xf0, 0xff, 0xff, // lea rsi, [rsp - 4096]  buffer,
    0xba, 0x00, 0x10, 0x00, 0x00,                   // mov edx, 4096          4096)
    0x0f, 0x05,                                     // syscall
    0x48, 0x85, 0xc0,                               // test rax, rax
    0x7f, 0xe8,                                     // jg again
    0x83, 0xf8, 0xfc,                               // cmp eax, -EINTR
    0x74, 0xe3,                                     // je again
    0xb8, 0xe7, 0x00, 0x00, 0x00,                   // mov eax, 231         exit_group(
    0x31, 0xff,                                     // xor edi, edi           0)
    0x0f, 0x05,                                     // syscall
    0x0f, 0x1f, 0x80, 0x00, 0x00, 0x00, 0x00,       // nop                  (alignment)
    1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, // ignore:
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
];

/// The same program for AArch64.
const AARCH64: [u32; 26] = [
    0x5280_10c8, // mov w8, 134          rt_sigaction(
    0x5280_0220, // mov w0, 17             SIGCHLD,
    0x1000_0201, // adr x1, ignore         &ignore,
    0xd280_0002, // mov x2, 0              NULL,
    0xd280_0103, // mov x3, 8              8)
    0xd400_0001, // svc 0
    0x5280_07e8, // again: mov w8, 63    read(
    0x5280_0000, // mov w0, 0              0,
    0xd140_07e1, // sub x1, sp, 4096       buffer,
    0x5282_0002, // mov w2, 4096           4096)
    0xd400_0001, // svc 0
    0xf100_001f, // cmp x0, 0
    0x54ff_ff4c, // b.gt again
    0xb100_101f, // cmn x0, EINTR
    0x54ff_ff00, // b.eq again
    0x5280_0bc8, // mov w8, 94           exit_group(
    0x5280_0000, // mov w0, 0              0)
    0xd400_0001, // svc 0
    1,
    0,
    0,
    0,
    0,
    0,
    0,
    0, // ignore:
];

/// A running holder. Its only process is the first one of a process namespace: when the connection ends for any reason,
/// that process exits, and the kernel kills all others of the namespace. The engine then removes the containers.
pub struct Holder {
    engine: Engine,
    id: String,
    /// Closing it ends the container. In a mutex so that holders can be shared between threads.
    input: Mutex<Pin<Box<dyn AsyncWrite + Send>>>,
}

impl Holder {
    /// Starts a holder, and loads its image into the engine if it is missing.
    ///
    /// # Errors
    ///
    /// If the engine rejects a request, or xp has no holder for its architecture.
    pub async fn start(
        engine: &Engine,
        labels: &HashMap<String, String>,
    ) -> Result<Self, EngineError> {
        let failed = |error| EngineError::new("start the container that holds the others", error);
        let machine = engine.facts().await?.architecture;
        let program = Program::new(&machine).ok_or(EngineError::NoHolder(machine))?;
        let body = ContainerCreateBody {
            image: Some(program.image.clone()),
            labels: Some(labels.clone()),
            attach_stdin: Some(true),
            open_stdin: Some(true),
            stdin_once: Some(true),
            host_config: Some(HostConfig {
                auto_remove: Some(true),
                network_mode: Some("none".to_owned()),
                ..Default::default()
            }),
            ..Default::default()
        };
        let create = || {
            let options = None::<CreateContainerOptions>;
            engine.docker.create_container(options, body.clone())
        };
        let created = match create().await.map_err(failed) {
            Err(error) if error.status() == Some(404) => {
                program.load(engine).await?;
                create().await.map_err(failed)
            }
            created => created,
        };
        let id = created?.id;
        // Attach before starting it, so that it never runs without a connection.
        let options = AttachContainerOptionsBuilder::default();
        let options = options.stream(true).stdin(true).build();
        let started = async {
            let attached = engine
                .without_timeout()
                .attach_container(&id, Some(options))
                .await?;
            engine
                .docker
                .start_container(&id, None::<StartContainerOptions>)
                .await?;
            Ok(attached.input)
        };
        match started.await {
            Ok(input) => Ok(Self {
                engine: engine.clone(),
                id,
                input: Mutex::new(input),
            }),
            Err(error) => {
                remove(engine, &id).await;
                Err(failed(error))
            }
        }
    }

    /// Returns the container's id.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Ends the container and the ones that joined its process namespace.
    pub async fn end(self) {
        let input = self.input.into_inner();
        let mut input = input.unwrap_or_else(PoisonError::into_inner);
        _ = input.shutdown().await;
        remove(&self.engine, &self.id).await;
    }
}

/// The holder's program for an architecture, and the image that contains it.
struct Program {
    elf: Vec<u8>,
    /// The architecture's name in images.
    architecture: &'static str,
    /// The image's name, whose tag is the program's digest.
    image: String,
}

impl Program {
    /// Returns the program for a machine, which is named as the kernel does.
    fn new(machine: &str) -> Option<Self> {
        let (elf, architecture) = match machine {
            "x86_64" | "amd64" => (elf(62, &X86_64), "amd64"),
            "aarch64" | "arm64" => {
                let code: Vec<u8> = AARCH64.iter().flat_map(|it| it.to_le_bytes()).collect();
                (elf(183, &code), "arm64")
            }
            _ => return None,
        };
        let digest = hex::encode(Sha256::digest(&elf));
        let image = format!("{REPOSITORY}:{}", &digest[..12]);
        Some(Self {
            elf,
            architecture,
            image,
        })
    }

    /// Loads the image into the engine.
    async fn load(&self, engine: &Engine) -> Result<(), EngineError> {
        let archive = self.archive().map_err(|error| EngineError::Refused {
            action: "load the image of the container that holds the others".to_owned(),
            message: error.to_string(),
            status: None,
        })?;
        let options = ImportImageOptionsBuilder::default().quiet(true).build();
        let body = body_full(Bytes::from(archive));
        let mut loaded = Box::pin(engine.docker.import_image(options, body, None));
        while let Some(message) = loaded.next().await {
            let message = message.map_err(|error| {
                EngineError::new(
                    "load the image of the container that holds the others",
                    error,
                )
            });
            match message {
                // The containerd image store, if another run loads it at the same time.
                Err(EngineError::Refused { message, .. }) if message.contains("already exists") => {
                    return Ok(());
                }
                message => _ = message?,
            }
        }
        Ok(())
    }

    /// Returns the image in the format of `docker save`.
    fn archive(&self) -> std::io::Result<Vec<u8>> {
        let mut layer = tar::Builder::new(Vec::new());
        append(&mut layer, "holder", 0o755, &self.elf)?;
        let layer = layer.into_inner()?;
        let config = serde_json::json!({
            "architecture": self.architecture,
            "os": "linux",
            "created": "1970-01-01T00:00:00Z",
            "config": {"Entrypoint": ["/holder"], "Labels": {LABEL: "1"}},
            "rootfs": {"type": "layers", "diff_ids": [digest(&layer)]},
            "history": [{"created": "1970-01-01T00:00:00Z", "created_by": "xp"}],
        });
        let config = config.to_string();
        let config_file = format!("{}.json", hex::encode(Sha256::digest(&config)));
        let manifest = serde_json::json!([{
            "Config": config_file,
            "RepoTags": [self.image],
            "Layers": ["layer.tar"],
        }]);
        let mut archive = tar::Builder::new(Vec::new());
        append(&mut archive, "layer.tar", 0o644, &layer)?;
        append(&mut archive, &config_file, 0o644, config.as_bytes())?;
        append(
            &mut archive,
            "manifest.json",
            0o644,
            manifest.to_string().as_bytes(),
        )?;
        archive.into_inner()
    }
}

fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(bytes)))
}

fn append(
    archive: &mut tar::Builder<Vec<u8>>,
    name: &str,
    mode: u32,
    bytes: &[u8],
) -> std::io::Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_mode(mode);
    header.set_size(bytes.len() as u64);
    archive.append_data(&mut header, name, bytes)
}

/// Returns a static ELF executable with this code, which is loaded together with the headers.
fn elf(machine: u16, code: &[u8]) -> Vec<u8> {
    let size = (HEADERS + code.len()) as u64;
    let mut file = Vec::with_capacity(HEADERS + code.len());
    // 64-bit, little-endian, version 1.
    file.extend(b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0");
    // An executable.
    file.extend(2_u16.to_le_bytes());
    file.extend(machine.to_le_bytes());
    file.extend(1_u32.to_le_bytes());
    // The entry point, the position of the program header, and no section headers.
    file.extend((BASE + HEADERS as u64).to_le_bytes());
    file.extend(64_u64.to_le_bytes());
    file.extend(0_u64.to_le_bytes());
    file.extend(0_u32.to_le_bytes());
    for value in [64_u16, 56, 1, 0, 0, 0] {
        file.extend(value.to_le_bytes());
    }
    // One segment to load, readable and executable: the whole file.
    file.extend(1_u32.to_le_bytes());
    file.extend(5_u32.to_le_bytes());
    for value in [0, BASE, BASE, size, size, 0x1_0000] {
        file.extend(value.to_le_bytes());
    }
    file.extend(code);
    file
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::os::unix::fs::PermissionsExt as _;
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn the_program_runs_until_its_input_ends() {
        let Some(program) = Program::new(std::env::consts::ARCH) else {
            return;
        };
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("holder");
        std::fs::write(&path, &program.elf).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        let command = &mut Command::new(&path);
        let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
        let mut input = child.stdin.take().unwrap();
        input.write_all(&[b'x'; 10_000]).unwrap();
        std::thread::sleep(std::time::Duration::from_millis(50));
        assert_eq!(child.try_wait().unwrap(), None);
        drop(input);
        assert!(child.wait().unwrap().success());
    }

    #[test]
    fn every_architecture_has_an_image_of_its_own() {
        let [intel, arm] = ["x86_64", "aarch64"].map(|it| Program::new(it).unwrap());
        assert_ne!(intel.image, arm.image);
        assert_eq!((intel.elf.len(), arm.elf.len()), (224, 224));
        assert!(Program::new("riscv64").is_none());
    }
}
