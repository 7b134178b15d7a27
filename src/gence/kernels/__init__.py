"""Ways to compute what GenCE needs of the logits, chosen by size and device; each gives what the definition gives.

`eager` is the closed form by PyTorch's operators, `composed` leaves the gradient to autograd or a compiler, and
`triton_ops` holds the kernels for GPUs. `autograd` joins them under one name.
"""
