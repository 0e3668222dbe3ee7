"""Settings: TOML files into typed Structs, environment over file; a mistake names its file and line, or its variable.

Promises that an unknown key is an error and that a secret can come from the environment instead of a file.
"""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self, TypeVar

import msgspec
from msgspec import Meta

from tradepost.core.errors import Invalid

T = TypeVar("T")
AtLeastOne = Annotated[int, Meta(ge=1)]
_PREFIX: Final = "TRADEPOST_"


@dataclass(eq=False)
class BadSettings(Invalid):
    """{path}:{line}: {problem}"""

    path: str
    line: int
    problem: str


@dataclass(eq=False)
class BadVariable(Invalid):
    """The environment variable {variable} is not right: {problem}"""

    variable: str
    problem: str


class DatabaseSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where PostgreSQL is. An empty `url` means the embedded server.

    `direct_url`: where `url` leads to pgbouncer, PostgreSQL's own address, on which processes listen for each other and workers work.
    `replica_urls`: read replicas; one that is more than `replica_lag_s` behind is left alone.
    """

    url: str = ""
    direct_url: str = ""
    owner_url: str = ""
    replica_urls: tuple[str, ...] = ()
    replica_lag_s: AtLeastOne = 5
    pool_size: AtLeastOne = 4
    statement_timeout_ms: AtLeastOne = 10_000
    lock_timeout_ms: AtLeastOne = 5_000
    statement_cache: Annotated[int, Meta(ge=0)] = 512


class ArchiveSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Continuous archiving of the database into a `folder`, for recovery to any second; empty: none.

    `synchronous`: a change is acknowledged once it is in the archive too. A base backup is made every `backup_hours`, `keep` of them stay.
    """

    folder: str = ""
    synchronous: bool = False
    backup_hours: AtLeastOne = 24
    keep: AtLeastOne = 2


class CacheSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where Redis or Valkey is. An empty `url` means the embedded server."""

    url: str = ""
    timeout_ms: AtLeastOne = 250


class FileSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where files are kept. An empty `url` means a folder below the home; `s3://bucket/prefix` for an S3 store."""

    url: str = ""
    upload_limit_mb: AtLeastOne = 12


class MailSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The mail server. An empty `smtp_url` writes mail to the outbox page only."""

    smtp_url: str = ""
    sender: str = ""


class HttpSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How the server listens. `domain` is what store names are put in front of; `trusted_proxies` are believed whom they bring.

    `compress`: answer with gzip; off behind a proxy that does it. `most_changes`: requests that change something, to one endpoint
    from one address in 15 minutes; 0 for as many as anybody likes. `reachable`: networks that people's web hooks may be in although
    they are not public ones.
    """

    host: str = "127.0.0.1"
    port: Annotated[int, Meta(ge=1, le=65_535)] = 8000
    domain: str = "localhost"
    scheme: Literal["http", "https"] = "http"
    workers: AtLeastOne = 1
    trusted_proxies: tuple[str, ...] = ()
    compress: bool = True
    most_changes: Annotated[int, Meta(ge=0)] = 1500
    reachable: tuple[str, ...] = ()


class _Keys(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Settings with secrets in them: what shows them, an error or a log, shows only which are set."""

    def __repr__(self) -> str:
        """Name the keys that are set, without their values."""
        given = [f.name for f in msgspec.structs.fields(self) if getattr(self, f.name) != f.default]
        return f"{type(self).__name__}({', '.join(given)})"

    def over(self, general: Self) -> Self:
        """Return these settings where they are set, and the general ones where they are not."""
        given = {f.name: getattr(self, f.name) for f in msgspec.structs.fields(self)}
        own = {f.name: given[f.name] for f in msgspec.structs.fields(self) if given[f.name] != f.default}
        return msgspec.structs.replace(general, **own)


class SmsSettings(_Keys, frozen=True, forbid_unknown_fields=True):
    """The service that sends text messages. Without a `url` telephone numbers cannot be proved, the demo aside."""

    url: str = ""
    key: str = ""
    timeout_ms: AtLeastOne = 10_000


class StripeSettings(_Keys, frozen=True, forbid_unknown_fields=True):
    """Keys of the Stripe account. Without `webhook_secret` payments are found out by asking, up to a minute later.

    `api_base`: another server than Stripe's, for tests; `checkout_origin`: where its payment pages are, if on a domain of yours.
    """

    secret_key: str = ""
    webhook_secret: str = ""
    api_base: str = ""
    checkout_origin: str = "https://checkout.stripe.com"


class PaynowSettings(_Keys, frozen=True, forbid_unknown_fields=True):
    """Keys of the Paynow integration, which takes one `currency`.

    `auth_email`: the merchant's own address, which Paynow asks for while the integration is in test mode; `api_base`: another
    server than Paynow's, for tests.
    """

    integration_id: str = ""
    integration_key: str = ""
    currency: str = "USD"
    auth_email: str = ""
    api_base: str = ""


class ProviderSettings(_Keys, frozen=True, forbid_unknown_fields=True):
    """Another service that people may sign in with, by OpenID Connect; offered where `client_id` is set.

    `issuer` is the service's own address; what is empty of the others is asked of its discovery document.
    """

    client_id: str = ""
    client_secret: str = ""
    issuer: str = ""
    authorization_endpoint: str = ""
    token_endpoint: str = ""
    jwks_uri: str = ""


class GoogleSettings(ProviderSettings, frozen=True, forbid_unknown_fields=True):
    """Signing in with Google."""

    issuer: str = "https://accounts.google.com"


class AppleSettings(ProviderSettings, frozen=True, forbid_unknown_fields=True):
    """Signing in with Apple, whose secret is signed anew each time by the `private_key` (PEM) that `team_id` has as `key_id`."""

    issuer: str = "https://appleid.apple.com"
    team_id: str = ""
    key_id: str = ""
    private_key: str = ""


class FacebookSettings(ProviderSettings, frozen=True, forbid_unknown_fields=True):
    """Signing in with Facebook, whose discovery document leaves out where codes are exchanged."""

    issuer: str = "https://www.facebook.com"
    token_endpoint: str = "https://graph.facebook.com/oauth/access_token"  # noqa: S105  # an address


class AssistantSettings(_Keys, frozen=True, forbid_unknown_fields=True):
    """The assistant: how often it is asked, how long talks are kept, and a language model in front of the engine where there is one.

    `provider`: `built-in` answers on this machine alone; `openai` is any endpoint that speaks that protocol (`url` is the address before
    `/chat/completions`), `anthropic` one that speaks that (before `/messages`). `most_messages`: of one person in 15 minutes;
    `daily_tokens`: of a store in a day, then the engine answers alone.
    """

    provider: Literal["built-in", "openai", "anthropic"] = "built-in"
    url: str = ""
    api_key: str = ""
    model: str = ""
    timeout_ms: AtLeastOne = 20_000
    most_tokens: AtLeastOne = 800
    most_rounds: AtLeastOne = 6
    daily_tokens: Annotated[int, Meta(ge=0)] = 1_000_000
    most_messages: AtLeastOne = 120
    keep_days: Annotated[int, Meta(ge=1, le=3650)] = 90


class StoreKeys(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What one store has of its own in place of the installation's keys."""

    stripe: StripeSettings = StripeSettings()
    paynow: PaynowSettings = PaynowSettings()
    google: GoogleSettings = GoogleSettings()
    apple: AppleSettings = AppleSettings()
    facebook: FacebookSettings = FacebookSettings()
    assistant: AssistantSettings = AssistantSettings()


class LogSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is logged and how: `json` for machines, `console` for people."""

    level: Literal["debug", "info", "warning", "error", "critical"] = "info"
    format: Literal["console", "json"] = "console"


class EmbeddingSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What makes vectors of texts: the model on this machine where it is installed, an OpenAI-compatible endpoint, or nothing.

    `folder` is where the local model's file is kept, `models` below the home unless set.
    """

    provider: Literal["local", "endpoint", "off"] = "local"
    url: str = ""
    api_key: str = ""
    model: str = "text-embedding-3-small"
    timeout_ms: AtLeastOne = 10_000
    threads: AtLeastOne = 1
    folder: str = ""


class PrivacySettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How long what is not everybody's is kept: days, and months of the audit log (six at least)."""

    erase_after_days: Annotated[int, Meta(ge=1, le=365)] = 14
    documents_days: Annotated[int, Meta(ge=0, le=3650)] = 30
    verified_days: Annotated[int, Meta(ge=1, le=3650)] = 730
    export_days: Annotated[int, Meta(ge=1, le=90)] = 7
    audit_months: Annotated[int, Meta(ge=6, le=1200)] = 24


class AnalyticsSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is counted of what visitors do, in the store's own database, and for how many months.

    `collect`: `all`, but not who it was where a browser asks not to be told of; `consent`: who it was only after a yes; `counts`:
    never who it was; `off`: nothing.
    """

    collect: Literal["all", "consent", "counts", "off"] = "all"
    keep_months: Annotated[int, Meta(ge=1, le=120)] = 13


class IdentitySettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An outside service that looks at identity documents; without a `url` the staff do."""

    url: str = ""
    key: str = ""
    timeout_ms: AtLeastOne = 20_000


class IngestSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How outside markets are read. `folder`: where saved pages and local feeds lie, for sources whose address is `folder:…`.

    `allow`: networks that may be asked although they are not public, such as a supplier's server in the house.
    """

    folder: str = ""
    allow: tuple[str, ...] = ()


Hour = Annotated[int, Meta(ge=0, le=23)]


class MaintenanceSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What keeps the database well, in the store's own time. `reindex`: write bloated indexes anew in quiet hours."""

    quiet_from: Hour = 2
    quiet_until: Hour = 5
    reindex: bool = True


class MetricsSettings(_Keys, frozen=True, forbid_unknown_fields=True):
    """Who may read `/metrics`: who brings the `token`, or where there is none whoever asks directly from one of the `networks`."""

    token: str = ""
    networks: tuple[str, ...] = ("127.0.0.0/8", "::1/128")


class TracingSettings(_Keys, frozen=True, forbid_unknown_fields=True):
    """Where traces are sent; without an `endpoint`, a collector that takes OTLP over HTTP, there are none.

    `share`: of requests and jobs that nobody has decided on before. `headers`: `name=value`, sent with them. `service`: what the
    installation is called there.
    """

    endpoint: str = ""
    share: Annotated[float, Meta(ge=0, le=1)] = 1.0
    headers: tuple[str, ...] = ()
    service: str = "tradepost"


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All settings of an installation; stores have their own on top.

    `presets` is a folder with presets beside the five; `test_payments` offers the sandbox outside the demo. `store`: keys of one
    store alone, by its code.
    """

    stores: tuple[str, ...] = ("tese", "souk-loop", "shop-assistant", "marketplace-watch", "omade")
    presets: str = ""
    test_payments: bool = False
    secret_key: str = ""
    database: DatabaseSettings = DatabaseSettings()
    archive: ArchiveSettings = ArchiveSettings()
    cache: CacheSettings = CacheSettings()
    files: FileSettings = FileSettings()
    mail: MailSettings = MailSettings()
    sms: SmsSettings = SmsSettings()
    http: HttpSettings = HttpSettings()
    stripe: StripeSettings = StripeSettings()
    paynow: PaynowSettings = PaynowSettings()
    google: GoogleSettings = GoogleSettings()
    apple: AppleSettings = AppleSettings()
    facebook: FacebookSettings = FacebookSettings()
    store: dict[str, StoreKeys] = {}
    log: LogSettings = LogSettings()
    embeddings: EmbeddingSettings = EmbeddingSettings()
    privacy: PrivacySettings = PrivacySettings()
    identity: IdentitySettings = IdentitySettings()
    ingest: IngestSettings = IngestSettings()
    analytics: AnalyticsSettings = AnalyticsSettings()
    assistant: AssistantSettings = AssistantSettings()
    maintenance: MaintenanceSettings = MaintenanceSettings()
    metrics: MetricsSettings = MetricsSettings()
    tracing: TracingSettings = TracingSettings()


def load_settings(path: Path | None, environment: Mapping[str, str]) -> Settings:
    """Read the installation's settings: defaults, then the file where there is one, then the environment.

    `TRADEPOST_DATABASE__URL` overrides `url` in `[database]`; `TRADEPOST_STORES` takes a comma-separated list;
    `TRADEPOST_STORE__SOUK_LOOP__STRIPE__SECRET_KEY` is `secret_key` in `[store.souk-loop.stripe]`.
    Raises `BadSettings` or `BadVariable`.
    """
    text = path.read_text("utf-8") if path and path.exists() else ""
    settings = parse(text, str(path or "settings"), Settings, overrides=_overrides(environment))
    unknown = sorted(settings.store.keys() - set(settings.stores))
    if unknown:
        lines = [n for n, line in enumerate(text.splitlines(), 1) if f"store.{unknown[0]}" in line]
        problem = f"there is no store “{unknown[0]}” to have keys of its own"
        raise BadSettings(str(path or "settings"), lines[0] if lines else 1, problem)
    return settings


def parse(text: str, name: str, into: type[T], overrides: Mapping[str, Any] | None = None) -> T:
    """Read TOML text into a Struct, `overrides` winning. Raises `BadSettings` with the file's name and the line at fault."""
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        line = re.search(r"line (\d+)", str(error))
        raise BadSettings(name, int(line[1]) if line else 1, f"this is not TOML: {error}") from None
    _merge(data, overrides or {})
    try:
        return msgspec.convert(data, into)
    except msgspec.ValidationError as error:
        raise BadSettings(name, _line_of(text, str(error)), _sentence(str(error))) from None


def _overrides(environment: Mapping[str, str]) -> dict[str, Any]:
    """Return what the environment says, as nested as the settings are and of their types."""
    found: dict[str, Any] = {}
    for variable, value in environment.items():
        if not variable.startswith(_PREFIX):
            continue
        section, nested, key = variable.removeprefix(_PREFIX).lower().partition("__")
        if not nested and section not in _types(Settings):
            continue  # TRADEPOST_HOME and its like are no settings
        if section == "store":
            _override_store(found.setdefault("store", {}), variable, key, value)
            continue
        kind = _types(Settings).get(section)
        is_section = isinstance(kind, type) and issubclass(kind, msgspec.Struct)
        if is_section and nested:
            found.setdefault(section, {})[key] = _converted(variable, value, _types(kind).get(key))
        else:
            found[section] = _converted(variable, value, None if is_section or nested else kind)
    return found


def _override_store(found: dict[str, Any], variable: str, rest: str, value: str) -> None:
    """Note a variable of one store: `souk_loop__stripe__secret_key`."""
    code, _, path = rest.partition("__")
    section, _, key = path.partition("__")
    kind = _types(StoreKeys).get(section)
    converted = _converted(variable, value, _types(kind).get(key) if kind else None)
    found.setdefault(code.replace("_", "-"), {}).setdefault(section, {})[key] = converted


def _types(struct: Any) -> dict[str, Any]:
    return {field.name: field.type for field in msgspec.structs.fields(struct)}


def _converted(variable: str, value: str, kind: Any) -> Any:
    if kind is None:
        raise BadVariable(variable, "there is no such setting")
    is_list = kind == tuple[str, ...]
    parts: Any = [part.strip() for part in value.split(",") if part.strip()] if is_list else value
    try:
        return msgspec.convert(parts, kind, strict=False)
    except msgspec.ValidationError as error:
        raise BadVariable(variable, _sentence(str(error))) from None


def _merge(data: dict[str, Any], over: Mapping[str, Any]) -> None:
    for key, value in over.items():
        if not isinstance(value, Mapping) or key not in data:
            data[key] = value
        elif isinstance(data[key], dict):
            _merge(data[key], value)


def _sentence(problem: str) -> str:
    unknown = re.match(r"Object contains unknown field `([^`]+)`(?: - at `\$\.?([^`]*)`)?", problem)
    if unknown:
        place = f" in [{unknown[2]}]" if unknown[2] else ""
        return f"there is no setting “{unknown[1]}”{place}"
    return problem[:1].lower() + problem[1:]


def _line_of(text: str, problem: str) -> int:
    """Find the line an error speaks of: msgspec names the path of the value, TOML keeps no positions."""
    where = re.search(r"at `\$\.?([^`]*)`", problem)
    unknown = re.match(r"Object (?:contains unknown|missing required) field `([^`]+)`", problem)
    path = [p for p in re.split(r"\.", where[1]) if p] if where else []
    if unknown and "unknown" in problem:
        path.append(unknown[1])
    line = 0
    lines = text.splitlines()
    for part in path:
        key, _, index = part.partition("[")
        pattern = re.compile(
            rf"^\s*(\[+\s*([\w.\"-]+\.)?{re.escape(key)}\s*\]+|([\w.\"-]+\.)?\"?{re.escape(key)}\"?\s*[.=])"
        )
        hits = [n for n, content in enumerate(lines[line:], line) if pattern.match(content)]
        if hits:
            line = hits[min(int(index.rstrip("]")), len(hits) - 1)] if index.rstrip("]").isdigit() else hits[0]
    return line + 1
