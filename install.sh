#!/bin/sh
# Installs vfwhooks on this host, upgrades it, or removes it: see --help.
#
# libvirt's hooks are switched only after the new release is complete and compiled, and
# its hooks have been tried. A hook that runs meanwhile finds one release, old or new.
set -eu
umask 022
PATH=$PATH:/usr/sbin:/usr/bin:/sbin:/bin
unset CDPATH # cd would print, and go elsewhere
here=$(cd "$(dirname "$0")" && pwd)
root=${DESTDIR:-} prefix=${PREFIX:-/usr}
prefix=${prefix%/}
case $root in [!/]*) root=$PWD/$root ;; esac
units='vfwhooks.service vfwhooks-metrics.service vfwhooks-metrics.timer'
hooks=/etc/libvirt/hooks config=/etc/vfwhooks/forwards.yaml state=/run/vfwhooks
drivers='qemu lxc libxl network daemon' python=/usr/bin/python3
selinux=/sys/fs/selinux boolean=virt_hooks_unconfined
work='' fresh='' laid='' made='' module='' gone=''

usage() {
	cat <<EOF
usage: ./install.sh [--check | --status | --selinux-module | --uninstall | --demo | --help]

Installs vfwhooks or upgrades it, and the packages that it needs where they are missing.
Guests go on running, and are forwarded to at once. Hooks are laid for those of
libvirt's daemons that may run them; the others are followed by their files.

  --check           say what would be done, and whether it could be; nothing is changed
  --status          say what is installed, and what vfwhooks doctor thinks of it
  --selinux-module  load a policy module that lets them run hooks, and switch the
                    boolean $boolean on
  --uninstall       take out all rules and all that was installed; an edited
                    $config stays
  --demo            show it at work on a private host inside this one, and leave
                    nothing

For packagers: PREFIX is that of what is installed, or else /usr; with DESTDIR files are
put there, and nothing else is touched or run. packaging/ has packages, whose scripts
call this with --configure.
For tools: --release prints the name of the release in this checkout.
EOF
}

# What is done now: on a terminal, on a line that the next one is written over.
tell() {
	[ ! -t 2 ] || [ "${TERM:-dumb}" = dumb ] ||
		printf '\r\033[K%s' "${1:+install.sh: $1 ...}" >&2
}

say() {
	tell ''
	line "install.sh: $*"
}

# Some shells' echo would carry out a backslash in a name.
line() { printf '%s\n' "$*"; }

die() {
	say "$*" >&2
	exit 1
}

# Two of these at once would take each other's files. The lock is on a directory that is
# always there, and ends with this process.
take_turn() {
	exec 9</etc
	flock -n 9 || {
		say 'another install.sh runs: this one waits for its end'
		flock 9
	}
}

runs_systemd() { [ -z "$root" ] && [ -d /run/systemd/system ]; }

# The second line of a file of ours names vfwhooks: a manual's title, the schema's $id.
is_ours() {
	[ -f "$1" ] && sed -n 2p "$1" |
		grep -qe '^# vfwhooks: ' -e '^\.TH .*"vfwhooks ' -e '"urn:vfwhooks:'
}

# A place for a file of ours: nothing is there, or one of ours.
is_free() { is_ours "$root$1" || { [ ! -e "$root$1" ] && [ ! -L "$root$1" ]; }; }

# The prefixes of all that is installed here, one a line: the units name their commands.
find_installations() {
	for place in /etc /usr/local/lib /usr/lib; do
		sed -n 's|^ExecStart=\(/.*/vfwhooks\) watch$|\1|p' \
			$place/systemd/system/vfwhooks.service 2>/dev/null || :
	done | sort -u | while read -r one; do
		! is_ours "$one" || echo "${one%/bin/*}"
	done
}

# Without PREFIX it is that of what is installed. Two installations would take hooks and
# rules from each other, and systemd knows one unit.
choose_prefix() {
	found=$(find_installations)
	[ -n "${PREFIX:-}" ] || [ -z "$found" ] || prefix=$(echo "$found" | head -n 1)
	other=$(echo "$found" | grep -vxF "$prefix" | head -n 1)
	[ -n "$other" ] || return 0
	[ "${PREFIX:+$action}" != uninstall ] || ! echo "$found" | grep -qxF "$prefix" || return 0
	refuse_beside_package "$other"
	die "vfwhooks is installed in $other: PREFIX=$other ./install.sh --uninstall removes that"
}

set_places() {
	lib=$prefix/lib/vfwhooks bin=$prefix/bin/vfwhooks man=$prefix/share/man
	unit=$prefix/lib/systemd/system/vfwhooks.service
	share=$prefix/share/vfwhooks # the files that a package installs from
	schema=$share/forwards.schema.json web_page=$prefix/share/cockpit/vfwhooks
	# systemd reads units below /usr and /usr/local, and below no other prefix.
	case $root:$prefix in
	:/usr | :/usr/local | [!:]*) ;;
	*) unit=/etc/systemd/system/vfwhooks.service ;;
	esac
}

# put FILE [MODE]: write standard input to the file, all of it or nothing. libvirt would run
# a new file in qemu.d/ and its like.
put() {
	coming=$root$1.new
	case $1 in "$hooks"/*/*) coming=$root$hooks/.vfwhooks.new ;; esac
	{ cat >"$coming" && chmod "${2:-644}" "$coming" && mv "$coming" "$root$1"; } || {
		rm -f "$coming"
		return 1
	}
}

# Remembers each new directory: --uninstall leaves all other directories, empty or not.
make_directory() {
	[ ! -d "$root$1/" ] || return 0
	make_directory "${1%/*}"
	mkdir "$root$1"
	made="$made $1"
}

# The name of the release in a directory: its version, and a hash of its files, in an order
# that is the same in every locale.
identify() {
	(LC_ALL=C && export LC_ALL && cd "$1" && sed -n 's/^__version__ = "\(.*\)"/\1/p' vfwhooks/__init__.py &&
		sha256sum vfwhooks/*.py vfwhooks/*/*.py templates/* hooks/* | sha256sum | cut -c 1-8) 2>/dev/null |
		paste -s -d - -
}

libvirt_version() {
	for daemon in virtqemud libvirtd; do
		! command -v $daemon >/dev/null || { $daemon --version | sed 's/.* //' && break; }
	done
}

# The place of a driver's hook. A foreign hook stays; since libvirt 6.5 hooks in qemu.d/
# run as well.
find_place() {
	if is_free "$hooks/$1"; then
		echo "$hooks/$1"
	elif ! printf '6.5.0\n%s\n' "$version" | sort -V -c >/dev/null 2>&1; then
		die "$hooks/$1 is not ours, and libvirt ${version:-here} runs no other beside it:" \
			"upgrade libvirt to 6.5 or move that file away, then run this again"
	elif is_free "$hooks/$1.d/vfwhooks"; then
		echo "$hooks/$1.d/vfwhooks"
	else
		die "$hooks/$1 and $hooks/$1.d/vfwhooks are not ours: move one of them away," \
			"then run this again"
	fi
}

find_missing() {
	$python -c 'import sys; sys.exit(sys.version_info < (3, 9))' 2>/dev/null || echo python3.9
	$python -I -c 'import libvirt, lxml, jinja2, yaml' 2>/dev/null ||
		for module in libvirt lxml jinja2 yaml; do
			$python -I -c "import $module" 2>/dev/null || echo $module
		done
	for place in /usr/sbin /usr/bin /sbin /bin; do
		[ ! -x $place/nft ] && [ ! -x $place/iptables-restore ] || return 0
	done
	echo nft
}

# A value of os-release(5). No file and no value are an empty one.
read_os_release() {
	for file in /etc/os-release /usr/lib/os-release; do
		[ ! -r $file ] || { sed -n "s/^$1=//p" $file | tr -d "\"'" && break; }
	done
}

# The family of this distribution: by its own ID, then by those that it is like.
find_family() {
	for id in $(read_os_release ID) $(read_os_release ID_LIKE); do
		case $id in
		debian | ubuntu) echo debian ;;
		fedora | rhel | centos) echo fedora ;;
		opensuse* | suse*) echo suse ;;
		arch) echo arch ;;
		*) continue ;;
		esac
		break
	done
}

# Sets the package manager, and the packages in the order of what find_missing names.
name_packages() {
	manager='' packages=''
	case $(find_family) in
	debian)
		manager=apt-get
		packages='python3 python3-libvirt python3-lxml python3-jinja2 python3-yaml nftables'
		;;
	fedora)
		manager=dnf
		packages='python3 python3-libvirt python3-lxml python3-jinja2 python3-pyyaml nftables'
		;;
	suse)
		manager=zypper
		packages='python3 python3-libvirt-python python3-lxml python3-Jinja2 python3-PyYAML nftables'
		;;
	arch)
		manager=pacman
		packages='python libvirt-python python-lxml python-jinja python-yaml nftables'
		;;
	esac
}

# Keeps those packages that have what is missing.
select_packages() {
	# shellcheck disable=SC2086 # words, not one
	set -- $packages
	packages=''
	for what in python3.9 libvirt lxml jinja2 yaml nft; do
		case " $missing " in *" $what "*) packages="$packages $1" ;; esac
		shift
	done
	packages=${packages# }
}

# No package brings another Python to $python.
refuse_old_python() {
	[ -x $python ] || return 0
	old=$($python -c 'import sys
if sys.version_info < (3, 9): print(*sys.version_info[:2], sep=".")') || :
	[ -z "$old" ] || die "$python is Python $old, and vfwhooks needs 3.9 or later:" \
		"a later release of $(name_system) has that"
}

name_system() {
	name=$(read_os_release PRETTY_NAME)
	echo "${name:-this system}"
}

# Finds what is missing, and what would install it. Dies where nothing would.
plan_packages() {
	missing=$(find_missing | xargs)
	[ -n "$missing" ] || return 0
	refuse_old_python
	name_packages
	[ -n "$packages" ] || die "this host lacks $missing, and what $(name_system) calls its packages" \
		'is not known here: install Python 3.9 or later, its modules libvirt, lxml, jinja2' \
		'and yaml, and nft or iptables, then run this again'
	select_packages
	is_writable /usr || die "this host lacks $missing, and its image has all packages:" \
		"$(name_image_step), then run this again"
	command -v $manager >/dev/null ||
		die "this host lacks $missing, and there is no $manager: install $packages, then run this again"
}

name_image_step() {
	if command -v rpm-ostree >/dev/null; then
		echo "rpm-ostree install $packages, and boot into it"
	elif command -v transactional-update >/dev/null; then
		echo "transactional-update pkg install $packages, and boot into it"
	else
		echo "put $packages into the image"
	fi
}

# A package manager's status says less than a look: zypper has some for what went well.
install_packages() {
	plan_packages
	[ -n "$missing" ] || return 0
	say "installing $packages"
	# shellcheck disable=SC2086 # words, not one
	run_manager $packages >&2 && status=0 || status=$?
	missing=$(find_missing | xargs)
	[ -n "$missing" ] || return 0
	refuse_old_python
	case $manager:$status in
	*:0) die "this host still lacks $missing: install them, then run this again" ;;
	pacman:*) step='see above (where it found no file: pacman -Syu)' ;;
	*) step='see above' ;;
	esac
	die "$manager could not install $packages: $step, then run this again"
}

run_manager() {
	case $manager in
	apt-get)
		apt-get -qq update || :
		DEBIAN_FRONTEND=noninteractive apt-get -qq -y --no-install-recommends install "$@"
		;;
	dnf) dnf -q -y install "$@" ;;
	zypper) zypper -q -n install "$@" ;;
	pacman) pacman -S --noconfirm --needed "$@" ;;
	esac
}

# The release gets its name when it is complete.
lay_release() {
	make_directory "$lib"
	if [ "$(identify "$root$release")" = "${release##*/}" ]; then
		compile "$root$release"
		return 0
	fi
	new=$(mktemp -d "$root$lib/.new.XXXXXX")
	copy_release "$new/release"
	compile "$new/release"
	[ -d "$root$release" ] || fresh=$root$release
	[ -n "$fresh" ] || mv "$root$release" "$new/damaged"
	mv "$new/release" "$root$release"
}

copy_release() {
	to=$1
	for directory in vfwhooks "$here"/vfwhooks/*/; do
		directory=${directory#"$here/"}
		set -- "$here/$directory"/*.py
		[ ! -e "$1" ] || install -D -m 644 -t "$to/$directory" "$@"
	done
	install -D -m 644 -t "$to/templates" "$here"/templates/*
	install -D -m 755 -t "$to/hooks" "$here"/hooks/*
}

compile() {
	$python -m compileall -q -s "$1" -p "$release" "$1/vfwhooks" >&2 ||
		die 'the package does not compile: see above, and take another checkout'
}

# Writes hooks that name the release into a directory for the trial.
stage_hooks() {
	work=$(mktemp -d)
	mkdir "$work/hooks"
	for driver in $drivers; do
		sed "s|^lib=\${0%/\*}/\.\.\$|lib=$release|" "$here/hooks/$driver" >"$work/hooks/$driver"
	done
}

# Calls every hook as libvirt does, but in its own network namespace and with its own
# state directory. The directory shows whether the hook worked; no rule of this host is
# touched.
call_hooks() {
	for driver in $drivers; do
		rm -f "$work/state/base" "$work/state/full"
		said=$(call_alone sh "$work/hooks/$driver" vfwhooks-selftest stopped end - 2>&1) ||
			die "the $driver hook fails here, nothing was changed: status $?: $said"
		[ -z "$said" ] || die "the $driver hook fails here, nothing was changed: $said"
		[ -e "$work/state/base" ] || [ -e "$work/state/full" ] && continue
		said=$(call_python)
		die "the $driver hook fails here, nothing was changed: ${said:-nothing was done}"
	done
}

call_alone() {
	unshare --net -- env -i HOME=/ PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C \
		VFWHOOKS_STATE="$work/state" VFWHOOKS_CONFIG="$work/forwards.yaml" "$@" </dev/null
}

# The messages of a hook's Python part, which a hook does not print.
call_python() {
	call_alone python3 -IX utf8 -c "import sys
sys.path.insert(0, '$release')
from time import monotonic, monotonic_ns
from vfwhooks.service.hook import carry_out
event = 'qemu', 'vfwhooks-selftest', 'stopped', b'', monotonic_ns()
print(*carry_out('$work/state', '$work/forwards.yaml', event, monotonic() + 4), sep='; ')
" 2>&1 | tail -n 1
}

# Lays the daemon hook first, then the hooks of the daemons that have run it: a hook that
# libvirt may not execute keeps guests from starting.
lay_hooks() {
	if ! is_writable "$hooks"; then
		say "$hooks is read-only: no hook is laid, the service follows libvirt's own files"
		warn_alone
		return 0
	fi
	make_directory "$hooks"
	may=$drivers
	if [ -z "$root" ]; then
		relabel "$hooks"
		place=$(find_place daemon)
		make_directory "${place%/*}"
		call_trial "$release" try "$work/hooks/daemon" "$place" >"$work/trial" ||
			die 'it could not be tried whether libvirt may run hooks: see above'
		may=$(sed -n 's/^may //p' "$work/trial")
		sed -n 's/^say /install.sh: /p' "$work/trial"
		! grep -q '^say ' "$work/trial" || warn_alone
	fi
	[ -z "$may" ] || may="$may daemon"
	for driver in $drivers; do
		case " $may " in *" $driver "*) lay_hook ;; *) take_hook_away ;; esac
	done
	[ -n "$root" ] || [ -z "$may$gone" ] || call_trial "$release" tell
}

# Labels files as the policy's file contexts say: SELinux refuses a hook with another
# label. Files of others keep their labels.
relabel() {
	[ ! -d $selinux ] || restorecon -F "$@" 2>/dev/null || :
}

warn_alone() {
	runs_systemd || say "there is no systemd here: have $bin watch run from boot on"
}

lay_hook() {
	place=$(find_place "$driver")
	make_directory "${place%/*}"
	put "$place" 755 <"$work/hooks/$driver"
	[ -n "$root" ] || relabel "${place%/*}" "$place"
	if [ "$place" = "$hooks/$driver" ]; then
		remove "$hooks/$driver.d/vfwhooks"
	else
		say "$hooks/$driver is not ours and stays; ours is $place"
	fi
}

take_hook_away() {
	! is_ours "$root$hooks/$driver" && ! is_ours "$root$hooks/$driver.d/vfwhooks" || gone=1
	remove "$hooks/$driver"
	remove "$hooks/$driver.d/vfwhooks"
}

# Runs hook_trial of the package in a directory.
call_trial() {
	package=$1
	shift
	$python -IBc 'import sys
sys.path.insert(0, sys.argv.pop(1))
from vfwhooks.installation.hook_trial import main
sys.exit(main())' "$package" "$@" --state "$state"
}

# The old value of the boolean is kept, and --uninstall restores it.
load_module() {
	[ -d $selinux ] || die '--selinux-module: there is no SELinux here'
	for tool in semodule setsebool; do
		command -v $tool >/dev/null || die "$tool is missing: install policycoreutils"
	done
	[ -e $selinux/booleans/$boolean ] ||
		die "this policy has no boolean $boolean, which our module depends on"
	known=$(cat "$lib/selinux" 2>/dev/null || :)
	[ -n "$known" ] || cut -c 1 $selinux/booleans/$boolean >"$lib/selinux"
	cil=$release/templates/vfwhooks.cil
	[ -e "$cil" ] || cil=$prefix/share/selinux/packages/vfwhooks.cil
	if ! semodule -i "$cil" || ! setsebool -P $boolean on; then
		[ -n "$known" ] || { semodule -r vfwhooks 2>/dev/null || :; }
		[ -n "$known" ] || rm "$lib/selinux" # or every later install would try again
		die 'the policy module could not be loaded: see above'
	fi
	say "the policy module vfwhooks is loaded, and $boolean is on"
}

unload_module() {
	[ -e "$lib/selinux" ] || return 0
	semodule -r vfwhooks || say 'the policy module vfwhooks is still loaded: see above'
	[ "$(cat "$lib/selinux")" = 1 ] || setsebool -P $boolean off || :
}

switch() {
	lay_hooks
	make_directory "${bin%/*}"
	write_command "$release" | put "$bin" 755
	site=$(find_site)
	[ -z "$site" ] || make_directory "$site"
	[ -z "$site" ] || write_command "$release" | put "$site/vfwhooks.py"
}

# The script that runs a release, for $bin and for python3 -m vfwhooks.
write_command() {
	cat <<EOF
#!$python -IXutf8
# vfwhooks: runs the installed release.
import sys

sys.path.insert(0, "$1")
from vfwhooks.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
EOF
}

find_installed() {
	[ ! -e "$root$bin" ] || sed -n 's/^sys.path.insert(0, "\(.*\)")$/\1/p' "$root$bin"
}

# The directory where python3 finds a distribution's modules.
find_site() {
	$python -I -c 'import os, site, sys
found = [p for p in site.getsitepackages() if p.startswith(sys.argv[1]) and os.path.isdir(p)]
print(*found[:1])' "$prefix/lib/"
}

# A release's sample; its first line tells editors the path of the schema.
sample() { sed "s|=/usr/share/|=$prefix/share/|" "$1/templates/forwards.yaml" 2>/dev/null; }
is_sample() {
	known=$(sample "$1")
	[ -n "$known" ] && [ -f "$root$config" ] && [ "$known" = "$(cat "$root$config")" ]
}

# Whether the host never had a forwards.yaml, or has another release's sample.
wants_sample() {
	! is_sample "$here" || return 1
	is_sample "$root$previous" ||
		{ [ ! -e "$root$config" ] && [ ! -e "$root/var/lib/vfwhooks/compiled" ]; }
}

lay_sample() {
	make_directory "${config%/*}"
	! wants_sample || sample "$here" | put "$config"
}

lay_schema() {
	[ -e "$here/templates/${schema##*/}" ] || return 0
	make_directory "${schema%/*}"
	put "$schema" <"$here/templates/${schema##*/}"
}

lay_unit() {
	[ -e "$here/templates/vfwhooks.service" ] || return 0
	make_directory "${unit%/*}"
	for one in $units; do
		[ ! -e "$here/templates/$one" ] ||
			sed "s|/usr/bin/vfwhooks|$bin|" "$here/templates/$one" | put "${unit%/*}/$one"
	done
}

lay_manuals() {
	for page in "$here"/docs/*.[1-9]; do
		[ -e "$page" ] || continue
		make_directory "$man/man${page##*.}"
		put "$man/man${page##*.}/${page##*/}" <"$page"
	done
}

# Completions, and a manual page for every command, made from the parser.
lay_made() {
	work=${work:-$(mktemp -d)}
	$python -IBc 'import sys
sys.path.insert(0, sys.argv[1])
from vfwhooks.cli.made_files import main
main(sys.argv[2])' "$here" "$work/made"
	for page in "$work"/made/man8/*; do
		make_directory "$man/man8"
		put "$man/man8/${page##*/}" <"$page"
	done
	for shell in bash zsh fish; do
		place=$(find_completion $shell)
		make_directory "${place%/*}"
		put "$place" <"$work/made/$shell/vfwhooks"
	done
}

# The path where a shell looks for a package's completions.
find_completion() {
	case $1 in
	bash) echo "$prefix/share/bash-completion/completions/vfwhooks" ;;
	fish) echo "$prefix/share/fish/vendor_completions.d/vfwhooks.fish" ;;
	zsh)
		part='site-functions'
		[ ! -e /etc/debian_version ] || [ "$prefix" != /usr ] || part='vendor-completions'
		echo "$prefix/share/zsh/$part/_vfwhooks"
		;;
	esac
}

# The page in Cockpit, where Cockpit is.
lay_page() {
	[ -d "$here/cockpit" ] && { [ -n "$root" ] || [ -d /usr/share/cockpit ]; } || return 0
	make_directory "$web_page"
	for one in "$here"/cockpit/*; do
		sed "s|^const TOOL = \"vfwhooks\"|const TOOL = \"$bin\"|" "$one" | put "$web_page/${one##*/}"
	done
	for one in "$root$web_page"/*; do # of another release; a translation is of somebody else
		case $one in */po.*) continue ;; esac
		[ ! -f "$one" ] || [ -e "$here/cockpit/${one##*/}" ] || rm "$one"
	done
}

start_unit() {
	[ -e "$unit" ] && runs_systemd || return 0
	systemctl --quiet daemon-reload
	systemctl --quiet enable vfwhooks.service
	systemctl --quiet restart vfwhooks.service ||
		die 'installed, but not running: see journalctl -u vfwhooks, then run this again'
}

# Puts forwards in force for guests that run already.
forward_now() {
	for socket in /run/libvirt/*-sock; do
		[ -S "$socket" ] || return 0
	done
	"$bin" apply || die "installed, but not all is forwarded: see above, then: vfwhooks apply"
}

remove() { ! is_ours "$root$1" || rm -f "$root$1"; }

remove_older() {
	for other in "$root$lib"/*/; do
		case ${other%/} in
		"$root$release" | "$root$previous" | "$root$lib/current") ;;
		*) rm -rf "$other" ;;
		esac
	done
}

# After an error before files are laid, everything is as it was; after one behind that,
# --uninstall can still make it so.
undo() {
	status=$?
	rm -rf "$work" "$root$lib"/.new.* "$root$hooks"/.vfwhooks.*
	[ "$status" != 0 ] || return 0
	tell ''
	[ -z "$laid" ] || note_directories
	rm -rf "$fresh"
	echo "$made" | remove_directories
	exit "$status"
}

note_directories() {
	[ -n "$root" ] || [ ! -d "$lib" ] || echo "$made" | xargs -r -n 1 >>"$lib/directories"
}

remove_directories() {
	xargs -r -n 1 | sort -r | while read -r directory; do
		rmdir "$root$directory" 2>/dev/null || :
	done
}

# Checks the nearest existing parent of the path. To the [ of some shells root may write
# anywhere, on a read-only file system too.
is_writable() {
	place=$root$1
	until [ -e "${place:-/}" ]; do place=${place%/*}; done
	[ -w "${place:-/}" ] || return 1
	$python -Ic 'import os, sys
sys.exit(0 if os.access(sys.argv[1], os.W_OK) else 30)' "${place:-/}" 2>/dev/null || [ $? != 30 ]
}

# On an image-based host /usr may be read-only; such hosts keep their own files
# elsewhere. Nothing has been changed yet.
check_places() {
	refuse_among_releases
	[ ! -e "$root$bin" ] || is_ours "$root$bin" ||
		die "$bin is not ours: move it away, then run this again"
	[ ! -e "$root/etc/NIXOS" ] ||
		die 'NixOS makes such files anew from its own: docs/hosts.md says what to write there'
	for place in "$lib" "${bin%/*}" "$man" "${unit%/*}"; do
		is_writable "$place" || die "$prefix is read-only here: $(find_prefix)"
	done
	for place in "${config%/*}" /var/lib/vfwhooks; do
		is_writable "$place" || die "$place cannot be made, for its place is read-only"
	done
}

# All that is in the directory of releases goes with an old one, or with the last one.
refuse_among_releases() {
	for one in "$root$lib" "$root$lib"/*; do
		[ ! -e "$one/install.sh" ] ||
			die "$one is a checkout in the place of releases: move it away, then run this again"
	done
}

find_prefix() {
	for other in /usr/local /opt/vfwhooks; do
		! is_writable $other || {
			echo "run PREFIX=$other ./install.sh, or put a package of vfwhooks into the image"
			return 0
		}
	done
	echo 'put a package of vfwhooks into the image'
}

install_all() {
	[ -n "$root" ] || refuse_beside_package "$prefix"
	[ -e "$here/vfwhooks/__init__.py" ] || die "$here has no vfwhooks: run this from a checkout"
	version=$(libvirt_version) previous=$(find_installed) release=$lib/$(identify "$here")
	for driver in $drivers; do find_place "$driver" >/dev/null; done
	check_places
	if [ -z "$root" ]; then
		install_packages
		take_turn
		previous=$(find_installed)
	fi
	trap undo EXIT
	trap 'exit 1' HUP INT TERM
	mkdir -p "$root/"
	tell 'copying and compiling the release'
	lay_release
	tell "trying which of libvirt's daemons may run hooks"
	stage_hooks
	[ -n "$root" ] || call_hooks
	tell 'laying the files'
	if [ -z "$root" ] && [ -n "$module$(cat "$lib/selinux" 2>/dev/null)" ]; then load_module; fi
	fresh='' laid=1
	lay_sample
	lay_schema
	lay_unit
	lay_manuals
	lay_made
	lay_page
	switch
	note_directories
	remove_older
	[ -n "$root" ] || finish
	say "${release##*/} is installed; forwards go into $config"
	[ -n "$root" ] || say "$(find_verdict)"
}

finish() {
	relabel -R "$lib" "$bin" "${config%/*}"
	tell 'starting the service'
	start_unit
	tell ''
	forward_now
}

refuse_beside_package() {
	[ ! -e "$1/share/vfwhooks/install.sh" ] ||
		die 'vfwhooks is here as a package: upgrade or remove that, in place of this'
}

# Such a process would put rules back. It is not ours to end: somebody started it by hand,
# or from another init. The unit's process is.
refuse_beside_watch() {
	for process in /proc/[0-9]*; do
		[ "$(readlink "$process/ns/mnt" 2>/dev/null)" = "$(readlink /proc/$$/ns/mnt)" ] || continue
		! grep -q '/vfwhooks\.service$' "$process/cgroup" 2>/dev/null || continue
		words=$( (tr '\000' '\n' <"$process/cmdline") 2>/dev/null) || continue
		! line "$words" | grep -q '^import sys;.*vfwhooks\.service\.daemon' ||
			! line "$words" | grep -qx "$state" ||
			die "vfwhooks watch runs as process ${process##*/}: end it, then run this again"
	done
}

# Where systemd does not run, nothing else takes what systemctl enable has made.
forget_links() {
	for link in "$root"/etc/systemd/system/*.wants/vfwhooks*; do
		made_for=${unit%/*}/${link##*/}
		case $(readlink "$link" || :) in "$made_for" | "${made_for#/usr}") rm "$link" ;; esac
	done
}

uninstall() {
	[ -n "$root" ] || refuse_beside_package "$prefix"
	refuse_among_releases
	previous=$(find_installed)
	[ -n "$root" ] || refuse_beside_watch
	! runs_systemd || [ ! -e "$unit" ] || systemctl --quiet disable --now vfwhooks.service
	withdraw
	remove_site
	if is_sample "$root$previous" || is_sample "$here"; then
		rm "$root$config"
	fi
	remove "$schema"
	rm -rf "$root$web_page"
	for one in $units; do rm -f "$root${unit%/*}/$one"; done
	forget_links
	for page in man8/vfwhooks.8 man5/forwards.yaml.5 "$root$man"/man8/vfwhooks-*.8; do
		remove "$man/man${page##*man}"
	done
	for shell in bash zsh fish; do remove "$(find_completion $shell)"; done
	! runs_systemd || systemctl --quiet daemon-reload
	remove "$bin"
	forget_releases
	for kept in "$config" "${config%/*}/forwards.d"; do
		[ ! -e "$root$kept" ] || say "$kept is yours and stays"
	done
	say 'vfwhooks is removed'
}

# An administrator has enabled the timer. What it has written would be collected for ever,
# from the directory that a drop-in may name.
stop_metrics() {
	runs_systemd && [ -L /etc/systemd/system/timers.target.wants/vfwhooks-metrics.timer ] || return 0
	systemctl --quiet disable --now vfwhooks-metrics.timer
	directory=$(systemctl show --value --property=Environment vfwhooks-metrics.service |
		xargs -n 1 | sed -n 's/^TEXTFILES=//p' | tail -n 1)
	rm -f "${directory:-/var/lib/prometheus/node-exporter}/vfwhooks.prom"
}

# Removes the hooks, and our rules from the kernel.
withdraw() {
	stop_metrics
	for driver in $drivers; do [ "$driver" = daemon ] || take_hook_away; done
	# The daemon hook goes last: it shows that the daemons have noticed the change.
	[ -n "$root" ] || [ -z "$gone" ] || call_trial "$here" tell
	driver=daemon
	take_hook_away
	[ -n "$root" ] || unload_module
	[ -n "$root" ] || $python -IBc 'import sys
sys.path.insert(0, sys.argv[1])
from vfwhooks.cli.main import main
sys.exit(main(["purge"]))' "$here" ||
		die 'the rules could not be taken out: see above, then run this again'
	[ -n "$root" ] || rmdir /var/lib/vfwhooks 2>/dev/null || :
}

remove_site() {
	for file in "$root$prefix"/lib/python3*/*-packages/vfwhooks.py; do
		remove "${file#"$root"}"
		rm -f "${file%/*}/__pycache__"/vfwhooks.*.pyc
	done
}

forget_releases() {
	directories=$(cat "$root$lib/directories" 2>/dev/null || :)
	rm -rf "$root$lib"
	echo "$directories" | remove_directories
}

# The files of a package; the package's scripts call the install.sh among them.
lay_package() {
	mkdir -p "$root/"
	make_directory "$share"
	copy_release "$root$share"
	install -m 755 "$here/install.sh" "$root$share/install.sh"
	trap undo EXIT
	make_directory "${config%/*}"
	sample "$here" | put "$config"
	lay_schema
	lay_unit
	lay_manuals
	lay_made
	lay_page
	make_directory "${bin%/*}"
	write_command "$lib/current" | put "$bin" 755
}

# Runs after a package's files are there. The release is copied to a place where no upgrade
# of the package removes it. Hooks, command and service use it until the next is complete.
configure() {
	refuse_among_releases
	version=$(libvirt_version) previous=$(find_configured) release=$lib/$(identify "$here")
	for driver in $drivers; do find_place "$driver" >/dev/null; done
	trap undo EXIT
	trap 'exit 1' HUP INT TERM
	lay_release
	stage_hooks
	! unshare --net true 2>/dev/null || call_hooks # no right to unshare while an image is made
	if [ -n "$module$(cat "$lib/selinux" 2>/dev/null)" ] && [ -d $selinux ]; then load_module; fi
	fresh='' laid=1
	lay_sample
	lay_hooks
	if [ ! -L "$lib/current" ]; then
		restart_unit=1 # a running service is install.sh's
		forget_installation
	fi
	ln -sfn "$release" "$lib/.new.current"
	mv -T "$lib/.new.current" "$lib/current"
	note_directories
	remove_older
	relabel -R "$lib" "${config%/*}"
	(forward_now) || :
	[ -z "${restart_unit:-}" ] || ! runs_systemd ||
		systemctl --quiet try-restart vfwhooks.service || :
}

# What the package has not written over of an install.sh's before the package.
forget_installation() {
	remove_site
	for page in "$man"/man8/vfwhooks*.8 "$man"/man5/forwards.yaml.5; do
		for packed in "$page".*; do
			[ ! -e "$packed" ] || remove "$page"
		done
	done
	dpkg-query -S "$web_page/manifest.json" >/dev/null 2>&1 ||
		rpm -qf "$web_page/manifest.json" >/dev/null 2>&1 || rm -rf "$web_page"
}

find_configured() {
	readlink "$lib/current" || {
		cat "$hooks/qemu" "$hooks/qemu.d/vfwhooks" 2>/dev/null |
			sed -n "s|^lib=\($lib/[^/]*\)\$|\1|p" | head -n 1
	}
}

# Those of libvirt's daemons that call hooks here: one for all drivers, or one for each.
find_daemons() {
	[ -n "$root" ] || $python -IBc 'import sys
sys.path.insert(0, sys.argv[1])
from vfwhooks.libvirt.daemons import find_concerned
print(*find_concerned())' "$here" 2>/dev/null || :
}

plan() {
	planned=1
	say "would $*"
}

# Prints the steps of an installation, in order. Dies where the installation would die.
check_all() {
	[ -n "$root" ] || refuse_beside_package "$prefix"
	version=$(libvirt_version) previous=$(find_installed) release=$lib/$(identify "$here")
	check_places
	missing='' planned=''
	[ -n "$root" ] || plan_packages
	[ -z "$missing" ] || plan "have $manager install $packages"
	[ "$(identify "$root$release")" = "${release##*/}" ] || plan "put the release into $release"
	trap 'rm -rf "$work"' EXIT
	trap 'exit 1' HUP INT TERM
	stage_hooks
	told=''
	for driver in $drivers; do
		place=$(find_place "$driver")
		[ "$(cat "$root$place" 2>/dev/null)" = "$(cat "$work/hooks/$driver")" ] && continue
		plan "lay $place, where libvirt may run it"
		told=$(find_daemons)
	done
	[ -z "$told" ] || plan "tell $told of the hooks, and restart no daemon"
	! wants_sample || plan "put a sample into $config"
	if [ ! -e "$root$unit" ]; then
		plan "put in $unit$(! runs_systemd || echo ', and start it')"
	elif runs_systemd; then
		plan 'restart vfwhooks.service'
	fi
	[ "$(find_installed)" = "$release" ] || plan "have $bin run it"
	[ -n "$planned" ] || say "${release##*/} is installed, and nothing is left to do"
	say 'nothing was changed'
}

show_status() {
	installed=$(readlink "$lib/current" || find_installed)
	[ -n "$installed" ] || die 'vfwhooks is not installed here'
	[ ! -e "$share/install.sh" ] || from=', from a package'
	laid=''
	for driver in $drivers; do
		! is_ours "$hooks/$driver" && ! is_ours "$hooks/$driver.d/vfwhooks" || laid="$laid $driver"
	done
	say "${installed##*/} is installed${from:-}"
	say "hooks:${laid:- none}"
	version=$(libvirt_version) daemons=$(find_daemons)
	say "libvirt:${version:+ $version} ${daemons:-no daemon that calls hooks}"
	! runs_systemd || say "service: $(systemctl is-active vfwhooks.service || :)"
	verdict=$(find_verdict)
	case $verdict in
	*' nothing to mend') say "$verdict" ;;
	*) die "$verdict" ;;
	esac
}

# What vfwhooks doctor finds wrong, on one line.
find_verdict() {
	found=$("$bin" doctor 2>/dev/null) || :
	wrong=$(line "$found" | sed -n 's/^wrong  *//p')
	first=$(line "$wrong" | head -n 1)
	case $found:$(line "$wrong" | grep -c .) in
	:*) echo 'doctor could not look: run vfwhooks doctor' ;;
	*:0) echo 'doctor: nothing to mend' ;;
	*:1) line "doctor: 1 finding: $first" ;;
	*) line "doctor: $(line "$wrong" | wc -l) findings, first: $first; run vfwhooks doctor" ;;
	esac
}

# Runs before a package's files are removed.
deconfigure() {
	refuse_among_releases
	refuse_beside_watch
	withdraw
	forget_releases
}

configure_without_module() {
	unload_module
	rm -f "$lib/selinux"
	configure
}

case $prefix in [!/]* | *[!A-Za-z0-9/._-]*) die "PREFIX=$prefix is not a plain absolute path" ;; esac
case $#:${1:-} in
1:--release)
	identify "$here"
	exit
	;;
0:*) action=install_all ;;
1:--selinux-module) action=install_all module=1 ;;
1:--uninstall) action=uninstall ;;
1:--check) action=check_all ;;
1:--status) action=show_status ;;
1:--lay-package) action=lay_package ;;
1:--configure) action=configure ;;
1:--configure-selinux) action=configure module=1 ;;
1:--deconfigure) action=deconfigure ;;
1:--deconfigure-selinux) action=configure_without_module ;;
1:--demo) exec sh "$here/tests/lab/demo.sh" ;;
1:--help)
	usage
	exit
	;;
*)
	usage >&2
	exit 2
	;;
esac
[ -n "$root" ] || [ "$(id -u)" = 0 ] || die 'this needs root: run it with sudo'
case $root:$action in :uninstall | :*configure*) take_turn ;; esac
case $root:$action in
*configure* | *:lay_package | [!:]*) ;;
*) choose_prefix ;;
esac
set_places
$action
