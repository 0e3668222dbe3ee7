"""Where the visitor is, as far as they told: a cookie with a position rounded to about a kilometre."""

from tradepost.web.typing import HttpRequest

POSITION_COOKIE = "position"


def position_of(request: HttpRequest) -> tuple[float, float] | None:
    """Return latitude and longitude in degrees, or None where the visitor has not said."""
    return read_position(request.cookies.get(POSITION_COOKIE, ""))


def read_position(text: str) -> tuple[float, float] | None:
    """Return the position that a text such as “-17.83,31.05” gives, or None."""
    try:
        lat, lon = (float(part) for part in text.split(","))
    except ValueError:
        return None
    return (round(lat, 2), round(lon, 2)) if -90 <= lat <= 90 and -180 <= lon <= 180 else None
