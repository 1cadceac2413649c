# One rule a kind of file; a new program is a new folder in cmd/, a new module a .c in lib/, a new
# unit test a tests/unit/test_*.c: nothing needs to be listed here.

PREFIX ?= /usr/local
CC = gcc
OPT = -O3 -g
WARN = -Wall -Wextra -Wshadow -Wconversion -Wstrict-prototypes -Wmissing-prototypes -Wvla -Werror
PKGS = libpng zlib openblas libzmq jansson
CFLAGS = -std=gnu17 $(OPT) $(WARN) -fopenmp -fno-math-errno -fno-trapping-math
CPPFLAGS = -iquote lib -D_GNU_SOURCE $(shell pkg-config --cflags $(PKGS) 2>/dev/null)
LDLIBS = $(shell pkg-config --libs $(PKGS) 2>/dev/null) -llbfgs -lm

# make SAN=1: AddressSanitizer and UBSan, in a tree of its own.
ifdef SAN
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
LIB_OBJ = $(patsubst lib/%.c,$(BUILD)/lib/%.o,$(wildcard lib/*.c))
UNIT = $(patsubst tests/unit/%.c,$(BUILD)/tests/%,$(wildcard tests/unit/test_*.c))

all: $(PROGRAMS:%=$(BIN)/%)
unit: $(UNIT)

define program
$(BIN)/$(1): $(BUILD)/cmd/$(1).o $(BUILD)/libsimclr.a
	@mkdir -p $$(@D)
	$(call say,LD,$$@)$(CC) $(CFLAGS) -o $$@ $$^ $(LDLIBS)
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
$(BUILD)/tests/%: tests/unit/%.c $(BUILD)/libsimclr.a
	@mkdir -p $(@D)
	$(call say,CC,$<)$(CC) $(CFLAGS) $(CPPFLAGS) -MMD -MF $@.d -o $@ $< $(BUILD)/libsimclr.a $(LDLIBS) -lcmocka

clean:
	rm -rf build bin

-include $(shell find $(BUILD) -name '*.d' 2>/dev/null)
.PHONY: all unit clean
