//! A relay in front of an engine, which delays some of its requests.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::Duration;

use crate::world::Engine;

/// Relays connections to an engine on this machine, and returns the address for `DOCKER_HOST`. Requests that contain
/// all of these texts arrive later.
pub fn delayed(engine: &Engine, texts: &'static [&'static str], delay: Duration) -> String {
    let socket = engine
        .host()
        .strip_prefix("unix://")
        .expect("a socket")
        .to_owned();
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("its address");
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let server = UnixStream::connect(&socket).expect("the engine");
            relay(client, server, texts, delay);
        }
    });
    format!("tcp://{address}")
}

fn relay(
    mut client: TcpStream,
    mut server: UnixStream,
    texts: &'static [&'static str],
    delay: Duration,
) {
    let mut requests = client.try_clone().expect("a clone");
    let mut to_server = server.try_clone().expect("a clone");
    thread::spawn(move || {
        let mut buffer = vec![0; 64 * 1024];
        while let Ok(count @ 1..) = requests.read(&mut buffer) {
            let text = String::from_utf8_lossy(&buffer[..count]);
            if texts.iter().all(|it| text.contains(it)) {
                thread::sleep(delay);
            }
            if to_server.write_all(&buffer[..count]).is_err() {
                break;
            }
        }
        _ = to_server.shutdown(Shutdown::Write);
    });
    thread::spawn(move || {
        _ = std::io::copy(&mut server, &mut client);
        _ = client.shutdown(Shutdown::Both);
    });
}
