"""Control groups: names for the ids that the kernel gives, and ids for the names that a person gives."""

import contextlib
import ctypes
import errno
import os
import re
import struct
from dataclasses import dataclass
from pathlib import Path

from tracekit.capture import wire
from tracekit.capture.btf import Btf
from tracekit.errors import UnsupportedError, UsageError
from tracekit.text import decode

_FILEID_KERNFS = 0xFE
# What a controller is called where it is mounted, if that is not its name in the kernel.
_KERNEL_NAMES = {"blkio": "io"}
# Folders are looked through for an unknown id at most so often in a row without success.
_WALKS = 20


@dataclass(frozen=True)
class Mount:
    """Where a hierarchy is mounted.

    Attributes:
        path: the folder.
        controllers: of version 1 those of this hierarchy; None: the unified hierarchy, version 2.
    """

    path: str
    controllers: tuple[str, ...] | None


def mounts() -> list[Mount]:
    """The hierarchies that are mounted."""
    found = []
    for line in Path("/proc/self/mounts").read_bytes().split(b"\n")[:-1]:
        _, where, kind, options, *_ = line.split(b" ")
        path = os.fsdecode(re.sub(rb"\\([0-7]{3})", lambda match: bytes([int(match[1], 8)]), where))
        if kind == b"cgroup2":
            found.append(Mount(path, None))
        elif kind == b"cgroup":
            found.append(Mount(path, tuple(os.fsdecode(options).split(","))))
    return found


def unified() -> str | None:
    """Where the unified hierarchy is mounted."""
    return next((mount.path for mount in mounts() if mount.controllers is None), None)


@dataclass(frozen=True)
class Cgroup:
    """One cgroup.

    Attributes:
        identity: its id in its hierarchy.
        subsystem: number of the controller whose hierarchy it is in, or `wire.UNIFIED`.
        controller: name of that; empty for the unified hierarchy, as in /proc/PID/cgroup.
        path: within the hierarchy, beginning with a slash.
    """

    identity: int
    subsystem: int
    controller: str
    path: str

    def has(self, pid: int) -> bool:
        """Whether a process is in it or below it."""
        with contextlib.suppress(OSError):
            for line in os.fsdecode(Path(f"/proc/{pid}/cgroup").read_bytes()).split("\n")[:-1]:
                _, controllers, path = line.split(":", 2)
                if self.controller in controllers.split(","):
                    return self.path == "/" or path == self.path or path.startswith(f"{self.path}/")
        return False


def find(name: str, btf: Btf) -> Cgroup:
    """The cgroup that a person means.

    Args:
        name: its folder, or its path in the unified hierarchy, as a trace shows it.
        btf: of the kernel, which numbers the controllers.

    Raises:
        UsageError: there is none.
        UnsupportedError: it is in a hierarchy that has no controller.
    """
    real = os.path.realpath(name)
    everywhere = mounts()
    mount = next((mount for mount in everywhere if f"{real}/".startswith(f"{mount.path}/")), None)
    if mount is None:
        mount = next((mount for mount in everywhere if mount.controllers is None), None)
        real = "" if mount is None else f"{mount.path}/{name.strip('/')}".rstrip("/")
    if mount is None or not Path(real).is_dir():
        raise UsageError(f"there is no cgroup {name}: name its folder, or its path in the unified hierarchy")
    subsystem, controller = _subsystem(name, mount, btf)
    return Cgroup(Path(real).stat().st_ino, subsystem, controller, real.removeprefix(mount.path) or "/")


def _subsystem(name: str, mount: Mount, btf: Btf) -> tuple[int, str]:
    if mount.controllers is None:
        return wire.UNIFIED, ""
    numbers = btf.enumeration("cgroup_subsys_id")
    for controller in mount.controllers:
        number = numbers.get(f"{_KERNEL_NAMES.get(controller, controller)}_cgrp_id")
        if number is not None:
            return number, controller
    raise UnsupportedError(f"{name} is in a hierarchy without a controller: name the cgroup in that of a controller")


class Names:
    """Paths in the unified hierarchy, by the ids of cgroups."""

    def __init__(self) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._mount = unified()
        self._descriptor = -1 if self._mount is None else os.open(self._mount, os.O_RDONLY | os.O_DIRECTORY)
        self._walked: dict[int, str] = {}
        self._walks = _WALKS

    def path(self, identity: int) -> str | None:
        """The path of a cgroup; None if it is gone or there is no such hierarchy."""
        if self._mount is None:
            return None
        handle = ctypes.create_string_buffer(struct.pack("=IiQ", 8, _FILEID_KERNFS, identity))
        descriptor = self._libc.open_by_handle_at(self._descriptor, handle, os.O_PATH)
        if descriptor < 0:
            return self._looked_for(identity) if ctypes.get_errno() == errno.EPERM else None
        try:
            where = str(Path(f"/proc/self/fd/{descriptor}").readlink())
        finally:
            os.close(descriptor)
        return None if where.endswith(" (deleted)") else self._inner(where)

    def _looked_for(self, identity: int) -> str | None:
        """The same without the privilege to open by id: look through the folders, whose inode numbers are the ids."""
        if identity not in self._walked and self._walks and self._mount is not None:
            self._walks -= 1
            self._walked.clear()
            for folder, _, _ in os.walk(self._mount):
                with contextlib.suppress(OSError):
                    self._walked[Path(folder).stat().st_ino] = self._inner(folder)
            if identity in self._walked:
                self._walks = _WALKS
        return self._walked.get(identity)

    def _inner(self, folder: str) -> str:
        """A folder's path within the hierarchy, as text that can be written down."""
        return decode(os.fsencode(folder.removeprefix(self._mount or ""))) or "/"

    def close(self) -> None:
        """Let go of the hierarchy."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
