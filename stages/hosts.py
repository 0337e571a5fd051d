"""Removals by host for alarms: hosts of documents and which of them stay in, counters out. Only a host that loses FLOOR
documents in one task is counted by name, so that counters are few however many hosts there are."""

from collections import Counter
from collections.abc import Sequence

import numpy as np

FLOOR = 100


class HostCounts:
    """Counts within one task; batches may be cut anywhere."""

    def __init__(self) -> None:
        self.came, self.went = Counter[str](), Counter[str]()

    def count(self, hosts: Sequence[str | None], keep: np.ndarray) -> Counter[str]:
        """Counters host/{host}/in and host/{host}/removed; those of a host begin with all of it when it is at FLOOR."""
        found = Counter[str]()
        for host, stays in zip(hosts, keep.tolist(), strict=True):
            if not host:
                continue
            self.came[host] += 1
            self.went[host] += not stays
            if self.went[host] < FLOOR:
                continue
            first = self.went[host] == FLOOR and not stays
            found[f"host/{host}/in"] += self.came[host] if first else 1
            found[f"host/{host}/removed"] += FLOOR if first else int(not stays)
        return found
