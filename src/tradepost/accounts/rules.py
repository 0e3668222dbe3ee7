"""What names, addresses and the like must look like. Pure functions: each returns what is wrong in words, or None."""

import re
from collections.abc import Collection
from zoneinfo import ZoneInfo

_USERNAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{1,63}")
_LOCAL = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*")
_LABEL = re.compile(r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?")
_LOCALE = re.compile(r"[a-z]{2,3}([_-][A-Z][a-z]{3})?([_-][A-Z]{2})?")
_RESERVED = """
about abuse access account accounts activate admin administrator admins alert alerts anonymous anybody anyone api app
assistant auth billing blog bot buyer cart catalog categories category checkout cms complaints contact customer
customerservice delete deleted demo deploy dev developer documentation everybody everyone example faq feed feedback
finance founder ftp guest health help helpdesk home hostmaster http https imap index info invoice legal listing
listings live login logout mail mailerdaemon media member me messages moderator mods mod myself news nobody noone
noreply notifications null oauth offers office official operator order orders owner page payment payments payout
people pop3 postmaster press privacy profile public register reports reviews rider robot robots root sales search
secure security self sell seller service session settings shop signin signout signup sitemap smtp somebody someone ssl
staff static status store stores stream streams superuser support sysadmin system team terms test theme token
tradepost trust undefined unknown user users verified verify webhook webmaster www you
"""
_LOOKS_LIKE = str.maketrans("01i53478", "ollseatb", ".-_")


def username_problem(username: str, also_reserved: Collection[str] = ()) -> str | None:
    """Return why nobody may have this username. `also_reserved`: the store's own names.

    Names are ASCII, so that no letter of another script can pass for one of ours; a reserved name is refused in every
    spelling that looks like it (“adm1n”, “s.u.p.p.o.r.t”).
    """
    if len(username) < 3:
        return "At least 3 characters, please."
    if len(username) > 64:
        return "At most 64 characters, please."
    if not _USERNAME.fullmatch(username) or username[-1] in ".-" or ".." in username:
        return "Only the letters a to z, digits, and . - _ between them."
    if looks(username) in {looks(name) for name in (*_RESERVED.split(), *also_reserved)}:
        return "This name is reserved."
    return None


def looks(username: str) -> str:
    """Return what a username looks like at a glance: letters and digits that are easily mistaken are one, signs are none."""
    return username.lower().replace("rn", "m").replace("vv", "w").translate(_LOOKS_LIKE)


def email_problem(email: str) -> str | None:
    """Return why this is not an e-mail address that mail can be sent to.

    Plain `local@domain` of RFC 5321 without quoting: no white space, no line break, nothing that could end a mail header.
    """
    if not email:
        return "This is needed."
    if len(email) > 255:
        return "At most 255 characters, please."
    local, at, domain = email.rpartition("@")
    labels = domain.split(".")
    sound = (
        at
        and len(local) <= 64
        and len(labels) >= 2
        and _LOCAL.fullmatch(local)
        and all(_LABEL.fullmatch(label) for label in labels)
        and not labels[-1].isdigit()
    )
    return None if sound else "This does not look like an e-mail address."


def as_phone(text: str) -> str | None:
    """Return a telephone number as E.164 writes it (+263771234567), or None when it is not an international number."""
    digits = re.sub(r"[\s()./-]", "", text)
    digits = f"+{digits[2:]}" if digits.startswith("00") else digits
    return digits if re.fullmatch(r"\+[1-9][0-9]{6,14}", digits) else None


def locale_problem(locale: str) -> str | None:
    """Return why this is not a locale such as `en` or `en_ZW`."""
    return None if _LOCALE.fullmatch(locale) else "This is not a language we know."


def timezone_problem(timezone: str) -> str | None:
    """Return why this is not a time zone such as `Africa/Harare`."""
    if not re.fullmatch(r"[A-Za-z0-9_+/-]{1,64}", timezone):
        return "This is not a time zone we know."
    try:
        ZoneInfo(timezone)
    except (KeyError, ValueError, OSError):
        return "This is not a time zone we know."
    return None
