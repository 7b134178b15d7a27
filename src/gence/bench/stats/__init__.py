"""From records to what a report may say: means with intervals, tests, ranks and what they could have found."""

from gence.bench.stats.intervals import LEVEL, estimate
from gence.bench.stats.summarize import paired_difference, summarize

__all__ = ["LEVEL", "estimate", "paired_difference", "summarize"]
