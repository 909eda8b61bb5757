#!/usr/bin/env node
// A client for msglogd: one JSON object a line, replies in the order of the requests.
import net from "node:net";
import readline from "node:readline";

export class Msglog {
  #waiting = [];

  constructor(path = process.env.MSGLOG_SOCKET || Msglog.#default()) {
    this.socket = net.connect(path);
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

  static #default() {
    return `${process.env.XDG_RUNTIME_DIR || `/tmp/msglogd-${process.getuid()}`}/msglogd.sock`;
  }
}

const msglog = new Msglog();
const posts = Array.from({ length: 1000 }, (_, number) =>
  msglog.ask("message.post", { originator: "node", recipient: "examples", body: `Node says ${number}.` }));
console.log("posted", (await Promise.all(posts)).filter((reply) => reply.ok).length);
const found = await msglog.ask("message.search", { text: '"node says"', count: true, limit: 1 });
console.log("found", found.total, "newest:", found.messages[0].body);
msglog.socket.end();
