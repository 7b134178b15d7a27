"""How long a report of thousands of trials takes: to load, summarize, write and export, and to open in a browser.

    python benchmarks/report.py [FOLDER] [--suites] [--no-browser]

The study is synthetic, 5 data sets x 2 models x 5 budgets x 10 losses x 10 seeds under 3 calibrators, but it lies on
disk as the real thing would: a record file a trial, written by `gence.bench.records`. FOLDER is kept and used again.
"""

from __future__ import annotations

import argparse
import itertools
import math
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from gence.bench.records import (
    METRICS,
    OOD_MEASURES,
    RECORD_VERSION,
    SHIFT_METRICS,
    CalibratorResult,
    Cell,
    FailureRecord,
    PerClass,
    Reliability,
    Shifted,
    Study,
    TrialRecord,
    load_study,
    save_study,
    write_failure,
    write_record,
)
from gence.bench.stats import summarize
from gence.report import answer_lines, write_csv, write_figures, write_report, write_tables

DATA = {"digits": 0.0, "fashion_mnist": 0.3, "cifar10": 0.9, "svhn": 0.5, "pathmnist": 0.6}
MODELS = {"mlp": 0.25, "small_resnet": 0.0}
BUDGETS = (10, 20, 50, 100, 200)
LOSSES = {
    "ce": 0.0,
    "label_smoothing": 0.03,
    "focal:gamma=1.0": 0.0,
    "focal:gamma=3.0": -0.02,
    "brier": 0.02,
    "mbls": 0.01,
    "gence": 0.04,
    "gence_focal": 0.03,
    "adafocal": -0.01,
    "balanced_softmax": 0.0,
}
CALIBRATORS = {"none": 2.0, "temperature": 1.15, "ats": 1.05}
SEEDS, CLASSES, TEST_ROWS, BINS = 10, 10, 2000, 15
FAILED = 12

_Made = TypeVar("_Made")


def cells() -> list[Cell]:
    """The grid, in the order in which a study has it."""
    return [
        Cell(data=data, regime="none", model=model, loss=loss, labels_per_class=budget, batch_size=64, seed=seed)
        for data, model, budget, loss, seed in itertools.product(DATA, MODELS, BUDGETS, LOSSES, range(SEEDS))
    ]


def record_of(cell: Cell, key: str, *, suites: bool) -> TrialRecord:
    """A made-up trial: better with more labels and a better loss, with noise that losses share in part."""
    place = [ord(letter) for letter in f"{cell.data}{cell.model}{cell.labels_per_class}"]
    shared = np.random.default_rng([cell.seed, *place]).standard_normal()
    random = np.random.default_rng([cell.seed, *place, *cell.loss.encode()])
    skill = 0.4 + 0.5 * math.log10(int(cell.labels_per_class)) + 2 * LOSSES[cell.loss]
    skill += 0.05 * float(shared) + 0.004 * float(random.standard_normal()) - DATA[cell.data] - MODELS[cell.model]
    accuracy = 1 - 0.8 / (1 + math.exp(1.5 * skill))
    return TrialRecord(
        version=RECORD_VERSION,
        key=key,
        spec_hash="5eed" * 16,
        cell=cell,
        training={"epochs": 60, "batch_size": cell.batch_size, "learning_rate": 0.05, "updates": 1000},
        data={
            "fingerprint": "9f2c" * 16,
            "kind": "image",
            "name": cell.data,
            "class_names": [f"class {i}" for i in range(CLASSES)],
            "rows": {"train": 8 * int(cell.labels_per_class), "calibration": 200, "test": TEST_ROWS},
        },
        results={name: _result(accuracy, sharp, random, suites=suites) for name, sharp in CALIBRATORS.items()},
        seconds={"train": 20.0 + float(random.random()), "predict": 0.5},
        environment={"gence": "0.1.0", "python": "3.11", "torch": "2.6", "threads": 1},
        finished_at=f"2026-05-{1 + cell.seed:02d}T10:00:00+00:00",
        logits_file=f"{key[:12]}.npz",
    )


def _result(accuracy: float, sharp: float, random: np.random.Generator, *, suites: bool) -> CalibratorResult:
    gap = 0.02 * sharp**2 * (1 + 0.1 * float(random.standard_normal()))
    nll = (1.3 - accuracy) * (1 + 0.2 * (sharp - 1)) + 0.002 * float(random.standard_normal())
    metrics = (accuracy, accuracy - 0.004, nll, 0.5 * nll, gap, 0.95 * gap, gap / 8, 0.9 * gap, 0.06 * nll)
    counts = random.multinomial(TEST_ROWS, np.linspace(0.2, 2, BINS) / np.linspace(0.2, 2, BINS).sum())
    confidence = (np.arange(BINS) + 0.5) / BINS
    each = TEST_ROWS // CLASSES
    correct = random.binomial(each, np.clip(accuracy - np.linspace(-0.05, 0.05, CLASSES), 0, 1))
    shifted = [
        Shifted(
            shift=shift,
            severity=severity,
            metrics={m: metrics[METRICS.index(m)] * (1 - 0.05 * severity) for m in SHIFT_METRICS},
        )
        for shift in ("gaussian_noise", "blur", "contrast")
        for severity in (1, 3, 5)
    ]
    measures: dict[str, float] = dict.fromkeys(OOD_MEASURES, accuracy)
    ood = {name: {"msp": measures, "energy": measures} for name in ("noise", "svhn")}
    return CalibratorResult(
        metrics=dict(zip(METRICS, metrics, strict=True)),
        reliability=Reliability(
            counts=tuple(counts.tolist()),
            confidence_sums=tuple((counts * confidence).tolist()),
            correct_counts=tuple(random.binomial(counts, np.clip(confidence - gap, 0, 1)).tolist()),
        ),
        per_class=PerClass(
            rows=(each,) * CLASSES,
            correct=tuple(correct.tolist()),
            nll=tuple((nll * each * np.linspace(0.9, 1.1, CLASSES)).tolist()),
            confidence=(float((accuracy + gap) * each),) * CLASSES,
            predicted=(each,) * CLASSES,
        ),
        shifted=tuple(shifted) if suites else (),
        ood=ood if suites else {},
        fitted={"temperature": sharp},
        remarks=(),
        seconds=0.02,
    )


def write_study(folder: Path, *, suites: bool) -> None:
    """Put the study into `folder`; its last trials have failed."""
    trials = {f"{number:064x}"[::-1]: cell for number, cell in enumerate(cells())}
    spec = {"version": 2, "data": list(DATA), "models": list(MODELS), "losses": list(LOSSES), "seeds": SEEDS}
    save_study(folder, spec, trials)
    for number, (key, cell) in enumerate(trials.items()):
        if number < len(trials) - FAILED:
            write_record(folder, record_of(cell, key, suites=suites), {"logits": np.zeros((2, 2), np.float16)})
        else:
            failure = FailureRecord(
                version=RECORD_VERSION,
                key=key,
                spec_hash="5eed" * 16,
                cell=cell,
                kind="diverged",
                reason="the loss is not finite after update 31",
                attempts=1,
                seconds=2.0,
                environment={},
                failed_at="2026-05-01T10:00:00+00:00",
            )
            write_failure(folder, failure)


def timed(words: str, make: Callable[[], _Made]) -> _Made:
    """What `make` makes; the seconds it took, and those of them on a processor, go to the screen."""
    start, busy = time.perf_counter(), time.process_time()
    made = make()
    wall, busy = time.perf_counter() - start, time.process_time() - busy
    print(f"{words:<28}{wall:7.1f} s ({busy:.1f} s on a processor)", flush=True)
    return made


def open_in_chromium(page: Path) -> None:
    """Open the page as a reader would, three times, and print when it was loaded and first painted."""
    from playwright.sync_api import sync_playwright

    arguments = "--no-sandbox --disable-gpu --disable-background-networking --disable-component-update --disable-sync"
    executable = next(path for path in map(shutil.which, ("chromium", "chromium-browser", "google-chrome")) if path)
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=executable, args=[*arguments.split(), "--no-first-run"])
        for _ in range(3):
            tab = browser.new_page(viewport={"width": 1280, "height": 900})
            tab.goto(page.resolve().as_uri(), wait_until="load")
            times: list[Any] = tab.evaluate(
                "[performance.getEntriesByType('navigation')[0].loadEventEnd,"
                " performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? 0]"
            )
            print(
                f"{'opened in Chromium':<28}{times[0] / 1000:7.2f} s, first paint {times[1] / 1000:.2f} s", flush=True
            )
            tab.close()
        browser.close()


def main() -> None:
    """Measure, and print a line a step."""
    parser = argparse.ArgumentParser(description="Time the report of a synthetic study of 5,000 trials.")
    parser.add_argument(
        "folder", type=Path, nargs="?", help="where the study lies or is to lie; else a temporary folder"
    )
    parser.add_argument("--suites", action="store_true", help="with results under shift and out of distribution")
    parser.add_argument("--no-browser", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        if not (folder / "study.json").exists():
            timed("synthetic study written", lambda: write_study(folder, suites=options.suites))
        start = time.perf_counter()
        study: Study = timed("load_study", lambda: load_study(folder))
        summary = timed("summarize", lambda: summarize(study))
        page = timed("write_report", lambda: write_report(study, summary, folder))
        print(f"{'together':<28}{time.perf_counter() - start:7.1f} s")
        print(f"{'size of the page':<28}{page.stat().st_size / 1e6:7.1f} MB")
        timed("write_csv", lambda: write_csv(study, folder))
        timed("write_tables", lambda: write_tables(study, summary, folder))
        timed("write_figures", lambda: write_figures(summary, folder))
        print(*answer_lines(summary), sep="\n")
        if not options.no_browser:
            open_in_chromium(page)


if __name__ == "__main__":
    main()
