"""The archive folder: `<timeline>/base/<time>/` and `<timeline>/wal/`, each sealed with a signature of the installation's key.

A timeline is one life of a server: whoever recovers begins another one, with base backups and a log of its own, so that what came
after the recovered second stays readable.
"""

import hashlib
import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path

import msgspec

from tradepost.core.crypto import KeyMissing, Keyring
from tradepost.core.errors import Conflict, Invalid, Unavailable

# Of the slot that keeps the log until it is here, and of the standby that commits may wait for.
NAME = "tradepost_archive"
MARKER = "tradepost-archive.txt"
_SAYS = "The archive of a Tradepost database. The installation that keeps it looks for this file to know that the folder is there.\n"
_PURPOSE = "wal-archive"
_SEGMENT = re.compile(r"[0-9A-F]{24}")
_TIMELINE = re.compile(r"[0-9A-F]{8}")
_UNSEALED = "{name} has no seal"
MANIFEST, ABOUT, SEAL = "backup_manifest", "about.json", "about.seal"


@dataclass(eq=False)
class ArchiveDamaged(Invalid):
    """The archive {path} cannot be recovered from: {reason}."""

    path: str
    reason: str


@dataclass(eq=False)
class ArchiveGone(Unavailable):
    """The archive {path} was begun and is not there: mount it again, or give it up with `tradepost archive stop`."""

    path: str


@dataclass(eq=False)
class ArchiveOfAnother(Conflict):
    """The archive {path} belongs to another database server; choose another folder for this one."""

    path: str


@dataclass(eq=False)
class ArchiveBranched(Conflict):
    """The archive {path} holds more than one life of the server ({lives}): name the one that is to come back with --timeline."""

    path: str
    lives: str


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
    files: dict[str, str] = {}  # the SHA-256 of every packed file


@dataclass(frozen=True)
class Backup:
    """One base backup that is whole."""

    folder: Path
    about: About


@dataclass(frozen=True)
class Stretch:
    """The log from a base backup on. `flaw`: why it cannot be followed any further, None where it ends with the archive."""

    pieces: list[Path]
    flaw: ArchiveDamaged | None = None


@dataclass(frozen=True)
class Timeline:
    """The part of an archive that belongs to one life of the server."""

    folder: Path

    @cached_property
    def wal(self) -> Path:
        """Where `pg_receivewal` writes. It goes on after the last piece that it finds there."""
        return self.folder / "wal"

    @cached_property
    def older(self) -> Path:
        """The log before a gap, out of the receiver's sight."""
        return self.folder / "older"

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
        for folder in (self.folder, self.wal, self.older, self.seals, self.copies):
            folder.mkdir(mode=0o700, exist_ok=True)

    def bases(self) -> list[Backup]:
        """Return the base backups that were finished, oldest first; their seals are not looked at."""
        return [
            Backup(path.parent, msgspec.json.decode(path.read_bytes(), type=About))
            for path in sorted(self.copies.glob(f"*/{ABOUT}"))
            if (path.parent / SEAL).is_file()
        ]

    def segments(self) -> list[Path]:
        """Return the finished pieces of the log, in order."""
        found = {path.name: path for path in (*self.older.glob("*"), *self.wal.iterdir())}
        return [path for name, path in sorted(found.items()) if _SEGMENT.fullmatch(name)]

    def set_aside(self) -> None:
        """Begin the log anew after a gap: the receiver cannot go on after the pieces that there are."""
        for path in self.wal.glob("[0-9A-F]" * 24 + "*"):
            path.replace(self.older / path.name)

    def follows_on(self, base: Backup) -> bool:
        """Whether what the receiver writes now follows on a base backup without a gap."""
        if not any(self.older.glob("*")):
            return True
        first = min((path.name[:24] for path in self.wal.glob("[0-9A-F]" * 24 + "*")), default="")
        return first != "" and base.about.first >= first

    def is_used(self) -> bool:
        """Whether there is a base backup in it, or any of the log."""
        return bool(self.bases()) or any(self.wal.glob("[0-9A-F]*"))

    def in_words(self) -> str:
        """Say which life it is, and how far its base backups go."""
        bases = self.bases()
        last = f"last base backup {bases[-1].about.finished_at:%Y-%m-%d %H:%M:%S} UTC" if bases else "no base backup"
        return f"{self.folder.name}: {last}"

    def unfinished(self) -> Path | None:
        """Return the piece that was being written last."""
        return max(self.wal.glob("*.partial"), default=None)

    def seal(self, piece: Path, keys: Keyring) -> None:
        """Sign a finished piece."""
        making = self.seals / f"{piece.name}.making"
        making.write_text(keys.sign(_digest(piece), _PURPOSE), "ascii")
        making.replace(self.seals / piece.name)

    def needed(self, base: Backup, keys: Keyring, *, unsigned: bool = False) -> Stretch:
        """Return the log from a base backup on as far as it can be trusted, every piece looked at.

        The piece that was being written last has no seal, nor has one that was finished just before the archiver ended; of more
        than that one takes `unsigned`. Who recovers sees by the time reached whether the last one was whole.
        """
        found = [path for path in self.segments() if path.name >= base.about.first]
        unsealed = self._unsealed_at_end(found)
        good: list[Path] = []
        for path, expected in zip(found, _names(base.about), strict=False):
            may_be_unsealed = path.name in unsealed and (unsigned or len(unsealed) == 1)
            reason = f"{expected} is missing" if path.name != expected else self._reason(path, base, keys)
            if reason and not (may_be_unsealed and reason == _UNSEALED):
                if reason == _UNSEALED and path.name in unsealed:
                    reason += f", nor have the {len(unsealed) - 1} after it (--unsigned trusts them)"
                return Stretch(good, ArchiveDamaged(str(self.wal), reason.format(name=path.name)))
            good.append(path)
        last = self.unfinished()
        follows = next(name for name in _names(base.about) if not found or name > found[-1].name)
        if last and last.name == f"{follows}.partial":
            good.append(last)
        elif last and last.name > f"{follows}.partial":
            return Stretch(good, ArchiveDamaged(str(self.wal), f"{follows} is missing"))
        return Stretch(good)

    def _unsealed_at_end(self, found: Sequence[Path]) -> list[str]:
        unsealed = list(itertools.takewhile(lambda path: not (self.seals / path.name).exists(), reversed(found)))
        return [path.name for path in reversed(unsealed)]

    def _reason(self, path: Path, base: Backup, keys: Keyring) -> str:
        """Return why a piece cannot be trusted; empty where it can."""
        if path.stat().st_size != base.about.segment_bytes:
            return "{name} was cut off"
        seal = self.seals / path.name
        if not seal.exists():
            return _UNSEALED
        try:
            return (
                ""
                if keys.is_signed(_digest(path), seal.read_text("ascii", "replace"), _PURPOSE)
                else "{name} was changed"
            )
        except KeyMissing:
            return "{name} was sealed with a key that is not here"

    def drop_before(self, first: str) -> int:
        """Delete the pieces of the log before one; return how many."""
        old = [path for path in (*self.older.glob("*"), *self.segments()) if path.name[:24] < first]
        for path in old:
            path.unlink(missing_ok=True)
            (self.seals / path.name).unlink(missing_ok=True)
        return len(old)


def begin(archive: Path) -> None:
    """Make the folder of an archive, with a file that tells it from a mount point where nothing is mounted."""
    archive.mkdir(mode=0o700, parents=True, exist_ok=True)
    (archive / MARKER).write_text(_SAYS, "utf-8")


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


def packed(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of every packed file of a base backup."""
    found = {}
    for path in sorted(folder.glob("*.tar.gz")):
        with path.open("rb") as file:
            found[path.name] = hashlib.file_digest(file, "sha256").hexdigest()
    return found


def check_files(base: Backup) -> None:
    """Raise `ArchiveDamaged` where a packed file is not the signed one: PostgreSQL's own list leaves settings and the log out."""
    found = packed(base.folder)
    for name in sorted(found.keys() | base.about.files.keys()):
        if found.get(name) != base.about.files.get(name):
            raise ArchiveDamaged(str(base.folder), f"{name} is not the file that was signed")


def best_backup(archive: Path, until: datetime | None, life: str = "") -> tuple[Timeline, Backup]:
    """Return the latest base backup that was finished by a moment, or the latest of all.

    `life`: the timeline to take it from; without it the archive may have one only, because nothing in it says which of several
    is the shop and which a rehearsal. Raises `ArchiveDamaged`, `ArchiveBranched`.
    """
    found = [timeline for timeline in timelines(archive) if life in {"", timeline.folder.name} and timeline.is_used()]
    if len(found) > 1:
        raise ArchiveBranched(str(archive), ", ".join(timeline.in_words() for timeline in found))
    bases = [
        base for timeline in found for base in timeline.bases() if until is None or base.about.finished_at <= until
    ]
    if bases:
        return found[0], bases[-1]
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
