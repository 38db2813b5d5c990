# fcvm: one non-recursive Makefile. `make help` lists the targets.
#
# Every folder is compiled with only the -iquote paths it may include (docs/architecture.md, "Who
# may include whom"): a forbidden include is "No such file", not a review comment.

MAKEFLAGS += --no-builtin-rules
.DELETE_ON_ERROR:
.SUFFIXES:
.DEFAULT_GOAL := all

B ?= build
CC := $(if $(FUZZ),clang,gcc)
MUSL_CC ?= musl-gcc
AR ?= ar
V ?= 0
Q := $(if $(filter 1,$(V)),,@)

# --- flags -----------------------------------------------------------------------------------
WARN := -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wsign-conversion -Wcast-qual -Wformat=2 \
	-Wundef -Wstrict-prototypes -Wmissing-prototypes -Wold-style-definition -Wwrite-strings \
	-Wvla -Wpointer-arith -Wnull-dereference -Wswitch-enum -fno-common
WARN_GCC := -Wduplicated-cond -Wduplicated-branches -Wlogical-op -Wimplicit-fallthrough=5
WARN_CLANG := -Wimplicit-fallthrough -Wno-gnu-statement-expression
is_clang := $(findstring clang,$(CC))
WARN += $(if $(is_clang),$(WARN_CLANG),$(WARN_GCC))
WERROR ?= $(if $(filter true,$(CI)),1)
STD := -std=gnu17 -D_GNU_SOURCE
OPT ?= -O2 -g
HARDEN := -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2 -fstack-protector-strong -fstack-clash-protection -fPIE
LDHARDEN := -pie -Wl,-z,relro,-z,now -Wl,--as-needed
ifdef SAN
OPT := -O1 -g -fno-omit-frame-pointer
HARDEN := -fPIE
SANFLAGS := -fsanitize=address,undefined -fno-sanitize-recover=all
endif
ifdef FUZZ
OPT := -O1 -g -fno-omit-frame-pointer
HARDEN := -fPIE
SANFLAGS := -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all
endif
ifdef COVERAGE
OPT := -O0 -g
HARDEN := -fPIE
SANFLAGS := --coverage
endif
VERSION := 0.1.0
CFLAGS_ALL = $(STD) $(OPT) $(WARN) $(if $(WERROR),-Werror) $(HARDEN) $(SANFLAGS) \
	-include runner/base/banned.h -DFCVM_VERSION='"$(VERSION)"' $(if $(HOOKS),-DFCVM_TEST_HOOKS)
LDFLAGS_ALL = $(LDHARDEN) $(SANFLAGS)
LIBS := -lnl-route-3 -lnl-3 -lnftables -lnftnl -lmnl -lyaml -ljson-c -lcrypto -larchive -llz4 -lzstd -lpthread

# libnl keeps its headers in a folder of their own.
$(B)/obj/runner/net/%.o $(B)/obj/tests/%.o: CFLAGS_ALL += -isystem /usr/include/libnl3

# --- folders and what each may include ---------------------------------------------------------
base_inc      := runner/base
host_inc      := runner/host $(base_inc)
net_inc       := runner/net $(host_inc)
engine_inc    := runner/engine $(host_inc)
memory_inc    := runner/memory $(host_inc)
guest_inc     := runner/guest agent $(host_inc)
storage_inc   := runner/storage $(host_inc)
image_inc     := runner/image $(storage_inc)
specs_inc     := specs $(base_inc)
agent_inc     := agent fuse-pipe $(base_inc)
fuse-pipe_inc := fuse-pipe $(base_inc)
supervise_inc := runner/supervise runner/net runner/engine runner/memory runner/guest runner/storage \
		 agent fuse-pipe $(host_inc)
resource_inc  := runner/resource specs runner/storage runner/image runner/memory runner/engine \
		 runner/net runner/supervise $(host_inc)
reconcile_inc := runner/reconcile runner/resource runner/net specs $(host_inc)
cmd_inc       := runner/cmd runner runner/reconcile runner/resource runner/supervise runner/engine \
		 runner/memory runner/net runner/guest runner/storage runner/image agent specs \
		 fuse-pipe $(host_inc)

RUNNER_FOLDERS := base host net engine memory guest storage image supervise resource reconcile cmd
FOLDERS := $(RUNNER_FOLDERS) specs agent fuse-pipe
dir_of = $(if $(filter $(1),$(RUNNER_FOLDERS)),runner/$(1),$(1))
# Programs of their own inside a folder: not in its archive.
NOT_IN_LIB := agent/main.c runner/memory/shim.c fuse-pipe/server_main.c fuse-pipe/mount_main.c
src_of = $(filter-out $(NOT_IN_LIB),$(wildcard $(call dir_of,$(1))/*.c))
obj_of = $(patsubst %.c,$(B)/obj/%.o,$(1))

define folder_rules
$(B)/obj/$(call dir_of,$(1))/%.o: $(call dir_of,$(1))/%.c | $(B)/.deps
	@mkdir -p $$(@D)
	$$(Q)$$(CC) $$(CFLAGS_ALL) $$(addprefix -iquote ,$$($(1)_inc)) -MMD -MP -c $$< -o $$@
$(B)/lib/$(1).a: $(call obj_of,$(call src_of,$(1)))
	@mkdir -p $$(@D); rm -f $$@
	$$(Q)$$(AR) rcsD $$@ $$^
endef
$(foreach f,$(FOLDERS),$(eval $(call folder_rules,$(f))))
FOLDER_LIBS := $(foreach f,$(FOLDERS),$(B)/lib/$(f).a)

# --- products ----------------------------------------------------------------------------------
.PHONY: all
FUSE_TOOLS := $(B)/fuse-pipe-server $(B)/fuse-pipe-mount
all: $(B)/fcvm $(B)/fc-agent $(B)/libfcvm-uffd.so $(FUSE_TOOLS) ## build fcvm (agent and shim are embedded in it)

$(B)/obj/runner/%.o: runner/%.c | $(B)/.deps
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS_ALL) $(addprefix -iquote ,$(cmd_inc)) -MMD -MP -c $< -o $@
$(B)/obj/embed.o: runner/image/embed.S $(B)/fc-agent $(B)/libfcvm-uffd.so
	@mkdir -p $(@D)
	$(Q)$(CC) -c -I$(B) $< -o $@
$(B)/fcvm: $(call obj_of,$(wildcard runner/*.c)) $(B)/obj/embed.o $(FOLDER_LIBS)
	$(Q)$(CC) $(LDFLAGS_ALL) -o $@ $(filter %.o,$^) -Wl,--start-group $(FOLDER_LIBS) -Wl,--end-group $(LIBS)
	@echo "built $@"

# The two ends of fuse-pipe without a VM between them.
$(B)/fuse-pipe-%: $(B)/obj/fuse-pipe/%_main.o $(B)/lib/fuse-pipe.a $(B)/lib/base.a
	$(Q)$(CC) $(LDFLAGS_ALL) -o $@ $^ -lcrypto -lpthread

# The agent: static musl, libc only, the parts of base that need no library.
AGENT_BASE := err cleanup xalloc buf strv parse loop io file file_tree frame tlv log target
AGENT_FUSE := guest_groups guest_link guest_mount guest_pump guest_queue guest_records guest_reqs \
	fp_wire
AGENT_SRC := $(wildcard agent/*.c) $(patsubst %,fuse-pipe/%.c,$(AGENT_FUSE)) \
	$(patsubst %,runner/base/%.c,$(AGENT_BASE))
AGENT_OBJ := $(patsubst %.c,$(B)/obj/musl/%.o,$(AGENT_SRC))
AGENT_CFLAGS := $(STD) -Os -g0 $(filter-out $(WARN_CLANG),$(WARN)) $(if $(is_clang),$(WARN_GCC)) \
	$(if $(WERROR),-Werror) -fstack-protector-strong -ffunction-sections \
	-fdata-sections -idirafter /usr/include -idirafter /usr/include/x86_64-linux-gnu \
	-include runner/base/banned.h -DFCVM_VERSION='"$(VERSION)"' \
	$(addprefix -iquote ,$(agent_inc))
$(B)/obj/musl/%.o: %.c | $(B)/.deps
	@mkdir -p $(@D)
	$(Q)$(MUSL_CC) $(AGENT_CFLAGS) -MMD -MP -c $< -o $@
$(B)/fc-agent: $(AGENT_OBJ)
	$(Q)$(MUSL_CC) -static -Wl,--gc-sections -s -o $@ $^

# The shim is preloaded into QEMU: no sanitizer, nothing but libc.
$(B)/libfcvm-uffd.so: runner/memory/shim.c | $(B)/.deps
	@mkdir -p $(@D)
	$(Q)$(CC) $(STD) -O2 -g0 $(WARN) $(if $(WERROR),-Werror) -fPIC -shared -fvisibility=hidden \
		-fstack-protector-strong -Wl,-z,relro,-z,now -s -o $@ $<

# --- examples ----------------------------------------------------------------------------------
# The hello image: a static server and the tool that packs it, both built here; no network, no root.
$(B)/examples/hello-server: examples/hello/hello.c | $(B)/.deps
	@mkdir -p $(@D)
	$(Q)$(MUSL_CC) $(STD) -Os -Wall -Wextra $(if $(WERROR),-Werror) -static -s -o $@ $<
$(B)/examples/pack: examples/hello/pack.c | $(B)/.deps
	@mkdir -p $(@D)
	$(Q)$(CC) $(STD) -O2 -Wall -Wextra $(if $(WERROR),-Werror) -o $@ $< -larchive -lcrypto
$(B)/examples/hello.oci.tar: $(B)/examples/pack $(B)/examples/hello-server
	$(Q)$< $(B)/examples/hello-server $@

# --- tests -------------------------------------------------------------------------------------
# What runs on both sides of a mount, on the host and in guests: libc only.
POSIX_OBJ := $(call obj_of,$(wildcard tests/posix/*.c))
SUPPORT_OBJ := $(call obj_of,$(wildcard tests/support/*.c))
TEST_INC := tests/support tests/posix $(cmd_inc)
$(B)/obj/tests/%.o: tests/%.c | $(B)/.deps
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS_ALL) -Wno-pedantic $(addprefix -iquote ,$(TEST_INC)) -DTEST_BUILD_DIR='"$(B)"' \
		-MMD -MP -c $< -o $@
# A folder's tests link what the folder may include and nothing more.
libs_of = $(foreach d,$(notdir $($(1)_inc)),$(if $(filter $(d),$(FOLDERS)),$(B)/lib/$(d).a))
link_test = $(CC) $(LDFLAGS_ALL) -o $@ $(filter %.o,$^) -Wl,--start-group $(filter %.a,$^) \
	-Wl,--end-group $(LIBS)
define unit_rules
$(B)/tests/unit-$(1): $(call obj_of,$(wildcard tests/unit/$(1)/*.c)) $(SUPPORT_OBJ) \
		$(sort $(call libs_of,$(1)) $(call libs_of,host) \
		$(if $(filter resource reconcile,$(1)),$(filter-out $(B)/lib/cmd.a,$(FOLDER_LIBS)))) \
		$(if $(filter image resource reconcile cmd,$(1)),$(B)/obj/embed.o)
	@mkdir -p $$(@D)
	$$(Q)$$(link_test) -lcriterion
endef
UNIT_FOLDERS := $(sort $(notdir $(patsubst %/,%,$(dir $(wildcard tests/unit/*/*.c)))))
$(foreach f,$(UNIT_FOLDERS),$(eval $(call unit_rules,$(f))))
UNIT_BINS := $(foreach f,$(UNIT_FOLDERS),$(B)/tests/unit-$(f))

FAKE_LIBS := $(foreach f,base host agent fuse-pipe,$(B)/lib/$(f).a)
FAKES := $(patsubst tests/fakes/%.c,$(B)/tests/%,$(wildcard tests/fakes/*.c))
$(FAKES): $(B)/tests/%: $(B)/obj/tests/fakes/%.o $(FAKE_LIBS)
	@mkdir -p $(@D)
	$(Q)$(link_test)
# A guest of our own for real engines where ring 0 is emulated. 32-bit code in a 64-bit ELF, as PVH
# enters it: the compiler's text goes to the assembler as .code32.
GUEST_CFLAGS := -std=gnu17 -O2 -m32 -march=i386 -ffreestanding -fno-pic -fno-pie -fno-builtin \
	-fno-stack-protector -fcf-protection=none -fno-asynchronous-unwind-tables -mno-sse -Wall -Wextra -Werror
$(B)/tests/tiny-guest: tests/guest/tiny.c tests/guest/start.S tests/guest/tiny.ld tests/guest/tiny.h
	@mkdir -p $(@D)
	$(Q){ echo .code32; gcc $(GUEST_CFLAGS) -S -o - $<; } >$@.s
	$(Q)gcc -c -x assembler $@.s -o $@.o
	$(Q)gcc -c tests/guest/start.S -o $@-start.o
	$(Q)ld -m elf_x86_64 --no-warn-rwx-segments -z max-page-size=4096 --build-id=none -T tests/guest/tiny.ld -o $@ $@-start.o $@.o
	@rm -f $@.s $@.o $@-start.o
# What tests run inside guests.
$(B)/tests/volume_tool: tests/guest/volume_tool.c | $(B)/.deps
	@mkdir -p $(@D)
	$(Q)$(MUSL_CC) $(STD) -Os -Wall -Wextra $(if $(WERROR),-Werror) -static -s -o $@ $<
$(B)/tests/posix_smoke: $(B)/obj/tests/guest/posix_smoke.o $(POSIX_OBJ) $(B)/lib/base.a
	@mkdir -p $(@D)
	$(Q)$(CC) -static -s -o $@ $^
# Suites talk to supervisors through their client, too.
SUITE_LIBS := $(FAKE_LIBS) $(foreach f,guest net engine memory storage supervise fuse-pipe,$(B)/lib/$(f).a)
$(B)/tests/integration: | $(FUSE_TOOLS)
# The shim's tests preload the real library into a probe.
$(B)/tests/unit-memory: | $(B)/libfcvm-uffd.so $(B)/tests/shim_probe
$(B)/tests/unit-engine: | $(B)/tests/fake_firecracker $(B)/tests/fake_jailer $(B)/tests/tiny-guest
$(B)/tests/unit-supervise: | $(B)/tests/fake_volserver
$(B)/tests/vm $(B)/tests/bench-firecracker: | $(B)/tests/tiny-guest
.PHONY: fakes
fakes: $(FAKES)
# Real guests live in the same little internet as the unit tests of networks.
vm_world := $(patsubst %,tests/unit/net/net_%.c,world place talk dns)
define suite_rules
$(B)/tests/$(1): $(call obj_of,$(wildcard tests/$(1)/*.c) $($(1)_world)) $(SUPPORT_OBJ) $(SUITE_LIBS)
	@mkdir -p $$(@D)
	$$(Q)$$(link_test) -lcriterion
endef
fuse_world := $(wildcard tests/posix/*.c)
$(foreach s,integration vm fuse,$(eval $(call suite_rules,$(s))))
$(B)/tests/vm: | $(B)/tests/volume_tool $(B)/tests/posix_smoke $(B)/examples/hello.oci.tar
# It runs the two programs.
$(B)/tests/fuse: | $(B)/fuse-pipe-mount $(B)/fuse-pipe-server

.PHONY: unit-%
unit-%: $(B)/tests/unit-% ## build and run one folder's unit tests, e.g. make unit-specs
	$(B)/tests/unit-$*

.PHONY: help
help: ## list the targets
	@sed -n 's/^\([a-z%-]*\):.*## /\1\t/p' Makefile | expand -t 18

$(B)/.deps:
	@mkdir -p $(B) && touch $@

-include $(shell test -d $(B)/obj && find $(B)/obj -name '*.d')

# --- the two commands of the README --------------------------------------------------------------
# Under sudo the tree stays the caller's: root only installs and runs.
as_user := $(if $(SUDO_USER),$(if $(filter root,$(SUDO_USER)),,runuser -u $(SUDO_USER) --))
nproc := $(shell nproc)
jobs = $(if $(findstring jobserver,$(MAKEFLAGS)),,-j$(nproc))

.PHONY: packages demo test check check-san check-fuse check-vm
packages:
	@.ci/install

demo: packages ## install, build, apply examples/hello.yaml, exec in a clone, scale, destroy
	@$(as_user) $(MAKE) --no-print-directory $(jobs) all $(B)/examples/hello.oci.tar
	@examples/demo

RESULTS := $(B)/results
test: packages ## install, build and run every suite; the last line is the count
	@rm -rf $(RESULTS)
	@$(as_user) $(MAKE) --no-print-directory $(jobs) test-programs
	@$(as_user) $(MAKE) --no-print-directory $(jobs) B=$(B)/san SAN=1 san-programs
	@$(MAKE) --no-print-directory check-only san-only fuse-only vm-only
	@tests/run $(RESULTS) --total

check: ## unit and integration tests against fakes, corpus replay
	@rm -rf $(RESULTS)
	@$(MAKE) --no-print-directory $(jobs) test-programs
	@$(MAKE) --no-print-directory check-only
	@tests/run $(RESULTS) --total

check-san: ## the same under ASan and UBSan
	@rm -rf $(RESULTS)
	@$(MAKE) --no-print-directory $(jobs) B=$(B)/san SAN=1 san-programs
	@$(MAKE) --no-print-directory san-only
	@tests/run $(RESULTS) --total

check-fuse: ## mounted directories on ext4 and btrfs (root); FULL=1 for all of the long runs
	@rm -rf $(RESULTS)
	@$(MAKE) --no-print-directory $(jobs) test-programs
	@$(MAKE) --no-print-directory fuse-only
	@tests/run $(RESULTS) --total

check-vm: ## real engine, real guests (root)
	@rm -rf $(RESULTS)
	@$(MAKE) --no-print-directory $(jobs) test-programs
	@$(MAKE) --no-print-directory vm-only
	@tests/run $(RESULTS) --total

FUZZ_TARGETS := $(patsubst tests/fuzz/fuzz_%.c,%,$(wildcard tests/fuzz/fuzz_*.c))
REPLAYS := $(foreach t,$(FUZZ_TARGETS),$(B)/tests/replay-$(t))
FUZZ_LIBS := $(filter-out $(B)/lib/cmd.a,$(FOLDER_LIBS))
define fuzz_rules
$(B)/tests/replay-$(1): $(B)/obj/tests/fuzz/fuzz_$(1).o $(B)/obj/tests/fuzz/replay.o $(FUZZ_LIBS) $(B)/obj/embed.o
	@mkdir -p $$(@D)
	$$(Q)$$(link_test) -lcriterion
$(B)/tests/fuzz-$(1): $(B)/obj/tests/fuzz/fuzz_$(1).o $(FUZZ_LIBS) $(B)/obj/embed.o
	@mkdir -p $$(@D)
	$$(Q)$$(link_test) -fsanitize=fuzzer
endef
$(foreach t,$(FUZZ_TARGETS),$(eval $(call fuzz_rules,$(t))))

.PHONY: test-programs san-programs coverage-programs check-only san-only fuse-only vm-only
test-programs: all $(UNIT_BINS) $(FAKES) $(REPLAYS) $(B)/hooks/fcvm $(B)/tests/integration $(B)/tests/fuse $(B)/tests/vm $(B)/examples/hello.oci.tar
san-programs: coverage-programs $(B)/hooks/fcvm
# Without kill points: gcovr cannot merge two builds of one file.
coverage-programs: all $(UNIT_BINS) $(FAKES) $(REPLAYS) $(B)/tests/integration
# A build with kill points, for the tests that kill apply at every journal write.
$(B)/hooks/fcvm: FORCE
	@$(MAKE) --no-print-directory B=$(B)/hooks HOOKS=1 $(B)/hooks/fcvm
FORCE:
# These tests wait for other processes most of the time: two for each CPU.
WAITS := -j$(shell expr 2 '*' $(nproc))
check-only:
	@for f in $(UNIT_FOLDERS); do tests/run $(RESULTS) unit-$$f $(B)/tests/unit-$$f; done
	@for t in $(FUZZ_TARGETS); do tests/run $(RESULTS) corpus-$$t $(B)/tests/replay-$$t; done
	@tests/run $(RESULTS) integration $(B)/tests/integration $(WAITS)
san-only:
	@for f in $(UNIT_FOLDERS); do tests/run $(RESULTS) san-unit-$$f $(B)/san/tests/unit-$$f; done
	@for t in $(FUZZ_TARGETS); do tests/run $(RESULTS) san-corpus-$$t $(B)/san/tests/replay-$$t; done
	@FCVM=$(B)/san/fcvm tests/run $(RESULTS) san-integration $(B)/san/tests/integration $(WAITS)
fuse-only:
	@$(if $(FULL),FCVM_FUSE_FULL=1) tests/run $(RESULTS) fuse $(B)/tests/fuse -j2
vm-only:
	@tests/run $(RESULTS) vm $(B)/tests/vm -j1

# --- quality -------------------------------------------------------------------------------------
.PHONY: fmt lint fuzz coverage docs bench soak mutation test-fresh install setup-btrfs clean
fmt: ## clang-format every source
	clang-format -i $$(git ls-files -co --exclude-standard '*.c' '*.h')
lint: ## format, clang-tidy, cppcheck, gcc -fanalyzer, sizes, shellcheck, codespell
	@.ci/lint
SECS ?= 60
SEED ?= 0
T ?= $(FUZZ_TARGETS)
fuzz: ## clang libFuzzer, e.g. make fuzz T=fleet_yaml SECS=60
	@$(MAKE) --no-print-directory $(jobs) B=$(B)/fuzz FUZZ=1 fuzz-programs
	@for t in $(T); do mkdir -p $(B)/fuzz/corpus/$$t; \
	  echo "fuzz $$t for $(SECS) s"; \
	  $(B)/fuzz/tests/fuzz-$$t -max_total_time=$(SECS) -seed=$(SEED) -timeout=10 -rss_limit_mb=2048 -verbosity=0 \
	    -print_final_stats=1 -artifact_prefix=$(B)/fuzz/$$t- $(B)/fuzz/corpus/$$t \
	    tests/fuzz/corpus/$$t || exit 1; \
	done
.PHONY: fuzz-programs
fuzz-programs: $(foreach t,$(T),$(B)/tests/fuzz-$(t))
docs: $(B)/fcvm ## regenerate what is generated: docs/spec.md docs/commands.md schemas/
	@$(B)/fcvm internal docs spec >docs/spec.md
	@$(B)/fcvm internal docs commands >docs/commands.md
	@$(B)/fcvm schema >schemas/fleet.v1.schema.json
PREFIX ?= /usr/local
install: $(B)/fcvm ## install the one binary
	install -D -m 0755 $(B)/fcvm $(DESTDIR)$(PREFIX)/bin/fcvm
setup-btrfs: packages ## put the data directory on btrfs in a loop file: clones share disk blocks
	@.ci/setup-btrfs
clean: ## remove the build directory
	rm -rf $(B)

BENCHES := $(patsubst tests/bench/bench_%.c,$(B)/tests/bench-%,$(wildcard tests/bench/bench_*.c))
BENCH_OBJ := $(call obj_of,$(filter-out $(wildcard tests/bench/bench_*.c),$(wildcard tests/bench/*.c)))
$(B)/tests/bench-%: $(B)/obj/tests/bench/bench_%.o $(BENCH_OBJ) $(SUPPORT_OBJ) $(FOLDER_LIBS) $(B)/obj/embed.o
	@mkdir -p $(@D)
	$(Q)$(link_test) -lcriterion
BENCH ?= $(patsubst $(B)/tests/bench-%,%,$(BENCHES))
bench: all $(BENCHES) $(B)/examples/hello.oci.tar ## every benchmark beside its peer; one JSON object a line, e.g. BENCH=memory
	@for b in $(BENCH); do $(B)/tests/bench-$$b || exit 1; done
soak: packages test-programs ## 40 boots beside stress-ng --cpu 4
	@tests/soak
mutation: packages ## switch security guards off one at a time; each must break a test
	@tests/mutation
test-fresh: packages ## make demo in a fresh minimal Debian tree
	@tests/fresh
COVERAGE_DIR := $(B)/coverage
# A jailed child counts, too: its uid may write files that are there, not make them. What nothing ran
# is no report.
coverage: ## line coverage of unit and integration tests against .ci/coverage-floor
	@rm -rf $(COVERAGE_DIR)/results
	@$(MAKE) --no-print-directory $(jobs) B=$(COVERAGE_DIR) COVERAGE=1 coverage-programs
	@find $(COVERAGE_DIR) -name '*.gcda' -delete
	@find $(COVERAGE_DIR) -name '*.gcno' | sed 's/gcno$$/gcda/' | xargs -I{} install -m 0666 /dev/null {}
	@for f in $(UNIT_FOLDERS); do tests/run $(COVERAGE_DIR)/results unit-$$f $(COVERAGE_DIR)/tests/unit-$$f; done
	@FCVM=$(COVERAGE_DIR)/fcvm tests/run $(COVERAGE_DIR)/results integration $(COVERAGE_DIR)/tests/integration
	@tests/run $(COVERAGE_DIR)/results --total
	@find $(COVERAGE_DIR) -name '*.gcda' -empty -delete
	@.ci/coverage $(COVERAGE_DIR)
