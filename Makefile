# SPDX-License-Identifier: MIT
# RECap. `make`, `make check`, `make lint`, `make bench`, `make demo`, `make install`; see README.md.

MAKEFLAGS += --no-builtin-rules
.DELETE_ON_ERROR:
.SUFFIXES:
.SECONDARY:

B      := build
PREFIX ?= /usr/local
V      ?= 0
ifeq ($(V),0)
Q := @
say = @printf '  %-8s %s\n' $(1) $(2)
endif

CC      ?= gcc
ifeq ($(origin CC),default)
CC      := gcc
endif
CLANG   ?= clang
BPFTOOL ?= $(firstword $(wildcard /usr/sbin/bpftool /usr/local/sbin/bpftool) bpftool)

# ---- what is needed ------------------------------------------------------------------------------
# Goals that need no compiler or library: they may run on a bare machine and install what is missing.
BARE := setup demo clean check bench lint ci uninstall
ifneq ($(filter-out $(BARE),$(or $(MAKECMDGOALS),all)),)
PKGS := libbpf libseccomp libcap json-c libarchive libcrypto
MISSING := $(shell for p in $(PKGS); do pkg-config --exists $$p 2>/dev/null || echo $$p; done)
ifneq ($(MISSING),)
$(error missing: $(MISSING). Run `sudo make setup`, which installs the Debian packages listed in tools/packages)
endif
endif

VERSION := $(shell cat tools/version)
WARN    := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wvla -Wformat=2 \
	   -Wno-unused-parameter -Wno-missing-field-initializers $(if $(WERROR),-Werror)
HARDEN  := -D_FORTIFY_SOURCE=2 -fstack-protector-strong -fstack-clash-protection -fcf-protection -fPIE
OPT     ?= -O2 -g
CFLAGS  += -std=gnu17 $(OPT) $(WARN) $(HARDEN) $(SANITIZE)
CPPFLAGS += -D_GNU_SOURCE -DRECAP_VERSION='"$(VERSION)"' -DRECAP_LIBEXECDIR='"$(PREFIX)/libexec/recap"' -Iuser -Iinclude -I$(B)/bpf
LDFLAGS += -pie -Wl,-z,relro,-z,now,--as-needed $(SANITIZE)

COMMON_LIBS = -ljson-c
DAEMON_LIBS = -lbpf -lelf -lz -lseccomp -lcap -ljson-c
LOADER_LIBS = -larchive -lcrypto -ljson-c
CORE_LIBS   = $(DAEMON_LIBS) $(LOADER_LIBS)
# Static, but for the sanitizers' builds: a third of an attach would be the dynamic linker's in
# recapctl, and the copying of its mappings in every fork of recapd.
STATIC      = $(filter-out -pie,$(LDFLAGS)) $(if $(SANITIZE),-pie,-static-pie)

# ---- sources -------------------------------------------------------------------------------------
COMMON := $(patsubst %.c,$(B)/%.o,$(wildcard user/common/*.c))
CORE   := $(patsubst %.c,$(B)/%.o,$(wildcard user/core/*.c))
DAEMON := $(patsubst %.c,$(B)/%.o,$(filter-out %/main.c,$(wildcard user/recapd/*.c)))
CTL    := $(patsubst %.c,$(B)/%.o,$(filter-out %/main.c,$(wildcard user/recapctl/*.c)))
SKELS  := $(patsubst bpf/%.bpf.c,$(B)/bpf/%.skel.h,$(wildcard bpf/*.bpf.c))
UNIT   := $(patsubst tests/unit/%.c,$(B)/tests/unit/%,$(wildcard tests/unit/test_*.c))
HELPERS := $(patsubst tests/system/%.c,$(B)/tests/%,$(wildcard tests/system/*.c))
BENCH_BIN := $(patsubst tests/bench/%.c,$(B)/bench/%,$(wildcard tests/bench/*.c))
MAN    := $(wildcard docs/man/*.[1-8])

.PHONY: all
all: $(B)/recapd $(B)/recapctl $(B)/recap-load

$(B)/recapd: $(B)/user/recapd/main.o $(B)/libdaemon.a $(B)/libcore.a $(B)/libcommon.a
	$(call say,LINK,$@)
	$(Q)$(CC) $(STATIC) -o $@ $^ $(DAEMON_LIBS)

$(B)/recap-load: $(B)/user/loader/main.o $(B)/libcore.a $(B)/libcommon.a
	$(call say,LINK,$@)
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ $(LOADER_LIBS)

$(B)/recapctl: $(B)/user/recapctl/main.o $(B)/libctl.a $(B)/libcommon.a
	$(call say,LINK,$@)
	$(Q)$(CC) $(STATIC) -o $@ $^ $(COMMON_LIBS)

$(B)/libcommon.a: $(COMMON)
$(B)/libcore.a: $(CORE)
$(B)/libdaemon.a: $(DAEMON)
$(B)/libctl.a: $(CTL)
$(B)/lib%.a:
	$(call say,AR,$@)
	$(Q)rm -f $@ && ar rcs $@ $^

# The interface file, as GetInterfaceDescription returns it.
$(B)/bpf/interface.h: include/recap/io.recap.varlink
	$(call say,GEN,$@)
	$(Q)mkdir -p $(@D)
	$(Q){ echo 'static const char interface_io_recap[] ='; \
	      sed -e 's/[\\"]/\\&/g' -e 's/.*/"&\\n"/' $<; echo ';'; } >$@

$(B)/%.o: %.c Makefile | $(SKELS) $(B)/bpf/interface.h
	$(call say,CC,$<)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) -MMD -MP -c -o $@ $<

# ---- BPF -----------------------------------------------------------------------------------------
BPF_CFLAGS := -std=gnu17 -O2 -g -target bpf -mcpu=v3 -D__TARGET_ARCH_x86 -Wall -Wextra -Werror \
	      -Wno-unused-parameter -Wno-missing-declarations -Iinclude -Ibpf

$(B)/bpf/%.bpf.o: bpf/%.bpf.c Makefile
	$(call say,BPF,$<)
	$(Q)mkdir -p $(@D)
	$(Q)$(CLANG) $(BPF_CFLAGS) -MMD -MP -c -o $@.tmp $< -MF $(@:.o=.d) -MT $@
	$(Q)$(BPFTOOL) gen object $@ $@.tmp 2>/dev/null || llvm-strip -g -o $@ $@.tmp
	$(Q)rm -f $@.tmp

$(B)/bpf/%.skel.h: $(B)/bpf/%.bpf.o
	$(call say,SKEL,$@)
	$(Q)$(BPFTOOL) gen skeleton $< name $*_bpf >$@

# ---- tests ---------------------------------------------------------------------------------------
# Unit tests run under ASan and UBSan, in a build of their own.
.PHONY: unit
unit:
	$(Q)$(MAKE) --no-print-directory B=$(B)/asan SANITIZE='-fsanitize=address,undefined -fno-sanitize-recover=all' \
		OPT='-O1 -g' run-unit

.PHONY: run-unit
run-unit: $(UNIT)
	$(Q)set -e; for t in $(UNIT); do echo "== $$t"; $$t; done

$(B)/tests/unit/%: $(B)/tests/unit/%.o $(B)/libdaemon.a $(B)/libctl.a $(B)/libcore.a $(B)/libcommon.a
	$(call say,LINK,$@)
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ -lcmocka $(CORE_LIBS)

# Programs that tests run inside containers and capsules: static, since nothing else is there.
$(B)/tests/%: tests/system/%.c Makefile
	$(call say,CC,$<)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) -std=gnu17 -O2 -Wall -Wextra -Wno-unused-parameter -D_GNU_SOURCE -static -pthread -o $@ $<

$(B)/bench/%: tests/bench/%.c Makefile $(B)/libcommon.a
	$(call say,CC,$<)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) $(LDFLAGS) -MMD -MP -o $@ $< $(B)/libcommon.a $(COMMON_LIBS)

# Nothing but a system call: what it takes to start it is what starting costs.
$(B)/tests/true: tests/system/true.c Makefile
	$(call say,CC,$<)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) -std=gnu17 -Os -ffreestanding -nostdlib -static -s -Wl,--build-id=none \
		-Wl,-z,noseparate-code -o $@ $<

.PHONY: setup
setup:
	$(Q)tools/setup

.PHONY: lint
lint:
	$(Q)tools/lint

.PHONY: helpers
helpers: $(HELPERS)

-include $(shell find $(B) -type f -name '*.d' 2>/dev/null)

.PHONY: clean
clean:
	rm -rf $(B)

# ---- everything from a bare machine --------------------------------------------------------------
# What is missing is installed first, so that these begin where only git and make are.
need_root = @[ "$$(id -u)" -eq 0 ] || { echo "this needs root: sudo make $@" >&2; exit 1; }

.PHONY: check
check:
	$(Q)B=$(B) tools/check

.PHONY: demo
demo:
	$(need_root)
	$(Q)tools/setup
	$(Q)$(MAKE) --no-print-directory all helpers
	$(Q)B=$(B) tools/demo

# BENCH=attach, inventory or overhead: only that one.
.PHONY: bench
bench:
	$(need_root)
	$(Q)tools/setup
	$(Q)$(MAKE) --no-print-directory all helpers $(BENCH_BIN)
	$(Q)B=$(B) tests/bench/run $(BENCH)

.PHONY: ci
ci:
	$(Q).ci/run

# ---- installing ----------------------------------------------------------------------------------
# recapd looks for recap-load below the PREFIX that it was built with: another one is another build.
$(B)/prefix: FORCE
	$(Q)mkdir -p $(@D)
	$(Q)echo $(PREFIX) | cmp -s - $@ || echo $(PREFIX) >$@

$(B)/user/recapd/job.o: $(B)/prefix

.PHONY: FORCE
FORCE:

MAN_AT = $(DESTDIR)$(PREFIX)/share/man/man$(subst .,,$(suffix $(1)))/$(notdir $(1))

.PHONY: install
install: all
	install -D -m 755 $(B)/recapd $(DESTDIR)$(PREFIX)/sbin/recapd
	install -D -m 755 $(B)/recapctl $(DESTDIR)$(PREFIX)/bin/recapctl
	install -D -m 755 $(B)/recap-load $(DESTDIR)$(PREFIX)/libexec/recap/recap-load
	set -e; $(foreach page,$(MAN),install -D -m 644 $(page) $(call MAN_AT,$(page));)

.PHONY: uninstall
uninstall:
	rm -f $(DESTDIR)$(PREFIX)/sbin/recapd $(DESTDIR)$(PREFIX)/bin/recapctl \
		$(DESTDIR)$(PREFIX)/libexec/recap/recap-load $(foreach page,$(MAN),$(call MAN_AT,$(page)))
	[ ! -d $(DESTDIR)$(PREFIX)/libexec/recap ] || rmdir $(DESTDIR)$(PREFIX)/libexec/recap
