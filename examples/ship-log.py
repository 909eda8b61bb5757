#!/usr/bin/env python3
"""A log shipper: ship-log.py FILE [--once] posts every line of a growing file exactly once.

The lines and the position behind them are written in one atomic batch, so that neither a crash
of this program nor one of the daemon loses a line or posts it twice. A file that became shorter
was cut off (logrotate's copytruncate) and is read from its start.
"""
import json
import os
import platform
import sys
import time

from client import Msglog, Refused

# A batch takes 1000 commands; its posts fill half of the longest request, so that the rest has room.
LINES = 500


def size(post):
    return len(json.dumps(post, ensure_ascii=False).encode()) + 2


def post_of(line, room):
    """The post of a line, which is cut where it is too long for a request."""
    post = {"cmd": "message.post", "originator": platform.node(), "recipient": "logs"}
    post["body"] = line.decode(errors="replace")
    if size(post) > room:
        post["body"] = line[: room - size({**post, "body": ""})].decode(errors="replace")
        # In JSON a byte may become six.
        while post["body"] and (length := size(post)) > room:
            post["body"] = post["body"][: len(post["body"]) * room // length]
        print(f"ship-log: a line of {len(line)} bytes was cut to {len(post['body'])} characters", file=sys.stderr)
    return post


def stored(msglog, key):
    """The position of the run before, or the start. What else is refused must not post the file again."""
    try:
        return msglog.ask("kv.get", key=key)["value"]
    except Refused as refused:
        if refused.error != "not_found":
            raise
        return 0


def main(name, once):
    file = open(name, "rb")
    key = f"ship-log/{platform.node()}/{os.fstat(file.fileno()).st_ino}"
    msglog = Msglog()
    room = msglog.ask("info")["limits"]["line_bytes"] // 2
    start = stored(msglog, key)
    while True:
        # To the end first: on the way back nothing is left of what was read ahead and may have been cut off.
        if start > file.seek(0, os.SEEK_END):
            print("ship-log: the file was cut off: from its start on", file=sys.stderr)
            start = 0
            # It may have grown beyond the old position when this program is started the next time.
            msglog.ask("kv.set", key=key, value=start)
        file.seek(start)
        posts, left = [], room
        # Only whole lines: the rest of the last one is still to come.
        while len(posts) < LINES and (line := file.readline()).endswith(b"\n"):
            post = post_of(line[:-1], room)
            if size(post) > left:
                break
            posts.append(post)
            left -= size(post)
            start = file.tell()
        if posts:
            msglog.ask("batch", commands=[*posts, {"cmd": "kv.set", "key": key, "value": start}])
            print("shipped", len(posts), flush=True)
        elif once:
            break
        else:
            time.sleep(0.2)


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit("usage: ship-log.py FILE [--once]")
    main(sys.argv[1], "--once" in sys.argv)
