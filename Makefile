# One rule for each kind of file: a new folder in cmd/ is a new program, a new .c in a folder of lib/ a
# new module, a new tests/unit/test_*.c a new unit test. No file is listed here by its name.

# What NAME --version prints; CHANGELOG.md says what each version brought.
VERSION = 0.5.0

PREFIX ?= /usr/local
CC = gcc
PKG_CONFIG = pkg-config
# Users may set these on the command line; flags that the build needs are added to them below.
CFLAGS = -O3 -g
CPPFLAGS =
LDFLAGS =
LDLIBS =

# As many jobs as there are cores, unless -j says otherwise.
ifeq ($(MAKELEVEL),0)
MAKEFLAGS := $(MAKEFLAGS) $(if $(filter -j%,$(MAKEFLAGS)),,-j$(shell nproc))
endif

PKGS = libpng libjpeg libwebp libwebpdemux libtiff-4 libexif libarchive zlib openblas libzmq jansson
WARN = -Wall -Wextra -Wshadow -Wconversion -Wstrict-prototypes -Wmissing-prototypes -Wvla $(if $(WERROR),-Werror)
OPENMP = -fopenmp
ALL_CFLAGS = -std=gnu17 $(WARN) $(OPENMP) -fno-math-errno -fno-trapping-math $(CFLAGS) $(INSTRUMENT)
ALL_CPPFLAGS = -iquote lib -D_GNU_SOURCE -DCL_TARGET_OPENCL_VERSION=120 -DSIMCLR_VERSION='"$(VERSION)"' $(shell $(PKG_CONFIG) --cflags $(PKGS) 2>/dev/null) $(CPPFLAGS)
ALL_LDLIBS = $(shell $(PKG_CONFIG) --libs $(PKGS) 2>/dev/null) -llbfgs -lm $(LDLIBS)
# The choice among a function's versions (base/multiversion.h) asks base/isa.h first.
ALL_LDFLAGS = -Wl,--wrap=__cpu_indicator_init $(LDFLAGS)

# Instrumented builds, each in a tree of its own:
#   SAN=1     AddressSanitizer and UBSan
#   TSAN=1    ThreadSanitizer, by clang, whose OpenMP reports its synchronization
#   COV=1     gcov's counters
#   FUZZ=1    as SAN=1, by clang and with libFuzzer
#   DEBUG=1   without optimization, for a debugger
LIB_C = $(wildcard lib/*/*.c)
ifdef FUZZ
BUILD = build/fuzz
CC = clang
CFLAGS = -O1 -g
INSTRUMENT = -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
WARN += -Wno-sign-conversion -Wno-unknown-pragmas -Wno-pass-failed
else ifdef SAN
BUILD = build/san
CFLAGS = -O2 -g
INSTRUMENT = -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
else ifdef TSAN
BUILD = build/tsan
CC = clang
CFLAGS = -O1 -g
INSTRUMENT = -fsanitize=thread
WARN += -Wno-sign-conversion -Wno-unknown-pragmas -Wno-pass-failed
else ifdef COV
BUILD = build/cov
CFLAGS = -O1 -g
INSTRUMENT = --coverage -fprofile-update=atomic
else ifdef DEBUG
BUILD = build/debug
CFLAGS = -O0 -g3
else
BUILD = build
BIN = bin
endif
BIN ?= $(BUILD)/bin

# make V=1 shows whole commands.
ifdef V
say =
else
say = @printf '  %-3s %s\n' $(1) $(2);
endif

# Objects are built again when the compiler or its flags change.
FLAGS = $(CC) $(ALL_CFLAGS) $(ALL_CPPFLAGS)
$(shell mkdir -p $(BUILD); echo '$(subst ','\'',$(FLAGS))' | cmp -s - $(BUILD)/flags || \
	echo '$(subst ','\'',$(FLAGS))' >$(BUILD)/flags)

PROGRAMS = $(notdir $(wildcard cmd/*))
LIB_OBJ = $(patsubst lib/%.c,$(BUILD)/lib/%.o,$(LIB_C))
FUZZ_C = $(wildcard tests/fuzz/fuzz_*.c)
UNIT = $(patsubst tests/unit/%.c,$(BUILD)/tests/%,$(wildcard tests/unit/test_*.c))

.DEFAULT_GOAL := all
all: $(PROGRAMS:%=$(BIN)/%) ## build the programs, into bin/ (the default)
fuzzers: $(patsubst tests/fuzz/%.c,$(BUILD)/%,$(FUZZ_C)) ## with FUZZ=1: build the fuzzers, into build/fuzz/
unit: $(UNIT) $(BUILD)/tests/emulate.so $(BUILD)/tests/bench ## build the unit tests, into build/tests/

define program
$(BIN)/$(1): $(BUILD)/cmd/$(1).o $(BUILD)/libsimclr.a
	@mkdir -p $$(@D)
	$(call say,LD,$$@)$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) -o $$@ $$^ $(ALL_LDLIBS)
$(BUILD)/cmd/$(1).o: cmd/$(1)/$(1).c $(BUILD)/flags
	@mkdir -p $$(@D)
	$(call say,CC,$$<)$(CC) $(ALL_CFLAGS) $(ALL_CPPFLAGS) -MMD -MP -c -o $$@ $$<
endef
$(foreach p,$(PROGRAMS),$(eval $(call program,$(p))))

$(BUILD)/lib/%.o: lib/%.c $(BUILD)/flags
	@mkdir -p $(@D)
	$(call say,CC,$<)$(CC) $(ALL_CFLAGS) $(ALL_CPPFLAGS) -MMD -MP -c -o $@ $<
# Stages and optimizers on other processors must get the same bits (lib/optimizer/slow_copy.h).
$(BUILD)/lib/optimizer/slow_copy.o: ALL_CFLAGS += -ffp-contract=off
# kernels.c takes the text of these two into the program.
$(BUILD)/lib/device/kernels.o: lib/device/kernels.cl lib/device/kernel_arguments.h
# The archive follows the list of its objects: a source that is removed leaves it.
$(shell echo '$(LIB_OBJ)' | cmp -s - $(BUILD)/objects || echo '$(LIB_OBJ)' >$(BUILD)/objects)
$(BUILD)/libsimclr.a: $(LIB_OBJ) $(BUILD)/objects
	@rm -f $@
	$(call say,AR,$@)$(AR) rcs $@ $(LIB_OBJ)
$(BUILD)/tests/bench: tests/bench/bench.c $(BUILD)/libsimclr.a
	@mkdir -p $(@D)
	$(call say,CC,$<)$(CC) $(ALL_CFLAGS) $(ALL_CPPFLAGS) -MMD -MP -MF $@.d $(ALL_LDFLAGS) -o $@ $< $(BUILD)/libsimclr.a $(ALL_LDLIBS)
$(BUILD)/tests/emulate.so: tests/emulate.c
	@mkdir -p $(@D)
	$(call say,CC,$<)$(CC) $(ALL_CFLAGS) $(ALL_CPPFLAGS) -fPIC -shared -MMD -MP -MF $@.d -o $@ $< -lm
$(BUILD)/tests/simulate.so: tests/bench/simulate.c
	@mkdir -p $(@D)
	$(call say,CC,$<)$(CC) $(ALL_CFLAGS) $(ALL_CPPFLAGS) -fPIC -shared -MMD -MP -MF $@.d -o $@ $<
$(BUILD)/fuzz_%: tests/fuzz/fuzz_%.c $(BUILD)/libinputs.a $(BUILD)/libsimclr.a
	$(call say,CC,$<)$(CC) $(ALL_CFLAGS) $(ALL_CPPFLAGS) -fsanitize=fuzzer -MMD -MP -MF $@.d -o $@ $< $(BUILD)/libinputs.a $(BUILD)/libsimclr.a $(ALL_LDLIBS)
$(BUILD)/libinputs.a: $(patsubst tests/fuzz/%.c,$(BUILD)/%.o,$(filter-out $(FUZZ_C),$(wildcard tests/fuzz/*.c)))
	@rm -f $@
	$(call say,AR,$@)$(AR) rcs $@ $^
$(BUILD)/%.o: tests/fuzz/%.c $(BUILD)/flags
	@mkdir -p $(@D)
	$(call say,CC,$<)$(CC) $(ALL_CFLAGS) $(ALL_CPPFLAGS) -MMD -MP -c -o $@ $<
$(BUILD)/tests/%: tests/unit/%.c $(BUILD)/libsimclr.a
	@mkdir -p $(@D)
	$(call say,CC,$<)$(CC) $(ALL_CFLAGS) $(ALL_CPPFLAGS) -MMD -MP -MF $@.d $(ALL_LDFLAGS) -o $@ $< $(BUILD)/libsimclr.a $(ALL_LDLIBS) -lcmocka

# ---- what it needs ----

DEBIAN = gcc libc6-dev pkg-config procps libpng-dev libjpeg-dev libwebp-dev libtiff-dev \
	libexif-dev libarchive-dev \
	zlib1g-dev libopenblas-dev libzmq3-dev libjansson-dev liblbfgs-dev opencl-c-headers
DEBIAN_TESTS = libcmocka-dev shellcheck clang-format python3-numpy python3-pil python3-zmq \
	python3-protobuf zstd curl gnuplot-nox
DEBIAN_FUZZ = clang libclang-rt-dev libomp-dev
DEBIAN_TSAN = clang libclang-rt-dev libomp-dev
DEBIAN_TIDY = clang-tidy libomp-dev

# On Debian and Ubuntu installs the missing packages, after saying so; elsewhere names them. A package
# of another architecture, as a cross compiler needs them, does not count as there.
define install
missing=; native=$$(dpkg --print-architecture 2>/dev/null); for p in $(1); do \
	dpkg-query -W -f '$${Architecture} $${Status}\n' $$p 2>/dev/null | grep -qE "^(all|$$native) .*ok installed" || \
		missing="$$missing $$p"; \
done; \
if ! command -v dpkg-query >/dev/null; then \
	pkg-config --exists $(PKGS) 2>/dev/null || \
	{ echo "This system is not Debian: please install what these packages hold:" $(1); exit 1; }; \
elif [ -n "$$missing" ]; then \
	echo "Installing what is missing:$$missing"; \
	sudo=; [ "$$(id -u)" = 0 ] || sudo=sudo; \
	$$sudo apt-get update -qq && \
	DEBIAN_FRONTEND=noninteractive $$sudo apt-get install -y -qq --no-install-recommends $$missing >/dev/null; \
fi
endef

deps: ## install the packages that the build needs (Debian, Ubuntu; elsewhere it names them)
	@$(call install,$(DEBIAN))
deps-check: deps ## install those packages and the ones that the tests need
	@$(call install,$(DEBIAN_TESTS) $(if $(TSAN),$(DEBIAN_TSAN)))

# ---- the two commands ----

# make train DATA=cifar-10-batches-bin EPOCHS=100 ENCODER='encode --arch resnet50'
DATA = shapes
RUN = $(shell mktemp -u "runs/$$(printf %s $(call sh,$(notdir $(DATA))) | tr -c '[:alnum:]._-' _)-$$(date +%Y%m%d-%H%M%S)-XXXX")
# Quotes a text as one word of a shell command.
sh = '$(subst ','\'',$(1))'
# For the drawn set the settings fit into minutes; docs/results.md says how they were found.
ifeq ($(DATA),shapes)
EPOCHS = 32
AUGMENT = augment --ops crop:0.5-1,flip,rotate,jitter:0.8:1,gray:0.5
ENCODER = encode --arch resnet18 --width 0.25 --stem imagenet
LOSS = ntxent --temperature 0.2
OPTIMIZER = adam --lr 0.005 --warmup 1.25
JUDGE = pipelines/judge --limit 5000
else
EPOCHS = 10
AUGMENT = augment
ENCODER = encode --arch resnet18
LOSS = ntxent
OPTIMIZER = lars --scaling sqrt --warmup 1
JUDGE = pipelines/judge
endif

# A second make builds the programs, since this one may have installed what it needs.
train: RUN := $(RUN)
train: deps ## build, train on DATA (drawn images if not given), evaluate, make a page
	@$(MAKE) --no-print-directory -s all
	pipelines/train --data $(call sh,$(DATA)) --epochs $(call sh,$(EPOCHS)) --augment $(call sh,$(AUGMENT)) --encoder $(call sh,$(ENCODER)) --loss $(call sh,$(LOSS)) --optimizer $(call sh,$(OPTIMIZER)) --run $(call sh,$(RUN))
	$(JUDGE) --run $(call sh,$(RUN))
	pipelines/report --run $(call sh,$(RUN))
	@printf 'The run is in %s\n' $(call sh,$(RUN))

# make check TESTS='links frame' runs the files whose path holds one of these words.
TESTS =
tests = $(if $(TSAN),TSAN_OPTIONS='suppressions=$(abspath tests/tsan.supp) ignore_noninstrumented_modules=1') \
	$(if $(SAN),LSAN_OPTIONS='suppressions=$(abspath tests/lsan.supp) print_suppressions=0') \
	BIN=$(call sh,$(abspath $(BIN))) UNIT=$(call sh,$(abspath $(BUILD)/tests)) FIXTURES=$(call sh,$(abspath build/fixtures)) tests/run
check: deps-check ## build and run the quick tests; TESTS='links frame' runs some of all tests
	@$(MAKE) --no-print-directory -s all unit
	@$(tests) $(TESTS)
check-all: deps-check ## build and run all tests: also whole runs, examples, Slurm, hosts, fuzzing
	@$(MAKE) --no-print-directory -s all unit
	@$(tests) --all $(TESTS)

# make fuzz FUZZ_SECONDS=60 FUZZERS='frame link'; each fuzzer runs for these seconds.
FUZZ_SECONDS = 600
FUZZERS =
fuzz: deps ## fuzz everything that reads bytes: FUZZ_SECONDS=60 each, FUZZERS='frame link'
	@$(call install,$(DEBIAN_FUZZ))
	@$(MAKE) --no-print-directory FUZZ=1 fuzzers
	@FUZZ_SECONDS=$(FUZZ_SECONDS) tests/fuzz/run $(FUZZERS)

# make bench BENCH=full; tests/bench/run --help lists what BENCH may be.
bench: deps ## measure speed and memory, beside PyTorch where that is installed; BENCH=full
	@$(call install,python3)
	@$(MAKE) --no-print-directory -s all $(BUILD)/tests/bench
	@BIN=$(call sh,$(abspath $(BIN))) BUILD=$(call sh,$(abspath $(BUILD))) tests/bench/run $(BENCH)

coverage: deps-check ## run all tests with counters, and print which lines they reach, by folder
	@$(call install,gcovr)
	@$(MAKE) --no-print-directory -s COV=1 all unit
	@find build/cov -name '*.gcda' -delete
	-@$(MAKE) --no-print-directory COV=1 check-all TESTS='$(TESTS)'
	@tests/coverage build/cov

# Shell scripts are known by their first line.
SCRIPTS = $(shell find pipelines packaging tests .ci -type f -exec awk 'FNR == 1 { \
	if (/^\#!.*[ \/](ba)?sh$$|^\# shellcheck shell=/) print FILENAME; nextfile }' {} +)
PYTHON = $(wildcard tests/*.py tests/*/*.py examples/*.py tests/rooms tests/device/run tests/device/roofline)
lint: ## check formatting, shell and Python scripts, and the order of the rooms of lib/
	$(call say,CHK,lib/rooms)tests/rooms
	$(call say,CHK,C)clang-format --dry-run -Werror $(wildcard lib/*/*.[ch] cmd/*/*.c tests/*.c tests/*/*.[ch])
	$(call say,CHK,shell)shellcheck -x $(SCRIPTS)
	$(call say,CHK,Python)python3 -c 'import ast, sys; [ast.parse(open(f).read(), f) for f in sys.argv[1:]]' $(PYTHON)

# The command that compiles each C file, for editors and clang's tools.
SOURCES = $(LIB_C) $(wildcard cmd/*/*.c tests/*.c tests/*/*.c)
compile_commands.json: Makefile $(SOURCES) ## write the compilers' commands, for clangd and other tools
	$(call say,GEN,$@)separator='['; for file in $(SOURCES); do \
		printf '%s\n{"directory": "%s", "file": "%s", "command": "%s -c %s"}' "$$separator" \
			$(call sh,$(CURDIR)) "$$file" $(call sh,$(subst ",\",$(subst \,\\,$(FLAGS)))) "$$file"; \
		separator=,; \
	done >$@; printf '\n]\n' >>$@

TIDY_C = $(LIB_C) $(wildcard cmd/*/*.c)
tidy: deps ## look for defects with clang-tidy: the checks are in .clang-tidy
	@$(call install,$(DEBIAN_TIDY))
	@$(MAKE) --no-print-directory compile_commands.json
	@printf '%s\n' $(TIDY_C) | xargs -P $$(nproc) -n 4 clang-tidy -p . --quiet

# ---- installing ----

# What lies below PREFIX/share in the end: manual pages and completions. The programs say what their
# options are, so a build for another machine takes this folder from one for its own.
SHARE = $(BUILD)/share
share: all ## make the manual pages and the completions for bash and zsh, in build/share/
	@rm -rf $(SHARE).part
	$(call say,GEN,$(SHARE))BIN=$(call sh,$(BIN)) packaging/share/make-share $(SHARE).part
	@rm -rf $(SHARE) && mv $(SHARE).part $(SHARE)

packaging = BIN=$(call sh,$(BIN)) SHARE=$(call sh,$(SHARE)) DESTDIR=$(call sh,$(DESTDIR)) PREFIX=$(call sh,$(PREFIX)) \
	VERSION=$(VERSION) packaging
install: all share ## install below PREFIX (/usr/local): simclr into bin/, the rest into libexec/ and share/
	@$(packaging)/install
uninstall: ## remove what make install put below PREFIX
	@$(packaging)/install --remove
deb: all share ## make a Debian package, in build/deb/
	@$(call install,dpkg-dev)
	@$(packaging)/deb $(BUILD)/deb

clean: ## remove all that was built
	rm -rf build bin

help: ## print this
	@awk -F ':.*## ' '/^[a-z_.-]+:.*## / { printf "  make %-22s %s\n", $$1, $$2 }' Makefile
	@echo "Variables: V=1 shows whole commands; WERROR=1 makes warnings errors; DEBUG=1, SAN=1, TSAN=1, COV=1"
	@echo "build in trees of their own, below build/; CFLAGS [$(CFLAGS)], PREFIX [$(PREFIX)]"

-include $(shell find $(BUILD) -name '*.d' 2>/dev/null)
.PHONY: all unit fuzzers share deps deps-check train check check-all fuzz bench coverage lint tidy install uninstall deb clean help
