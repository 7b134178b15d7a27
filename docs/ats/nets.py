"""Train the nets of spec.toml and keep their weights.

python docs/ats/nets.py DATA_ROOT OUT               # DATA_ROOT holds the parquet folders named in the spec
python docs/ats/nets.py DATA_ROOT OUT cifar10-ce    # one of them; what is there already is kept
"""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path

import numpy as np
import torch

from gence.data import LabelledData, Standardize, fit_standardize, load
from gence.losses import catalogue as losses
from gence.models import build
from gence.training import Recipe, train

SPEC = tomllib.loads((Path(__file__).parent / "spec.toml").read_text())
NETS = SPEC["nets"]


def names() -> list[str]:
    """The nets of the spec, as `data-loss`."""
    return [f"{data}-{loss}" for data in NETS["data"] for loss in NETS["losses"]]


def train_rows(data: LabelledData) -> np.ndarray:
    """The rows of the source's own training split that the nets are trained on."""
    assert data.test_rows is not None
    own = np.setdiff1d(np.arange(len(data.labels)), data.test_rows)
    return np.random.default_rng(NETS["seed"]).permutation(own)[: NETS["train_rows"]]


def trained_net(data: LabelledData, loss: str, file: Path) -> tuple[torch.nn.Module, Standardize]:
    """The net of `file`, or a newly trained one that is then kept there; in evaluation mode, with its preprocessing."""
    rows = train_rows(data)
    standardize = fit_standardize(data.kind, data.inputs[rows])
    net = build(NETS["model"], data.inputs.shape[1:], data.num_classes, seed=NETS["seed"])
    if file.exists():
        with np.load(file, allow_pickle=False) as weights:
            net.load_state_dict({name: torch.from_numpy(weights[name]) for name in weights.files})
        return net.eval(), standardize
    recipe = Recipe(epochs=NETS["epochs"], batch_size=NETS["batch_size"])
    inputs, target = torch.from_numpy(standardize(data.inputs[rows])), torch.from_numpy(data.labels[rows])
    train(net, inputs, target, losses.build(loss, num_classes=data.num_classes), recipe, seed=NETS["seed"])
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_name("partial-" + file.name)
    np.savez(partial, **{name: value.numpy() for name, value in net.state_dict().items()})
    partial.rename(file)
    return net, standardize


def main(data_root: Path, out: Path, *nets: str) -> None:
    for net in nets or names():
        data, loss = net.rsplit("-", 1)
        trained_net(load(str(data_root / NETS["data"][data])), loss, out / f"{net}.npz")
        print(f"{net}: done", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), *sys.argv[3:])
