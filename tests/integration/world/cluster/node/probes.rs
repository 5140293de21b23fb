//! Probes of a container, on their own thread.

use std::io::{Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::Order;
use super::engine::EngineApi;

/// What a probe found out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// The startup probe has succeeded, or there is none.
    Started,
    /// The readiness probe has a new result.
    Ready(bool),
    /// The startup or liveness probe has failed too often: the message of the event.
    Unhealthy(String),
}

/// The container to probe.
pub struct Target {
    pub engine: EngineApi,
    pub id: String,
    /// The address of the pod as seen from the node.
    pub address: String,
    pub spec: Value,
    pub index: usize,
    pub runs: Arc<AtomicBool>,
}

impl Target {
    /// Reports findings until the container ends.
    pub fn watch(self, orders: Sender<Order>) {
        thread::spawn(move || {
            let report = |finding: Finding| {
                let _ = orders.send(Order::Probed(self.index, self.id.clone(), finding));
            };
            if !self.spec["startupProbe"].is_null() && !self.wait_for_start(&report) {
                return;
            }
            report(Finding::Started);
            let (readiness, liveness) = (&self.spec["readinessProbe"], &self.spec["livenessProbe"]);
            if readiness.is_null() {
                report(Finding::Ready(true));
            }
            let now = Instant::now();
            let mut due = [now + delay(readiness), now + delay(liveness)];
            let mut failures = 0;
            while !(readiness.is_null() && liveness.is_null()) {
                if !self.pause_until(due[0].min(due[1])) {
                    return;
                }
                for (probe, due) in [readiness, liveness].into_iter().zip(&mut due) {
                    if probe.is_null() {
                        *due = Instant::now() + Duration::from_secs(3600);
                        continue;
                    }
                    if Instant::now() < *due {
                        continue;
                    }
                    *due = Instant::now() + period(probe);
                    let result = self.probe(probe);
                    if std::ptr::eq(probe, readiness) {
                        report(Finding::Ready(result.is_ok()));
                    } else if let Err(problem) = result {
                        failures += 1;
                        if failures >= threshold(probe) {
                            report(Finding::Unhealthy(format!(
                                "Liveness probe failed: {problem}"
                            )));
                            return;
                        }
                    } else {
                        failures = 0;
                    }
                }
            }
        });
    }

    fn wait_for_start(&self, report: &dyn Fn(Finding)) -> bool {
        let probe = &self.spec["startupProbe"];
        let mut due = Instant::now() + delay(probe);
        for attempt in 1.. {
            if !self.pause_until(due) {
                return false;
            }
            due = Instant::now() + period(probe);
            match self.probe(probe) {
                Ok(()) => return true,
                Err(problem) if attempt >= threshold(probe) => {
                    report(Finding::Unhealthy(format!(
                        "Startup probe failed: {problem}"
                    )));
                    return false;
                }
                Err(_) => {}
            }
        }
        false
    }

    /// Returns whether the container still runs then.
    fn pause_until(&self, due: Instant) -> bool {
        while self.runs.load(Ordering::Relaxed) {
            let rest = due.saturating_duration_since(Instant::now());
            if rest.is_zero() {
                return true;
            }
            thread::sleep(rest.min(Duration::from_millis(100)));
        }
        false
    }

    fn probe(&self, probe: &Value) -> Result<(), String> {
        let limit = Duration::from_secs(probe["timeoutSeconds"].as_u64().unwrap_or(1));
        let command = &probe["exec"]["command"];
        if !command.is_null() {
            let result = self.engine.execute(&self.id, command, limit);
            return match result {
                Ok((0, _)) => Ok(()),
                Ok((_, output)) => Err(output),
                Err(error) => Err(error.message),
            };
        }
        let (of, path) = match &probe["httpGet"] {
            Value::Null => (&probe["tcpSocket"], None),
            http => (http, Some(http["path"].as_str().unwrap_or("/"))),
        };
        let port = of["port"].as_u64().unwrap_or_default();
        let host = of["host"].as_str().unwrap_or(&self.address);
        connect(&format!("{host}:{port}"), path, limit).map_err(|error| error.to_string())
    }
}

fn connect(address: &str, path: Option<&str>, limit: Duration) -> std::io::Result<()> {
    let address = address.to_socket_addrs()?.next();
    let address = address.ok_or_else(|| std::io::Error::other("no address"))?;
    let mut stream = TcpStream::connect_timeout(&address, limit)?;
    let Some(path) = path else { return Ok(()) };
    stream.set_read_timeout(Some(limit))?;
    write!(stream, "GET {path} HTTP/1.0\r\nHost: pod\r\n\r\n")?;
    let mut head = [0; 12];
    stream.read_exact(&mut head)?;
    match head[9] {
        b'2' | b'3' => Ok(()),
        _ => Err(std::io::Error::other(
            String::from_utf8_lossy(&head).into_owned(),
        )),
    }
}

fn seconds(value: &Value, default: u64) -> Duration {
    Duration::from_secs(value.as_u64().unwrap_or(default))
}

fn delay(probe: &Value) -> Duration {
    seconds(&probe["initialDelaySeconds"], 0)
}

fn period(probe: &Value) -> Duration {
    seconds(&probe["periodSeconds"], 10)
}

fn threshold(probe: &Value) -> u64 {
    probe["failureThreshold"].as_u64().unwrap_or(3)
}
