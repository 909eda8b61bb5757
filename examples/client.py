#!/usr/bin/env python3
"""A client for msglogd: one JSON object a line, replies in the order of the requests."""
import itertools
import json
import os
import socket
import time
from contextlib import suppress

# With these the daemon as a whole refuses for now; the same request may succeed later.
PASSING = {"shutting_down", "busy", "read_only", "outcome_unknown"}


class Refused(Exception):
    """The daemon refused a request: `error` is the code, `reply` is all that it said."""

    def __init__(self, reply):
        super().__init__(f"{reply['error']}: {reply['message']}")
        self.error, self.reply = reply["error"], reply


def sockets():
    """Where to look for the daemon, as `msglog help` lists it. Anyone can make a folder in /tmp."""
    if os.environ.get("MSGLOG_SOCKET"):
        return [os.environ["MSGLOG_SOCKET"]]
    own = f"/tmp/msglogd-{os.getuid()}"
    if os.path.lexists(own) and os.lstat(own).st_uid != os.getuid():
        own = ""
    runtime = os.environ.get("RUNTIME_DIRECTORY", "").split(":")[0]
    folders = [runtime, os.environ.get("XDG_RUNTIME_DIR", ""), own, "/run/msglogd"]
    return [f"{folder}/msglogd.sock" for folder in folders if folder.startswith("/")]


class Msglog:
    def __init__(self, path=None):
        self.path, self.socket = path, None
        self.connect()

    def connect(self):
        tried = []
        for path in [self.path] if self.path else sockets():
            try:
                self.socket = socket.socket(socket.AF_UNIX)
                self.socket.connect(path)
                self.replies = self.socket.makefile(encoding="utf-8", newline="\n")
                # After a loss it waits for this daemon, and goes to no other one.
                self.path, self.said = path, ""
                return
            except OSError as error:
                tried.append(f"{path}: {error.strerror or error}")
        self.socket = None
        raise ConnectionError(f"no daemon answers; tried {', '.join(tried)}. MSGLOG_SOCKET names another socket")

    def reply(self):
        """The next line from the daemon. What it refused last may be why it closes."""
        line = ""
        with suppress(ConnectionResetError):
            line = self.replies.readline()
        if not line.endswith("\n"):
            raise ConnectionError(f"msglogd closed the connection{self.said}")
        reply = json.loads(line)
        self.said = f"; it said last: {reply['error']}: {reply['message']}" if reply.get("ok") is False else ""
        return reply

    def send_ahead(self, requests, ahead=500):
        """Yields a reply for each request; up to `ahead` of them are under way at a time."""
        requests = iter(requests)
        while some := list(itertools.islice(requests, ahead)):
            # What the daemon said before it closed is still to be read.
            with suppress(BrokenPipeError, ConnectionResetError):
                self.socket.sendall("".join(json.dumps(one, ensure_ascii=False) + "\n" for one in some).encode())
            replies = map(lambda _: self.reply(), some)
            try:
                yield from replies
            finally:
                # Who leaves the loop early leaves no reply behind for the next request.
                list(replies)

    def ask(self, cmd, **arguments):
        """The reply to one request. A refusal is raised."""
        (reply,) = self.send_ahead([{"cmd": cmd, **arguments}])
        if not reply["ok"]:
            raise Refused(reply)
        return reply

    def insist(self, cmd, **arguments):
        """The same over restarts of the daemon, for a request that may be received twice."""
        while True:
            try:
                if self.socket is None:
                    self.connect()
                return self.ask(cmd, **arguments)
            except ConnectionError:
                pass
            except Refused as refused:
                if refused.error not in PASSING:
                    raise
            self.socket = None
            time.sleep(0.5)

    def pages(self, start=1, **arguments):
        """Every event of the log from a seq on, page by page. To resume: start = last seq + 1."""
        while start:
            page = self.ask("log.read", **arguments, **{"from": start})
            yield from page["events"]
            start = page.get("next")

    def follow(self, start=1, **arguments):
        """Every event from a seq on, then what comes, each once, over restarts of the daemon. To resume
        after one of this program: start = last seq + 1. The connection is the follower's for good."""
        while True:
            self.insist("log.follow", **arguments, **{"from": start})
            try:
                # The stream ends with a line that is no event when the daemon stops.
                while "seq" in (event := self.reply()):
                    start = event["seq"] + 1
                    yield event
            except ConnectionError:
                pass
            self.socket = None


if __name__ == "__main__":
    msglog = Msglog()
    post = {"cmd": "message.post", "originator": "python", "recipient": "examples"}
    posts = ({**post, "body": f"Python says {number}."} for number in range(1000))
    print("posted", sum(reply["ok"] for reply in msglog.send_ahead(posts)))
    found = msglog.ask("message.search", text="python says", count=True, limit=1)
    print("found", found["total"], "newest:", found["messages"][0]["body"])
