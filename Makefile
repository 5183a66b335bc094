# mapshare: `make help` lists what there is.

PREFIX  ?= /usr/local
DESTDIR ?=
CARGO   ?= cargo
PYTHON  ?= python3
CC      ?= cc
CXX     ?= c++
INSTALL ?= install

VERSION := $(shell sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml)
SONAME  := libmapshare.so.0
LIBRARY := libmapshare.so.$(VERSION)
TARGET  := $(or $(CARGO_TARGET_DIR),target)

SOURCES  := Cargo.toml Cargo.lock build.rs $(shell find src -type f)
EXAMPLES := $(patsubst c_examples/%.c,build/examples/%,$(wildcard c_examples/*.c))
CFLAGS   ?= -O2
WARNINGS := -std=c99 -Wall -Wextra -Werror -pedantic

.PHONY: all help examples demo test bench check header sanitize models aarch64 install uninstall clean
.DELETE_ON_ERROR:

all: build/lib/$(LIBRARY) build/include/mapshare.h

help:
	@echo "make             builds the library: build/lib, build/include"
	@echo "make demo        shows it at work: a C program and a Python script share a file"
	@echo "make test        runs all tests: Rust, C, C++, Python"
	@echo "make examples    builds c_examples/ into build/examples"
	@echo "make bench       measures speed"
	@echo "make check       format, lints, and whether include/mapshare.h is what the sources say"
	@echo "make header      makes include/mapshare.h anew from the comments in src/ffi"
	@echo "make sanitize    runs the thread tests under ThreadSanitizer and AddressSanitizer"
	@echo "make models      checks the token table in every order of its threads' steps, with loom"
	@echo "make aarch64     runs the memory layer's tests for aarch64 under qemu; as root, installs what it needs"
	@echo "make install     installs into PREFIX=$(PREFIX), below DESTDIR=$(DESTDIR)"
	@echo "make uninstall   takes that away again"
	@echo "make clean       removes what was built"

# The one build of the library, and its chain of names: for the linker, for the loader, and the file.
build/lib/$(LIBRARY): $(SOURCES)
	$(CARGO) build --release --target-dir $(TARGET)
	mkdir -p build/lib
	$(INSTALL) -m 755 $(TARGET)/release/libmapshare.so $@
	$(INSTALL) -m 644 $(TARGET)/release/libmapshare.a build/lib/libmapshare.a
	ln -sf $(LIBRARY) build/lib/$(SONAME)
	ln -sf $(SONAME) build/lib/libmapshare.so

build/include/mapshare.h: include/mapshare.h
	mkdir -p build/include
	$(INSTALL) -m 644 $< $@

examples: $(EXAMPLES)

build/examples/%: c_examples/%.c build/include/mapshare.h build/lib/$(LIBRARY)
	mkdir -p build/examples
	$(CC) $(WARNINGS) $(CFLAGS) $< -o $@ -Ibuild/include -Lbuild/lib -lmapshare -Wl,-rpath,'$$ORIGIN/../lib'

# Two programs, one file. Each keeps a copy of the bytes that it saw in its memory; in the end the file is compared with
# both, byte by byte.
demo: all build/examples/two_programs
	@PYTHON=$(PYTHON) sh c_examples/demo.sh

test: all
	@command -v $(CXX) >/dev/null || { echo "The C++ test needs a C++ compiler: apt-get install -y g++"; exit 1; }
	$(CARGO) test
	MAPSHARE_LIBRARY=$(CURDIR)/build/lib/$(SONAME) $(PYTHON) -m unittest discover -s tests/python

bench:
	$(CARGO) bench

check:
	$(CARGO) fmt --check
	$(CARGO) clippy --all-targets -- -D warnings
	$(CARGO) test --test header

header:
	MAPSHARE_UPDATE_HEADER=1 $(CARGO) test --test header

sanitize:
	.ci/sanitize

models:
	cd tests/loom && RUSTFLAGS="--cfg loom" $(CARGO) test --release --target-dir $(abspath $(TARGET))/loom

aarch64:
	.ci/aarch64

install: all
	mkdir -p $(DESTDIR)$(PREFIX)/lib $(DESTDIR)$(PREFIX)/include
	$(INSTALL) -m 755 build/lib/$(LIBRARY) $(DESTDIR)$(PREFIX)/lib/$(LIBRARY)
	$(INSTALL) -m 644 build/lib/libmapshare.a $(DESTDIR)$(PREFIX)/lib/libmapshare.a
	ln -sf $(LIBRARY) $(DESTDIR)$(PREFIX)/lib/$(SONAME)
	ln -sf $(SONAME) $(DESTDIR)$(PREFIX)/lib/libmapshare.so
	$(INSTALL) -m 644 build/include/mapshare.h $(DESTDIR)$(PREFIX)/include/mapshare.h
	@[ -n "$(DESTDIR)" ] || echo "Installed. If the loader does not find $(SONAME), run ldconfig as root."

uninstall:
	rm -f $(addprefix $(DESTDIR)$(PREFIX)/lib/,$(LIBRARY) $(SONAME) libmapshare.so libmapshare.a)
	rm -f $(DESTDIR)$(PREFIX)/include/mapshare.h

clean:
	$(CARGO) clean
	rm -rf build
