#!/bin/sh
# install.sh LIST... - installs the Debian packages that LIST.txt name.
#
# Asks dpkg first: when all are there, neither root nor a mirror is needed.
# No daemon is started by an installation.
set -eu
here=$(cd "$(dirname "$0")" && pwd)

missing=
for list in "$@"; do
    while read -r name; do
        state=$(dpkg-query -W -f '${db:Status-Status}' "$name" 2>&1) || state=
        [ "$state" = installed ] || missing="$missing $name"
    done <"$here/$list.txt"
done
[ "$missing" ] || exit 0

if [ "$(id -u)" != 0 ]; then
    echo "installing (as root):$missing"
    exec sudo "$here/install.sh" "$@"
fi

# Services are what an administrator starts, not what a test installs.
policy=/usr/sbin/policy-rc.d
if [ ! -e $policy ]; then
    trap 'rm -f $policy' EXIT
    trap 'exit 1' HUP INT TERM
    printf '#!/bin/sh\nexit 101\n' >$policy
    chmod 755 $policy
fi

export DEBIAN_FRONTEND=noninteractive RUNLEVEL=1
apt-get update -q
# shellcheck disable=SC2086 # a list of names
apt-get install -q -y --no-install-recommends $missing
