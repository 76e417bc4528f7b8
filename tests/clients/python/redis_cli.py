"""redis-cli's views of a server: --bigkeys, --memkeys and --stat. HOST PORT [PROTOCOL].

What they print stands in ../redis-cli. Numbers that are a server's own business (bytes of memory,
counters of requests) are N there. Versions of redis-cli differ in quotation marks and in the order
of types, so both are levelled, and the lines of progress are left out.
"""

import pathlib
import re
import subprocess

from checks import arguments, equal, run

HOST, PORT, PROTOCOL = arguments()
EXPECTED = pathlib.Path(__file__).parent.parent / "redis-cli"
COMMAND = ["redis-cli", "-h", HOST, "-p", str(PORT), f"-{PROTOCOL}"]


def redis_cli(*arguments):
    done = subprocess.run(COMMAND + list(arguments), capture_output=True, text=True, timeout=30)
    equal((done.returncode, done.stderr), (0, ""))
    return done.stdout


def level(text):
    """One order of types and one kind of quotation marks; no progress."""
    paragraphs = [
        [line for line in paragraph.split("\n") if not line.startswith("[")]
        for paragraph in text.replace("'\"", '"').replace("\"'", '"').split("\n\n")
    ]
    by_type = ("Biggest", "0 ", "1 ", "2 ")
    for paragraph in paragraphs:
        if all(line.startswith(by_type) for line in paragraph if line):
            paragraph.sort()
    return "\n".join(line for paragraph in paragraphs for line in paragraph if line)


def without_sizes(text):
    """Sizes in memory replaced by N."""
    text = re.sub(r"(has|with) [1-9]\d* bytes", r"\1 N bytes", text)
    return re.sub(r"avg size [1-9]\d*\.\d+", "avg size N", text)


def expected(name):
    return (EXPECTED / f"{name}.txt").read_text()


def fill():
    equal(redis_cli("FLUSHALL"), "OK\n")
    # Long enough for a server's allocations to differ from those of the other.
    for key, value in [("long", "x" * 20_000)] * 3 + [("short", "x")]:
        redis_cli("XADD", key, "*", "field", value)
    equal(redis_cli("SET", "text", "abcdefgh"), "OK\n")


def bigkeys():
    equal(level(redis_cli("--bigkeys")), level(expected("bigkeys")))


def memkeys():
    seen = redis_cli("--memkeys")
    equal(without_sizes(level(seen)), level(expected("memkeys")))
    # A longer stream takes more than a shorter string, on every server.
    stream, text = (
        int(re.search(rf"Biggest {kind} found .* has (\d+) bytes", seen)[1])
        for kind in ("stream", "string")
    )
    equal(stream > text > 8, True)


def stat():
    # It never ends by itself; its output comes in blocks when it is a pipe.
    process = subprocess.Popen(
        COMMAND + ["--stat", "-i", "0.01"], stdout=subprocess.PIPE, text=True
    )
    try:
        lines = [next(process.stdout) for _ in range(5)]
    finally:
        process.kill()
        process.wait()
    requests = [int(re.search(r"(\d+) \(\+\d+\)", line)[1]) for line in lines[2:]]
    equal(requests, sorted(set(requests)))
    seen = [" ".join(line.split()) for line in lines[:3]]
    numbers = re.sub(r"\d+\.\d\d[KM]", "N.NNM", seen[2])
    numbers = re.sub(r"\d+ \(\+\d+\) \d+", "N (+N) N", numbers)
    equal(seen[:2] + [numbers], expected("stat").splitlines())


run([("fill", fill), ("--bigkeys", bigkeys), ("--memkeys", memkeys), ("--stat", stat)])
