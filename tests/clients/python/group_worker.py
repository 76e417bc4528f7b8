"""A worker of a consumer group that survives crashes, its own and others': HOST PORT [PROTOCOL].

What tutorials leave out: a worker that starts reads its own pending entries first (id 0), and now
and then takes over what others left pending (XAUTOCLAIM). It acknowledges after the work is done.
So a job may be done twice and never not at all; a job that fails again and again is put aside.
The test kills one worker (kill -9) while it holds jobs, and lets another finish.
"""

import multiprocessing

import redis

from checks import arguments, equal, run, until
from redis_py_shapes import read_entries

HOST, PORT, PROTOCOL = arguments()
STREAM, GROUP, ASIDE, DONE = "jobs", "workers", "jobs:aside", "jobs:done"
JOBS = 60
POISON = 13
# A worker that is silent for so long is taken for dead. Real programs say a minute or more.
IDLE_MILLISECONDS = 200
DELIVERIES_MAX = 3


def connect():
    return redis.Redis(
        host=HOST, port=PORT, protocol=PROTOCOL, decode_responses=True, socket_timeout=30
    )


def ensure_group(client):
    try:
        client.xgroup_create(STREAM, GROUP, id="0", mkstream=True)
    except redis.ResponseError as error:
        if not str(error).startswith("BUSYGROUP"):
            raise


def put_aside(client, entry_id, fields):
    """Moves a job that nobody can do to another stream, in one transaction."""
    with client.pipeline() as pipeline:
        pipeline.xadd(ASIDE, {**fields, "origin": entry_id})
        pipeline.xack(STREAM, GROUP, entry_id)
        pipeline.execute()


def deliveries(client, entry_id):
    found = client.xpending_range(STREAM, GROUP, min=entry_id, max=entry_id, count=1)
    return found[0]["times_delivered"] if found else 0


def handle(client, entry_id, fields, job):
    """Does one job and acknowledges it; a failed one stays pending."""
    try:
        job(fields)
    except ValueError:
        if deliveries(client, entry_id) >= DELIVERIES_MAX:
            put_aside(client, entry_id, fields)
        return
    with client.pipeline() as pipeline:
        pipeline.xadd(DONE, {"number": fields["number"]})
        pipeline.xack(STREAM, GROUP, entry_id)
        pipeline.execute()


def work(client, consumer, job, finished):
    """Handles jobs until `finished` says so."""
    ensure_group(client)
    for entry_id, fields in read_entries(client.xreadgroup(GROUP, consumer, {STREAM: "0"})):
        handle(client, entry_id, fields, job)
    while not finished():
        orphans = client.xautoclaim(STREAM, GROUP, consumer, IDLE_MILLISECONDS, count=10)[1]
        fresh = client.xreadgroup(GROUP, consumer, {STREAM: ">"}, count=10, block=50)
        for entry_id, fields in orphans + read_entries(fresh):
            handle(client, entry_id, fields, job)


def stall(_fields):
    multiprocessing.Event().wait()


def ordinary(fields):
    if int(fields["number"]) == POISON:
        raise ValueError("this job cannot be done")


def victim():
    work(connect(), "victim", stall, lambda: False)


def rescuer(client):
    def finished():
        group = client.xinfo_groups(STREAM)[0]
        return group["pending"] == 0 and group["lag"] == 0

    work(client, "rescuer", ordinary, finished)


def recovers():
    client = connect()
    ensure_group(client)
    ensure_group(client)
    for number in range(JOBS):
        client.xadd(STREAM, {"number": number})
    process = multiprocessing.get_context("fork").Process(target=victim, daemon=True)
    process.start()
    until("the victim holds jobs", lambda: client.xpending(STREAM, GROUP)["pending"] == 10)
    process.kill()
    process.join()
    rescuer(client)
    done = [int(fields["number"]) for _, fields in client.xrange(DONE)]
    equal(sorted(done), [number for number in range(JOBS) if number != POISON])


def puts_poison_aside():
    client = connect()
    ((_, fields),) = client.xrange(ASIDE)
    equal(fields["number"], str(POISON))
    (entry,) = client.xrange(STREAM, fields["origin"], fields["origin"])
    equal(entry[1], {"number": str(POISON)})


def starts_with_its_own_pending():
    client = connect()
    client.xadd(STREAM, {"number": 100})
    client.xreadgroup(GROUP, "rescuer", {STREAM: ">"})
    rescuer(client)
    equal(client.xrevrange(DONE, count=1)[0][1], {"number": "100"})


connect().flushall()
run(
    [
        ("takes over after kill -9", recovers),
        ("puts aside what cannot be done", puts_poison_aside),
        ("starts with its own pending entries", starts_with_its_own_pending),
    ]
)
