# One rule a kind of file; a new program is a new folder in cmd/, a new module a .c in lib/, a new
# unit test a tests/unit/test_*.c: nothing needs to be listed here.

PREFIX ?= /usr/local
CC = gcc
OPT = -O3 -g
WARN = -Wall -Wextra -Wshadow -Wconversion -Wstrict-prototypes -Wmissing-prototypes -Wvla -Werror
PKGS = libpng libjpeg libexif libarchive zlib openblas libzmq jansson
OPENMP = -fopenmp
CFLAGS = -std=gnu17 $(OPT) $(WARN) $(OPENMP) -fno-math-errno -fno-trapping-math
CPPFLAGS = -iquote lib -D_GNU_SOURCE $(shell pkg-config --cflags $(PKGS) 2>/dev/null)
LDLIBS = $(shell pkg-config --libs $(PKGS) 2>/dev/null) -llbfgs -lm
# What chooses among clones asks lib/isa first.
LDFLAGS = -Wl,--wrap=__cpu_indicator_init

# make SAN=1: AddressSanitizer and UBSan, in a tree of its own. FUZZ=1: the same by clang and with
# libFuzzer, for `make fuzz`; without what computes, which is gcc's and takes bytes from nobody.
LIB_C = $(wildcard lib/*.c)
COMPUTES = ahead augment bootstrap conv% cross_entropy engine grains initialize knn loss maps% \
	network% ntxent pairs panel probe product stage strips transpose triples views winograd
ifdef FUZZ
BUILD = build/fuzz
CC = clang
OPT = -O1 -g -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
OPENMP =
WARN += -Wno-sign-conversion # which gcc's -Wconversion leaves out in C
LIB_C := $(filter-out $(COMPUTES:%=lib/%.c),$(LIB_C))
else ifdef SAN
BUILD = build/san
BIN = build/san/bin
OPT = -O1 -g -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
else
BUILD = build
BIN = bin
endif

# make V=1 shows whole commands.
ifdef V
say =
else
say = @printf '  %-3s %s\n' $(1) $(2);
endif

PROGRAMS = $(notdir $(wildcard cmd/*))
LIB_OBJ = $(patsubst lib/%.c,$(BUILD)/lib/%.o,$(LIB_C))
FUZZ_C = $(wildcard tests/fuzz/fuzz_*.c)
UNIT = $(patsubst tests/unit/%.c,$(BUILD)/tests/%,$(wildcard tests/unit/test_*.c))

.DEFAULT_GOAL := all
all: $(PROGRAMS:%=$(BIN)/%)
fuzzers: $(patsubst tests/fuzz/%.c,$(BUILD)/%,$(FUZZ_C))
unit: $(UNIT) $(BUILD)/tests/emulate.so $(BUILD)/tests/bench

define program
$(BIN)/$(1): $(BUILD)/cmd/$(1).o $(BUILD)/libsimclr.a
	@mkdir -p $$(@D)
	$(call say,LD,$$@)$(CC) $(CFLAGS) $(LDFLAGS) -o $$@ $$^ $(LDLIBS)
$(BUILD)/cmd/$(1).o: cmd/$(1)/$(1).c
	@mkdir -p $$(@D)
	$(call say,CC,$$<)$(CC) $(CFLAGS) $(CPPFLAGS) -MMD -c -o $$@ $$<
endef
$(foreach p,$(PROGRAMS),$(eval $(call program,$(p))))

$(BUILD)/lib/%.o: lib/%.c
	@mkdir -p $(@D)
	$(call say,CC,$<)$(CC) $(CFLAGS) $(CPPFLAGS) -MMD -c -o $@ $<
$(BUILD)/libsimclr.a: $(LIB_OBJ)
	@rm -f $@
	$(call say,AR,$@)ar rcs $@ $^
$(BUILD)/tests/bench: tests/bench/bench.c $(BUILD)/libsimclr.a
	@mkdir -p $(@D)
	$(call say,CC,$<)$(CC) $(CFLAGS) $(CPPFLAGS) -MMD -MF $@.d $(LDFLAGS) -o $@ $< $(BUILD)/libsimclr.a $(LDLIBS)
$(BUILD)/tests/emulate.so: tests/emulate.c
	@mkdir -p $(@D)
	$(call say,CC,$<)$(CC) $(CFLAGS) $(CPPFLAGS) -fPIC -shared -MMD -MF $@.d -o $@ $< -lm
$(BUILD)/fuzz_%: tests/fuzz/fuzz_%.c $(BUILD)/libinputs.a $(BUILD)/libsimclr.a
	$(call say,CC,$<)$(CC) $(CFLAGS) $(CPPFLAGS) -fsanitize=fuzzer -MMD -MF $@.d -o $@ $< $(BUILD)/libinputs.a $(BUILD)/libsimclr.a $(LDLIBS)
$(BUILD)/libinputs.a: $(patsubst tests/fuzz/%.c,$(BUILD)/%.o,$(filter-out $(FUZZ_C),$(wildcard tests/fuzz/*.c)))
	@rm -f $@
	$(call say,AR,$@)ar rcs $@ $^
$(BUILD)/%.o: tests/fuzz/%.c
	@mkdir -p $(@D)
	$(call say,CC,$<)$(CC) $(CFLAGS) $(CPPFLAGS) -MMD -c -o $@ $<
$(BUILD)/tests/%: tests/unit/%.c $(BUILD)/libsimclr.a
	@mkdir -p $(@D)
	$(call say,CC,$<)$(CC) $(CFLAGS) $(CPPFLAGS) -MMD -MF $@.d $(LDFLAGS) -o $@ $< $(BUILD)/libsimclr.a $(LDLIBS) -lcmocka

# ---- what it needs ----

DEBIAN = gcc libc6-dev pkg-config procps libpng-dev libjpeg-dev libexif-dev libarchive-dev \
	zlib1g-dev libopenblas-dev libzmq3-dev libjansson-dev liblbfgs-dev
DEBIAN_TESTS = libcmocka-dev shellcheck clang-format python3-numpy python3-pil python3-zmq zstd gnuplot-nox
DEBIAN_FUZZ = clang libclang-rt-dev

# Installs what is missing on Debian and Ubuntu, after saying so; names it elsewhere.
define install
missing=; for p in $(1); do \
	dpkg-query -W -f '$${Status}' $$p 2>/dev/null | grep -q 'ok installed' || missing="$$missing $$p"; \
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

deps:
	@$(call install,$(DEBIAN))
deps-check: deps
	@$(call install,$(DEBIAN_TESTS))

# ---- the two commands ----

# make train DATA=cifar-10-batches-bin EPOCHS=100 ENCODER='encode --arch resnet50'
# Seconds that one file of tests may take.
TEST_TIMEOUT = 300

DATA = shapes
RUN = runs/$(notdir $(DATA))-$(shell date +%Y%m%d-%H%M%S)
ifeq ($(DATA),shapes)
EPOCHS = 3
ENCODER = encode --arch resnet18 --width 0.25
LOSS = ntxent --temperature 0.2
OPTIMIZER = lars --scaling sqrt --base-lr 0.2 --warmup 0.5
else
EPOCHS = 10
ENCODER = encode --arch resnet18
LOSS = ntxent
OPTIMIZER = lars --scaling sqrt --warmup 1
endif

# Programs are built by a second make: what it needs may have been installed by this one.
train: RUN := $(RUN)
train: deps
	@$(MAKE) --no-print-directory -s -j2 all
	pipelines/train --data $(DATA) --epochs $(EPOCHS) --encoder '$(ENCODER)' --loss '$(LOSS)' --optimizer '$(OPTIMIZER)' --run $(RUN)
	pipelines/evaluate --run $(RUN)
	@echo "The run lies in $(RUN)"

check: deps-check
	@$(MAKE) --no-print-directory -j2 all unit
	@BIN=$(abspath $(BIN)) UNIT=$(abspath $(BUILD)/tests) TEST_TIMEOUT=$(TEST_TIMEOUT) tests/run

# make fuzz FUZZ_SECONDS=60 FUZZERS='frame link'; the seconds are for each of them.
FUZZ_SECONDS = 600
FUZZERS =
fuzz: deps
	@$(call install,$(DEBIAN_FUZZ))
	@$(MAKE) --no-print-directory -j2 FUZZ=1 fuzzers
	@FUZZ_SECONDS=$(FUZZ_SECONDS) tests/fuzz/run $(FUZZERS)

# make bench BENCH=full; tests/bench/run --help says what else BENCH may hold.
bench: deps
	@$(call install,python3)
	@$(MAKE) --no-print-directory -s -j2 all $(BUILD)/tests/bench
	@BIN=$(abspath $(BIN)) BUILD=$(abspath $(BUILD)) tests/bench/run $(BENCH)

lint:
	clang-format --dry-run -Werror $(wildcard lib/*.[ch] cmd/*/*.c tests/*.c tests/*/*.[ch])
	shellcheck -x $(wildcard pipelines/* tests/*.sh tests/run tests/slurm_cluster tests/programs/*.sh tests/bench/curve tests/bench/workers tests/fuzz/run tests/soak/kill-resume .ci/run)

install: all
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/share/man/man1 $(DESTDIR)$(PREFIX)/share/simclr/pipelines $(DESTDIR)$(PREFIX)/share/simclr/examples
	install $(PROGRAMS:%=$(BIN)/%) $(DESTDIR)$(PREFIX)/bin
	install -m 644 $(wildcard cmd/*/*.1) $(DESTDIR)$(PREFIX)/share/man/man1
	install $(wildcard pipelines/*) $(DESTDIR)$(PREFIX)/share/simclr/pipelines
	install $(wildcard examples/*) $(DESTDIR)$(PREFIX)/share/simclr/examples

clean:
	rm -rf build bin

-include $(shell find $(BUILD) -name '*.d' 2>/dev/null)
.PHONY: all unit fuzzers deps deps-check train check fuzz bench lint install clean
