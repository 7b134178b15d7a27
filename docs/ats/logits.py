"""Logits of every net for all test rows, clean and corrupted.

python docs/ats/logits.py DATA_ROOT OUT               # OUT is the folder of nets.py; what is there already is kept
python docs/ats/logits.py DATA_ROOT OUT cifar10-ce    # those of one net
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
from nets import NETS, SPEC, trained_net

from gence.data import load
from gence.data.corruptions import SEVERITIES, corrupt, names
from gence.training import predict

CONDITIONS = [("clean", 0), *((name, severity) for name in names() for severity in SEVERITIES)]


def logits_file(out: Path, net: str, name: str, severity: int) -> Path:
    """Where the logits `(10000, 10)` of one net and condition lie, beside their `labels`."""
    return out / "logits" / f"{net}-{name}-{severity}.npz"


def read(out: Path, net: str, name: str = "clean", severity: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Float64 logits and labels."""
    with np.load(logits_file(out, net, name, severity), allow_pickle=False) as arrays:
        return torch.from_numpy(arrays["logits"]).double(), torch.from_numpy(arrays["labels"])


def main(data_root: Path, out: Path, *nets: str) -> None:
    (out / "logits").mkdir(parents=True, exist_ok=True)
    for net in nets or NETS:
        data = load(str(data_root / NETS[net]["data"]))
        model, standardize = trained_net(net, data, out)
        images, labels = data.inputs[data.test_rows], data.labels[data.test_rows]
        for name, severity in CONDITIONS if net in SPEC["shift"]["nets"] else CONDITIONS[:1]:
            file = logits_file(out, net, name, severity)
            if file.exists():
                continue
            shown = images if name == "clean" else corrupt(images, name, severity, seed=SPEC["seed"])
            logits = predict(model, torch.from_numpy(standardize(shown))).numpy()
            partial = file.with_name("partial-" + file.name)
            np.savez(partial, logits=logits, labels=labels)
            partial.rename(file)
            print(f"{net}, {name} {severity}: accuracy {(logits.argmax(1) == labels).mean():.3f}", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), *sys.argv[3:])
