"""Train the nets of spec.toml and keep their weights.

python docs/ats/nets.py DATA_ROOT OUT               # DATA_ROOT holds the parquet folders named in the spec
python docs/ats/nets.py DATA_ROOT OUT cifar10-ce    # one of them; what is there already is kept
"""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import torch

from gence.data import LabelledData, Standardize, fit_standardize, load
from gence.losses import catalogue as losses
from gence.models import build
from gence.training import Recipe, train

SPEC = tomllib.loads((Path(__file__).parent / "spec.toml").read_text())
NETS: dict[str, dict[str, Any]] = {net["name"]: net for net in SPEC["nets"]}


def train_rows(data: LabelledData, count: int) -> np.ndarray:
    """The rows of the source's own training split that a net is trained on."""
    assert data.test_rows is not None
    own = np.setdiff1d(np.arange(len(data.labels)), data.test_rows)
    return np.random.default_rng(SPEC["seed"]).permutation(own)[:count]


def trained_net(name: str, data: LabelledData, out: Path) -> tuple[torch.nn.Module, Standardize]:
    """The net kept in `out`, or a newly trained one that is then kept; in evaluation mode, with its preprocessing."""
    net, seed = NETS[name], SPEC["seed"]
    rows = train_rows(data, net["train_rows"])
    standardize = fit_standardize(data.kind, data.inputs[rows])
    model = build(SPEC["model"], data.inputs.shape[1:], data.num_classes, seed=seed)
    file = out / f"{name}.npz"
    if file.exists():
        with np.load(file, allow_pickle=False) as weights:
            model.load_state_dict({key: torch.from_numpy(weights[key]) for key in weights.files})
        return model.eval(), standardize
    recipe = Recipe(epochs=net["epochs"], batch_size=SPEC["batch_size"])
    inputs, target = torch.from_numpy(standardize(data.inputs[rows])), torch.from_numpy(data.labels[rows])
    train(model, inputs, target, losses.build(net["loss"], num_classes=data.num_classes), recipe, seed=seed)
    out.mkdir(parents=True, exist_ok=True)
    partial = out / f"partial-{name}.npz"
    np.savez(partial, **{key: value.numpy() for key, value in model.state_dict().items()})
    partial.rename(file)
    return model, standardize


def main(data_root: Path, out: Path, *names: str) -> None:
    for name in names or NETS:
        trained_net(name, load(str(data_root / NETS[name]["data"])), out)
        print(f"{name}: done", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), *sys.argv[3:])
