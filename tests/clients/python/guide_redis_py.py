"""The examples of the guide for redis-py, as they stand there: HOST PORT [PROTOCOL].

The protocol is the one that redis-py takes when it is not told; that of the command line is not
used.
"""

import contextlib
import functools
import io
import json
import os
import signal
import threading

import redis

from checks import arguments, equal, run, until
from guide import example

HOST, PORT, _ = arguments()
client = redis.Redis(host=HOST, port=PORT, decode_responses=True)


def nothing_is_left(stream, group):
    info = client.xinfo_groups(stream)
    return [(row["pending"], row["lag"]) for row in info if row["name"] == group] == [(0, 0)]


def connects_and_reads():
    client.flushall()
    for number in range(3):
        client.xadd("orders", {"number": number})
    exec(example("clients.md", "redis.Redis(port=", PORT), {"redis": redis})
    equal(nothing_is_left("orders", "billing"), True)


def worker():
    client.flushall()
    client.xadd("clicks", {"data": json.dumps({"code": "a"})})
    client.xadd("clicks", {"data": "no json"})
    client.xadd("clicks", {"data": json.dumps({"code": "b"})})

    def end():
        try:
            until("the group exists", lambda: client.exists("clicks:dead"))
            until("all is done", lambda: nothing_is_left("clicks", "analytics"))
        finally:
            os.kill(os.getpid(), signal.SIGTERM)

    # It names no server: here it must not reach one that somebody else runs.
    ours = functools.partial(redis.Redis, host=HOST, port=PORT)
    there, redis.Redis = redis.Redis, ours
    watcher = threading.Thread(target=end)
    watcher.start()
    printed = io.StringIO()
    try:
        with contextlib.redirect_stdout(printed):
            exec(example("toolkit.md", "xautoclaim", PORT), {})
    finally:
        redis.Redis = there
        watcher.join()
    equal(printed.getvalue().split(), ["a", "b"])
    [(_, dead)] = client.xrange("clicks:dead")
    equal(dead["data"], "no json")


run([("clients.md: connects and reads", connects_and_reads), ("toolkit.md: the worker", worker)])
