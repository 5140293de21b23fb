//! Logs of containers.

use std::io::{self, BufReader, ErrorKind, Read};
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::Shared;
use super::faults::{LogCut, Runtime};
use super::http::{Connection, Incoming};
use super::node::EngineApi;
use super::status::Status;
use super::store::{Key, State};

/// How often to check whether the client has disconnected.
const CHECK_INTERVAL: Duration = Duration::from_millis(200);

/// A requested log.
pub struct LogRequest {
    key: Key,
    source: Source,
    follows: bool,
    limit: usize,
}

enum Source {
    /// A container of an engine.
    Engine {
        engine: EngineApi,
        path: String,
        timestamps: bool,
    },
    /// The log of a simulated pod, by UID.
    Simulation(String),
}

impl LogRequest {
    /// Reads a request for the log of a pod.
    pub fn read(state: &State, request: &Incoming, key: &Key, pod: &Value) -> Result<Self, Status> {
        let container = container(request, pod)?;
        if pod["status"]["reason"] == "NodeLost" {
            let message = format!(
                "Get \"https://10.0.0.1:10250/containerLogs/{}/{}/{container}\": dial tcp 10.0.0.1:10250: \
                 connect: no route to host",
                key.1, key.2
            );
            return Err(Status::new(500, "", message));
        }
        let number = |name: &str| request.parameter(name).parse::<usize>().ok();
        let uid = pod["metadata"]["uid"].as_str().unwrap_or_default();
        let runtime = state.runtime_of(&key.1).cloned();
        let source = match runtime {
            _ if state.simulations.contains_key(uid) => Source::Simulation(uid.to_owned()),
            Some(Runtime::Engine(node)) => {
                let id = engine_id(request, pod, container)?;
                let timestamps = request.parameter("timestamps") == "true";
                let mut path = format!("/containers/{id}/logs?stdout=true&stderr=true");
                for (name, is_set) in [
                    ("follow", request.parameter("follow") == "true"),
                    ("timestamps", timestamps),
                ] {
                    if is_set {
                        path.push_str(&format!("&{name}=true"));
                    }
                }
                if let Some(lines) = number("tailLines") {
                    path.push_str(&format!("&tail={lines}"));
                }
                if let Some(since) = since(request) {
                    path.push_str(&format!("&since={since}"));
                }
                Source::Engine {
                    engine: node.engine.clone(),
                    path,
                    timestamps,
                }
            }
            _ => return Err(waits(pod, container)),
        };
        Ok(Self {
            key: key.clone(),
            source,
            follows: request.parameter("follow") == "true",
            limit: number("limitBytes").unwrap_or(usize::MAX),
        })
    }
}

/// Returns the requested container, which can be left out if there is only one.
fn container<'a>(request: &'a Incoming, pod: &'a Value) -> Result<&'a str, Status> {
    let name = pod["metadata"]["name"].as_str().unwrap_or_default();
    let of = |list: &str| -> Vec<&'a str> {
        let containers = pod["spec"][list].as_array().into_iter().flatten();
        containers
            .filter_map(|container| container["name"].as_str())
            .collect()
    };
    let (init, main) = (of("initContainers"), of("containers"));
    match request.parameter("container") {
        "" if main.len() == 1 => Ok(main[0]),
        "" => Err(Status::bad_request(format!(
            "a container name must be specified for pod {name}, choose one of: [{}]",
            main.join(" ")
        ))),
        wanted if init.contains(&wanted) || main.contains(&wanted) => Ok(wanted),
        wanted => Err(Status::bad_request(format!(
            "container {wanted} is not valid for pod {name}"
        ))),
    }
}

fn engine_id(request: &Incoming, pod: &Value, container: &str) -> Result<String, Status> {
    let lists = ["initContainerStatuses", "containerStatuses"];
    let mut statuses = lists
        .iter()
        .flat_map(|list| pod["status"][list].as_array().into_iter().flatten());
    let status = statuses.find(|status| status["name"] == container);
    let status = status.ok_or_else(|| waits(pod, container))?;
    let last = &status["lastState"]["terminated"]["containerID"];
    let id = if request.parameter("previous") == "true" {
        last.as_str().ok_or_else(|| {
            let name = pod["metadata"]["name"].as_str().unwrap_or_default();
            Status::bad_request(format!(
                "previous terminated container {container:?} in pod {name:?} not found"
            ))
        })?
    } else {
        // A container that waits for its restart shows its last run.
        let current = status["containerID"].as_str();
        let has_run =
            !status["state"]["running"].is_null() || !status["state"]["terminated"].is_null();
        current
            .filter(|_| has_run)
            .or(last.as_str())
            .ok_or_else(|| waits(pod, container))?
    };
    Ok(id.trim_start_matches("docker://").to_owned())
}

fn waits(pod: &Value, container: &str) -> Status {
    let lists = ["initContainerStatuses", "containerStatuses"];
    let mut statuses = lists
        .iter()
        .flat_map(|list| pod["status"][list].as_array().into_iter().flatten());
    let status = statuses.find(|status| status["name"] == container);
    let reason = status.and_then(|status| status["state"]["waiting"]["reason"].as_str());
    let name = pod["metadata"]["name"].as_str().unwrap_or_default();
    let problem = match reason {
        Some("ErrImagePull" | "ImagePullBackOff") => "trying and failing to pull image",
        Some(reason) => reason,
        None => "ContainerCreating",
    };
    Status::bad_request(format!(
        "container {container:?} in pod {name:?} is waiting to start: {problem}"
    ))
}

/// Returns the start of the log as seconds since 1970 with nine decimals.
fn since(request: &Incoming) -> Option<String> {
    use time::OffsetDateTime;
    use time::format_description::well_known::Rfc3339;
    let start = match request.parameter("sinceSeconds").parse::<i64>() {
        Ok(seconds) => OffsetDateTime::now_utc() - Duration::from_secs(seconds.unsigned_abs()),
        Err(_) => OffsetDateTime::parse(request.parameter("sinceTime"), &Rfc3339).ok()?,
    };
    Some(format!(
        "{}.{:09}",
        start.unix_timestamp(),
        start.nanosecond()
    ))
}

/// Sends a log. The response ends with the container if the client follows it.
pub fn send(shared: &Shared, connection: &mut Connection, log: LogRequest) -> io::Result<()> {
    connection.begin_chunks("text/plain")?;
    let cut = take_cut(shared, &log.key.1);
    let mut output = Output {
        shared,
        connection,
        left: log.limit,
        until_cut: cut.map(|(after, _)| after),
    };
    match log.source {
        Source::Engine {
            engine,
            path,
            timestamps,
        } => match engine.open("GET", &path, "", None) {
            Ok(stream) => copy(stream, timestamps, &mut output)?,
            Err(error) => {
                // As the kubelet reports the loss of its container.
                let text = format!("unable to retrieve container logs: {}", error.message);
                output.write(text.as_bytes())?;
            }
        },
        Source::Simulation(uid) => {
            let text = simulated(shared, &uid, log.follows);
            output.write(text.as_bytes())?;
        }
    }
    let was_cut = output.until_cut == Some(0);
    match cut {
        Some((_, LogCut::Reset)) if was_cut => Err(io::Error::other("cut by the test")),
        Some((_, LogCut::Hang)) if was_cut => {
            while !output.is_over() {
                thread::sleep(CHECK_INTERVAL);
            }
            Err(ErrorKind::ConnectionAborted.into())
        }
        _ => connection.chunk(b""),
    }
}

fn take_cut(shared: &Shared, namespace: &str) -> Option<(usize, LogCut)> {
    let mut state = shared.state();
    let cuts = state.rules.get_mut(namespace)?.log_cuts.as_mut()?;
    cuts.times = cuts.times.checked_sub(1)?;
    Some((cuts.after, cuts.how))
}

fn simulated(shared: &Shared, uid: &str, follows: bool) -> String {
    let mut state = shared.state();
    loop {
        let Some(simulation) = state.simulations.get(uid) else {
            return String::new();
        };
        if simulation.is_over() {
            return simulation.run.log.clone();
        }
        if !follows || state.stopped {
            return String::new();
        }
        let waited = shared.changed.wait_timeout(state, CHECK_INTERVAL);
        state = waited.expect("not poisoned").0;
    }
}

struct Output<'a> {
    shared: &'a Shared,
    connection: &'a mut Connection,
    /// Bytes that may still be sent.
    left: usize,
    until_cut: Option<usize>,
}

impl Output<'_> {
    /// Sends a part; returns whether more may follow.
    fn write(&mut self, part: &[u8]) -> io::Result<bool> {
        self.shared.wait_while_frozen();
        let allowed = self.left.min(self.until_cut.unwrap_or(usize::MAX));
        let part = &part[..part.len().min(allowed)];
        self.left -= part.len();
        if let Some(rest) = &mut self.until_cut {
            *rest -= part.len();
        }
        if !part.is_empty() {
            self.connection.chunk(part)?;
        }
        Ok(self.left > 0 && self.until_cut != Some(0))
    }

    fn is_over(&mut self) -> bool {
        self.shared.state().stopped || self.connection.is_over()
    }
}

/// Copies the messages of an engine's log. Long lines consist of several messages, each of which has a timestamp; only
/// the first one is kept.
fn copy(
    mut stream: BufReader<UnixStream>,
    timestamps: bool,
    output: &mut Output<'_>,
) -> io::Result<()> {
    stream.get_ref().set_read_timeout(Some(CHECK_INTERVAL))?;
    let mut starts_line = [true; 3];
    let mut head = [0; 8];
    while fill(&mut stream, &mut head, output)? {
        let length = u32::from_be_bytes([head[4], head[5], head[6], head[7]]);
        let mut message = vec![0; length as usize];
        if !fill(&mut stream, &mut message, output)? {
            break;
        }
        let of = usize::from(head[0]).min(2);
        let begins = std::mem::replace(&mut starts_line[of], message.ends_with(b"\n"));
        let start = match message.iter().position(|byte| *byte == b' ') {
            Some(space) if timestamps && !begins => space + 1,
            _ => 0,
        };
        if !output.write(&message[start..])? {
            break;
        }
    }
    Ok(())
}

/// Reads until the buffer is full; returns `false` at the end, or if the client is gone.
fn fill(
    stream: &mut BufReader<UnixStream>,
    buffer: &mut [u8],
    output: &mut Output<'_>,
) -> io::Result<bool> {
    let mut length = 0;
    let mut checked = Instant::now();
    while length < buffer.len() {
        match stream.read(&mut buffer[length..]) {
            Ok(0) => return Ok(false),
            Ok(count) => length += count,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(error) => return Err(error),
        }
        if checked.elapsed() >= CHECK_INTERVAL {
            checked = Instant::now();
            if output.is_over() {
                return Ok(false);
            }
        }
    }
    Ok(true)
}
