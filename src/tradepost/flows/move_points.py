"""Places as PostGIS writes them in text, read without PostGIS: the hexadecimal form of a point, or its words."""

import re
import struct
from typing import Final

_WORDS: Final = re.compile(r"(?:SRID=4326;)?POINT\s*\(\s*(-?[0-9.]+)\s+(-?[0-9.]+)\s*\)", re.IGNORECASE)


def as_point(given: str) -> tuple[float, float] | None:
    """Return latitude and longitude, or None where there is no point on earth."""
    found = _WORDS.fullmatch(given.strip())
    try:
        lon, lat = (float(found[1]), float(found[2])) if found else _read(bytes.fromhex(given))
    except (ValueError, struct.error):
        return None
    return (lat, lon) if -90 <= lat <= 90 and -180 <= lon <= 180 else None


def _read(data: bytes) -> tuple[float, float]:
    """Read a point of extended well-known binary: byte order, kind, perhaps its reference system, longitude, latitude."""
    order = "<" if data[:1] == b"\x01" else ">"
    (kind,) = struct.unpack_from(f"{order}I", data, 1)
    if kind & 0xFF != 1:
        raise ValueError("not a point")
    lon, lat = struct.unpack_from(f"{order}dd", data, 9 if kind & 0x20000000 else 5)
    return lon, lat
