# `make run` starts a server, `make test` tests it; `make help` lists the rest.
# Every virtual environment is built from a lock with hashes, and kept until the lock changes.

PYTHON ?= python3
VERSIONS = 3.11 3.12 3.13 3.14
PORT ?= 8000
PIP_INSTALL = -m pip install --quiet --disable-pip-version-check --no-deps
DEV = .venv-dev/bin
LOCK = $(DEV)/python -m uv pip compile pyproject.toml --quiet --generate-hashes --universal \
	--python-version 3.11 --no-header $(UPGRADE)

.DELETE_ON_ERROR:
.SECONDARY: # make would remove the stamps that a pattern made
.DEFAULT_GOAL := help
.PHONY: help run test check docs test-all bench bench-scale campaign-crash campaign-migrations \
	campaign-security soak lock clean

help: ## Show this list.
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/make \1\t\2/p' Makefile | expand -t 27

run: .venv/installed ## Start a server in ./deployment, which is made if it is not there.
	.venv/bin/quetz run ./deployment --dev --skip-if-exists --port $(PORT)

test: check ## Run all checks and tests.
	$(DEV)/python -m pytest quetz

check: .venv-dev/installed ## Check format, lint, types and floors.
	$(DEV)/ruff format --check
	$(DEV)/ruff check
	$(DEV)/mypy
	$(DEV)/lint-imports

docs: .venv-dev/installed ## Write the page of the API from its description.
	$(DEV)/python -m quetz.tests.architecture.api_page

test-all: ## Run the tests on every Python found of 3.11 to 3.14.
	@found=; for version in $(VERSIONS); do \
		python$$version --version >/dev/null 2>&1 || continue; \
		found="$$found $$version"; \
		$(MAKE) --no-print-directory ".venv-$$version/installed" || exit 1; \
		echo "Python $$version"; \
		".venv-$$version/bin/python" -m pytest quetz || exit 1; \
	done; echo "tested on:$${found:- no Python was found}"; test -n "$$found"

bench: .venv-dev/installed ## Measure; writes benchmarks/README.md.
	$(DEV)/python -m benchmarks

bench-scale: .venv-dev/installed ## Measure channels of up to 500,000 records, beside peers and limits.
	$(DEV)/python -m benchmarks.scale

campaign-crash: .venv-dev/installed ## Kill a server under load, many times, and check what it kept.
	$(DEV)/python -m benchmarks.crash

campaign-migrations: .venv-dev/installed ## Kill migrations, crowd them, and measure what they cost.
	$(DEV)/python -m benchmarks.migrations

campaign-security: .venv-dev/installed ## Attack a server in fifteen ways, and count what gives way.
	$(DEV)/python -m benchmarks.security

soak: .venv-dev/installed ## Use a server in all ways for an hour, and see whether it grows.
	$(DEV)/python -m benchmarks.soak $(if $(MINUTES),--minutes $(MINUTES)) $(if $(DATABASE),--database $(DATABASE))

lock: .venv-dev/installed ## Write both locks anew; UPGRADE=--upgrade takes the newest releases.
	$(LOCK) --group build --output-file requirements.lock
	$(LOCK) --group build --group dev --constraint requirements.lock --output-file requirements-dev.lock

clean: ## Remove the virtual environments and caches; a deployment is left alone.
	rm -rf .venv .venv-* .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

# `requirements` and `installed` are stamps: an edit of pyproject.toml alone reinstalls only quetz.

.venv/requirements: requirements.lock
	$(call make_environment,.venv,$(PYTHON),requirements.lock)

.venv-dev/requirements: requirements-dev.lock
	$(call make_environment,.venv-dev,$(PYTHON),requirements-dev.lock)

.venv-3.%/requirements: requirements-dev.lock
	$(call make_environment,.venv-3.$*,python3.$*,requirements-dev.lock)

%/installed: %/requirements pyproject.toml
	@$*/bin/python $(PIP_INSTALL) --no-build-isolation --editable .
	@touch $@

# $(1): the folder, $(2): the interpreter, $(3): the lock. Wheels only: building from source would
# fetch what the lock does not name.
define make_environment
	@$(2) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("quetz needs Python 3.11 or newer; pass one with: make PYTHON=python3.11")'
	@echo 'Installing $(3) into $(1)'
	@$(2) -m venv --clear $(1)
	@$(1)/bin/python $(PIP_INSTALL) --require-hashes --only-binary :all: --requirement $(3)
	@touch $@
endef
