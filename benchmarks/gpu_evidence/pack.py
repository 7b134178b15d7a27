"""Put what the specs need into a folder that a bare machine with a GPU can use: the images, and the wheels it lacks.

    python benchmarks/gpu_evidence/pack.py --data-root DATA --out gpu-pack
    python benchmarks/gpu_evidence/pack.py --data-root DATA --out gpu-pack-lt --spec specs/gpu-long-tail.toml

It takes minutes, as images are compressed well.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from evidence import wheels
from evidence.pack_file import MANIFEST, WHEELS, write_pack
from evidence.rows import fewer_test_rows, refuse_tuned, rows_needed, some_of

from gence._errors import InputError
from gence._files import check_place
from gence.bench.inputs import StudyData, read_inputs
from gence.bench.spec import Spec, read_spec

ROOT = Path(__file__).parents[2]
SPEC = ROOT / "specs/gpu-few-labels.toml"
MEBIBYTE = 2**20


def pack(specs: dict[str, Spec], folder: Path, *, test_rows: int, foreign_rows: int) -> dict[str, int]:
    """Write a pack of these specs, by their names; how many rows of each data set it holds.

    Raises:
        InputError: If the data cannot be read or packed.
    """
    read: dict[str, StudyData] = {}
    for name, spec in specs.items():
        refuse_tuned(spec)
        read[name] = read_inputs(spec)
    sources, foreign = {}, {}
    for name, spec in specs.items():
        for source, data in zip(spec.data, read[name].labelled.values(), strict=True):
            if source != data.name:
                raise InputError(f"{source}: a data set known by name is expected, as gence list data has them")
            if source not in sources:
                sources[source] = fewer_test_rows(data, test_rows)
            of_source = foreign.setdefault(source, {})
            for other, images in read[name].foreign[data.name].items():
                of_source[other] = some_of(images, foreign_rows)
    needed = rows_needed(specs.values(), StudyData({data.name: data for data in sources.values()}))
    data = {source: (one, needed[one.name]) for source, one in sources.items()}
    write_pack(folder, list(specs), data, foreign)
    return {source: len(rows) for source, (_, rows) in data.items()}


def main(arguments: list[str] | None = None) -> None:
    """Read the arguments and write the pack."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-root", help="where the data sets lie, as for gence run")
    parser.add_argument("--out", type=Path, required=True, help="a folder that is not there yet")
    parser.add_argument("--spec", type=Path, action="append", help="several in the order of their weight")
    parser.add_argument("--seeds", type=int, help="the first so many seeds of every spec only")
    parser.add_argument("--test-rows", type=int, default=4000, help="of each data set")
    parser.add_argument("--foreign-rows", type=int, default=2000, help="of each out-of-distribution set")
    parser.add_argument("--python", action="append", help="versions that the machine may have")
    parser.add_argument("--limit", type=float, default=45.0, help="MiB that the pack may have")
    args = parser.parse_args(arguments)
    specs = {}
    for path in args.spec or [SPEC]:
        spec = read_spec(path)
        seeds = spec.seeds if args.seeds is None else min(args.seeds, spec.seeds)
        specs[path.stem] = spec.model_copy(update={"data_root": args.data_root, "seeds": seeds})
    check_place(args.out, folder=True)
    if args.out.exists():
        raise InputError(f"{args.out}: a folder that is not there yet is expected; remove it, or name another --out")
    (args.out / WHEELS).mkdir(parents=True)
    wheels.fetch(args.out / WHEELS, args.python or wheels.PYTHONS)
    rows = pack(specs, args.out, test_rows=args.test_rows, foreign_rows=args.foreign_rows)
    size = sum(path.stat().st_size for path in args.out.rglob("*") if path.is_file()) / MEBIBYTE
    print(*(f"{source}: {count:,} rows" for source, count in rows.items()), sep="\n")
    print(f"{args.out}: {size:.1f} MiB for {', '.join(specs)}")
    if size > args.limit:
        (args.out / MANIFEST).unlink()
        raise InputError(f"{args.out}: {size:.1f} MiB are more than {args.limit:g}; give fewer --seeds or --test-rows")


if __name__ == "__main__":
    try:
        main()
    except InputError as error:
        sys.exit(f"pack.py: {error}")
