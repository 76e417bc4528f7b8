"""A step between two streams that counts every order once. HOST PORT NAME.

What a step reads, what it writes and how far it is go into one transaction, which is one record of
Levada's log: after a kill of the worker or the server either all of it happened or nothing did. The
output carries the id of its input as an idempotency id, so that a worker whose lease ran out, and
who commits all the same, adds nothing a second time.

    XGROUP CREATE orders totals 0 MKSTREAM
    XGROUP CFGSET orders totals ACK-WAIT 1000
"""

import sys

import redis

SOURCE, GROUP, TARGET, CHECKPOINT = "orders", "totals", "totals", "totals:checkpoint"
TAX_PERCENT = 19


def main(host, port, name):
    client = redis.Redis(host, int(port), protocol=2, decode_responses=True, socket_timeout=30)
    while True:
        reply = client.xreadgroup(GROUP, name, {SOURCE: ">"}, count=10, block=1000)
        for _stream, entries in reply:
            for entry_id, order in entries:
                cents = int(order["cents"]) * (100 + TAX_PERCENT) // 100
                with client.pipeline(transaction=True) as step:
                    step.xack(SOURCE, GROUP, entry_id)
                    add = ["XADD", TARGET, "IDMP", GROUP, entry_id, "*"]
                    step.execute_command(*add, "number", order["number"], "cents", cents)
                    step.set(CHECKPOINT, entry_id)
                    step.execute()


if __name__ == "__main__":
    main(*sys.argv[1:])
