#!/bin/sh
# chroot.sh SUITE [COMMAND...] - try HEAD on a fresh Debian.
#
#   test/system/chroot.sh bookworm     everything: ./dev test
#   test/system/chroot.sh trixie       ./dev build and the unit tests
#
# Bootstraps a minimal SUITE from the mirror that this machine's apt uses,
# copies HEAD into it and runs COMMAND there. Needs root and debootstrap. Its
# mounts and processes live in namespaces of their own and end with it,
# however it ends; the tree under /var/tmp is removed at the end.
set -eu
suite=${1:?usage: chroot.sh SUITE [COMMAND...]}

if [ "${IN_NAMESPACE-}" != yes ]; then
    IN_NAMESPACE=yes exec unshare --mount --pid --fork --kill-child \
        --mount-proc "$0" "$@"
fi
shift
cd "$(dirname "$0")/../.."

# The first archive that apt knows and that is not the security one, in
# either of its formats.
mirror=$(cat /etc/apt/sources.list /etc/apt/sources.list.d/*.list \
    /etc/apt/sources.list.d/*.sources 2>/dev/null |
    sed -n -e 's/^deb \(\[[^]]*\] \)\{0,1\}\([a-z]*:[^ ]*\) .*/\2/p' \
        -e 's/^URIs: *\([^ ]*\).*/\1/p' | grep -v security | head -n 1)
[ "$mirror" ] || { echo "chroot.sh: apt has no mirror here" >&2; exit 1; }

tree=$(mktemp -d /var/tmp/prober-chroot.XXXXXX)
# Nothing is removed while it is mounted: the binds are of the real /dev.
clean()
{
    umount -R "$tree" 2>/dev/null || :
    rm -rf --one-file-system "$tree"
}
trap clean EXIT
chmod 755 "$tree" # it is to be a /, and not only root walks there
trap 'exit 1' HUP INT TERM

echo "== $suite: bootstrapping"
debootstrap --variant=minbase "$suite" "$tree" "$mirror" >"$tree.log" 2>&1 ||
    { tail -n 20 "$tree.log"; exit 1; }
rm "$tree.log"

# What this machine needs to reach the mirror, the new one needs too.
cp -L /etc/resolv.conf /etc/hosts "$tree/etc/"
for file in /etc/apt/apt.conf.d/*proxy*; do
    [ ! -e "$file" ] || cp "$file" "$tree/etc/apt/apt.conf.d/"
done

mount --bind "$tree" "$tree" # a / is where something is mounted
mount --rbind /dev "$tree/dev" && mount --make-rslave "$tree/dev"
mount -t tmpfs tmpfs "$tree/dev/shm"
mount -t proc proc "$tree/proc"
mount --rbind /sys "$tree/sys" && mount --make-rslave "$tree/sys"

mkdir "$tree/src"
git archive HEAD | tar -x -C "$tree/src"
if [ $# = 0 ]; then
    case $suite in
    bookworm) set -- ./dev test ;;
    *) set -- sh -c './dev build && {
            meson test -C build --suite unit --suite tidy
            test/summary.py build/meson-logs/testlog.json
        }' ;;
    esac
fi
echo "== $suite: $*"
env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8 \
    ${http_proxy:+"http_proxy=$http_proxy"} \
    chroot "$tree" sh -c 'cd /src && exec "$@"' sh "$@"
