#!/bin/sh
# The main job on a private host inside this machine: ./install.sh --demo runs this.
#
# It needs apt and nothing else: tree.sh makes a Debian system in a temporary
# directory, and that system's own python3, libvirtd and QEMU do the rest. What an
# earlier run of the tests has left in its cache is used, and not changed. Nothing
# of the demo is left, however it ends.
set -eu

unset CDPATH
here=$(cd "$(dirname "$0")" && pwd)
cache=${VFWHOOKS_LAB_CACHE:-/var/cache/vfwhooks-lab}
begun=$(date +%s)
work='' job=''

die() {
    echo "demo: $1" >&2
    exit 1
}

since() { echo $(($(date +%s) - begun)); }

# In a session of its own, where it can be ended with all that it has started.
start_job() {
    setsid "$@" &
    job=$!
}

end_job() {
    status=0
    wait "$job" || status=$?
    job=''
    return "$status"
}

clean_up() {
    trap '' INT TERM HUP
    session=$job tries=0
    [ -z "$job" ] || kill -s TERM -- "-$job" 2>/dev/null || :
    [ -z "$job" ] || end_job || :
    # What it has started ends a moment after it, and writes until then.
    while [ -n "$session" ] && kill -0 -- "-$session" 2>/dev/null; do
        [ $tries -lt 400 ] || break
        tries=$((tries + 1))
        sleep 0.05
    done
    [ -z "$work" ] || rm -rf --one-file-system "$work"
}

# build WHAT SCRIPT [ARGUMENT]: runs it, and shows that it is alive; prints nothing of
# it but where it failed. Its result is in the file `built`.
build() {
    what=$1 shown=0
    shift
    start_job sh "$@" >"$work/built" 2>"$work/log"
    while kill -0 "$job" 2>/dev/null; do
        sleep 0.2
        show_progress
    done
    [ ! -t 1 ] || printf '\r\033[K'
    end_job || {
        tail -n 20 "$work/log" >&2
        die "could not make $what: see above"
    }
    built=$(cat "$work/built")
}

# On a terminal a line that is written over each second, elsewhere a line in ten.
show_progress() {
    now=$(since)
    if [ -t 1 ] && [ "$now" -gt "$shown" ]; then
        # Files come and go while du looks.
        size=$(du -sm "$work" 2>/dev/null | cut -f 1) || :
        printf '\r   making %s: %s s, %s of about 900 MB ' "$what" "$now" "${size:-?}"
        shown=$now
    elif [ "$now" -ge $((shown + 10)) ]; then
        echo "   making $what: $now s"
        shown=$now
    fi
}

[ "$(id -u)" = 0 ] || die 'this needs root: run it with sudo'
command -v apt-get >/dev/null || die 'this needs apt, which makes a small Debian with it'
[ "$(uname -m)" = x86_64 ] || die "this runs on amd64, not on $(uname -m)"

trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
work=$(mktemp -d "${TMPDIR:-/var/tmp}/vfwhooks-demo.XXXXXX")
export VFWHOOKS_LAB_CACHE="$work"
for made in "$cache"/trixie-* "$cache"/image-*; do
    [ ! -d "$made" ] || ln -s "$made" "$work/"
done

echo 'vfwhooks at work, on a private host inside this machine; nothing of it will stay.'
build 'its system' "$here/tree.sh"
tree=$built
build "its guest's system" "$here/image.sh" "$tree"

# The tree's python3, on the tree's own libraries: this machine may have none.
libraries=$tree/usr/lib/x86_64-linux-gnu
cd "$here/.."
PYTHONDONTWRITEBYTECODE=1 start_job "$libraries/ld-linux-x86-64.so.2" \
    --library-path "$libraries" "$tree/usr/bin/python3" -m lab.demo
end_job
echo "That took $(since) s."
