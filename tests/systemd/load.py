#!/usr/bin/env python3
"""load.py SOCKET CLIENTS: clients that write, without pause, until a file `stop` is in the folder.

Each client takes a new connection for every few requests, sends them ahead, and remembers what was
acknowledged. A connection that is refused is a failure. A connection that ends before its replies have
come is not: the client asks again with the same idempotency keys on a new one. At the end every
acknowledged value must be there, under the seq that its reply said.

Prints one JSON object: what was done, and what went wrong.
"""
import collections
import json
import multiprocessing
import os
import random
import socket
import sys

PATH, CLIENTS = sys.argv[1], int(sys.argv[2])
AHEAD = 32
PATIENCE = 60


class Client:
    def __init__(self, number):
        self.number = number
        self.chance = random.Random(number)
        self.counts = collections.Counter()
        self.acknowledged = {}

    def exchange(self, requests):
        """The replies that came; fewer than requests when the connection ended first."""
        replies = []
        with socket.socket(socket.AF_UNIX) as stream:
            stream.settimeout(PATIENCE)
            stream.connect(PATH)
            self.counts["connections"] += 1
            try:
                stream.sendall(b"".join(json.dumps(request).encode() + b"\n" for request in requests))
                reader = stream.makefile("rb")
                while len(replies) < len(requests):
                    line = reader.readline()
                    if not line.endswith(b"\n"):
                        break
                    replies.append(json.loads(line))
            except (BrokenPipeError, ConnectionResetError):
                pass
        return replies

    def write(self):
        written = 0
        while not os.path.exists("stop"):
            keys = [f"c{self.number}.{written + place}" for place in range(self.chance.randint(1, AHEAD))]
            written += len(keys)
            todo = [{"cmd": "kv.set", "key": key, "value": key, "idempotency_key": key} for key in keys]
            while todo:
                replies = self.exchange(todo)
                for request, reply in zip(todo, replies):
                    assert reply["ok"], f"{request}: {reply}"
                    self.acknowledged[request["key"]] = reply["seq"]
                    self.counts["replayed"] += "replayed" in reply
                if len(replies) < len(todo):
                    self.counts["asked_again"] += 1
                todo = todo[len(replies):]
        self.counts["acknowledged"] = len(self.acknowledged)

    def compare(self):
        keys = list(self.acknowledged)
        for start in range(0, len(keys), 200):
            part = keys[start:start + 200]
            replies = self.exchange([{"cmd": "kv.get", "key": key} for key in part])
            assert len(replies) == len(part), "a connection ended while the values were compared"
            for key, reply in zip(part, replies):
                found, expected = (reply.get("value"), reply.get("seq")), (key, self.acknowledged[key])
                assert found == expected, f"{expected} was acknowledged, {reply} is there"
                self.counts["compared"] += 1


def run(number):
    client = Client(number)
    try:
        client.write()
        client.compare()
    except Exception as error:  # a refused connection, a time-out, a refusal: all are failures here
        return client.counts, [f"client {number}: {type(error).__name__}: {error}"]
    return client.counts, []


with multiprocessing.Pool(CLIENTS) as pool:
    total, wrong = collections.Counter(), []
    for counts, problems in pool.map(run, range(CLIENTS), chunksize=1):
        total += counts
        wrong += problems
print(json.dumps({**total, "wrong": wrong}))
sys.exit(1 if wrong else 0)
