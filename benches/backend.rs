//! A backend for `benches/wrk`: answers every request head with the same 1 KiB and keeps the connection; a thread for each.
//! With an address it listens there and prints where; with none (as under `cargo bench`) it ends at once.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::thread;

fn main() -> std::io::Result<()> {
    let Some(addr) = std::env::args().nth(1).filter(|arg| !arg.starts_with('-')) else {
        return Ok(());
    };
    let listener = TcpListener::bind(addr)?;
    println!("{}", listener.local_addr()?);
    for stream in listener.incoming() {
        let stream = stream?;
        thread::spawn(move || serve(stream));
    }
    Ok(())
}

/// Answers until the client leaves. Requests have no bodies here.
fn serve(mut stream: TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut reply =
        b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 1024\r\n\r\n".to_vec();
    reply.resize(reply.len() + 1024, b'x');
    let mut buffer = [0; 16 * 1024];
    let mut held = 0;
    loop {
        let read = stream.read(&mut buffer[held..])?;
        if read == 0 {
            return Ok(());
        }
        held += read;
        while let Some(end) = buffer[..held]
            .windows(4)
            .position(|four| four == b"\r\n\r\n")
        {
            buffer.copy_within(end + 4..held, 0);
            held -= end + 4;
            stream.write_all(&reply)?;
        }
    }
}
