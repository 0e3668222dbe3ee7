"""A provider that people sign in with, for tests: speaks OpenID Connect on loopback and really signs what it says.

`wrong` makes it lie in one way: each is something that a client must notice.
"""

import base64
import hashlib
import hmac
import json
import secrets
from typing import Any, Final
from urllib.parse import parse_qs, parse_qsl, urlsplit

from joserfc import jwt
from joserfc.jwk import ECKey, RSAKey

from tests.loopback import Answer, Asked, Loopback
from tradepost.core.clock import now

CLIENT: Final = "shop-at-market"
SECRET: Final = "what only the two know"
KEY = RSAKey.generate_key(2048, {"kid": "one", "use": "sig", "alg": "RS256"}, private=True)
OTHER_KEY = RSAKey.generate_key(2048, {"kid": "one", "use": "sig", "alg": "RS256"}, private=True)
NEXT_KEY = ECKey.generate_key("P-256", {"kid": "two", "use": "sig", "alg": "ES256"}, private=True)


class FakeProvider(Loopback):
    """One provider, with one person in front of it: `person` are the claims about them."""

    def __init__(self) -> None:
        super().__init__()
        self.person: dict[str, Any] = {
            "sub": "1234", "email": "tendai@example.com", "email_verified": True, "name": "Tendai Moyo",
        }  # fmt: skip
        self.wrong = ""
        self.key: RSAKey | ECKey = KEY
        self.claims: dict[str, Any] = {}
        self.granted: dict[str, dict[str, str]] = {}
        self.secrets_seen: list[str] = []

    @property
    def issuer(self) -> str:
        """Its name in tokens and in the settings."""
        return self.base

    def agree(self, address: str) -> dict[str, str]:
        """Let the person agree on the provider's page at this address; return what their browser brings back."""
        parts = urlsplit(address)
        assert f"{parts.scheme}://{parts.netloc}{parts.path}" == f"{self.base}/authorize"
        asked = dict(parse_qsl(parts.query, strict_parsing=True))
        assert asked["response_type"] == "code"
        assert asked["client_id"] == CLIENT
        assert asked["code_challenge_method"] == "S256"
        assert "openid" in asked["scope"].split()
        code = secrets.token_urlsafe(16)
        self.granted[code] = asked
        return {"code": code, "state": asked["state"], "iss": self.issuer}

    async def answer(self, asked: Asked) -> Answer:
        """Answer what a client asks."""
        if asked.path == "/.well-known/openid-configuration":
            issuer = "https://somebody.example" if self.wrong == "discovery" else self.issuer
            return _json(200, {
                "issuer": issuer, "authorization_endpoint": f"{self.base}/authorize", "token_endpoint": f"{self.base}/token",
                "jwks_uri": f"{self.base}/keys",
            })  # fmt: skip
        if asked.path == "/keys":
            return _json(200, {"keys": [self.key.as_dict(private=False)]})
        if asked.path == "/token":
            return self._token({name: values[0] for name, values in parse_qs(asked.body.decode()).items()})
        return _json(404, {})

    def _token(self, form: dict[str, str]) -> Answer:
        """Change a code for a token, once, for who began with it."""
        granted = self.granted.pop(form.get("code", ""), None)
        self.secrets_seen.append(form.get("client_secret", ""))
        if granted is None or form["redirect_uri"] != granted["redirect_uri"] or form["client_id"] != CLIENT:
            return _json(400, {"error": "invalid_grant"})
        digest = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
        if _text(digest) != granted["code_challenge"]:
            return _json(400, {"error": "invalid_grant"})
        return _json(
            200, {"access_token": "not ours to keep", "token_type": "Bearer", "id_token": self._signed(granted)}
        )

    def _signed(self, granted: dict[str, str]) -> str:
        moment = int(now().timestamp())
        claims: dict[str, Any] = {
            "iss": self.issuer, "aud": CLIENT, "iat": moment, "exp": moment + 600, "nonce": granted["nonce"],
            **self.person, **self.claims,
        }  # fmt: skip
        lies: dict[str, dict[str, Any]] = {
            "issuer": {"iss": "https://somebody.example"}, "audience": {"aud": "another-shop"},
            "audiences": {"aud": [CLIENT, "another-shop"], "azp": "another-shop"}, "expired": {"exp": moment - 61},
            "future": {"iat": moment + 3600, "exp": moment + 7200}, "nonce": {"nonce": "of another journey"},
            "no nonce": {"nonce": None}, "no subject": {"sub": None}, "blank subject": {"sub": ""},
            "number subject": {"sub": 7}, "no expiry": {"exp": None},
        }  # fmt: skip
        claims |= lies.get(self.wrong, {})
        claims = {name: value for name, value in claims.items() if value is not None}
        if self.wrong == "unsigned":
            return f"{_part({'alg': 'none', 'typ': 'JWT'})}.{_part(claims)}."
        if self.wrong == "symmetric":  # the public key, which anybody has, taken for a shared secret
            said = f"{_part({'alg': 'HS256', 'kid': 'one'})}.{_part(claims)}"
            return f"{said}.{_text(hmac.digest(KEY.as_pem(private=False), said.encode(), 'sha256'))}"
        key = OTHER_KEY if self.wrong == "signature" else self.key
        token = jwt.encode({"alg": str(key.alg), "kid": str(key.kid)}, claims, key)
        if self.wrong == "changed":
            head, _, signature = token.split(".")
            return f"{head}.{_part(claims | {'sub': 'somebody else'})}.{signature}"
        return "no token at all" if self.wrong == "rubbish" else token


def _part(value: dict[str, Any]) -> str:
    return _text(json.dumps(value).encode())


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _json(status: int, value: dict[str, Any]) -> Answer:
    return Answer(status, json.dumps(value).encode(), {"content-type": "application/json"})
