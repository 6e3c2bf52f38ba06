# bulkhead: everything is built below $(B); `make help` lists the targets.
#
# Objects have real header dependencies (-MMD), nothing is written into the source tree, any -j works.
# Variants are folders of their own: `make SAN=1` builds with ASan and UBSan into build-san.

SAN ?=
B ?= $(if $(SAN),build-san,build)
PREFIX ?= /usr/local
DESTDIR ?=
CC := $(if $(filter default,$(origin CC)),gcc,$(CC))
# The first of these that is here, else the first of all, so that the error names it.
first = $(or $(firstword $(foreach t,$(1),$(shell command -v $(t) 2>/dev/null))),$(firstword $(1)))
CLANG := $(or $(CLANG),$(call first,clang-14 clang))
BPFTOOL := $(or $(BPFTOOL),$(call first,/usr/sbin/bpftool bpftool))
LLVM_STRIP := $(or $(LLVM_STRIP),$(call first,llvm-strip-14 llvm-strip))
# Whose types the kernel's side is compiled against. Any kernel's will do: what differs is relocated when it is loaded.
VMLINUX_BTF ?= /sys/kernel/btf/vmlinux

WARN := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wformat=2 -Wswitch-enum -Wvla -Wundef -Werror
SANFLAGS := -fsanitize=address,undefined -fno-omit-frame-pointer -fno-sanitize-recover=undefined
CFLAGS ?= -O2 -g
ALL_CFLAGS := -std=gnu11 -D_GNU_SOURCE -I. -I$(B)/gen $(WARN) $(CFLAGS) -fno-common \
	$(if $(SAN),$(SANFLAGS) -DBULKHEAD_SANITIZED=1,-fstack-protector-strong -D_FORTIFY_SOURCE=2) -fPIE
ALL_LDFLAGS := -pie -Wl,-z,relro,-z,now -Wl,--as-needed $(if $(SAN),$(SANFLAGS)) $(LDFLAGS)

VERSION := $(shell sed -n 's/^\#\# \[\([0-9][^]]*\)\].*/\1/p' CHANGELOG.md 2>/dev/null | head -n1)
ALL_CFLAGS += -DBULKHEAD_VERSION='"$(or $(VERSION),0.0.0)"'

# --- what is made of what ---------------------------------------------------------------------------------------------
# V=1 shows the commands.
Q := $(if $(V),,@)
say = $(if $(V),,@printf "  %-5s %s\n" $(1) $(2))

ROOMS := base policies cgroups bpf supervisor/plan supervisor/run supervisor/watch supervisor/stop supervisor/control supervisor
LIB_SRC := $(filter-out supervisor/main.c %.bpf.c,$(foreach r,$(ROOMS),$(wildcard $(r)/*.c)))
TOOL_SRC := $(wildcard tools/*.c tools/import/*.c)
TOOL_LIB_SRC := $(filter-out tools/main.c,$(TOOL_SRC))
UNIT_SRC := $(wildcard tests/unit/test_*.c)
HELPER_SRC := $(wildcard tests/helpers/*.c)
BENCH_SRC := $(wildcard tests/bench/*.c)
BPF_SRC := bpf/maps.bpf.c $(filter-out bpf/maps.bpf.c,$(wildcard bpf/*.bpf.c)) # libbpf 1.1 wants maps defined first

obj = $(patsubst %.c,$(B)/obj/%.o,$(1))
LIB := $(B)/libbulkhead.a
TOOL_LIB := $(B)/libtool.a
UNITS := $(patsubst tests/unit/%.c,$(B)/unit/%,$(UNIT_SRC))
HELPERS := $(patsubst tests/helpers/%.c,$(B)/helpers/%,$(HELPER_SRC))
TSANS := $(B)/tsan/test_work_api
BENCHES := $(patsubst tests/bench/%.c,$(B)/bench/%,$(BENCH_SRC))
PROGRAMS := $(B)/bulkheadd $(B)/bulkhead
MAN := $(patsubst docs/man/%.scd.in,$(B)/man/%,$(wildcard docs/man/*.scd.in))
HAVE_SCDOC := $(shell command -v scdoc)

LIBS := -lseccomp -linih -lcgroup -lbpf -lelf -lz -lsystemd -ljansson -lcap
TOOL_LIBS := $(LIBS) -lncursesw -ltinfo

.DEFAULT_GOAL := all
.PHONY: all man deps check coverage test unit unit-binaries helpers integration san tsan vm vm-12 vm-13 soak ci demo bench lint format install uninstall deb deb-12 deb-13 clean help
.DELETE_ON_ERROR:
.SECONDARY:

all: $(PROGRAMS) $(if $(HAVE_SCDOC),$(MAN)) ## build bulkheadd, bulkhead and, where scdoc is there, the man pages

$(B)/obj/%.o: %.c
	@mkdir -p $(@D)
	$(call say,CC,$<)
	$(Q)$(CC) $(ALL_CFLAGS) -MMD -MP -c $< -o $@

$(LIB): $(call obj,$(LIB_SRC))
	@rm -f $@
	$(call say,AR,$@)
	$(Q)ar rcsTP $@ $^

$(TOOL_LIB): $(call obj,$(TOOL_LIB_SRC))
	@rm -f $@
	$(call say,AR,$@)
	$(Q)ar rcsTP $@ $^

$(B)/bulkheadd: $(call obj,supervisor/main.c) $(LIB)
	$(call say,LD,$@)
	$(Q)$(CC) $(ALL_LDFLAGS) $^ $(LIBS) -o $@

$(B)/bulkhead: $(call obj,tools/main.c) $(TOOL_LIB) $(LIB)
	$(call say,LD,$@)
	$(Q)$(CC) $(ALL_LDFLAGS) $^ $(TOOL_LIBS) -o $@

$(B)/unit/%: $(B)/obj/tests/unit/%.o $(TOOL_LIB) $(LIB)
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(CC) $(ALL_LDFLAGS) $^ $(TOOL_LIBS) -lcmocka -o $@

# Programs that tests run as modules: small, static where they must be quick.
$(B)/helpers/%: tests/helpers/%.c tests/helpers/helper.h include/bulkhead/work.h
	@mkdir -p $(@D)
	$(call say,CC,$<)
	$(Q)gcc -std=gnu11 -D_GNU_SOURCE -I. -O2 -Wall -Wextra -Werror -static -pthread $< -o $@

# Tracking as the daemon does it, by its own loader.
$(B)/bench/switch: $(B)/obj/tests/bench/switch.o $(LIB)
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(CC) $(ALL_LDFLAGS) $^ $(LIBS) -o $@

$(B)/bench/%: tests/bench/%.c include/bulkhead/work.h
	@mkdir -p $(@D)
	$(call say,CC,$<)
	$(Q)gcc -std=gnu11 -D_GNU_SOURCE -I. -O2 -Wall -Wextra -Werror -static $< -o $@

# What threads and processes do at once, watched by another sanitizer, which cannot be had together with the first two.
$(B)/tsan/%: tests/unit/%.c tests/unit/work_page.h include/bulkhead/work.h
	@mkdir -p $(@D)
	$(call say,CC,$<)
	$(Q)$(CC) -std=gnu11 -D_GNU_SOURCE -I. $(WARN) -O1 -g -fsanitize=thread $< -lcmocka -pthread -o $@

# --- man pages --------------------------------------------------------------------------------------------------------
# Templates and the tables of the programs make scdoc's source, which makes the pages. Dated as the release is.
RELEASED = $(shell date -u -d "$$(sed -n 's/^\#\# \[[0-9].*\] - //p' CHANGELOG.md | head -n1)" +%s)

man: $(MAN) ## build the man pages (scdoc)

$(B)/man/generate: $(call obj,docs/man/generate.c) $(TOOL_LIB) $(LIB)
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(CC) $(ALL_LDFLAGS) $^ $(TOOL_LIBS) -o $@

$(MAN:=.scd): $(B)/man/%.scd: docs/man/%.scd.in $(B)/man/generate
	$(call say,GEN,$@)
	$(Q)$(B)/man/generate $< > $@

$(MAN): %: %.scd
	$(call say,MAN,$@)
	$(Q)SOURCE_DATE_EPOCH=$${SOURCE_DATE_EPOCH:-$(RELEASED)} scdoc < $< > $@

$(B)/unit/test_manual: | $(MAN:=.scd) $(if $(HAVE_SCDOC),$(MAN))

# --- the kernel's side ------------------------------------------------------------------------------------------------
# One object of all *.bpf.c, stripped of DWARF (645 to 30 KB), as a skeleton. vmlinux.h is this kernel's own.
BPF_ARCH := $(shell uname -m | sed 's/x86_64/x86/; s/aarch64/arm64/')
$(B)/gen/vmlinux.h:
	@mkdir -p $(@D)
	@test -r $(VMLINUX_BTF) || { echo "no $(VMLINUX_BTF): build on a kernel with CONFIG_DEBUG_INFO_BTF, or name a file: VMLINUX_BTF=" >&2; exit 1; }
	$(call say,GEN,$@)
	$(Q)$(BPFTOOL) btf dump file $(VMLINUX_BTF) format c > $@.tmp && mv $@.tmp $@

$(B)/bpf/%.bpf.o: bpf/%.bpf.c $(B)/gen/vmlinux.h
	@mkdir -p $(@D)
	$(call say,BPF,$<)
	$(Q)$(CLANG) -O2 -g -target bpf -mcpu=v3 -D__TARGET_ARCH_$(BPF_ARCH) -I. -I$(B)/gen -Wall -Werror -MMD -MP -c $< -o $@
	$(Q)$(LLVM_STRIP) -g $@

$(B)/bpf/bulkhead.o: $(patsubst bpf/%.bpf.c,$(B)/bpf/%.bpf.o,$(BPF_SRC))
	$(call say,LINK,$@)
	$(Q)$(BPFTOOL) gen object $@ $^

$(B)/gen/bulkhead.skel.h: $(B)/bpf/bulkhead.o
	@mkdir -p $(@D)
	$(call say,GEN,$@)
	$(Q){ echo '// NOLINTBEGIN'; $(BPFTOOL) gen skeleton $< name bulkhead_bpf && echo '// NOLINTEND'; } > $@.tmp && mv $@.tmp $@

$(call obj,$(wildcard bpf/*.c)): | $(if $(BPF_SRC),$(B)/gen/bulkhead.skel.h)

-include $(patsubst %.o,%.d,$(call obj,$(LIB_SRC) $(TOOL_SRC) $(UNIT_SRC) supervisor/main.c docs/man/generate.c)) $(patsubst bpf/%.bpf.c,$(B)/bpf/%.bpf.d,$(BPF_SRC))

# --- checks -----------------------------------------------------------------------------------------------------------
deps: ## install what is missing from Debian (root)
	tools/setup

unit-binaries: $(UNITS) ## build the unit tests and run none

helpers: $(HELPERS) ## build the programs that tests run as modules

unit: $(UNITS) ## run the unit tests
	@tests/run-units $(UNITS)

integration: all $(HELPERS) ## run the integration tests on this kernel (root)
	tests/run-integration $(B)

tsan: $(TSANS) ## run under ThreadSanitizer what threads and processes do at once
	@TSAN_OPTIONS=halt_on_error=1 tests/run-units $(TSANS)

san: tsan ## build with ASan and UBSan and run units and integration with it; ThreadSanitizer first
	$(MAKE) SAN=1 unit integration

# Of what decides when work may be cut off. COVERAGE_ARGS goes to pytest ("-k stop"), COVERED names other files.
COVERED ?= supervisor/stop supervisor/drains.c supervisor/watch/work.c
coverage: ## what the tests run of the drain and the phases of a stop, by file and line (gcov; root)
	find build-cov -name '*.gcda' -delete 2>/dev/null || true
	$(MAKE) B=build-cov CFLAGS='-O1 -g --coverage -fprofile-update=atomic' LDFLAGS=--coverage all helpers unit
	tests/run-integration build-cov $(COVERAGE_ARGS)
	tools/coverage build-cov $(COVERED)

test: deps ## install what is missing, build, lint, run every test, again under sanitizers
	$(MAKE) all
	$(MAKE) lint
	$(MAKE) unit
	$(MAKE) integration
	$(MAKE) san

check: unit ## alias of unit

# Debian guests under qemu, one or both releases side by side; the tests that must be found inside are asked for here, of our
# own build; VM_ARGS goes to pytest ("-k whole_suite").
vm: deps ## run every test in Debian 12 and 13 guests, with the package installed (root; vm-12 or vm-13 for one)
	tools/setup vm
	$(MAKE) all
	tests/vm/run 12 13 $(if $(VM_ARGS),-- $(VM_ARGS))

vm-12 vm-13: vm-%: deps # in one of them
	tools/setup vm
	$(MAKE) all
	tests/vm/run $* $(if $(VM_ARGS),-- $(VM_ARGS))

soak: deps ## in both guests, stop servers under load 50 times instead of 5 (root; STOPS=200)
	tools/setup vm
	$(MAKE) all
	BULKHEAD_VM_TESTS=tests/vm/soak.py BULKHEAD_TEST_STOPS=$(or $(STOPS),50) tests/vm/run 12 13

ci: ## test and vm, beside each other (root)
	tests/ci

demo: deps ## install what is missing, build, and show the story in a minute (root)
	$(MAKE) all $(HELPERS)
	tools/demo $(B)

# BENCH names the parts wanted.
BENCH ?= work run cost
bench: all $(BENCHES) ## compare with the bare floor (BENCH=run), and what counting costs (BENCH=work, cost) (root; BENCH_N=10,100,1000)
	$(if $(filter work,$(BENCH)),$(B)/bench/work)
	$(if $(filter run,$(BENCH)),tests/bench/run $(B))
	$(if $(filter cost,$(BENCH)),tests/bench/cost $(B))

# What tools/lint compiles headers with.
.PHONY: cflags
cflags:
	@:$(info $(ALL_CFLAGS))

# What it looks for circles in.
.PHONY: objects
objects: $(call obj,$(LIB_SRC) $(TOOL_SRC) supervisor/main.c)

lint: $(if $(BPF_SRC),$(B)/gen/bulkhead.skel.h) ## format, layers, circles, headers, clang-tidy and cppcheck on what changed
	tools/lint $(B)

format: ## rewrite all C in the house's format
	clang-format -i $$(git ls-files '*.c' '*.h')

# --- install ----------------------------------------------------------------------------------------------------------
# The configuration goes where SYSCONFDIR says (the package: /etc), and nowhere where it does not.
SYSCONFDIR ?=
BASH_COMPLETIONS ?= $(PREFIX)/share/bash-completion/completions
ZSH_COMPLETIONS ?= $(PREFIX)/share/zsh/site-functions
UNITS_DIR ?= $(PREFIX)/lib/systemd/system
# No Python looks there by itself; the package puts it where Debian's does.
PYTHON_DIR ?= $(PREFIX)/share/bulkhead/python

install: all ## install below $(DESTDIR)$(PREFIX)
	install -d $(DESTDIR)$(PREFIX)/sbin $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/share/bulkhead/profiles $(DESTDIR)$(PREFIX)/share/bulkhead/examples \
		$(DESTDIR)$(UNITS_DIR) $(DESTDIR)$(BASH_COMPLETIONS) $(DESTDIR)$(ZSH_COMPLETIONS) \
		$(DESTDIR)$(PREFIX)/include/bulkhead $(DESTDIR)$(PYTHON_DIR)
	install -m 755 $(B)/bulkheadd $(DESTDIR)$(PREFIX)/sbin/bulkheadd
	install -m 755 $(B)/bulkhead $(DESTDIR)$(PREFIX)/bin/bulkhead
	install -m 644 policies/profiles/*.ini $(DESTDIR)$(PREFIX)/share/bulkhead/profiles/
	cp -R --no-preserve=ownership policies/examples/. $(DESTDIR)$(PREFIX)/share/bulkhead/examples/
	install -m 644 policies/bulkhead.ini $(DESTDIR)$(PREFIX)/share/bulkhead/bulkhead.ini
	install -m 644 include/bulkhead/work.h $(DESTDIR)$(PREFIX)/include/bulkhead/work.h
	install -m 644 include/bulkhead_work.py $(DESTDIR)$(PYTHON_DIR)/bulkhead_work.py
	sed 's|@PREFIX@|$(PREFIX)|g' tools/systemd/bulkhead.service > $(DESTDIR)$(UNITS_DIR)/bulkhead.service
	chmod 644 $(DESTDIR)$(UNITS_DIR)/bulkhead.service
	install -m 644 tools/completion/bulkhead.bash $(DESTDIR)$(BASH_COMPLETIONS)/bulkhead
	ln -sf bulkhead $(DESTDIR)$(BASH_COMPLETIONS)/bulkheadd
	install -m 644 tools/completion/_bulkhead $(DESTDIR)$(ZSH_COMPLETIONS)/_bulkhead
	@for page in $(if $(HAVE_SCDOC),$(MAN)); do \
		install -D -m 644 $$page $(DESTDIR)$(PREFIX)/share/man/man$${page##*.}/$${page##*/} || exit 1; \
	done
ifneq ($(SYSCONFDIR),)
	install -d $(DESTDIR)$(SYSCONFDIR)/bulkhead/modules.d $(DESTDIR)$(SYSCONFDIR)/bulkhead/profiles
	install -m 644 policies/bulkhead.ini $(DESTDIR)$(SYSCONFDIR)/bulkhead/bulkhead.ini
endif

uninstall: ## remove what install put there, but for the configuration
	rm -f $(DESTDIR)$(PREFIX)/sbin/bulkheadd $(DESTDIR)$(PREFIX)/bin/bulkhead $(DESTDIR)$(UNITS_DIR)/bulkhead.service \
		$(DESTDIR)$(PREFIX)/include/bulkhead/work.h $(DESTDIR)$(PYTHON_DIR)/bulkhead_work.py \
		$(DESTDIR)$(BASH_COMPLETIONS)/bulkhead $(DESTDIR)$(BASH_COMPLETIONS)/bulkheadd $(DESTDIR)$(ZSH_COMPLETIONS)/_bulkhead \
		$(foreach page,$(notdir $(MAN)),$(DESTDIR)$(PREFIX)/share/man/man$(lastword $(subst ., ,$(page)))/$(page))
	rm -rf $(DESTDIR)$(PREFIX)/share/bulkhead
	[ ! -d $(DESTDIR)$(PREFIX)/include/bulkhead ] || rmdir --ignore-fail-on-non-empty $(DESTDIR)$(PREFIX)/include/bulkhead

# --- packages ---------------------------------------------------------------------------------------------------------
deb: ## build the packages for Debian 12 and 13, each in a clean tree of its release (root)
	tools/build-deb 12 $(B)/deb/12
	tools/build-deb 13 $(B)/deb/13

deb-12 deb-13: deb-%: # one of them
	tools/build-deb $* $(B)/deb/$*

clean: ## remove all that was built
	rm -rf build build-san build-cov

help: ## this list
	@sed -n 's/^\([a-z][a-z-]*\):.*## \(.*\)/\1\t\2/p' $(MAKEFILE_LIST) | sort | awk -F'\t' '{ printf "  %-14s %s\n", $$1, $$2 }'
	@echo "  variables: B (build folder) SAN=1 V=1 DESTDIR PREFIX CC CFLAGS"
