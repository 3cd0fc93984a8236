//! rondel: an HTTP/1.1 load balancer in one thread.
//!
//! This page is the map. Read it first, then `proxy/session.rs`, then whatever room you need.
//!
//! # The rooms
//!
//! ```text
//! main.rs           argv → config → logger → event loop; what prints or exits
//! stderr.rs         the log's way out, which neither stops nor stalls the loop
//! answers.rs        questions about a configuration, answered without running it
//! demo/             `rondel demo`: three backends to try it on
//!   server.rs       one of them: a small blocking server, a thread per connection
//! cli.rs            what was typed
//! cli/
//!   flags.rs        the flags of a run, and what flags there can be
//!   tuning.rs       the flags that say how to balance: timers, limits and the like
//!   verbs.rs        the commands
//!   questions.rs    the commands that ask about a configuration
//!   usage.rs        one line for each mistake
//! event_loop.rs     mio: poll, signals, the clocks
//! event_loop/
//!   kernel.rs       sockets and whose they are: the network of production
//!   pipes.rs        pipes to splice through
//!   diag.rs         what a peer has acknowledged, asked by netlink
//!   room.rs         how many descriptors there may be, and clients with them
//!   running.rs      what goes on in the loop: the proxy, and what changes it while it serves
//!   reload.rs       another configuration, read beside the loop
//!   listeners.rs    which listener is which, across a reload and an upgrade
//!   control.rs      the control socket
//!   upgrade.rs      a new program that takes over
//!   inherit.rs      what a program was given by the one before it, or by the service manager
//!   systemd.rs      what the service manager is told
//! inspect/          what a configuration comes to, told before it runs
//!   check.rs        what is found, with its place in the file
//!   lint.rs         what is allowed and hardly meant
//!   explain.rs      what would become of a request
//!   plan.rs         in which order a pool picks
//!   budget.rs       descriptors and memory that it needs
//!   diff.rs         what changes from one to another, and what follows
//!   start.rs        the balancer as it is at the start
//!   cover.rs        which routes no request reaches
//!   words.rs        parts of a configuration in words
//! inspect/explain/
//!   ask.rs          a request as people type it
//!   show.rs         what is explained, as text and JSON
//! inspect/lint/
//!   routes.rs       lints of routes
//!   pools.rs        lints of pools
//! inspect/diff/
//!   routes.rs       the same of routes
//! admin/            what is asked of the running program, as text
//!   client.rs       the one who asks
//! proxy/            the sessions, generic over the network: notify / tick / wait / drain
//!   accept.rs       new clients
//!   session.rs      one client connection: its phases, its deadline, its turn
//!   request.rs      waiting for a request, until its head is complete
//!   preface.rs      a PROXY protocol header before the first request
//!   hold.rs         requests that wait while no backend is live
//!   choose.rs       what is done with a request: its route, and whom that gives it to
//!   connect.rs      a backend for a request: an idle upstream, a new one, or the next backend
//!   exchange.rs     one request and its response: two flows and their joint state
//!   download.rs     the response: its head, the interim ones, its body
//!   pump.rs         bytes of a body from one connection to another
//!   pace.rs         how fast a client must send or take a body
//!   progress.rs     whether a peer goes on of which the kernel takes no more
//!   tunnel.rs       after a 101: opaque bytes both ways
//!   answer.rs       replies of our own, and the close that does not lose them
//!   failure.rs      the one table: what went wrong → status, blame, retry, reason word
//!   idle.rs         upstreams that wait for reuse
//!   timers.rs       what a deadline is for; one reminder per session
//!   shared.rs       what all sessions share, lent for a turn
//!   reload.rs       a configuration made ready, and another one served while all goes on
//!   shrink.rs       room of sessions that have left, given back
//! http/             bytes in, values out: no sockets, no clock, no backends, no logging
//!   field.rs        what a field is to a proxy, by its name
//!   head.rs         httparse and the strictness that it lacks
//!   chunked.rs      the chunked coding, byte by byte
//!   body.rs         where a message ends (RFC 9112 §6.3)
//!   path.rs         paths in the form that routes compare
//!   inquiry.rs      what a request asks for
//!   forward.rs      a head rewritten for the other side
//!   reply.rs        replies of our own, as bytes
//! http/forward/
//!   target.rs       the request target and the host
//!   seen.rs         what the fields of a request say together
//!   request.rs      a request's head for a backend
//!   response.rs     a response's head for a client
//!   chain.rs        who sent it, through whom, and what of that is believed
//!   copy.rs         lines that go on as they came
//!   edit.rs         what an operator has changed in a head
//! route.rs          which route takes a request
//! route/
//!   find.rs         where routes are looked for
//!   test.rs         the conditions of one route
//!   glob.rs         patterns with stars
//!   mismatch.rs     why a route does not take a request
//!   key.rs          what clients are told apart by
//! balance/          which backend: facts and `now` in, a pick out
//!   apply.rs        a configuration taken over: what is still there goes on as it was
//!   pool.rs         who of a pool may be picked, and who before whom
//!   pick.rs         the policies
//!   smooth.rs       smooth weighted round robin, also between pools
//!   hash.rs         rendezvous hashing
//!   sticky.rs       the token of the sticky cookie
//!   health.rs       when a backend is out, and when it may be tried again
//! net/              sockets and bytes, nothing of HTTP
//!   stream.rs       the two traits between us and the kernel
//!   buffer.rs       storage lent while bytes wait
//!   conn.rs         one socket: readiness and waiting bytes; the only reads and writes in the program
//!   proxy_header.rs the PROXY protocol: whose connection it is, as one proxy tells the next
//! net/buffer/
//!   free.rs         the free list, and when it lets go
//! net/conn/
//!   input.rs        what it brings: looked at, thrown away, or spliced on
//!   output.rs       what it is to take: sent at once, or as there is room
//! config/           what was configured, as plain data: every limit and timer with its default
//!   route.rs        which requests, and what is done with them
//!   pool.rs         which backends, and how one of them is picked
//!   value.rs        values from text
//!   file.rs         the file: read with all that is wrong in it, told of, printed
//! config/file/
//!   load.rs         from a path to what the file there says
//!   top.rs          what holds for the whole program, and the listeners
//!   pool.rs         pools, and what the top says for all of them
//!   backend.rs      the backends of a pool
//!   route.rs        routes: which requests they take
//!   action.rs       routes: what they do with requests
//!   fields.rs       routes: what they change in header fields
//!   text.rs         what single texts of HTTP may look like
//!   names.rs        names of things, unique and found again
//!   section.rs      a table while it is read: keys are asked for, with all that is to be known of them
//!   item.rs         values as they stand in the file
//!   book.rs         what is noted while a file is read
//!   problem.rs      what is wrong, with the line and a caret
//!   places.rs       where things stand in the file
//!   reference.rs    what the readers ask for, as text
//!   print.rs        the file that equals a configuration
//! ```
//!
//! A room imports from those below it only; `http`, `balance` and `net` import nothing of ours but the plain data of `config`; a
//! test holds the table. The two traits of `net` stand for the kernel: in production mio implements them, in the simulation a fake
//! network, so that the code that ships is the code that is simulated.
//!
//! # One tick
//!
//! `poll` → read the clocks → for each event [`notify`](proxy::Proxy::notify) (*set flags, queue the session, nothing else*)
//! → [`tick`](proxy::Proxy::tick): drop idle upstreams that spoke, accept, give each queued session one turn of about
//! 64 KiB, look at the deadlines that have come → sleep until the next reminder, or not at all while anyone is queued.
//!
//! # The life of a request
//!
//! 1. The kernel tells of bytes for a client's descriptor; a table says which session's; its flag is set, it is queued.
//! 2. Its turn: one read into the loop's buffer (`net::conn`), one call that parses, judges and rewrites the head
//!    (`http::forward`), into storage that stays until the response begins, should the request be sent again. Between judging
//!    and rewriting the request's route is found ([`route`]), which says what is changed and which pool it is for
//!    (`proxy::choose`).
//! 3. The pool's policy picks a backend ([`balance`]); an idle upstream is taken, or a connection begun (`proxy::connect`).
//! 4. Head and body leave in one write. The body is judged as it passes (`http::body`), in the buffer it was read into; of a
//!    large one most goes from socket to socket in the kernel (`proxy::pump`).
//! 5. The upstream's descriptor tells of the response: read, parsed, judged, rewritten, written to the client
//!    (`proxy::exchange`).
//! 6. Both done: the upstream goes back to the idle ones, the client may ask again, nothing is held.
//!
//! # Another configuration
//!
//! It is read, checked, compared and compiled beside the loop (`event_loop::reload`), and switched to between two ticks
//! (`proxy::reload`): listeners, pools and backends that are still there go on as they were, and whatever has begun keeps what it
//! began with.
//!
//! What can go wrong on the way stands in one table ([`proxy::failure`]).

#![forbid(unsafe_code)]

pub mod admin;
pub mod balance;
pub mod cli;
pub mod config;
pub mod event_loop;
pub mod http;
pub mod inspect;
pub mod net;
pub mod proxy;
pub mod route;
