//! How a backend answers: as planned, or with one thing wrong.

use std::collections::VecDeque;
use std::time::Duration;

use super::exchange::{Answer, Coding, Exchange};
use super::faults::Fault;
use super::kernel::World;
use super::plan::Plan;

/// One thing that a backend does on a connection.
#[derive(Clone, Debug)]
pub(crate) enum Out {
    Bytes(Vec<u8>),
    Pause(Duration),
    /// From here on something is wrong.
    Fault(Fault),
    /// It closes, with a reset or without.
    Kill(Fault, bool),
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
    /// It says nothing more, ever.
    Silence,
}

/// Responses that are none, or not to be trusted.
const GARBAGE: [&[u8]; 14] = [
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

/// What is said when nothing was asked.
const TALK: [&[u8]; 3] = [
    b"hello?",
    b"\r\n",
    b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
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
            let bytes = garbage(exchange, world);
            out.extend([Out::Fault(Fault::Garbage), Out::Bytes(bytes), Out::Silence]);
        }
        Some(Fault::BodyCut) if planned.bytes.len() == head_bytes => {
            planned.send(answer.pause, world, out)
        }
        Some(Fault::Behind) if !has_behind => planned.send(answer.pause, world, out),
        Some(fault) => planned.spoil(fault, answer, plan, world, out),
        None => planned.send(answer.pause, world, out),
    }
}

impl Planned {
    fn send(self, pause: Duration, world: &mut World, out: &mut VecDeque<Out>) {
        pieces(&self.bytes, pause, world, out);
        out.extend(self.end);
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
        let reset = world.rng.chance(500);
        match fault {
            Fault::Hang => out.extend([Out::Fault(fault), Out::Silence]),
            Fault::NoHead => out.push_back(Out::Kill(fault, reset)),
            Fault::HeadCut => {
                let cut = world.rng.between(1, self.head_bytes - 1);
                out.extend([
                    Out::Bytes(self.bytes[..cut].to_vec()),
                    Out::Kill(fault, reset),
                ]);
            }
            Fault::BodyCut => {
                let cut = world.rng.between(self.head_bytes, self.bytes.len() - 1);
                pieces(&self.bytes[..cut], answer.pause, world, out);
                out.push_back(Out::Kill(
                    fault,
                    reset || answer.coding == Coding::UntilClose,
                ));
            }
            Fault::Stall => {
                let rest = self
                    .bytes
                    .split_off(world.rng.between(1, self.bytes.len() - 1));
                let timeouts = plan.config.timeouts;
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
                self.send(answer.pause, world, out);
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
    ];
    world.rng.shuffle(&mut faults);
    faults
        .into_iter()
        .find(|&fault| world.faults.strikes(fault, &mut world.rng))
}

/// A response head that no client may see.
fn garbage(exchange: &Exchange, world: &mut World) -> Vec<u8> {
    match world.rng.below(GARBAGE.len() + 2) {
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
