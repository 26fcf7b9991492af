# gotvm. `make help` lists the targets; `make run` and `make test` install what they need on Debian and
# Ubuntu.
SHELL = /bin/bash
BUILD ?= build
PREFIX ?= /usr/local
CC ?= cc
CFLAGS ?= -O2 -g
WARNINGS = -Wall -Wextra -Wconversion -Werror
ALL_CFLAGS = -std=c11 -D_GNU_SOURCE -fPIC -fvisibility=hidden -pthread $(WARNINGS) -Icsrc $(CPPFLAGS) $(CFLAGS)
LIBS = -lcjson -lm -ldl -pthread
STATICCHECK = go run honnef.co/go/tools/cmd/staticcheck@v0.8.2
VERSION = 0.1.0

SOURCES = $(wildcard csrc/*.c csrc/base/*.c csrc/device/*.c csrc/module/*.c csrc/graph/*.c)
OBJECTS = $(SOURCES:%.c=$(BUILD)/%.o)
TESTS = $(patsubst csrc/test/%.c,$(BUILD)/%,$(wildcard csrc/test/test_*.c))
BENCHES = $(patsubst csrc/test/%.c,$(BUILD)/%,$(wildcard csrc/test/bench_*.c))
TEST_HELPERS = $(patsubst %.c,$(BUILD)/%.o,$(filter-out csrc/test/test_% csrc/test/bench_%,$(wildcard csrc/test/*.c)))

.PHONY: help
help: ## List the targets.
	@grep -hE '^[a-z-]+:.*## ' $(firstword $(MAKEFILE_LIST)) | sed -E 's/:.*## /\t/' | expand -t 16

.PHONY: run
run: deps ## Read the embedded pictures of handwritten digits with the embedded model.
	go run ./sample/digits

.PHONY: test
test: deps test-c test-exports ## Run all tests that need no Python: C, Go, samples.
	go vet ./...
	go test ./...

.PHONY: test-c
test-c: $(TESTS)
	@set -e; for test in $(TESTS); do echo "== $$test"; $$test; done

.PHONY: test-exports
test-exports: $(BUILD)/libtvm_runtime.so
	csrc/test/check_exports $<

.PHONY: test-models
test-models: deps models ## Run the tests on models that the pinned compilers make now (Python; minutes).
	scripts/test-models

.PHONY: test-install
test-install: deps ## Prove go get, go mod vendor, -race, -asan and c-shared from a clean module.
	scripts/test-install

.PHONY: models
models: deps ## Compile the large models (MobileNet, ResNet-18, …) into build/models.
	scripts/models

.PHONY: bench
bench: deps $(BENCHES) ## Run the C and the Go benchmarks.
	@set -e; for bench in $(BENCHES); do echo "== $$bench"; $$bench; done
	go test -run '^$$' -bench . -benchmem ./gotvm

.PHONY: lib
lib: deps $(BUILD)/libtvm_runtime.so $(BUILD)/libtvm_runtime.a ## Build the C library alone.

.PHONY: install
install: lib ## Install the C library, its header and pkg-config file under PREFIX.
	install -Dm644 -t $(DESTDIR)$(PREFIX)/include csrc/include/tvm_runtime.h
	install -Dm755 -t $(DESTDIR)$(PREFIX)/lib $(BUILD)/libtvm_runtime.so
	install -Dm644 -t $(DESTDIR)$(PREFIX)/lib $(BUILD)/libtvm_runtime.a
	install -d $(DESTDIR)$(PREFIX)/lib/pkgconfig
	printf '%s\n' 'prefix=$(PREFIX)' 'includedir=$${prefix}/include' 'libdir=$${prefix}/lib' \
		'Name: gotvm-runtime' 'Description: TVM runtime in C' 'Version: $(VERSION)' \
		'Cflags: -I$${includedir}' 'Libs: -L$${libdir} -ltvm_runtime' 'Libs.private: $(LIBS)' \
		> $(DESTDIR)$(PREFIX)/lib/pkgconfig/gotvm-runtime.pc

.PHONY: lint
lint: deps ## Check format and style: clang-format, cppcheck, gofmt, vet, staticcheck.
	scripts/install-deps --lint
	clang-format --dry-run --Werror $(shell git ls-files 'csrc/*.[ch]' 'gotvm/*.[ch]')
	cppcheck --quiet --std=c11 --enable=warning,performance,portability --inline-suppr --error-exitcode=1 \
		-Icsrc -D__linux__ --suppress=missingIncludeSystem csrc
	test -z "$$(gofmt -l csrc gotvm sample | tee /dev/stderr)"
	go vet ./...
	$(STATICCHECK) ./...

.PHONY: sanitize
sanitize: deps ## Run the tests under ASan, UBSan and TSan, -race, cgocheck2 and GC stress (minutes).
	scripts/sanitize

.PHONY: generate
generate: ## Refresh the hash of the C headers in the cgo flags.
	scripts/header-hash

.PHONY: deps
deps:
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

# nodelete: threads that have used the library run its clean-up when they end, also after a dlclose.
$(BUILD)/libtvm_runtime.so: $(OBJECTS)
	$(CC) $(ALL_CFLAGS) -shared -Wl,-soname,libtvm_runtime.so -Wl,--no-undefined -Wl,-z,nodelete $^ $(LIBS) -o $@

# The whole archive: compiled models find their back-end functions in the program.
$(TESTS) $(BENCHES): $(BUILD)/%: $(BUILD)/csrc/test/%.o $(TEST_HELPERS) $(BUILD)/libtvm_runtime.a
	$(CC) $(ALL_CFLAGS) -rdynamic $(filter %.o,$^) -Wl,--whole-archive $(BUILD)/libtvm_runtime.a -Wl,--no-whole-archive -lcmocka $(LIBS) -o $@

# Its allocations go through the test, which makes them fail.
$(BUILD)/test_no_memory: LIBS += -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc,--wrap=aligned_alloc,--wrap=strdup,--wrap=free

-include $(OBJECTS:.o=.d) $(wildcard $(BUILD)/csrc/test/*.d)
