#!/usr/bin/env node
// A client for msglogd: one JSON object a line, replies in the order of the requests.
import { once } from "node:events";
import { existsSync, lstatSync, realpathSync } from "node:fs";
import net from "node:net";
import readline from "node:readline";
import { fileURLToPath } from "node:url";

// Where to look for the daemon, as `msglog help` lists it. Anyone can make a folder in /tmp.
function sockets() {
  const { MSGLOG_SOCKET: named, RUNTIME_DIRECTORY: runtime, XDG_RUNTIME_DIR: user } = process.env;
  if (named) return [named];
  const own = `/tmp/msglogd-${process.getuid()}`;
  const isOurs = (lstatSync(own, { throwIfNoEntry: false })?.uid ?? process.getuid()) === process.getuid();
  const folders = [runtime?.split(":")[0], user, isOurs && own, "/run/msglogd"];
  return folders.filter((folder) => folder && folder.startsWith("/")).map((folder) => `${folder}/msglogd.sock`);
}

// A write that fails tells nothing: what the daemon said before it closed is still to be read.
class Socket extends net.Socket {
  _write(data, encoding, done) {
    super._write(data, encoding, () => done());
  }
  _writev(chunks, done) {
    super._writev(chunks, () => done());
  }
}

export class Msglog {
  #waiting = [];
  #lost = null;

  static async connect(paths = sockets()) {
    const tried = [];
    for (const path of paths) {
      const socket = new Socket().connect(path);
      try {
        await once(socket, "connect");
      } catch (error) {
        tried.push(`${path}: ${error.code}`);
        continue;
      }
      const msglog = new Msglog(socket);
      // Whom the daemon does not let in it tells so and closes.
      const { ok, error, message } = await msglog.ask("ping");
      if (!ok) throw new Error(`msglogd refuses: ${error}: ${message}`);
      return msglog;
    }
    throw new Error(`no daemon answers; tried ${tried.join(", ")}. MSGLOG_SOCKET names another socket`);
  }

  constructor(socket) {
    this.socket = socket;
    let last, broken;
    const lines = readline.createInterface({ input: this.socket });
    lines.on("line", (line) => {
      try {
        last = JSON.parse(line);
      } catch (error) {
        // The rest of a reply that never came whole.
        return this.socket.destroy(error);
      }
      this.#waiting.shift()?.resolve(last);
    });
    // Both tell of it.
    for (const one of [lines, this.socket]) one.on("error", (error) => (broken = error));
    this.socket.on("close", () => {
      const said = last?.ok === false ? `it said last: ${last.error}: ${last.message}` : broken?.message;
      this.#lost = new Error(["msglogd closed the connection", said].filter(Boolean).join("; "));
      this.#waiting.splice(0).forEach((one) => one.reject(this.#lost));
    });
  }

  // A promise of the reply. Nothing waits for earlier replies: requests are sent ahead.
  ask(cmd, values = {}) {
    if (this.#lost) return Promise.reject(this.#lost);
    this.socket.write(JSON.stringify({ cmd, ...values }) + "\n");
    return new Promise((resolve, reject) => this.#waiting.push({ resolve, reject }));
  }
}

// Run, and not imported by another program, whose own name may be no path at all.
const [, program = ""] = process.argv;
if (existsSync(program) && realpathSync(program) === fileURLToPath(import.meta.url)) {
  const msglog = await Msglog.connect();
  const posts = Array.from({ length: 1000 }, (_, number) =>
    msglog.ask("message.post", { originator: "node", recipient: "examples", body: `Node says ${number}.` }));
  console.log("posted", (await Promise.all(posts)).filter((reply) => reply.ok).length);
  const found = await msglog.ask("message.search", { text: '"node says"', count: true, limit: 1 });
  console.log("found", found.total, "newest:", found.messages[0].body);
  msglog.socket.end();
}
