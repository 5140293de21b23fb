//! A client of the YAML language server that editors use.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::process;

const TIMEOUT: Duration = Duration::from_secs(60);

/// A running language server; killed on drop.
pub struct LanguageServer {
    child: Child,
    input: ChildStdin,
    messages: Receiver<Value>,
    diagnostics: BTreeMap<String, Vec<Value>>,
    last_id: u64,
}

/// Returns a file installed by `bin/setup` from the lock files in `tests/tools`.
pub fn tool(path: &str) -> PathBuf {
    let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/test-tools");
    let file = tools.join(path);
    assert!(
        file.is_file(),
        "there is no {}; bin/test installs it",
        file.display()
    );
    file
}

impl LanguageServer {
    /// Starts it for a folder, offline: the schema comes from a file's first line.
    pub fn start(folder: &Path) -> Self {
        let mut command = process::in_clean_environment("node");
        command
            .arg(tool(
                "node_modules/yaml-language-server/bin/yaml-language-server",
            ))
            .arg("--stdio")
            .env("HOME", folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let mut child = command.spawn().expect("node, which bin/test installs");
        let input = child.stdin.take().expect("a pipe");
        let output = child.stdout.take().expect("a pipe");
        let (sender, messages) = channel();
        thread::spawn(move || {
            let mut output = BufReader::new(output);
            while let Some(message) = read_message(&mut output) {
                if sender.send(message).is_err() {
                    return;
                }
            }
        });
        let mut server = Self {
            child,
            input,
            messages,
            diagnostics: BTreeMap::new(),
            last_id: 0,
        };
        let root = url(folder);
        let abilities = json!({
            "workspace": { "configuration": true, "workspaceFolders": true },
            "textDocument": {
                "hover": { "contentFormat": ["markdown", "plaintext"] },
                "completion": { "completionItem": { "snippetSupport": true } },
                "publishDiagnostics": {},
            },
        });
        server.request(
            "initialize",
            json!({
                "processId": std::process::id(), "rootUri": root, "capabilities": abilities,
                "workspaceFolders": [{ "uri": root, "name": "platform" }],
            }),
        );
        server.notify("initialized", json!({}));
        server.notify(
            "workspace/didChangeConfiguration",
            json!({ "settings": { "yaml": settings() } }),
        );
        server
    }

    /// Opens a file with this text and returns the diagnostics.
    pub fn open(&mut self, file: &Path, text: &str) -> Vec<Value> {
        let uri = url(file);
        self.diagnostics.remove(&uri);
        self.notify(
            "textDocument/didOpen",
            json!({ "textDocument": { "uri": uri, "languageId": "yaml", "version": 1, "text": text } }),
        );
        let deadline = Instant::now() + TIMEOUT;
        loop {
            if let Some(found) = self.diagnostics.get(&uri) {
                return found.clone();
            }
            let message = self.receive(deadline);
            self.handle(&message);
        }
    }

    /// Returns the labels of the completions at a position, from 0.
    pub fn complete(&mut self, file: &Path, line: usize, column: usize) -> Vec<String> {
        let answer = self.ask_at("textDocument/completion", file, line, column);
        let items = answer["items"].as_array().cloned().unwrap_or_default();
        let labels = items.iter().filter_map(|item| item["label"].as_str());
        labels.map(str::to_owned).collect()
    }

    /// Returns the hover text at a position, from 0.
    pub fn hover(&mut self, file: &Path, line: usize, column: usize) -> String {
        let answer = self.ask_at("textDocument/hover", file, line, column);
        answer["contents"]["value"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    }

    fn ask_at(&mut self, method: &str, file: &Path, line: usize, column: usize) -> Value {
        let position = json!({ "line": line, "character": column });
        self.request(
            method,
            json!({ "textDocument": { "uri": url(file) }, "position": position }),
        )
    }

    fn request(&mut self, method: &str, params: Value) -> Value {
        self.last_id += 1;
        let id = json!(self.last_id);
        self.send(json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params }));
        let deadline = Instant::now() + TIMEOUT;
        loop {
            let message = self.receive(deadline);
            if message.get("method").is_none() && message["id"] == id {
                assert!(message.get("error").is_none(), "{method}: {message}");
                return message["result"].clone();
            }
            self.handle(&message);
        }
    }

    /// Responds to the server's requests and stores diagnostics.
    fn handle(&mut self, message: &Value) {
        let method = message["method"].as_str().unwrap_or_default();
        if method == "textDocument/publishDiagnostics" {
            let params = &message["params"];
            let uri = params["uri"].as_str().expect("a file").to_owned();
            let found = params["diagnostics"].as_array().expect("a list").clone();
            self.diagnostics.insert(uri, found);
        }
        if message.get("id").is_some() && !method.is_empty() {
            let result = if method == "workspace/configuration" {
                let items = message["params"]["items"].as_array().expect("a list");
                let answers = items.iter().map(|item| match item["section"].as_str() {
                    Some("yaml") => settings(),
                    _ => json!({}),
                });
                answers.collect()
            } else {
                Value::Null
            };
            self.send(json!({ "jsonrpc": "2.0", "id": message["id"], "result": result }));
        }
    }

    fn notify(&mut self, method: &str, params: Value) {
        self.send(json!({ "jsonrpc": "2.0", "method": method, "params": params }));
    }

    fn send(&mut self, message: Value) {
        let text = message.to_string();
        write!(self.input, "Content-Length: {}\r\n\r\n{text}", text.len())
            .and_then(|()| self.input.flush())
            .expect("the language server runs");
    }

    fn receive(&self, deadline: Instant) -> Value {
        let time = deadline.saturating_duration_since(Instant::now());
        match self.messages.recv_timeout(time) {
            Ok(message) => message,
            Err(RecvTimeoutError::Timeout) => panic!("the language server does not answer"),
            Err(RecvTimeoutError::Disconnected) => panic!("the language server has ended"),
        }
    }
}

impl Drop for LanguageServer {
    fn drop(&mut self) {
        // An error means that it has already exited.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn settings() -> Value {
    json!({
        "validate": true, "hover": true, "completion": true,
        "schemaStore": { "enable": false }, "kubernetesCRDStore": { "enable": false },
    })
}

fn url(path: &Path) -> String {
    format!("file://{}", path.display())
}

fn read_message(output: &mut impl BufRead) -> Option<Value> {
    let mut length = None;
    loop {
        let mut line = String::new();
        if output.read_line(&mut line).ok()? == 0 {
            return None;
        }
        let line = line.trim_end();
        if line.is_empty() {
            break;
        }
        if let Some(value) = line.strip_prefix("Content-Length: ") {
            length = value.parse().ok();
        }
    }
    let mut bytes = vec![0; length?];
    output.read_exact(&mut bytes).ok()?;
    serde_json::from_slice(&bytes).ok()
}
