"""The loop of many tutorials, in a form that loses nothing: HOST PORT [PROTOCOL].

A reader that asks for `$` each time misses what arrives between two calls. This one asks for `$`
never: it begins at a known id and continues behind the last entry that it has seen. The producer
bounds the stream as it appends, far above what a reader can be behind.
"""

import threading

import redis

from checks import arguments, equal, run
from redis_py_shapes import read_entries

HOST, PORT, PROTOCOL = arguments()
STREAM = "sensors"
READINGS = 500
LENGTH_MAX = 10_000


def connect():
    return redis.Redis(
        host=HOST, port=PORT, protocol=PROTOCOL, decode_responses=True, socket_timeout=30
    )


def produce(client):
    for number in range(READINGS):
        reading = {"sensor": f"room-{number % 3}", "celsius": number / 10}
        client.xadd(STREAM, reading, maxlen=LENGTH_MAX, approximate=True)


def consume(client, last_id):
    """Yields (id, fields) for ever, beginning behind `last_id`."""
    while True:
        for last_id, fields in read_entries(client.xread({STREAM: last_id}, count=50, block=5000)):
            yield last_id, fields


def follow_from_the_beginning():
    # The consumer starts first, on a stream that does not exist: BLOCK waits for it.
    seen = []

    def follow():
        for entry_id, fields in consume(connect(), "0"):
            seen.append((entry_id, fields["sensor"], float(fields["celsius"])))
            if len(seen) == READINGS:
                return

    reader = threading.Thread(target=follow, daemon=True)
    reader.start()
    produce(connect())
    reader.join(60)
    expected = [(f"room-{number % 3}", number / 10) for number in range(READINGS)]
    equal([entry[1:] for entry in seen], expected)
    ids = [tuple(map(int, entry[0].split("-"))) for entry in seen]
    equal(ids, sorted(set(ids)))


def resume_behind_a_known_id():
    client = connect()
    middle, _ = client.xrange(STREAM, count=READINGS // 2)[-1]
    rest = consume(client, middle)
    seen = [next(rest)[1]["celsius"] for _ in range(READINGS // 2)]
    equal(seen, [str(number / 10) for number in range(READINGS // 2, READINGS)])


connect().flushall()
run(
    [
        ("follows from the beginning", follow_from_the_beginning),
        ("resumes behind a known id", resume_behind_a_known_id),
    ]
)
