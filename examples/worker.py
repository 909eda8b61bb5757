#!/usr/bin/env python3
"""A worker: worker.py QUEUE [COUNT] takes jobs one by one and does them, COUNT of them or for ever.

A job whose work fails comes back after ten seconds; one that this program dies over comes back
when its lease runs out. So a job may be done twice, and the work must bear that. While the daemon
is away the worker waits for it.
"""
import sys

from client import Msglog, Refused

LEASE_MS = 60_000


def work(body):
    """Does a job. Whatever it raises gives the job back."""
    if "fail" in str(body):
        raise ValueError("this cannot be done")
    print("done:", body, flush=True)


def settle(msglog, cmd, job, **arguments):
    try:
        msglog.insist(cmd, job=job["job"], lease=job["lease"], **arguments)
    except Refused as refused:
        # Another has the job by now; or it is gone, as an earlier try was received and its reply lost.
        if refused.error not in ("lease_lost", "not_found"):
            raise
        print("passed over:", job["job"], "-", refused, flush=True)


def main(queue, left):
    msglog = Msglog()
    while left:
        # Waits without polling, up to 30 seconds; then there may be no job, and it waits again.
        for job in msglog.insist("queue.reserve", queue=queue, lease_ms=LEASE_MS, wait_ms=30_000)["jobs"]:
            try:
                work(job["body"])
            except Exception as problem:
                print("failed:", job["body"], "-", problem, "- attempt", job["attempt"], flush=True)
                settle(msglog, "queue.nack", job, delay_ms=10_000)
            else:
                settle(msglog, "queue.ack", job)
            left -= 1


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit("usage: worker.py QUEUE [COUNT]")
    main(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else -1)
