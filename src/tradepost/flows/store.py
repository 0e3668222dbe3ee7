"""One store at run time: its settings and everything a use case needs to act for it.

Owns the opening and closing of a store's connections. Several stores live in one process; nothing here is global.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from tradepost.accounts.openid import Provider
from tradepost.analytics.noting import write_rest
from tradepost.core.cache import Cache
from tradepost.core.crypto import Keyring
from tradepost.core.database import Database
from tradepost.core.files import FileStore
from tradepost.core.settings import Settings
from tradepost.flows.gateways import open_gateways
from tradepost.flows.preset import StoreSettings, find_presets, load_preset
from tradepost.notifications.adapters.keeping import KeepingMailer
from tradepost.notifications.adapters.smtp import SmtpMailer, SmtpServer
from tradepost.notifications.adapters.texting import HttpMessenger, KeepingMessenger
from tradepost.notifications.ports import Mailer, Messenger


@dataclass(eq=False)
class Store:
    """A store that is open: settings, database, cache, files, keys and payment gateways. `is_demo`: sample sign-ins are shown.

    The staff's editions (flows/editions) change `settings` and `style` while it is open; nothing else of it ever changes.
    `preset`: the settings before any edition, where there is one; `edition`: its number, -1 for a draft; `looked_at`: when this process
    last asked for a newer one.
    """

    code: str
    settings: StoreSettings
    installation: Settings
    preset_folder: Path
    base_url: str
    db: Database
    cache: Cache
    files: FileStore
    keys: Keyring
    is_demo: bool = False
    gateways: Mapping[str, Any] = field(default_factory=dict)
    mailer: Mailer = field(default_factory=KeepingMailer)
    messenger: Messenger = field(default_factory=KeepingMessenger)
    providers: Mapping[str, Provider] = field(default_factory=dict)
    preset: StoreSettings | None = None
    style: str = ""
    edition: int = 0
    looked_at: float = float("-inf")

    @property
    def style_path(self) -> str:
        """The address of the staff's own colours, "" where they have none: another for each edition, so that it may be kept for ever."""
        return f"/theme/edition.css?n={self.edition}" if self.style else ""

    @property
    def currency(self) -> str:
        """The currency prices are shown in."""
        return self.settings.store.currency

    @property
    def zone(self) -> ZoneInfo:
        """The store's own time zone: days on its pages begin and end in it."""
        return ZoneInfo(self.settings.store.timezone)


def own_names(store: Store) -> tuple[str, ...]:
    """Return the names that could pass for the store's own people."""
    shop = store.settings.store
    return (shop.code, shop.name.replace(" ", ""))


def open_mailer(installation: Settings) -> Mailer:
    """Return what sends letters: the mail server of the settings, or nothing. Raises `BadMailServer`."""
    url = installation.mail.smtp_url
    return SmtpMailer(SmtpServer.from_url(url)) if url else KeepingMailer()


def open_messenger(installation: Settings) -> Messenger:
    """Return what sends text messages: the service of the settings, or nothing."""
    return HttpMessenger(installation.sms) if installation.sms.url else KeepingMessenger()


def database_name(code: str) -> str:
    """Return the name of a store's database."""
    return f"tradepost_{code.replace('-', '_')}"


def store_url(installation: Settings, code: str) -> str:
    """Return the address of a store's home page, without the slash at the end."""
    http = installation.http
    standard = {"http": 80, "https": 443}[http.scheme] == http.port
    return f"{http.scheme}://{code}.{http.domain}{'' if standard else f':{http.port}'}"


@asynccontextmanager
async def open_store(
    code: str,
    installation: Settings,
    *,
    dsn: str,
    cache_url: str,
    files_url: str,
    keys: Keyring,
    cache_prefix: str = "",
    preset_folder: Path | None = None,
    is_demo: bool = False,
) -> AsyncIterator[Store]:
    """Open a store for the length of the block. Raises `NoSuchStore`, `BadSettings`; an absent database shows at first use.

    `cache_prefix` is needed where stores share a cache: what one store remembers of a session must mean nothing to another.
    """
    from tradepost.flows.sandbox import connect_sandbox  # late: both call flows, which know stores
    from tradepost.flows.sign_in_outside import open_providers

    folder = preset_folder or find_presets([code], installation.presets)[code]
    settings = load_preset(folder)
    db = await Database.open(
        dsn,
        replica_dsns=[url.replace("{database}", database_name(code)) for url in installation.database.replica_urls],
        most_lag_s=installation.database.replica_lag_s,
        direct_dsn=installation.database.direct_url.replace("{database}", database_name(code)),
        size=installation.database.pool_size,
        statement_timeout_ms=installation.database.statement_timeout_ms,
        lock_timeout_ms=installation.database.lock_timeout_ms,
        statement_cache=installation.database.statement_cache,
        name=f"tradepost-{code}",
    )
    db.cache = cache = await Cache.open(cache_url, timeout_ms=installation.cache.timeout_ms, prefix=cache_prefix)
    base_url = store_url(installation, code)
    gateways = open_gateways(settings, installation, db, keys, base_url, is_demo=is_demo)
    try:
        store = Store(
            code=code,
            settings=settings,
            installation=installation,
            preset_folder=folder,
            base_url=base_url,
            db=db,
            cache=cache,
            files=FileStore.open(files_url),
            keys=keys,
            gateways=gateways,
            is_demo=is_demo,
            mailer=open_mailer(installation),
            messenger=open_messenger(installation),
            providers=open_providers(installation, code),
        )
        connect_sandbox(store)
        yield store
    finally:
        await write_rest(db)
        for gateway in gateways.values():
            await gateway.close()
        await cache.close()
        await db.close()
