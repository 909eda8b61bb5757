#!/usr/bin/env node
// A client for msglogd: one JSON object a line, replies in the order of the requests.
import { once } from "node:events";
import { lstatSync } from "node:fs";
import net from "node:net";
import readline from "node:readline";

// Where to look for the daemon, as `msglog help` lists it. Anyone can make a folder in /tmp.
function sockets() {
  const { MSGLOG_SOCKET: named, RUNTIME_DIRECTORY: runtime, XDG_RUNTIME_DIR: user } = process.env;
  if (named) return [named];
  const own = `/tmp/msglogd-${process.getuid()}`;
  const isOurs = (lstatSync(own, { throwIfNoEntry: false })?.uid ?? process.getuid()) === process.getuid();
  const folders = [runtime?.split(":")[0], user, isOurs && own, "/run/msglogd"];
  return folders.filter((folder) => folder && folder.startsWith("/")).map((folder) => `${folder}/msglogd.sock`);
}

export class Msglog {
  #waiting = [];

  static async connect(paths = sockets()) {
    const tried = [];
    for (const path of paths) {
      try {
        const socket = net.connect(path);
        await once(socket, "connect");
        return new Msglog(socket);
      } catch (error) {
        tried.push(`${path}: ${error.code}`);
      }
    }
    throw new Error(`no daemon answers; tried ${tried.join(", ")}. MSGLOG_SOCKET names another socket`);
  }

  constructor(socket) {
    this.socket = socket;
    readline.createInterface({ input: this.socket }).on("line", (line) => {
      this.#waiting.shift().resolve(JSON.parse(line));
    });
    const lost = (error) => this.#waiting.splice(0).forEach((one) => one.reject(error ?? new Error("closed")));
    this.socket.on("error", lost).on("close", () => lost());
  }

  // A promise of the reply. Nothing waits for earlier replies: requests are sent ahead.
  ask(cmd, values = {}) {
    this.socket.write(JSON.stringify({ cmd, ...values }) + "\n");
    return new Promise((resolve, reject) => this.#waiting.push({ resolve, reject }));
  }
}

const msglog = await Msglog.connect();
const posts = Array.from({ length: 1000 }, (_, number) =>
  msglog.ask("message.post", { originator: "node", recipient: "examples", body: `Node says ${number}.` }));
console.log("posted", (await Promise.all(posts)).filter((reply) => reply.ok).length);
const found = await msglog.ask("message.search", { text: '"node says"', count: true, limit: 1 });
console.log("found", found.total, "newest:", found.messages[0].body);
msglog.socket.end();
