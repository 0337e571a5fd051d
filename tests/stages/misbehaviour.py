"""What the tests of the sandbox run in its child: a page names its crime. It imports little, so that it starts fast."""

import ctypes
import os
import signal
import sys
import time

from stages.sandbox import Extracted

seen: list[str] = []
grown: list[bytes] = []


def misbehave(html: bytes, url: str, max_nodes: int) -> Extracted:
    """The page itself as text, the process as title, the URL as language; or the crime."""
    text = html.decode()
    if text == "segfault":
        ctypes.string_at(0)
    if text == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if text == "exit":
        sys.exit(3)
    if text == "loop":
        while True:
            pass
    if text == "sleep":
        time.sleep(1000)
    if text == "raise":
        raise KeyError("x")
    if text == "memory":
        bytearray(1 << 31)
    if text == "print":
        print("into the stream of answers?")
    if text == "grow":
        grown.append(b"x" * (40 << 20))
    if text.startswith("second ") and seen:
        os.kill(os.getpid(), signal.SIGKILL)
    seen.append(text)
    return Extracted(text, str(os.getpid()), url, "")
