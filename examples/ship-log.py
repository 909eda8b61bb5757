#!/usr/bin/env python3
"""A log shipper: ship-log.py FILE [--once] posts every line of a growing file exactly once.

The lines and the position behind them are written in one atomic batch, so that neither a crash of this program nor
one of the daemon loses a line or posts it twice. A file that logrotate has renamed (to FILE.1, FILE-20260131 ...) is
read to its end, then comes the one that has its name now; one that was copied and cut off (copytruncate) is read on
in its copy first. A file is known by up to 1024 bytes before the position: another with the same is taken for it.
"""
import json
import os
import platform
import re
import sys
import time
import zlib
from contextlib import suppress
from glob import escape, glob

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
    """Inode, position, last change and checksum of the run before. What else is refused must not post all again."""
    try:
        return msglog.ask("kv.get", key=key)["value"]
    except Refused as refused:
        if refused.error != "not_found":
            raise
        return [0, 0, time.time_ns(), 0]  # What was rotated before now is not looked for.


def files(name, since=0):
    """What was rotated and changed since then, oldest first, and the file itself: inodes with their paths."""
    is_one, found = re.compile(re.escape(name) + "([.-][0-9.-]+)?").fullmatch, []
    for path in filter(is_one, glob(escape(name) + "*")):
        with suppress(FileNotFoundError):  # What is renamed meanwhile is found by the next look.
            status = os.stat(path)
            found.append((path == name, status.st_mtime_ns, status.st_ino, path))
    return {inode: path for is_named, changed, inode, path in sorted(found) if is_named or changed >= since}


def opened(name, inode):
    """The file of this inode, if it is still there, whatever it is called by now."""
    with suppress(FileNotFoundError, KeyError):
        file = open(files(name)[inode], "rb")
        return file if os.fstat(file.fileno()).st_ino == inode else None


def before(file, start):
    """What stands before a position: its checksum tells a file from others, and from itself before it was cut off."""
    return os.pread(file.fileno(), min(start, 1024), max(0, start - 1024))


def found_again(name, once, inode, start, changed, marked):
    """The file of a position, or a copy of it, and the position there; else the next and its start, once there is."""
    while True:
        recent = list(files(name, changed))
        for number in [inode, *recent] if start else recent:  # An inode alone may be another's by now.
            if (file := opened(name, number)) and zlib.crc32(before(file, start)) == marked:
                return file, [number, start, changed, marked]
        if recent and (file := opened(name, recent[0])):
            print(f"ship-log: the file before is gone or was cut off, with all behind byte {start}", file=sys.stderr)
            return file, [recent[0], 0, os.fstat(file.fileno()).st_mtime_ns, 0]
        if once or not inode:
            sys.exit(f"ship-log: there is no {name}")
        time.sleep(0.2)


def next_inode(name, inode, changed):
    """The file behind this one, once something is in it: until then its writer may still be writing to this one."""
    inodes = list(found := files(name, changed))
    with suppress(FileNotFoundError):  # As there.
        behind = inodes[inodes.index(inode) + 1 :] if inode in inodes else inodes
        return next((number for number in behind if os.path.getsize(found[number])), None)


def main(name, once):
    key = f"ship-log/{platform.node()}{name}"
    msglog = Msglog()
    room = msglog.ask("info")["limits"]["line_bytes"] // 2
    position, file, leaving = stored(msglog, key), None, None
    while True:
        if not file:
            file, found = found_again(name, once, *position)
            if found != position:
                msglog.ask("kv.set", key=key, value=found)
            position = found
        inode, start, _, marked = position
        changed = os.fstat(file.fileno()).st_mtime_ns
        # To the end first: on the way back nothing is left of what was read ahead and may have been cut off.
        file.seek(0, os.SEEK_END)
        file.seek(start)
        posts, lines, left = [], [], room
        # Only whole lines: the rest of the last one is still to come, unless the file was left.
        while len(posts) < LINES and ((line := file.readline()).endswith(b"\n") or (line and leaving)):
            post = post_of(line.rstrip(b"\n"), room)
            if (left := left - size(post)) < 0:
                break
            posts.append(post)
            lines.append(line)
        if zlib.crc32(head := before(file, start)) != marked:
            file = leaving = None  # It was cut off, maybe while it was read: its copy has what was behind.
        elif posts:
            text = head + b"".join(lines)
            position = [inode, start - len(head) + len(text), changed, zlib.crc32(text[-1024:])]
            msglog.ask("batch", commands=[*posts, {"cmd": "kv.set", "key": key, "value": position}])
            print("shipped", len(posts), flush=True)
        elif (behind := next_inode(name, inode, changed)) != leaving:
            leaving = behind  # Once more to the end of this one.
        elif leaving and (following := opened(name, leaving)):
            file, position, leaving = following, [leaving, 0, changed, 0], None
        elif once and not leaving:
            break
        else:
            time.sleep(0.2)


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit("usage: ship-log.py FILE [--once]")
    main(os.path.abspath(sys.argv[1]), "--once" in sys.argv)
