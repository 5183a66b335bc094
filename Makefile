# mapshare: `make help` lists what there is.

PREFIX     ?= /usr/local
LIBDIR     ?= $(PREFIX)/lib
INCLUDEDIR ?= $(PREFIX)/include
MANDIR     ?= $(PREFIX)/share/man
DESTDIR    ?=

CARGO   ?= cargo
PYTHON  ?= python3
CC      ?= cc
CXX     ?= c++
INSTALL ?= install

VERSION := $(shell sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml)
SONAME  := libmapshare.so.0
LIBRARY := libmapshare.so.$(VERSION)
TARGET  := $(or $(CARGO_TARGET_DIR),target)
# The newest cargo-c that Cargo.toml's rust-version builds; it works for newer Rust as well.
CARGO_C := 0.10.20+cargo-0.94.0

SOURCES  := Cargo.toml Cargo.lock build.rs $(shell find src -type f)
EXAMPLES := $(patsubst c_examples/%.c,build/examples/%,$(wildcard c_examples/*.c))
CFLAGS   ?= -O2
WARNINGS := -std=c99 -Wall -Wextra -Werror -pedantic

.PHONY: all help examples demo test bench check header man baseline sanitize models miri aarch64 cargo-c stage install \
        installcheck uninstall clean
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
	@echo "make sanitize    runs the tests of threads, growth and views under ThreadSanitizer and AddressSanitizer"
	@echo "make models      checks the protocols in every order of their threads' steps, with loom, and on threads, with Miri"
	@echo "make aarch64     runs the memory layer's tests for aarch64 under qemu; as root, installs what it needs"
	@echo "make man         makes the man pages from include/mapshare.h, in build/man"
	@echo "make baseline    at a release: makes its interface the one that later ones are compared with"
	@echo "make stage       lays out below build/stage what is to be installed; needs cargo-c"
	@echo "make cargo-c     installs cargo-c with cargo, which takes some minutes"
	@echo "make install     stages, and copies that to PREFIX=$(PREFIX), below DESTDIR=$(DESTDIR)"
	@echo "make installcheck  builds C and C++ programs with an installed library, by pkg-config and by CMake"
	@echo "make uninstall   takes away what install copied"
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
	$(CARGO) test -- --skip the_python_tests_pass # which runs them with the library that is not optimised
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

miri:
	.ci/miri

aarch64:
	.ci/aarch64

man: build/man/man7/mapshare.7

build/man/man7/mapshare.7: include/mapshare.h man/generate.py Cargo.toml
	rm -rf build/man
	$(PYTHON) man/generate.py include/mapshare.h $(VERSION) build/man

baseline:
	MAPSHARE_UPDATE_BASELINE=1 $(CARGO) test --test abi nothing_of_the_baseline_has_changed

# Not optimised, which takes less long than it could ever save here.
cargo-c:
	CARGO_PROFILE_RELEASE_OPT_LEVEL=0 CARGO_PROFILE_RELEASE_LTO=off $(CARGO) install cargo-c --locked --version $(CARGO_C)

# Whoever has cargo stages, so that root needs to copy only. cargo-c makes the libraries, their names, the header and
# mapshare.pc, which also tells what the static library is to be linked with.
STAGE  := build/stage
STAGED := $(STAGE)$(LIBDIR)/pkgconfig/mapshare.pc

stage: $(STAGED)

$(STAGED): $(SOURCES) include/mapshare.h build/man/man7/mapshare.7 $(wildcard cmake/*)
	@$(CARGO) cinstall --version >/dev/null 2>&1 || { echo "Installing needs cargo-c: make cargo-c"; exit 1; }
	rm -rf $(STAGE)
	$(CARGO) cinstall --release --target-dir $(TARGET) --destdir $(STAGE) --prefix $(PREFIX) --libdir $(LIBDIR) \
	    --includedir $(INCLUDEDIR)
	mkdir -p $(STAGE)$(LIBDIR)/cmake/mapshare $(STAGE)$(MANDIR)
	for file in $(notdir $(basename $(wildcard cmake/*.in))); do \
	    sed -e 's|@VERSION@|$(VERSION)|; s|@SONAME@|$(SONAME)|' \
	        -e "s|@INCLUDEDIR@|$$(realpath -ms --relative-to=$(LIBDIR) $(INCLUDEDIR))|" \
	        -e "s|@LIBRARIES@|$$(sed -n 's/^Libs.private: //p' $@ | tr ' ' ';')|" \
	        cmake/$$file.in >$(STAGE)$(LIBDIR)/cmake/mapshare/$$file || exit 1; \
	done
	cp -R build/man/. $(STAGE)$(MANDIR)
	touch $@

# A file that is there is replaced, not written over: programs may have it mapped.
install: $(STAGED)
	cd $(STAGE) && find . ! -type d | while read -r file; do \
	    $(INSTALL) -d "$(DESTDIR)/$${file%/*}" && cp -P --remove-destination "$$file" "$(DESTDIR)/$$file" || exit 1; \
	done
	@[ -n "$(DESTDIR)" ] || echo "Installed. If the loader does not find $(SONAME), run ldconfig as root."

installcheck:
	.ci/install

uninstall:
	rm -f $(addprefix $(DESTDIR)$(LIBDIR)/,$(LIBRARY) $(SONAME) libmapshare.so libmapshare.a pkgconfig/mapshare.pc)
	rm -rf $(DESTDIR)$(LIBDIR)/cmake/mapshare
	rm -f $(DESTDIR)$(INCLUDEDIR)/mapshare.h
	rm -f $(DESTDIR)$(MANDIR)/man3/mapshare_*.3 $(DESTDIR)$(MANDIR)/man7/mapshare.7

clean:
	$(CARGO) clean
	rm -rf build
