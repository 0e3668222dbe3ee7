#!/bin/sh
# Make .venv from the lock files: finds a Python and hands over to bootstrap.py. Usage: tools/bootstrap.sh runtime|tracing|vectors|dev
# PYTHON=/path/to/python chooses the interpreter.
here=$(dirname "$0")
found=
for python in ${PYTHON:+"$PYTHON"} python3 python3.13 python3.12 python3.11 python3.14; do
    # Run it: a name on the PATH may be the stub of a version manager that has nothing behind it.
    version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2]); sys.exit(sys.version_info < (3, 11))' 2>/dev/null) &&
        exec "$python" -B "$here/bootstrap.py" "$@"
    found=${found:-$version}
done
if [ -n "$found" ]; then
    echo "Tradepost needs Python 3.11 or newer and found only $found; install a newer one, or name it: make PYTHON=/path/to/python3" >&2
else
    echo "Tradepost needs Python 3.11 or newer and found none; on Debian and Ubuntu: sudo apt-get install python3 python3-venv" >&2
fi
exit 1
