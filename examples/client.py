#!/usr/bin/env python3
"""A client for msglogd: one JSON object a line, replies in the order of the requests."""
import itertools
import json
import os
import socket


class Msglog:
    def __init__(self, path=None):
        runtime = os.environ.get("XDG_RUNTIME_DIR") or f"/tmp/msglogd-{os.getuid()}"
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(path or os.environ.get("MSGLOG_SOCKET") or f"{runtime}/msglogd.sock")
        self.replies = self.socket.makefile(encoding="utf-8", newline="\n")

    def send_ahead(self, requests, ahead=500):
        """Yields a reply for each request; up to `ahead` of them are under way at a time."""
        requests = iter(requests)
        while some := list(itertools.islice(requests, ahead)):
            self.socket.sendall("".join(json.dumps(one) + "\n" for one in some).encode())
            for _ in some:
                yield json.loads(self.replies.readline())

    def ask(self, cmd, **arguments):
        """The reply to one request. A refusal is raised, with its code first."""
        (reply,) = self.send_ahead([{"cmd": cmd, **arguments}])
        if not reply["ok"]:
            raise RuntimeError(f"{reply['error']}: {reply['message']}")
        return reply


if __name__ == "__main__":
    msglog = Msglog()
    post = {"cmd": "message.post", "originator": "python", "recipient": "examples"}
    posts = ({**post, "body": f"Python says {number}."} for number in range(1000))
    print("posted", sum(reply["ok"] for reply in msglog.send_ahead(posts)))
    found = msglog.ask("message.search", text="python says", count=True, limit=1)
    print("found", found["total"], "newest:", found["messages"][0]["body"])
