"""taskiq on streams: tasks through a consumer group, acknowledged when done. HOST PORT [PROTOCOL].

RedisStreamBroker takes over pending tasks under a lock that it releases with a Lua script, and
Levada has no Lua. The lock is not needed: XAUTOCLAIM gives an entry to one caller only, for it
counts as fresh from then on. `StreamBroker` is the same broker without it.
"""

import asyncio
import os

import redis.asyncio
from taskiq import AckableMessage
from taskiq.api import run_receiver_task
from taskiq_redis import RedisStreamBroker

from checks import WAIT_SECONDS_MAX, arguments, equal, run_async

HOST, PORT, PROTOCOL = arguments()
# redis-py 8 speaks RESP3 unless it is asked for 2.
URL = f"redis://{HOST}:{PORT}" + ("?protocol=2" if PROTOCOL == 2 else "")


class StreamBroker(RedisStreamBroker):
    """Reads new entries of the queue, and takes over what others left pending."""

    async def listen(self):
        async with redis.asyncio.Redis(connection_pool=self.connection_pool) as client:
            while True:
                for entry in await self._orphans(client) + await self._fresh(client):
                    yield self._message(*entry)

    async def _fresh(self, client):
        streams = {self.queue_name: ">"}
        reply = await client.xreadgroup(
            self.consumer_group_name,
            self.consumer_name,
            streams,
            block=self.block,
            count=self.count,
        )
        return reply[0][1] if reply else []

    async def _orphans(self, client):
        reply = await client.xautoclaim(
            self.queue_name,
            self.consumer_group_name,
            self.consumer_name,
            self.idle_timeout,
            count=self.unacknowledged_batch_size,
        )
        return reply[1]

    def _message(self, entry_id, fields):
        ack = self._ack_generator(id=entry_id, queue_name=self.queue_name)
        return AckableMessage(data=fields[b"data"], ack=ack)


broker = StreamBroker(URL, queue_name="tasks", consumer_id="0", xread_block=50, idle_timeout=100)
results = asyncio.Queue()


@broker.task
async def multiply(left: int, right: int) -> None:
    await results.put(left * right)


async def take(count):
    return sorted([await asyncio.wait_for(results.get(), WAIT_SECONDS_MAX) for _ in range(count)])


async def until_acknowledged(client):
    async def wait():
        while (await client.xpending("tasks", "taskiq"))["pending"] > 0:
            await asyncio.sleep(0)

    await asyncio.wait_for(wait(), WAIT_SECONDS_MAX)


async def runs_tasks(client):
    for number in range(30):
        await multiply.kiq(number, 3)
    equal(await take(30), [number * 3 for number in range(30)])
    await until_acknowledged(client)


async def takes_over(client):
    # The receiver pauses between two reads; another consumer takes a task and dies with it.
    group, tasks = "taskiq", {"tasks": ">"}
    other = asyncio.create_task(client.xreadgroup(group, "gone", tasks, count=1, block=0))
    stolen = None
    while stolen is None:
        await multiply.kiq(7, 11)
        equal(await take(1), [77])
        if other.done():
            stolen = other.result()
    await until_acknowledged(client)
    (consumer,) = [
        one for one in await client.xinfo_consumers("tasks", group) if one["name"] == b"gone"
    ]
    equal(consumer["pending"], 0)


async def main():
    client = redis.asyncio.from_url(URL)
    await client.flushall()
    await broker.startup()
    receiver = asyncio.create_task(run_receiver_task(broker))
    failed = await run_async(
        client,
        [
            ("runs tasks and acknowledges them", runs_tasks),
            ("takes over what another left", takes_over),
        ],
    )
    return 1 if receiver.done() else failed


# The receiver begins again when it is cancelled at an unlucky moment, so nothing waits for its end.
os._exit(asyncio.new_event_loop().run_until_complete(main()))
