"""A FastStream app on streams: handlers in a consumer group, a reply stream, recovery, pub/sub.

HOST PORT [PROTOCOL]. A subscriber with `min_idle_time` takes over what others left pending; it
takes nothing new, so an app that must lose nothing has two subscribers on one handler's work.
"""

import asyncio

import redis.asyncio
from faststream import FastStream
from faststream.redis import RedisBroker, StreamSub

from checks import WAIT_SECONDS_MAX, arguments, equal, run_async

HOST, PORT, PROTOCOL = arguments()
# redis-py 8 speaks RESP3 unless it is asked for 2.
URL = f"redis://{HOST}:{PORT}" + ("?protocol=2" if PROTOCOL == 2 else "")
ORDERS = 40

broker = RedisBroker(URL, logger=None)
app = FastStream(broker)
confirmed, recovered, news = asyncio.Queue(), asyncio.Queue(), asyncio.Queue()


@broker.subscriber(
    stream=StreamSub("orders", group="billing", consumer="one", polling_interval=50)
)
@broker.publisher(stream="confirmations")
async def bill(order: dict) -> dict:
    return {"number": order["number"], "total": order["quantity"] * 5}


@broker.subscriber(
    stream=StreamSub(
        "orders", group="shipping", consumer="rescuer", min_idle_time=50, polling_interval=50
    )
)
async def take_over(order: dict) -> None:
    await recovered.put(order["number"])


@broker.subscriber(stream=StreamSub("confirmations", last_id="0", polling_interval=50))
async def confirm(confirmation: dict) -> None:
    await confirmed.put((confirmation["number"], confirmation["total"]))


@broker.subscriber("news.{topic}")
async def hear(text: str) -> None:
    await news.put(text)


async def take(queue, count):
    """The next messages of a queue, in order of arrival."""
    return [await asyncio.wait_for(queue.get(), WAIT_SECONDS_MAX) for _ in range(count)]


async def nothing_is_pending(client, group):
    async def wait():
        while (await client.xpending("orders", group))["pending"] > 0:
            await asyncio.sleep(0)

    await asyncio.wait_for(wait(), WAIT_SECONDS_MAX)


async def handlers_reply(client):
    for number in range(ORDERS):
        await broker.publish({"number": number, "quantity": number % 7}, stream="orders")
    seen = await take(confirmed, ORDERS)
    equal(seen, [(number, number % 7 * 5) for number in range(ORDERS)])
    equal(await client.xlen("confirmations"), ORDERS)
    await nothing_is_pending(client, "billing")


async def crashed_consumer(client):
    # A consumer that takes entries and never acknowledges them.
    await client.xgroup_setid("orders", "shipping", "0")
    await client.xreadgroup("shipping", "gone", {"orders": ">"}, count=5)
    equal(sorted(await take(recovered, 5)), [0, 1, 2, 3, 4])
    await nothing_is_pending(client, "shipping")


async def publish_and_subscribe(_client):
    equal(await broker.publish("hello", "news.today"), 1)
    equal(await take(news, 1), ["hello"])


async def main():
    client = redis.asyncio.from_url(URL)
    await client.flushall()
    await app.start()
    failed = await run_async(
        client,
        [
            ("handlers in a group publish replies", handlers_reply),
            ("takes over from a crashed consumer", crashed_consumer),
            ("publish and subscribe", publish_and_subscribe),
        ],
    )
    await app.stop()
    await client.aclose()
    return failed


raise SystemExit(asyncio.run(main()))
