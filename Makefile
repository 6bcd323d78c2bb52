# Lamina's commands; each works from a fresh clone with Python >= 3.11, make and a package index.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# pip, with hashes, takes an extra that a dependency asks for only where the lock names it too.
LOCK := $(BIN)/uv pip compile -q --universal --generate-hashes --no-annotate --no-emit-index-url \
	--no-strip-extras --custom-compile-command "make lock" --python-version 3.11
PACKAGES := service biometrics crypto lab benchmarks
PIP := $(BIN)/pip install -q --disable-pip-version-check
# The same, told package by package.
SEEN := $(BIN)/pip install --disable-pip-version-check
# Where `make serve` listens: another LAMINA_BIND moves the issuer and what is printed along.
SET = $(shell sed -n 's/^$(1)=//p' .env 2>/dev/null)
LAMINA_BIND ?= $(or $(call SET,LAMINA_BIND),127.0.0.1:8000)
# What .env says of an issuer on this machine stands for the address that it says, and no other.
WRITTEN_ISSUER = $(if $(filter file,$(origin LAMINA_BIND)),$(call SET,LAMINA_ISSUER),$(filter-out http://localhost:%,$(call SET,LAMINA_ISSUER)))
LAMINA_ISSUER ?= $(or $(WRITTEN_ISSUER),http://localhost:$(lastword $(subst :, ,$(LAMINA_BIND))))
DEVELOPMENT := LAMINA_MODE=development LAMINA_DATABASE_URL=sqlite:///var/lamina.db LAMINA_ROOT_KEY=file:var/keys \
	LAMINA_BIND='$(LAMINA_BIND)' LAMINA_ISSUER='$(LAMINA_ISSUER)'

.DEFAULT_GOAL := help
.PHONY: help install demo serve check test races restore clock tamper oracles flood chaos bench bench-keys bench-log bench-storage bench-overload bench-context bench-policy bench-face bench-behavior settings-docs lock format bench-http profile bench-peers lock-peers

help: ## Show what there is
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

# What running needs: no tool, and nothing that builds. Each package is told as it comes.
$(VENV)/.running: requirements.lock
	@echo "Installing what running needs into $(VENV), this once:"
	$(PYTHON) -m venv $(VENV)
	$(SEEN) --require-hashes -r requirements.lock
	@pwd > "$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/lamina-here.pth"
	@test -x $(BIN)/lamina || (printf '#!/bin/sh\nexec "%s/$(BIN)/python" -m service.cli "$$@"\n' "$$(pwd)" \
		> $(BIN)/lamina && chmod 755 $(BIN)/lamina)
	@touch $@

# What receives the demo's mail.
$(VENV)/.mail: $(VENV)/.running requirements-demo.lock
	$(SEEN) --require-hashes --no-deps -r requirements-demo.lock
	@touch $@

# The bindings of Argon2 once more, for x86-64-v3, beside the stock ones; needs a C compiler. What builds
# them is locked too, and in an environment that goes again.
FAST := $(VENV)/lib/lamina-fast-hash
BUILD := $(VENV)/.build
$(FAST): requirements-fast-hash.lock | $(VENV)/.installed
	@test "$$(uname -m)" = x86_64 || { echo "FAST_HASH=1 is for x86-64; this machine is a $$(uname -m)" >&2; exit 1; }
	@rm -rf $(BUILD) $@
	$(PYTHON) -m venv $(BUILD)
	$(BUILD)/bin/pip install -q --disable-pip-version-check --require-hashes --only-binary :all: -r requirements-fast-hash.lock
	PATH="$(abspath $(BUILD))/bin:$$PATH" CFLAGS="-O3 -march=x86-64-v3" $(BUILD)/bin/pip install -q \
		--disable-pip-version-check --require-hashes --no-deps --no-build-isolation --force-reinstall \
		--no-cache-dir --no-binary argon2-cffi-bindings --target $@ -r requirements-argon2.lock
	@rm -rf $(BUILD)

$(VENV)/.installed: requirements-dev.lock pyproject.toml
	@echo "Installing what working on it needs into $(VENV), this once:"
	$(PYTHON) -m venv $(VENV)
	$(SEEN) --require-hashes -r requirements-dev.lock
	$(PIP) --no-deps --no-build-isolation -e .
	@touch $@ $(VENV)/.running $(VENV)/.mail

install: $(VENV)/.installed $(if $(FAST_HASH),$(FAST)) ## Make .venv with the locked dependencies and the command lamina (FAST_HASH=1)

$(VENV)/.bench: $(VENV)/.installed requirements-bench.lock
	$(PIP) --require-hashes -r requirements-bench.lock
	@touch $@

demo: $(VENV)/.mail ## Start the real service and sign a person in through every layer
	@$(BIN)/lamina demo

# By it every `lamina …` in this directory works on what `make serve` serves; one that is there stays.
.env:
	@umask 077 && printf '%s\n' $(DEVELOPMENT) > $@

serve: $(VENV)/.running .env ## Serve on http://localhost:8000 (LAMINA_BIND=HOST:PORT) with keys and database in var/
	@mkdir -p var
	@test -d var/keys || $(DEVELOPMENT) $(BIN)/lamina keys init
	@$(DEVELOPMENT) $(BIN)/lamina db upgrade
	@test -f var/client.json || (umask 077 && $(DEVELOPMENT) $(BIN)/lamina clients create dev \
		--scope all --first-party --json > var/client.json)
	@echo "A client with every scope is in var/client.json. In another terminal:"
	@echo
	@echo '  id=$$(python3 -c "import json;print(json.load(open(\"var/client.json\"))[\"client_id\"])")'
	@echo '  secret=$$(python3 -c "import json;print(json.load(open(\"var/client.json\"))[\"client_secret\"])")'
	@echo '  curl -su "$$id:$$secret" -d grant_type=client_credentials $(LAMINA_ISSUER)/oauth2/token'
	@echo
	@echo "The API is described at $(LAMINA_ISSUER)/docs; README.md goes on from here."
	@$(DEVELOPMENT) $(BIN)/lamina serve

check: install ## Format, lint, words and sizes, types, import contracts, dependencies, dead code
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/python -m tests.gates
	$(BIN)/mypy $(addprefix -p ,$(PACKAGES))
	$(BIN)/lint-imports
	$(BIN)/deptry .
	$(BIN)/vulture

# Coverage has bars where everything runs: with PostgreSQL, with CI, or where COVERAGE=1 asks for it.
EXACT := crypto/*,service/domain/*,service/login/model.py
COVERAGE ?= $(if $(or $(LAMINA_TEST_POSTGRES_URL),$(CI)),1)
# Without a server much of the time of a test is waiting, so one process more than cores is used.
PROCESSES = $(or $(WORKERS),$(if $(COVERAGE),auto,$(shell expr $$(getconf _NPROCESSORS_ONLN) + 1)))
# The PKCS #11 provider is left out of the second report: it needs a token to be run at all.
test: install ## Run the tests (WORKERS=N processes, COVERAGE=1 measures it; with PostgreSQL it always is)
	$(BIN)/pytest -q -n $(PROCESSES) --maxprocesses=4 --dist=worksteal $(if $(COVERAGE),--cov --cov-report=)
	$(if $(COVERAGE),$(BIN)/coverage report --fail-under=90)
	$(if $(COVERAGE),$(BIN)/coverage report --omit=crypto/providers/pkcs11.py --include='$(EXACT)' --fail-under=100)

races: install ## Race every operation against every other in two processes; print counts (ROUNDS=N)
	LAMINA_TEST_RACES=$(or $(ROUNDS),50) $(BIN)/pytest -q -s -p no:randomly tests/races

clock: install ## Set the clock between any two acts, 5,000 steps against a model (WALKS=N)
	LAMINA_TEST_CLOCK_WALKS=$(or $(WALKS),100) $(BIN)/pytest -q -rP tests/functional/test_clock_machine.py

restore: install ## Put backups back after thirteen acts that take something away; counts are printed
	$(BIN)/pytest -q -rP tests/functional/test_restore.py

oracles: install ## Compare what can be read of right and wrong elements (ROUNDS=N); 10,000 questions (QUERIES=N)
	LAMINA_TEST_ORACLES=$(or $(ROUNDS),334) $(BIN)/pytest -q -rP -k sqlite tests/functional/test_untold.py
	LAMINA_TEST_QUERIES=$(or $(QUERIES),10000) $(BIN)/pytest -q -rP tests/functional/test_budgets.py

bench-overload: install ## Measure overload: introspection beside passwords, 3x capacity (AGAINST=DIR, URL=postgresql…, OUT=FILE)
	$(BIN)/python -m benchmarks.overload $(if $(AGAINST),--against $(AGAINST)) $(if $(URL),--url $(URL)) $(if $(OUT),--out $(OUT))

flood: install ## Send a real server what is cheap to send and dear to take (QUICK=1, OUT=FILE)
	$(BIN)/python -m benchmarks.flood $(if $(QUICK),--quick) $(if $(OUT),--out $(OUT))

tamper: install ## Write 40 and more edits into the database by SQL; each is refused or reported
	$(BIN)/pytest -q -s tests/tamper

chaos: install ## Kill jobs, workers and databases 200 times each while keys rotate
	LAMINA_TEST_KILLS=$(or $(KILLS),200) $(BIN)/pytest -q -rP tests/chaos

bench: install ## Measure what a login costs (QUICK=1 for a short form, OUT=FILE for JSON)
	$(BIN)/python -m benchmarks.login $(if $(QUICK),--quick) $(if $(OUT),--out $(OUT))

bench-http: install ## Measure over HTTP beside a build and peers (BASE=REV, QUICK=1, OPS=, ROUNDS=, CONNECTIONS=, OUT=FILE)
	@$(BIN)/python -m benchmarks.http $(if $(QUICK),--quick) $(if $(BASE),--base $(BASE)) $(if $(OPS),--ops $(OPS)) \
		$(if $(ROUNDS),--rounds $(ROUNDS)) $(if $(CONNECTIONS),--connections $(CONNECTIONS)) $(if $(OUT),--out $(OUT))

profile: install ## Profile one operation in process: functions, statements (OP=totp, RUNS=N)
	@$(BIN)/python -m benchmarks.http.profile $(or $(OP),totp) $(if $(RUNS),--runs $(RUNS))

bench-keys: $(VENV)/.bench ## Measure keys against rivals (QUICK=1, ROWS=N, URL=postgresql…, OUT=FILE)
	$(BIN)/python -m benchmarks.keys $(if $(QUICK),--quick) $(if $(ROWS),--rows $(ROWS)) \
		$(if $(URL),--url $(URL)) $(if $(OUT),--out $(OUT))

bench-log: install ## Measure how fast entries of the audit log get their place (URL=postgresql…)
	$(BIN)/python -m benchmarks.sequencer $(if $(URL),--url $(URL))

bench-storage: install ## Measure bytes, WAL and the worker's CPU a login (URL=postgresql…, LOGINS=N, OUT=FILE)
	$(BIN)/python -m benchmarks.storage --url $(URL) $(if $(LOGINS),--logins $(LOGINS)) $(if $(OUT),--out $(OUT))

bench-context: install ## Measure the login context and its rivals (QUICK=1, OUT=FILE, PLOT=FILE.png)
	$(BIN)/python -m benchmarks.login_context $(if $(QUICK),--quick) $(if $(OUT),--out $(OUT)) $(if $(PLOT),--plot $(PLOT))

bench-policy: install ## Measure a decision; 100,000 random policies never ask for less (QUICK=1, OUT=FILE)
	$(BIN)/python -m benchmarks.policy $(if $(QUICK),--quick) $(if $(OUT),--out $(OUT))

bench-face: $(VENV)/.bench ## Measure faces against dlib (DATA=DIR, PORTRAIT=JPEG, QUICK=1, OUT=FILE)
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.face $(if $(DATA),--data $(DATA)) \
		$(if $(PORTRAIT),--portrait $(PORTRAIT)) $(if $(QUICK),--quick) $(if $(OUT),--out $(OUT))

bench-behavior: install ## Measure behavior on published sets (DATA=DIR, QUICK=1, OUT=FILE, PLOT=DIR)
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.behavior $(if $(DATA),--data $(DATA)) \
		$(if $(QUICK),--quick) $(if $(OUT),--out $(OUT)) $(if $(PLOT),--plot $(PLOT))

bench-peers: install ## Install what bench-http compares with into .peers/ (PEER=NAME)
	$(BIN)/python -m benchmarks.http.peers.install $(PEER)

format: install ## Format and sort imports
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

settings-docs: install ## Write docs/settings.md from the settings
	$(BIN)/lamina config --markdown > docs/settings.md

lock: ## Resolve the dependencies anew, with hashes
	test -x $(BIN)/uv || ($(PYTHON) -m venv $(VENV) && $(PIP) uv)
	$(LOCK) pyproject.toml -o requirements.lock
	$(LOCK) --group dev -c requirements.lock pyproject.toml -o requirements-dev.lock
	awk '/^[^ #]/ { on = /^(aiosmtpd|atpublic|attrs)==/ } on || /^#/' requirements-dev.lock > requirements-demo.lock
	$(LOCK) -c requirements.lock --group pyproject.toml:fast-hash -o requirements-fast-hash.lock
	awk '/^[^ #]/ { on = /^argon2-cffi-bindings==/ } on || /^#/' requirements-fast-hash.lock > requirements-argon2.lock
	$(LOCK) --group dev --group bench -c requirements-dev.lock pyproject.toml -o requirements-bench.lock

lock-peers: install ## Resolve the packages of the peers of benchmarks anew, with hashes
	for file in benchmarks/http/peers/apps/*/requirements.in; do \
		$(LOCK) "$$file" -o "$${file%.in}.lock" || exit 1; done
	for file in benchmarks/http/peers/apps/*/package.json; do (cd "$${file%/*}" && \
		npm install --package-lock-only --ignore-scripts --omit-lockfile-registry-resolved=true) || exit 1; done
