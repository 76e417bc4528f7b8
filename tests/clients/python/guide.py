"""Takes the examples in Python out of the guide, to run them as they stand there.

The directory of its pages is named by GUIDE. Ports in them become that of the server.
"""

import os
import pathlib


def example(page, words, port):
    """The only block of Python on a page that has these words."""
    text = (pathlib.Path(os.environ["GUIDE"]) / page).read_text()
    blocks = [part.split("\n```", 1)[0] for part in text.split("\n```python\n")[1:]]
    found = [block for block in blocks if words in block]
    if len(found) != 1:
        raise AssertionError(f"{page} has {len(found)} blocks with {words!r}")
    return compile(found[0].replace("6379", str(port)), page, "exec")
