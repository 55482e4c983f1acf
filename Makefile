# Everything a developer or a CI runs. `make` alone lists the targets.
# Needs bash, make, git and a Python 3.11 or later; whatever else is missing is installed, or named.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.NOTPARALLEL:
.DELETE_ON_ERROR:

PYTHON ?= python3
ARGS ?=

export PYTHON
export UV_PYTHON_DOWNLOADS := never
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# Tests start hundreds of processes: each would compile everything anew where the surroundings forbid bytecode.
unexport PYTHONDONTWRITEBYTECODE

VENV := .venv
BIN := $(VENV)/bin
UV := $(BIN)/uv
PYTEST := $(BIN)/python -m pytest
KAFKA := .cache/kafka
BENCH_JAVA := .cache/bench-java
IMAGE_BASE := .cache/image/base.tar
AUDIT := .cache/audit
# helm itself, and the operator whose resources the chart makes; go holds both to its public log of checksums
HELM := .cache/helm
HELM_VERSION := 3.22.0
OPERATOR_VERSION := 0.85.0
# as helm's own releases are built: the Kubernetes that it takes for granted where it asks no cluster
HELM_KUBERNETES := $(foreach where,chartutil lint/rules,-X helm.sh/helm/v3/pkg/$(where).k8sVersionMinor=37)

# $(call step,what it checks,command): says what runs, and how long it took
step = @printf '\n== %s\n' '$(1)'; SECONDS=0; $(2); printf '== done in %d s\n' "$$SECONDS"
# tests that share nothing run beside each other, three on two cores, as they wait half of the time; those that watch the
# clock of a whole process run alone
BESIDE := --numprocesses 3 --dist loadfile --no-loadscope-reorder
UNHURRIED := $(patsubst %,tests/acceptance/test_%.py,failpoints links sealed_credentials away secured_kafka traces runbook readme \
	rotation demo bad_input erasing)

# $(call tests,pytest arguments): no test found is a failure that says so
tests = { code=0; $(PYTEST) --durations=10 $(1) || code=$$?; \
	if ((code == 5)); then echo 'No test ran: the selection "$(1)" is empty, and an empty run proves nothing.' >&2; fi; \
	((code == 0)); }

.PHONY: help
help: ## list the targets
	@printf 'Cordboard\n\n'
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# --- what a person runs -------------------------------------------------------------------------------------------

.PHONY: demo
demo: $(VENV)/.runtime ## a mixed day on an embedded broker and the sandbox; ARGS=--stay keeps it up
	@$(BIN)/cordboard demo $(ARGS)

.PHONY: install
install: $(VENV)/.runtime $(VENV)/.dev ## make .venv with the pinned runtime and development packages

# The first that is here; podman and buildah keep the health check only in Docker's format.
ENGINE = $(firstword $(foreach one,docker podman buildah,$(if $(shell command -v $(one)),$(one))))
VERSION = $(shell sed -n 's/^version = "\(.*\)"$$/\1/p' pyproject.toml)
REVISION = $(shell git describe --always --abbrev=40 --dirty --exclude='*' 2>/dev/null || echo unknown)
TAG ?= cordboard:$(VERSION)
BASE ?=

.PHONY: image
image: ## the container image, with docker, podman or buildah; TAG=its name, BASE=another Debian to build on
	@test -n '$(ENGINE)' || { echo 'image: neither docker nor podman nor buildah is here; install one' >&2; exit 1; }
	$(ENGINE) build $(if $(filter docker,$(notdir $(firstword $(ENGINE)))),,--format docker) --tag '$(TAG)' \
		$(if $(BASE),--build-arg BASE='$(BASE)') --build-arg VERSION='$(VERSION)' --build-arg REVISION='$(REVISION)' $(ARGS) .

.PHONY: kafka
kafka: install kafka-jars ## a real Apache Kafka in the foreground, until Ctrl-C
	@$(BIN)/python -m tests.kafka.broker

.PHONY: postgres
postgres: install postgres-server ## a real PostgreSQL in the foreground, until Ctrl-C
	@$(BIN)/python -m tests.postgres.server

# --- tiers: each contains the one before it -----------------------------------------------------------------------

.PHONY: check
check: check-format check-lint check-types check-imports check-contracts check-locks check-secrets check-sbom check-unit ## without servers, within 2 minutes: format, lint, types, import contracts, drift, locks, secrets, licences, unit tests
	@printf '\nmake check: all green\n'

.PHONY: test
test: check kafka-jars postgres-server prometheus-server helm-cli openssl ## check, then conformance, simulation, integration, chart and acceptance on real servers, within 15 minutes
	$(call step,whatever needs no machine for itself,\
		$(call tests,$(UNHURRIED) tests/simulation tests/integration tests/conformance tests/chart tests/fuzz -m "not long" $(BESIDE)))
	$(call step,acceptance tests that watch the clock one by one,\
		$(call tests,tests/acceptance $(UNHURRIED:%=--ignore=%) -m "not long"))
	@printf '\nmake test: all green\n'

.PHONY: test-long
test-long: install kafka-jars postgres-server prometheus-server ## the sizes that do not fit into `make test`, within 60 minutes
	$(call step,whatever needs no machine for itself,\
		$(call tests,$(UNHURRIED) tests/simulation tests/fuzz tests/integration tests/conformance tests/chart -m long $(BESIDE)))
	$(call step,long tests that watch the clock one by one,\
		$(call tests,tests/acceptance $(UNHURRIED:%=--ignore=%) -m long))
	$(MAKE) test-image

.PHONY: test-image
test-image: install $(IMAGE_BASE) ## build the image on a Debian made here, and run the demo in it read-only; needs root
	@.ci/need buildah debootstrap
	$(call step,the image built and run,$(call tests,tests/image -m image))

.PHONY: bench
bench: $(VENV)/.bench kafka-jars bench-jars postgres-server ## Cordboard beside others, an hour and a half; ARGS="--only throughput --rounds 1"
	$(call step,benchmarks,$(BIN)/python -m tests.benchmarks $(ARGS))

# --- the steps of `make check`, each also by itself ---------------------------------------------------------------

.PHONY: check-format check-lint check-types check-imports check-contracts check-locks check-secrets check-sbom check-unit
check-format: install
	$(call step,format: ruff format,$(BIN)/ruff format --check .)
check-lint: install
	$(call step,lint: ruff check,$(BIN)/ruff check .)
check-types: install
	$(call step,types: mypy --strict,$(BIN)/mypy)
check-imports: install
	$(call step,import contracts: import-linter,$(BIN)/lint-imports --no-logo)
check-contracts: install
	$(call step,drift: schemas and AsyncAPI against the models,$(BIN)/python -m contracts.generate --check)
check-locks: install
	$(call step,locks: in step with pyproject.toml and hashed,$(BIN)/python -m tests.checks.lock_check)
check-secrets: install
	$(call step,secrets: none in any file,$(BIN)/python -m tests.checks.secret_scan)
check-sbom: install
	$(call step,bill of materials: every package with its hash and a licence that may be shipped,$(BIN)/python -m tests.checks.sbom)
check-unit: install
	$(call step,unit and schema and chart and Dockerfile tests,$(call tests,tests/unit tests/schemas tests/chart tests/image -q -m "not prometheus and not image and not helm" $(BESIDE)))

# --- dependencies -------------------------------------------------------------------------------------------------

.PHONY: lock
lock: $(VENV)/.tools ## write the lock files anew; ARGS=--upgrade takes newer versions
	$(BIN)/python -m tests.checks.lock_check --write $(ARGS)

.PHONY: sbom
sbom: install ## write the bill of materials of what is shipped: build/cordboard.cdx.json
	@$(BIN)/python -m tests.checks.sbom --write build/cordboard.cdx.json

.PHONY: audit
audit: $(AUDIT)/.complete ## look the pinned packages up in the advisory database; fails when it cannot be reached
	@for lock in requirements.lock tests/requirements.lock .ci/tools.lock .ci/audit.lock; do \
		printf '\n== advisories for %s\n' "$$lock"; \
		$(AUDIT)/bin/pip-audit --strict --disable-pip --require-hashes --requirement "$$lock" \
			|| { echo "audit: $$lock has findings, or the advisory service did not answer: nothing was shown to be safe" >&2; exit 1; }; \
	done

$(AUDIT)/.complete: .ci/audit.lock
	@.ci/need venv
	$(PYTHON) -m venv --clear $(AUDIT)
	$(AUDIT)/bin/pip install --quiet --require-hashes --requirement .ci/audit.lock
	@touch $@

# The venv is made once and only ever added to: others may be using it. `make clean` removes it.
$(BIN)/pip:
	@.ci/need venv
	$(PYTHON) -m venv $(VENV)

# uv and the build backend come by pip, everything else by uv: all of it pinned and hashed
$(VENV)/.tools: .ci/tools.lock | $(BIN)/pip
	$(BIN)/python -m pip install --quiet --require-hashes --requirement .ci/tools.lock
	@touch $@

$(VENV)/.runtime: requirements.lock pyproject.toml $(VENV)/.tools
	$(UV) pip install --quiet --compile-bytecode --python $(BIN)/python --require-hashes --requirement requirements.lock
	$(UV) pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.dev: tests/requirements.lock $(VENV)/.runtime
	$(UV) pip install --quiet --compile-bytecode --python $(BIN)/python --require-hashes --requirement tests/requirements.lock
	@touch $@

# whom the benchmarks compare with
$(VENV)/.bench: tests/benchmarks/requirements.lock $(VENV)/.dev
	$(UV) pip install --quiet --compile-bytecode --python $(BIN)/python --require-hashes --requirement tests/benchmarks/requirements.lock
	@touch $@

.PHONY: kafka-jars
kafka-jars: $(KAFKA)/.complete ## the broker's jars from Maven Central, 54 MB, once
	@.ci/need java

$(KAFKA)/.complete: tests/kafka/pom.xml
	@.ci/need java maven
	rm -rf $(KAFKA)/incoming
	mvn -B -q -ntp -Dstyle.color=never -f tests/kafka/pom.xml dependency:copy-dependencies \
		-DincludeScope=runtime -DoutputDirectory=$(CURDIR)/$(KAFKA)/incoming
	rm -rf $(KAFKA)/jars && mv $(KAFKA)/incoming $(KAFKA)/jars
	@touch $@

# the contender in Java, compiled
.PHONY: bench-jars
bench-jars: $(BENCH_JAVA)/.complete

$(BENCH_JAVA)/.complete: tests/benchmarks/java/pom.xml tests/benchmarks/java/ParallelConsumerContender.java
	@.ci/need jdk maven
	rm -rf $(BENCH_JAVA)
	mvn -B -q -ntp -Dstyle.color=never -f tests/benchmarks/java/pom.xml dependency:copy-dependencies \
		-DincludeScope=runtime -DoutputDirectory=$(CURDIR)/$(BENCH_JAVA)/jars
	javac -cp '$(BENCH_JAVA)/jars/*' -d $(BENCH_JAVA) tests/benchmarks/java/ParallelConsumerContender.java
	@touch $@

# What Docker's debian image is, nearly: made here, so that the test of the image needs neither daemon nor registry
$(IMAGE_BASE):
	@.ci/need buildah debootstrap
	@((EUID == 0)) || { echo 'image: making a Debian, and mounting an image, take root: sudo make test-image' >&2; exit 1; }
	@mkdir -p $(@D); folder="$$(mktemp --directory $(CURDIR)/$(@D)/debian-XXXXXX)"; chmod 755 "$$folder"; \
		trap 'rm -rf --one-file-system "$$folder"' EXIT; \
		PATH="$$PATH:/usr/sbin" debootstrap --variant=minbase bookworm "$$folder" >$(@D)/debootstrap.log \
			|| { tail $(@D)/debootstrap.log >&2; exit 1; }; \
		tar --directory "$$folder" --exclude './usr/share/doc/*' --exclude './usr/share/locale/*' --exclude './usr/share/man/*' \
			--exclude './var/cache/apt/*' --exclude './var/lib/apt/lists/*' --create --file "$$folder.tar" . ; \
		mv "$$folder.tar" $@

.PHONY: postgres-server
postgres-server:
	@.ci/need postgres

.PHONY: openssl
openssl:
	@.ci/need openssl

.PHONY: prometheus-server
prometheus-server:
	@.ci/need prometheus

.PHONY: helm-cli
helm-cli: $(HELM)/.helm-$(HELM_VERSION)-operator-$(OPERATOR_VERSION) ## helm, and the schemas of ServiceMonitor and PrometheusRule, once

$(HELM)/.helm-$(HELM_VERSION)-operator-$(OPERATOR_VERSION):
	@.ci/need go
	mkdir -p $(HELM)
	GOTOOLCHAIN=auto GOBIN=$(CURDIR)/$(HELM) go install -trimpath -ldflags '-s -w $(HELM_KUBERNETES)' \
		helm.sh/helm/v3/cmd/helm@v$(HELM_VERSION)
	module="$$(go mod download -json github.com/prometheus-operator/prometheus-operator@v$(OPERATOR_VERSION))"; \
		folder="$$($(PYTHON) -c 'import json, sys; print(json.loads(sys.argv[1])["Dir"])' "$$module")"; \
		install -m 644 "$$folder"/example/prometheus-operator-crd/monitoring.coreos.com_{servicemonitors,prometheusrules}.yaml $(HELM)
	@touch $@

.PHONY: clean
clean: ## remove .venv, .cache and what tools left behind
	rm -rf $(VENV) .cache .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
