# Thin on purpose: what these do stands in .ci/ or is cargo's.

.PHONY: help run test check bench chaos soak soak-proxy fuzz

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 12

run: ## install what is missing, build, serve on http://127.0.0.1:8000/ (PORT=…, CONFIG=…, RELEASE=1)
	@exec .ci/serve

test: ## everything: format, lints, units, whole hubs, a browser
	@exec .ci/test

check: ## the quick loop: format, lints, unit tests
	cargo fmt --all --check
	cargo clippy --workspace -- -D warnings
	cargo test --workspace --lib --quiet

bench: ## speed and memory beside JupyterHub, and the proxy beside others, as tables (half an hour)
	@exec .ci/bench

chaos: ## every fault at full numbers, a thousand random ones in ten minutes (SEED=…, ROWS=row_01,…): hours
	@exec .ci/chaos

soak: ## a random fault a minute under load for SOAK_HOURS (8), everything compared each minute
	@SOAK_HOURS=$${SOAK_HOURS:-8} exec .ci/chaos

soak-proxy: ## the proxy alone for SOAK_SECONDS (600): 500 WebSockets, 500 requests/s, stops and starts; then 1 GB through it
	@exec .ci/soak-proxy

fuzz: ## every parser of the proxy for SECONDS_EACH (60), with a nightly compiler
	@exec .ci/fuzz
