# moongate - one word a target; `make demo` and `make test` are all a newcomer needs.

MODE    := plain
BUILD   := .build/$(MODE)
TREE    := $(CURDIR)/$(BUILD)/tree
LUA     := lua5.4
ROCKS   := LUAROCKS_CONFIG=$(CURDIR)/$(BUILD)/config.lua luarocks --lua-version=5.4
SPECS   := $(wildcard spec/*_spec.lua)
JOBS    := $(shell nproc 2>/dev/null || echo 2)
BUSTED   = $$(command -v $(LUA)) $(FIRST) $$(command -v busted) --ignore-lua

WARN    := -Wall -Wextra -Wconversion -Wshadow -Wundef -Wstrict-prototypes -Wmissing-prototypes
C       := -std=c11 -D_GNU_SOURCE -fPIC -pthread -I/usr/include/lua5.4 -Isrc
CFLAGS_plain := -O2 -g
CFLAGS_asan  := -O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=undefined
CFLAGS_tsan  := -O1 -g -fno-omit-frame-pointer -fsanitize=thread
CFLAGS_coverage := -O0 -g --coverage -fprofile-update=atomic -fno-exceptions
CFLAGS  := $(CFLAGS_$(MODE))

# Lua's own search paths, so that everything below runs against the installed tree and nothing else.
export LUA_PATH_5_4  := $(TREE)/share/lua/5.4/?.lua;$(TREE)/share/lua/5.4/?/init.lua;$(CURDIR)/spec/?.lua;;
export LUA_CPATH_5_4 := $(TREE)/lib/lua/5.4/?.so;$(CURDIR)/$(BUILD)/?.so;;
export MOONGATE_BUILD := $(CURDIR)/$(BUILD)

SOURCES := $(wildcard *.rockspec src/*.[ch] lua/moongate/*.lua lua/moongate/*/*.lua lua/bin/*)
PURE    := $(patsubst %,src/%.c,codes text buf heart budget quota pace backoff outbox json etf \
  transcode inflate event machine payload report connection greeting session census shard door)
UNITS   := $(filter-out src/tls.c src/ticket.c src/transport.c src/seat.c src/command.c src/loop.c src/crew.c src/engine.c src/sandbox% src/lua_%, $(wildcard src/*.c))

MUTABLE := $(patsubst %.c,$(BUILD)/objects/%.o,$(notdir $(wildcard spec/unit*.c) \
  $(filter-out src/sandbox% src/lua_sandbox.c, $(wildcard src/*.c))))

all: $(BUILD)/installed

demo: need all
	@$(LUA) examples/demo.lua

test: need check specs

# The specs alone, JOBS files at once, against the installed tree: make specs SPECS=spec/json_spec.lua
specs: export LOCPATH := $(CURDIR)/.build/locale
specs: all $(BUILD)/moongate_unit.so $(BUILD)/stall.so $(BUILD)/simulator .build/locale/de_DE.UTF-8
	@sh spec/run $(JOBS) $(SPECS) -- $(RUN) $(BUSTED)

# The rules that other clients broke, each with its tests and their results.
failures: export LOCPATH := $(CURDIR)/.build/locale
failures: need all $(BUILD)/moongate_unit.so $(BUILD)/stall.so $(BUILD)/simulator .build/locale/de_DE.UTF-8
	@$(RUN) $(LUA) spec/failures.lua

# The machine against a simulated gateway and network, in virtual time. SEED=n [WATCH=shard] shows
# what happened in one world.
simulate: SEEDS  ?= 1000
simulate: DAYS   ?= 1
simulate: SHARDS ?= 4
simulate: $(BUILD)/simulator
	$(BUILD)/simulator $(if $(SEED),-1 $(SEED),-s $(SEEDS)) -d $(DAYS) -n $(SHARDS) \
	  $(if $(FROM),-f $(FROM)) $(if $(WATCH),-w $(WATCH)) -j $(JOBS)

check: need
	luarocks --lua-version=5.4 lint moongate-scm-1.rockspec
	luacheck --quiet lua spec examples
	clang-format --dry-run --Werror src/*.[ch] spec/*.[ch] spec/fuzz/*.c spec/bench/*.[ch]
	for file in src/*.c spec/*.c spec/fuzz/*.c spec/bench/*.c; do $(CC) $(C) $(WARN) -Werror -fsyntax-only $$file || exit 1; done

asan: need
	$(MAKE) specs MODE=asan RUN="env ASAN_OPTIONS=detect_leaks=1:halt_on_error=1 \
	  LSAN_OPTIONS=suppressions=$(CURDIR)/spec/leaks.txt:print_suppressions=0 \
	  LD_PRELOAD=$$($(CC) -print-file-name=libasan.so):$$($(CC) -print-file-name=libubsan.so)"

# The sanitizer is preloaded by the loader, so that programs which specs start go without it; they
# use the plain tree. Its shadow of the memory grows as well, hence the growth that is allowed.
tsan: need all $(BUILD)/moongate_unit.so $(BUILD)/stall.so
	$(MAKE) specs MODE=tsan FIRST="-e 'package.cpath = os.getenv [[TSAN_CPATH]] .. package.cpath'" \
	  RUN="env TSAN_OPTIONS=halt_on_error=1:exitcode=66 TSAN_CPATH='$(subst plain,tsan,$(LUA_CPATH_5_4))' \
	  MOONGATE_CPATH='$$($(LUA) -e "io.write(package.cpath)")' LUA_CPATH_5_4='$(LUA_CPATH_5_4)' MOONGATE_LATE_MS=300 MOONGATE_GROWTH=67108864 \
	  $$(readelf -l $$(command -v $(LUA)) | sed -n 's/.*interpreter: \(.*\)]/\1/p') \
	  --preload $$($(CC) -print-file-name=libtsan.so)"

# The demo and the bot that it starts.
VALGRIND := valgrind --quiet --error-exitcode=9 --leak-check=full --show-leak-kinds=definite,indirect \
  --errors-for-leak-kinds=definite,indirect $(LUA)
valgrind: need all
	MOONGATE_LUA="$(VALGRIND)" MOONGATE_DEMO_SECONDS=60 $(VALGRIND) examples/demo.lua

# Which lines and branches of src/ the specs run. FILE=src/x.c shows what one file lacks. The specs
# run again unless NEW= is empty: make coverage NEW=
coverage: NEW := yes
coverage: need
	$(if $(NEW),find .build/coverage -name '*.gcda' -delete 2>/dev/null; $(MAKE) specs MODE=coverage)
	@$(LUA) spec/coverage.lua .build/coverage $(FILE)

# What the tests are worth: fixes are taken out one by one, and the test of each must fail. ROW=heart
# takes those that have the word.
mutants: export MUTANT_CC := $(CC) $(C) -O1
mutants: need all $(BUILD)/moongate_unit.so $(BUILD)/stall.so $(MUTABLE)
	@$(LUA) spec/mutate.lua $(BUILD) '$(ROW)'

$(BUILD)/objects/%.o: src/%.c $(wildcard src/*.h)
	@mkdir -p $(@D)
	$(CC) $(C) -O1 -c -o $@ $<

$(BUILD)/objects/%.o: spec/%.c $(wildcard spec/unit*.h src/*.h)
	@mkdir -p $(@D)
	$(CC) $(C) -O1 -c -o $@ $<

# Clients and a server that moongate did not write.
peers: all
	sh .ci/need python3-discord nodejs npm g++ openssl
	spec/peers/run

# What events cost: decoding alone, then the whole process beside its floor. ROUNDS=5 EVENTS=100000
bench: need all $(BUILD)/bench/inflate $(BUILD)/bench/sender $(BUILD)/bench/floor \
  $(BUILD)/bench/steps.so
	$(BUILD)/bench/inflate
	$(LUA) spec/bench/decode.lua $(BUILD)/bench $(ROUNDS)
	$(LUA) spec/bench/run.lua $(BUILD)/bench $(or $(ROUNDS),5) $(EVENTS)

# A thousand shards in one process: start, idle, and all dropped at once. SHARDS=1000 SECONDS=90
# RUNS="plain tls slots"; the last one alone takes seven minutes.
scale: need all
	@$(LUA) spec/bench/scale.lua $(or $(SHARDS),1000) $(or $(SECONDS),90) $(RUNS)

# Another number of shards under traffic: what came twice, and whether each message was heard once.
reshard: need all
	$(LUA) spec/bench/reshard.lua $(or $(FROM),2) $(or $(TO),5) $(or $(RATE),500)

$(BUILD)/bench/sender: spec/bench/sender.c spec/bench/traffic.c src/sandbox_tls.c src/buf.c
$(BUILD)/bench/floor: spec/bench/floor.c
$(BUILD)/bench/inflate: spec/bench/inflate.c src/inflate.c src/buf.c src/codes.c
$(BUILD)/bench/steps.so: spec/bench/steps.c
	@mkdir -p $(@D)
	$(CC) $(C) $(CFLAGS) -shared -o $@ $<
$(BUILD)/bench/%: spec/bench/traffic.h
	@mkdir -p $(@D)
	$(CC) $(C) $(CFLAGS) -o $@ $(filter %.c,$^) -lssl -lcrypto -lz -lzstd

# What editors are told (lua/moongate/meta), made anew from the tables that the code goes by.
meta: all
	$(LUA) spec/annotate.lua

fuzz: SECONDS ?= 60
fuzz:
	sh .ci/need clang
	sh spec/fuzz/run $(SECONDS)

install:
	luarocks --lua-version=5.4 make moongate-scm-1.rockspec

clean:
	rm -rf .build

# What a fresh Debian lacks.
need:
	@sh .ci/need gcc libc6-dev lua5.4 liblua5.4-dev luarocks lua-cjson lua-busted lua-check \
	  libwebsockets-dev libssl-dev zlib1g-dev libzstd-dev clang-format valgrind locales lua-cqueues \
	  lua-luaossl lua-http lua-luv lua-copas lua-socket

# What the rockspec says, laid out by hand: LuaRocks compiles src/buf.c twice, for each module of
# which it is a part, into one object, and their counts would be one file.
ifeq ($(MODE),coverage)
$(BUILD)/installed: $(SOURCES)
	@echo "building $(TREE)"
	@rm -rf $(TREE) && mkdir -p $(TREE)/lib/lua/5.4/moongate/sandbox $(TREE)/share/lua/5.4
	@cp -r lua/moongate $(TREE)/share/lua/5.4
	$(CC) $(C) $(CFLAGS) -shared -o $(TREE)/lib/lua/5.4/moongate/core.so \
	  $$($(LUA) spec/coverage.lua sources moongate.core)
	$(CC) $(C) $(CFLAGS) -shared -o $(TREE)/lib/lua/5.4/moongate/sandbox/core.so \
	  $$($(LUA) spec/coverage.lua sources moongate.sandbox.core)
	@touch $@
else
# LuaRocks builds in a copy, so that two modes never share an object file. lua-cjson is Debian's.
$(BUILD)/installed: $(SOURCES)
	@echo "building $(TREE)"
	@rm -rf $(BUILD)/source $(TREE) && mkdir -p $(BUILD)/source
	@cp -r *.rockspec src lua $(BUILD)/source
	@echo 'rocks_provided = { ["lua-cjson"] = "2.1.0-1" }' > $(BUILD)/config.lua
	@cd $(BUILD)/source && $(ROCKS) make --tree=$(TREE) moongate-scm-1.rockspec \
	  CFLAGS="$(CFLAGS) -fPIC" LIBFLAG="-shared $(CFLAGS)" > ../rocks.log 2>&1 \
	  || { cat ../rocks.log; exit 1; }
	@touch $@
endif

$(BUILD)/moongate_unit.so: $(wildcard spec/unit*.[ch]) $(UNITS) $(wildcard src/*.h)
	mkdir -p $(BUILD)
	$(CC) $(C) $(CFLAGS) -shared -o $@ $(wildcard spec/unit*.c) $(UNITS) -lz -lzstd -lcrypto

SIMULATOR_OBJECTS = $(patsubst %.c,$(BUILD)/simulated/%.o,$(notdir $(wildcard spec/simulator*.c) $(PURE)))

$(BUILD)/simulator: $(SIMULATOR_OBJECTS)
	$(CC) $(CFLAGS) -o $@ $^ -lz -lzstd -lm

$(BUILD)/simulated/%.o: src/%.c $(wildcard src/*.h)
	@mkdir -p $(@D)
	$(CC) $(C) $(CFLAGS) -c -o $@ $<

$(BUILD)/simulated/%.o: spec/%.c $(wildcard spec/simulator*.h src/*.h)
	@mkdir -p $(@D)
	$(CC) $(C) $(CFLAGS) -c -o $@ $<

$(BUILD)/stall.so: spec/stall.c
	mkdir -p $(BUILD)
	$(CC) $(C) -O1 -shared -o $@ $< -ldl

# A locale whose decimal point is a comma, for the specs of numbers.
.build/locale/de_DE.UTF-8:
	mkdir -p .build/locale
	localedef -i de_DE -f UTF-8 $@

.PHONY: all demo test specs failures simulate check asan tsan coverage mutants valgrind peers bench scale reshard meta fuzz install clean need
