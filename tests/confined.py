"""
Runs a program as the unit confines it: the same system calls and kinds of sockets, and no memory both written
and executed.

``python -m tests.confined UNIT COMMAND…``; only systemd as the first process can start the unit itself.
"""

import ctypes
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

PR_SET_NO_NEW_PRIVS = 38
PR_SET_MDWE = 65  # since Linux 6.3
REFUSE_EXEC_GAIN = 1
ALLOW = 0x7FFF0000
EPERM = 0x00050000 | 1


EQUAL = 4


class Compared(ctypes.Structure):
    """What an argument of a system call is compared with: ``struct scmp_arg_cmp``."""

    _fields_ = (("arg", ctypes.c_uint), ("op", ctypes.c_int), ("a", ctypes.c_uint64), ("b", ctypes.c_uint64))


def system_calls(group: str) -> Iterator[str]:
    """Name the system calls of a group such as ``@system-service``."""
    shown = subprocess.run(
        ["systemd-analyze", "syscall-filter", group], capture_output=True, text=True, check=True
    )
    for line in shown.stdout.splitlines()[1:]:
        word = line.strip()
        if word.startswith("@"):
            yield from system_calls(word)
        elif word and not word.startswith("#"):
            yield word


def settings(unit: Path, name: str) -> list[str]:
    """Give the values of a setting, in their order."""
    lines = (line.partition("=") for line in unit.read_text().splitlines())
    return [value for key, _, value in lines if key == name]


def families_of(unit: Path) -> list[int]:
    """Give the kinds of sockets that ``RestrictAddressFamilies=`` leaves."""
    return [
        getattr(socket, name) for line in settings(unit, "RestrictAddressFamilies") for name in line.split()
    ]


def allowed_by(unit: Path) -> set[str]:
    """Work out what the ``SystemCallFilter=`` lines of a unit allow, in their order."""
    allowed: set[str] = set()
    for groups in settings(unit, "SystemCallFilter"):
        if groups:
            named = {call for group in groups.lstrip("~").split() for call in system_calls(group)}
            allowed = allowed - named if groups.startswith("~") else allowed | named
    return allowed


def confine(allowed: set[str], families: list[int]) -> None:
    """Give up every other call and kind of socket, for this process and what it becomes."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) or libc.prctl(PR_SET_MDWE, REFUSE_EXEC_GAIN, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl")
    seccomp = ctypes.CDLL("libseccomp.so.2")
    seccomp.seccomp_init.restype = ctypes.c_void_p
    context = ctypes.c_void_p(seccomp.seccomp_init(ctypes.c_uint32(EPERM)))
    for name in allowed - {"socket"}:
        number = seccomp.seccomp_syscall_resolve_name(name.encode())
        if number >= 0:  # below zero: a call of another architecture
            seccomp.seccomp_rule_add(context, ctypes.c_uint32(ALLOW), number, 0)
    number = seccomp.seccomp_syscall_resolve_name(b"socket")
    for family in families:
        wanted = Compared(0, EQUAL, family, 0)
        seccomp.seccomp_rule_add_array(
            context, ctypes.c_uint32(ALLOW), number, ctypes.c_uint(1), ctypes.byref(wanted)
        )
    if seccomp.seccomp_load(context):
        raise OSError("seccomp_load")


if __name__ == "__main__":
    unit, *command = sys.argv[1:]
    confine(allowed_by(Path(unit)), families_of(Path(unit)))
    os.execvp(command[0], command)
