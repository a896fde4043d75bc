# Towline - one graph builds everything. `make help` lists what to ask for.
#
# Variants of the C programs, each in its own folder below build/:
#   native                  towline, towlined for this machine (glibc, -O2)
#   asan                    every program for the tests (glibc, address and undefined sanitizers)
#   pic                     libtowline.so and libtowline.a (glibc, -O2, only tl_* visible)
#   x86_64 aarch64 armv7    towline-host, static with musl
# A room is a folder of src/; every .c file of it is compiled into build/VARIANT/ROOM.a.
# build/stage (and build/stage-asan) has the layout of an installation, so programs find their files.

.DELETE_ON_ERROR:
.SUFFIXES:
.SECONDARY:
MAKEFLAGS += --no-builtin-rules
JOBS ?= $(shell nproc 2>/dev/null || echo 2)
ifeq ($(MAKELEVEL),0)
MAKEFLAGS += -j$(JOBS)
endif

.DEFAULT_GOAL := all

B := build
TP := $(B)/third_party
STAGE := $(B)/stage
STAGE_ASAN := $(B)/stage-asan
PREFIX ?= /usr/local
DESTDIR ?=
ARCHES ?= x86_64 aarch64 armv7
MACHINE := $(patsubst armv7l,armv7,$(shell uname -m))

# ---------------------------------------------------------------- rooms and programs

ROOMS := base wire core loop host dial edge hub api standin cmd
HOST_ROOMS := base wire core loop host
LIB_ROOMS := api dial loop core wire base
sources = $(wildcard src/$1/*.c)
# the command's own files: everything of cmd that is not another program's main
MAINS := src/cmd/towline.c src/cmd/towlined.c src/cmd/towline_host.c
CMD_TOWLINED := $(wildcard src/cmd/towlined*.c)
CMD_HOST := $(wildcard src/cmd/towline_host*.c)
CMD_TOWLINE := $(filter-out $(CMD_TOWLINED) $(CMD_HOST),$(call sources,cmd))
# rooms of each program, in link order
LINK_TOWLINE := api dial loop core wire base
LINK_TOWLINED := standin api hub edge dial host api loop core wire base
LINK_HOST := host loop core wire base

# format-truncation depends on what the optimiser happens to know; lengths are checked at run time
WARN := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wvla -Wno-format-truncation -Werror
DEFS := -D_GNU_SOURCE -D_FILE_OFFSET_BITS=64 -D_TIME_BITS=64
INCS := -Isrc -Iinclude -I. -isystem $(TP)/include
CSTD := -std=c11 $(WARN) $(DEFS) $(INCS)

OPT_native := -O2 -g -D_FORTIFY_SOURCE=2 -fstack-protector-strong -fPIE
OPT_asan := -O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=undefined -DTL_ASAN=1
OPT_musl := -Os -g1 -ffunction-sections -fdata-sections -fno-asynchronous-unwind-tables -fstack-protector-strong
OPT_pic := $(subst -fPIE,-fPIC,$(OPT_native)) -fvisibility=hidden -DTL_PREFIX='"$(PREFIX)"'
LDFLAGS_native := -pie -Wl,-z,relro,-z,now -Wl,--as-needed
LDFLAGS_asan := -fsanitize=address,undefined -Wl,--as-needed
LDFLAGS_musl := -static -Wl,--gc-sections

CC_native := gcc
CC_pic := gcc
AR_pic := gcc-ar
CC_asan := gcc
AR_native := gcc-ar
AR_asan := gcc-ar

TRIPLE_x86_64 := x86_64-linux-gnu
TRIPLE_aarch64 := aarch64-linux-gnu
TRIPLE_armv7 := arm-linux-gnueabihf
PACKAGE_x86_64 := gcc
PACKAGE_aarch64 := gcc-aarch64-linux-gnu
PACKAGE_armv7 := gcc-arm-linux-gnueabihf
have = $(if $(shell command -v $(TRIPLE_$1)-gcc 2>/dev/null),$1)
HAVE := $(foreach a,$(ARCHES),$(call have,$a))
MISSING := $(filter-out $(HAVE),$(ARCHES))

# ---------------------------------------------------------------- third-party sources

TP_STAMPS := $(TP)/libuv.ok $(TP)/yyjson.ok $(TP)/libmd.ok
$(TP)/%.ok: tools/third_party.txt tools/fetch
	@tools/fetch $*
	@touch $@

# the only third-party headers our own files can see, besides the system's
$(TP)/include/.ok: $(TP)/yyjson.ok $(TP)/libmd.ok
	@mkdir -p $(@D) $(TP)/libmd-config
	@cp $(TP)/yyjson/src/yyjson.h $(TP)/libmd/include/sha2.h $(@D)/
	@: >$(TP)/libmd-config/config.h
	@touch $@
READY := $(TP)/include/.ok

LIBUV_SRC := $(addprefix src/,fs-poll idna inet random strscpy threadpool timer uv-common \
	uv-data-getter-setters version) $(addprefix src/unix/,async core dl fs getaddrinfo getnameinfo \
	loop-watcher loop pipe poll process random-devurandom signal stream tcp thread tty udp proctitle \
	linux-core linux-inotify linux-syscalls procfs-exepath random-getrandom random-sysctl-linux epoll)

# $1 variant: JSON and SHA-256, for every variant
define tp_rules
$(B)/$1/tp/yyjson.o: $(TP)/yyjson.ok
	@mkdir -p $$(@D)
	$$(call say,CC,$1 yyjson)
	$$(Q)$$(CC_$1) -std=c11 $$(TPOPT_$1) -DYYJSON_DISABLE_UTILS=1 -c $(TP)/yyjson/src/yyjson.c -o $$@
$(B)/$1/tp/sha2.o: $(TP)/libmd.ok $(READY)
	@mkdir -p $$(@D)
	$$(call say,CC,$1 sha2)
	$$(Q)$$(CC_$1) -std=gnu11 $$(TPOPT_$1) -D_GNU_SOURCE -I$(TP)/libmd-config -I$(TP)/libmd/src -I$(TP)/libmd/include -c $(TP)/libmd/src/sha2.c -o $$@
$(B)/$1/tp.a: $(B)/$1/tp/yyjson.o $(B)/$1/tp/sha2.o
	@rm -f $$@
	$$(Q)$$(AR_$1) rcs $$@ $$^
endef

# ---------------------------------------------------------------- rooms

Q := $(if $(V),,@)
say = $(if $(V),@:,@printf '  %-5s %s\n' '$1' '$2')

# $1 variant, $2 room
define room_rules
$(B)/$1/$2.a: $$(patsubst src/%.c,$(B)/$1/%.o,$$(filter-out $(MAINS) $(CMD_TOWLINED) $(CMD_HOST),$$(call sources,$2)))
	@mkdir -p $$(@D); rm -f $$@
	$$(Q)$$(AR_$1) rcs $$@ $$^
-include $$(patsubst src/%.c,$(B)/$1/%.d,$$(call sources,$2))
endef

# $1 variant, $2 rooms
define variant_rules
$(call tp_rules,$1)
$(B)/$1/%.o: src/%.c $(B)/$1/flags | $(READY) $(ORDER_$1)
	@mkdir -p $$(@D)
	$$(call say,CC,$1 $$*.c)
	$$(Q)$$(CC_$1) $(CSTD) $$(OPTS_$1) -MMD -MP -c $$< -o $$@
$(B)/$1/flags: FORCE
	@mkdir -p $$(@D); tools/if-changed $$@ "$$(subst ",,$$(CC_$1) $(CSTD) $$(OPTS_$1))"
$(foreach r,$2,$(eval $(call room_rules,$1,$r)))
endef

.PHONY: FORCE
FORCE:

OPTS_native := $(OPT_native)
OPTS_asan := $(OPT_asan)
OPTS_pic := $(OPT_pic)
TPOPT_pic := -O2 -fPIC -fvisibility=hidden
TPOPT_native := -O2 -fPIE
TPOPT_asan := -O1 -g
$(eval $(call variant_rules,native,$(ROOMS)))
$(eval $(call variant_rules,pic,$(LIB_ROOMS)))
$(eval $(call variant_rules,asan,$(ROOMS)))

archives = $(patsubst %,$(B)/$1/%.a,$2) $(B)/$1/tp.a
group = -Wl,--start-group $1 -Wl,--end-group
objects = $(patsubst src/%.c,$(B)/$1/%.o,$2)

# $1 program, $2 variant, $3 own sources, $4 rooms, $5 libraries, $6 output
define program_rules
$6: $(call objects,$2,$3) $(call archives,$2,$4)
	@mkdir -p $$(@D)
	$$(call say,LINK,$$@)
	$$(Q)$$(CC_$2) $$(LDFLAGS_$2) -o $$@ $(call objects,$2,$3) $(call group,$(call archives,$2,$4)) $5
endef

programs = $(eval $(call program_rules,towline,$1,$(CMD_TOWLINE),$(LINK_TOWLINE),-luv -ledit,$2/bin/towline)) \
	$(eval $(call program_rules,towlined,$1,$(CMD_TOWLINED),$(LINK_TOWLINED),-lwebsockets -lhttp_parser -luv,$2/bin/towlined))
$(call programs,native,$(STAGE))
$(call programs,asan,$(STAGE_ASAN))
$(eval $(call program_rules,towline-host,asan,$(CMD_HOST),$(LINK_HOST),-luv,$(STAGE_ASAN)/lib/towline/host/towline-host-$(MACHINE)))

# a program is built as soon as its main is there
NATIVE_PROGRAMS := $(if $(wildcard src/cmd/towline.c),towline towline-askpass) $(if $(wildcard src/cmd/towlined.c),towlined)
HOST_THERE := $(wildcard src/cmd/towline_host.c)

$(STAGE)/bin/towline-askpass $(STAGE_ASAN)/bin/towline-askpass:
	@mkdir -p $(@D); ln -sfn towline $@

# ---------------------------------------------------------------- the library

# one object, whose names are local but for tl_*: the static library keeps what is ours to itself, too
LIB := $(STAGE)/lib
VERSION := $(shell sed -n 's/^\#define TL_VERSION "\(.*\)"/\1/p' src/base/version.h)
LIB_FILES := $(LIB)/libtowline.so $(LIB)/libtowline.a $(LIB)/pkgconfig/towline.pc $(STAGE)/include/towline.h
LIB_ARCHIVES := $(call archives,pic,$(LIB_ROOMS))
$(B)/pic/libtowline.o: $(LIB_ARCHIVES)
	$(Q)$(CC_pic) -r -nostdlib -o $@.new -Wl,--whole-archive $(LIB_ARCHIVES) -Wl,--no-whole-archive
	$(Q)objcopy --wildcard --keep-global-symbol='tl_*' --localize-hidden $@.new $@ && rm -f $@.new
$(LIB)/libtowline.so.0: $(B)/pic/libtowline.o
	@mkdir -p $(@D)
	$(call say,LINK,$@)
	$(Q)$(CC_pic) -shared -Wl,-soname,libtowline.so.0 -Wl,-z,relro,-z,now -Wl,-z,defs -Wl,--as-needed -o $@ $< -luv -lpthread -ldl
$(LIB)/libtowline.so: $(LIB)/libtowline.so.0
	@ln -sfn $(<F) $@
$(LIB)/libtowline.a: $(B)/pic/libtowline.o
	@mkdir -p $(@D); rm -f $@
	$(Q)$(AR_pic) rcs $@ $<
$(LIB)/pkgconfig/towline.pc: tools/towline.pc.in src/base/version.h Makefile
	@mkdir -p $(@D)
	@sed 's|@VERSION@|$(VERSION)|' $< >$@
$(STAGE)/include/towline.h: include/towline.h
	@mkdir -p $(@D); cp $< $@

# ---------------------------------------------------------------- the host binary, per architecture

# musl-gcc sees no kernel headers; these are the compiler's own, after musl's
# $1 architecture
define arch_rules
$(B)/musl-$1/bin/musl-gcc: $(TP)/musl.ok
	$$(call say,MUSL,$1)
	@rm -rf $(B)/musl-$1; mkdir -p $(B)/musl-$1/obj
	@cd $(B)/musl-$1/obj && ../../third_party/musl/configure --prefix=$(CURDIR)/$(B)/musl-$1 \
		--host=$(TRIPLE_$1) CC=$(TRIPLE_$1)-gcc CROSS_COMPILE=$(TRIPLE_$1)- --disable-shared \
		--enable-wrapper=gcc >configure.log 2>&1 && $$(MAKE) -s install >build.log 2>&1 || \
		{ tail -5 configure.log build.log; exit 1; }
	@tools/kernel-headers $(TRIPLE_$1) $(B)/musl-$1/kernel
	@touch $$@
CC_$1 := REALGCC=$(TRIPLE_$1)-gcc $(B)/musl-$1/bin/musl-gcc
AR_$1 := $(TRIPLE_$1)-gcc-ar
ORDER_$1 := $(TP)/libuv.ok $(B)/musl-$1/bin/musl-gcc
OPTS_$1 := $(OPT_musl) -isystem $(TP)/libuv/include -idirafter $(B)/musl-$1/kernel
TPOPT_$1 := $(OPT_musl)
LDFLAGS_$1 := $(LDFLAGS_musl)
$(B)/$1/tp/yyjson.o $(B)/$1/tp/sha2.o: | $(B)/musl-$1/bin/musl-gcc
$(B)/$1/libuv/%.o: $(TP)/libuv.ok | $(B)/musl-$1/bin/musl-gcc
	@mkdir -p $$(@D)
	$$(Q)$$(CC_$1) $(OPT_musl) -D_GNU_SOURCE -D_FILE_OFFSET_BITS=64 -I$(TP)/libuv/include -I$(TP)/libuv/src \
		-idirafter $(B)/musl-$1/kernel -c $(TP)/libuv/$$*.c -o $$@
$(B)/$1/libuv.a: $(LIBUV_SRC:%=$(B)/$1/libuv/%.o)
	@rm -f $$@
	$$(call say,AR,$1 libuv)
	$$(Q)$$(AR_$1) rcs $$@ $$^
$(B)/$1/towline-host: $(B)/$1/libuv.a
$(STAGE)/lib/towline/host/towline-host-$1: $(B)/$1/towline-host
	@mkdir -p $$(@D)
	@$(TRIPLE_$1)-strip -o $$@.new $$< && mv $$@.new $$@
	@gzip -9nc $$@ >$$@.gz.new && mv $$@.gz.new $$@.gz
	@cd $$(@D) && sha256sum towline-host-$1 >towline-host-$1.sha256
endef
$(foreach a,$(HAVE),$(eval $(call arch_rules,$a)))
$(foreach a,$(HAVE),$(eval $(call variant_rules,$a,$(HOST_ROOMS) cmd)))
$(foreach a,$(HAVE),$(eval $(call program_rules,towline-host,$a,$(CMD_HOST),$(LINK_HOST),$(B)/$a/libuv.a,$(B)/$a/towline-host)))

# ---------------------------------------------------------------- the SSH server of the busybox test host

.PHONY: test-dropbear
test-dropbear: $(if $(filter x86_64,$(HAVE)),$(B)/tests/dropbear/dropbear)
$(B)/tests/dropbear/dropbear: $(TP)/dropbear.ok tools/build-dropbear | $(B)/musl-x86_64/bin/musl-gcc
	$(call say,CC,dropbear for the tests)
	@MAKEFLAGS= REALGCC=$(TRIPLE_x86_64)-gcc tools/build-dropbear $(CURDIR)/$(B)/musl-x86_64/bin/musl-gcc

# ---------------------------------------------------------------- the window

UI_STAGE := $(STAGE)/share/towline/ui
UI_SOURCES = $(shell find ui/src ui/public ui/build ui/*.json ui/*.ts ui/*.html -type f 2>/dev/null)

# npm and a Node new enough for the bundler; tools/node prints the folder to put into PATH
ui/node_modules/.package-lock.json: ui/package-lock.json
	$(call say,NPM,window packages)
	@PATH="$$(tools/node):$$PATH"; cd ui && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error
	@touch $@
$(UI_STAGE)/index.html: ui/node_modules/.package-lock.json $(UI_SOURCES)
	$(call say,UI,window)
	@mkdir -p $(B)/log; PATH="$$(tools/node):$$PATH"; cd ui && npm run --silent build >../$(B)/log/ui.log 2>&1 || \
		{ cat ../$(B)/log/ui.log; exit 1; }
	@mkdir -p $(@D); rm -rf $(UI_STAGE).new && cp -a ui/dist $(UI_STAGE).new && \
		rm -rf $(UI_STAGE) && mv $(UI_STAGE).new $(UI_STAGE) && touch $@
UI_THERE := $(wildcard ui/package-lock.json)

# JupyterLab's own client, for the tests of the gateway
tests/jupyter/node_modules/.package-lock.json: tests/jupyter/package-lock.json
	$(call say,NPM,Jupyter client for the tests)
	@PATH="$$(tools/node):$$PATH"; cd tests/jupyter && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error
	@touch $@
.PHONY: test-jupyter
test-jupyter: tests/jupyter/node_modules/.package-lock.json

# the sanitizer stage shares the window
$(STAGE_ASAN)/share:
	@mkdir -p $(STAGE)/share $(STAGE_ASAN); ln -sfn ../stage/share $@

# ---------------------------------------------------------------- what to ask for

TESTS ?=
.PHONY: all native lib asan host ui gen demo check check-quick check-build check-static setup install size clean help
all: native lib host ui

native: $(NATIVE_PROGRAMS:%=$(STAGE)/bin/%)

lib: $(LIB_FILES)

host: $(if $(HOST_THERE),$(HAVE:%=$(STAGE)/lib/towline/host/towline-host-%)) note-missing

ui: $(if $(UI_THERE),$(UI_STAGE)/index.html)

.PHONY: note-missing
note-missing:
	@$(foreach a,$(MISSING),echo "note: no host program for $a: the compiler $(TRIPLE_$a)-gcc is missing (apt-get install $(PACKAGE_$a))";) :

ASAN_HOST := $(STAGE_ASAN)/lib/towline/host/towline-host-$(MACHINE)
$(ASAN_HOST).sha256: $(ASAN_HOST)
	@gzip -1nc $< >$<.gz.new && mv $<.gz.new $<.gz
	@cd $(@D) && sha256sum $(<F) >$(@F)

asan: $(NATIVE_PROGRAMS:%=$(STAGE_ASAN)/bin/%) $(if $(HOST_THERE),$(ASAN_HOST).sha256) $(STAGE_ASAN)/share

# one room alone, for someone who works in it: make asan-core, make native-edge
$(foreach r,$(ROOMS),$(eval .PHONY: native-$r asan-$r)$(eval native-$r: $(B)/native/$r.a)$(eval asan-$r: $(B)/asan/$r.a))

-include tests/Makefile.inc

setup:
	@tools/setup

# what is derived from proto/, committed
gen:
	@tools/gen

# tools/setup may bring compilers: everything after it needs a make that looks again
demo:
	@tools/setup
	@$(MAKE) --no-print-directory native host ui
	@tools/demo $(DEMO_ARGS)

check:
	@tools/setup
	@$(MAKE) --no-print-directory check-build all test-dropbear test-jupyter
	@tools/run-tests $(TESTS)

# without browser and cross compilers
check-quick:
	@$(MAKE) --no-print-directory check-build
	@tools/run-tests --quick $(TESTS)

check-static:
	@tools/gen --check
	@tools/check-includes
	@tools/check-style
	@tools/check-format

size: host native
	@cd $(STAGE) && ls -l bin/* lib/towline/host/* 2>/dev/null | awk '{ printf "%10d  %s\n", $$5, $$9 }'
	@for f in $(HAVE:%=$(STAGE)/lib/towline/host/towline-host-%); do [ ! -f $$f ] || [ $$(stat -c %s $$f) -le 1363148 ] || \
		{ echo "size: $$f is larger than 1.3 MiB" >&2; exit 1; }; done

# where Python looks: PREFIX/lib/python3/dist-packages is Debian's with PREFIX=/usr
PYTHON_DIR ?= $(PREFIX)/lib/python3/dist-packages
MAN_SECTIONS := 1 3 5 7 8
$(foreach s,$(MAN_SECTIONS),$(eval MAN$s = $(wildcard man/*.$s)))
install: all
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/lib/towline/host $(DESTDIR)$(PREFIX)/share/towline
	install -m 755 $(STAGE)/bin/towline $(STAGE)/bin/towlined $(DESTDIR)$(PREFIX)/bin/
	ln -sfn towline $(DESTDIR)$(PREFIX)/bin/towline-askpass
	for a in $(HAVE); do install -m 755 $(STAGE)/lib/towline/host/towline-host-$$a $(DESTDIR)$(PREFIX)/lib/towline/host/ && \
		install -m 644 $(STAGE)/lib/towline/host/towline-host-$$a.gz $(STAGE)/lib/towline/host/towline-host-$$a.sha256 \
		$(DESTDIR)$(PREFIX)/lib/towline/host/ || exit 1; done
	install -d $(DESTDIR)$(PREFIX)/include $(DESTDIR)$(PREFIX)/lib/pkgconfig
	install -m 755 $(LIB)/libtowline.so.0 $(DESTDIR)$(PREFIX)/lib/
	ln -sfn libtowline.so.0 $(DESTDIR)$(PREFIX)/lib/libtowline.so
	install -m 644 $(LIB)/libtowline.a $(DESTDIR)$(PREFIX)/lib/
	sed 's|^prefix=.*|prefix=$(PREFIX)|' $(LIB)/pkgconfig/towline.pc >$(DESTDIR)$(PREFIX)/lib/pkgconfig/towline.pc
	install -m 644 include/towline.h $(DESTDIR)$(PREFIX)/include/
	install -d $(DESTDIR)$(PYTHON_DIR)/towline $(DESTDIR)$(PREFIX)/share/towline/r
	install -m 644 bindings/python/towline/*.py bindings/python/towline/py.typed $(DESTDIR)$(PYTHON_DIR)/towline/
	rm -rf $(DESTDIR)$(PREFIX)/share/towline/r/towline
	cp -R bindings/r/towline $(DESTDIR)$(PREFIX)/share/towline/r/towline
	rm -rf $(DESTDIR)$(PREFIX)/share/towline/ui
	cp -R $(UI_STAGE) $(DESTDIR)$(PREFIX)/share/towline/ui
	$(foreach s,$(MAN_SECTIONS),$(if $(MAN$s),install -d $(DESTDIR)$(PREFIX)/share/man/man$s && install -m 644 $(MAN$s) $(DESTDIR)$(PREFIX)/share/man/man$s/,:) &&) :
	if [ -f tools/completion/towline.bash ]; then install -D -m 644 tools/completion/towline.bash \
		$(DESTDIR)$(PREFIX)/share/bash-completion/completions/towline; fi
	if [ -f tools/completion/_towline ]; then install -D -m 644 tools/completion/_towline \
		$(DESTDIR)$(PREFIX)/share/zsh/site-functions/_towline; fi
	if [ -f tools/completion/towline.fish ]; then install -D -m 644 tools/completion/towline.fish \
		$(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d/towline.fish; fi

# keeps what came from elsewhere: sources, musl, node
clean:
	@for d in $(B)/*; do case $$d in $(TP)|$(B)/musl-*|$(B)/node) ;; *) rm -rf "$$d" ;; esac; done

help:
	@echo 'make              programs of this machine, host programs (ARCHES="x86_64 aarch64 armv7"), window'
	@echo 'make demo         a private sshd on this machine as the host, and a window on it'
	@echo 'make check        installs what the tests need, builds, runs everything (TESTS="name..." for some)'
	@echo 'make check-quick  without browser, window and cross compilers'
	@echo 'make install      PREFIX=/usr/local DESTDIR='
	@echo 'make native | lib | host | ui | asan (test build) | tests | gen | size | bench | fuzz | setup | clean'
	@echo 'make asan-ROOM    only one room of src/ (native-ROOM: likewise); V=1 shows commands'
