"""Choosing where notices go beside the store."""

from ipaddress import ip_address, ip_network
from urllib.parse import urlsplit

from tradepost.accounts.types import Caller
from tradepost.core.http import AddressRefused, NotAWebAddress, is_public
from tradepost.flows.store import Store
from tradepost.notifications.ways import set_hook


async def choose_hook(store: Store, caller: Caller, url: str) -> str:
    """Have the caller's program told at a web address; return the secret that signs what it gets, shown this once.

    One that plainly names a private address is refused here, and any when it is called. Raises `NotAWebAddress`, `AddressRefused`,
    `SignInFirst`, `NotAllowed`.
    """
    check_address(url, store.installation.http.reachable)
    async with store.db.transaction(actor=caller.actor) as tx:
        return await set_hook(tx, store.keys, caller, url)


def check_address(url: str, reachable: tuple[str, ...]) -> None:
    """Raise `NotAWebAddress` or `AddressRefused` for what cannot be called, as far as the address itself says so."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise NotAWebAddress(url[:100]) from None
    if parts.scheme not in {"http", "https"} or not host or parts.username or parts.password or len(url) > 2000:
        raise NotAWebAddress(url[:100])
    try:
        address = ip_address(host)
    except ValueError:
        if host == "localhost" or host.endswith(".localhost"):
            raise AddressRefused(host) from None
        return
    if not is_public(address) and not any(address in ip_network(net) for net in reachable):
        raise AddressRefused(host)
