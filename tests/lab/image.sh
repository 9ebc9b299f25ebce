#!/bin/sh
# Builds the guests' kernel and initramfs from a tree: image.sh TREE
#
# Prints the directory that holds `kernel` and `initrd`. The initramfs is the
# tree's busybox and perl, the modules for virtio network cards and SCTP, and
# the files in guest/. It is not compressed and neither is the kernel: software
# emulation would spend most of a second on unpacking them.
set -eu

tree=$1
here=$(cd "$(dirname "$0")" && pwd)
cache=${VFWHOOKS_LAB_CACHE:-/var/cache/vfwhooks-lab}

key=$({ basename "$tree" && cat "$here/image.sh" "$here"/guest/*; } |
    sha256sum | cut -c 1-12)
final=$cache/image-$key
if [ -d "$final" ]; then
    touch "$final"
    echo "$final"
    exit
fi

# All programs used are the tree's: this machine may lack cpio or zstd.
in_tree() { chroot "$tree" /usr/bin/env -i PATH=/usr/sbin:/usr/bin "$@"; }

# The compressed kernel inside a bzImage, by the offsets in its header.
unpack_kernel() {
    # shellcheck disable=SC2016 # a Python program
    in_tree python3 -c '
import struct, sys
data = sys.stdin.buffer.read()
start, size = struct.unpack_from("<II", data, 0x248)
start += (data[0x1F1] + 1) * 512
sys.stdout.buffer.write(data[start : start + size - 4])
' | in_tree zstd -dc
}

# copy_modules LIST MODULE...: with what they depend on, in the order of loading.
copy_modules() {
    list=$1
    shift
    for module; do
        in_tree modprobe -d /opt/guest-kernel -S "$version" \
            --show-depends "$module"
    done | sed -n 's/^insmod \([^ ]*\).*/\1/p' | while read -r path; do
        name=${path##*/}
        in_tree xz -dc "$path" >"$root/lib/modules/${name%.xz}"
        echo "${name%.xz}" >>"$root/lib/modules/$list"
    done
}

copy_programs() {
    cp "$tree/usr/bin/busybox" "$tree/usr/bin/perl" "$root/bin/"
    in_tree ldd /usr/bin/perl | grep -o '/[^ ]*' | while read -r library; do
        mkdir -p "$root${library%/*}"
        cp -L "$tree$library" "$root$library"
    done
    mkdir -p "$root/usr/lib/x86_64-linux-gnu"
    cp -R "$tree/usr/lib/x86_64-linux-gnu/perl-base" \
        "$root/usr/lib/x86_64-linux-gnu/"
    # A megabyte of Unicode tables that nothing here asks for.
    rm -rf "$root/usr/lib/x86_64-linux-gnu/perl-base/unicore"
    cp "$here"/guest/* "$root/bin/"
    mv "$root/bin/init" "$root/init"
    chmod 755 "$root/init" "$root"/bin/*
    for name in $(in_tree busybox --list); do
        [ -e "$root/bin/$name" ] || ln -s busybox "$root/bin/$name"
    done
}

mkdir -p "$cache"
exec 9>"$cache/image.lock"
flock 9
if [ ! -d "$final" ]; then
    echo 'lab: building the image of the guests' >&2
    rm -rf "$cache"/image.new.*
    find "$cache" -maxdepth 1 -name 'image-*' -mtime +7 -exec rm -rf {} +
    work=$(mktemp -d "$cache/image.new.XXXXXX")
    trap 'rm -rf "$work"' EXIT
    trap 'exit 1' INT TERM HUP
    chmod 755 "$work"
    root=$work/root
    mkdir -p "$work/image" "$root/bin" "$root/dev" "$root/etc" "$root/proc" \
        "$root/sys" "$root/tmp" "$root/lib/modules" "$root/srv"
    version=$(ls "$tree/opt/guest-kernel/usr/lib/modules")
    unpack_kernel <"$tree/opt/guest-kernel/boot/vmlinuz-$version" \
        >"$work/image/kernel"
    copy_modules net virtio_pci virtio_net
    copy_modules sctp sctp
    copy_programs
    (cd "$root" && find . | "$tree/usr/bin/busybox" cpio -o -H newc -R 0:0) \
        >"$work/image/initrd"
    mv "$work/image" "$final"
fi
echo "$final"
