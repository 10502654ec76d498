#!/bin/sh
# lint.sh - what a reader should not have to look for. All checks run; the
# exit code says whether one complained.
set -u
cd "$(dirname "$0")/.." || exit
bad=0

check()
{
    echo "== $1"
    shift
    "$@" || bad=1
}

sources=$(find proto mesh prober test -name '*.[ch]')
scripts=$(find dev .ci packaging test -type f \
    ! -path '*/corpus/*' ! -path '*/vectors/*' ! -name '*.py' \
    -exec grep -lE '^#!/bin/sh' {} +)
python=$(find test packaging -name '*.py')

# shellcheck disable=SC2317 # check() calls it
tidy()
{
    # gcc knows flags that clang refuses, so clang gets a build of its own.
    [ -e build-lint/build.ninja ] ||
        CC=clang meson setup build-lint >build-lint.log || return 1
    rm -f build-lint.log
    # One file a run: clang-tidy 14 takes each va_list of a second one for
    # uninitialised.
    find proto mesh prober test/bench -name '*.c' -print0 |
        xargs -0 -n 1 -P "$(nproc)" clang-tidy -p build-lint --quiet \
            --warnings-as-errors='*' 2>build-lint/tidy.log
}

# shellcheck disable=SC2086 # lists of names
{
    check 'clang-format' clang-format --dry-run -Werror $sources
    check 'shellcheck' shellcheck $scripts
    check 'pyflakes' pyflakes3 $python
}
check 'layers' test/layers.py . build/libproto.a build/libmesh.a \
    build/libprobe.a
check 'headers' test/headers.py . cc
check 'clang-tidy' tidy
exit $bad
