# What a newcomer types. Each target does its own set-up; the environment is .venv.
.PHONY: help demo run serve dashboard models spark broker flows feast test lint audit image release bench lock clean
.DEFAULT_GOAL := help

PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input -q

help:  ## What can be made
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 10

demo: .venv/.local  ## The whole daily pipeline on packaged history: the morning after 2010-05-06
	@mkdir -p "$(DEMO)" && cd "$(DEMO)" && $(WITHOUT_SETTINGS) \
	TREMOR_SOURCE=sample TREMOR_STATE_DIR="$(DEMO)" \
	"$(CURDIR)/$(BIN)/python" "$(CURDIR)/main.py" run --as-of 2010-05-07T12:00
	@echo "e-mail: $(DEMO)/outbox"
	@echo "look around: TREMOR_STATE_DIR=$(DEMO) $(BIN)/python main.py status"

DEMO ?= $(CURDIR)/var/demo

# The demo mails nobody: neither .env nor the shell's settings reach it.
WITHOUT_SETTINGS := env $$(env | sed -n 's/^\(TREMOR_[A-Z_]*\)=.*/-u \1/p')

run: .venv/.local  ## The same job on Yahoo, or as .env says
	@$(BIN)/python main.py run

serve: .venv/.web  ## The API on http://127.0.0.1:8000, for this machine alone, without keys
	@$(BIN)/python main.py serve --open

dashboard: .venv/.web  ## The web page on http://127.0.0.1:8501, for this machine alone
	@$(BIN)/python main.py dashboard --role write

models: .venv/.models  ## What `train` needs beside: MLflow, Keras on JAX
	@echo "ready: $(BIN)/python main.py train"

spark: .venv/.spark  ## What the stream on a cluster needs beside: Spark
	@echo "ready: $(BIN)/spark-submit --version"

broker: .venv/.dev .venv/kafka/.made  ## A Kafka on localhost:9092 to try the stream with; its data stays in var
	@$(BIN)/python -m tests.kafka_server var/kafka

flows: .venv/flows/.made  ## The same job on Prefect's schedules: docs/FLOWS.md
	@$(<D)/bin/python -m components.entrypoints.flows serve

feast: .venv/feast/.made  ## A feature store over the stored features: docs/FEAST.md
	@echo "ready: $(<D)/bin/python -m components.entrypoints.feature_store --help"

test: .venv/.dev .venv/flows/.made .venv/feast/.made .venv/timescale/.tried .venv/kafka/.made  ## All tests, with real servers on this machine
	@$(BIN)/python -m pytest $(TEST_ARGS)

lint: .venv/.dev  ## Style, types, import contracts, Dockerfile
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/hadolint Dockerfile

audit: .venv/.dev  ## Known flaws of what the image holds, by the policy in .ci/audit
	@$(BIN)/python .ci/audit

image:  ## The container image; a release names its base: make image DIGEST=sha256:...
	@docker build --build-arg PYTHON_DIGEST=$(DIGEST) --build-arg REQUIREMENTS=$(REQUIREMENTS) --build-arg VERSION=$(VERSION) \
		--build-arg REVISION=$$(git rev-parse HEAD) -t tremor:$(VERSION) .

release: .venv/.dev  ## Source as committed, the list of the image's parts (SBOM), their sums, in dist
	@mkdir -p "$(DIST)"
	@git archive --format=tar.gz --prefix=tremor-$(VERSION)/ -o "$(DIST)/tremor-$(VERSION).tar.gz" HEAD
	@git show HEAD:requirements.txt | $(BIN)/python .ci/parts > "$(DIST)/.parts.txt"
	@$(BIN)/cyclonedx-py requirements "$(DIST)/.parts.txt" --pyproject pyproject.toml \
		--output-reproducible --of JSON -o "$(DIST)/tremor-$(VERSION).cdx.json" 2> "$(DIST)/.log" || \
		{ cat "$(DIST)/.log"; exit 1; }
	@rm "$(DIST)/.log" "$(DIST)/.parts.txt"
	@cd "$(DIST)" && sha256sum tremor-$(VERSION).* > SHA256SUMS && cat SHA256SUMS

DIST ?= $(CURDIR)/dist
REQUIREMENTS ?= requirements.txt
VERSION := $(shell sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)

bench: .venv/.dev  ## The benchmarks; each prints ratios
	@$(BIN)/python -m benchmarks.load_candles
	@$(BIN)/python -m benchmarks.load_minutes
	@$(BIN)/python -m benchmarks.parse_archive
	@$(BIN)/python -m benchmarks.backfill_minutes
	@$(BIN)/python -m benchmarks.judgement
	@$(BIN)/python -m benchmarks.stream_judge
	@$(BIN)/python -m benchmarks.stream
	@$(BIN)/python -m benchmarks.spark_stream
	@$(BIN)/python -m benchmarks.daily_run
	@$(BIN)/python -m benchmarks.detection
	@$(BIN)/python -m benchmarks.training
	@$(BIN)/python -m benchmarks.bands
	@$(BIN)/python -m benchmarks.api
	@$(BIN)/python -m benchmarks.dashboard
	@$(BIN)/python -m benchmarks.start_up

lock: .venv/.dev  ## Resolve the pinned versions anew
	@$(BIN)/uv pip compile pyproject.toml $(LOCK_FLAGS) -o requirements.txt
	@$(BIN)/uv pip compile pyproject.toml --extra embedded --extra demo -c requirements.txt \
		$(LOCK_FLAGS) -o requirements-local.txt
	@$(BIN)/uv pip compile pyproject.toml --extra embedded --extra demo --extra models \
		-c requirements.txt $(LOCK_FLAGS) -o requirements-models.txt
	@$(BIN)/uv pip compile pyproject.toml --extra embedded --extra demo --extra models --extra spark \
		-c requirements-models.txt $(LOCK_FLAGS) -o requirements-spark.txt
	@$(BIN)/uv pip compile pyproject.toml --extra embedded --extra demo --extra models --extra web \
		-c requirements-models.txt $(LOCK_FLAGS) -o requirements-web.txt
	@$(BIN)/uv pip compile pyproject.toml --extra web -c requirements-web.txt \
		$(LOCK_FLAGS) -o requirements-served.txt
	@$(BIN)/uv pip compile pyproject.toml --extra embedded --extra demo --extra models --extra spark \
		--extra web --extra dev -c requirements-spark.txt -c requirements-web.txt $(LOCK_FLAGS) -o requirements-dev.txt
	@sed -E '/^(fastapi|starlette|sqlalchemy|websockets)==/,/[^\\]$$/d' requirements-local.txt > .venv/.constraints
	@printf 'sqlalchemy<2.1\nwebsockets<17\n' | $(BIN)/uv pip compile pyproject.toml \
		--extra embedded --extra flows -c .venv/.constraints --overrides /dev/stdin \
		$(LOCK_FLAGS) -o requirements-flows.txt
	@sed -E '/^(pandas|prometheus-client|redis|tenacity)==/,/[^\\]$$/d' requirements-local.txt > .venv/.constraints
	@$(BIN)/uv pip compile --group feast -c .venv/.constraints $(LOCK_FLAGS) \
		-o requirements-feast.txt

LOCK_FLAGS := --universal --python-version 3.11 --generate-hashes --no-header --no-annotate -q

clean:  ## Remove the environment and everything embedded
	rm -rf .venv var

.venv/.made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "error: Python 3.11 or newer is needed; name it: make PYTHON=python3.12 ..."; exit 2; }
	@echo "making .venv"
	@$(PYTHON) -m venv .venv
	@touch $@

.venv/.local: .venv/.made requirements-local.txt
	@echo "installing what the pipeline needs (about a minute)"
	@$(PIP) install --require-hashes -r requirements-local.txt
	@touch $@

.venv/.models: .venv/.made requirements-models.txt
	@echo "installing what training needs (two minutes)"
	@$(PIP) install --require-hashes -r requirements-models.txt
	@touch $@ .venv/.local

.venv/.spark: .venv/.made requirements-spark.txt
	@echo "installing what Spark needs (three minutes: it comes as source, half a gigabyte)"
	@$(PIP) install --require-hashes -r requirements-spark.txt
	@touch $@ .venv/.local .venv/.models

.venv/.web: .venv/.made requirements-web.txt
	@echo "installing what the API and the dashboard need (two minutes)"
	@$(PIP) install --require-hashes -r requirements-web.txt
	@touch $@ .venv/.local .venv/.models

# uv, by its own entry of the list, does the rest in a third of the time.
.venv/.dev: .venv/.made requirements-dev.txt
	@echo "installing what the tests need (about two minutes)"
	@awk '/^uv==/ {on = 1} on {print} on && !/\\$$/ {exit}' requirements-dev.txt > .venv/.uv.txt
	@$(PIP) install --require-hashes -r .venv/.uv.txt
	@$(BIN)/uv pip install -q -p $(BIN)/python --require-hashes --compile-bytecode \
		-r requirements-dev.txt
	@touch $@ .venv/.local .venv/.models .venv/.spark .venv/.web

# Prefect, apart from the rest. Its scheduler fails on SQLAlchemy 2.1, and it bears no websockets
# as new as massive asks for (and uses for streams alone).
.venv/flows/.made: .venv/.dev requirements-flows.txt
	@echo "installing Prefect into .venv/flows (about a minute)"
	@$(PYTHON) -m venv --without-pip $(@D)
	@$(BIN)/uv pip install -q -p $(@D)/bin/python --no-deps --require-hashes \
		-r requirements-flows.txt
	@touch $@

# Feast, apart from the rest: it bears neither pandas 3 nor tenacity 9.
.venv/feast/.made: .venv/.dev requirements-feast.txt
	@echo "installing Feast into .venv/feast (about a minute)"
	@$(PYTHON) -m venv --without-pip $(@D)
	@$(BIN)/uv pip install -q -p $(@D)/bin/python --no-deps --require-hashes --compile-bytecode \
		-r requirements-feast.txt
	@touch $@

# A real TimescaleDB for the tests, of npm's packages; what is in the way is kept for their skip.
.venv/timescale/.tried: .venv/.made $(wildcard tests/timescale/*)
	@echo "installing a TimescaleDB for the tests (60 MB)"
	@mkdir -p $(@D) && cp tests/timescale/* $(@D)
	@cd $(@D) && rm -f lacking && { npm ci --legacy-peer-deps --no-audit --no-fund --silent \
		> .log 2>&1 || mv .log lacking; }
	@touch $@

# A real Kafka, and Spark's connector to it, by Maven; what is in the way is kept for the tests.
.venv/kafka/.made: .venv/.made tests/kafka/broker.xml tests/kafka/connector.xml
	@echo "fetching Kafka and Spark's connector by Maven (60 MB)"
	@mkdir -p $(@D) && rm -rf $(@D)/*
	@for part in broker connector; do \
		{ mvn -B -q -f tests/kafka/$$part.xml dependency:copy-dependencies \
			-DincludeScope=runtime -DoutputDirectory="$(CURDIR)/$(@D)/$$part" \
			> $(@D)/$$part.log 2>&1; } || mv $(@D)/$$part.log $(@D)/$$part.lacking; \
	done
	@touch $@
