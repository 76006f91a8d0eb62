# SPDX-License-Identifier: Apache-2.0
#
# The few words a person types; CMake does the building. `make help` lists them.

.DEFAULT_GOAL := build
.PHONY: setup build install uninstall deb run test bench chaos crash net vm image asan tsan fuzz lint format clean help
MAKEFLAGS += --no-print-directory
SHELL := /bin/bash
.SHELLFLAGS := -o pipefail -c

ARCH := $(if $(filter aarch64 arm64,$(shell uname -m)),arm64,x64)
NODE := node_modules/node-linux-$(ARCH)/bin/node
PREFIX ?= /usr/local
FOLDERS := base transport store scheduler actors node-agent cli tests

setup:
	@scripts/setup.sh

# $(call make-all,BUILD DIRECTORY,PRESET,OPTIONS): a first build shows its progress, one with nothing to do prints nothing.
define make-all
@test -f $(1)/build.ninja || { echo 'configuring $(1)/'; cmake --preset $(2) >/dev/null; }
	@if [ ! -x $(1)/bin/ctl ]; then cmake --build $(1) $(3); \
	elif out=$$(cmake --build $(1) $(3) -- --quiet 2>&1); then printf '%s\n' "$$out" | sed '/^$$/d; /no work to do/d'; \
	else printf '%s\n' "$$out"; exit 1; fi
endef

build: setup
	$(call make-all,build,default,--target node-agent actor-host ctl)

# Into DESTDIR/PREFIX. What is built already is taken as it is, so that root builds nothing in a tree of somebody else.
install:
	@test -x build/bin/ctl || $(MAKE) build
	@DESTDIR='$(DESTDIR)' cmake --install build --strip --prefix '$(PREFIX)' >/dev/null
	@echo 'installed in $(DESTDIR)$(PREFIX)'

uninstall:
	@cmake -DBUILD='$(CURDIR)/build' -DPREFIX='$(PREFIX)' -DDESTDIR='$(DESTDIR)' -P cmake/uninstall.cmake

# build/isola_VERSION_ARCH.deb, and lintian's opinion of it, which takes a minute, where there is one.
deb: build
	@scripts/setup.sh deb
	@cpack --config build/CPackConfig.cmake -B build/package >build/package.log 2>&1 || { cat build/package.log; exit 1; }
	@mv build/package/*.deb build/ && ls build/*.deb
	@if command -v lintian >/dev/null; then lintian --no-cfg --fail-on error,warning build/isola_*.deb; else echo 'there is no lintian to look at it'; fi

run: build
	@KEEP=$(KEEP) $(NODE) examples/airports/run.mjs

test: build
	@scripts/setup.sh test
	$(call make-all,build,default)
	@ctest --preset default

bench: build
	@scripts/setup.sh bench
	$(call make-all,build,default,--target isola-bare isola-sodium isola-codec isola-bench-store)
	@$(NODE) tests/bench/run.mjs

# What takes too long for `make test`: ten thousand crashes, 500 kills. CHAOS_CYCLES, CHAOS_ROUNDS, CHAOS_SECONDS, CHAOS_SEED: tests/chaos/run.mjs.
chaos: build
	@$(NODE) tests/chaos/run.mjs

# Power lost at each operation of a store's disk, not only at some as in `make test`. CRASH_SEED: tests/contract/state_crash_test.c.
crash: build
	$(call make-all,build,default,--target state_crash_test)
	@CRASH_POINTS=all build/tests/state_crash_test

# Durable messages through 200 faults of a network and its hosts, as root. NET_ROUNDS, ISOLA_TEST_SEED: tests/net/run.mjs.
net: build
	$(call make-all,build,default,--target badnet)
	@$(NODE) tests/net/run.mjs

# The Debian package on a virtual machine with a systemd, as root. VM_MINUTES, VM_WRITES: tests/vm/run.mjs.
vm: deb
	@scripts/setup.sh vm
	@$(NODE) tests/vm/run.mjs

# The Dockerfile, built and run by podman, as root, from a base image made here.
image: setup
	@scripts/setup.sh image
	@tests/vm/image.sh

# Everything with sanitizers. AddressSanitizer goes into the actor-host's Node.js too; ThreadSanitizer cannot, so that leaves
# out what needs one.
asan tsan: setup
	@scripts/setup.sh test
	$(call make-all,build-$@,$@)
	@ctest --preset $@ --label-exclude '^$(if $(filter tsan,$@),(js|lint),lint)$$'

# The fuzz targets of tests/fuzz, for FUZZ_SECONDS each.
fuzz: setup
	@scripts/setup.sh fuzz
	@test -f build-fuzz/build.ninja || { echo 'configuring build-fuzz/'; cmake --preset fuzz >/dev/null; }
	@cmake --build build-fuzz --target fuzzers $(if $(wildcard build-fuzz/fuzz/agent_fuzz),-- --quiet)
	@$(NODE) tests/fuzz/run.mjs

lint: setup
	@tests/lint/format.sh
	@tests/lint/arrows.sh

format: setup
	@find $(FOLDERS) -name node_modules -prune -o \( -name '*.[ch]' -o -name '*.cc' -o -name '*.hh' \) -print | xargs -r clang-format -i

clean:
	@rm -rf build build-asan build-tsan build-fuzz

help:
	@echo 'make          the same as make build'
	@echo 'make setup    install what is missing (Debian packages, npm ci); prints nothing when all is there'
	@echo 'make build    node-agent, actor-host and ctl into build/bin'
	@echo 'make install  into PREFIX (/usr/local) below DESTDIR; make uninstall removes it (docs/install.md)'
	@echo 'make deb      a Debian package, into build/'
	@echo 'make run      the tour: two agents, 20,000 real flights, a crash, a checked table (KEEP=1 leaves the agents up)'
	@echo 'make test     every test'
	@echo 'make bench    the comparisons with Erlang, Moleculer, workerd and bare V8, and the bars (BENCH_MS=500: quick; docs/bench.md)'
	@echo 'make chaos    ten thousand crashes and restarts of actors, actor-host and agent killed 500 times; some minutes (CHAOS_CYCLES=500 CHAOS_ROUNDS=50: quick)'
	@echo 'make crash    power lost at each of the operations of a disk under the store; some minutes'
	@echo 'make net      durable messages through 200 faults: cuts, loss, SIGSTOPs and SIGKILLs, on hosts of their own (root; NET_ROUNDS=20: quick)'
	@echo 'make vm       the Debian package, its unit and control groups on a virtual machine, whose power is cut (root; some minutes)'
	@echo 'make image    the Dockerfile, built and run by podman (root; some minutes)'
	@echo 'make asan     every test with AddressSanitizer and UndefinedBehaviorSanitizer, also inside the actor-host'
	@echo 'make tsan     the C tests with ThreadSanitizer'
	@echo 'make fuzz     bytes from outside, made up by a fuzzer, FUZZ_SECONDS (60) for each target (tests/README.md)'
	@echo 'make format   format the C sources'
	@echo 'make lint     check the format and the include arrows'
	@echo 'make clean    remove what was built (node_modules stays)'
