"""What `benchmarks/cpu.py` and `benchmarks/gpu.py` share: what is compared, how it is timed, what is written."""
