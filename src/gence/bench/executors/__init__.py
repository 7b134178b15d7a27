"""Where the jobs of a study are done: in this process, in worker processes, on a Ray cluster, or by several at once."""

from gence.bench.executors.cluster import RayCluster
from gence.bench.executors.in_process import InProcess
from gence.bench.executors.together import Together, join_ranks, launched_together
from gence.bench.executors.workers import Workers

__all__ = ["InProcess", "RayCluster", "Together", "Workers", "join_ranks", "launched_together"]
