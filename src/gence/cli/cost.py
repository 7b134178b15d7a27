"""What `--dry-run` prints: the grid, and what it would take."""

from __future__ import annotations

from collections.abc import Sequence

from gence.bench.cost import Cost
from gence.bench.pilot import Timed

_AXES = {
    "data": "data",
    "regime": "regime",
    "model": "model",
    "labels_per_class": "labels a class",
    "batch_size": "batch size",
    "loss": "losses",
}
_SHOWN = 12


def cost_lines(
    cost: Cost, *, unit: str, workers: int, timed: Sequence[Timed] = (), tflops: float | None = None
) -> list[str]:
    """A line a fact.

    Args:
        cost: What the study takes.
        unit: Whose hours, `"CPU"` or `"GPU"`.
        workers: How many share the work.
        timed: What was timed.
        tflops: The rate that was assumed instead, in 10^12 operations a second.
    """
    lines = [_line(title, _listing(cost.axes[axis])) for axis, title in _AXES.items()]
    lines.append(_line("seeds", str(len(cost.axes["seed"]))))
    before = f", after {cost.tuning_trials:,} trials of tunings" if cost.tuning_trials else ""
    lines.append(_line("trials", f"{cost.trials:,}{before}"))
    lines.append(_line("updates", f"{cost.updates:,.0f}"))
    lines.append(_line("operations", f"{cost.flops:.2g} FLOPs"))
    hours = f"about {_hours(cost.seconds)} {unit} hours"
    if tflops is not None:
        hours += f" at an assumed {tflops:g} TFLOP/s sustained; not measured"
    else:
        several = f"with {workers} workers" if workers > 1 else "with one worker"
        hours += f", or {_duration(cost.wall_seconds(workers))} {several}, by the timed steps"
    lines.append(_line("time", hours))
    for one in timed:
        how = "" if one.measured else ", by the number of operations"
        lines.append(_line("a step", f"{_seconds(one.step)}{how}: {one.model} on {one.batch_rows} rows of {one.data}"))
    lines.append(_line("disk", f"about {_size(cost.bytes)}"))
    return [*lines, "", "A dry run: nothing was written."]


def _line(title: str, text: str) -> str:
    return f"{title:<16}{text}"


def _listing(values: Sequence[str]) -> str:
    rest = f" and {len(values) - _SHOWN} more" if len(values) > _SHOWN else ""
    count = f"{len(values)}: " if len(values) > 1 else ""
    return f"{count}{', '.join(values[:_SHOWN])}{rest}"


def _hours(seconds: float) -> str:
    hours = seconds / 3600
    return f"{hours:,.0f}" if hours >= 10 else f"{hours:.2g}"


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{max(seconds, 1):.0f} seconds"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} minutes"
    return f"{seconds / 3600:.0f} hours" if seconds < 72 * 3600 else f"{seconds / 86_400:.0f} days"


def _seconds(seconds: float) -> str:
    return f"{1000 * seconds:.2g} ms" if seconds < 0.1 else f"{seconds:.2g} s"


def _size(count: float) -> str:
    for unit in ("bytes", "KB", "MB", "GB"):
        if count < 1000:
            return f"{count:.2g} {unit}" if count < 10 else f"{count:.0f} {unit}"
        count /= 1000
    return f"{count:.2g} TB"
