// The Node server: node backend.mjs PORT FILES. What it serves is told in backends.py.
import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { createServer } from "node:http";
import { join } from "node:path";
import { pipeline } from "node:stream";

const [port, files] = process.argv.slice(2);
let asked = 0;
let mayCount = 0;
let sendMore = () => {};

async function answer(request, response) {
  const { pathname, searchParams } = new URL(request.url, "http://node");
  if (pathname === "/asked") return response.end(String(asked));
  asked += 1;
  if (pathname === "/") return response.end("node\n");
  if (pathname.startsWith("/chunked/")) {
    return pipeline(createReadStream(join(files, pathname.slice(9)), { highWaterMark: 1 << 18 }), response, () => {});
  }
  if (pathname === "/digest") {
    const body = createHash("sha256");
    for await (const piece of request) body.update(piece);
    return response.end(`${request.headers["transfer-encoding"] ?? "length"} ${body.digest("hex")}`);
  }
  if (pathname === "/events") return events(response, Number(searchParams.get("count")));
  if (pathname === "/events/next") {
    mayCount += 1;
    sendMore();
    return response.end();
  }
  response.writeHead(404).end();
}

function events(response, count) {
  let number = 0;
  response.writeHead(200, { "Content-Type": "text/event-stream" }).flushHeaders();
  sendMore = () => {
    for (; mayCount > 0; mayCount -= 1, number += 1) response.write(`id: ${number}\ndata: event ${number}\n\n`);
    if (number === count) response.end();
  };
  sendMore();
}

const server = createServer((request, response) => answer(request, response).catch(() => response.destroy()));
server.listen({ port: Number(port), host: "127.0.0.1", backlog: 4096 });
