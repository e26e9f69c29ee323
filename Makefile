# make demo and make test do all their own set-up on a bare Debian 12 with a Rust toolchain.
.PHONY: demo test lint fmt bench bench-pure bench-scores faults fuzz schemathesis soak soak-cache hit-rates dashboards-preview sbom clean setup prepare

# Used by compile-time checks of SQL only when there is no database: the answers of the last `make prepare`.
export SQLX_OFFLINE ?= true

# How long a soak lasts.
MINUTES ?= 10

# How many cases are fuzzed in all.
CASES ?= 1000000

setup:
	@sh deploy/setup.sh

## demo: private servers, sample claims, worklist, hit rates, addresses to look at
demo: setup
	cargo build --release --locked --bin claimrisk
	./target/release/claimrisk demo

## test: formatting, lints, freshness of what is generated, all tests on real servers
test:
	@sh deploy/setup.sh --prometheus
	@$(MAKE) --no-print-directory lint
	cargo test --locked

## lint: what a change must pass before it is looked at
lint:
	cargo fmt --check
	cargo clippy --locked --all-targets -- -D warnings
	@if command -v cargo-deny >/dev/null; then cargo deny --locked check bans licenses sources; \
	else echo 'cargo-deny is not installed: dependencies are not checked (deny.toml)'; fi

## sbom: what is in the binary, in target/claimrisk.cdx.json (needs cargo-cyclonedx)
sbom:
	cargo cyclonedx --format json --describe binaries --target all --override-filename claimrisk.cdx
	mv claimrisk.cdx.json target/

fmt:
	cargo fmt

## bench: the pipeline against the raw limits of its servers; BENCH='--only claims,raw' and so on chooses
bench: setup
	cargo build --release --locked --bin claimrisk
	./target/release/claimrisk bench $(BENCH)

## bench-pure: X12, JSON, scoring, learning and linking by themselves, compared with the run before
bench-pure:
	cargo bench --locked --bench pure

## bench-scores: how near the scores come to the best possible in simulated worlds, on seeds that nothing was tuned on
bench-scores: setup
	cargo build --release --locked --bin claimrisk
	@for scenario in base mis-specified; do for seed in 7 11 23; do \
	    world=$$(mktemp -d) && echo "scenario $$scenario, seed $$seed" && \
	    ./target/release/claimrisk simulate --claims 150000 --months 24 --seed $$seed --scenario $$scenario --format ndjson \
	        --out $$world >/dev/null && \
	    ./target/release/claimrisk backtest $$world --truth $$world/truth.csv --steps $$world/steps.csv --rounds 50 || exit 1; \
	    rm -r $$world; \
	done; done

## faults: all thirty faults on real servers; writes the matrix in docs/reliability.md
faults: setup
	CLAIMRISK_FAULTS_REPORT=$(CURDIR)/docs/reliability.md \
	    cargo test --locked --test faults fault_ -- --include-ignored --nocapture --test-threads 2

## fuzz: CASES mutated samples of X12, events, headers and HTTP parameters; CLAIMRISK_FUZZ_SEED chooses others
fuzz:
	CLAIMRISK_FUZZ_CASES=$(CASES) cargo test --locked --test fuzz -- --nocapture
	CLAIMRISK_FUZZ_CASES=$(CASES) cargo test --locked --lib api::params::fuzz -- --nocapture

## schemathesis: the API under requests made from its own description, for two minutes (needs python3 with venv)
SCHEMATHESIS := $(CURDIR)/target/schemathesis
schemathesis: setup
	python3 -m venv $(SCHEMATHESIS)/venv
	$(SCHEMATHESIS)/venv/bin/pip install --quiet 'schemathesis==4.32.5'
	CLAIMRISK_SCHEMATHESIS=$(SCHEMATHESIS)/venv/bin/schemathesis \
	    cargo test --locked --test it schemathesis -- --ignored --nocapture

## soak: two workers under full load with faults by chance for MINUTES; CLAIMRISK_SOAK_SEED repeats a run's choices
soak: setup
	CLAIMRISK_SOAK_MINUTES=$(MINUTES) cargo test --locked --test faults soak -- --ignored --nocapture

## soak-cache: the cache's coherence under kills, cuts and old data for MINUTES; CLAIMRISK_SOAK_SEED repeats a run's choices
soak-cache: setup
	CLAIMRISK_SOAK_MINUTES=$(MINUTES) cargo test --locked --test it coherence -- --nocapture

## hit-rates: what clinics at work get of 200,000 claims and a Redis of 256 MB, against the targets
hit-rates: setup
	cargo test --release --locked --test it clinic -- --ignored --nocapture

## dashboards-preview: pictures of the dashboards in target/dashboards, from five minutes of a real run, without Grafana's server
ANSWERS := $(CURDIR)/target/dashboards/answers
dashboards-preview:
	@sh deploy/setup.sh --prometheus --preview
	CLAIMRISK_PREVIEW_DIR=$(ANSWERS) cargo test --locked --test it preview -- --ignored
	cd grafana/preview && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error
	node grafana/preview/draw.mjs $(ANSWERS) target/dashboards

## prepare: writes anew what is generated from the code: .sqlx, schemas, OpenAPI
prepare: setup
	UPDATE_SQLX=1 cargo test --locked --test sql
	UPDATE_SCHEMAS=1 cargo test --locked --test schemas
	CLAIMRISK_BLESS=1 cargo test --locked --test openapi

clean:
	cargo clean
