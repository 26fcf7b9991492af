# gotvm. `make help` lists the targets; `make run` and `make test` install what they need on Debian and
# Ubuntu.
SHELL = /bin/bash
BUILD ?= build
PREFIX ?= /usr/local
CC ?= cc
CFLAGS ?= -O2 -g
WARNINGS = -Wall -Wextra -Wconversion -Werror
ALL_CFLAGS = -std=c11 -D_GNU_SOURCE -D_FILE_OFFSET_BITS=64 -fPIC -fvisibility=hidden -pthread $(WARNINGS) -Icsrc $(CPPFLAGS) $(CFLAGS)
# OPENCL=0 leaves OpenCL out, as the build tag noopencl does; build into a BUILD of its own then.
OPENCL ?= 1
LIBS = -lcjson -lm -ldl -pthread
STATICCHECK = go run honnef.co/go/tools/cmd/staticcheck@v0.8.2
VERSION = 0.1.0
SONAME = libtvm_runtime.so.0

SOURCES = $(wildcard csrc/*.c csrc/base/*.c csrc/device/*.c csrc/module/*.c csrc/graph/*.c csrc/contrib/*.c csrc/relax/*.c)
ifneq ($(OPENCL),0)
SOURCES += $(wildcard csrc/device/opencl/*.c)
else
ALL_CFLAGS += -DTVM_NO_OPENCL
endif
OBJECTS = $(SOURCES:%.c=$(BUILD)/%.o)
TESTS = $(patsubst csrc/test/%.c,$(BUILD)/%,$(wildcard csrc/test/test_*.c))
BENCHES = $(patsubst csrc/test/%.c,$(BUILD)/%,$(wildcard csrc/test/bench_*.c))
ifeq ($(OPENCL),0)
TESTS := $(filter-out $(BUILD)/test_opencl%,$(TESTS))
BENCHES := $(filter-out $(BUILD)/bench_opencl%,$(BENCHES))
endif
TEST_HELPERS = $(patsubst %.c,$(BUILD)/%.o,$(filter-out csrc/test/test_% csrc/test/bench_%,$(wildcard csrc/test/*.c)))

.PHONY: help
help: ## List the targets.
	@grep -hE '^[a-z0-9-]+:.*## ' $(firstword $(MAKEFILE_LIST)) | sed -E 's/:.*## /\t/' | expand -t 16

.PHONY: run
run: deps ## Read the embedded pictures of handwritten digits with the embedded model.
	go run ./sample/digits

.PHONY: test
test: deps test-c test-exports test-c-client ## Run all tests that need no Python: C, Go, samples.
	go vet ./...
	go test ./...

# With -j several at a time; -O keeps what each of them says together.
.PHONY: test-c $(TESTS:%=run-%)
test-c: $(TESTS:%=run-%)
$(TESTS:%=run-%): run-%: %
	@echo "== $<"; $(GOTVM_EMULATOR) $<

.PHONY: test-exports
test-exports: $(BUILD)/$(SONAME) $(BUILD)/libtvm_runtime.a
	csrc/test/check_exports $^

.PHONY: test-c-client
test-c-client: deps lib
	scripts/test-c-client $(BUILD)

.PHONY: test-models
test-models: deps models ## Run the tests on models that the pinned compilers make now (Python; minutes).
	scripts/test-models

.PHONY: test-opencl
test-opencl: deps ## Run the tests of OpenCL on two devices, and in a simulator that checks every call (a minute).
	scripts/test-opencl $(BUILD)

.PHONY: test-clients
test-clients: deps lib ## Run programs written for TVM's own C library on this one (Python, Java; a minute).
	scripts/test-clients $(BUILD)

.PHONY: test-arm64
test-arm64: deps ## Run the tests for arm64 and 32-bit ARM on an x86-64 machine (qemu, Python; minutes).
	scripts/test-arm64

.PHONY: test-install
test-install: deps ## Prove go get, go mod vendor, -race, -asan and c-shared from a clean module.
	scripts/test-install

.PHONY: test-musl
test-musl: deps ## Run the Go tests on musl, the C library of Alpine (a minute).
	scripts/test-musl

.PHONY: models
models: deps ## Compile the large models (MobileNet, ResNet-18, …) into build/models.
	scripts/models

# BENCH holds options, such as --quick or the names of groups: see scripts/bench/run --help.
.PHONY: bench
bench: deps models $(BENCHES) $(BUILD)/libtvm_runtime.so ## Measure beside TVM, its published Go binding and onnxruntime (Python; minutes).
	scripts/bench/run --build $(BUILD) --out $(BUILD)/bench $(BENCH)

.PHONY: bench-scaling
bench-scaling: deps models $(BENCHES) $(BUILD)/libtvm_runtime.so ## Measure throughput by cores and sessions, and draw it (Python; minutes).
	scripts/bench/run --scaling --build $(BUILD) --out $(BUILD)/bench $(BENCH)

.PHONY: bench-contrib
bench-contrib: deps $(BUILD)/libtvm_runtime.so ## Measure sorting, topk and matmul beside TVM, numpy and BLAS (Python; minutes).
	"$$(scripts/venv 0.19)" scripts/bench_contrib.py --library $(BUILD)/libtvm_runtime.so

.PHONY: bench-alone
bench-alone: deps $(BENCHES) ## Run the C and the Go benchmarks that compare with nothing else.
	@set -e; for bench in $(BENCHES); do echo "== $$bench"; $$bench; done
	go test -run '^$$' -bench . -benchmem ./gotvm

.PHONY: soak
soak: deps ## Do everything from many threads for ten minutes, then under the race detectors (15 minutes).
	scripts/soak

.PHONY: lib
lib: lib-deps $(BUILD)/libtvm_runtime.so $(BUILD)/libtvm_runtime.a ## Build the C library alone.

.PHONY: install
install: lib ## Install the C library, its headers and pkg-config file under PREFIX.
	install -Dm644 -t "$(DESTDIR)$(PREFIX)/include" csrc/include/tvm_runtime.h csrc/include/tvm_ffi_runtime.h
	install -Dm755 $(BUILD)/$(SONAME) "$(DESTDIR)$(PREFIX)/lib/libtvm_runtime.so.$(VERSION)"
	ln -sf libtvm_runtime.so.$(VERSION) "$(DESTDIR)$(PREFIX)/lib/$(SONAME)"
	ln -sf $(SONAME) "$(DESTDIR)$(PREFIX)/lib/libtvm_runtime.so"
	install -Dm644 -t "$(DESTDIR)$(PREFIX)/lib" $(BUILD)/libtvm_runtime.a
	install -d "$(DESTDIR)$(PREFIX)/lib/pkgconfig"
	printf '%s\n' 'prefix=$(PREFIX)' 'includedir=$${prefix}/include' 'libdir=$${prefix}/lib' \
		'Name: gotvm-runtime' 'Description: TVM runtime in C' 'Version: $(VERSION)' \
		'Cflags: -I"$${includedir}"' 'Libs: -L"$${libdir}" -ltvm_runtime' 'Libs.private: $(LIBS)' \
		> "$(DESTDIR)$(PREFIX)/lib/pkgconfig/gotvm-runtime.pc"

.PHONY: lint
lint: deps ## Check format and style: clang-format, cppcheck, gofmt, vet, staticcheck, shellcheck, ruff.
	scripts/install-deps --lint
	clang-format --dry-run --Werror $(shell git ls-files 'csrc/*.[ch]' 'gotvm/*.[ch]' 'sample/c/*.[ch]' 'scripts/bench/*.[ch]')
	cppcheck --quiet --std=c11 --enable=warning,performance,portability --inline-suppr --error-exitcode=1 \
		-Icsrc -D__linux__ --suppress=missingIncludeSystem csrc
	files=$$(gofmt -l csrc gotvm sample scripts) && test -z "$$files" || { echo "gofmt: $$files" >&2; exit 1; }
	go vet ./...
	cd scripts/bench && go vet ./...
	$(STATICCHECK) ./...
	shellcheck $(shell git grep -lE '^#!/bin/(ba)?sh')
	"$$(scripts/venv lint)" -m ruff check --no-cache --quiet scripts
	"$$(scripts/venv lint)" -m ruff format --no-cache --quiet --check scripts

.PHONY: sanitize
sanitize: deps ## Run the tests under ASan, UBSan and TSan, -race, cgocheck2 and GC stress (minutes).
	scripts/sanitize

.PHONY: generate
generate: ## Refresh the hash of the C headers in the cgo flags.
	scripts/header-hash

.PHONY: lib-deps
lib-deps:
	@scripts/install-deps --lib

# After lib-deps, as only one apt runs at a time.
.PHONY: deps
deps: lib-deps
	@scripts/install-deps
	@scripts/header-hash --check

.PHONY: clean
clean: ## Remove everything that was built.
	rm -rf build

$(BUILD)/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) -MMD -MP -c $< -o $@

$(BUILD)/libtvm_runtime.a: $(OBJECTS)
	@rm -f $@
	$(AR) rcs $@ $^

# Symbols carry the version that exports.txt gives them.
$(BUILD)/exports.map: csrc/test/exports.txt
	@mkdir -p $(@D)
	awk -F@@ 'NF != 2 { print FILENAME ": " $$1 " has no version" >"/dev/stderr"; bad = 1; exit } \
		{ names[$$2] = names[$$2] " " $$1 ";" } \
		END { if (bad) exit 1; for (node in names) print node " { global:" names[node] " };" }' $< >$@.new
	mv $@.new $@

# nodelete: threads that have used the library run its clean-up when they end, also after a dlclose.
$(BUILD)/$(SONAME): $(OBJECTS) $(BUILD)/exports.map
	$(CC) $(ALL_CFLAGS) -shared -Wl,-soname,$(SONAME) -Wl,--version-script=$(BUILD)/exports.map \
		-Wl,--no-undefined -Wl,-z,nodelete $(OBJECTS) $(LIBS) -o $@

# What the linker looks for, and the name that programs linked against TVM's own library load.
$(BUILD)/libtvm_runtime.so: $(BUILD)/$(SONAME)
	ln -sf $(<F) $@

# The whole archive: compiled models find their back-end functions in the program.
$(TESTS) $(BENCHES): $(BUILD)/%: $(BUILD)/csrc/test/%.o $(TEST_HELPERS) $(BUILD)/libtvm_runtime.a
	$(CC) $(ALL_CFLAGS) -rdynamic $(filter %.o,$^) -Wl,--whole-archive $(BUILD)/libtvm_runtime.a -Wl,--no-whole-archive -lcmocka $(LIBS) -o $@

# Its allocations go through the test, which makes them fail.
$(BUILD)/test_no_memory: LIBS += -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc,--wrap=aligned_alloc,--wrap=strdup,--wrap=strndup,--wrap=free
# Has a device of its own.
$(BUILD)/test_graph_params: LIBS += -Wl,--wrap=tvm_device_get

-include $(OBJECTS:.o=.d) $(wildcard $(BUILD)/csrc/test/*.d)
