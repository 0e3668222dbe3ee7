"""Requests to the world outside: they reach what is public, and nothing else, however they are led astray."""

import asyncio
import gzip
import zlib
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from ipaddress import ip_address

import pytest

from tradepost.core.http import (
    AddressRefused,
    NotAWebAddress,
    Outside,
    OutsideUnreachable,
    ReplyTooLarge,
    ReplyUnreadable,
    is_public,
)

HERE = "127.0.0.1/32"
Answer = Callable[[str, dict[str, str], bytes], bytes]


class Server:
    """A web server on a local port that answers by a function of path, headers and body."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.seen: list[tuple[str, dict[str, str], bytes]] = []
        self.connections = 0
        self.port = 0

    def url(self, path: str = "/", host: str = "shop.test") -> str:
        return f"http://{host}:{self.port}{path}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while line := await reader.readline():
                method, path, _ = line.decode().split(" ")
                headers = {}
                while header := (await reader.readline()).decode().strip():
                    name, _, value = header.partition(": ")
                    headers[name.lower()] = value
                body = await reader.readexactly(int(headers.get("content-length", 0)))
                self.seen.append((f"{method} {path}", headers, body))
                writer.write(self.answer(path, headers, body))
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()


def reply(body: bytes = b"", status: int = 200, **headers: str) -> bytes:
    lines = [
        f"HTTP/1.1 {status} X",
        f"content-length: {len(body)}",
        *(f"{k.replace('_', '-')}: {v}" for k, v in headers.items()),
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


@asynccontextmanager
async def serving(answer: Answer) -> AsyncIterator[Server]:
    server = Server(answer)
    listening = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    server.port = listening.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listening.close()


def client(**known: Sequence[str]) -> Outside:
    """Return a client that may reach this machine, under the names it knows."""
    return Outside(allowed=[HERE], ask=names(**known or {"shop_test": ["127.0.0.1"]}))


def names(**addresses: Sequence[str]) -> Callable[[str, int], "asyncio.Future[Sequence[str]]"]:
    """Return a name server that knows these names ("." written "_"), each answer in turn, the last one for ever."""
    asked: dict[str, int] = {}

    async def ask(host: str, _port: int) -> Sequence[str]:
        answers = addresses[host.replace(".", "_")]
        asked[host] = asked.get(host, -1) + 1
        return answers[min(asked[host], len(answers) - 1)].split()

    return ask  # type: ignore[return-value]  # a coroutine function


@pytest.mark.parametrize(
    "address",
    [
        *(
            "0.0.0.0",  # noqa: S104  # nothing is bound to it
            "10.1.2.3",
            "100.64.0.1",
            "100.100.100.200",
            "127.0.0.1",
            "127.9.9.9",
            "169.254.169.254",
            "172.16.0.1",
        ),  # not bound to
        *(
            "172.31.255.255",
            "192.0.0.192",
            "192.168.1.1",
            "198.18.0.1",
            "224.0.0.1",
            "239.1.1.1",
            "255.255.255.255",
            "240.0.0.1",
        ),
        *(
            "::",
            "::1",
            "::127.0.0.1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "::ffff:169.254.169.254",
            "64:ff9b::10.0.0.1",
        ),
        *("64:ff9b:1::1", "fc00::1", "fd00:ec2::254", "fe80::1", "fec0::1", "ff02::1", "2001:db8::1", "2002:7f00:1::1"),
        *("2001:0:1::1", "100::1", "5f00::1"),
    ],
)
def test_an_address_of_some_network_inside_is_not_public(address: str) -> None:
    assert not is_public(ip_address(address))


@pytest.mark.parametrize(
    "address",
    [
        "1.1.1.1",
        "8.8.8.8",
        "100.63.255.255",
        "100.128.0.0",
        "172.32.0.1",
        "2606:4700::1111",
        "::ffff:8.8.8.8",
        "64:ff9b::8.8.8.8",
    ],
)
def test_an_address_of_the_world_is_public(address: str) -> None:
    assert is_public(ip_address(address))


async def test_a_reply_comes_back_with_status_headers_and_body() -> None:
    async with serving(lambda *_: reply(b"made", 201, X_Kind="a")) as server, client() as http:
        answered = await http.fetch(server.url("/hook?x=1"), method="POST", headers={"X-Sign": "s"}, content=b"{}")
    assert (answered.status, answered.headers["x-kind"], answered.body) == (201, "a", b"made")
    assert answered.is_success
    ((request, headers, body),) = server.seen
    assert (request, headers["x-sign"], headers["host"], body) == (
        "POST /hook?x=1",
        "s",
        f"shop.test:{server.port}",
        b"{}",
    )


@pytest.mark.parametrize(
    "url",
    [
        *(
            "",
            "shop.test",
            "ftp://shop.test/",
            "file:///etc/passwd",
            "gopher://shop.test",
            "http://",
            "http://xn--/",
            "https:///x",
            "//shop.test/",
        ),
        *("http://user:password@shop.test/", "http://shop.test:99999/", "javascript:alert(1)", "http://" + "a" * 3000),
    ],
)
async def test_what_is_no_web_address_is_not_asked_for(url: str) -> None:
    async with Outside(ask=names()) as http:
        with pytest.raises(NotAWebAddress):
            await http.fetch(url)


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "2130706433", "0x7f.1", "127.1", "[::1]", "[::ffff:127.0.0.1]", "0"]
)
async def test_no_spelling_of_this_machine_is_reached(host: str) -> None:
    async with serving(lambda *_: reply(b"secret")) as server, Outside() as http:
        with pytest.raises((AddressRefused, OutsideUnreachable)):
            await http.fetch(server.url(host=host))
        assert server.connections == 0


async def test_a_name_that_leads_inside_is_refused_even_among_public_addresses() -> None:
    async with serving(lambda *_: reply(b"secret")) as server:
        async with Outside(ask=names(shop_test=["93.184.215.14 127.0.0.1"])) as http:
            with pytest.raises(AddressRefused) as refused:
                await http.fetch(server.url())
        assert refused.value.host == "shop.test"
        assert server.connections == 0


async def test_a_name_is_resolved_once_and_the_checked_address_is_used() -> None:
    """A name server that answers differently the second time (DNS rebinding) is never asked a second time."""
    asked = []

    async def ask(host: str, _port: int) -> Sequence[str]:
        asked.append(host)
        return ["127.0.0.1"] if len(asked) == 1 else ["10.0.0.1"]

    async with serving(lambda *_: reply(b"checked")) as server, Outside(allowed=[HERE], ask=ask) as http:
        assert (await http.fetch(server.url())).body == b"checked"
    assert asked == ["shop.test"]


async def test_a_redirect_inside_is_refused() -> None:
    async with serving(lambda *_: reply(b"secret")) as inside:
        target = inside.url("/", host="inside.test")
        async with (
            serving(lambda *_: reply(status=302, Location=target)) as server,
            client(shop_test=["127.0.0.1"], inside_test=["169.254.169.254"]) as http,
        ):
            with pytest.raises(AddressRefused) as refused:
                await http.fetch(server.url())
        assert refused.value.host == "inside.test"
        assert inside.connections == 0


async def test_a_redirect_to_another_protocol_is_refused() -> None:
    async with serving(lambda *_: reply(status=302, Location="file:///etc/passwd")) as server, client() as http:
        with pytest.raises(NotAWebAddress):
            await http.fetch(server.url())


async def test_a_redirect_is_followed_and_leaves_credentials_behind_on_another_host() -> None:
    async with serving(lambda *_: reply(b"there", Set_Cookie="a=b")) as other:
        target = other.url("/there", host="other.test")
        both = client(shop_test=["127.0.0.1"], other_test=["127.0.0.1"])
        async with serving(lambda *_: reply(status=301, Location=target)) as server, both as http:
            answered = await http.fetch(server.url(), headers={"Authorization": "Bearer secret"})
            await http.fetch(other.url(host="other.test"))
    assert (answered.url, answered.body) == (target, b"there")
    assert server.seen[0][1]["authorization"] == "Bearer secret"
    assert all("authorization" not in headers and "cookie" not in headers for _, headers, _ in other.seen)


async def test_a_circle_of_redirects_ends() -> None:
    async with serving(lambda *_: reply(status=302, Location="/")) as server, client() as http:
        with pytest.raises(ReplyUnreadable):
            await http.fetch(server.url(), redirects=3)
    assert len(server.seen) == 4


async def test_a_large_answer_is_cut_off() -> None:
    async with serving(lambda *_: reply(b"x" * 1_000_001)) as server, client() as http:
        with pytest.raises(ReplyTooLarge) as refused:
            await http.fetch(server.url(), most_bytes=1_000_000)
        assert len((await http.fetch(server.url(), most_bytes=1_000_001)).body) == 1_000_001
    assert refused.value.limit == 1_000_000


async def test_a_compressed_answer_is_measured_unpacked() -> None:
    packed = gzip.compress(b"0" * 50_000_000, mtime=0)
    assert len(packed) < 60_000
    async with serving(lambda *_: reply(packed, Content_Encoding="gzip")) as server, client() as http:
        with pytest.raises(ReplyTooLarge):
            await http.fetch(server.url(), most_bytes=1_000_000)


@pytest.mark.parametrize(
    ("encoding", "pack"), [("gzip", gzip.compress), ("deflate", zlib.compress), ("identity", bytes)]
)
async def test_a_compressed_answer_is_unpacked(encoding: str, pack: Callable[[bytes], bytes]) -> None:
    body = pack(b"hello" * 1000)
    async with serving(lambda *_: reply(body, Content_Encoding=encoding)) as server, client() as http:
        assert (await http.fetch(server.url())).body == b"hello" * 1000


@pytest.mark.parametrize(
    ("encoding", "body"), [("br", b"x"), ("gzip", b"not gzip"), ("gzip", gzip.compress(b"hello" * 1000, mtime=0)[:-12])]
)
async def test_an_answer_that_cannot_be_unpacked_is_refused(encoding: str, body: bytes) -> None:
    async with serving(lambda *_: reply(body, Content_Encoding=encoding)) as server, client() as http:
        with pytest.raises(ReplyUnreadable):
            await http.fetch(server.url())


async def test_a_server_that_never_ends_is_given_up_in_time() -> None:
    async with serving(lambda *_: b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf") as server, client() as http:
        with pytest.raises(OutsideUnreachable) as failed:
            await http.fetch(server.url(), seconds=0.2)
    assert failed.value.host == "shop.test"


@pytest.mark.parametrize("answers", [["127.0.0.1"], [""], ["no address"]])
async def test_who_does_not_answer_or_has_no_address_is_unreachable(answers: list[str]) -> None:
    async with serving(lambda *_: reply()) as server:
        closed = server.url()
    async with client(shop_test=answers) as http:
        with pytest.raises(OutsideUnreachable):
            await http.fetch(closed)


async def test_a_stream_arrives_in_pieces_and_may_be_left_early() -> None:
    async with serving(lambda *_: reply(b"x" * 5_000_000)) as server, client() as http:
        async with http.stream(server.url()) as answered:
            assert answered.status == 200
            first = await anext(answered.chunks)
        assert 0 < len(first) < 5_000_000
        assert (await http.fetch(server.url())).status == 200


async def test_a_timeout_of_the_readers_own_stays_a_timeout() -> None:
    async with serving(lambda *_: reply(b"x")) as server, client() as http:
        with pytest.raises(TimeoutError):
            async with http.stream(server.url()):
                raise TimeoutError
