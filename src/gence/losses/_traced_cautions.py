"""The caution of a compiled loss: said when the graph is traced, as a graph cannot warn.

Apart from the others because the decorator loads the whole compiler, which only those who compile should wait for.
"""

import torch

from gence.losses._cautions import say_ranks_apart as say_eagerly

say_ranks_apart = torch.compiler.assume_constant_result(say_eagerly)
