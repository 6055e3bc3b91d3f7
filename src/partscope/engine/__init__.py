"""Engines: what goes through blocks of images, in this process or on many machines.

Work is cut into fixed blocks whatever the engine, so that the same blocks give the same bytes wherever they are computed.
"""

from partscope.engine.blocks import Advance, Block, MakeWorker, Worker
from partscope.engine.local import LocalEngine
from partscope.engine.registry import ENGINES, Engine, current_engine, current_shard, make_engine, use_engine
from partscope.engine.shard import Shard, ShardDone

__all__ = [
    "ENGINES",
    "Advance",
    "Block",
    "Engine",
    "LocalEngine",
    "MakeWorker",
    "Shard",
    "ShardDone",
    "Worker",
    "current_engine",
    "current_shard",
    "make_engine",
    "use_engine",
]
