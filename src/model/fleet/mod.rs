//! Building on a fleet: each unit of a plan runs as a Kubernetes Job. Pure.
//!
//! The coordinator, `xp build --fleet`, plans as always and writes one [`WorkerDocument`] per unit. The worker, xp in its
//! own image, runs exactly that unit, decides nothing, and reports by [`WorkerMessage`]s on its standard output.
//!
//! | module | contents |
//! |---|---|
//! | `document` | the unit document, and its schema |
//! | `job_name` | the name of a unit's Job: equal for equal images |
//! | `objects` | the Job and its Secret |
//! | `pod_template` | the user's pod template, and the worker's container in it |
//! | `pod_remote` | how a pod reaches a git remote |
//! | `probe` | what `xp doctor --fleet` checks in a pod |
//! | `pod` | what the status of a pod says |
//! | `job` | what a Job says |
//! | `stream` | the worker's messages as lines of a log |
//! | `refusal` | what cannot be built on a fleet |

mod document;
mod job;
mod job_name;
mod objects;
mod pod;
mod pod_remote;
mod pod_template;
mod probe;
mod refusal;
mod stream;

pub use document::{BuilderFiles, SentWork, WorkerDocument, schema};
pub use job::{JobEnd, JobState};
pub use job_name::{JobIdentity, job_name};
pub use objects::{JobObject, MANAGED_BY, ProbeObject, SecretObject, by_annotation};
pub use pod::{PodEnd, PodState, Waiting};
pub use pod_remote::PodRemote;
pub use pod_template::{GIT_CREDENTIALS, PodTemplate};
pub use probe::Probe;
pub use refusal::{Refusal, refusals};
pub use stream::{LineReader, LineWriter, STREAM_VERSION, UnitEnd, WorkerMessage};

/// The name of the worker's container.
pub const CONTAINER: &str = "xp";

/// The folder of the unit document and the credentials in the worker's container.
pub const UNIT_FOLDER: &str = "/xp/unit";

/// The file of the unit document.
pub const UNIT_FILE: &str = "unit.json";

/// The folder in which the worker writes; a template may mount a volume there.
pub const WORK_FOLDER: &str = "/xp/work";

/// The folder that stands for the manifest's folder.
pub const PLATFORM_FOLDER: &str = "/xp/work/platform";

/// The worker's `cacheDir`.
pub const CACHE_FOLDER: &str = "/xp/work/cache";
