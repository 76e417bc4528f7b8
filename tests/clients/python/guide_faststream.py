"""The example of the guide for FastStream, as it stands there: HOST PORT [PROTOCOL].

The protocol of the command line is not used: the example takes what it is given.
"""

import asyncio

import redis.asyncio
from faststream.redis import RedisBroker, StreamSub

from checks import WAIT_SECONDS_MAX, arguments, run_async
from guide import example

HOST, PORT, _ = arguments()
names = {"RedisBroker": RedisBroker, "StreamSub": StreamSub}


async def subscriber(client):
    exec(example("clients.md", "RedisBroker(", PORT), names)
    broker = names["broker"]
    await broker.start()
    await broker.publish({"number": 7}, stream="orders")

    async def is_done():
        while True:
            groups = await client.xinfo_groups("orders")
            if groups and groups[0]["entries-read"] == 1 and groups[0]["pending"] == 0:
                return
            await asyncio.sleep(0.01)

    await asyncio.wait_for(is_done(), WAIT_SECONDS_MAX)
    await broker.stop()


async def main():
    client = redis.asyncio.Redis(host=HOST, port=PORT, decode_responses=True)
    await client.flushall()
    failed = await run_async(client, [("clients.md: the subscriber", subscriber)])
    await client.aclose()
    return failed


raise SystemExit(asyncio.run(main()))
