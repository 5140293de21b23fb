//! The API of the engine that runs the containers of pods.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};

/// A client of the engine; each call is one connection.
#[derive(Clone, Debug)]
pub struct EngineApi {
    socket: PathBuf,
}

/// The engine rejected a call, or is not available.
#[derive(Debug)]
pub struct EngineError {
    /// Zero if there was no response.
    pub code: u16,
    pub message: String,
}

impl From<io::Error> for EngineError {
    fn from(error: io::Error) -> Self {
        Self {
            code: 0,
            message: error.to_string(),
        }
    }
}

impl EngineApi {
    /// Returns a client for a host in the format of `DOCKER_HOST`; it must be a local socket.
    pub fn new(host: &str) -> Self {
        let socket = host.strip_prefix("unix://");
        Self {
            socket: socket
                .expect("the engine of pods has a local socket")
                .into(),
        }
    }

    /// Returns the response to a GET.
    pub fn get(&self, path: &str) -> Result<Value, EngineError> {
        self.call("GET", path, "", None)
    }

    /// Returns the response to a POST.
    pub fn post(&self, path: &str, body: Option<&Value>) -> Result<Value, EngineError> {
        self.call("POST", path, "", body)
    }

    /// Removes a container with its anonymous volumes, even if it runs.
    pub fn remove(&self, container: &str) {
        // It may be gone already.
        let path = format!("/containers/{container}?force=true&v=true");
        let _ = self.call("DELETE", &path, "", None);
    }

    /// Pulls an image, with the value of `X-Registry-Auth`.
    pub fn pull(&self, image: &str, login: &str) -> Result<(), EngineError> {
        let path = format!("/images/create?fromImage={}", encoded(image));
        let header = format!("X-Registry-Auth: {login}\r\n");
        let mut body = self.open("POST", &path, &header, None)?;
        let mut line = String::new();
        while body.read_line(&mut line)? > 0 {
            let progress: Value = serde_json::from_str(&line).unwrap_or_default();
            if let Some(message) = progress["error"].as_str() {
                let message = message.to_owned();
                return Err(EngineError { code: 500, message });
            }
            line.clear();
        }
        Ok(())
    }

    /// Runs a command in a container, and returns its exit code and output.
    pub fn execute(
        &self,
        container: &str,
        command: &Value,
        limit: Duration,
    ) -> Result<(i64, String), EngineError> {
        let spec =
            json!({ "AttachStdout": true, "AttachStderr": true, "Tty": true, "Cmd": command });
        let created = self.post(&format!("/containers/{container}/exec"), Some(&spec))?;
        let id = created["Id"].as_str().unwrap_or_default().to_owned();
        let start = json!({ "Detach": false, "Tty": true });
        let mut body = self.open("POST", &format!("/exec/{id}/start"), "", Some(&start))?;
        body.get_ref().set_read_timeout(Some(limit))?;
        let mut output = Vec::new();
        body.read_to_end(&mut output)?;
        let exit = self.get(&format!("/exec/{id}/json"))?;
        let code = exit["ExitCode"].as_i64().unwrap_or(-1);
        Ok((code, String::from_utf8_lossy(&output).into_owned()))
    }

    /// Returns the response of a successful call. It ends with the connection.
    pub fn open(
        &self,
        method: &str,
        path: &str,
        headers: &str,
        body: Option<&Value>,
    ) -> Result<BufReader<UnixStream>, EngineError> {
        let mut stream = UnixStream::connect(&self.socket)?;
        let body = body.map_or_else(String::new, Value::to_string);
        // With this version, responses have no chunks.
        let head = format!(
            "{method} {path} HTTP/1.0\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n{headers}\r\n",
            body.len()
        );
        stream.write_all((head + &body).as_bytes())?;
        let mut reader = BufReader::new(stream);
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let code = line.split(' ').nth(1).and_then(|code| code.parse().ok());
        let code: u16 = code.ok_or_else(|| io::Error::other("the engine closed the connection"))?;
        while !line.trim().is_empty() {
            line.clear();
            reader.read_line(&mut line)?;
        }
        if code < 400 {
            return Ok(reader);
        }
        let mut text = String::new();
        reader.read_to_string(&mut text)?;
        let error: Value = serde_json::from_str(&text).unwrap_or_default();
        let message = error["message"].as_str().unwrap_or(&text).to_owned();
        Err(EngineError { code, message })
    }

    fn call(
        &self,
        method: &str,
        path: &str,
        headers: &str,
        body: Option<&Value>,
    ) -> Result<Value, EngineError> {
        let mut text = String::new();
        self.open(method, path, headers, body)?
            .read_to_string(&mut text)?;
        Ok(serde_json::from_str(&text).unwrap_or_default())
    }
}

/// Encodes a value for a query.
pub fn encoded(value: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/:@".contains(&byte);
    value.bytes().fold(String::new(), |mut text, byte| {
        if is_plain(byte) {
            text.push(byte.into());
        } else {
            text.push_str(&format!("%{byte:02X}"));
        }
        text
    })
}
