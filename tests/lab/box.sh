# shellcheck shell=sh
# Turns new namespaces into a machine of its own, as their first process:
#   sh box.sh ROOT BASE NAME SOURCE=TARGET...
# ROOT (a tree, or / itself) is covered by an overlay on tmpfs, BASE is an empty
# directory to do that in, and each SOURCE appears read-only at TARGET. Nothing
# that is written in here reaches the machine outside. It prints its process id
# as the machine sees it, then "ready", and lives until its standard input ends:
# then the kernel ends everything in here and takes the mounts down.
set -eu

lower=$1 base=$2 name=$3
shift 3
# Not $$, which is 1 in here: /proc is still the machine's.
read -r pid _ </proc/self/stat
echo "$pid"

mount -t tmpfs -o mode=755 lab "$base"
mkdir "$base/upper" "$base/work" "$base/root"
mount -t overlay lab "$base/root" \
    -o "lowerdir=$lower,upperdir=$base/upper,workdir=$base/work"

for bind; do
    target=$base/root${bind#*=}
    mkdir -p "$target"
    mount --bind "${bind%%=*}" "$target"
    mount -o remount,bind,ro "$target"
done

cd "$base/root"
# What the machine's own libvirt and vfwhooks left must not show.
rm -rf etc/vfwhooks var/lib/vfwhooks
mkdir -p etc/libvirt var/lib/libvirt var/cache/libvirt
for dir in run var/log etc/libvirt var/lib/libvirt var/cache/libvirt; do
    mount -t tmpfs -o mode=755 lab "$dir"
done
for dir in tmp var/tmp; do mount -t tmpfs -o mode=1777 lab "$dir"; done
mkdir -p run/lock run/lab var/log/libvirt etc/libvirt/hooks

mount -t proc -o nosuid,nodev,noexec proc proc
mount -t sysfs -o nosuid,nodev,noexec sys sys
# Only harmless devices: no /dev/kvm, so that every machine runs alike.
mount -t tmpfs -o mode=755 lab dev
mkdir dev/pts dev/shm dev/net
mount -t devpts -o newinstance,ptmxmode=666,mode=620 devpts dev/pts
mount -t tmpfs -o mode=1777 lab dev/shm
for node in null:1:3 zero:1:5 full:1:7 random:1:8 urandom:1:9 tty:5:0 \
    net/tun:10:200; do
    minor=${node##*:} path=${node%%:*} major=${node#*:}
    mknod -m 666 "dev/$path" c "${major%%:*}" "$minor"
done
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
ln -s fd/0 dev/stdin
ln -s fd/1 dev/stdout
ln -s fd/2 dev/stderr

hostname "$name"
echo "$name" >etc/hostname
printf '127.0.0.1 localhost %s\n::1 localhost\n' "$name" >etc/hosts
rm -f etc/resolv.conf
: >etc/resolv.conf

pivot_root . .
umount -l .
cd /
ip link set lo up
echo ready
# Orphans come to this process, and libvirt takes a zombie for a living machine:
# ignoring this signal makes the kernel clear them away (dash's trap does not).
exec env --ignore-signal=CHLD cat >/dev/null
