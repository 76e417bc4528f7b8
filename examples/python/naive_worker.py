"""The simplest worker there is: read what is new, do it, acknowledge it. HOST PORT NAME.

It has no retry, no claim, no dead letter and no clean-up. With

    XGROUP CFGSET jobs workers ACK-WAIT 1000 MAX-DELIVER 5

that is enough: what a worker took and did not finish is delivered to the next one, and what nobody
can do ends in `{jobs}:dlq:workers`. What this worker does is to print a number.
"""

import sys

import redis

STREAM, GROUP = "jobs", "workers"


def do(fields):
    """One job. A poisoned one cannot be done."""
    if fields["kind"] == "poison":
        raise ValueError("this job cannot be done")
    print(fields["number"], flush=True)


def main(host, port, name):
    client = redis.Redis(host, int(port), protocol=2, decode_responses=True, socket_timeout=30)
    while True:
        reply = client.xreadgroup(GROUP, name, {STREAM: ">"}, count=10, block=1000)
        for _stream, entries in reply:
            for entry_id, fields in entries:
                try:
                    do(fields)
                except ValueError:
                    continue
                client.xack(STREAM, GROUP, entry_id)


if __name__ == "__main__":
    main(*sys.argv[1:])
