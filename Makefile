# Targets for developers and CI. `make test` is the whole; it needs Go, Node 20.19 or newer with npm, and iproute2 and root for network namespaces (NETNS=0: without).

GO          ?= go
STATICCHECK ?= honnef.co/go/tools/cmd/staticcheck@v0.7.0
GOVULNCHECK ?= golang.org/x/vuln/cmd/govulncheck@v1.3.0
# A deadlock fails instead of using up CI's time. vet has looked at everything before, and nobody debugs these binaries.
TESTFLAGS   ?= -timeout 10m -vet=off -ldflags=-w

.PHONY: all build test unit sim fmt vet lint vuln demo system examples ts ts-cross ts-browser test-sim test-faults test-field mutants mutation ceremony bench clean

all: build

build:
	$(GO) build -o bin/grille ./node/cmd/grille

test: fmt vet lint vuln unit mutants sim demo system ts ts-cross

fmt:
	@out=$$(gofmt -l $$(git ls-files '*.go')); if [ -n "$$out" ]; then echo "gofmt would change:"; echo "$$out"; exit 1; fi

vet:
	$(GO) vet ./...
	$(GO) -C benchmarks vet ./...

lint:
	$(GO) run $(STATICCHECK) ./...

# The vulnerability database is not reachable from everywhere. Out of reach is reported and passes; a finding fails.
vuln:
	@out=$$($(GO) run $(GOVULNCHECK) ./... 2>&1); code=$$?; \
	if [ $$code -eq 0 ]; then echo "govulncheck: no known vulnerability is reached"; \
	elif why=$$(echo "$$out" | grep -m 1 -e 'fetching vulnerabilities' -e 'dial tcp' -e 'no such host' -e '403 Forbidden' -e 'proxyconnect'); then \
		echo "govulncheck: NOT RUN: $$why"; \
	else echo "$$out"; exit $$code; fi

# Everything within one process, under the race detector, but what runs in one goroutine and long (ALONE, which is sim's, and PURE). The
# detector leaves out the curve's arithmetic, which takes five times as long under it, and whose packages share nothing between goroutines
# but what callers hand them. (No package can be left out on whose atomics others rely: it would report what is no race.) Most packages wait
# for beats and time-outs, so three run at once, the longest first. Three evaluators agree on 100,000 pairs in exchange/policy.
ALONE = ^(TestSimulation|TestEveryDamagedByte)
PURE = ./circuits ./exchange/policy
OTHERS = ./exchange ./node/gateway ./ledger $$($(GO) list ./... | grep -v -E '/grille/(circuits|exchange/policy|node/demo|node/field)$$')
CURVE = github.com/consensys/gnark-crypto/ecc/bls12-381
RACE = -race $(foreach p,$(CURVE) $(CURVE)/fp $(CURVE)/fr $(CURVE)/internal/fptower,-gcflags=$(p)=-race=false)
unit:
	$(GO) test $(TESTFLAGS) $(PURE)
	$(GO) test $(RACE) $(TESTFLAGS) -p 3 -skip '$(ALONE)' $(OTHERS)

# Every constraint of the statement and every check of a program taken away in turn: some test must show a wrong statement accepted or an
# honest one refused. Prints the table; fails on a survivor.
mutation:
	$(GO) run ./circuits/mutation

# Every eighth of them.
mutants:
	$(GO) run ./circuits/mutation -every 8

# A key ceremony of four gateways at full size, by the command line: one member away, one contribution false, one made on a machine without
# a network; the transcript verifies in another process. Another in a production network, from nothing to an answer. What they do, the tests of
# node/ceremony do with a small circuit. And what phase 1 gives at full size is compared with what gnark gives. About a quarter of an hour.
ceremony:
	$(GO) test -v $(TESTFLAGS) -timeout 20m ./node/cmd/grille -parallel 1 -run '^TestScripts$$' -scripts testdata/ceremony
	$(GO) test -v $(TESTFLAGS) ./prover/ceremony -run '^TestSealedStatesAreGnarks$$' -statement

# 500 simulated networks, each from one seed: crashes, partitions, lost and forged messages, folders set back, wrong clocks, changes of the
# configuration; the bugs planted to be found; and every byte of a store's files damaged.
sim:
	$(GO) test $(TESTFLAGS) -v ./ledger -run '$(ALONE)' -sim.runs 500

# 10,000 networks, the first 500 of which are those of sim. From 2,000 on, everything that is rare must have happened, too.
test-sim:
	$(GO) test -timeout 30m -v ./ledger -run '$(ALONE)' -sim.runs 10000

# Networks of real processes: forty people, ten killed processes, the operations document, every other case of the worked examples (-short);
# then members in network namespaces of their own with latency, loss, partitions and wrong clocks, which needs root. NETNS=0 where no network
# namespace can be made. Both at once: the second waits most of the time.
system:
	$(GO) test -v -short $(TESTFLAGS) -p 2 ./node/demo ./node/field

# The verifier in TypeScript: its own tests and all published vectors. npm takes its packages from the registry it is configured for.
TS = node/console/verifier
ts:
	cd $(TS) && npm ci --no-audit --no-fund || { echo "$(TS): npm ci failed: it needs Node 20.19 or newer, npm, and npm's registry"; exit 1; }
	cd $(TS) && npm run build && npm test

# Some thousand damaged inputs for it and for the gateway's code, whose answers must be the same. After ts.
ts-cross: ts
	cd $(TS) && npm run cross

# All published vectors in Chromium (apt-get install chromium, or CHROMIUM names it). After ts; no part of test.
ts-browser:
	cd $(TS) && npm run browser

# The demo from nothing to a verified verdict: with a key ceremony of its four members, and again with the keys that it left.
demo:
	@keys=$$(mktemp -d) && trap 'rm -rf "$$keys"' EXIT && for run in first second; do \
		echo "$(GO) run ./node/cmd/grille demo --once, the $$run time"; $(GO) run ./node/cmd/grille demo --once --keys "$$keys" || exit 1; done

# The twelve worked examples: every case natively, which is part of unit, then by `grille program run` over a network of four gateways, half
# of which is part of system.
examples:
	$(GO) test -v $(TESTFLAGS) ./exchange/example
	$(GO) test -v $(TESTFLAGS) ./node/demo -run '^TestExamples$$'

# Longer versions: 200 killed processes, and every byte of a bundle changed.
test-faults:
	$(GO) test -timeout 60m -v ./node/demo -run TestKilledProcessesLoseNothing -fault.runs 200 -fault.seed 7
	GRILLE_EXHAUSTIVE=1 $(GO) test -timeout 60m -v ./exchange -run TestAnyChangedByteIsRefused
	GRILLE_EXHAUSTIVE=1 $(GO) test -timeout 60m -v ./ledger -run TestEveryDamagedByte

# Longer versions in namespaces: a minute of killed members, and partitions that outlast the connections.
test-field:
	$(GO) test -timeout 20m -v ./node/field -field.kill 60s -field.cut 40s -field.seed 7

# The table of figures, with machine and versions.
bench:
	cd benchmarks && $(GO) run .

clean:
	rm -rf bin
