// Reads jobs of `readers` with Node's http, and so with llhttp as strict as it comes: JSON in, JSON out.
'use strict';

const http = require('node:http');
const net = require('node:net');

const PATIENCE_MS = 5000;
const latin1 = (text) => Buffer.from(text, 'latin1').toString('latin1');

/** The trailers of a message, names in lower case. */
function trailersOf(message) {
  const raw = message.rawTrailers;
  const pairs = [];
  for (let at = 0; at < raw.length; at += 2) pairs.push([raw[at].toLowerCase(), latin1(raw[at + 1])]);
  return pairs;
}

/**
 * The whole requests in a stream of bytes, and why there is something else. A piece is sent when what came before it was
 * answered, as it was by the proxy: Node reads nothing behind a request with Upgrade before that.
 */
function readRequests(pieces) {
  return new Promise((resolve) => {
    const found = { messages: [], error: null };
    const rest = [...pieces];
    let client;
    const next = () => (rest.length > 1 ? client.write(rest.shift()) : client.end(rest.shift()));
    const server = http.createServer((request, response) => {
      const body = [];
      request.on('data', (piece) => body.push(piece));
      request.on('error', () => {});
      request.on('end', () => {
        if (!request.complete) return;
        const hosts = request.rawHeaders.filter((_, at, all) => at % 2 === 1 && all[at - 1].toLowerCase() === 'host');
        found.messages.push({
          method: request.method,
          target: request.url,
          host: hosts.join('|'),
          body: Buffer.concat(body).toString('base64'),
          trailers: trailersOf(request),
        });
        if (rest.length > 0) response.on('finish', next);
        response.end();
      });
    });
    server.httpAllowHalfOpen = true;
    server.maxHeadersCount = 0;
    server.on('clientError', (error, socket) => {
      found.error = found.error || error.code || error.message;
      socket.destroy();
    });
    server.on('connection', (socket) => {
      const timer = setTimeout(() => {
        found.error = found.error || 'no end';
        socket.destroy();
      }, PATIENCE_MS);
      socket.on('close', () => {
        clearTimeout(timer);
        server.close(() => resolve(found));
      });
    });
    server.listen(0, '127.0.0.1', () => {
      client = net.connect(server.address().port, '127.0.0.1');
      client.on('error', () => {});
      client.resume();
      next();
    });
  });
}

/** The response in a stream of bytes, if it is whole. */
function readResponse(job, data) {
  return new Promise((resolve) => {
    let peer;
    const server = net.createServer((socket) => {
      peer = socket;
      socket.on('error', () => {});
      socket.once('data', () => (job.reset ? socket.write(data) : socket.end(data)));
    });
    const interims = [];
    let done = false;
    let upgraded = false;
    const finish = (messages, error) => {
      if (done) return;
      done = true;
      clearTimeout(timer);
      server.close();
      server.closeAllConnections?.();
      request.destroy();
      resolve({ messages, error });
    };
    // libuv makes an end in order of a reset that comes together with data: what a client of 1.1 gets never depends on the
    // difference, only 1.0 has nothing else. So the reset comes when the data has been read.
    const resetBehind = (socket) => {
      let left = data.length;
      socket.on('data', (piece) => {
        left -= piece.length;
        if (left === 0) peer.resetAndDestroy();
      });
    };
    // With a reset behind it Node tells both of a whole response and of an error: whoever asked has to look at both.
    let read = [];
    const whole = (status, body, trailers) => {
      read = [{ status, body: Buffer.concat(body).toString('base64'), interims, trailers }];
    };
    const timer = setTimeout(() => finish([], 'no end'), PATIENCE_MS);
    let request;
    server.listen(0, '127.0.0.1', () => {
      const headers = job.upgrade ? { Connection: 'Upgrade', Upgrade: 'x' } : { Connection: 'close' };
      const { port } = server.address();
      request = http.request({ host: '127.0.0.1', port, method: job.method, path: '/case', headers, agent: false });
      request.on('information', ({ statusCode }) => interims.push(statusCode));
      request.on('error', (error) => finish([], error.code || error.message));
      if (job.reset) request.on('socket', resetBehind);
      request.on('close', () => upgraded || finish(read, read.length > 0 ? null : 'incomplete'));
      request.on('upgrade', (response, socket, head) => {
        upgraded = true;
        const pieces = [head];
        socket.on('data', (piece) => pieces.push(piece));
        socket.on('error', (error) => finish([], error.code));
        socket.on('end', () => {
          whole(response.statusCode, pieces, []);
          finish(read, null);
        });
      });
      request.on('response', (response) => {
        const pieces = [];
        response.on('data', (piece) => pieces.push(piece));
        response.on('error', (error) => finish([], error.code || error.message));
        response.on('end', () => {
          if (response.complete) whole(response.statusCode, pieces, trailersOf(response));
        });
      });
      request.end();
    });
  });
}

async function main() {
  const pieces = [];
  for await (const piece of process.stdin) pieces.push(piece);
  const results = [];
  for (const job of JSON.parse(Buffer.concat(pieces).toString())) {
    const found = { messages: [], error: null };
    for (const stream of job.streams) {
      const pieces = stream.map((piece) => Buffer.from(piece, 'base64'));
      const read = await (job.kind === 'request' ? readRequests(pieces) : readResponse(job, pieces[0]));
      found.messages.push(...read.messages);
      found.error = found.error || read.error;
    }
    results.push(found);
  }
  process.stdout.write(JSON.stringify(results));
}

main();
