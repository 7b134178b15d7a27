# Every target does its own set-up in .venv; CI and contributors call these same commands.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: setup demo test lint docs clean

# The stamp is newer than everything that decides what is installed, so set-up runs again only when that changes.
setup: .venv/.ready

.venv/.ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet -c constraints.txt --editable '.[dev]'
	touch $@

demo: setup
	$(BIN)/gence compare digits --out demo

test: setup
	$(BIN)/python -m pytest --numprocesses auto --dist loadfile

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright

docs: setup
	$(BIN)/mkdocs build --strict --quiet --site-dir site

clean:
	rm -rf .venv demo site dist
