// Node's fetch: node client.mjs get URL | put URL FILE. Prints the status, then the body, or with `get` its digest.
import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { Readable } from "node:stream";

const [method, url, file] = process.argv.slice(2);
if (method === "get") {
  const response = await fetch(url);
  const body = createHash("sha256");
  for await (const piece of response.body) body.update(piece);
  console.log(response.status, body.digest("hex"));
} else {
  const body = Readable.toWeb(createReadStream(file, { highWaterMark: 1 << 18 }));
  const response = await fetch(url, { method: "PUT", body, duplex: "half" });
  console.log(response.status, await response.text());
}
