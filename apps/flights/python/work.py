"""A worker of apps/flights in redis-py: one consumer of the group, made to be killed.

It records what it counted in its ledger, syncs, and only then acknowledges. What it did not
acknowledge is delivered again, and the merge of the ledgers counts each entry id once.
"""

import argparse
import os
import time

import redis

STREAM, GROUP = "flights", "delays"
BANDS = [0, 250, 500, 1000, 2000]
BLOCK_MS, CLAIM_IDLE_MS, CLAIM_EVERY_S, AWAY_MAX_S = 1000, 2000, 1, 60

parser = argparse.ArgumentParser()
parser.add_argument("--url", required=True)
parser.add_argument("--consumer", required=True)
parser.add_argument("--ledger", required=True)
parser.add_argument("--batch", type=int, default=200)
args = parser.parse_args()

client = redis.Redis.from_url(args.url, decode_responses=True)
ledger = open(os.path.join(args.ledger, f"{args.consumer}.{os.getpid()}.ledger"), "x")


def count(entries):
    """Records first, acknowledges second."""
    if not entries:
        return
    for id, fields in entries:
        band = max(b for b in BANDS if b <= int(fields["distance"]))
        ledger.write(f"{id} {band} {fields['delay']}\n")
    ledger.flush()
    os.fsync(ledger.fileno())
    client.xack(STREAM, GROUP, *[id for id, _ in entries])


def read(id):
    reply = client.xreadgroup(GROUP, args.consumer, {STREAM: id}, count=args.batch, block=BLOCK_MS)
    entries = [entry for _, entries in reply or [] for entry in entries]
    count(entries)
    return len(entries)


def claim():
    """Takes over what others left pending for too long."""
    cursor, claimed = "0-0", 0
    while True:
        cursor, entries, _ = client.xautoclaim(
            STREAM, GROUP, args.consumer, CLAIM_IDLE_MS, cursor, count=args.batch
        )
        count(entries)
        claimed += len(entries)
        if cursor == "0-0":
            break
    if claimed:
        print(f"{args.consumer}: claimed {claimed} entries that lay pending", flush=True)


def session():
    try:
        client.xgroup_create(STREAM, GROUP, id="0", mkstream=True)
    except redis.ResponseError as error:
        if "BUSYGROUP" not in str(error):
            raise
    while read("0"):  # what was delivered to this consumer before and never acknowledged
        pass
    claimed_at = time.monotonic()
    while True:
        if time.monotonic() - claimed_at >= CLAIM_EVERY_S:
            claim()
            claimed_at = time.monotonic()
        read(">")


lost_at = None
while True:
    try:
        client.ping()
        lost_at = None
        session()
    except (redis.ConnectionError, redis.TimeoutError):
        if lost_at is None:
            lost_at = time.monotonic()
            print(f"{args.consumer}: connection lost, connecting again", flush=True)
        if time.monotonic() - lost_at > AWAY_MAX_S:
            raise
        time.sleep(0.05)
