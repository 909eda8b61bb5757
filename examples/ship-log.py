#!/usr/bin/env python3
"""A log shipper: ship-log.py FILE [--once] posts every line of a growing file exactly once.

The lines and the position behind them are written in one atomic batch, so that neither a crash
of this program nor one of the daemon loses a line or posts it twice. A file that logrotate has
renamed (to FILE.1, FILE-20260131 ...) is read to its end, then comes the one that has its name
now. A file that became shorter was cut off (copytruncate) and is read from its start.
"""
import json
import os
import platform
import re
import sys
import time
import zlib
from contextlib import suppress

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
        while post["body"] and (length := size(post)) > room:
            post["body"] = post["body"][: len(post["body"]) * room // length]
        print(f"ship-log: a line of {len(line)} bytes was cut to {len(post['body'])} characters", file=sys.stderr)
    return post


def stored(msglog, key):
    """The file and the position of the run before, if any. What else is refused must not post the file again."""
    try:
        return msglog.ask("kv.get", key=key)["value"]
    except Refused as refused:
        if refused.error != "not_found":
            raise


def files(name, since=0):
    """What was rotated and changed since then, oldest first, and the file itself: inodes with their paths."""
    folder, base = os.path.split(name)
    is_rotated, found = re.compile(re.escape(base) + "[.-][0-9.-]+").fullmatch, []
    with os.scandir(folder) as entries:
        for entry in entries:
            # What is renamed or removed meanwhile is found by the next look.
            with suppress(FileNotFoundError):
                if is_rotated(entry.name) and (changed := entry.stat().st_mtime_ns) >= since:
                    found.append((changed, entry.inode(), entry.path))
    found.sort()
    with suppress(FileNotFoundError):
        found.append((0, os.stat(name).st_ino, name))
    return {inode: path for _, inode, path in found}


def opened(name, inode):
    """The file of this inode, if it is still there, whatever it is called by now."""
    path = files(name).get(inode)
    return open(path, "rb") if path else None


def mark(file, start):
    """The checksum of what stands before a position: it tells a file from one that only got its inode."""
    file.seek(max(0, start - 1024))
    return zlib.crc32(file.read(min(start, 1024)))


def found_again(name, inode, start, changed, marked):
    """The file of the run before, or a copy of it, its inode and the position; else the next, from its start."""
    recent = list(files(name, changed))
    for number in [inode, *recent]:
        if (file := opened(name, number)) and mark(file, start) == marked:
            return file, number, start
    print(f"ship-log: the file before is gone or was cut off, with what it had behind byte {start}", file=sys.stderr)
    return opened(name, recent[0]), recent[0], 0


def next_inode(name, inode):
    """The file behind this one, once something is in it: until then its writer may still be writing to this one."""
    # In the middle of a rotation a file may be gone: the next look finds it under its new name.
    with suppress(FileNotFoundError):
        found = list(files(name).items())
        inodes = [number for number, _ in found]
        behind = found[inodes.index(inode) + 1 :] if inode in inodes else found[-1:]
        return next((number for number, path in behind if os.path.getsize(path)), None)


def main(name, once):
    key = f"ship-log/{platform.node()}{name}"
    msglog = Msglog()
    room = msglog.ask("info")["limits"]["line_bytes"] // 2
    position = stored(msglog, key) or [os.stat(name).st_ino, 0, 0, 0]
    (file, inode, start), changed, leaving = found_again(name, *position), position[2], None
    while True:
        # To the end first: on the way back nothing is left of what was read ahead and may have been cut off.
        if start > file.seek(0, os.SEEK_END):
            print("ship-log: the file was cut off: from its start on", file=sys.stderr)
            start = 0
            msglog.ask("kv.set", key=key, value=[inode, start, changed, mark(file, start)])
        file.seek(start)
        posts, left = [], room
        # Only whole lines: the rest of the last one is still to come, unless the file was left.
        while len(posts) < LINES and ((line := file.readline()).endswith(b"\n") or (line and leaving)):
            post = post_of(line.rstrip(b"\n"), room)
            if size(post) > left:
                break
            posts.append(post)
            left -= size(post)
            start = file.tell()
        if posts:
            changed = os.fstat(file.fileno()).st_mtime_ns
            position = [inode, start, changed, mark(file, start)]
            msglog.ask("batch", commands=[*posts, {"cmd": "kv.set", "key": key, "value": position}])
            print("shipped", len(posts), flush=True)
        elif leaving:
            # What is renamed just now is looked for again.
            if following := opened(name, leaving):
                file, inode, start = following, leaving, 0
            leaving = None
        elif leaving := next_inode(name, inode):
            pass  # Once more to the end of this one.
        elif once:
            break
        else:
            time.sleep(0.2)


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit("usage: ship-log.py FILE [--once]")
    main(os.path.abspath(sys.argv[1]), "--once" in sys.argv)
