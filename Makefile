# `make help` lists the targets. Each does its own set-up, so that any of them works in a fresh clone.
SHELL := /bin/bash
.DEFAULT_GOAL := help
ifndef SIDE_BY_SIDE
.NOTPARALLEL:
endif
export MAKE_GOAL := $(firstword $(MAKECMDGOALS))

BIN := .venv/bin
BPF := aftr-pod/aftr/io/steer.bpf.o
KERNELS := $(HOME)/.cache/dslite
LONG := --timeout=1800 --override-ini=faulthandler_timeout=1900 --capture=no
CLUSTER := $(BIN)/pytest -m cluster $(LONG)
CHAOS := $(BIN)/pytest -m chaos --timeout=3600 --override-ini=faulthandler_timeout=3700 --capture=no
COVERED := aftr.state aftr.nat aftr.path

##@ Run
.PHONY: demo
demo: root system env bpf kernels  ## two customers with the same addresses behind one AFTR, in network namespaces
	@$(BIN)/python -m aftr_lab.demo

##@ Kubernetes
.PHONY: cluster cluster-down kubernetes cluster-test cluster-test-alone cluster-test-operator cluster-test-traffic cluster-test-api
NODES := 1
cluster: root system env  ## a real Kubernetes in namespaces with our images; the last line is its KUBECONFIG (NODES=2)
	@scripts/system.sh --cluster
	@$(BIN)/dslite-cluster up --nodes $(NODES)

cluster-down: root env  ## remove it
	@$(BIN)/dslite-cluster down

kubernetes: root system env  ## its programs alone, built once: those of `make cluster`, of which test-api takes etcd and kube-apiserver
	@scripts/system.sh --cluster
	@$(BIN)/dslite-cluster build

cluster-test: cluster-test-alone cluster-test-operator cluster-test-traffic cluster-test-api  ## pools in a real Kubernetes, under their B4s' traffic: the four below, one after another

cluster-test-alone: root system env  ## in clusters of their own: B4s that are told by Kea, AFTRs on the pod network; a cluster leaves nothing
	@scripts/system.sh --cluster
	$(CLUSTER) tests/cluster/test_{distribution,lifecycle,one_armed}.py

# The first test of test_operator.py sees README's pool as it is after the quick start.
cluster-test-operator: root system env  ## README's quick start, B4s that download; the operator killed and away meanwhile; kubectl dslite
	@scripts/system.sh --cluster
	$(CLUSTER) tests/cluster/test_{operator,operator_away,packets,plugin}.py

# Releases come and go (test_under_traffic.py) once the operator's key has changed (test_secrets.py); what is deleted comes last.
cluster-test-traffic: root system env  ## pools scaled, upgraded and struck, secrets changed, stores moved, all of it uninstalled and deleted
	@scripts/system.sh --cluster
	$(CLUSTER) tests/cluster/test_{scaling,secrets,stores,under_traffic,uninstall}.py

cluster-test-api: root system test-api  ## test-api; 200 pools with 1,000 groups, also while they change
	$(BIN)/pytest -m soak tests/operator $(LONG)

##@ Check
.PHONY: test lint test-beside test-unit test-unit-3.13 test-nojit test-boundscheck test-lab lab-gigabyte soak bench bench-store
.PHONY: test-api test-quickstart crds placement-proof distribution-test sriov-test
.PHONY: chaos chaos-crash chaos-handover chaos-partition chaos-store chaos-model
test: root system lint bpf kernels  ## everything that must pass before a commit lands
	@$(MAKE) --no-print-directory --jobs=2 --output-sync=target SIDE_BY_SIDE=1 test-lab test-beside
	@$(MAKE) --no-print-directory test-quickstart

# A lab waits more than it works: the legs that only compute have what it leaves of two cores.
test-beside: export BESIDE := chrt --idle 0
test-beside: env bpf
	@$(MAKE) --no-print-directory test-unit
	@$(MAKE) --no-print-directory test-unit-3.13
	@$(MAKE) --no-print-directory test-nojit
	@$(MAKE) --no-print-directory test-boundscheck

lint: env  ## ruff, mypy, import contracts
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

test-unit: env bpf  ## kernels against their reference, golden packets, properties
	$(BESIDE) $(BIN)/pytest

test-unit-3.13: env bpf  ## the same on Python 3.13, where the machine has one beside the system's
	@if $(BIN)/python -c 'import sys; sys.exit(sys.version_info[:2] != (3, 13))'; then \
	    echo "test-unit ran on Python 3.13 already"; \
	elif python=$$(scripts/python.sh 3.13 2>/dev/null); then \
	    scripts/env.sh build/venv-3.13 "$$python" && MUTANTS=100000 $(BESIDE) build/venv-3.13/bin/pytest; \
	else \
	    echo "no Python 3.13 on this machine: leg left out"; \
	fi

test-nojit: env bpf  ## packets through the kernels as plain Python, with their coverage
	NUMBA_DISABLE_JIT=1 $(BESIDE) $(BIN)/pytest -m nojit $(COVERED:%=--cov=%) --cov-report=term:skip-covered --cov-fail-under=90

test-boundscheck: env bpf  ## every access to an array checked
	MUTANTS=200000 NUMBA_BOUNDSCHECK=1 NUMBA_CACHE_DIR=$(KERNELS)/kernels-boundscheck $(BESIDE) $(BIN)/pytest tests/golden tests/properties

test-lab: root system env bpf kernels  ## real programs through the lab, and those marked short of this machine's Kea: the others are in distribution-test
	$(BIN)/pytest -m "lab and not chaos" --ignore=tests/providers --durations=25
	$(BIN)/pytest -m "lab and short" tests/providers

test-quickstart: root system env  ## the short form of cluster-test: README's quick start, and downloads; builds Kubernetes the first time, but not for CI
	@if [[ -n "$${CI:-}" ]] && $(BIN)/python -c 'import sys; from dslite_cluster.binaries import are_built; sys.exit(are_built())'; then \
	    echo "Kubernetes is not built on this machine, and CI does not wait for it (\`make kubernetes\` builds it): leg left out"; \
	else \
	    scripts/system.sh --cluster && $(BIN)/pytest -m cluster tests/cluster/test_operator.py tests/cluster/test_packets.py \
	        -k "all_is_well or b4s_download" $(LONG); \
	fi

distribution-test: root system env bpf kernels kubernetes  ## Kea of three Debian releases told names of slots, as B4s and relays see it; groups changed under B4s' traffic
	@scripts/system.sh mmdebstrap
	$(BIN)/pytest -m "distribution or lab" tests/providers tests/operator/test_distribution*.py tests/lab/test_distribution.py --capture=no

sriov-test: root system env bpf kernels  ## an AFTR on SR-IOV virtual functions of an emulated Intel 82576, taken away and given back
	@scripts/system.sh mmdebstrap
	$(BIN)/pytest -m sriov $(LONG)

lab-gigabyte: root system env bpf kernels  ## 1 GiB each way through a B4: clamped, answered by ICMP, fragmented
	$(BIN)/pytest -m soak tests/lab/test_transfer.py --timeout=1800 --capture=no

soak: root system env bpf kernels  ## ten minutes of new flows, mutated packets and a killed process; Kea at its limits
	@scripts/system.sh mmdebstrap
	$(BIN)/pytest -m soak --ignore=tests/operator --timeout=1800 --override-ini=faulthandler_timeout=2000 --capture=no

chaos: chaos-crash chaos-handover chaos-partition chaos-store chaos-model  ## the long fault tests, one after another

chaos-crash: root system env bpf kernels  ## 100 AFTRs killed under load, with each durability
	$(CHAOS) tests/lab/test_chaos.py -k crash

chaos-handover: root system env bpf kernels  ## 100 planned moves under load
	$(CHAOS) tests/lab/test_chaos.py -k handover

chaos-partition: root system env bpf kernels  ## AFTRs that stand still or are cut off, links, BIRD and the store lost; the judge, with guards left out
	$(CHAOS) tests/lab/test_chaos.py tests/lab/test_controls.py -k "partition or stall or controls"

chaos-store: root system env bpf kernels  ## a primary lost, a store that is away, late or refuses, format versions up and down, false claims on a layer 2
	$(CHAOS) tests/lab/test_failover.py tests/lab/test_store_away.py tests/lab/test_store_trouble.py tests/lab/test_versions.py tests/lab/test_layer2.py

chaos-model: env  ## 100,000 histories of the state machine
	$(CHAOS) tests/failover

placement-proof: env  ## B4s moved against the least that must, in 10,000 histories; 10 million B4s
	$(BIN)/pytest -m placement tests/distribution --timeout=3600 --override-ini=faulthandler_timeout=3700 --capture=no

test-api: root system env kubernetes  ## the operator, its definitions and its chart against a real kube-apiserver, and with this machine's Kea
	$(BIN)/pytest -m "api and not distribution" tests/operator tests/chart --capture=no

crds: env  ## write crds/ and the chart's copies from the models of the contract
	$(BIN)/python scripts/crds.py

bench: env bpf kernels bench-store  ## speed against the memory floor, and what a store costs; PROTOTYPE=DIR adds the prototype's columns
	$(BIN)/python -m bench $(if $(PROTOTYPE),--prototype $(PROTOTYPE))

bench-store: system env  ## new mappings, first packets and takeovers with a local Redis in each durability
	$(BIN)/python -m bench.store

##@ Set up
.PHONY: env system bpf kernels root
env:  ## .venv, by uv from uv.lock
	@scripts/env.sh

system:  ## the Debian packages that are missing (root)
	@scripts/system.sh

bpf: system $(BPF)  ## the steering program

$(BPF): $(BPF:.o=.c)
	clang -O2 -g -Wall -Werror -target bpf -I/usr/include/$$(uname -m)-linux-gnu -c $< -o $@

kernels: env  ## compile the packet path, once per machine and version
	@$(BIN)/aftr kernels

root:
	@[[ $$(id -u) == 0 ]] || { echo "make $(MAKE_GOAL) needs root to make network namespaces: run \`sudo make $(MAKE_GOAL)\`" >&2; exit 1; }

##@ Tidy
.PHONY: format clean help
format: env  ## ruff's formatting and safe corrections
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

clean:  ## what was built and cached in the checkout, but not .venv
	rm -rf build $(BPF) .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage .import_linter_cache
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +

help:
	@awk 'BEGIN { FS = ":.*  ## " } /^##@/ { printf "\n%s\n", substr($$0, 5) } /^[a-z0-9.-]+:.*  ## / { printf "  make %-21s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
