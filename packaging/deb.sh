#!/bin/sh
# deb.sh DIRECTORY - builds the Debian package of this tree into DIRECTORY.
#
# Works on a copy, since Debian's tools want their files in debian/ and write
# into the tree. The same sources and packages give the same bytes, wherever the
# tree lies; times are SOURCE_DATE_EPOCH's, or those of debian/changelog.
set -eu
mkdir -p "${1:?usage: deb.sh DIRECTORY}"
out=$(cd "$1" && pwd)
cd "$(dirname "$0")/.."

work=$(mktemp -d "${TMPDIR:-/tmp}/prober-deb.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM

# What git knows, with what has changed in it; without git all but builds.
mkdir "$work/prober"
if git ls-files >"$work/files" 2>/dev/null; then
    while read -r file; do
        [ ! -e "$file" ] || echo "$file"
    done <"$work/files" | tar -c -T - -f "$work/tree.tar"
else
    tar -c --exclude='./build*' --exclude=./.git -f "$work/tree.tar" .
fi
tar -x -f "$work/tree.tar" -C "$work/prober"
mv "$work/prober/packaging/debian" "$work/prober/debian"

cd "$work/prober"
umask 022
chmod -R u+rwX,go+rX,go-w . # some checkouts are made with another umask
LC_ALL=C TZ=UTC dpkg-buildpackage -us -uc -b >"$work/log" 2>&1 ||
    { tail -n 30 "$work/log" >&2 && exit 1; }
cp "$work"/*.deb "$work"/*.changes "$work"/*.buildinfo "$out"
