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
        post["body"] = line[: room - size({**post, "body": ""})].decode(errors="replace")
        # In JSON a byte may become six.
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
        return None


def inode_of(name):
    """The file that has the name now, if one has: in the middle of a rotation none does."""
    with suppress(FileNotFoundError):
        return os.stat(name).st_ino
    return None


def files(name):
    """What was rotated, oldest first, and the file itself: (inode, path, time of the last change) of each."""
    folder, base = os.path.split(name)
    is_rotated = re.compile(re.escape(base) + "[.-][0-9.-]+").fullmatch
    while True:
        before, found = inode_of(name), []
        # While files are renamed one may be seen twice, or not at all.
        with suppress(FileNotFoundError), os.scandir(folder) as entries:
            for entry in entries:
                if is_rotated(entry.name):
                    found.append((entry.inode(), entry.path, entry.stat().st_mtime_ns))
            found.sort(key=lambda file: file[2])
            if before is not None:
                found.append((before, name, os.stat(name).st_mtime_ns))
            if before == inode_of(name):
                return found


def mark(file, end):
    """What tells a file from another that has its inode: how it begins."""
    file.seek(0)
    return zlib.crc32(file.read(min(end, 4096)))


def opened(name, inode):
    """The file of this inode, whatever it is called by now; nothing if it is gone."""
    while path := next((path for found, path, _ in files(name) if found == inode), None):
        # It may be renamed just now, and another have its name.
        with suppress(FileNotFoundError):
            file = open(path, "rb")
            if os.fstat(file.fileno()).st_ino == inode:
                return file
            file.close()
    return None


class Reader:
    """The file that is read, and where in it."""

    def __init__(self, name, before):
        self.name, self.file = name, None
        if before is None:
            if not self.open(inode_of(name)):
                sys.exit(f"ship-log: {name} is not there")
            return
        # An older version of this program noted an inode and a position alone.
        inode, start, begins, changed = [*before, None, 0][:4]
        if not self.open(inode):
            print(f"ship-log: the file before is gone, and what it had behind byte {start} with it", file=sys.stderr)
            if not any(self.open(found) for found, _, last in files(name) if last >= changed):
                sys.exit(f"ship-log: {name} is not there")
        elif begins is None or begins == mark(self.file, start):
            self.start = start
        else:
            print("ship-log: the file was cut off: from its start on", file=sys.stderr)

    def open(self, inode):
        """Goes on with another file, from its start. Whether it is there."""
        if file := opened(self.name, inode):
            self.inode, self.file, self.start = inode, file, 0
        return file is not None

    def place(self):
        """What a later run goes on from."""
        changed = os.fstat(self.file.fileno()).st_mtime_ns
        return [self.inode, self.start, mark(self.file, self.start), changed]

    def following(self):
        """The next file with something in it: until there is one its writer may still be writing to this one."""
        found = files(self.name)
        inodes = [inode for inode, *_ in found]
        if self.inode in inodes:
            found = found[inodes.index(self.inode) + 1 :]
        else:
            changed = os.fstat(self.file.fileno()).st_mtime_ns
            found = [file for file in found if file[2] >= changed]
        # What is renamed just now is looked for again.
        with suppress(FileNotFoundError):
            return next((inode for inode, path, _ in found if os.path.getsize(path)), None)
        return None


def main(name, once):
    name = os.path.abspath(name)
    key = f"ship-log/{platform.node()}{name}"
    msglog = Msglog()
    room = msglog.ask("info")["limits"]["line_bytes"] // 2
    reader, leaving = Reader(name, stored(msglog, key)), False
    while True:
        # To the end first: on the way back nothing is left of what was read ahead and may have been cut off.
        if reader.start > reader.file.seek(0, os.SEEK_END):
            print("ship-log: the file was cut off: from its start on", file=sys.stderr)
            reader.start = 0
            # It may have grown beyond the old position when this program is started the next time.
            msglog.ask("kv.set", key=key, value=reader.place())
        reader.file.seek(reader.start)
        posts, left = [], room
        # Only whole lines: the rest of the last one is still to come, unless the file was left.
        while len(posts) < LINES and ((line := reader.file.readline()).endswith(b"\n") or (line and leaving)):
            post = post_of(line.rstrip(b"\n"), room)
            if size(post) > left:
                break
            posts.append(post)
            left -= size(post)
            reader.start = reader.file.tell()
        if posts:
            msglog.ask("batch", commands=[*posts, {"cmd": "kv.set", "key": key, "value": reader.place()}])
            print("shipped", len(posts), flush=True)
            continue
        following = reader.following()
        if following and leaving:
            reader.open(following)
            leaving = False
        elif following:
            # Once more to the end of this one.
            leaving = True
        elif once:
            break
        else:
            leaving = False
            time.sleep(0.2)


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit("usage: ship-log.py FILE [--once]")
    main(sys.argv[1], "--once" in sys.argv)
