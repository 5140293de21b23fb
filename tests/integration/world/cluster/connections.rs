//! The open connections of the server.

use std::collections::BTreeMap;
use std::net::{Shutdown, TcpStream};
use std::sync::Mutex;

/// The open connections, which can be closed all at once.
#[derive(Default)]
pub struct Connections {
    open: Mutex<(u64, BTreeMap<u64, TcpStream>)>,
}

impl Connections {
    /// Adds a connection and returns its number.
    pub fn add(&self, connection: TcpStream) -> u64 {
        let mut open = self.open.lock().expect("not poisoned");
        open.0 += 1;
        let number = open.0;
        open.1.insert(number, connection);
        number
    }

    /// Forgets a connection.
    pub fn remove(&self, number: u64) {
        self.open.lock().expect("not poisoned").1.remove(&number);
    }

    /// Closes all connections.
    pub fn close(&self) {
        for connection in self.open.lock().expect("not poisoned").1.values() {
            let _ = connection.shutdown(Shutdown::Both);
        }
    }
}
