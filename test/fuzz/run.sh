#!/bin/sh
# run.sh [SECONDS [TARGET...]] - runs the fuzz targets one after the other.
#
# Each gets SECONDS (60), its corpus and, if there is one, its dictionary
# (test/fuzz/TARGET.dict). Everything found is kept in build-fuzz/corpus; what
# reaches code that test/fuzz/corpus does not reach yet is added to that, so
# that every later test run replays it. A crash leaves its input and its log
# in build-fuzz/TARGET/ and makes the exit code 1.
set -u
cd "$(dirname "$0")/../.." || exit
seconds=${1-60}
[ $# = 0 ] || shift

[ -e build-fuzz/build.ninja ] ||
    CC=clang meson setup build-fuzz -Dfuzz=true -Db_lundef=false \
        -Db_sanitize=address,undefined || exit
if [ $# = 0 ]; then
    # shellcheck disable=SC2046 # one word a target
    set -- $(ninja -C build-fuzz -t targets all |
        sed -n 's,^test/fuzz/fuzz_\([a-z0-9_]*\):.*,\1,p' | sort -u)
fi
for name in "$@"; do
    echo "test/fuzz/fuzz_$name"
done | xargs ninja -C build-fuzz || exit

export ASAN_OPTIONS=allocator_may_return_null=1:detect_leaks=1
export UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1

fuzz() # TARGET
{
    exe=build-fuzz/test/fuzz/fuzz_$1
    kept=test/fuzz/corpus/$1 found=build-fuzz/corpus/$1 dir=build-fuzz/$1
    log=$dir/log
    mkdir -p "$kept" "$found" "$dir"
    set -- -timeout=5 -rss_limit_mb=2048 -artifact_prefix="$dir/"
    [ ! -e "test/fuzz/${kept##*/}.dict" ] ||
        set -- "$@" -dict="test/fuzz/${kept##*/}.dict"

    "$exe" "$@" -max_total_time="$seconds" -print_final_stats=1 \
        "$found" "$kept" >"$log" 2>&1
    status=$?
    before=$(find "$kept" -type f | wc -l)
    # Edges alone decide what is kept, not how often each was taken: the
    # corpus in the repository stays small enough to read.
    [ $status != 0 ] || "$exe" "$@" -merge=1 -use_counters=0 \
        "$kept" "$found" >"$dir/merge.log" 2>&1 || status=1
    after=$(find "$kept" -type f | wc -l)

    execs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
    cover=$(sed -n 's/.* cov: \([0-9]*\) .*/\1/p' "$log" | tail -n 1)
    printf '%-16s %10s execs %6s edges %4s inputs kept (%s new)%s\n' \
        "${kept##*/}" "${execs:-?}" "${cover:-?}" "$after" \
        "$((after - before))" "$([ $status = 0 ] || echo "  CRASH, see $dir")"
    [ $status = 0 ] || tail -n 40 "$log"
    return $status
}

bad=0
for name in "$@"; do
    fuzz "$name" || bad=1
done
exit $bad
