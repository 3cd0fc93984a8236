//! The real binary between a raw client and a backend that records every byte. One stage plays one case at a time, so that
//! whatever reaches the backend meanwhile is of that case.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

use socket2::SockRef;

use super::format::After;
use crate::strict::meaning::{End, request_ending, request_line};
use crate::strict::reader::{Found, Message, Reader};
use crate::support::{PATIENCE, Rondel};

/// Pieces that bytes are cut into at most.
const PIECES_MAX: usize = 300;

/// What the backend does when it is asked for `/case`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Script {
    pub(crate) bytes: Vec<u8>,
    pub(crate) after: After,
    /// It answers as soon as the head is there.
    pub(crate) early: bool,
    pub(crate) in_pieces: bool,
}

/// A connection to the backend, as recorded.
#[derive(Debug, Default)]
struct Record {
    bytes: Vec<u8>,
    closed: bool,
}

#[derive(Debug, Default)]
struct Recorder {
    script: Script,
    records: Vec<Record>,
    /// Whether anything has come back to the client since the script was set.
    came_back: bool,
    /// Whether the script's bytes are all out.
    played: bool,
}

pub(crate) struct Stage {
    rondel: Rondel,
    recorder: Arc<(Mutex<Recorder>, Condvar)>,
}

impl Stage {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let addr = listener.local_addr().expect("it is bound");
        let recorder = Arc::new((Mutex::new(Recorder::default()), Condvar::new()));
        let shared = Arc::clone(&recorder);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let shared = Arc::clone(&shared);
                let nth = {
                    let mut recorder = shared.0.lock().expect("nobody panics with it");
                    recorder.records.push(Record::default());
                    recorder.records.len() - 1
                };
                thread::spawn(move || serve(stream, nth, &shared));
            }
        });
        let rondel = Rondel::start(&[addr], &[]);
        Self { rondel, recorder }
    }

    pub(crate) fn listener(&self) -> SocketAddr {
        self.rondel.addr
    }

    pub(crate) fn set_script(&self, script: Script) {
        let mut recorder = self.recorder.0.lock().expect("nobody panics with it");
        recorder.script = script;
        recorder.came_back = false;
        recorder.played = false;
    }

    /// Opens a connection.
    pub(crate) fn connect(&self) -> TcpStream {
        let client = TcpStream::connect(self.rondel.addr).expect("it listens");
        client.set_read_timeout(Some(PATIENCE)).expect("it is open");
        client.set_nodelay(true).expect("it is open");
        client
    }

    /// Waits until the script's bytes are all out.
    pub(crate) fn await_script(&self) {
        wait_until(&self.recorder, |recorder| recorder.played);
    }

    /// Sends these bytes, and gives all that comes back, and how that ended.
    pub(crate) fn send(
        &self,
        mut client: TcpStream,
        bytes: &[u8],
        in_pieces: bool,
        finish: bool,
    ) -> (Vec<u8>, End) {
        write(&client, bytes, in_pieces);
        if finish {
            // Who was refused before may be shut out already.
            let _ = client.shutdown(Shutdown::Write);
        }
        let mut all = Vec::new();
        loop {
            let mut room = [0; 16 * 1024];
            match client.read(&mut room) {
                Ok(0) => return (all, End::Closed),
                Ok(count) => {
                    all.extend_from_slice(&room[..count]);
                    self.recorder
                        .0
                        .lock()
                        .expect("nobody panics with it")
                        .came_back = true;
                    self.recorder.1.notify_all();
                }
                Err(error) if error.kind() == ErrorKind::ConnectionReset => {
                    return (all, End::Reset);
                }
                Err(error) => panic!("{error} behind {}", all.escape_ascii()),
            }
        }
    }

    /// What reached the backend since the last time, one string of bytes for each connection, with whether that has ended.
    ///
    /// One client at a time needs one connection to the backend at a time: when all others have ended, all is there.
    pub(crate) fn recorded(&self) -> Vec<(Vec<u8>, bool)> {
        let (recorder, changed) = &*self.recorder;
        let recorder = recorder.lock().expect("nobody panics with it");
        let open = |recorder: &mut Recorder| {
            recorder
                .records
                .iter()
                .filter(|record| !record.closed)
                .count()
                > 1
        };
        let (mut recorder, waited) = changed
            .wait_timeout_while(recorder, PATIENCE, open)
            .expect("nobody panics with it");
        assert!(!waited.timed_out(), "one connection to the backend is left");
        let records = recorder.records.iter_mut();
        records
            .map(|record| (std::mem::take(&mut record.bytes), record.closed))
            .filter(|(bytes, _)| !bytes.is_empty())
            .collect()
    }
}

/// One connection to the backend.
fn serve(mut stream: TcpStream, nth: usize, shared: &(Mutex<Recorder>, Condvar)) {
    let _ = stream.set_nodelay(true);
    let mut reader = Reader::new();
    let mut room = [0; 16 * 1024];
    while let Ok(count @ 1..) = stream.read(&mut room) {
        let script = {
            let mut recorder = shared.0.lock().expect("nobody panics with it");
            recorder.records[nth]
                .bytes
                .extend_from_slice(&room[..count]);
            recorder.script.clone()
        };
        reader.push(&room[..count]);
        if answer(&stream, &mut reader, &script, shared) == After::Stays {
            continue;
        }
        if script.after == After::Resets {
            // A reset before the client has got anything may take that away, or not.
            wait_until(shared, |recorder| recorder.came_back);
            let _ = SockRef::from(&stream).set_linger(Some(Duration::ZERO));
        }
        break;
    }
    drop(stream);
    shared.0.lock().expect("nobody panics with it").records[nth].closed = true;
    shared.1.notify_all();
}

/// Waits for what must come; the test fails elsewhere if it does not.
fn wait_until((recorder, changed): &(Mutex<Recorder>, Condvar), there: impl Fn(&Recorder) -> bool) {
    let recorder = recorder.lock().expect("nobody panics with it");
    let _ = changed.wait_timeout_while(recorder, PATIENCE, |recorder| !there(recorder));
}

/// Answers what there is to answer; what cannot be read ends the connection.
fn answer(
    stream: &TcpStream,
    reader: &mut Reader,
    script: &Script,
    shared: &(Mutex<Recorder>, Condvar),
) -> After {
    loop {
        let message = match reader.advance() {
            Ok(Found::Nothing) => return After::Stays,
            Ok(Found::Head) => {
                let Ok(ending) = request_ending(&reader.message) else {
                    return After::Ends;
                };
                reader.expect(ending);
                if reader.message.lists("expect", "100-continue") {
                    write(stream, b"HTTP/1.1 100 Continue\r\n\r\n", false);
                }
                if !script.early || !is_case(&reader.message) {
                    continue;
                }
                reader.message.clone()
            }
            Ok(Found::End) => {
                let message = reader.take();
                if script.early && is_case(&message) {
                    continue;
                }
                message
            }
            Err(_) => return After::Ends,
        };
        if is_case(&message) {
            write(stream, &script.bytes, script.in_pieces);
            shared.0.lock().expect("nobody panics with it").played = true;
            shared.1.notify_all();
            if script.after != After::Stays {
                return script.after;
            }
        } else {
            write(stream, &plain_answer(&message), false);
        }
    }
}

fn is_case(message: &Message) -> bool {
    request_line(message).is_ok_and(|(_, target)| target == "/case")
}

/// The answer that tells which request it is for.
fn plain_answer(message: &Message) -> Vec<u8> {
    let (method, target) = request_line(message).unwrap_or_default();
    let body = answer_body(method, target);
    let length = body.len();
    let shown = if method == "HEAD" { "" } else { &body };
    format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{shown}").into_bytes()
}

/// What the backend answers to a request.
pub(crate) fn answer_body(method: &str, target: &str) -> String {
    format!("answer to {method} {target}")
}

/// Writes all of it, or as much as the peer takes.
pub(crate) fn write(mut stream: &TcpStream, bytes: &[u8], in_pieces: bool) {
    let piece = if in_pieces {
        bytes.len().div_ceil(PIECES_MAX).max(1)
    } else {
        bytes.len().max(1)
    };
    for piece in bytes.chunks(piece) {
        if stream.write_all(piece).is_err() {
            return;
        }
    }
}
