#!/usr/bin/env python3
"""A log shipper: ship-log.py FILE [--once] posts every line of a growing file exactly once.

The lines and the position behind them are written in one atomic batch, so that neither a crash
of this program nor one of the daemon loses a line or posts it twice.
"""
import os
import platform
import sys
import time

from client import Msglog

if len(sys.argv) < 2:
    sys.exit("usage: ship-log.py FILE [--once]")
file = open(sys.argv[1], "rb")
key = f"ship-log/{platform.node()}/{os.fstat(file.fileno()).st_ino}"
msglog = Msglog()
(position,) = msglog.send_ahead([{"cmd": "kv.get", "key": key}])
file.seek(position["value"] if position["ok"] else 0)
while True:
    start, posts = file.tell(), []
    # Only whole lines: the rest of the last one is still to come. A batch takes 1000 commands.
    while len(posts) < 500 and (line := file.readline()).endswith(b"\n"):
        text = line.rstrip(b"\n").decode(errors="replace")
        posts.append({"cmd": "message.post", "originator": platform.node(), "recipient": "logs", "body": text})
        start = file.tell()
    file.seek(start)
    if posts:
        msglog.ask("batch", commands=[*posts, {"cmd": "kv.set", "key": key, "value": start}])
        print("shipped", len(posts), flush=True)
    elif "--once" in sys.argv:
        break
    else:
        time.sleep(0.2)
