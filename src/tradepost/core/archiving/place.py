"""The archive folder: `<timeline>/base/<time>/` and `<timeline>/wal/`, each sealed with a signature of the installation's key.

A timeline is one life of a server: whoever recovers begins another one, with base backups and a log of its own, so that what came
after the recovered second stays readable.
"""

import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path

import msgspec

from tradepost.core.crypto import Keyring
from tradepost.core.errors import Conflict, Invalid

_PURPOSE = "wal-archive"
_SEGMENT = re.compile(r"[0-9A-F]{24}")
_TIMELINE = re.compile(r"[0-9A-F]{8}")
MANIFEST, ABOUT, SEAL = "backup_manifest", "about.json", "about.seal"


@dataclass(eq=False)
class ArchiveDamaged(Invalid):
    """The archive {path} cannot be recovered from: {reason}."""

    path: str
    reason: str


@dataclass(eq=False)
class ArchiveOfAnother(Conflict):
    """The archive {path} belongs to another database server; choose another folder for this one."""

    path: str


class About(msgspec.Struct, frozen=True, kw_only=True):
    """What a base backup says of itself. `system`: the server's own number; `first`: the piece of the log it needs first."""

    system: int
    major: int
    timeline: str
    first: str
    segment_bytes: int
    started_at: datetime
    finished_at: datetime
    manifest: str  # the SHA-256 of PostgreSQL's own list of files
    bytes: int


@dataclass(frozen=True)
class Backup:
    """One base backup that is whole."""

    folder: Path
    about: About


@dataclass(frozen=True)
class Timeline:
    """The part of an archive that belongs to one life of the server."""

    folder: Path

    @cached_property
    def wal(self) -> Path:
        """Where `pg_receivewal` writes."""
        return self.folder / "wal"

    @cached_property
    def seals(self) -> Path:
        """One signature for each finished piece of the log."""
        return self.folder / "seals"

    @cached_property
    def copies(self) -> Path:
        """The base backups, each a folder named after the moment it was begun."""
        return self.folder / "base"

    def make(self) -> None:
        """Make what is missing, for the owner's eyes only."""
        for folder in (self.wal, self.seals, self.copies):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def bases(self) -> list[Backup]:
        """Return the base backups that were finished, oldest first; their seals are not looked at."""
        return [
            Backup(path.parent, msgspec.json.decode(path.read_bytes(), type=About))
            for path in sorted(self.copies.glob(f"*/{ABOUT}"))
            if (path.parent / SEAL).is_file()
        ]

    def segments(self) -> list[Path]:
        """Return the finished pieces of the log, in order."""
        return sorted(path for path in self.wal.iterdir() if _SEGMENT.fullmatch(path.name))

    def unfinished(self) -> Path | None:
        """Return the piece that was being written last."""
        return max(self.wal.glob("*.partial"), default=None)

    def seal(self, keys: Keyring) -> int:
        """Sign the finished pieces that have no seal yet; return how many."""
        fresh = [path for path in self.segments() if not (self.seals / path.name).exists()]
        for path in fresh:
            making = self.seals / f"{path.name}.making"
            making.write_text(keys.sign(_digest(path), _PURPOSE), "ascii")
            making.replace(self.seals / path.name)
        return len(fresh)

    def needed(self, base: Backup, keys: Keyring) -> list[Path]:
        """Return every piece of the log from a base backup on, looked at.

        Raises `ArchiveDamaged` for one that is missing, cut off or changed. The piece that was being written last has no seal: who
        recovers sees by the time reached whether it was whole.
        """
        found = [path for path in self.segments() if path.name >= base.about.first]
        for path, expected in zip(found, _names(base.about), strict=False):
            if path.name != expected:
                raise ArchiveDamaged(str(self.wal), f"{expected} is missing")
            self._check(path, base.about.segment_bytes, keys, is_last=path is found[-1])
        last = self.unfinished()
        follows = next(name for name in _names(base.about) if not found or name > found[-1].name)
        if last and last.name == f"{follows}.partial":
            found.append(last)
        elif last and last.name > f"{follows}.partial":
            raise ArchiveDamaged(str(self.wal), f"{follows} is missing")
        return found

    def _check(self, path: Path, size: int, keys: Keyring, *, is_last: bool) -> None:
        if path.stat().st_size != size:
            raise ArchiveDamaged(str(self.wal), f"{path.name} was cut off")
        seal = self.seals / path.name
        if not seal.exists():
            if is_last:  # finished in the second before the archiver ended
                return
            raise ArchiveDamaged(str(self.wal), f"{path.name} has no seal")
        if not keys.is_signed(_digest(path), seal.read_text("ascii", "replace"), _PURPOSE):
            raise ArchiveDamaged(str(self.wal), f"{path.name} was changed")

    def drop_before(self, first: str) -> int:
        """Delete the pieces of the log before one; return how many."""
        old = [path for path in self.segments() if path.name < first]
        for path in old:
            path.unlink()
            (self.seals / path.name).unlink(missing_ok=True)
        return len(old)


def timelines(archive: Path) -> list[Timeline]:
    """Return the lives of the server that an archive has, oldest first."""
    if not archive.is_dir():
        return []
    return [Timeline(path) for path in sorted(archive.iterdir()) if _TIMELINE.fullmatch(path.name)]


def check_system(archive: Path, system: int) -> None:
    """Refuse an archive of another server. Raises `ArchiveOfAnother`."""
    if any(base.about.system != system for timeline in timelines(archive) for base in timeline.bases()):
        raise ArchiveOfAnother(str(archive))


def sealed(folder: Path, about: About, keys: Keyring) -> Backup:
    """Write what a base backup is, and its seal, which makes it whole."""
    text = msgspec.json.encode(about)
    (folder / ABOUT).write_bytes(text)
    (folder / SEAL).write_text(keys.sign(text, _PURPOSE), "ascii")
    return Backup(folder, about)


def check_backup(base: Backup, keys: Keyring) -> None:
    """Raise `ArchiveDamaged` where a base backup or what it says of itself was changed; its files are PostgreSQL's to check."""
    signature = (base.folder / SEAL).read_text("ascii", "replace")
    if not keys.is_signed((base.folder / ABOUT).read_bytes(), signature, _PURPOSE):
        raise ArchiveDamaged(str(base.folder), "what it says of itself was changed")
    manifest = base.folder / MANIFEST
    if not manifest.is_file() or hashlib.sha256(manifest.read_bytes()).hexdigest() != base.about.manifest:
        raise ArchiveDamaged(str(base.folder), "its list of files was changed")


def best_backup(archive: Path, until: datetime | None) -> tuple[Timeline, Backup]:
    """Return the latest base backup that was finished by a moment, or the latest of all. Raises `ArchiveDamaged`."""
    for timeline in reversed(timelines(archive)):
        bases = [base for base in timeline.bases() if until is None or base.about.finished_at <= until]
        if bases:
            return timeline, bases[-1]
    what = (
        "there is no base backup in it"
        if until is None
        else f"no base backup in it was finished by {until:%Y-%m-%d %H:%M:%S%z}"
    )
    raise ArchiveDamaged(str(archive), what)


def segment_of(lsn: str, timeline: str, segment_bytes: int) -> str:
    """Return the name of the piece of the log that a position (`0/2000028`) is in."""
    high, low = (int(part, 16) for part in lsn.split("/"))
    return f"{timeline}{high:08X}{low // segment_bytes:08X}"


def _names(about: About) -> Iterator[str]:
    """Yield the names of the pieces in order, from the first one that a base backup needs."""
    each = 0x1_0000_0000 // about.segment_bytes
    number = int(about.first[8:16], 16) * each + int(about.first[16:], 16)
    while True:
        yield f"{about.timeline}{number // each:08X}{number % each:08X}"
        number += 1


def _digest(path: Path) -> bytes:
    """Return what stands for a piece of the log: its name, so that none can take another's place, and its content."""
    with path.open("rb") as file:
        return path.name.encode() + hashlib.file_digest(file, "sha256").digest()


def histories(found: Sequence[Timeline]) -> dict[str, Path]:
    """Return the files that say which timelines there were, so that none is taken twice."""
    return {path.name: path for timeline in found for path in timeline.wal.glob("*.history")}
