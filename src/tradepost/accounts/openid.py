"""OpenID Connect (Core 1.0, authorization code flow): where to send a visitor, and what the provider vouches for who comes back.

Promises that nothing is believed but what the provider's own key signed, for this shop, for this journey, just now: an asymmetric
signature, issuer, audience, time and nonce are checked, and the code is fetched with a verifier that never left this server
(PKCE, RFC 7636). What the provider says at another time, or to somebody else, opens nothing. Keeps none of the provider's
tokens. Who somebody is here is not known here.
"""

import time
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

import msgspec
import structlog
from authlib.common.security import generate_token
from authlib.oauth2.rfc6749.parameters import prepare_grant_uri
from authlib.oauth2.rfc7636 import create_s256_code_challenge
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, KeySet

from tradepost.accounts.types import BadProvider, NotVouchedFor, ProviderAway
from tradepost.core.clock import now
from tradepost.core.errors import DomainError
from tradepost.core.http import Outside, Reply
from tradepost.core.settings import AppleSettings, ProviderSettings

ALGORITHMS: Final = ("RS256", "PS256", "ES256", "Ed25519")
LEEWAY_S: Final = 60
KEPT_S: Final = 3600
KEYS_ASKED_EVERY_S: Final = 60
_MOST_BYTES: Final = 300_000
_LONGEST_TOKEN: Final = 20_000
_EVERYWHERE: Final = ("0.0.0.0/0", "::/0")
_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})
_log = structlog.get_logger("tradepost.accounts")


class Journey(msgspec.Struct, frozen=True):
    """What a browser carries along, encrypted, while it is at the provider."""

    state: str
    nonce: str
    verifier: str

    @classmethod
    def begun(cls) -> "Journey":
        """Return a new one: 43 random characters of 62 each, which is 256 bits."""
        return cls(generate_token(43), generate_token(43), generate_token(64))


class Vouched(msgspec.Struct, frozen=True):
    """What a provider says of somebody. `subject` names them there for ever; the address may be absent (""), or not proven."""

    subject: str
    email: str
    is_email_proven: bool
    name: str


class Provider:
    """A service that people may sign in with. `asked` are the words of its permission page that go beyond `openid email`.

    Its discovery document and its keys are kept for an hour; a key that is not among them is asked for once a minute at most.
    """

    def __init__(self, code: str, name: str, settings: ProviderSettings, asked: Mapping[str, str]) -> None:
        self.code, self.name = code, name
        self._settings, self._asked = settings, asked
        self._check("issuer", settings.issuer)
        self._is_usual = settings.issuer == type(settings)().issuer
        self._document: dict[str, Any] = {}
        self._keys: KeySet | None = None
        self._document_at = self._keys_at = float("-inf")

    async def address(self, journey: Journey, back: str) -> str:
        """Return where to send the visitor. Raises `ProviderAway`."""
        endpoint = await self._endpoint("authorization_endpoint")
        found: str = prepare_grant_uri(
            endpoint, self._settings.client_id, "code", redirect_uri=back, scope=self._asked.get("scope", "openid email"),
            state=journey.state, nonce=journey.nonce, code_challenge=create_s256_code_challenge(journey.verifier),
            code_challenge_method="S256", **{k: v for k, v in self._asked.items() if k != "scope"},
        )  # fmt: skip
        return found

    async def vouch(self, journey: Journey, back: str, code: str, *, said_by: str = "") -> Vouched:
        """Return whom the provider vouches for. `said_by`: the issuer that came along with the code (RFC 9207), if one did.

        Raises `NotVouchedFor`, `ProviderAway`.
        """
        if said_by and said_by != self._settings.issuer:
            raise self._refusal("another issuer answered")
        token = await self._exchange(journey, back, code)
        return self._read(await self._verified(token), journey)

    async def _exchange(self, journey: Journey, back: str, code: str) -> str:
        """Change the code for the signed token. A provider that refuses the code is no fault of ours or its."""
        form = {
            "grant_type": "authorization_code", "code": code, "redirect_uri": back, "client_id": self._settings.client_id,
            "code_verifier": journey.verifier, "client_secret": self._client_secret(),
        }  # fmt: skip
        reply = await self._fetch(await self._endpoint("token_endpoint"), form)
        if not reply.is_success:
            if reply.status < 500:
                raise self._refusal(f"the code was answered with {reply.status}")
            raise ProviderAway(self.name)
        token = self._object(reply).get("id_token")
        if not isinstance(token, str) or len(token) > _LONGEST_TOKEN:
            raise self._refusal("no token came back")
        return token

    async def _verified(self, token: str) -> dict[str, Any]:
        """Return the claims of a token that one of the provider's keys signed."""
        for is_last in (False, True):
            keys = await self._key_set(anew=is_last)
            try:
                return jwt.decode(token, keys, algorithms=ALGORITHMS).claims
            except (JoseError, ValueError) as error:  # a ValueError where no key fits: its keys may have changed
                if is_last:
                    raise self._refusal(f"{type(error).__name__}: {error}") from None
        raise AssertionError("unreachable")

    def _read(self, claims: dict[str, Any], journey: Journey) -> Vouched:
        rules = jwt.JWTClaimsRegistry(
            now=int(now().timestamp()), leeway=LEEWAY_S,
            iss={"essential": True, "value": self._settings.issuer}, aud={"essential": True, "value": self._settings.client_id},
            sub={"essential": True}, exp={"essential": True}, iat={"essential": True},
            nonce={"essential": True, "value": journey.nonce},
        )  # fmt: skip
        try:
            rules.validate(claims)
        except JoseError as error:
            raise self._refusal(f"{type(error).__name__}: {error}") from None
        for_whom, subject = claims.get("azp"), claims["sub"]
        if (for_whom or isinstance(claims["aud"], list)) and for_whom != self._settings.client_id:
            raise self._refusal("the token is for another party")
        if len(subject) > 255 or not subject.isprintable():
            raise self._refusal("the subject is not one")
        email, name = claims.get("email"), claims.get("name")
        return Vouched(
            subject=subject, email=email.strip() if isinstance(email, str) else "",
            is_email_proven=claims.get("email_verified") is True or claims.get("email_verified") == "true", name=name if isinstance(name, str) else "",
        )  # fmt: skip

    def _client_secret(self) -> str:
        """Return the secret, which for Apple is a statement of five minutes that our own key signs."""
        settings = self._settings
        if not isinstance(settings, AppleSettings) or not settings.private_key:
            return settings.client_secret
        moment = int(now().timestamp())
        claims = {
            "iss": settings.team_id, "sub": settings.client_id, "aud": settings.issuer, "iat": moment, "exp": moment + 300,
        }  # fmt: skip
        key = ECKey.import_key(settings.private_key.replace("\\n", "\n"))
        return jwt.encode({"alg": "ES256", "kid": settings.key_id}, claims, key)

    async def _endpoint(self, name: str) -> str:
        """Return one of the provider's addresses: of the settings, else of its discovery document."""
        given: str = getattr(self._settings, name)
        if given:
            return given
        found = (await self._discovered()).get(name)
        if not isinstance(found, str):
            raise ProviderAway(self.name)
        self._check(name, found)
        return found

    async def _discovered(self) -> dict[str, Any]:
        if time.monotonic() - self._document_at > KEPT_S:
            url = f"{self._settings.issuer.rstrip('/')}/.well-known/openid-configuration"
            document = self._object(await self._fetch(url))
            if document.get("issuer") != self._settings.issuer:
                _log.warning("openid.discovery", provider=self.code, issuer=str(document.get("issuer"))[:200])
                raise ProviderAway(self.name)
            self._document, self._document_at = document, time.monotonic()
        return self._document

    async def _key_set(self, *, anew: bool) -> KeySet:
        age = time.monotonic() - self._keys_at
        if self._keys is None or age > (KEYS_ASKED_EVERY_S if anew else KEPT_S):
            document = self._object(await self._fetch(await self._endpoint("jwks_uri")))
            try:
                self._keys = KeySet.import_key_set({"keys": [k for k in document["keys"] if k.get("kty") != "oct"]})
            except (JoseError, KeyError, TypeError, ValueError, AttributeError) as error:
                raise ProviderAway(self.name) from error
            self._keys_at = time.monotonic()
        return self._keys

    async def _fetch(self, url: str, form: dict[str, str] | None = None) -> Reply:
        """Ask the provider. Its address is the operator's own choice where it is not the usual one, and may be in the house."""
        headers = {"accept": "application/json"}
        if form is not None:
            headers["content-type"] = "application/x-www-form-urlencoded"
        try:
            async with Outside(allowed=() if self._is_usual else _EVERYWHERE) as outside:
                return await outside.fetch(
                    url, method="POST" if form else "GET", headers=headers, content=urlencode(form).encode() if form else None,
                    most_bytes=_MOST_BYTES, redirects=0 if form else 2,
                )  # fmt: skip
        except DomainError as error:
            raise ProviderAway(self.name) from error

    def _object(self, reply: Reply) -> dict[str, Any]:
        try:
            found = msgspec.json.decode(reply.body)
        except msgspec.DecodeError:
            found = None
        if not reply.is_success or not isinstance(found, dict):
            raise ProviderAway(self.name)
        return found

    def _check(self, name: str, url: str) -> None:
        """An address is encrypted, or this machine's own. Raises `BadProvider`."""
        parts = urlsplit(url)
        if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in _LOOPBACK):
            raise BadProvider(self.code, name, url[:200])

    def _refusal(self, reason: str) -> NotVouchedFor:
        _log.warning("openid.refused", provider=self.code, reason=reason[:200])
        return NotVouchedFor(self.name)
