"""A room as a container has it, made with the namespaces of Linux: a root of its own, a user
without rights and without a home, little shared memory, no network."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

NOBODY = 65534
_SYSTEM = ("usr", "bin", "sbin", "lib", "lib64", "etc")
_DEVICES = ("null", "zero", "full", "random", "urandom")
_TOOLS = ("unshare", "mount", "setpriv", "chroot")


@contextmanager
def as_nobody() -> Iterator[None]:
    """Take root's rights from this process, which may not go everywhere then."""
    is_root = os.getuid() == 0
    if is_root:
        os.setresuid(NOBODY, NOBODY, 0)
    try:
        yield
    finally:
        if is_root:
            os.setresuid(0, 0, 0)


@dataclass(frozen=True, kw_only=True)
class Sandbox:
    """A root file system on the base of this machine's, which stays as it is."""

    root: Path
    """What it holds besides; an empty directory is enough."""
    shown: dict[Path, str] = field(default_factory=dict)
    """Directories of this machine that are seen there, read-only, by their place there."""
    lent: dict[Path, str] = field(default_factory=dict)
    """The same, to be written to."""
    user: int = NOBODY
    writable: bool = False
    """Whether the root itself may be written to."""
    shm_mib: int = 64
    """Shared memory; what Docker gives. 0: no /dev/shm."""
    tmp: bool = False
    """Whether there is a /tmp, in memory."""
    network: bool = False
    env: dict[str, str] = field(default_factory=dict)
    """All variables there are; HOME is none of them."""

    def run(
        self, *command: str, stdin: str = "", timeout: float = 300
    ) -> subprocess.CompletedProcess[str]:
        """Run a command in it, from its root directory on."""
        names = ["--mount", "--pid", "--fork", *([] if self.network else ["--net"])]
        line = ["unshare", *names, "sh", "-euc", "\n".join([*self._made(), self._enter(command)])]
        return subprocess.run(
            line, input=stdin, capture_output=True, text=True, timeout=timeout, check=False
        )

    def _made(self) -> list[str]:
        root = shlex.quote(str(self.root))
        lines = [f"mount --bind {root} {root}"]
        for name in _SYSTEM:
            place = Path("/", name)
            if place.is_symlink():
                target = shlex.quote(os.readlink(place))
                lines.append(f"[ -e {root}/{name} ] || ln -s {target} {root}/{name}")
            elif place.is_dir():
                lines += _bound(place, f"{self.root}/{name}", read_only=True)
        for each, read_only in ((self.shown, True), (self.lent, False)):
            for place, there in each.items():
                lines += _bound(place, f"{self.root}/{there.lstrip('/')}", read_only=read_only)
        lines += _mounted("tmpfs", f"{self.root}/dev", "mode=755")
        for name in _DEVICES:
            device = f"{root}/dev/{name}"
            lines += [f"touch {device}", f"mount --bind /dev/{name} {device}"]
        lines.append(f"ln -s /proc/self/fd {root}/dev/fd")
        if self.shm_mib:
            lines += _mounted("tmpfs", f"{self.root}/dev/shm", f"mode=1777,size={self.shm_mib}m")
        lines.append(f"mount -o remount,ro {root}/dev")
        lines += _mounted("proc", f"{self.root}/proc", "")
        lines += _bound(Path("/sys"), f"{self.root}/sys", read_only=True)
        if self.tmp:
            lines += _mounted("tmpfs", f"{self.root}/tmp", "mode=1777")
        if not self.writable:
            lines.append(f"mount -o remount,bind,ro {root}")
        return lines

    def _enter(self, command: tuple[str, ...]) -> str:
        rights = ["--clear-groups", "--no-new-privs", "--bounding-set=-all", "--inh-caps=-all"]
        user = [f"--reuid={self.user}", f"--regid={self.user}", *rights] if self.user else []
        env = [f"{name}={value}" for name, value in self.env.items()]
        words = ["exec", "chroot", str(self.root), "env", "-i", *env]
        return shlex.join([*words, *(["setpriv", *user] if user else []), *command])


@cache
def is_possible() -> bool:
    """Whether this machine lets this user make one."""
    if sys.platform != "linux" or os.geteuid() or not all(map(shutil.which, _TOOLS)):
        return False
    line = [
        "unshare",
        "--mount",
        "--pid",
        "--fork",
        "--net",
        "mount",
        "-t",
        "proc",
        "none",
        "/proc",
    ]
    return subprocess.run(line, capture_output=True, check=False).returncode == 0


def _bound(place: Path, there: str, *, read_only: bool) -> list[str]:
    there = shlex.quote(there)
    lines = [f"mkdir -p {there}", f"mount --rbind {shlex.quote(str(place))} {there}"]
    return [*lines, f"mount -o remount,bind,ro {there}"] if read_only else lines


def _mounted(kind: str, there: str, options: str) -> list[str]:
    there, chosen = shlex.quote(there), f"-o {options} " if options else ""
    return [f"mkdir -p {there}", f"mount -t {kind} {chosen}none {there}"]
