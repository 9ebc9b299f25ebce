#!/bin/sh
# Takes promtool out of Debian's package prometheus and prints its path: promtool.sh
#
# The package is not installed: it would bring a daemon.
set -eu

cache=${VFWHOOKS_LAB_CACHE:-/var/cache/vfwhooks-lab}
key=$(sha256sum "$0" | cut -c 1-12)
final=$cache/promtool-$key
mkdir -p "$cache"
exec 9>"$cache/promtool.lock"
flock 9
if [ ! -x "$final" ]; then
    echo "lab: fetching promtool (once)" >&2
    work=$(mktemp -d "$cache/promtool.new.XXXXXX")
    trap 'rm -rf "$work"' EXIT
    trap 'exit 1' INT TERM HUP
    (cd "$work" && apt-get -qq -o APT::Sandbox::User=root download prometheus >&2)
    dpkg-deb --fsys-tarfile "$work"/prometheus_*.deb | tar -x -C "$work" ./usr/bin/promtool
    rm -f "$cache"/promtool-*
    mv "$work/usr/bin/promtool" "$final"
fi
echo "$final"
