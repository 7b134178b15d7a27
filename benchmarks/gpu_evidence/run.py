"""Run the specs of a pack on this machine's GPU until its time is over; the same command goes on where it stopped.

    python benchmarks/gpu_evidence/run.py --pack gpu-pack --out $OUT --resume gpu-results --minutes 9
    python benchmarks/gpu_evidence/run.py --pack gpu-pack --dry-run          # what is left, and about how long it takes
    python benchmarks/gpu_evidence/run.py --pack gpu-pack --out DIR --smoke  # all of it in small, on a CPU

It needs Python 3.11 and torch with numpy; the rest is in the pack.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
# Worker processes import this file again, and get the path of this process.
if str(ROOT / "src") not in sys.path:
    sys.path.insert(0, str(ROOT / "src"))


def main(arguments: list[str] | None = None) -> None:
    """Read the arguments, unpack what is missing here, and run.

    Raises:
        InputError: If the pack, an archive or the device cannot be used.
    """
    started = time.monotonic()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pack", type=Path, required=True, help="what pack.py made")
    parser.add_argument("--out", type=Path, help="where the archives of the studies are put, one a spec")
    parser.add_argument("--resume", type=Path, help="where those of earlier calls lie; without it, --out")
    parser.add_argument("--minutes", type=float, default=9.0, help="after which nothing may run any more")
    parser.add_argument("--workers", type=int, help="trials at once; without it, up to 8, and 2 with --smoke")
    parser.add_argument("--device", help="without it, cuda, and cpu with --smoke")
    parser.add_argument("--retry-failed", action="store_true")
    parser.add_argument("--dry-run", action="store_true")
    parser.add_argument("--smoke", action="store_true")
    parser.add_argument("--tflops", type=float, default=40.0, help="assumed of the GPU until a trial has been seen")
    parser.add_argument("--step-ms", type=float, default=10.0, help="assumed of an optimiser step, at the least")
    args = parser.parse_args(arguments)
    if args.out is None and not args.dry_run:
        parser.error("--out is needed, but for a --dry-run")
    with tempfile.TemporaryDirectory(prefix="gence-wheels-") as place:
        sys.path.insert(0, place)
        try:
            _lay_out_wheels(args.pack, Path(place))
            _run(args, started)
        finally:
            sys.path.remove(place)


def _lay_out_wheels(folder: Path, place: Path) -> None:
    from evidence.pack_file import WHEELS, open_pack
    from evidence.wheels import fitting, unpack

    pack = open_pack(folder)
    for name in fitting([name for name in pack.manifest["files"] if name.startswith(f"{WHEELS}/")]):
        pack.content(name)
        unpack([folder / name], place)


def _run(args: argparse.Namespace, started: float) -> None:
    from gence._errors import InputError

    try:
        import pydantic
    except ImportError as error:
        python = ".".join(map(str, sys.version_info[:2]))
        raise InputError(f"no wheel of {args.pack} fits Python {python}: pack.py --python {python}") from error
    import torch
    from evidence.pack_file import open_pack
    from evidence.packed_data import study_data
    from evidence.rows import refuse_tuned
    from evidence.schedule import Assumed
    from evidence.session import Session
    from evidence.smoke import shrink_data, shrink_spec

    from gence.bench.spec import read_spec

    device = torch.device(args.device or ("cpu" if args.smoke or args.dry_run else "cuda"))
    if device.type == "cuda" and not torch.cuda.is_available():
        raise InputError("torch sees no GPU here; give --smoke for a rehearsal on the CPU")
    workers = args.workers or (2 if args.smoke else 8)
    print(f"Python {sys.version.split()[0]}, torch {torch.__version__}, pydantic {pydantic.VERSION}, {_name(device)}")
    pack = open_pack(args.pack)
    session = Session(
        out=args.out or Path(),
        resume=args.resume or args.out or Path(),
        started=started,
        end=started + 60 * args.minutes,
        assumed=Assumed(args.tflops, args.step_ms / 1000, workers),
        device=device,
        fewer=args.workers is None and not args.smoke,
        retry_failed=args.retry_failed,
        say=_say,
    )
    for name in pack.specs:
        spec = read_spec(ROOT / f"specs/{name}.toml")
        refuse_tuned(spec)
        data = study_data(pack, spec)
        if args.smoke:
            spec, data = shrink_spec(spec), shrink_data(data)
        _say(f"{(time.monotonic() - started) / 60:5.1f} min  {name}: the pack is read")
        if args.dry_run:
            _say(_estimate(session, name, spec, data))
        elif time.monotonic() < session.end:
            _say(_result(session.run(name, spec, data)))


def _estimate(session: Any, name: str, spec: Any, data: Any) -> str:
    pieces, assumed = session.left(name, spec, data), session.assumed
    return (
        f"{name}: {len(pieces)} trials can be run from this pack, {sum(piece.updates for piece in pieces):,} updates, "
        f"{sum(piece.flops for piece in pieces):.2g} FLOPs: about {assumed.minutes(pieces):.0f} minutes with "
        f"{assumed.workers} at once, if the GPU does {assumed.tflops:g} TFLOP/s and a step takes "
        f"{1000 * assumed.step:g} ms; the longest takes "
        f"{max(map(assumed.seconds, pieces), default=0.0) / 60:.1f} minutes"
    )


def _result(archive: Path) -> str:
    from gence.bench.records import read_study

    study = read_study(archive)
    failed = f", {len(study.failures)} failed" if study.failures else ""
    return f"{archive.name}: {len(study.records)} of {study.expected} trials are done{failed}"


def _name(device: Any) -> str:
    import torch

    return torch.cuda.get_device_name(device) if device.type == "cuda" else str(device)


def _say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    if sys.version_info < (3, 11):  # noqa: UP036  # the machine has what it has
        sys.exit("run.py: Python 3.11 or newer is needed")
    from gence import InputError

    try:
        main()
    except InputError as error:
        sys.exit(f"run.py: {error}")
