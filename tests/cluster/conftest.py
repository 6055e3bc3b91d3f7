"""A Ray cluster of two machines on this one's loopback, started and stopped by the tests."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest

#: Ray gives its workers a low priority, reports usage, and takes 15 s to miss a machine, all of which a test does without.
_SETTINGS = {"RAY_worker_niceness": "0", "RAY_USAGE_STATS_ENABLED": "0", "RAY_DISABLE_IMPORT_WARNING": "1"}
_HEALTH = {
    "health_check_initial_delay_ms": 0,
    "health_check_period_ms": 500,
    "health_check_failure_threshold": 4,
}
_NODE = {"num_cpus": 1, "object_store_memory": 100 * 2**20}


class TwoMachines:
    """A head and a second machine, of one processor each; the second can be killed, and comes back for the next test."""

    def __init__(self) -> None:
        from ray.cluster_utils import Cluster

        head = {**_NODE, "include_dashboard": False, "_system_config": _HEALTH}
        self._cluster = Cluster(initialize_head=True, head_node_args=head)
        self._second: Any = None
        self.complete()

    @property
    def address(self) -> str:
        return str(self._cluster.address)

    def complete(self) -> None:
        if self._second is None:
            self._second = self._cluster.add_node(**_NODE)

    def kill_second(self) -> None:
        self._cluster.remove_node(self._second, allow_graceful=False)
        self._second = None

    def stop(self) -> None:
        self._cluster.shutdown()


@pytest.fixture(scope="session")
def _machines() -> Iterator[TwoMachines]:
    before = dict(os.environ)
    os.environ.update(_SETTINGS)
    machines = TwoMachines()
    yield machines
    machines.stop()
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture
def machines(_machines: TwoMachines) -> TwoMachines:
    _machines.complete()
    return _machines
