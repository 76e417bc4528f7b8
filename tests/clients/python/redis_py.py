"""Everything that redis-py does with streams, through its own methods: HOST PORT [PROTOCOL].

The same file runs under redis-py 5, 6 and 8. The order matters: later checks use what earlier ones
left in the streams.
"""

import threading

import redis

from checks import arguments, equal, run, until, until_blocked
from redis_py_shapes import read_entries

HOST, PORT, PROTOCOL = arguments()


def connect(**options):
    return redis.Redis(host=HOST, port=PORT, protocol=PROTOCOL, socket_timeout=30, **options)


CLIENT = connect()


def raises(kind, text, call):
    """Fails unless the call raises this exception with this beginning of a text."""
    try:
        reply = call()
    except redis.RedisError as error:
        equal(type(error), kind)
        if not str(error).startswith(text):
            raise AssertionError(f"expected {text!r}, saw {str(error)!r}") from error
        return
    raise AssertionError(f"expected {kind.__name__}, saw the reply {reply!r}")


def in_thread(call):
    """Starts a call on a thread; the function that it answers waits for the result."""
    result = []
    thread = threading.Thread(target=lambda: result.append(call()), daemon=True)
    thread.start()

    def join():
        thread.join(30)
        equal(len(result), 1)
        return result[0]

    return join


def greet():
    equal(CLIENT.ping(), True)
    me = CLIENT.client_info()
    equal(me["resp"], str(PROTOCOL))
    # Redis 7.0 does not show what CLIENT SETINFO said, later ones and Levada do.
    equal(me.get("lib-name", "redis-py"), "redis-py")
    equal(CLIENT.info("server")["tcp_port"], PORT)


def publish():
    equal(CLIENT.xadd("s", {"n": 1}, id="1-1"), b"1-1")
    equal(CLIENT.xadd("s", {"n": 2, "m": "two"}, id="1-*"), b"1-2")
    pipeline = CLIENT.pipeline(transaction=False)
    for number in range(3, 103):
        pipeline.xadd("s", {"n": number}, id=f"{number}-0")
    equal(pipeline.execute(), [f"{number}-0".encode() for number in range(3, 103)])
    equal(CLIENT.xlen("s"), 102)
    milliseconds = int(CLIENT.xadd("now", {"n": 1}).split(b"-")[0])
    seconds, _ = CLIENT.time()
    assert abs(milliseconds // 1000 - seconds) <= 1, (milliseconds, seconds)
    equal(CLIENT.xadd("absent", {"n": 1}, nomkstream=True), None)


def ranges():
    two = [(b"1-1", {b"n": b"1"}), (b"1-2", {b"n": b"2", b"m": b"two"})]
    equal(CLIENT.xrange("s", count=2), two)
    equal(CLIENT.xrange("s", "(1-1", "3"), [two[1], (b"3-0", {b"n": b"3"})])
    equal(CLIENT.xrevrange("s", "+", "-", count=1), [(b"102-0", {b"n": b"102"})])
    equal(read_entries(CLIENT.xread({"s": "101-0"}))[0], (b"102-0", {b"n": b"102"}))
    assert not CLIENT.xread({"s": "102-0"})
    stream = CLIENT.xinfo_stream("s")
    equal((stream["length"], stream["last-generated-id"]), (102, b"102-0"))
    equal(stream["first-entry"], two[0])


def group():
    equal(CLIENT.xgroup_create("s", "g", id="0"), True)
    raises(
        redis.ResponseError,
        "BUSYGROUP Consumer Group name already exists",
        lambda: CLIENT.xgroup_create("s", "g", id="0"),
    )
    equal(CLIENT.xgroup_create("made", "g", mkstream=True), True)
    equal(CLIENT.xlen("made"), 0)
    entries = read_entries(CLIENT.xreadgroup("g", "alice", {"s": ">"}, count=3))
    equal([entry_id for entry_id, _ in entries], [b"1-1", b"1-2", b"3-0"])
    again = read_entries(CLIENT.xreadgroup("g", "alice", {"s": "0"}, count=10))
    equal(again, entries)
    silent = read_entries(CLIENT.xreadgroup("g", "carol", {"s": ">"}, count=1, noack=True))
    equal(silent[0][0], b"4-0")
    (info,) = CLIENT.xinfo_groups("s")
    equal((info["name"], info["pending"], info["consumers"]), (b"g", 3, 2))
    consumers = CLIENT.xinfo_consumers("s", "g")
    equal({(one["name"], one["pending"]) for one in consumers}, {(b"alice", 3), (b"carol", 0)})


def blocked():
    CLIENT.xgroup_create("w", "g", mkstream=True)
    plain, grouped = connect(), connect()
    read = in_thread(lambda: plain.xread({"w": "$"}, block=0))
    read_group = in_thread(lambda: grouped.xreadgroup("g", "c", {"w": ">"}, block=20000))
    until_blocked(CLIENT, 2)
    CLIENT.xadd("w", {"wake": "up"}, id="5-5")
    expected = [(b"5-5", {b"wake": b"up"})]
    equal(read_entries(read()), expected)
    equal(read_entries(read_group()), expected)
    assert not plain.xread({"w": "$"}, block=10)
    plain.close()
    grouped.close()


def pending():
    summary = CLIENT.xpending("s", "g")
    equal((summary["pending"], summary["min"], summary["max"]), (3, b"1-1", b"3-0"))
    equal(summary["consumers"], [{"name": b"alice", "pending": 3}])
    first = CLIENT.xpending_range("s", "g", min="-", max="+", count=1, consumername="alice")[0]
    equal((first["message_id"], first["consumer"]), (b"1-1", b"alice"))
    equal(first["times_delivered"], 2)


def claim():
    claimed = CLIENT.xclaim("s", "g", "bob", min_idle_time=0, message_ids=["1-1"])
    equal(claimed, [(b"1-1", {b"n": b"1"})])
    equal(CLIENT.xclaim("s", "g", "bob", 0, ["1-2"], justid=True), [b"1-2"])
    cursor, entries = CLIENT.xautoclaim("s", "g", "dave", 0, start_id="2-0", count=5)[:2]
    equal((cursor, entries), (b"0-0", [(b"3-0", {b"n": b"3"})]))
    # Nothing has been idle for an hour.
    equal(CLIENT.xautoclaim("s", "g", "dave", 3_600_000)[1], [])
    owners = CLIENT.xpending_range("s", "g", min="-", max="+", count=10)
    seen = [(one["consumer"], one["times_delivered"]) for one in owners]
    equal(seen, [(b"bob", 3), (b"bob", 2), (b"dave", 3)])


def acknowledge():
    equal(CLIENT.xack("s", "g", "1-1", "1-2", "99-9"), 2)
    equal(CLIENT.xpending("s", "g")["pending"], 1)
    equal(CLIENT.xgroup_delconsumer("s", "g", "dave"), 1)
    equal(CLIENT.xpending("s", "g")["pending"], 0)
    equal(CLIENT.xgroup_createconsumer("s", "g", "erin"), 1)
    equal(CLIENT.xgroup_setid("s", "g", "102-0"), True)
    assert not CLIENT.xreadgroup("g", "erin", {"s": ">"})
    equal(CLIENT.xgroup_destroy("made", "g"), 1)


def trim_and_delete():
    equal(CLIENT.xdel("s", "1-1", "1-1", "99-9"), 1)
    equal(CLIENT.xtrim("s", maxlen=50, approximate=False), 51)
    equal(CLIENT.xtrim("s", minid="60-0", approximate=False), 7)
    equal(CLIENT.xadd("s", {"n": 103}, id="103-0", maxlen=10, approximate=False), b"103-0")
    equal(CLIENT.xlen("s"), 10)
    assert CLIENT.xtrim("s", maxlen=1, approximate=True) >= 0
    equal(CLIENT.delete("s", "w", "absent"), 2)
    equal(CLIENT.exists("s"), 0)


def pub_sub():
    subscriber = connect().pubsub()

    def message():
        return until("a message", lambda: subscriber.get_message(timeout=1))

    subscriber.subscribe("news")
    subscriber.psubscribe("room.*")
    equal((message()["type"], message()["type"]), ("subscribe", "psubscribe"))
    equal(CLIENT.pubsub_channels(), [b"news"])
    equal(CLIENT.pubsub_numpat(), 1)
    equal((CLIENT.publish("news", "hello"), CLIENT.publish("nobody", "x")), (1, 0))
    seen = message()
    equal((seen["type"], seen["channel"], seen["data"]), ("message", b"news", b"hello"))
    CLIENT.publish("room.7", b"\x00\xff")
    seen = message()
    equal((seen["type"], seen["pattern"], seen["channel"]), ("pmessage", b"room.*", b"room.7"))
    equal(seen["data"], b"\x00\xff")
    subscriber.unsubscribe("news")
    subscriber.punsubscribe()
    equal((message()["type"], message()["type"]), ("unsubscribe", "punsubscribe"))
    equal(CLIENT.publish("news", "gone"), 0)
    subscriber.close()


def transaction():
    with CLIENT.pipeline() as pipeline:
        pipeline.xadd("t", {"n": 1}, id="1-0").set("count", 1).incr("count").xlen("t")
        equal(pipeline.execute(), [b"1-0", True, 2, 1])
    with CLIENT.pipeline() as pipeline:
        pipeline.watch("count")
        equal(pipeline.get("count"), b"2")
        CLIENT.incr("count")
        pipeline.multi()
        pipeline.xadd("t", {"n": 2})
        raises(redis.WatchError, "", pipeline.execute)
    equal(CLIENT.xlen("t"), 1)

    def bump(pipeline):
        value = int(pipeline.get("count"))
        pipeline.multi()
        pipeline.set("count", value + 10)

    equal(CLIENT.transaction(bump, "count"), [True])
    equal(CLIENT.get("count"), b"13")
    # A failed command of a transaction does not undo the others.
    with CLIENT.pipeline() as pipeline:
        pipeline.set("count", 20).xadd("count", {"n": 1})
        replies = pipeline.execute(raise_on_error=False)
    equal((replies[0], type(replies[1])), (True, redis.ResponseError))


def strings():
    equal(CLIENT.set("k", "v", ex=100), True)
    assert 98 <= CLIENT.ttl("k") <= 100
    equal(CLIENT.set("k", "other", nx=True), None)
    equal(CLIENT.set("k", "new", xx=True, get=True, keepttl=True), b"v")
    assert CLIENT.pttl("k") > 0
    equal(CLIENT.persist("k"), True)
    equal(CLIENT.ttl("k"), -1)
    equal(CLIENT.incrby("n", 5), 5)
    equal(CLIENT.mget("k", "absent", "n"), [b"new", None, b"5"])
    CLIENT.set("short", "x", px=1)
    until("the key has expired", lambda: CLIENT.exists("short") == 0)
    equal(sorted(CLIENT.scan_iter(match="[kn]", count=100)), [b"k", b"n"])


def binary():
    every_byte = bytes(range(256))
    CLIENT.xadd("b", {every_byte: every_byte, b"": b"\r\n"}, id="1-0")
    equal(CLIENT.xrange("b"), [(b"1-0", {every_byte: every_byte, b"": b"\r\n"})])
    large = every_byte * 4096
    CLIENT.xadd("b", {"large": large}, id="2-0")
    equal(CLIENT.xrange("b", "2-0"), [(b"2-0", {b"large": large})])
    decoded = connect(decode_responses=True)
    decoded.xadd("utf", {"name": "Ærøskøbing ✓"}, id="1-0")
    equal(decoded.xrange("utf"), [("1-0", {"name": "Ærøskøbing ✓"})])
    decoded.close()


def errors():
    CLIENT.set("string", "x")
    wrong = "WRONGTYPE Operation against a key holding the wrong kind of value"
    # redis-py cuts the word ERR off, and keeps other first words.
    raises(redis.ResponseError, wrong, lambda: CLIENT.xadd("string", {"n": 1}))
    raises(
        redis.ResponseError,
        "NOGROUP No such key 'b' or consumer group 'no' in XREADGROUP with GROUP option",
        lambda: CLIENT.xreadgroup("no", "c", {"b": ">"}),
    )
    raises(
        redis.ResponseError,
        "The ID specified in XADD is equal or smaller than the target stream top item",
        lambda: CLIENT.xadd("b", {"n": 1}, id="1-0"),
    )
    raises(
        redis.ResponseError,
        "unknown command 'NOSUCH', with args beginning with: 'a' ",
        lambda: CLIENT.execute_command("NOSUCH", "a"),
    )
    pipeline = CLIENT.pipeline(transaction=False)
    replies = pipeline.ping().xadd("string", {"n": 1}).ping().execute(raise_on_error=False)
    equal((replies[0], type(replies[1]), replies[2]), (True, redis.ResponseError, True))


def reconnect():
    one = connect(client_name="victim")
    number = one.client_id()
    equal(one.client_getname() in (b"victim", "victim"), True)
    equal(CLIENT.client_kill_filter(_id=number), 1)
    until("the client connects again", lambda: pings(one))
    assert one.client_id() > number
    equal(one.client_getname() in (b"victim", "victim"), True)
    equal(one.quit(), True)
    # Its end may come behind the answer: then the next command meets it.
    until("the client connects once more", lambda: pings(one))
    one.close()


def pings(client):
    """Whether a client answers; redis-py 5 does not try again by itself."""
    try:
        return client.ping()
    except redis.ConnectionError:
        return False


CLIENT.flushall()
run(
    [
        ("greeting", greet),
        ("publish", publish),
        ("range", ranges),
        ("group", group),
        ("blocked reads", blocked),
        ("pending", pending),
        ("claim", claim),
        ("acknowledge", acknowledge),
        ("trim and delete", trim_and_delete),
        ("publish and subscribe", pub_sub),
        ("transaction", transaction),
        ("strings", strings),
        ("binary data", binary),
        ("errors", errors),
        ("reconnect and quit", reconnect),
    ]
)
