"""What an installation remembers of an archive in its own home, where nobody who only writes to the archive reaches it."""

from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from pathlib import Path

import msgspec


class Remembered(msgspec.Struct, frozen=True):
    """That an archive was begun, and the name of the last piece that was sealed of each life of the server."""

    archive: str
    sealed: dict[str, str] = {}


@dataclass(frozen=True)
class Memory:
    """The memory of the archive in `archive`, kept in the folder `home`."""

    home: Path
    archive: Path

    @cached_property
    def _path(self) -> Path:
        return self.home / f"{sha256(str(self.archive).encode()).hexdigest()[:16]}.json"

    def recall(self) -> Remembered | None:
        """Return what is remembered; None of an archive that was not begun."""
        if not self._path.exists():
            return None
        return msgspec.json.decode(self._path.read_bytes(), type=Remembered)

    def sealed(self, life: str) -> str | None:
        """Return the last piece of a life that was sealed."""
        known = self.recall()
        return known.sealed.get(life) if known else None

    def note(self, **sealed: str) -> None:
        """Remember that the archive was begun, and by the name of its life the last piece that was sealed."""
        known = self.recall() or Remembered(str(self.archive))
        making = self._path.with_suffix(".making")
        making.write_bytes(msgspec.json.encode(Remembered(known.archive, {**known.sealed, **sealed})))
        making.replace(self._path)


def forget(home: Path) -> None:
    """Forget every archive: they are given up."""
    for path in home.glob("*.json"):
        path.unlink()
