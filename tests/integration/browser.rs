//! A headless browser, controlled through the developer tools protocol.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use crate::process;

/// Timeout of all browser operations.
const TIMEOUT: Duration = Duration::from_secs(60);

/// A browser with one page; killed on drop.
pub struct Browser {
    process: Child,
    input: ChildStdin,
    messages: Receiver<Value>,
    last_id: u64,
    session: Option<String>,
    /// Events received.
    events: Vec<Value>,
}

impl Browser {
    /// Starts it with its own profile, on an empty page of this size.
    pub fn start(folder: &Path, width: u32, height: u32) -> Self {
        let mut command = process::in_clean_environment("sh");
        // The protocol uses file descriptors 3 and 4; stdout and stderr are ignored.
        command.args([
            "-c",
            "exec chromium --headless --no-sandbox --disable-gpu --disable-dev-shm-usage --no-first-run \
             --disable-background-networking --remote-debugging-pipe --user-data-dir=\"$1\" \
             --window-size=\"$2\" \
             3<&0 4>&1 </dev/null >/dev/null 2>\"$1.log\"",
            "sh",
        ]);
        command.arg(folder.join("browser")).env("HOME", folder);
        command.arg(format!("{width},{height}"));
        let mut process = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("sh can be started");
        let input = process.stdin.take().expect("a pipe");
        let mut output = BufReader::new(process.stdout.take().expect("a pipe"));
        let (sender, messages) = channel();
        thread::spawn(move || {
            let mut message = Vec::new();
            while matches!(output.read_until(0, &mut message), Ok(length) if length > 0) {
                message.pop();
                let decoded = serde_json::from_slice(&message).expect("JSON of the browser");
                if sender.send(decoded).is_err() {
                    return;
                }
                message.clear();
            }
        });
        let mut browser = Self {
            process,
            input,
            messages,
            last_id: 0,
            session: None,
            events: Vec::new(),
        };
        let target = browser.call("Target.createTarget", json!({"url": "about:blank"}));
        let attached = browser.call(
            "Target.attachToTarget",
            json!({"targetId": target["targetId"], "flatten": true}),
        );
        browser.session = attached["sessionId"].as_str().map(str::to_owned);
        for domain in ["Page", "Runtime", "Log", "Network"] {
            browser.call(&format!("{domain}.enable"), json!({}));
        }
        browser
    }

    /// Calls a method of the developer tools' protocol, and returns its result.
    #[track_caller]
    pub fn call(&mut self, method: &str, parameters: Value) -> Value {
        self.last_id += 1;
        let mut message = json!({"id": self.last_id, "method": method, "params": parameters});
        if let Some(session) = &self.session {
            message["sessionId"] = session.as_str().into();
        }
        let text = format!("{message}\0");
        self.input
            .write_all(text.as_bytes())
            .unwrap_or_else(|error| panic!("{method}: {error}; bin/test installs chromium"));
        loop {
            let response = self.next();
            if response["id"] == self.last_id {
                assert!(
                    response["error"].is_null(),
                    "{method}: {}",
                    response["error"]
                );
                return response["result"].clone();
            }
            self.events.push(response);
        }
    }

    /// Opens a file and waits until it is loaded.
    #[track_caller]
    pub fn open(&mut self, file: &Path) {
        let url = format!("file://{}", file.display());
        let opened = self.call("Page.navigate", json!({"url": url}));
        assert!(opened["errorText"].is_null(), "{url}: {opened}");
        let deadline = Instant::now() + TIMEOUT;
        while self.value("location.href + document.readyState") != format!("{url}complete") {
            assert!(Instant::now() < deadline, "{url} is not loaded");
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Evaluates a JavaScript expression.
    #[track_caller]
    pub fn value(&mut self, expression: &str) -> Value {
        let result = self.call(
            "Runtime.evaluate",
            json!({"expression": expression, "returnByValue": true, "awaitPromise": true}),
        );
        let thrown = &result["exceptionDetails"];
        assert!(thrown.is_null(), "{expression}: {thrown}");
        result["result"]["value"].clone()
    }

    /// Waits until an expression is true.
    #[track_caller]
    pub fn wait_until(&mut self, expression: &str) {
        let deadline = Instant::now() + TIMEOUT;
        while self.value(expression) != true {
            assert!(
                Instant::now() < deadline,
                "it is not true that {expression}"
            );
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Clicks on the center of the first element that matches a selector.
    #[track_caller]
    pub fn click(&mut self, selector: &str) {
        let (x, y) = self.point(selector);
        for kind in ["mouseMoved", "mousePressed", "mouseReleased"] {
            let count = u8::from(kind != "mouseMoved");
            self.call(
                "Input.dispatchMouseEvent",
                json!({"type": kind, "x": x, "y": y, "button": "left", "clickCount": count}),
            );
        }
    }

    /// Moves the mouse over an element.
    #[track_caller]
    pub fn hover(&mut self, selector: &str) {
        let (x, y) = self.point(selector);
        self.call(
            "Input.dispatchMouseEvent",
            json!({"type": "mouseMoved", "x": x, "y": y}),
        );
    }

    /// Types a text, key by key, into the focused element.
    pub fn type_text(&mut self, text: &str) {
        for key in text.chars() {
            let key = key.to_string();
            self.call(
                "Input.dispatchKeyEvent",
                json!({"type": "keyDown", "key": key, "text": key}),
            );
            self.call(
                "Input.dispatchKeyEvent",
                json!({"type": "keyUp", "key": key}),
            );
        }
    }

    /// Prints the page to PDF.
    pub fn print(&mut self) -> Vec<u8> {
        let printed = self.call("Page.printToPDF", json!({}));
        let data = printed["data"].as_str().expect("a file");
        BASE64_STANDARD.decode(data).expect("base64")
    }

    /// Returns the URLs of all requests, including opened pages.
    pub fn requests(&mut self) -> Vec<String> {
        let sent = self.events_named("Network.requestWillBeSent");
        let urls = sent
            .iter()
            .filter_map(|event| event["params"]["request"]["url"].as_str());
        urls.map(str::to_owned).collect()
    }

    /// Returns the errors of the page: exceptions, console errors and CSP violations.
    pub fn errors(&mut self) -> Vec<String> {
        let mut errors = self.events_named("Runtime.exceptionThrown");
        errors.extend(self.events_named("Log.entryAdded"));
        let logged = self.events_named("Runtime.consoleAPICalled");
        errors.extend(
            logged
                .into_iter()
                .filter(|it| it["params"]["type"] == "error"),
        );
        errors.iter().map(Value::to_string).collect()
    }

    #[track_caller]
    fn point(&mut self, selector: &str) -> (f64, f64) {
        let selector = json!(selector);
        let place = format!(
            "(() => {{ const it = document.querySelector({selector});
                if (!it) return null;
                it.scrollIntoView({{block: 'center', behavior: 'instant'}});
                const box = it.getBoundingClientRect();
                return [box.x + Math.min(box.width / 2, 20), box.y + box.height / 2]; }})()"
        );
        // Scrolling may trigger layout, which moves the element.
        let mut point = self.value(&place);
        loop {
            thread::sleep(Duration::from_millis(50));
            let now = self.value(&place);
            if now == point {
                break;
            }
            point = now;
        }
        let number = |index: usize| {
            point[index]
                .as_f64()
                .unwrap_or_else(|| panic!("there is no {selector}"))
        };
        (number(0), number(1))
    }

    fn events_named(&mut self, method: &str) -> Vec<Value> {
        // Events sent before this response have arrived.
        self.call("Runtime.evaluate", json!({"expression": "0"}));
        let matching = self.events.iter().filter(|event| event["method"] == method);
        matching.cloned().collect()
    }

    #[track_caller]
    fn next(&mut self) -> Value {
        self.messages
            .recv_timeout(TIMEOUT)
            .expect("the browser answers; bin/test installs chromium")
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Returns the number of pages of a PDF.
pub fn pages(pdf: &[u8]) -> usize {
    let text = String::from_utf8_lossy(pdf);
    let types = text.match_indices("/Type /Page");
    types
        .filter(|(at, found)| !text[at + found.len()..].starts_with('s'))
        .count()
}
