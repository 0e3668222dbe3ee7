"""Become another program: as another user where asked, and not outliving the process that started us.

Run by path with `python -I -S`, so it may import nothing but the standard library. It is a program of its own because the
death signal must be set after the change of user, and because Python code between fork and exec can deadlock where the
parent has threads.
"""

import ctypes
import os
import sys

_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Take `parent signal uid gid program argument…` (uid and gid `-` to stay who we are) and never return."""
    parent, signal, uid, gid, *command = sys.argv[1:]
    if uid != "-":
        os.setgroups([int(gid)])
        os.setgid(int(gid))
        os.setuid(int(uid))
    if sys.platform == "linux":
        # Set last: the kernel forgets it at every change of user (prctl(2)).
        if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, int(signal), 0, 0, 0):
            raise OSError(ctypes.get_errno(), "prctl")
        if os.getppid() != int(parent):
            sys.exit("FATAL: the starting process has gone")
    os.execv(command[0], command)  # noqa: S606  (the command comes from our own supervisor)


if __name__ == "__main__":
    try:
        main()
    except OSError as failure:
        sys.exit(f"FATAL: {failure.filename or ''} {(failure.strerror or str(failure)).lower()}")
