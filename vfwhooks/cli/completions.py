"""Completions for bash, zsh and fish, made from the parser. The shell asks `vfwhooks
complete` for guests and ports, and never expands characters in a name."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from .commands import Command, find_commands
from .parser import FILE, GUEST, GUEST_OR_PORT, GUEST_PORT_OR_FILE, PORT, make_parser

# What `vfwhooks complete` lists for each of these arguments.
ASKED = {
    GUEST: "guests",
    GUEST_OR_PORT: "guests ports",
    GUEST_PORT_OR_FILE: "guests ports",
    PORT: "ports",
}
# The second line of each file. install.sh replaces and removes files with this line.
_MARK = "# vfwhooks: completions, made from the parser of the command line."


def render_completions() -> dict[str, str]:
    """The files by shell."""
    commands = find_commands(make_parser())
    return {
        shell: "\n".join(lines(commands)) + "\n"
        for shell, lines in (("bash", _bash), ("zsh", _zsh), ("fish", _fish))
    }


def _options(command: Command) -> list[tuple[argparse.Action, str]]:
    """Every spelling of every option."""
    return [(one, word) for one in command.options for word in one.option_strings]


def _asked(command: Command) -> str:
    """The words for `vfwhooks complete` that list the arguments of a command."""
    return " ".join(ASKED[m] for m in _metavars(command) if m in ASKED)


def _metavars(command: Command) -> list[str]:
    return [one.metavar for one in command.arguments if isinstance(one.metavar, str)]


def _actions(command: Command) -> str:
    """The words of a first argument that takes some alone; a guest and a file follow
    it."""
    return " ".join(_choices(one) for one in command.arguments[:1])


def _choices(option: argparse.Action) -> str:
    """The words that an option takes; '' where it takes any."""
    return " ".join(map(str, option.choices or ()))


def _values(commands: dict[str, Command]) -> dict[tuple[str, str], list[str]]:
    """Options that take a value, each behind its command, by the kind of the value and
    its words."""
    found: dict[tuple[str, str], list[str]] = {}
    for name, command in commands.items():
        for one, word in _options(command):
            if one.nargs != 0:
                key = f"{one.metavar}", _choices(one)
                found.setdefault(key, []).append(f"'{name} {word}'")
    return found


def _bash(commands: dict[str, Command]) -> Iterator[str]:
    yield "# bash completion for vfwhooks(8)"
    yield _MARK
    yield _BASH_HEAD
    yield f"\tlocal words='{' '.join(commands)} --help --version' asked='' name"
    yield '\tif [ "$COMP_CWORD" -gt 1 ]; then'
    yield "\t\tcase ${COMP_WORDS[1]} in"
    for name, command in commands.items():
        words = " ".join(word for _, word in _options(command))
        files = " files=1" if FILE in _metavars(command) else ""
        files = " paths=1" if GUEST_PORT_OR_FILE in _metavars(command) else files
        yield f"\t\t{name}) words='{words}' asked='{_asked(command)}'{files} ;;"
    yield "\t\t*) words='' ;;"
    yield "\t\tesac"
    yield '\t\tcase "${COMP_WORDS[1]} $COMP_CWORD" in'
    for name, command in commands.items():
        if actions := _actions(command):
            yield f"\t\t'{name} 2') words='{actions}' asked='' files='' ;;"
            yield f"\t\t'{name} 3') files='' ;;"
    yield "\t\tesac"
    yield '\t\tcase "${COMP_WORDS[1]} ${COMP_WORDS[COMP_CWORD - 1]}" in'
    for (metavar, choices), options in _values(commands).items():
        files = " files=1" if metavar == FILE else " files=''"
        files += f" words='{choices}' asked='' paths=''"
        yield f"\t\t{' | '.join(options)}){files} ;;"
    yield "\t\tesac"
    yield "\tfi"
    yield _BASH_TAIL


_BASH_HEAD = """\
_vfwhooks() {
	local word=${COMP_WORDS[COMP_CWORD]} files='' paths=''"""
# Names are compared and quoted here: compgen -W would expand characters in them.
_BASH_TAIL = """\
	COMPREPLY=()
	for name in $words; do
		[[ $name != "$word"* ]] || COMPREPLY+=("$name")
	done
	if [ -n "$files" ] && [[ $word != -* ]]; then
		compopt -o default
		COMPREPLY=()
	elif [ -n "$asked" ] && [[ $word != -* ]]; then
		COMPREPLY=()
		# shellcheck disable=SC2086 # words, not one
		while IFS= read -r name; do
			name=$(printf %q "$name")
			[[ $name != "$word"* ]] || COMPREPLY+=("$name")
		done < <(vfwhooks complete $asked 2>/dev/null)
		# Where no guest and no port fits, files do.
		[ -z "$paths" ] || compopt -o default
	fi
}
complete -F _vfwhooks vfwhooks"""


def _zsh(commands: dict[str, Command]) -> Iterator[str]:
    yield "#compdef vfwhooks"
    yield _MARK
    yield _ZSH_HEAD
    for name, command in commands.items():
        yield f"\t\t{_zsh_word(f'{name}:{command.summary}')}"
    yield _ZSH_MIDDLE
    for name, command in commands.items():
        yield f"\t{name})"
        yield "\t\t_arguments \\"
        words = [
            f"{word}[{one.help}]{_zsh_value(one)}" for one, word in _options(command)
        ]
        specs = map(_zsh_word, [*words, *_zsh_argument(command)])
        yield " \\\n".join(f"\t\t\t{spec}" for spec in specs)
        yield "\t\t;;"
    yield "\tesac"
    yield "}"
    yield '_vfwhooks "$@"'


def _zsh_word(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


def _zsh_value(option: argparse.Action) -> str:
    if option.nargs == 0:
        return ""
    if option.choices:
        return f":{option.metavar}:({_choices(option)})"
    return f":{option.metavar}:{'_files' if option.metavar == FILE else ' '}"


def _zsh_argument(command: Command) -> list[str]:
    if actions := _actions(command):
        known = f"2:name: _vfwhooks_known {_asked(command)}"
        return [f"1:action:({actions})", known, "3:file:_files"]
    if FILE in _metavars(command):
        return ["1:file:_files"]
    # zsh adds no options of its own to the words after the blank.
    asked = [ASKED[m] for m in _metavars(command) if m in ASKED]
    if GUEST_PORT_OR_FILE in _metavars(command):
        return [f"1:name:{{_vfwhooks_known {asked[0]} || _files}}"]
    is_repeated = any(one.nargs == "*" for one in command.arguments[:1])
    wheres = ("*:name" if is_repeated else "1:name", "*:port")
    return [f"{at}: _vfwhooks_known {what}" for at, what in zip(wheres, asked)]


_ZSH_HEAD = """\
_vfwhooks_known() {
	local -a found
	found=(${(f)"$(vfwhooks complete "$@" 2>/dev/null)"})
	compadd -a found
}
_vfwhooks() {
	local -a commands
	commands=("""
_ZSH_MIDDLE = """\
	)
	if ((CURRENT == 2)); then
		_describe command commands
		compadd -- --help --version
		return
	fi
	local command=$words[2]
	shift words
	((CURRENT--))
	case $command in"""


def _fish(commands: dict[str, Command]) -> Iterator[str]:
    yield "# fish completion for vfwhooks(8)"
    yield _MARK
    yield "complete -c vfwhooks -f"
    first = "complete -c vfwhooks -n __fish_use_subcommand"
    yield f"{first} -l help -d 'how to use it'"
    yield f"{first} -l version -d 'the version'"
    for name, command in commands.items():
        yield f"{first} -a {name} -d {_fish_word(command.summary)}"
        seen = f"complete -c vfwhooks -n '__fish_seen_subcommand_from {name}'"
        for one, word in _options(command):
            kind = f"-l {word[2:]}" if word.startswith("--") else f"-s {word[1:]}"
            kind += "" if one.nargs == 0 else " -r" + " -F" * (one.metavar == FILE)
            kind += f" -a '{_choices(one)}'" if one.choices else ""
            yield f"{seen} {kind} -d {_fish_word(one.help or '')}"
        if actions := _actions(command):
            known = f"-a '(vfwhooks complete {_asked(command)} 2>/dev/null)'"
            inner = f"__fish_seen_subcommand_from {actions}'"
            yield f"{seen[:-1]}; and not {inner} -a '{actions}'"
            yield f"{seen[:-1]}; and {inner} {known} -F"
        elif FILE in _metavars(command):
            yield f"{seen} -F"
        elif asked := _asked(command):
            yield f"{seen} -a '(vfwhooks complete {asked} 2>/dev/null)'"
        if GUEST_PORT_OR_FILE in _metavars(command):
            is_path = 'string match -q -- "*/*" (commandline -ct)'
            yield f"{seen[:-1]}; and {is_path}' -F"


def _fish_word(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
