"""What Ray starts beside itself, and what is left of it."""

import subprocess
import sys

from pipeline.ray_start import HELPERS, end_helpers


def test_helpers_of_ray_are_ended_and_no_other_child() -> None:
    def child(argument: str) -> "subprocess.Popen[bytes]":
        return subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)", argument])

    helpers = [child("/site-packages/ray" + name.decode()) for name in HELPERS]
    others = [child("/site-packages/ray/raylet"), child("dashboard.py")]
    try:
        end_helpers()
        assert [helper.wait(10) for helper in helpers] == [-9] * len(HELPERS)
        assert [other.poll() for other in others] == [None, None]
    finally:
        for process in others:
            process.kill()
            process.wait()
