"""What every Python program here shares: arguments, one line per check, and waiting for a fact.

A check is a function that raises where it sees something else than it should. `run` prints one
line for each and ends the process with 1 if any failed.
"""

import sys
import time
import traceback

# Longest wait for something that another connection or process must do first.
WAIT_SECONDS_MAX = 20


def arguments():
    """Answers host, port and protocol (2 or 3; 3 if it is not given)."""
    if not 3 <= len(sys.argv) <= 4:
        sys.exit(f"usage: {sys.argv[0]} HOST PORT [PROTOCOL]")
    protocol = int(sys.argv[3]) if len(sys.argv) == 4 else 3
    return sys.argv[1], int(sys.argv[2]), protocol


def equal(seen, expected):
    """Fails unless both are the same."""
    if seen != expected:
        raise AssertionError(f"expected {expected!r}, saw {seen!r}")


def until(what, fact):
    """Asks for a fact until it is true, and answers it; fails after WAIT_SECONDS_MAX."""
    deadline = time.monotonic() + WAIT_SECONDS_MAX
    while time.monotonic() < deadline:
        seen = fact()
        if seen:
            return seen
    raise AssertionError(f"waited {WAIT_SECONDS_MAX} s for: {what}")


def until_blocked(client, count=1):
    """Waits until the server counts this many blocked clients."""
    until(
        f"{count} blocked clients",
        lambda: client.info("clients")["blocked_clients"] == count,
    )


def run(checks):
    """Runs (name, function) pairs in order and ends the process."""
    failed = 0
    for name, check in checks:
        try:
            check()
            print(f"ok {name}", flush=True)
        except Exception:
            failed += 1
            print(f"FAILED {name}\n{traceback.format_exc()}", flush=True)
    sys.exit(1 if failed else 0)


async def run_async(client, checks):
    """Like `run`, for (name, coroutine function of a client) pairs; answers the exit code."""
    failed = 0
    for name, check in checks:
        try:
            await check(client)
            print(f"ok {name}", flush=True)
        except Exception:
            failed += 1
            print(f"FAILED {name}\n{traceback.format_exc()}", flush=True)
    return 1 if failed else 0
