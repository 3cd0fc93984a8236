//! What the tests with real sockets share: the real binary on a port of the kernel's choice, scripted backends, raw clients.
//!
//! Everything waits on events, nothing sleeps. Reads give up after [`PATIENCE`], so that a test that would hang fails.

#![allow(dead_code, reason = "each test binary uses its part of this")]
#![allow(
    unreachable_pub,
    clippy::unwrap_used,
    reason = "shared among test binaries; a test that cannot go on has failed"
)]

pub mod folder;
pub mod terminal;

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use socket2::{Domain, SockRef, Socket, Type};

/// How long anything may take before the test fails. Never reached when all is well.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// The running binary. Ended when dropped.
pub struct Rondel {
    child: Child,
    pub addr: SocketAddr,
    log: Arc<(Mutex<Vec<String>>, Condvar)>,
    log_reader: Option<thread::JoinHandle<()>>,
}

impl Rondel {
    /// Starts the binary in front of these backends, with these flags besides.
    pub fn start(backends: &[SocketAddr], flags: &[&str]) -> Self {
        let mut args: Vec<String> = vec!["--listen".into(), "127.0.0.1:0".into()];
        for backend in backends {
            args.extend(["--backend".into(), backend.to_string()]);
        }
        args.extend(flags.iter().map(ToString::to_string));
        Self::start_with(&args)
    }

    /// Starts the binary with exactly these arguments.
    pub fn start_with(args: &[String]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rondel"));
        command.args(args);
        Self::spawn(command)
    }

    /// Starts the binary with a file that says this, and a listener besides, named `main`, on a port of the kernel's choice.
    pub fn configured(text: &str) -> Self {
        Self::configured_with("", text)
    }

    /// The same, with more to say of the listener.
    pub fn configured_with(listener: &str, text: &str) -> Self {
        const LISTENER: &str = "[[listener]]\nname = \"main\"\naddress = \"127.0.0.1:0\"";
        // What holds for the whole program stands before the first section.
        let sections = text.find("[[").unwrap_or(text.len());
        let (top, sections) = text.split_at(sections);
        let folder = folder::Folder::new();
        let path = folder.file("rondel.toml");
        std::fs::write(&path, format!("{top}\n{LISTENER}\n{listener}\n{sections}")).unwrap();
        Self::start_with(&["-f".to_owned(), path.display().to_string()])
    }

    /// Starts this command, which runs the binary in the end.
    pub fn spawn(mut command: Command) -> Self {
        let mut child = command
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        let stderr = child.stderr.take().expect("stderr is piped");
        let log = Arc::new((Mutex::new(Vec::new()), Condvar::new()));
        let shared = Arc::clone(&log);
        let log_reader = thread::spawn(move || {
            let mut stderr = BufReader::new(stderr);
            let mut line = Vec::new();
            while stderr
                .read_until(b'\n', &mut line)
                .is_ok_and(|count| count > 0)
            {
                let text = String::from_utf8_lossy(line.trim_ascii_end()).into_owned();
                line.clear();
                shared.0.lock().unwrap().push(text);
                shared.1.notify_all();
            }
        });
        let mut rondel = Self {
            child,
            addr: SocketAddr::from(([127, 0, 0, 1], 0)),
            log,
            log_reader: Some(log_reader),
        };
        let line = rondel.wait_for_line("listening on ");
        let addr = line
            .rsplit("listening on ")
            .next()
            .and_then(|addr| addr.trim().parse().ok());
        rondel.addr = addr.unwrap_or_else(|| panic!("an address at the end of {line:?}"));
        rondel.wait_for_line("ready");
        rondel
    }

    /// The first line of the log, so far or to come, that contains `text`.
    pub fn wait_for_line(&self, text: &str) -> String {
        let (lines, changed) = &*self.log;
        let lines = lines.lock().unwrap();
        let found = |lines: &mut Vec<String>| !lines.iter().any(|line| line.contains(text));
        let (lines, timeout) = changed.wait_timeout_while(lines, PATIENCE, found).unwrap();
        assert!(!timeout.timed_out(), "no line with {text:?} in {lines:#?}");
        lines
            .iter()
            .find(|line| line.contains(text))
            .unwrap()
            .clone()
    }

    /// Waits for so many lines that contain `text`.
    pub fn wait_for_lines(&self, text: &str, count: usize) {
        let (lines, changed) = &*self.log;
        let lines = lines.lock().unwrap();
        let few = |lines: &mut Vec<String>| {
            lines.iter().filter(|line| line.contains(text)).count() < count
        };
        let (lines, timeout) = changed.wait_timeout_while(lines, PATIENCE, few).unwrap();
        assert!(
            !timeout.timed_out(),
            "not {count} lines with {text:?} in {lines:#?}"
        );
    }

    /// The log so far.
    pub fn log(&self) -> Vec<String> {
        self.log.0.lock().unwrap().clone()
    }

    pub fn connect(&self) -> Client {
        Client::connect(self.addr)
    }

    pub fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).expect("it runs");
    }

    /// Waits for its end, and for the end of its log.
    pub fn wait(&mut self) -> ExitStatus {
        let status = self.child.wait().expect("it can be waited for");
        let reader = self.log_reader.take().expect("it is waited for once");
        reader.join().expect("the log can be read");
        status
    }

    /// Processor time that it has used, in ticks of 10 ms.
    pub fn cpu_ticks(&self) -> u64 {
        let path = format!("/proc/{}/stat", self.child.id());
        let stat = std::fs::read_to_string(path).unwrap();
        let fields: Vec<&str> = stat
            .rsplit(')')
            .next()
            .unwrap()
            .split_whitespace()
            .collect();
        fields[11..13]
            .iter()
            .map(|ticks| ticks.parse::<u64>().unwrap())
            .sum()
    }
}

impl Drop for Rondel {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// One TCP connection with a raw reader.
pub struct Client {
    pub stream: TcpStream,
    /// What was read and not used yet.
    pub left: Vec<u8>,
    /// Whether the stream ended with a reset.
    pub was_reset: bool,
}

/// A response (or, at a backend, a request) as it stood on the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// First line and fields, without the empty line.
    pub head: String,
    pub body: Vec<u8>,
}

impl Message {
    pub fn first_line(&self) -> &str {
        self.head.lines().next().unwrap_or_default()
    }

    /// The values of all fields of that name.
    pub fn fields(&self, name: &str) -> Vec<&str> {
        let fields = self
            .head
            .lines()
            .skip(1)
            .filter_map(|line| line.split_once(':'));
        fields
            .filter(|(n, _)| n.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.trim())
            .collect()
    }

    /// The value of the only field of that name.
    pub fn field(&self, name: &str) -> Option<&str> {
        let values = self.fields(name);
        assert!(values.len() < 2, "one {name} in {}", self.head);
        values.first().copied()
    }

    pub fn status(&self) -> u16 {
        let status = self
            .first_line()
            .split(' ')
            .nth(1)
            .and_then(|status| status.parse().ok());
        status.unwrap_or_else(|| panic!("a status in {}", self.head))
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

impl Client {
    pub fn connect(addr: SocketAddr) -> Self {
        Self::new(TcpStream::connect(addr).expect("it listens"))
    }

    pub fn new(stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self {
            stream,
            left: Vec::new(),
            was_reset: false,
        }
    }

    /// Ends our sending side.
    pub fn finish(&self) {
        self.stream
            .shutdown(Shutdown::Write)
            .expect("the peer is there");
    }

    /// Closes with a reset.
    pub fn reset(self) {
        SockRef::from(&self.stream)
            .set_linger(Some(Duration::ZERO))
            .unwrap();
    }

    /// Asserts that the peer says nothing and does not close, as long as it is waited.
    pub fn expect_silence(&mut self, wait: Duration) {
        assert!(self.left.is_empty(), "not {}", self.left.escape_ascii());
        self.stream.set_read_timeout(Some(wait)).unwrap();
        let mut byte = [0];
        let read = self.stream.read(&mut byte);
        let kind = read.as_ref().map_err(std::io::Error::kind);
        assert!(
            matches!(kind, Err(ErrorKind::WouldBlock | ErrorKind::TimedOut)),
            "silence, not {read:?} {byte:?}"
        );
        self.stream.set_read_timeout(Some(PATIENCE)).unwrap();
    }

    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream
            .write_all(bytes.as_ref())
            .expect("the peer takes bytes");
    }

    /// Sends a request and reads the response to it.
    pub fn ask(&mut self, request: &str) -> Message {
        self.send(request);
        self.response(request.starts_with("HEAD"))
    }

    /// Reads a few bytes more; false at the end of the stream.
    pub fn more(&mut self) -> bool {
        let mut room = [0; 16 * 1024];
        match self.stream.read(&mut room) {
            Ok(0) => false,
            Ok(count) => {
                self.left.extend_from_slice(&room[..count]);
                true
            }
            Err(error) if error.kind() == ErrorKind::ConnectionReset => {
                self.was_reset = true;
                false
            }
            Err(error) => panic!("{error} after {:?}", self.left.escape_ascii().to_string()),
        }
    }

    /// Reads up to and with the empty line that ends a head; `None` when the stream ends before.
    pub fn head(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.left.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                let head: Vec<u8> = self.left.drain(..end + 4).collect();
                return Some(String::from_utf8_lossy(&head[..end]).into_owned());
            }
            if !self.more() {
                assert!(
                    self.left.is_empty(),
                    "a whole head, not {}",
                    self.left.escape_ascii()
                );
                return None;
            }
        }
    }

    pub fn exactly(&mut self, count: usize) -> Vec<u8> {
        while self.left.len() < count {
            assert!(self.more(), "{count} bytes, not {}", self.left.len());
        }
        self.left.drain(..count).collect()
    }

    /// Everything up to the end of the stream.
    pub fn rest(&mut self) -> Vec<u8> {
        while self.more() {}
        std::mem::take(&mut self.left)
    }

    pub fn line(&mut self) -> String {
        loop {
            if let Some(end) = self.left.windows(2).position(|bytes| bytes == b"\r\n") {
                let line: Vec<u8> = self.left.drain(..end + 2).collect();
                return String::from_utf8_lossy(&line[..end]).into_owned();
            }
            assert!(self.more(), "a whole line");
        }
    }

    /// The data of a chunked body, its trailers as lines behind it.
    pub fn chunks(&mut self) -> (Vec<u8>, Vec<String>) {
        let mut data = Vec::new();
        loop {
            let size = self.line();
            let size =
                usize::from_str_radix(&size, 16).unwrap_or_else(|_| panic!("a size, not {size:?}"));
            if size == 0 {
                break;
            }
            data.extend(self.exactly(size));
            assert_eq!(self.exactly(2), b"\r\n");
        }
        let mut trailers = Vec::new();
        loop {
            match self.line() {
                line if line.is_empty() => return (data, trailers),
                line => trailers.push(line),
            }
        }
    }

    /// Reads a message whose body ends as its head says; `bodiless` for the response to a HEAD.
    pub fn message(&mut self, bodiless: bool, until_close: bool) -> Option<Message> {
        let mut message = Message {
            head: self.head()?,
            body: Vec::new(),
        };
        if bodiless {
            return Some(message);
        }
        message.body = match (
            message.field("transfer-encoding"),
            message.field("content-length"),
        ) {
            (Some("chunked"), None) => self.chunks().0,
            (None, Some(length)) => self.exactly(length.parse().expect("a length")),
            (None, None) if until_close => self.rest(),
            (None, None) => Vec::new(),
            other => panic!("one clear framing, not {other:?}"),
        };
        Some(message)
    }

    /// Reads a response.
    pub fn response(&mut self, head_only: bool) -> Message {
        let peek = self.message_status();
        let bodiless = head_only || matches!(peek, 100..200 | 204 | 304);
        self.message(bodiless, true).expect("a response")
    }

    /// Reads a request, as a backend does; `None` when no more come.
    pub fn request(&mut self) -> Option<Message> {
        self.message(false, false)
    }

    fn message_status(&mut self) -> u16 {
        while self.left.len() < 12 {
            assert!(self.more(), "a response, not {}", self.left.escape_ascii());
        }
        let status = String::from_utf8_lossy(&self.left[9..12]).into_owned();
        status
            .parse()
            .unwrap_or_else(|_| panic!("a status line, not {}", self.left.escape_ascii()))
    }

    /// Asserts that the peer ends the stream and says nothing before.
    pub fn expect_end(&mut self) {
        let rest = self.rest();
        assert!(rest.is_empty(), "the end, not {}", rest.escape_ascii());
    }
}

/// A server on a port of the kernel's choice; each connection is a thread that runs the script.
pub struct Backend {
    pub addr: SocketAddr,
    connections: Arc<AtomicUsize>,
}

impl Backend {
    /// `script` is given each connection and how many came before it.
    pub fn start(script: impl Fn(Client, usize) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        Self::on(listener, script)
    }

    pub fn on(
        listener: TcpListener,
        script: impl Fn(Client, usize) + Send + Sync + 'static,
    ) -> Self {
        let addr = listener.local_addr().unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let script = Arc::new(script);
        let count = Arc::clone(&connections);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let nth = count.fetch_add(1, Ordering::SeqCst);
                let script = Arc::clone(&script);
                thread::spawn(move || script(Client::new(stream), nth));
            }
        });
        Self { addr, connections }
    }

    /// How many connections were made to it.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// See [`echo`].
    pub fn echo(name: &'static str) -> Self {
        Self::start(move |conn, _| echo(conn, name))
    }

    /// Answers each request of each connection with these bytes.
    pub fn says(bytes: &'static [u8]) -> Self {
        Self::start(move |mut conn, _| {
            while conn.request().is_some() {
                conn.send(bytes);
            }
        })
    }

    /// An address that refuses to the end of the test: nobody listens there, and nobody else is given it.
    pub fn nowhere() -> SocketAddr {
        static HELD: Mutex<Vec<Later>> = Mutex::new(Vec::new());
        let later = Later::new();
        let addr = later.addr;
        HELD.lock().unwrap().push(later);
        addr
    }
}

/// A backend that does not listen yet: its address refuses, and is nobody else's.
pub struct Later {
    pub addr: SocketAddr,
    socket: Socket,
}

impl Later {
    pub fn new() -> Self {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        let any_port = SocketAddr::from(([127, 0, 0, 1], 0));
        socket.bind(&any_port.into()).expect("a free port");
        let addr = socket.local_addr().unwrap().as_socket().unwrap();
        Self { addr, socket }
    }

    /// Listens from now on.
    pub fn start(self, script: impl Fn(Client, usize) + Send + Sync + 'static) -> Backend {
        self.socket.listen(128).unwrap();
        Backend::on(self.socket.into(), script)
    }
}

/// The script of a backend that answers every request with its own name, and with the request as it came in, its lines
/// ended by `\n`.
pub fn echo(mut conn: Client, name: &str) {
    while let Some(request) = conn.request() {
        let head = request.head.replace("\r\n", "\n");
        let body = format!("{name}\n{head}\n\n{}", request.text());
        let length = body.len();
        let body = if request.head.starts_with("HEAD") {
            ""
        } else {
            &body
        };
        conn.send(format!(
            "HTTP/1.1 200 OK\r\nX-Backend: {name}\r\nContent-Length: {length}\r\n\r\n{body}"
        ));
    }
}

/// A backend whose connections the test itself plays.
pub struct Stage {
    pub addr: SocketAddr,
    connections: Receiver<Client>,
}

impl Stage {
    pub fn start() -> Self {
        Self::on(TcpListener::bind("127.0.0.1:0").expect("a free port"))
    }

    pub fn on(listener: TcpListener) -> Self {
        let addr = listener.local_addr().unwrap();
        let (accepted, connections) = channel();
        thread::spawn(move || {
            let streams = listener.incoming().map_while(Result::ok);
            for stream in streams {
                if accepted.send(Client::new(stream)).is_err() {
                    return;
                }
            }
        });
        Self { addr, connections }
    }

    /// The next connection.
    pub fn accept(&self) -> Client {
        self.connections
            .recv_timeout(PATIENCE)
            .expect("a connection")
    }

    /// The next connection, and the first request on it.
    pub fn request(&self) -> (Client, Message) {
        let mut conn = self.accept();
        let request = conn.request().expect("a request");
        (conn, request)
    }

    /// Asserts that no connection came that was not accepted. To be called when what could have made one is over.
    pub fn expect_no_more(&self) {
        assert!(self.connections.try_recv().is_err(), "no more connections");
    }
}

/// A plain request for this target.
pub fn get(target: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: h\r\n\r\n")
}

/// A plain response with this body.
pub fn ok(body: &str) -> String {
    format!(
        "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}
