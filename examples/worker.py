#!/usr/bin/env python3
"""A worker: worker.py QUEUE [COUNT] takes jobs one by one and does them, COUNT of them or for ever.

A job whose work fails comes back after ten seconds; one that this program dies over comes back
when its lease runs out. So a job may be done twice, and the work must bear that.
"""
import sys

from client import Msglog

LEASE_MS = 60_000


def work(body):
    if "fail" in body:
        raise ValueError("this cannot be done")
    print("done:", body, flush=True)


queue = sys.argv[1]
left = int(sys.argv[2]) if len(sys.argv) > 2 else -1
msglog = Msglog()
while left:
    # Waits without polling, up to 30 seconds; then there may be no job, and it waits again.
    reserved = msglog.ask("queue.reserve", queue=queue, lease_ms=LEASE_MS, wait_ms=30_000)
    for job in reserved["jobs"]:
        mine = {"job": job["job"], "lease": job["lease"]}
        try:
            work(job["body"])
            msglog.ask("queue.ack", **mine)
        except ValueError as problem:
            print("failed:", job["body"], "-", problem, "- attempt", job["attempt"], flush=True)
            msglog.ask("queue.nack", **mine, delay_ms=10_000)
        left -= 1
