# Everything a developer types. `make` alone lists it.

.DEFAULT_GOAL := help
SHELL := /bin/sh
MAKEFLAGS += --no-print-directory

BIN := .venv/bin
# A target that needs packages waits for a stamp: the second call installs nothing.
DEV := .venv/dev.stamp
EMBEDDED := .venv/embedded.stamp

# Where `make verify` finds Taskmill.
API_PORT ?= 8000
URL ?= http://127.0.0.1:$(API_PORT)
# Extra words for pytest, the benchmark or compose: make test ARGS="-k retry"
ARGS ?=

.venv/%.stamp: requirements/%.txt
	@sh requirements/install.sh $*

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' Makefile


.PHONY: run
run: $(EMBEDDED) ## Start Taskmill embedded in one process (API_PORT, DATA_DIR)
	@exec $(BIN)/python -m deploy.embedded $(ARGS)

.PHONY: verify
verify: $(EMBEDDED) ## Check a running Taskmill from outside (URL)
	@exec $(BIN)/python -m client.verify --url $(URL) $(ARGS)

.PHONY: bench
bench: $(DEV) ## Measure it
	@exec $(BIN)/python -m tests.bench $(ARGS)

.PHONY: install
install: $(DEV) ## Make .venv with everything that developing needs
	@:

# Four at once: most of their time they wait for servers. Each has servers of its own. In the order of their names,
# for the slowest files, those of the faults, come early in it.
.PHONY: test
test: $(DEV) ## Run all tests (ARGS="-k retry -n 0")
	@exec $(BIN)/python -m pytest -n 4 --dist loadfile --no-loadscope-reorder $(ARGS)

.PHONY: check
check: $(DEV) check-docs ## Check format, lint, types, import rules and generated docs
	@$(BIN)/ruff format --quiet --check . || { echo "not formatted: make format"; exit 1; }
	@$(BIN)/ruff check --quiet .
	@$(BIN)/mypy --no-error-summary
	@$(BIN)/lint-imports --no-cache >/dev/null || $(BIN)/lint-imports --no-cache

.PHONY: docs
docs: $(DEV) ## Redraw what is generated in docs/
	@exec $(BIN)/python -m docs.generate

.PHONY: check-docs
check-docs: $(DEV)
	@$(BIN)/python -m docs.generate --check

.PHONY: format
format: $(DEV) ## Format the code and mend what can be mended
	@$(BIN)/ruff check --quiet --fix-only .
	@$(BIN)/ruff format --quiet .

.PHONY: migrate
migrate: $(EMBEDDED) ## Bring the database at DATABASE_URL up to date
	@exec $(BIN)/alembic upgrade head

.PHONY: migration
migration: $(DEV) ## Write a new migration from the models (m="add x")
	@test -n "$(m)" || { echo 'say what it does: make migration m="add x"'; exit 2; }
	@exec $(BIN)/alembic revision --autogenerate -m "$(m)" \
		--rev-id "$$(printf %04d $$(($$(ls shared/migrations/versions/[0-9]*.py | wc -l) + 1)))"

.PHONY: up
up: .env ## Build and start the compose stack, and wait until it is healthy
	@docker compose up --detach --build --wait $(ARGS)
	@echo "Taskmill is at http://$$(docker compose port api 8000)"

.PHONY: down
down: ## Stop the compose stack; its data stays
	@docker compose down $(ARGS)

.PHONY: logs
logs: ## Follow the logs of the compose stack
	@exec docker compose logs --follow --tail 100 $(ARGS)

# Passwords are made here, so that no stack ever runs on those of an example.
.env:
	@umask 077 && sh deploy/make-env.sh > $@.new && mv $@.new $@
	@echo "Wrote .env with fresh passwords"

# Each lock takes its versions from the widest one, so that all three agree.
LOCK = $(BIN)/uv pip compile pyproject.toml --quiet --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-annotate --no-header $(ARGS)

.PHONY: lock
lock: $(DEV) ## Remake requirements/*.txt from pyproject.toml (ARGS=--upgrade)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	@$(LOCK) --all-extras --output-file requirements/dev.txt >/dev/null
	@$(LOCK) --extra embedded --constraint requirements/dev.txt --output-file requirements/embedded.txt >/dev/null
	@$(LOCK) --constraint requirements/dev.txt --output-file requirements/services.txt >/dev/null

.PHONY: clean
clean: ## Remove .venv, caches and what tools left; data stays
	@rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
