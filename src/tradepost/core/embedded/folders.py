"""Folders that a server running as another user can use, and sockets whose paths are short enough."""

import os
import shutil
import socket
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tradepost.core.embedded.process import ServiceUser
from tradepost.core.home import Home

_SHORT = "tradepost-"


@contextmanager
def reachable(folder: Path, user: ServiceUser | None) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Yield a path to the folder that the service user can walk, and the descriptors that its process must be given.

    Root's home is closed to the service user, and so may be every folder above it; opening them up would be worse. Linux
    resolves `/proc/self/fd/N` straight to the folder without asking for the way there, in every child of the server as well.
    """
    if user is None or sys.platform != "linux":
        yield str(folder), ()
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{descriptor}", (descriptor,)
    finally:
        os.close(descriptor)


@contextmanager
def socket_folder(home: Home, name: str, socket_name: str, user: ServiceUser | None) -> Iterator[Path]:
    """Yield an empty folder, open to its owner alone, for a socket of that name; nothing of it is left afterwards.

    It is `run/<name>`. Where no socket can be made there, because the path is too long for one (108 bytes, 104 on macOS) or the
    disk is of a kind that holds none, `run/<name>` is a link to a folder in /tmp: the next start finds what a crash has left.
    """
    folder = home.run / name
    _clear(folder)
    folder.mkdir(mode=0o700)
    made = folder
    if not _can_hold(folder / socket_name):
        folder.rmdir()
        made = Path(tempfile.mkdtemp(prefix=_SHORT, dir="/tmp"))
        folder.symlink_to(made)
    if user:
        user.take(made)
    try:
        yield made
    finally:
        _clear(folder)


def _can_hold(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.bind(str(path))
        except OSError:
            return False
    path.unlink()
    return True


def _clear(folder: Path) -> None:
    if folder.is_symlink():
        target = folder.readlink()
        if target.name.startswith(_SHORT):
            shutil.rmtree(target, ignore_errors=True)
        folder.unlink()
    elif folder.exists():
        shutil.rmtree(folder)
