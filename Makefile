# SPDX-License-Identifier: MIT
# RECap. `make`, `make check`, `make lint`, `make bench`, `make demo`, `make capsules`, `make install`;
# see README.md.

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
BARE := setup demo clean check check-faults check-kernels model coverage check-sanitize bench soak lint ci uninstall capsules
ifneq ($(filter-out $(BARE),$(or $(MAKECMDGOALS),all)),)
PKGS := libbpf libseccomp libcap json-c libarchive libcrypto sqlite3
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
CPPFLAGS += -D_GNU_SOURCE -DRECAP_VERSION='"$(VERSION)"' -DRECAP_LIBEXECDIR='"$(PREFIX)/libexec/recap"' \
	   -DRECAP_DATADIR='"$(PREFIX)/share/recap"' -Iuser -Iinclude -I$(B)/bpf
LDFLAGS += -pie -Wl,-z,relro,-z,now,--as-needed $(SANITIZE)

COMMON_LIBS = -ljson-c
DAEMON_LIBS = -lbpf -lelf -lz -lseccomp -lcap -ljson-c
LOADER_LIBS = -larchive -lcrypto -lcap -lseccomp -ljson-c
SCAN_LIBS   = -lseccomp -lcap -lsqlite3 -lcrypto -ljson-c -lm
CORE_LIBS   = $(DAEMON_LIBS) $(LOADER_LIBS)
# Static, but for the sanitizers' builds: a third of an attach would be the dynamic linker's in
# recapctl, and the copying of its mappings in every fork of recapd.
STATIC      = $(filter-out -pie,$(LDFLAGS)) $(if $(SANITIZE),-pie,-static-pie)

# ---- sources -------------------------------------------------------------------------------------
COMMON := $(patsubst %.c,$(B)/%.o,$(wildcard user/common/*.c))
CORE   := $(patsubst %.c,$(B)/%.o,$(wildcard user/core/*.c))
DAEMON := $(patsubst %.c,$(B)/%.o,$(filter-out %/main.c,$(wildcard user/recapd/*.c)))
SCAN   := $(patsubst %.c,$(B)/%.o,$(filter-out %/main.c,$(wildcard user/scan/*.c)))
CTL    := $(patsubst %.c,$(B)/%.o,$(filter-out %/main.c,$(wildcard user/recapctl/*.c)))
SKELS  := $(patsubst bpf/%.bpf.c,$(B)/bpf/%.skel.h,$(wildcard bpf/*.bpf.c))
UNIT   := $(patsubst tests/unit/%.c,$(B)/tests/unit/%,$(wildcard tests/unit/test_*.c))
HELPERS := $(patsubst tests/system/%.c,$(B)/tests/%,$(wildcard tests/system/*.c))
BENCH_BIN := $(patsubst tests/bench/%.c,$(B)/bench/%,$(wildcard tests/bench/*.c))
MAN    := $(wildcard docs/man/*.[1-8])
GUIDES := $(wildcard docs/*.md)
SCANNERS := $(wildcard tools/scanners/*.json)

.PHONY: all
all: $(B)/recapd $(B)/recapctl $(B)/recap-load $(B)/recap-scan

$(B)/recapd: $(B)/user/recapd/main.o $(B)/libdaemon.a $(B)/libcore.a $(B)/libcommon.a
	$(call say,LINK,$@)
	$(Q)$(CC) $(STATIC) -o $@ $^ $(DAEMON_LIBS)

$(B)/recap-load: $(B)/user/loader/main.o $(B)/libcore.a $(B)/libcommon.a
	$(call say,LINK,$@)
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ $(LOADER_LIBS)

$(B)/recap-scan: $(B)/user/scan/main.o $(B)/libscan.a $(B)/libcore.a $(B)/libcommon.a
	$(call say,LINK,$@)
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ $(SCAN_LIBS)

$(B)/recapctl: $(B)/user/recapctl/main.o $(B)/libctl.a $(B)/libcommon.a
	$(call say,LINK,$@)
	$(Q)$(CC) $(STATIC) -o $@ $^ $(COMMON_LIBS)

# FAULTS=1, with a B of its own: recapd's calls are fault points. tests/fault/fault.h has the whole of it. tar.c, of the loader, has a
# member that is called like a call.
ifdef FAULTS
$(filter-out %/tar.o,$(COMMON) $(CORE) $(DAEMON)): CPPFLAGS += -include tests/fault/fault.h
$(B)/bpf/recap.bpf.o: BPF_CFLAGS += -include tests/fault/fault.bpf.h
$(B)/libcommon.a: $(B)/tests/fault/fault.o
endif

# COVERAGE=1, with a B of its own: see tests/coverage/counters.c. The compiler is not to write counters at each fork and exec.
ifdef COVERAGE
COVERED := $(B)/tests/coverage/counters.o
OPT     := -O0 -g
CFLAGS  += --coverage -fprofile-update=atomic -fdata-sections -U_FORTIFY_SOURCE \
	   $(addprefix -fno-builtin-,fork execv execve execvp execl execlp execle)
LDFLAGS += --coverage -Wl,--wrap=fexecve -Wl,-T,tests/coverage/counters.ld $(COVERED)
$(COVERED): CFLAGS := $(filter-out --coverage,$(CFLAGS))
$(B)/recapd $(B)/recapctl $(B)/recap-load $(B)/recap-scan $(UNIT): | $(COVERED)
endif

$(B)/libcommon.a: $(COMMON)
$(B)/libcore.a: $(CORE)
$(B)/libdaemon.a: $(DAEMON)
$(B)/libctl.a: $(CTL)
$(B)/libscan.a: $(SCAN)
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
SANITIZERS := SANITIZE='-fsanitize=address,undefined -fno-sanitize-recover=all' OPT='-O1 -g'

.PHONY: unit
unit:
	$(Q)$(MAKE) --no-print-directory B=$(B)/asan $(SANITIZERS) run-unit

# The same without sanitizers, under valgrind; but for what that cannot run: it knows no openat2(2), seccomp(2) and TIOCGPTPEER, and
# stands in the way of a program that executes itself under another name. recapd is not for it either: `valgrind build/recapd` ends with
# "cannot execute the sealed copy of recapd: No such file or directory", and without that copy with "cannot start the reader", whose
# filter is set by seccomp(2). The sanitizers see to recapd (check-sanitize).
VALGRIND_CANNOT := docker image layer oci packages userdb sandbox seccomp_profile recapctl_attach runtime

.PHONY: check-valgrind
check-valgrind:
	$(Q)$(MAKE) --no-print-directory B=$(B)/valgrind OPT='-O1 -g' run-valgrind

.PHONY: run-valgrind
run-valgrind: $(filter-out $(VALGRIND_CANNOT:%=$(B)/tests/unit/test_%),$(UNIT))
	$(Q)set -e; for t in $^; do echo "== $$t"; \
		valgrind -q --leak-check=full --errors-for-leak-kinds=definite --error-exitcode=99 $$t; done

.PHONY: unit-programs
unit-programs: $(UNIT)

.PHONY: run-unit
run-unit: $(UNIT)
	$(Q)set -e; for t in $(UNIT); do echo "== $$t"; $$t; done

$(B)/tests/unit/%: $(B)/tests/unit/%.o $(B)/libdaemon.a $(B)/libctl.a $(B)/libscan.a $(B)/libcore.a $(B)/libcommon.a
	$(call say,LINK,$@)
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ -lcmocka $(CORE_LIBS) $(SCAN_LIBS)

# libFuzzer over what reads what is hostile, FUZZ_SECONDS long each; what it finds is kept in $(B)/fuzz/NAME/found. A fuzzer
# may stand in for functions of ours (ld's --wrap), so that no service need run behind what it calls.
FUZZ_SECONDS ?= 60
FUZZERS := $(patsubst tests/fuzz/%.c,$(B)/fuzz/%,$(wildcard tests/fuzz/fuzz_*.c))

.PHONY: fuzz
fuzz:
	$(need_root)
	$(Q)$(MAKE) --no-print-directory B=$(B)/fuzz CC=$(CLANG) OPT='-O1 -g' \
		SANITIZE='-fsanitize=address,undefined,fuzzer-no-link -fno-sanitize-recover=all' $(FUZZERS)
	$(Q)B=$(B) tests/fuzz/run $(FUZZ_SECONDS)

$(B)/fuzz_%: $(B)/tests/fuzz/fuzz_%.o $(B)/libdaemon.a $(B)/libcore.a $(B)/libcommon.a
	$(call say,LINK,$@)
	$(Q)$(CC) $(LDFLAGS) -fsanitize=fuzzer $(patsubst %,-Wl$(comma)--wrap=%,$(FUZZ_WRAP_$*)) -o $@ $^ $(CORE_LIBS)

comma := ,
FUZZ_WRAP_varlink := track_count track_counter track_counters track_latencies track_programs manager_find \
	manager_catch_up inventory_sync inventory_list inventory_json inventory_count image_find gate_check \
	gate_scan_state capsule_start capsule_find capsule_each capsule_count capsule_count_running \
	capsule_set_forget_image cgroup_root_path job_start capsule_rejoin track_containers_missing injector_is_limited \
	audit_begin audit_allow audit_end audit_connection audit_json audit_problems

# Each call fails in turn, in a recapd that is built for it; with FAULTS_ALL=1 the long way.
.PHONY: check-faults
check-faults:
	$(need_root)
	$(Q)tools/setup
	$(Q)$(MAKE) --no-print-directory B=$(B) all helpers
	$(Q)$(MAKE) --no-print-directory FAULTS=1 B=$(B)/faults all
	$(Q)B=$(B) tests/system/run tests/system/90_fault.bats

# System tests under Debian's stock kernels, in emulation, which takes hours. SYSTEM=FILES: these instead;
# KERNELS=6.12: only this one.
KERNELS ?= 6.1 6.12

.PHONY: check-kernels
check-kernels: SYSTEM ?= all
check-kernels:
	$(need_root)
	$(Q)tools/setup
	$(Q)$(MAKE) --no-print-directory B=$(B) all helpers
	$(Q)B=$(B) SYSTEM='$(SYSTEM)' tests/vm/run $(KERNELS)

# The life of a capsule as a model; spin looks at all that can happen.
.PHONY: model
model:
	$(Q)B=$(B) tests/model/run

# Programs that tests run inside containers and capsules: static, since nothing else is there.
$(B)/tests/%: tests/system/%.c Makefile
	$(call say,CC,$<)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) -std=gnu17 -O2 -Wall -Wextra -Wno-unused-parameter -D_GNU_SOURCE -static -pthread -MMD -MP -o $@ $<

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

# ---- the shelf -----------------------------------------------------------------------------------
# CAPSULE=NAME: only that one. A newer package is taken when a capsule is built anew.
CAPSULES := $(patsubst capsules/%/Capsule,%,$(wildcard capsules/*/Capsule))

.PHONY: capsules
capsules: $(patsubst %,$(B)/capsules/%.tar,$(or $(CAPSULE),$(CAPSULES)))
	@:

# Its code is that of the gate. -w: SQLite warns of dlopen(3), which it is not asked to use.
$(B)/capsules/bin/vulnscan: capsules/vulnscan/vulnscan.c $(B)/libscan.a $(B)/libcore.a $(B)/libcommon.a
	$(call say,LINK,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(CPPFLAGS) $(filter-out -g,$(CFLAGS)) -s $(STATIC) -Wl,-w -o $@ $^ -lsqlite3 -ljson-c -lm

$(B)/capsules/vulnscan.tar: $(B)/capsules/bin/vulnscan

$(B)/capsules/bin/introspect: capsules/introspect/introspect.c $(B)/libcommon.a
	$(call say,LINK,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(CPPFLAGS) $(filter-out -g,$(CFLAGS)) -s $(STATIC) -o $@ $^ -lcap -ljson-c

$(B)/capsules/introspect.tar: $(B)/capsules/bin/introspect

.SECONDEXPANSION:
$(B)/capsules/%.tar: capsules/%/Capsule $$(filter-out capsules/$$*/README.md,$$(wildcard capsules/$$*/*)) tools/mkcapsule tools/mkoci
	$(call say,CAPSULE,$@)
	$(Q)tools/mkcapsule -o $@ -r $(B)/capsules/rootfs/$* -c $(B)/capsules/cache -b $(B)/capsules/bin capsules/$* >/dev/null

# ---- everything from a bare machine --------------------------------------------------------------
# What is missing is installed first, so that these begin where only git and make are.
need_root = @[ "$$(id -u)" -eq 0 ] || { echo "this needs root: sudo make $@" >&2; exit 1; }

.PHONY: check
check:
	$(Q)B=$(B) tools/check

# System tests with all programs under ASan and UBSan; SYSTEM=FILES: these instead of all.
.PHONY: check-sanitize
check-sanitize:
	$(need_root)
	$(Q)tools/setup
	$(Q)$(MAKE) --no-print-directory B=$(B)/sanitize $(SANITIZERS) all helpers
	$(Q)B=$(B)/sanitize RECAP_SANITIZED=1 RECAP_SHELF=$(B) tests/system/run $(SYSTEM)

# Lines and branches of user/ that unit and system tests reach; SYSTEM=FILES: these instead of all.
.PHONY: coverage
coverage:
	$(need_root)
	$(Q)tools/setup
	$(Q)$(MAKE) --no-print-directory B=$(B)/coverage COVERAGE=1 all helpers unit-programs
	$(Q)B=$(B)/coverage RECAP_SHELF=$(B) tools/coverage $(SYSTEM)

.PHONY: demo
demo:
	$(need_root)
	$(Q)tools/setup
	$(Q)$(MAKE) --no-print-directory all helpers
	$(Q)B=$(B) tools/demo

# BENCH=attach, inventory, overhead, image, load or hostile: only that one.
.PHONY: bench
bench:
	$(need_root)
	$(Q)tools/setup
	$(Q)$(MAKE) --no-print-directory all helpers $(BENCH_BIN)
	$(Q)B=$(B) tests/bench/run $(BENCH)

# Everything at once for DURATION seconds, or until recapd was killed KILLS times: see tests/soak/run.
.PHONY: soak
soak:
	$(need_root)
	$(Q)tools/setup
	$(Q)$(MAKE) --no-print-directory all helpers
	$(Q)B=$(B) tests/soak/run

.PHONY: ci
ci:
	$(Q).ci/run

# ---- installing ----------------------------------------------------------------------------------
# recapd looks for its workers and the shipped scanners below the PREFIX that it was built with: another one is another build.
$(B)/prefix: FORCE
	$(Q)mkdir -p $(@D)
	$(Q)echo $(PREFIX) | cmp -s - $@ || echo $(PREFIX) >$@

$(B)/user/recapd/job.o $(B)/user/core/gate_config.o: $(B)/prefix

.PHONY: FORCE
FORCE:

MAN_AT = $(DESTDIR)$(PREFIX)/share/man/man$(subst .,,$(suffix $(1)))/$(notdir $(1))

.PHONY: install
install: all
	install -D -m 755 $(B)/recapd $(DESTDIR)$(PREFIX)/sbin/recapd
	install -D -m 755 $(B)/recapctl $(DESTDIR)$(PREFIX)/bin/recapctl
	install -D -m 755 $(B)/recap-load $(DESTDIR)$(PREFIX)/libexec/recap/recap-load
	install -D -m 755 $(B)/recap-scan $(DESTDIR)$(PREFIX)/libexec/recap/recap-scan
	install -D -m 644 -t $(DESTDIR)$(PREFIX)/share/recap/scanners $(SCANNERS)
	install -D -m 644 -t $(DESTDIR)$(PREFIX)/share/recap include/recap/io.recap.varlink
	install -D -m 644 -t $(DESTDIR)$(PREFIX)/share/doc/recap $(GUIDES)
	install -d $(DESTDIR)$(PREFIX)/lib/systemd/system
	sed 's,/usr/local,$(PREFIX),' tools/recapd.service >$(DESTDIR)$(PREFIX)/lib/systemd/system/recapd.service
	set -e; $(foreach page,$(MAN),install -D -m 644 $(page) $(call MAN_AT,$(page));)

.PHONY: uninstall
uninstall:
	rm -f $(DESTDIR)$(PREFIX)/sbin/recapd $(DESTDIR)$(PREFIX)/bin/recapctl \
		$(DESTDIR)$(PREFIX)/libexec/recap/recap-load $(DESTDIR)$(PREFIX)/libexec/recap/recap-scan \
		$(DESTDIR)$(PREFIX)/lib/systemd/system/recapd.service \
		$(DESTDIR)$(PREFIX)/share/recap/io.recap.varlink \
		$(addprefix $(DESTDIR)$(PREFIX)/share/doc/recap/,$(notdir $(GUIDES))) \
		$(addprefix $(DESTDIR)$(PREFIX)/share/recap/scanners/,$(notdir $(SCANNERS))) $(foreach page,$(MAN),$(call MAN_AT,$(page)))
	for dir in libexec/recap share/recap/scanners share/recap share/doc/recap; do \
		[ ! -d $(DESTDIR)$(PREFIX)/$$dir ] || rmdir $(DESTDIR)$(PREFIX)/$$dir || exit; done
