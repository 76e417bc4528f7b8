"""The replies of redis-py in one shape, whatever its version and the protocol."""

from checks import equal


def read_entries(reply):
    """The (id, fields) pairs of the only stream in a reply of XREAD or XREADGROUP; [] if none.

    RESP2 and redis-py 8 answer a list of (stream, entries); RESP3 in redis-py 5 and 6 a dictionary
    in which the entries stand in one more list.
    """
    if not reply:
        return []
    pairs = list(reply.items() if isinstance(reply, dict) else reply)
    equal(len(pairs), 1)
    entries = pairs[0][1]
    if len(entries) == 1 and isinstance(entries[0], list):
        entries = entries[0]
    return [tuple(entry) for entry in entries]
