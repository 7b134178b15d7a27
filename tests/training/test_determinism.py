from __future__ import annotations

import os

import pytest
import torch
import torch.nn.functional as F
from torch.backends import cudnn

from gence.training import Recipe, deterministic, train

needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")


def settings() -> tuple[object, ...]:
    return (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
        cudnn.deterministic,
        cudnn.benchmark,
        os.environ.get("CUBLAS_WORKSPACE_CONFIG"),
    )


def test_the_settings_hold_inside_and_are_restored() -> None:
    before = settings()
    with deterministic():
        assert settings() == (True, True, True, False, ":4096:8")
    assert settings() == before


def test_what_was_set_before_is_what_is_restored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":16:8")
    torch.use_deterministic_algorithms(True)
    try:
        with cudnn.flags(enabled=True, benchmark=True):
            with deterministic():
                assert settings() == (True, True, True, False, ":16:8")
            assert settings() == (True, False, False, True, ":16:8")
    finally:
        torch.use_deterministic_algorithms(False)


def test_an_error_restores_them_too() -> None:
    before = settings()
    with pytest.raises(KeyError), deterministic():
        raise KeyError
    assert settings() == before


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=needs_cuda)])
def test_two_trainings_inside_are_one(device: str) -> None:
    results = []
    inputs = torch.randn(40, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    for _ in range(2):
        with torch.random.fork_rng():
            torch.manual_seed(0)
            model = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.Flatten(), torch.nn.Linear(288, 3))
        with deterministic():
            train(model, inputs, torch.arange(40) % 3, F.cross_entropy, Recipe(3, 8), seed=0, device=device)
        results.append(torch.cat([parameter.detach().flatten() for parameter in model.parameters()]))
    assert torch.equal(*results)


def test_it_holds_in_a_process_that_has_imported_the_testing_tools_of_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    # Their import forbids to set these flags but through their context.
    monkeypatch.setattr(torch.backends, "__allow_nonbracketed_mutation_flag", False)
    with deterministic():
        assert cudnn.deterministic
