# make run    builds everything and starts a node with a Gnutella peer on it
# make test   the whole suite: format, lints, dependency rules, unit, property, end-to-end tests
# make bench  the figures, in one run
# make scoreboard  published results against the simulator's, into docs/ (half an hour; QUICK=1 a minute)
# make policy-bench  decisions of the policy language, beside those of Cedar and Rego
# make mesh-live  a mesh in network namespaces whose ways are cut and healed for ten minutes (as root)
# Everything else is a step of these.

SHELL     := /bin/bash
CARGO     ?= cargo
TARGET    := $(or $(CARGO_TARGET_DIR),target)
GUESTS    := echo gnutella-peer
# Those that the suite builds too...
EXAMPLES  := directed-search
# ...and those that only a benchmark builds.
MEASURED  := relay-guest
GUEST_OF   = $(TARGET)/proxylets/$(1).wasm
# Guests are built for wasm alone; their crates are not part of a native build.
NATIVE    := --workspace $(foreach g,$(GUESTS) $(EXAMPLES) $(MEASURED),--exclude $(g))

.PHONY: help run build test lint fmt deny check-tools wasm-target bench policy-bench mesh-live scoreboard clean
.DEFAULT_GOAL := help

help:            ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

run: build       ## build everything, start a node with no configuration
	$(TARGET)/release/eep run --service $(call GUEST_OF,gnutella-peer)

build: wasm-target  ## the node (release) and the stock proxylets
	$(CARGO) build --release --locked -p eep
	@for g in $(GUESTS); do $(TARGET)/release/eep proxylet build proxylets/$$g || exit 1; done

# Property tests draw the same cases in every run, so that what fails fails again. For others: make test PROPTEST_RNG_SEED=$$RANDOM
export PROPTEST_RNG_SEED ?= 1

test: check-tools lint deny  ## the whole suite
	$(CARGO) test --locked --no-run $(NATIVE)
	@for g in $(GUESTS) $(addprefix examples/,$(EXAMPLES)); do $(TARGET)/debug/eep proxylet build proxylets/$$g || exit 1; done
	$(CARGO) test --locked --no-fail-fast $(NATIVE)

lint: wasm-target  ## rustfmt and clippy, warnings refused
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked $(NATIVE) --all-targets -- -D warnings
	$(CARGO) clippy --locked $(foreach g,$(GUESTS) $(EXAMPLES) $(MEASURED),-p $(g)) --target wasm32-unknown-unknown -- -D warnings

fmt:             ## format the code
	$(CARGO) fmt --all

deny:            ## licences, sources and bans of all dependencies
	@command -v cargo-deny >/dev/null || $(CARGO) install --locked cargo-deny
	$(CARGO) deny --all-features check bans licenses sources

bench: build     ## what the sandbox costs, and the load generator's suite against a release node
	$(CARGO) bench --locked -p eep-relay --bench sandbox
	$(CARGO) bench --locked -p eep --bench boundary
	$(CARGO) build --release --locked -p eep-tests --bins
	$(TARGET)/release/eep-bench proxylets --eep $(TARGET)/release/eep --proxylet $(call GUEST_OF,echo)
	$(TARGET)/release/eep-bench suite --eep $(TARGET)/release/eep --proxylet $(call GUEST_OF,gnutella-peer)

policy-bench:    ## decisions of the policy language, alone and beside Cedar and Rego
	$(CARGO) bench --locked -p policies
	cd tests/policy-bench && $(CARGO) bench --locked

mesh-live:       ## twelve nodes in network namespaces, ways between them cut and healed for ten minutes (as root)
	EEP_MESH_NODES=12 EEP_MESH_SECONDS=600 EEP_MESH_SEED=1 \
		$(CARGO) test --locked -p eep --test mesh live -- --nocapture

scoreboard:      ## every experiment of the simulator, into docs/scoreboard.md; with QUICK=1 small, into the target folder
	$(CARGO) build --release --locked -p eep-sim
	$(TARGET)/release/eep-sim scoreboard --commit "$$(git describe --always --dirty 2>/dev/null || echo unknown)" \
	  $(if $(QUICK),--quick --into $(TARGET)/scoreboard,--into docs)

# The standard library for guests.
wasm-target:
	@rustc --print target-libdir --target wasm32-unknown-unknown 2>/dev/null | xargs -r test -d \
	  || rustup target add wasm32-unknown-unknown \
	  || { echo "No standard library for wasm32-unknown-unknown. With rustup: rustup target add wasm32-unknown-unknown. See https://rustup.rs"; exit 1; }

# What the tests use and a bare machine may lack: tshark is the independent reader of our traffic, ip makes networks of
# a test's own, the documents' commands use curl.
TOOLS     := tshark:tshark ip:iproute2 curl:curl
check-tools: wasm-target
	@missing=; for t in $(TOOLS); do command -v $${t%:*} >/dev/null || missing="$$missing $${t#*:}"; done; \
	[ -z "$$missing" ] && exit 0; \
	echo "Installing with apt-get:$$missing"; \
	export DEBIAN_FRONTEND=noninteractive; sudo=$$([ "$$(id -u)" = 0 ] || echo sudo); \
	$$sudo apt-get update -qq && $$sudo apt-get install -y -qq --no-install-recommends $$missing >/dev/null \
	  || { echo "Could not install$$missing: install them with your distribution's package manager."; exit 1; }

clean:           ## throw away what was built
	$(CARGO) clean
