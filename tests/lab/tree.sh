#!/bin/sh
# Builds a Debian 13 tree with libvirt 11.3 and prints its path: tree.sh
#
# The tree is the root file system of the lab's Debian 13 hosts. It is made by
# this machine's own apt, which downloads for it and installs into it, so that
# nothing is installed here and neither debootstrap nor a mirror need be named.
# Where no apt source of this machine is Debian's own (Ubuntu), a mirror is
# taken from VFWHOOKS_LAB_MIRROR. Must not leave anything outside the cache.
set -eu

suite=trixie
cache=${VFWHOOKS_LAB_CACHE:-/var/cache/vfwhooks-lab}
here=$(cd "$(dirname "$0")" && pwd)
packages="
    libvirt-daemon-system libvirt-clients libvirt-daemon-driver-qemu
    libvirt-daemon-driver-lxc libvirt-daemon-driver-network
    libvirt-daemon-config-network
    libvirt-daemon-log qemu-system-x86 seabios
    iptables nftables conntrack iproute2 iputils-ping dnsmasq-base
    dbus firewalld ufw fail2ban docker.io wireguard-go wireguard-tools
    procps kmod curl
    python3 python3-libvirt python3-lxml python3-jinja2 python3-yaml python3-rich
    busybox-static cpio xz-utils zstd
    cockpit-ws cockpit-bridge cockpit-system sudo
"

say() { echo "lab: $*" >&2; }

die() {
    echo "lab: $1" >&2
    [ $# -lt 2 ] || echo "lab: hint: $2" >&2
    exit 1
}

# The first archive of Debian itself that apt here is set up for; mirror lists
# (mirror+file:) are as good as hosts, since it is this apt that uses them.
find_mirror() {
    if [ -n "${VFWHOOKS_LAB_MIRROR:-}" ]; then
        echo "$VFWHOOKS_LAB_MIRROR"
        return
    fi
    # shellcheck disable=SC2016 # $(...) here is apt's own notation
    apt-get indextargets --format '$(REPO_URI) $(RELEASE)' \
        'Created-By: Packages' 'Component: main' |
        while read -r uri release; do
            case $uri in
                cdrom:* | *ubuntu* | *security*) continue ;;
            esac
            case $release in
                *-security | *-updates | *-backports) continue ;;
            esac
            echo "$uri"
            break
        done
}

# Debian's archive keys: this machine's, or else those of the package, which
# Ubuntu has as well; its signature is checked by this machine's apt.
find_keyring() {
    keyring=/usr/share/keyrings/debian-archive-keyring.gpg
    if [ -r "$keyring" ]; then
        echo "$keyring"
        return
    fi
    mkdir -p "$work/keys"
    (cd "$work/keys" && apt-get -q -o APT::Sandbox::User=root \
        download debian-archive-keyring >&2 &&
        dpkg -x debian-archive-keyring_*.deb .)
    echo "$work/keys$keyring"
}

# How apt here reaches the archive (proxies, certificates, relaxed clocks) is
# kept; hooks that this machine runs after an installation are not.
write_apt_config() {
    apt-config dump | grep '^Acquire::' >"$work/apt.conf"
    cat >>"$work/apt.conf" <<EOF
Acquire::Languages "none";
APT::Architecture "amd64";
APT::Architectures { "amd64"; };
APT::Install-Recommends "false";
APT::Sandbox::User "root";
APT::Get::Assume-Yes "true";
Dir::Etc::main "/dev/null";
Dir::Etc::parts "/dev/null";
Dir "$tree/";
Dir::State::status "$tree/var/lib/dpkg/status";
Dir::Etc::netrc "/etc/apt/auth.conf";
Dir::Etc::netrcparts "/etc/apt/auth.conf.d";
DPkg::Chroot-Directory "$tree";
DPkg::Options { "--force-unsafe-io"; };
EOF
    mkdir -p "$tree/etc/apt/preferences.d" "$tree/etc/apt/sources.list.d" \
        "$tree/var/cache/apt/archives/partial" \
        "$tree/var/lib/apt/lists/partial" "$tree/var/lib/dpkg"
    : >"$tree/var/lib/dpkg/status"
    echo "deb [signed-by=$keyring] $mirror $suite main" \
        >"$tree/etc/apt/sources.list"
}

tree_apt() { APT_CONFIG=$work/apt.conf apt-get -q "$@" >>"$work/log" 2>&1; }

# Unpacked first and configured after, because the maintainer scripts of the
# essential packages need each other's programs.
bootstrap() {
    tree_apt update
    tree_apt --download-only install '?essential' base-files base-passwd
    # base-files holds the links of merged /usr, so it comes first.
    for deb in "$tree"/var/cache/apt/archives/base-files_*.deb \
        "$tree"/var/cache/apt/archives/*.deb; do
        dpkg-deb --fsys-tarfile "$deb" | tar -x -C "$tree" --keep-directory-symlink
    done
    make_devices
    mount -t proc proc "$tree/proc"
    printf '#!/bin/sh\nexit 101\n' >"$tree/usr/sbin/policy-rc.d"
    chmod 755 "$tree/usr/sbin/policy-rc.d"
    in_tree sh -c 'dpkg --force-depends --force-unsafe-io \
        --install /var/cache/apt/archives/*.deb'
}

make_devices() {
    for node in null:1:3 zero:1:5 full:1:7 random:1:8 urandom:1:9 tty:5:0; do
        minor=${node##*:}
        major=${node#*:}
        [ -e "$tree/dev/${node%%:*}" ] ||
            mknod -m 666 "$tree/dev/${node%%:*}" c "${major%%:*}" "$minor"
    done
}

in_tree() {
    chroot "$tree" /usr/bin/env -i PATH=/usr/sbin:/usr/bin LC_ALL=C.UTF-8 \
        DEBIAN_FRONTEND=noninteractive "$@" >>"$work/log" 2>&1
}

# The guests' kernel only has to lie there: installed, it would want a boot
# loader and an initramfs of its own.
add_guest_kernel() {
    kernel=$(APT_CONFIG=$work/apt.conf apt-cache depends linux-image-cloud-amd64 |
        sed -n 's/^ *Depends: \(linux-image-[0-9]\)/\1/p' | head -n 1)
    [ -n "$kernel" ] || die 'no cloud kernel in the archive'
    (cd "$work" && tree_apt download "$kernel")
    mkdir -p "$tree/opt/guest-kernel"
    dpkg-deb --fsys-tarfile "$work/$kernel"_*.deb |
        tar -x -C "$tree/opt/guest-kernel"
    ln -s usr/lib "$tree/opt/guest-kernel/lib"
    in_tree depmod -b /opt/guest-kernel \
        "$(ls "$tree/opt/guest-kernel/usr/lib/modules")"
}

build() {
    keyring=$(find_keyring)
    mkdir -p "$tree"
    write_apt_config
    say "building a Debian $suite tree in $cache (once; about a minute)"
    bootstrap
    say "installing libvirt and qemu in it"
    # shellcheck disable=SC2086 # a list of words
    DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8 tree_apt install $packages
    say 'fetching the kernel for its guests'
    add_guest_kernel
    umount "$tree/proc"
    rm -rf "$tree/var/cache/apt/archives" "$tree/var/lib/apt/lists" \
        "$tree/etc/apt/sources.list" "$tree/usr/sbin/policy-rc.d"
    mkdir -p "$tree/srv/vfwhooks" "$tree/srv/image"
}

abandon() {
    tail -n 20 "$work/log" >&2
    umount "$tree/proc" 2>/dev/null || true
    rm -rf --one-file-system "$work"
}

[ "$(id -u)" = 0 ] || die 'the lab needs root' 'run it with sudo'
[ "$(dpkg --print-architecture)" = amd64 ] ||
    die "the lab runs on amd64, not on $(dpkg --print-architecture)"

key=$(sha256sum "$here/tree.sh" | cut -c 1-12)
final=$cache/$suite-$key
if [ -d "$final" ]; then
    touch "$final"
    echo "$final"
    exit
fi

# A mount namespace of its own: an interrupted build leaves no mount behind.
if [ -z "${LAB_TREE_UNSHARED:-}" ]; then
    LAB_TREE_UNSHARED=1 exec unshare --mount --propagation private \
        sh "$here/tree.sh"
fi

mirror=$(find_mirror)
[ -n "$mirror" ] || die 'no Debian archive among the apt sources here' \
    'name one: VFWHOOKS_LAB_MIRROR=http://HOST/debian'
mkdir -p "$cache"
exec 9>"$cache/$suite.lock"
flock -n 9 || {
    say 'waiting for another build of the tree'
    flock 9
}
if [ ! -d "$final" ]; then
    # Behind the lock nobody else is building: these are from a killed build.
    rm -rf "$cache/$suite".new.*
    find "$cache" -maxdepth 1 -name "$suite-*" -mtime +7 -exec rm -rf {} +
    work=$(mktemp -d "$cache/$suite.new.XXXXXX")
    tree=$work/tree
    chmod 755 "$work"
    trap 'exit 1' INT TERM HUP
    trap '[ $? = 0 ] || abandon' EXIT
    build
    mv "$tree" "$final"
    rm -rf "$work"
fi
echo "$final"
