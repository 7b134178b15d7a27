"""Settings of the whole suite."""

from __future__ import annotations

import torch

# The tensors of tests are small: a second thread costs more than it gives, twice so on a busy machine.
torch.set_num_threads(1)
