"""The benches run whole on small shapes, compare fairly, note failures and go on; the page shows what they found."""

from __future__ import annotations

import argparse
import importlib
import json
import math
import sys
from itertools import pairwise
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
import torch.nn.functional as F

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs/speed.md"

PLACE = dict.fromkeys(("gpu", "cuda", "triton", "torch", "python", "gence", "date"), "some") | {
    "threads": 1,
    "cores": 2,
    "load": 0.0,
}


@pytest.fixture(autouse=True)
def scripts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))


def module(name: str) -> ModuleType:
    return importlib.import_module(name)


def measured(bench: str, out: Path, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> dict[str, Any]:
    """What a bench writes about tiny shapes."""
    monkeypatch.setattr(sys, "argv", [bench, "--tiny", "--out", str(out), *arguments])
    module(bench).main()
    return json.loads(out.read_text())


def test_the_bench_of_the_processor_measures_every_candidate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = measured("cpu", tmp_path / "cpu.json", monkeypatch)
    assert len(found["cases"]) == len(module("cpu").TINY)
    for case in found["cases"]:
        for name, entry in case["candidates"].items():
            assert "error" not in entry, (name, entry)
            times = entry["times"]["plain"]
            assert times["forward"]["ms"] > 0
            assert times["backward"]["ms"] > 0
            assert entry["peak_bytes"] >= (8 * 3 + 5 * 3 if case["features"] else 8 * 5) * 4  # the gradient at least
    assert found["environment"]["threads"] == torch.get_num_threads()
    printed = capsys.readouterr().out
    assert all(text in printed for text in module("cpu").tables(found).values())
    assert all(one["what"] in printed for one in found["targets"])


def test_the_bench_of_the_gpu_goes_its_whole_way_without_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    gpu = module("gpu")
    monkeypatch.setattr(gpu, "TINY", gpu.TINY[:1])  # a process for each takes seconds to start; the other is below
    found = measured("gpu", tmp_path / "gpu.json", monkeypatch, "--device", "cpu")
    assert_all_but_triton_was_measured(found["cases"])
    printed = capsys.readouterr().out
    assert gpu.tables(found) in printed
    assert "GenCE, triton: " in printed


def test_a_linear_case_of_the_gpu_goes_its_whole_way_without_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    found = measured("gpu", tmp_path / "case.json", monkeypatch, "--device", "cpu", "--case", "1")
    assert_all_but_triton_was_measured([found])
    content = {"environment": PLACE, "settings": ["plain"], "cases": [found]}
    assert "| chunked cross-entropy |" in module("gpu").tables(content)
    assert [one.verdict for one in module("gpu").targets(content)] == ["not measured"] * 2


def assert_all_but_triton_was_measured(cases: list[dict[str, Any]]) -> None:
    """There is nothing to launch it on: an error that stops nobody else."""
    for case in cases:
        for name, entry in case["candidates"].items():
            assert ("error" in entry) == ("triton" in name), (name, entry)
            assert ("times" in entry) == ("triton" not in name)


@pytest.mark.parametrize("bench", ["cpu", "gpu"])
def test_every_candidate_of_a_case_is_one_and_ratios_are_to_some_of_them(bench: str) -> None:
    candidates = module("speed.candidates")
    for case in [*module(bench).CASES, *module(bench).TINY]:
        assert set(case.names) <= set(candidates.LINEAR if case.features else candidates.DENSE)
        assert set(case.bases) <= set(case.names)


# ---------------------------------------------------------------- rounds and ratios


def test_everyone_is_first_as_often_as_last_and_runs_after_everyone_beside_it() -> None:
    order = module("speed.pairs").order
    turns = [order("abcd", turn) for turn in range(8)]
    for place in range(4):
        assert sorted(turn[place] for turn in turns) == sorted("abcd" * 2)
    assert {("a", "b"), ("b", "a")} <= {pair for turn in turns for pair in pairwise(turn)}
    assert order("", 3) == []


def test_a_ratio_is_that_within_rounds() -> None:
    # The machine is ten times slower in the second half; the ratio of medians would be anything but two.
    base = [1.0, 1.0, 1.0, 10.0, 10.0, 10.0, 10.0]
    rounds = {"base": [{"both": one} for one in base], "own": [{"both": 2 * one} for one in base]}
    found = module("speed.pairs").summary(rounds, ["base", "not there"])
    assert found["own"]["both"]["ratio"] == {"base": {"median": 2.0, "low": 2.0, "high": 2.0}}
    assert found["own"]["both"]["ms"] == 20e3
    assert found["own"]["rounds"] == 7


@pytest.mark.parametrize(("n", "skipped"), [(1, 0), (5, 0), (6, 0), (8, 0), (9, 1), (20, 5), (100, 39)])
def test_the_interval_of_a_median_skips_as_many_as_the_table_of_the_sign_test_says(n: int, skipped: int) -> None:
    # Critical values of the two-sided sign test at 5 %; below six there is none, and all are taken.
    low, high = module("speed.pairs").median_interval([float(i) for i in range(n)][::-1])
    assert (low, high) == (skipped, n - 1 - skipped)
    outside = 2 * sum(math.comb(n, i) for i in range(skipped + 1)) / 2**n
    assert outside <= 0.05 or n < 6


def test_a_step_that_fails_takes_no_further_part() -> None:
    calls = []

    def fails() -> dict[str, float]:
        calls.append(1)
        if len(calls) == 2:
            raise ValueError("out of luck\nand more")
        return {"both": 1.0}

    steps = {"good": lambda: {"both": 1.0}, "bad": fails}
    rounds, failed = module("speed.pairs").in_turns(steps, seconds=0.0, least=5, most=9)
    assert failed == {"bad": "ValueError: out of luck"}
    assert list(rounds) == ["good"]
    assert len(rounds["good"]) == 5
    assert len(calls) == 2


# ---------------------------------------------------------------- memory, candidates, failures


def test_the_peak_is_what_is_held_at_once_to_the_byte() -> None:
    machines = module("speed.machines")
    x = torch.zeros(1000, requires_grad=True)

    def loss(x: torch.Tensor) -> torch.Tensor:
        y = x.detach().clone()  # 4,000 bytes
        z = y.cos()  # 4,000 more
        y = y.sin()  # and more, and then less
        del y
        return x.dot(z)  # a number of 4

    # The most is held where both y are there; then z is, and in the end the gradient with two numbers.
    assert machines.Processor().peak_bytes(machines.Step(loss, (x,))) == 3 * 4000


def test_the_chunked_baseline_is_cross_entropy_through_a_linear_layer() -> None:
    chunked = module("speed.chunked")
    torch.manual_seed(0)
    features, weight = torch.randn(37, 3, requires_grad=True), torch.randn(101, 3, requires_grad=True)
    target = torch.randint(101, (37,))
    value = chunked.linear_cross_entropy(features, weight, target)
    right = F.cross_entropy(features @ weight.T, target)
    torch.testing.assert_close(value, right)
    own = torch.autograd.grad(3.0 * value, (features, weight))
    torch.testing.assert_close(own, torch.autograd.grad(3.0 * right, (features, weight)))


def wrong(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    return 1.01 * F.cross_entropy(logits, target)


def in_place(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    loss = F.cross_entropy(logits, target)
    with torch.no_grad():
        logits.data.mul_(0.5)  # as a kernel does it, unseen by autograd
    return loss


def test_a_candidate_that_computes_something_else_is_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    candidates, cases, machines = (module(f"speed.{name}") for name in ("candidates", "cases", "machines"))
    for name, loss, overwrites in (("wrong", wrong, False), ("in place", in_place, True), ("last", in_place, True)):
        entry = candidates.Candidate(lambda loss=loss: loss, "cross-entropy", overwrites=overwrites)
        monkeypatch.setitem(candidates.DENSE, name, entry)
    case = cases.Case(8, 5, ("F.cross_entropy", "wrong", "in place", "last"), ("F.cross_entropy",))
    seen: list[dict[str, Any]] = []
    cases.measure(case, machines.Processor(), cases.Effort(0.0, 3, 3), lambda found: seen.append(found))
    found = seen[-1]["candidates"]
    assert found["wrong"]["error"].startswith("ArithmeticError: a gradient is 0.01 from")
    assert "times" not in found["wrong"]
    # One that overwrites its logits leaves those of the others alone.
    assert [found[name]["times"]["plain"]["rounds"] for name in ("in place", "last")] == [3, 3]
    assert "at" not in seen[-1]


def test_cross_entropy_cannot_pass_for_gence(monkeypatch: pytest.MonkeyPatch) -> None:
    """With many classes their gradients differ by little beside the label's."""
    candidates, cases, machines = (module(f"speed.{name}") for name in ("candidates", "cases", "machines"))
    monkeypatch.setitem(candidates.DENSE, "wrong", candidates.Candidate(lambda: F.cross_entropy, "GenCE"))
    case = cases.Case(40, 2000, ("GenCE, definition", "GenCE, eager", "wrong"), ("GenCE, eager",), dtype="bfloat16")
    seen: list[dict[str, Any]] = []
    with pytest.warns(UserWarning, match="no estimate of the model's marginal"):
        cases.measure(case, machines.Processor(), cases.Effort(0.0, 1, 1), lambda found: seen.append(found))
    found = seen[-1]["candidates"]
    assert found["wrong"]["error"].startswith("ArithmeticError")
    assert found["GenCE, eager"]["apart"] < 0.01


def test_a_case_that_is_stopped_keeps_the_settings_that_were_timed() -> None:
    cases, machines = module("speed.cases"), module("speed.machines")

    class Stopped(machines.Processor):
        settings = ("plain", "another")

        def time(self, step, setting):
            if setting == "another":
                raise KeyboardInterrupt
            return super().time(step, setting)

    written: list[str] = []
    case = cases.Case(8, 5, ("F.cross_entropy",), ("F.cross_entropy",))
    with pytest.raises(KeyboardInterrupt):
        cases.measure(case, Stopped(), cases.Effort(0.0, 1, 1), lambda found: written.append(json.dumps(found)))
    assert list(json.loads(written[-1])["candidates"]["F.cross_entropy"]["times"]) == ["plain"]


def test_a_candidate_that_takes_the_process_down_is_left_out_of_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = module("gpu")
    tried = []

    def child(
        case: int, options: object, without: tuple[str, ...], seconds: float
    ) -> tuple[dict[str, Any], str | None]:
        tried.append(without)
        if not without:
            return {"at": "Liger", "candidates": {"Liger": {}, "quack": {}}}, "exit status -11: "
        if len(without) == 1:
            return {
                "at": "quack",
                "candidates": {"quack": {"error": "AcceleratorError: misaligned"}},
            }, "exit status 1: x"
        return {"candidates": {"GenCE": {"peak": 1.0}}}, None

    monkeypatch.setattr(gpu, "_child", child)
    found = gpu.run(0, argparse.Namespace(), 60.0)
    assert tried == [(), ("Liger",), ("Liger", "quack")]
    assert found == {
        "candidates": {
            "GenCE": {"peak": 1.0},
            "Liger": {"error": "exit status -11: "},
            "quack": {"error": "AcceleratorError: misaligned"},
        }
    }


def test_a_case_that_takes_too_long_is_stopped_and_the_rest_goes_on(tmp_path: Path) -> None:
    gpu = module("gpu")
    options = argparse.Namespace(tiny=True, quick=False, device="cpu")
    found, error = gpu._child(0, options, (), 0.01)
    assert error == "stopped after 0 s"
    assert found["candidates"] == {}
    content = {"environment": PLACE, "settings": ["plain"], "cases": [{**found, "error": error}]}
    assert "| 8 x 5 float32 |" in gpu.tables(content)
    assert {one.verdict for one in gpu.targets(content)} <= {"not measured"}


class Clock:
    """An event of a stand-in for CUDA: a second later at each record."""

    now = 0.0

    def __init__(self, *, enable_timing: bool = False) -> None:
        assert enable_timing

    def record(self) -> None:
        Clock.now += 1.0
        self.at = Clock.now

    def synchronize(self) -> None:
        pass

    def elapsed_time(self, other: Clock) -> float:
        return 1e3 * (other.at - self.at)


def test_a_gpu_is_timed_by_its_events_at_every_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    machines = module("speed.machines")
    for name, stand_in in {
        "Event": Clock,
        "_sleep": lambda cycles: None,
        "synchronize": lambda: None,
        "get_device_properties": lambda device: SimpleNamespace(L2_cache_size=16),
        "memory_allocated": lambda: 30,
        "max_memory_allocated": lambda: 100,
        "reset_peak_memory_stats": lambda: None,
    }.items():
        monkeypatch.setattr(torch.cuda, name, stand_in)
    gpu = machines.Gpu(torch.device("cpu"))
    logits, target = torch.randn(4, 3, requires_grad=True), torch.tensor([0, 1, 2, 0])
    step = machines.Step(F.cross_entropy, (logits, target))
    for setting in gpu.settings:
        times = gpu.time(step, setting)
        assert {name: times[name] for name in ("forward", "backward", "both")} == {
            "forward": 1.0,
            "backward": 1.0,
            "both": 2.0,
        }
        assert times["host"] > 0
    assert gpu.peak_bytes(step) == 70
    assert gpu.copy_rate(50) == 100.0


# ---------------------------------------------------------------- what is written and shown


@pytest.mark.parametrize(
    ("found", "at_least", "verdict"),
    [(None, False, "not measured"), (1.8, False, "met"), (1.81, False, "missed"), (1.79, True, "missed")],
)
def test_a_target_says_whether_it_is_met(found: float | None, at_least: bool, verdict: str) -> None:
    target = module("speed.record").Target("time", 1.8, found, at_least=at_least)
    assert target.verdict == verdict
    assert target.cells()[-1] == verdict


def test_a_place_of_a_page_is_filled_and_one_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    record, page = module("speed.record"), tmp_path / "page.md"
    page.write_text("before\n<!-- a -->\nold\n<!-- end of a -->\nafter\n")
    for _ in range(2):
        record.fill(page, "a", "new")
        assert page.read_text() == "before\n<!-- a -->\n\nnew\n\n<!-- end of a -->\nafter\n"
    with pytest.raises(ValueError, match="must have a place called 'b'; got none: put the comments around it"):
        record.fill(page, "b", "new")


def test_the_tables_of_the_page_are_those_of_what_was_measured() -> None:
    cpu = json.loads((ROOT / "benchmarks/cpu.json").read_text())
    for name, text in module("cpu").tables(cpu).items():
        assert f"<!-- {name} -->\n\n{text}\n\n<!-- end of {name} -->" in PAGE.read_text()
    assert [case["case"] for case in cpu["cases"]] == [str(case) for case in module("cpu").CASES]


def test_the_page_says_of_gpus_what_was_measured_and_nothing_else() -> None:
    results, page = ROOT / "benchmarks/gpu.json", PAGE.read_text()
    if results.exists():
        text = module("gpu").tables(json.loads(results.read_text()))
        assert f"<!-- gpu -->\n\n{text}\n\n<!-- end of gpu -->" in page
    assert ("not measured yet: no GPU has run these kernels" in page) != results.exists()


def test_a_table_of_what_was_measured_is_printed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    cpu = module("cpu")
    monkeypatch.setattr(sys, "argv", ["cpu.py", "--table"])
    cpu.main()
    content = json.loads((ROOT / "benchmarks/cpu.json").read_text())
    assert capsys.readouterr().out == "\n\n".join(cpu.tables(content).values()) + "\n"
