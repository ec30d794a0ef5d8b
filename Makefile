# Needs Python 3.11, git and make; the rest is installed on the way, where it is missing.
#
#   make demo            record a demonstration workload for ten seconds and print the report
#   make test            lint, types, layers and the whole test suite
#   make lint            the first three of these
#   make docs            the documentation as a site, in site/
#   make bench-capture   what recording costs, beside perf and bpftrace: about eight minutes; benchmarks/README.md
#   make bench-hour      record a mixed load for an hour, and watch the recorder
#   make bench-analyze   how fast a report is, beside a bare scan, DuckDB and pandas: about fifteen minutes
#   make bench-truth     how often the analyzer is right, on traces with known truth: about ten minutes
#   make bench-truth-real the same on real workloads, recorded as root: three to six minutes
#   make stress          kill a hundred recorders under load, and see what comes back: about ten minutes
#   make fuzz            damage what comes from others, and see what its readers say: five minutes, or as many as in
#                        FUZZ_OPTIONS="--minutes 60 --only trace"; tests/fuzz/run.py tells all
#   make setup           only install
#   make clean           remove what was built and installed here

SHELL := /bin/sh
BIN := .venv/bin
BUILT_FROM := pyproject.toml setup.py tracekit/__init__.py README.md $(wildcard capture/bpf/*.[ch]) \
	$(wildcard analyze/kernels/*.py analyze/kernels/*.[ch])
PYTEST_OPTIONS ?=
BENCH_OPTIONS ?=
STRESS_OPTIONS ?=
FUZZ_OPTIONS ?=

.NOTPARALLEL:
.PHONY: demo test lint docs bench-capture bench-hour bench-analyze bench-truth bench-truth-real stress fuzz setup setup-test system system-test system-bench clean

# Who may not install packages may still read a report.
demo:
	@if scripts/install-system-packages --check; then $(MAKE) --no-print-directory setup; \
	else $(MAKE) --no-print-directory .venv/.installed-to-report; fi
	@demo/run

test: setup-test lint
	$(BIN)/python -m pytest $(PYTEST_OPTIONS)

lint: setup-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/mypy demo/workload.py sample_traces/make.py scripts/site_pages.py
	$(BIN)/mypy benchmarks/capture.py benchmarks/hour.py benchmarks/truth.py benchmarks/real.py benchmarks/laboratory/real/sleeper.py
	$(BIN)/mypy benchmarks/analyze.py benchmarks/analyze_peers.py benchmarks/exchange.py
	$(BIN)/mypy tests/stress/kill_recorder.py
	MYPYPATH=benchmarks:tests/support:tests/fuzz $(BIN)/mypy tests/fuzz/run.py
	$(BIN)/lint-imports --no-logo

docs: .venv/.installed-docs
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet
	@echo "The documentation is in site/index.html"

# Recording takes root.
bench-capture: setup system-bench
	@$(if $(filter-out 0,$(shell id -u)),sudo) $(BIN)/python benchmarks/capture.py $(BENCH_OPTIONS)

bench-hour: setup system-bench
	@$(if $(filter-out 0,$(shell id -u)),sudo) $(BIN)/python benchmarks/hour.py $(BENCH_OPTIONS)

bench-analyze: setup-test
	@$(BIN)/python benchmarks/analyze.py $(BENCH_OPTIONS)

bench-truth: .venv/.installed-to-report
	@$(BIN)/python benchmarks/truth.py $(BENCH_OPTIONS)

bench-truth-real: system .venv/.installed-bench system-bench
	@$(if $(filter-out 0,$(shell id -u)),sudo) $(BIN)/python benchmarks/real.py $(BENCH_OPTIONS)

stress: setup
	@$(if $(filter-out 0,$(shell id -u)),sudo) $(BIN)/python tests/stress/kill_recorder.py $(STRESS_OPTIONS)

fuzz: .venv/.installed-fuzz
	@$(BIN)/python tests/fuzz/run.py $(FUZZ_OPTIONS)

setup: system .venv/.installed

setup-test: system-test .venv/.installed-test
	@scripts/install-system-packages browser

system:
	@scripts/install-system-packages

system-test:
	@scripts/install-system-packages test

system-bench:
	@scripts/install-system-packages bench

# A stamp is younger than everything that the installed package was made from.
.venv/.installed: $(BUILT_FROM) | .venv/bin/pip
	@echo "Installing tracekit into .venv"
	@$(BIN)/pip install --quiet --disable-pip-version-check --editable .
	@touch $@

.venv/.installed-to-report: $(BUILT_FROM) | .venv/bin/pip
	@echo "Installing tracekit into .venv, without what records"
	@TRACEKIT_WITHOUT_BPF=1 $(BIN)/pip install --quiet --disable-pip-version-check --editable .
	@touch $@

.venv/.installed-test: $(BUILT_FROM) | .venv/bin/pip
	@echo "Installing tracekit and what its tests need into .venv"
	@$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[test]'
	@touch $@ .venv/.installed

.venv/.installed-docs: pyproject.toml | .venv/bin/pip
	@echo "Installing what the documentation is built with into .venv"
	@TRACEKIT_WITHOUT_BPF=1 $(BIN)/pip install --quiet --disable-pip-version-check --editable '.[docs]'
	@touch $@

.venv/.installed-bench: $(BUILT_FROM) | .venv/bin/pip
	@echo "Installing tracekit and what its benchmarks need into .venv"
	@$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[bench]'
	@touch $@ .venv/.installed

.venv/.installed-fuzz: $(BUILT_FROM) | .venv/bin/pip
	@echo "Installing tracekit and what fuzzes it into .venv"
	@TRACEKIT_WITHOUT_BPF=1 $(BIN)/pip install --quiet --disable-pip-version-check --editable '.[fuzz]'
	@touch $@

.venv/bin/pip:
	@python=$$(scripts/find-python) && { "$$python" -c 'import ensurepip' 2>/dev/null || \
	{ echo "make: a virtual environment needs the package python3-venv: install it, or run this as root" >&2; exit 1; }; } && \
	"$$python" -m venv .venv

clean:
	rm -rf .venv build dist site .demo .fuzz *.egg-info .*_cache .hypothesis
	rm -f capture/bpf/*.bpf.o analyze/kernels/built/*.so
