"""install.sh on hosts with a real libvirtd: put in, upgraded, removed, left alone."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager

import pytest
from lab.box import Done, wait_until
from lab.host import HOOKS, Host
from lab.net import Net
from product import (
    CONFIG,
    DRIVERS,
    HERE,
    configure,
    hook_files,
    ruleset,
    settled_ruleset,
    start_watch,
    stop_watch,
)

from vfwhooks.cli.manual_pages import render_pages

KINDS: dict[str, Callable[[], AbstractContextManager[Host]]] = {
    "libvirt-9.0": Host.debian12,
    "libvirt-11.3": Host.debian13,
}
# What does not depend on libvirt's age is asked of one, or of both.
once = pytest.mark.parametrize(
    "host",
    KINDS if "VFWHOOKS_ALL_KINDS" in os.environ else ["libvirt-11.3"],
    indirect=True,
)
LIB = "/usr/lib/vfwhooks"
MODULES = "/usr/lib/python3/dist-packages"
UNITS = "lib/systemd/system"
SCHEMA = "share/vfwhooks/forwards.schema.json"
MANUALS = "share/man/man8/vfwhooks.8", "share/man/man5/forwards.yaml.5"
COMPLETIONS = (
    "share/bash-completion/completions/vfwhooks",
    "share/fish/vendor_completions.d/vfwhooks.fish",
    "share/zsh/vendor-completions/_vfwhooks",
)
URL = "http://203.0.113.1:8080/"
WEB = "guests:\n  web1: [8080:80]\n"
SERVED = "web1 80 203.0.113.2"
# What our hooks began with before each had a text of its own.
FORMER = """#!/bin/sh
# vfwhooks: is this event ours? libvirt hears success and nothing else.
driver={}
lib={} state=${{VFWHOOKS_STATE:-/run/vfwhooks}} name=$1
exit 0
"""
OTHERS_HOOK = '#!/bin/sh\n# notes what was called\necho "$2" >>/var/log/called\n'

# What changes by itself while libvirtd and guests run is left out; so are the times of
# directories, which change with whatever is put there and taken away.
LIST = r"""
find /etc /run /srv /tmp /usr/bin /usr/lib/python3 /usr/lib/systemd /usr/lib/vfwhooks \
    /usr/sbin /usr/share/man /usr/share/bash-completion /usr/share/fish \
    /usr/share/cockpit /usr/share/zsh /var \
    \( -path /run/libvirt -o -path /run/lab -o -path /var/cache \
    -o -path /var/lib/libvirt/dnsmasq -o -path /var/log -o -path /srv/vfwhooks \) \
    -prune -o -type d -printf '%p %y %m %U\n' -o -printf '%p %y %m %U %s %T@ %l\n'
"""
# Stands in for systemd, of which the lab has none.
SYSTEMCTL = """\
#!/bin/sh
echo "$*" >>/var/log/systemctl
"""
# Stands in for a package manager: what it installs are the parts that were hidden.
MANAGER = f"""\
#!/bin/sh
echo "${{0##*/}} $*" >>/var/log/manager
cd /opt
for part in *; do
    case $part in
        python3) mv python3 /usr/bin/ ;;
        jinja2 | lxml | yaml | libvirt.py) mv "$part" {MODULES}/ ;;
    esac
done
"""


@pytest.fixture(params=KINDS)
def host(request: pytest.FixtureRequest) -> Iterator[Host]:
    """A host with libvirtd and its network that has never heard of vfwhooks."""
    with KINDS[request.param]() as host:
        host.start_libvirtd()
        host.start_network()
        yield host


@pytest.fixture
def quiet() -> Iterator[Host]:
    """A host on which libvirtd is installed, but does not run."""
    with Host.debian13() as host:
        yield host


def install(
    host: Host,
    *arguments: str,
    checkout: str = Host.CHECKOUT,
    env: Mapping[str, str] | None = None,
) -> Done:
    """Run install.sh."""
    return host.call([f"{checkout}/install.sh", *arguments], env=env, timeout=120)


def copy_checkout(host: Host) -> str:
    """Another checkout on the host, to be changed."""
    names = "install.sh", "hooks", "vfwhooks", "templates"
    host.run(["mkdir", "/opt/other"])
    host.run(["cp", "-r", *(f"{Host.CHECKOUT}/{n}" for n in names), "/opt/other"])
    return "/opt/other"


def change(host: Host, file: str, old: str, new: str) -> None:
    """Replace a text, which must be there, in a file of the host."""
    text = host.read(file)
    assert old in text
    host.write(file, text.replace(old, new, 1), host.path(file).stat().st_mode & 0o777)


def files(host: Host) -> set[str]:
    """Every file and directory that could have been changed, and its time."""
    return set(host.call(["sh", "-c", LIST]).stdout.splitlines())


def await_kept(host: Host) -> None:
    """Wait until what is in force is on disk as well, for which nobody waits."""
    places = "/run/vfwhooks/compiled", "/var/lib/vfwhooks/compiled"
    wait_until(lambda: len({host.read(one) for one in places}) == 1, "it is kept")


def installed(host: Host) -> str:
    """The release that the command line runs."""
    found = re.search(f'"{LIB}/(.*)"', host.read("/usr/bin/vfwhooks"))
    return found[1] if found else ""


def hooks(host: Host) -> dict[str, str]:
    """The hooks' texts by file name; only real files that can be run."""
    kind = ["find", HOOKS, "-type", "f", "-perm", "755", "-printf", "%P\n"]
    return {name: host.read(f"{HOOKS}/{name}") for name in host.run(kind).split()}


def answer(outside: Net) -> str:
    """The body of the answer, or what came instead of one."""
    reply = outside.http(URL)
    return reply.body if reply.answered else reply.outcome.value


def test_fresh_install_serves(host: Host) -> None:
    """From the install on, without any restart, a guest's start and stop count."""
    outside, web1 = host.outside(), host.define_guest("web1")

    done = install(host)
    configure(host, WEB)
    web1.start(wait=True)
    seen = [answer(outside)]
    web1.destroy()
    seen.append(answer(outside))

    assert (done.status, done.stderr, seen) == (0, "", [SERVED, "refused"])


@once
def test_running_guest_is_served_at_once(host: Host) -> None:
    """Neither guest nor daemon is restarted, and the guest's stop counts as well."""
    outside, web1 = host.outside(), host.define_guest("web1").start(wait=True)
    configure(host, WEB)
    processes = ["cat", "/run/libvirtd.pid", "/run/libvirt/qemu/web1.pid"]
    before = host.run(processes)

    done = install(host)
    seen = [host.run(processes), answer(outside)]
    web1.destroy()
    seen.append(answer(outside))

    assert (done.stdout, seen) == (
        "+ tcp 8080 → web1 192.168.122.10:80\n"
        f"install.sh: {installed(host)} is installed; forwards go into {CONFIG}\n"
        "install.sh: doctor: nothing to mend\n",
        [before, SERVED, "refused"],
    )


def test_hooks_are_real_files_that_name_their_release(quiet: Host) -> None:
    """No hook is a link, and none has to find out where its package is."""
    install(quiet).check()

    assert hooks(quiet) == hook_files(f"{LIB}/{installed(quiet)}")


@once
def test_installing_twice_is_as_once(host: Host) -> None:
    """The same files; those of the release are not even put in place anew."""
    install(host).check()
    await_kept(host)
    before = untimed(files(host))

    install(host).check()
    await_kept(host)

    assert untimed(files(host)) ^ before == set()


def untimed(lines: set[str]) -> set[str]:
    """The files without the state directory, and without times but the release's."""
    kept = [line.split(" ") for line in lines if not line.startswith("/run/vfwhooks/")]
    return {" ".join(w if w[0].startswith(LIB) else w[:5]) for w in kept}


@once
def test_upgrade_keeps_serving(host: Host) -> None:
    """While another release is put in, every connection and every hook finds one."""
    outside, web1 = host.outside(), host.define_guest("web1")
    install(host).check()
    configure(host, WEB)
    web1.start(wait=True)
    first, other = installed(host), copy_checkout(host)
    change(host, f"{other}/vfwhooks/values/guests.py", '"""', '"""Another. ')

    with busy(host, outside) as seen:
        install(host, checkout=other).check()

    assert first != installed(host)
    assert hooks(host) == hook_files(f"{LIB}/{installed(host)}")
    assert set(seen) == {SERVED}
    assert host.syslog("hook failed|Error") == []


def test_hooks_of_a_former_release(quiet: Host) -> None:
    """They are known by how their second line begins, and replaced; so they are beside
    somebody else's hook, and taken away in the end."""
    install(quiet).check()
    release = f"{LIB}/{installed(quiet)}"
    former = {name: FORMER.format(name, release) for name in DRIVERS}
    quiet.install_hooks(former)
    before = hooks(quiet)

    install(quiet).check()
    upgraded = hooks(quiet)
    quiet.install_hooks({**former, "qemu": OTHERS_HOOK})
    quiet.install_hooks({"qemu.d/vfwhooks": former["qemu"]})
    install(quiet).check()
    beside = hooks(quiet)
    quiet.install_hooks({"qemu.d/vfwhooks": former["qemu"]})
    install(quiet, "--uninstall").check()

    new = hook_files(release)
    assert (before, upgraded) == (former, new)
    assert beside == {**new, "qemu": OTHERS_HOOK, "qemu.d/vfwhooks": new["qemu"]}
    assert hooks(quiet) == {"qemu": OTHERS_HOOK}


@once
def test_upgrade_and_downgrade_lose_nothing(
    host: Host, measured: Callable[[str, float], None]
) -> None:
    """A connection that is open stays so and a UDP stream has every datagram answered
    while one release is put over another and back, each reading the other's state."""
    outside, web1 = host.outside(), host.define_guest("web1")
    install(host).check()
    ports = "['0.0.0.0:8080:80', '0.0.0.0:5353:5353/udp']"
    configure(host, f"guests:\n  web1: {ports}\n")  # its IPv6 address comes any time
    web1.start(wait=True).wait_until_up()  # it serves UDP after TCP
    other = copy_checkout(host)
    change(host, f"{other}/vfwhooks/values/guests.py", '"""', '"""Another. ')
    before = settled_ruleset(host)

    with streaming(host, outside) as answered:
        install(host, checkout=other).check()
        install(host).check()

    measured("datagrams and lines", len(answered))
    measured("lost", answered.count(False))
    assert (set(answered), settled_ruleset(host)) == ({True}, before)


@contextmanager
def streaming(host: Host, outside: Net) -> Iterator[list[bool]]:
    """One connection and one UDP flow through a guest's forwards, without a pause."""
    answered: list[bool] = []
    connection = outside.connect("203.0.113.1", 8080)

    def stream() -> None:
        while not host.path("/run/over").exists():
            reply = outside.udp("203.0.113.1", 5353, source_port=4000)
            answered.append(reply.answered)

    def load() -> None:
        while not host.path("/run/over").exists():
            answered.append(outside.ask(connection).answered)

    threads = [threading.Thread(target=stream), threading.Thread(target=load)]
    for thread in threads:
        thread.start()
    try:
        yield answered
    finally:
        host.write("/run/over", "")
        for thread in threads:
            thread.join()
        connection.close()


@contextmanager
def busy(host: Host, outside: Net) -> Iterator[list[str]]:
    """Somebody who connects, and a libvirtd that calls a hook, over and over."""
    seen: list[str] = []
    call = f"while [ ! -e /run/over ]; do {HOOKS}/qemu nobody stopped end -; done"

    def connect() -> None:
        while not host.path("/run/over").exists():
            seen.append(answer(outside))

    threads = [
        threading.Thread(target=connect),
        threading.Thread(target=host.run, args=(["sh", "-c", call],)),
    ]
    for thread in threads:
        thread.start()
    try:
        yield seen
    finally:
        host.write("/run/over", "")
        for thread in threads:
            thread.join()


def test_only_the_previous_release_stays(quiet: Host) -> None:
    """A hook may still run from the previous one, and from none before it."""
    other = copy_checkout(quiet)
    seen = []

    for text in ("One. ", "Two. ", "Three. "):
        change(quiet, f"{other}/vfwhooks/values/guests.py", '"""', f'"""{text}')
        install(quiet, checkout=other).check()
        seen.append(installed(quiet))

    listed = quiet.run(["ls", LIB]).split()
    assert sorted(listed) == sorted([*seen[1:], "directories"])


def test_damaged_release_is_mended(quiet: Host) -> None:
    """A file that was changed or lost in the installed release comes back."""
    install(quiet).check()
    sums = [
        "sh",
        "-c",
        f"cd {LIB} && sha256sum */vfwhooks/*.py */vfwhooks/*/*.py */templates/*",
    ]
    before = quiet.run(sums)
    quiet.run(
        [
            "sh",
            "-c",
            f"cd {LIB}/*/vfwhooks && rm store/state.py && echo >service/hook.py",
        ]
    )

    install(quiet).check()

    assert quiet.run(sums) == before


def test_killed_install_is_mended_by_the_next(quiet: Host) -> None:
    """Wherever it was killed, the next one ends where an undisturbed one does."""
    with Host.debian13() as other:
        install(other).check()
        undisturbed = contents(other)

    for tenths in range(1, 9):
        command = f"timeout -s KILL 0.{tenths} {Host.CHECKOUT}/install.sh"
        quiet.call(["sh", "-c", f"{command} >/dev/null 2>&1"])
    install(quiet).check()

    assert contents(quiet) ^ undisturbed == set()


def contents(host: Host) -> set[str]:
    """Every file that install.sh may have put somewhere, with its mode and size.

    Not the list of directories it made, where a killed install has noted nothing.
    """
    places = ["/etc", LIB, "/usr/bin", "/usr/lib/systemd", MODULES]
    skipped = ["!", "-name", "*.pyc", "!", "-path", "/etc/libvirt/libvirtd.conf"]
    skipped += ["!", "-path", f"{LIB}/directories"]
    listed = host.run(["find", *places, *skipped, "-printf", "%p %m %Y %s\n"])
    return {line for line in listed.splitlines() if " d " not in line}


@pytest.mark.parametrize(
    ("file", "old", "new", "why"),
    [
        (
            "vfwhooks/service/hook.py",
            "import sys",
            "1 / 0",
            "ZeroDivisionError: division by zero",
        ),
        ("hooks/lxc", "\nexit 0\n", "\ntrap - EXIT\nexit 3\n", "status 3: "),
        ("hooks/libxl", "\nexit 0\n", "\necho hello\n", "hello"),
        ("hooks/daemon", '>"$state/full"', "", "nothing was done"),
    ],
    ids=["python", "status", "output", "nothing done"],
)
def test_hook_that_does_not_work_is_not_put_in(
    quiet: Host, file: str, old: str, new: str, why: str
) -> None:
    """Then everything stays as it was, the release that works included."""
    install(quiet).check()
    await_kept(quiet)
    other = copy_checkout(quiet)
    change(quiet, f"{other}/{file}", old, new)
    before, rules = files(quiet), ruleset(quiet)

    done = install(quiet, checkout=other)

    driver = file.partition("/")[2] if file.startswith("hooks") else "qemu"
    said = f"install.sh: the {driver} hook fails here, nothing was changed: {why}\n"
    assert (done.status, done.stdout, done.stderr) == (1, "", said)
    assert files(quiet) ^ before == set()
    assert ruleset(quiet) == rules


def test_failed_first_install_leaves_nothing(quiet: Host) -> None:
    """No directory either: the host is as it was before."""
    other = copy_checkout(quiet)
    change(quiet, f"{other}/vfwhooks/store/state.py", "import posix", "import = posix")
    before = files(quiet)

    done = install(quiet, checkout=other)

    assert files(quiet) ^ before == set()
    assert done.status == 1
    assert done.stderr.splitlines()[-1] == (
        "install.sh: the package does not compile: see above, and take another checkout"
    )


@once
def test_hook_of_others_stays_and_ours_runs_beside_it(host: Host) -> None:
    """Both are called; when the place is free, ours moves there."""
    outside, web1 = host.outside(), host.define_guest("web1")
    host.install_hooks({"qemu": OTHERS_HOOK})

    said = install(host).stdout.splitlines()[0]
    configure(host, WEB)
    web1.start(wait=True)
    seen = answer(outside), sorted(hooks(host)), host.read(f"{HOOKS}/qemu")
    called = host.read("/var/log/called").split()
    host.run(["rm", f"{HOOKS}/qemu"])
    install(host).check()

    assert said == (
        f"install.sh: {HOOKS}/qemu is not ours and stays; ours is"
        f" {HOOKS}/qemu.d/vfwhooks"
    )
    assert seen == (SERVED, sorted(["qemu.d/vfwhooks", *DRIVERS]), OTHERS_HOOK)
    assert called == ["prepare", "start", "started"]
    assert hooks(host) == hook_files(f"{LIB}/{installed(host)}")


def test_older_libvirt_with_a_hook_of_others(quiet: Host) -> None:
    """It runs only one: what to do is said, and nothing at all is changed."""
    quiet.install_hooks({"network": OTHERS_HOOK})
    quiet.write(
        "/usr/local/sbin/libvirtd",
        "#!/bin/sh\necho 'libvirtd (libvirt) 6.4.0'\n",
        0o755,
    )
    before = files(quiet)

    done = install(quiet)

    assert files(quiet) ^ before == set()
    assert (done.status, done.stdout, done.stderr) == (
        1,
        "",
        f"install.sh: {HOOKS}/network is not ours, and libvirt 6.4.0 runs no other"
        " beside it: upgrade libvirt to 6.5 or move that file away,"
        " then run this again\n",
    )


@once
def test_edited_configuration_survives(host: Host) -> None:
    """An edited forwards.yaml outlives an upgrade and the removal."""
    install(host).check()
    configure(host, WEB)

    install(host).check()
    done = install(host, "--uninstall")

    assert host.read(CONFIG) == WEB
    assert done.stdout.splitlines()[1:] == [
        f"install.sh: {CONFIG} is yours and stays",
        "install.sh: vfwhooks is removed",
    ]


def test_sample_follows_the_release_until_it_is_edited(quiet: Host) -> None:
    """Nobody is left with an old sample that nobody has touched, also once it is in
    force; --check says so, and puts nothing in the place of a lost file either."""
    install(quiet).check()
    quiet.run(["vfwhooks", "apply"])
    other = copy_checkout(quiet)
    change(
        quiet, f"{other}/templates/forwards.yaml", "guests: {}", "guests: {}  # none"
    )

    planned = install(quiet, "--check", checkout=other).check()
    install(quiet, checkout=other).check()
    laid = quiet.read(CONFIG)
    quiet.run(["rm", CONFIG])
    lost = install(quiet, "--check", checkout=other).check()

    assert laid == quiet.read(f"{other}/templates/forwards.yaml")
    said = f"install.sh: would put a sample into {CONFIG}\n"
    assert (said in planned, said in lost) == (True, False)


@once
def test_sample_does_not_take_the_place_of_a_lost_file(host: Host) -> None:
    """Suddenly gone, forwards.yaml is a broken edit: the forwards stay, and why."""
    outside, web1 = host.outside(), host.define_guest("web1")
    install(host).check()
    configure(host, WEB)
    web1.start(wait=True)
    host.run(["rm", CONFIG])

    done = install(host)

    assert (done.status, host.read(CONFIG), answer(outside)) == (1, "", SERVED)
    assert done.stderr == (
        f"{CONFIG}:1:1: is gone; the last good one stays in force; put it back, or"
        " write it again: vfwhooks edit; guests: {} says none\n"
        "install.sh: installed, but not all is forwarded: see above,"
        " then: vfwhooks apply\n"
    )


def test_example_in_the_sample_is_good(quiet: Host) -> None:
    """Whoever takes the comment signs away has a forwards.yaml without a problem."""
    install(quiet).check()
    sample = quiet.read(CONFIG).replace("guests: {}\n", "")
    quiet.write("/tmp/forwards.yaml", re.sub("(?m)^# ?(?=guests|  )", "", sample))

    done = quiet.call(["vfwhooks", "check", "/tmp/forwards.yaml"])

    assert (done.status, done.stdout) == (
        0,
        "/tmp/forwards.yaml: 8 forwards for 2 guests\n",
    )


@once
def test_removal_gives_the_host_back(host: Host) -> None:
    """Files and rules are what they were, to the byte, under a running guest.

    Only the order of libvirt's own rules is another after its first SIGHUP.
    """
    host.define_guest("web1").start(wait=True)
    handles = host.run(["nft", "-a", "list", "ruleset"])
    host.sighup()
    wait_until(
        lambda: host.run(["nft", "-a", "list", "ruleset"]) != handles,
        "libvirtd makes its rules anew",
    )
    before, rules = files(host), settled_ruleset(host)

    install(host).check()
    sample = host.read(CONFIG)
    configure(host, WEB)
    host.run(["vfwhooks", "apply"])
    host.run(["/usr/bin/python3", "-m", "vfwhooks", "apply"])
    configure(host, sample)
    done = install(host, "--uninstall")

    assert (done.status, done.stderr) == (0, "")
    assert files(host) ^ before == set()
    assert settled_ruleset(host) == rules


@once
def test_removal_beside_a_watch(host: Host) -> None:
    """A watch that install.sh has not started would put rules back: it is named, and
    all stays as it is until it has ended. A link of systemctl's goes then as well."""
    install(host).check()
    wanted = "/etc/systemd/system/multi-user.target.wants"
    host.run(["mkdir", "-p", wanted])
    unit = "/lib/systemd/system/vfwhooks.service"
    host.run(["ln", "-s", unit, f"{wanted}/vfwhooks.service"])
    start_watch(host, "/usr/bin/vfwhooks")
    before = host.run(["ls", HOOKS])

    beside = install(host, "--uninstall")
    still = host.run(["ls", HOOKS])
    pid = host.read("/run/watch.pid").strip()
    stop_watch(host)
    removed = install(host, "--uninstall")

    said = f"install.sh: vfwhooks watch runs as process {pid}: "
    said += "end it, then run this again\n"
    assert (beside.status, beside.stderr, still) == (1, said, before)
    assert (removed.status, "vfwhooks" in host.run(["ls", wanted])) == (0, False)


def test_removal_leaves_what_is_not_ours(quiet: Host) -> None:
    """Hooks, empty directories and the configuration of others stay, however often."""
    quiet.install_hooks({"qemu": OTHERS_HOOK})
    quiet.run(["mkdir", "-p", f"{HOOKS}/network.d", "/etc/vfwhooks/forwards.d"])
    before = files(quiet)

    install(quiet).check()
    for _ in range(2):
        install(quiet, "--uninstall").check()

    assert files(quiet) ^ before == set()


@once
def test_destdir_touches_nothing_else(host: Host) -> None:
    """A packager gets the files, and the host on which that happens hears nothing."""
    before, rules = files(host), ruleset(host)

    done = install(host, env={"DESTDIR": "/tmp/package", "PREFIX": "/usr"})

    release = f"/tmp/package{LIB}/{installed_in_package(host)}"
    names = [f"/tmp/package{HOOKS}/{name}" for name in DRIVERS]
    names += [f"/tmp/package{place}" for place in (CONFIG, "/usr/bin/vfwhooks")]
    names += [f"/tmp/package{MODULES}/vfwhooks.py"]
    units = (path.name for path in (HERE / "templates").glob("vfwhooks*.[!c]*"))
    placed = SCHEMA, *MANUALS, *COMPLETIONS, *(f"{UNITS}/{name}" for name in units)
    names += [f"/tmp/package/usr/share/man/man8/{name}" for name in render_pages()]
    names += [f"/tmp/package/usr/{place}" for place in placed]
    page = "/tmp/package/usr/share/cockpit/vfwhooks"
    names += [f"{page}/{path.name}" for path in (HERE / "cockpit").iterdir()]
    names += [f"{release}/hooks/{name}" for name in DRIVERS]
    names += [f"{release}/templates/{p.name}" for p in (HERE / "templates").glob("*")]
    modules = list((HERE / "vfwhooks").rglob("*.py"))
    names += [f"{release}/{path.relative_to(HERE)}" for path in modules]
    packed = host.run(["find", "/tmp/package", "-type", "f"]).split()
    compiled = [name for name in packed if name.endswith(".pyc")]
    assert sorted(set(packed) - set(compiled)) == sorted(names)
    assert len(compiled) == len(modules)
    host.run(["rm", "-r", "/tmp/package"])
    assert files(host) ^ before == set()
    assert ruleset(host) == rules
    assert (done.status, done.stderr, host.syslog("vfwhooks")) == (0, "", [])


def installed_in_package(host: Host) -> str:
    """The one release under /tmp/package."""
    return host.run(["ls", f"/tmp/package{LIB}"]).strip()


def test_packed_hooks_name_the_place_they_will_have(quiet: Host) -> None:
    """DESTDIR is in no file, PREFIX is: hooks, command line, compiled modules, and the
    schema in the sample."""
    env = {"DESTDIR": "/tmp/package", "PREFIX": "/opt/vfw"}

    install(quiet, env=env).check()

    release = quiet.run(["ls", "/tmp/package/opt/vfw/lib/vfwhooks"]).strip()
    hook = quiet.read(f"/tmp/package{HOOKS}/qemu")
    command = quiet.read("/tmp/package/opt/vfw/bin/vfwhooks")
    assert f"\nlib=/opt/vfw/lib/vfwhooks/{release}\n" in hook
    assert f'"/opt/vfw/lib/vfwhooks/{release}"' in command
    first = quiet.read(f"/tmp/package{CONFIG}").splitlines()[0]
    assert first == f"# yaml-language-server: $schema=/opt/vfw/{SCHEMA}"
    assert quiet.call(["grep", "-rl", "/tmp/package", "/tmp/package"]).stdout == ""


@pytest.mark.parametrize(
    ("distribution", "called"),
    [
        (
            "debian-13",
            "apt-get -qq update\n"
            "apt-get -qq -y --no-install-recommends install"
            " python3 python3-libvirt python3-lxml python3-jinja2 python3-yaml\n",
        ),
        (
            "fedora-43",
            "dnf -q -y install"
            " python3 python3-libvirt python3-lxml python3-jinja2 python3-pyyaml\n",
        ),
        (
            "opensuse-tumbleweed",
            "zypper -q -n install"
            " python3 python3-libvirt-python python3-lxml"
            " python3-Jinja2 python3-PyYAML\n",
        ),
        (
            "arch",
            "pacman -S --noconfirm --needed"
            " python libvirt-python python-lxml python-jinja python-yaml\n",
        ),
    ],
    ids=["debian", "fedora", "opensuse", "arch"],
)
def test_missing_packages_are_installed(
    quiet: Host, distribution: str, called: str
) -> None:
    """By the distribution's own package manager, under the names they have in it."""
    parts = [f"{MODULES}/{part}" for part in ("jinja2", "lxml", "yaml", "libvirt.py")]
    quiet.run(["rm", "/usr/bin/apt-get", "/etc/os-release"])
    quiet.run(["mv", "/usr/bin/python3", *parts, "/opt"])
    release = HERE / "tests/cases/install" / distribution / "os-release"
    quiet.write("/etc/os-release", release.read_text())
    quiet.write(f"/usr/local/bin/{called.split()[0]}", MANAGER, 0o755)

    install(quiet).check()

    assert quiet.read("/var/log/manager") == called


def test_only_what_is_missing_is_installed(quiet: Host) -> None:
    """Nothing is upgraded on the way; with all there no package manager is called."""
    quiet.write("/usr/local/bin/apt-get", MANAGER, 0o755)
    install(quiet).check()
    quiet.run(["mv", f"{MODULES}/jinja2", f"{MODULES}/yaml", "/opt"])

    install(quiet).check()

    assert quiet.read("/var/log/manager") == (
        "apt-get -qq update\n"
        "apt-get -qq -y --no-install-recommends install python3-jinja2 python3-yaml\n"
    )


def test_what_cannot_be_installed_is_named(quiet: Host) -> None:
    """Without a package manager the next step is the administrator's."""
    quiet.run(["rm", "-r", "/usr/bin/apt-get", f"{MODULES}/jinja2"])
    before = files(quiet)

    done = install(quiet)

    assert files(quiet) ^ before == set()
    assert (done.status, done.stderr) == (
        1,
        "install.sh: this host lacks jinja2, and there is no apt-get: install"
        " python3-jinja2, then run this again\n",
    )


def test_command_line_needs_no_environment(quiet: Host) -> None:
    """vfwhooks and python3 -m vfwhooks run the installed release from anywhere."""
    install(quiet).check()
    version = installed(quiet).rpartition("-")[0] + "\n"

    seen = [
        quiet.run(["env", "-i", "/usr/bin/vfwhooks", "--version"]),
        quiet.run(["env", "-i", "/usr/bin/python3", "-m", "vfwhooks", "--version"]),
    ]

    assert seen == [version, version]


@once
def test_systemd_is_told(host: Host) -> None:
    """It runs our unit, and is asked for nothing else."""
    other = copy_checkout(host)
    host.write(f"{other}/templates/vfwhooks.service", "[Unit]\nDescription=vfwhooks\n")
    host.run(["mkdir", "-p", "/run/systemd/system"])
    host.write("/usr/local/bin/systemctl", SYSTEMCTL, 0o755)
    unit = "vfwhooks.service"
    install(host, checkout=other).check()
    was_there = host.read(f"/usr/lib/systemd/system/{unit}")
    install(host, "--uninstall", checkout=other).check()

    assert (was_there, host.read(f"/usr/lib/systemd/system/{unit}")) == (
        "[Unit]\nDescription=vfwhooks\n",
        "",
    )
    assert host.read("/var/log/systemctl").splitlines() == [
        "--quiet daemon-reload",
        f"--quiet enable {unit}",
        f"--quiet restart {unit}",
        f"--quiet disable --now {unit}",
        "--quiet daemon-reload",
    ]


def test_check_says_what_would_be_done(quiet: Host) -> None:
    """What an installation would do, in its order, and after one nothing; all stays."""
    quiet.install_hooks({"qemu": OTHERS_HOOK})
    quiet.run(["mv", f"{MODULES}/jinja2", "/opt"])
    before = files(quiet)

    first = install(quiet, "--check").check()
    unchanged = files(quiet) ^ before
    quiet.run(["mv", "/opt/jinja2", MODULES])
    install(quiet).check()
    second = install(quiet, "--check").check()

    places = ["qemu.d/vfwhooks", *DRIVERS[1:]]
    would = [
        "have apt-get install python3-jinja2",
        f"put the release into {LIB}/{installed(quiet)}",
        *(f"lay {HOOKS}/{place}, where libvirt may run it" for place in places),
        "tell libvirtd of the hooks, and restart no daemon",
        f"put a sample into {CONFIG}",
        "put in /usr/lib/systemd/system/vfwhooks.service",
        "have /usr/bin/vfwhooks run it",
    ]
    said = [f"install.sh: would {line}\n" for line in would]
    nothing = "install.sh: nothing was changed\n"
    done = f"install.sh: {installed(quiet)} is installed, and nothing is left to do\n"
    assert (first, unchanged, second) == (
        "".join(said) + nothing,
        set(),
        done + nothing,
    )


def test_check_says_what_would_fail(quiet: Host) -> None:
    """In the words of an installation."""
    quiet.write("/usr/bin/vfwhooks", "#!/bin/sh\n# somebody else's\n", 0o755)

    check, done = install(quiet, "--check"), install(quiet)

    assert (check.status, check.stderr) == (done.status, done.stderr)
    assert check.status == 1


@once
def test_status_of_the_installation(host: Host) -> None:
    """What is there, and doctor's verdict on one line."""
    before = install(host, "--status")
    install(host).check()
    well = install(host, "--status")
    configure(host, "guests: [")
    ill = install(host, "--status")
    host.run(["chmod", "-x", f"{HOOKS}/lxc"])
    worse = install(host, "--status").stderr

    drivers = " ".join(DRIVERS)
    version = host.run(["libvirtd", "--version"]).split()[-1]
    head = f"install.sh: {installed(host)} is installed\ninstall.sh: hooks: {drivers}\n"
    head += f"install.sh: libvirt: {version} libvirtd\n"
    assert (before.status, before.stderr) == (
        1,
        "install.sh: vfwhooks is not installed here\n",
    )
    assert (well.status, well.stdout) == (
        0,
        f"{head}install.sh: doctor: nothing to mend\n",
    )
    assert (ill.status, ill.stdout, ill.stderr) == (
        1,
        head,
        f"install.sh: doctor: 1 finding: {CONFIG} has a problem; run: vfwhooks check\n",
    )
    several = r"install.sh: doctor: \d findings, first: .+; run vfwhooks doctor\n"
    assert re.fullmatch(several, worse)


def test_usage(quiet: Host) -> None:
    """An unknown option, and nobody but root, change nothing."""
    nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    before = files(quiet)

    unknown = install(quiet, "--frobnicate")
    as_nobody = quiet.call([*nobody, f"{Host.CHECKOUT}/install.sh"])

    assert (unknown.status, unknown.stderr.splitlines()[0]) == (
        2,
        "usage: ./install.sh [--check | --status | --selinux-module | --uninstall"
        " | --demo | --help]",
    )
    assert (as_nobody.status, as_nobody.stderr) == (
        1,
        "install.sh: this needs root: run it with sudo\n",
    )
    assert files(quiet) ^ before == set()
