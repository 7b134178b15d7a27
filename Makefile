# Every target does its own set-up in .venv; CI and contributors call these same commands.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: setup demo test lint docs bench environments clean

# The stamp is newer than everything that decides what is installed, so set-up runs again only when that changes.
setup: .venv/.ready

.venv/.ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --no-compile -c constraints.txt --editable '.[dev]'
# pip would compile on one core, for two minutes. Some packages carry templates that are no Python, hence the dash.
	-$(BIN)/python -m compileall -qq -j 0 -x '/tests/' .venv/lib src
	touch $@

demo: setup
	$(BIN)/gence compare digits --out demo

test: setup
	$(BIN)/python -m pytest --numprocesses auto --dist loadfile
	TRITON_INTERPRET=1 $(BIN)/python -m pytest --numprocesses auto tests/kernels/triton

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright

docs: setup
	$(BIN)/mkdocs build --strict --site-dir site

# Some minutes of an otherwise idle machine; on one with a GPU, `python benchmarks/gpu.py` besides.
bench: setup
	$(BIN)/python benchmarks/cpu.py

# Fresh environments with the core and with each extra alone: minutes, and a gigabyte on disk.
environments: setup
	$(BIN)/python tests/environments.py

clean:
	rm -rf .venv demo site dist
