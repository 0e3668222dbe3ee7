"""A small HTTP load generator over raw sockets, and the CPU time of a server process while it serves."""

import asyncio
import os
import re
import time
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Result:
    """What a run measured. `cpu_ms` is the server process's own CPU time a request; latencies in milliseconds."""

    requests: int
    seconds: float
    cpu_ms: float
    latencies_ms: tuple[float, ...]
    bytes: int

    @property
    def rps(self) -> float:
        """Requests a second."""
        return self.requests / self.seconds

    def percentile(self, p: float) -> float:
        """Return the latency that `p` percent of the requests stayed under."""
        ordered = sorted(self.latencies_ms)
        return ordered[min(len(ordered) - 1, int(len(ordered) * p / 100))]


def cpu_seconds(pid: int) -> float:
    """Return the CPU time a process has used, its threads included."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def hammer(port: int, host: str, paths: list[str], *, requests: int, clients: int, pid: int) -> Result:
    """Send `requests` GETs over `clients` kept-alive connections, taking the paths in turn; every answer must be 200."""
    latencies: list[float] = []
    size = 0
    turn = iter(range(requests))

    async def client() -> None:
        nonlocal size
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for n in turn:
            started = time.perf_counter()
            writer.write(f"GET {paths[n % len(paths)]} HTTP/1.1\r\nHost: {host}\r\nAccept: */*\r\n\r\n".encode())
            size += await _read_answer(reader)
            latencies.append((time.perf_counter() - started) * 1000)
        writer.close()

    cpu, started = cpu_seconds(pid), time.perf_counter()
    await asyncio.gather(*(client() for _ in range(clients)))
    seconds = time.perf_counter() - started
    return Result(requests, seconds, (cpu_seconds(pid) - cpu) * 1000 / requests, tuple(latencies), size)


class Client:
    """One kept-alive connection of a program with an API token. Opens anew after a failure; failures reach the caller."""

    def __init__(self, port: int, host: str, token: str, headers: str = "") -> None:
        self.port = port
        self.host = host
        self.headers = headers
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self.become(token)

    def become(self, token: str) -> None:
        """Go on as somebody else, over the same connection."""
        who = f"Authorization: Bearer {token}\r\n" if token else ""
        self._fixed = f"Host: {self.host}\r\n{who}Content-Type: application/json\r\n{self.headers}"

    async def post(self, path: str, body: bytes, key: str = "", method: str = "POST") -> tuple[int, bytes]:
        """Send a POST, or what `method` says, with an Idempotency-Key where one is given; return status and body.

        Raises `OSError`, `EOFError`.
        """
        streams, self._streams = self._streams, None
        reader, writer = streams or await asyncio.open_connection("127.0.0.1", self.port)
        once = f"Idempotency-Key: {key}\r\n" if key else ""
        head = f"{method} {path} HTTP/1.1\r\n{self._fixed}{once}Content-Length: {len(body)}\r\n\r\n"
        try:
            writer.write(head.encode() + body)
            answer = await reader.readuntil(b"\r\n\r\n")
            length = re.search(rb"content-length: *([0-9]+)", answer.lower())
            content = await reader.readexactly(int(length[1])) if length else b""
        except BaseException:
            writer.close()
            raise
        self._streams = reader, writer
        return int(answer.split(b" ", 2)[1]), content

    def close(self) -> None:
        """Hang up."""
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None


async def _read_answer(reader: asyncio.StreamReader) -> int:
    head = await reader.readuntil(b"\r\n\r\n")
    if b" 200 " not in head.split(b"\r\n", 1)[0]:
        raise RuntimeError(head.decode("latin-1"))
    lower = head.lower()
    if b"content-length:" in lower:
        length = int(lower.split(b"content-length:", 1)[1].split(b"\r\n", 1)[0])
        await reader.readexactly(length)
        return len(head) + length
    total = len(head)
    while True:
        size = int(await reader.readline(), 16)
        await reader.readexactly(size + 2)
        total += size
        if size == 0:
            return total
