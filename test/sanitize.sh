#!/bin/sh
# sanitize.sh [ROW...] - the tests under sanitizers, a build directory per row.
#
#   gcc, clang   address and undefined behaviour: unit tests, fuzz corpora,
#                whole processes, torture
#   tsan         data races: the tests of suite `thread`
set -u
cd "$(dirname "$0")/.." || exit
export ASAN_OPTIONS=halt_on_error=1:abort_on_error=1:detect_leaks=1
export UBSAN_OPTIONS=halt_on_error=1:abort_on_error=1:print_stacktrace=1
export TSAN_OPTIONS=halt_on_error=1:abort_on_error=1:second_deadlock_stack=1

row() # NAME COMPILER SANITIZERS SUITE [--suite SUITE]...
{
    dir=build-sanitize-$1 compiler=$2 kinds=$3
    echo "== $1: $kinds"
    shift 3
    # gcc's warnings see through its own instrumentation, and see ghosts.
    [ "$compiler" = clang ] && werror=true || werror=false
    [ -e "$dir/build.ninja" ] ||
        CC=$compiler meson setup "$dir" -Dwerror="$werror" -Db_lundef=false \
            -Db_sanitize="$kinds" || return
    meson introspect "$dir" --tests | grep -q ":$1\"" ||
        { echo "SKIPPED: there is no test in suite $1" && return; }
    rm -f "$dir/meson-logs/testlog.json"
    meson test -C "$dir" --print-errorlogs --timeout-multiplier 10 \
        --suite "$@"
    status=$?
    test/summary.py "$dir/meson-logs/testlog.json" && return $status
}

bad=0
[ $# != 0 ] || set -- gcc clang tsan
for name in "$@"; do
    case $name in
    gcc | clang)
        row "$name" "$name" address,undefined unit --suite fuzz \
            --suite process --suite torture || bad=1
        ;;
    tsan) row tsan clang thread thread || bad=1 ;;
    *) echo "sanitize.sh: no row $name" >&2 && exit 2 ;;
    esac
done
exit $bad
