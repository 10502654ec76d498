#!/bin/sh
# image-root.sh DIRECTORY - builds the program and puts what it needs to run
# into DIRECTORY, which becomes the root of the image: the stripped binary, the
# shared libraries, CA certificates, and a list of what that is (SPDX).
#
# The same sources and packages give the same bytes, wherever the tree lies; times
# are SOURCE_DATE_EPOCH's.
set -eu
umask 022
out=$1
cd "$(dirname "$0")/.."
export SOURCE_DATE_EPOCH="${SOURCE_DATE_EPOCH:-0}" LC_ALL=C TZ=UTC

# Inside the tree, so that the names of sources are the same everywhere.
build="build-image"
rm -rf $build
trap 'rm -rf $build' EXIT
meson setup $build . -Dtests=false -Dc_args=-ffile-prefix-map="$PWD"=. \
    >/dev/null
ninja -C $build prober >$build/log || { tail -n 30 $build/log && exit 1; }

mkdir -p "$out/usr/bin" "$out/etc/ssl/certs" "$out/etc/prober" \
    "$out/usr/share/sbom"
strip -o "$out/usr/bin/prober" $build/prober
ldd "$out/usr/bin/prober" | grep -o '/[^ ]*' | sort | while read -r library; do
    mkdir -p "$out$(dirname "$library")"
    cp -L "$library" "$out$library"
done
cp -L /etc/ssl/certs/ca-certificates.crt "$out/etc/ssl/certs/"
printf 'prober:x:65532:65532::/:/nonexistent\n' >"$out/etc/passwd"
printf 'prober:x:65532:\n' >"$out/etc/group"
packaging/sbom.py "$out" >"$out/usr/share/sbom/prober.spdx.json"
find "$out" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
