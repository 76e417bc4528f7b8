"""The producer of apps/flights in redis-py: one connection, XADDs in pipelines.

Record n is entry n-0, so a pipeline whose answer got lost can be sent again: the server refuses
the ids it has already ("equal or smaller").
"""

import argparse
import json
import time

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

STREAM = "flights"

parser = argparse.ArgumentParser()
parser.add_argument("--url", required=True)
parser.add_argument("--file", required=True)
parser.add_argument("--records", type=int)
parser.add_argument("--batch", type=int, default=500)
args = parser.parse_args()

# Without the built-in retries: they would send the pipeline again to a server that still loads,
# which may refuse its head and take its tail.
client = redis.Redis.from_url(args.url, decode_responses=True, retry=Retry(NoBackoff(), 0))


def send(first, batch):
    pipe = client.pipeline(transaction=False)
    for n, record in enumerate(batch, first):
        pipe.xadd(STREAM, record, id=f"{n}-0")
    for reply in pipe.execute(raise_on_error=False):
        if isinstance(reply, Exception) and "equal or smaller" not in str(reply):
            raise reply


def wait_for_server(deadline_s=60):
    deadline = time.monotonic() + deadline_s
    while True:
        try:
            return client.ping()
        except (redis.ConnectionError, redis.TimeoutError):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


with open(args.file) as file:
    records = json.load(file)[: args.records]

wait_for_server()
for start in range(0, len(records), args.batch):
    while True:
        try:
            send(start + 1, records[start : start + args.batch])
            break
        except (redis.ConnectionError, redis.TimeoutError):
            print(f"producer: connection lost, sending again from record {start + 1}", flush=True)
            wait_for_server()
print(f"producer: all {len(records)} records are acknowledged", flush=True)
