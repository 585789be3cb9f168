"""A real cluster of Ray on this machine: a head, and two machines that measure."""

from __future__ import annotations

import os
from typing import Any

# Before Ray is imported. A busy machine is slow to start nodes and processes, and slow to say that they are well: that
# is no fault of theirs. A node that was killed refuses connections, and is asked often, so that it is soon known.
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
PATIENCE = {
    "RAY_raylet_start_wait_time_s": "300",
    "RAY_worker_register_timeout_seconds": "300",
    "RAY_health_check_timeout_ms": "60000",
    "RAY_health_check_period_ms": "500",
}
os.environ.update(PATIENCE)

MEBIBYTE = 2**20


class Fleet:
    """The head measures on nothing; of the others one measures on "alpha", one on "alpha" and "beta"."""

    def __init__(self) -> None:
        from ray.cluster_utils import Cluster

        head = {"num_cpus": 1, "object_store_memory": 100 * MEBIBYTE, "include_dashboard": False}
        self.cluster = Cluster(initialize_head=True, head_node_args=head)
        self.address: str = self.cluster.address
        self.alpha = self._add("alpha")
        self._add("alpha", "beta")

    def kill_alpha(self) -> None:
        """As a power cut does."""
        self.cluster.remove_node(self.alpha, allow_graceful=False)

    def restore(self) -> None:
        """Have it back where it was killed."""
        if self.alpha not in self.cluster.worker_nodes:
            self.alpha = self._add("alpha")

    def _add(self, *hardware: str) -> Any:
        resources = {f"device:{name}": 1 for name in hardware}
        return self.cluster.add_node(num_cpus=1, object_store_memory=80 * MEBIBYTE, resources=resources)
