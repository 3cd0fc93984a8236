//! How a backend answers: as planned, or with one thing wrong.

use std::collections::VecDeque;
use std::time::Duration;

use super::exchange::{Answer, Coding, Exchange};
use super::faults::Fault;
use super::kernel::World;
use super::plan::Plan;
use super::script::Manner;

/// One thing that a backend does on a connection.
#[derive(Clone, Debug)]
pub(crate) enum Out {
    Bytes(Vec<u8>),
    Pause(Duration),
    /// From here on something is wrong.
    Fault(Fault),
    /// It ends the connection, or its half of it.
    Kill(Fault, Manner),
    /// What follows is a tunnel.
    Tunnel,
    /// It shuts its sending side.
    Shut,
    /// It waits until all that it said has arrived.
    Settle,
    /// The answer is out; whether the connection ends with it.
    Done(bool),
    /// Bytes that nobody asked for.
    Talk(Vec<u8>),
    Close,
    Reset,
    /// It says nothing more, ever.
    Silence,
}

/// Responses that are none, or not to be trusted.
const GARBAGE: [&[u8]; 16] = [
    b"HTTP/1.1 200 OK\r\nContent-Length: 9999999999999999999\r\n\r\n",
    b"HTTP/1.2 200 OK\r\nContent-Length: 0\r\n\r\n",
    b"garbage\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nabc",
    b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 0x3\r\n\r\nabc",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nabc",
    b"HTTP/1.1 200 OK\r\nBad Name: 1\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 200 OK\nContent-Length: 0\n\n",
    b"HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 000 OK\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: other\r\n\r\n",
    b"HTTP/1.1 20 OK\r\nContent-Length: 0\r\n\r\n",
    b"\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nX-A: \x01\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\n: empty\r\nContent-Length: 0\r\n\r\n",
];

/// Bodies whose chunks go wrong behind the first one, or whose trailers do.
const MANGLED: [&[u8]; 5] = [
    b"zz\r\n",
    b"\r\n",
    b"5\r\nabcdefg\r\n0\r\n\r\n",
    b"0\r\nbad trailer\r\n\r\n",
    b"0\r\nX-Trail: a\nb: c\r\n\r\n",
];

/// What is said when nothing was asked; the last is a second answer. Both answers close: one that meets the next request
/// on its way is that request's answer by all that HTTP/1.1 can tell, and every later one would be somebody else's.
const TALK: [&[u8]; 4] = [
    b"hello?",
    b"\r\n",
    b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 299 Again\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
];

pub(crate) fn talk(world: &mut World) -> Vec<u8> {
    world.rng.pick(&TALK).to_vec()
}

/// An answer as it is to be sent.
struct Planned {
    head_bytes: usize,
    bytes: Vec<u8>,
    /// What follows it.
    end: Vec<Out>,
}

/// Plans the answer to an exchange.
pub(crate) fn answer(exchange: &Exchange, plan: &Plan, world: &mut World, out: &mut VecDeque<Out>) {
    let answer = &exchange.answer;
    for status in &answer.interims {
        let interim = format!("HTTP/1.1 {status} Wait\r\nX-Back: gone\r\nX-Hint: 1\r\n\r\n");
        out.push_back(Out::Bytes(interim.into_bytes()));
    }
    if !answer.think.is_zero() {
        out.push_back(Out::Pause(answer.think));
    }
    let mut bytes = exchange.answer_head();
    let head_bytes = bytes.len();
    bytes.extend(exchange.answer_coded_body(&mut world.rng));
    let end = match (exchange.tunnels(), exchange.swaps) {
        (true, _) if world.faults.strikes(Fault::TunnelCut, &mut world.rng) => {
            let said = exchange.tunnel_answer();
            let said = said[..world.rng.between(0, said.len())].to_vec();
            let manner = world.rng.pick(&[Manner::Close, Manner::Reset]);
            vec![
                Out::Tunnel,
                Out::Bytes(if exchange.swaps { said } else { Vec::new() }),
                Out::Pause(answer.think),
                Out::Kill(Fault::TunnelCut, manner),
            ]
        }
        (true, true) => vec![Out::Tunnel, Out::Bytes(exchange.tunnel_answer()), Out::Shut],
        (true, false) => vec![Out::Tunnel],
        (false, _) => vec![Out::Done(answer.close)],
    };
    let planned = Planned {
        head_bytes,
        bytes,
        end,
    };
    // Behind a body that ends with the connection there is no behind; a tunnel has none either.
    let has_behind = answer.coding != Coding::UntilClose && !exchange.tunnels();
    match draw(world) {
        Some(Fault::Garbage) => {
            let bytes = garbage(exchange, plan, world);
            out.extend([Out::Fault(Fault::Garbage), Out::Bytes(bytes), Out::Silence]);
        }
        Some(Fault::BodyCut) if planned.bytes.len() == head_bytes => {
            planned.send(answer, world, out)
        }
        Some(Fault::Behind) if !has_behind => planned.send(answer, world, out),
        Some(Fault::Mangled) if planned.mangle(exchange, world, out) => {}
        Some(Fault::Mangled) => planned.send(answer, world, out),
        Some(fault) => planned.spoil(fault, answer, plan, world, out),
        None => planned.send(answer, world, out),
    }
}

impl Planned {
    fn send(self, answer: &Answer, world: &mut World, out: &mut VecDeque<Out>) {
        match answer.trickle {
            // The bytes between chunks are none of a body: in them one must not dawdle.
            Some(pause) if answer.coding != Coding::Chunked => {
                let (head, body) = self.bytes.split_at(self.head_bytes);
                out.push_back(Out::Bytes(head.to_vec()));
                pieces(body, pause, world, out);
            }
            _ => pieces(&self.bytes, answer.pause, world, out),
        }
        out.extend(self.end);
    }

    /// The chunks go wrong, if there are any.
    fn mangle(&self, exchange: &Exchange, world: &mut World, out: &mut VecDeque<Out>) -> bool {
        let chunked = exchange.answer.coding == Coding::Chunked && exchange.answer_has_body();
        if !chunked {
            return false;
        }
        let body = exchange.answer_body();
        let mut bytes = self.bytes[..self.head_bytes].to_vec();
        if !body.is_empty() {
            bytes.extend_from_slice(format!("{:x}\r\n", body.len()).as_bytes());
            bytes.extend_from_slice(&body);
            bytes.extend_from_slice(b"\r\n");
        }
        match world.rng.below(MANGLED.len() + 1) {
            0 => {
                bytes.extend_from_slice(b"0\r\nX-Trail: ");
                bytes.extend_from_slice(&vec![b'a'; 5000]);
            }
            place => bytes.extend_from_slice(MANGLED[place - 1]),
        }
        out.extend([Out::Fault(Fault::Mangled), Out::Bytes(bytes), Out::Silence]);
        true
    }

    /// One thing goes wrong.
    fn spoil(
        mut self,
        fault: Fault,
        answer: &Answer,
        plan: &Plan,
        world: &mut World,
        out: &mut VecDeque<Out>,
    ) {
        let manner = world.rng.pick(&Manner::BACKENDS);
        match fault {
            Fault::Hang => out.extend([Out::Fault(fault), Out::Silence]),
            Fault::NoHead => out.push_back(Out::Kill(fault, manner)),
            Fault::HeadCut => {
                let cut = world.rng.between(1, self.head_bytes - 1);
                out.extend([
                    Out::Bytes(self.bytes[..cut].to_vec()),
                    Out::Kill(fault, manner),
                ]);
            }
            Fault::BodyCut => {
                let cut = world.rng.between(self.head_bytes, self.bytes.len() - 1);
                pieces(&self.bytes[..cut], answer.pause, world, out);
                // Without a length or chunks nothing but a reset tells.
                let manner = if answer.coding == Coding::UntilClose {
                    Manner::Reset
                } else {
                    manner
                };
                out.push_back(Out::Kill(fault, manner));
            }
            Fault::Stall => {
                let rest = self
                    .bytes
                    .split_off(world.rng.between(1, self.bytes.len() - 1));
                let timeouts = plan.timeouts();
                let stall = timeouts.response.max(timeouts.body) + Duration::from_millis(500);
                out.extend([
                    Out::Bytes(self.bytes),
                    Out::Fault(fault),
                    Out::Pause(stall),
                    Out::Bytes(rest),
                ]);
                out.extend(self.end);
            }
            Fault::Behind if world.rng.chance(500) => {
                self.bytes.extend_from_slice(&talk(world));
                out.extend([Out::Fault(fault), Out::Bytes(self.bytes)]);
                out.extend(self.end);
            }
            _ => {
                out.push_back(Out::Fault(fault));
                self.send(answer, world, out);
                out.push_back(Out::Talk(talk(world)));
            }
        }
    }
}

/// What goes wrong this time, if anything.
fn draw(world: &mut World) -> Option<Fault> {
    let mut faults = [
        Fault::Hang,
        Fault::NoHead,
        Fault::HeadCut,
        Fault::BodyCut,
        Fault::Stall,
        Fault::Garbage,
        Fault::Behind,
        Fault::Mangled,
    ];
    world.rng.shuffle(&mut faults);
    faults
        .into_iter()
        .find(|&fault| world.faults.strikes(fault, &mut world.rng))
}

/// A response head that no client may see.
fn garbage(exchange: &Exchange, plan: &Plan, world: &mut World) -> Vec<u8> {
    match world.rng.below(GARBAGE.len() + 2) {
        0 if plan.is_cramped() => GARBAGE[0].to_vec(),
        0 => [&b"HTTP/1.1 200 OK\r\nX-Long: "[..], &vec![b'a'; 17_000]].concat(),
        1 => b"HTTP/1.1 103 Wait\r\n\r\n".repeat(20),
        // For whoever asked for an upgrade, a 101 would be none.
        place if GARBAGE[place - 2].starts_with(b"HTTP/1.1 101") && exchange.upgrade => {
            GARBAGE[0].to_vec()
        }
        place => GARBAGE[place - 2].to_vec(),
    }
}

/// Bytes whole, or in pieces with pauses.
fn pieces(bytes: &[u8], pause: Duration, world: &mut World, out: &mut VecDeque<Out>) {
    let size = if pause.is_zero() {
        bytes.len()
    } else {
        bytes.len() / world.rng.between(1, 6) + 1
    };
    for (index, piece) in bytes.chunks(size.max(1)).enumerate() {
        if index > 0 {
            out.push_back(Out::Pause(pause));
        }
        out.push_back(Out::Bytes(piece.to_vec()));
    }
}
