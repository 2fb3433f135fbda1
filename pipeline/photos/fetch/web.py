"""Requests to somebody's API: patient, counted, never too fast, silent about the key. The only importer of httpx."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import httpx

from atlas import __version__
from atlas.errors import AtlasError

ATTEMPTS = 5
MAX_BODY = 32 * 2**20
_FIRST_WAIT, _LONGEST_WAIT = 1.0, 60.0
_LONGEST_PATIENCE = 300.0  # a server that asks for more than this is left alone until the next run
_TOO_MANY, _TIMEOUT, _SERVER = 429, 408, 500
_SHOWN = 200


class FetchError(AtlasError):
    """Nothing more can be fetched now; what was fetched is kept, and the same command goes on from there."""


class FailedError(Exception):
    """One request failed for good, though others may not; the message says how, without the key."""


class BudgetError(Exception):
    """The budget of requests is used up."""


@dataclass(frozen=True)
class Answer:
    """What a server said: HTTP status and whole body."""

    status: int
    body: bytes


class Web:
    """A client for one service, used as a context manager.

    A connection that breaks, a body that ends early, a timeout, 408, 429 and 5xx are tried again up to `ATTEMPTS`
    times, after waits that double or that the server names. Every attempt counts against the budget. The client's own
    loggers, which would print addresses and with them the key, are kept quiet.

    Args:
        secret: the key: is replaced by dots in every message.
        rate: requests a second, at most.
        max_requests: budget; None for no limit.
        sleep: waits for seconds; a test gives its own.
    """

    def __init__(
        self,
        secret: str,
        *,
        rate: float,
        max_requests: int | None = None,
        timeout: float = 30.0,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.requests = 0
        self._secret, self._gap, self._budget, self._sleep = secret, 1 / rate, max_requests, sleep
        self._next = 0.0
        self._client = httpx.Client(timeout=timeout, headers={"User-Agent": f"inequality-atlas/{__version__}"})
        self._levels: dict[str, int] = {}

    def __enter__(self) -> Web:
        for name in [*logging.root.manager.loggerDict, "httpx", "httpcore"]:
            if name.partition(".")[0] in ("httpx", "httpcore"):
                logger = logging.getLogger(name)
                self._levels[name] = logger.level
                logger.setLevel(logging.CRITICAL)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._client.close()
        for name, level in self._levels.items():
            logging.getLogger(name).setLevel(level)

    def get(
        self,
        url: str,
        parameters: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        *,
        sound: Callable[[Answer], Any] = lambda answer: None,
    ) -> Answer:
        """Ask until there is an answer that is neither 408, 429 nor 5xx.

        Args:
            url: address, without the key.
            parameters: the query, the key among them where the service wants it there.
            headers: likewise.
            sound: looks at the answer; raises ValueError if it is damaged or asks to wait, and it is tried again.

        Raises:
            FailedError: every attempt failed.
            FetchError: the server asks to be left alone for long, or the address cannot be.
            BudgetError: the budget is used up.
        """
        fault = ""
        for attempt in range(ATTEMPTS):
            if attempt:
                self._sleep(self._wait(attempt, fault))
            answer, fault = self._once(url, parameters, headers)
            if answer is None:
                continue
            try:
                sound(answer)
            except ValueError as error:
                fault = self.clean(str(error))
                continue
            return answer
        raise FailedError(f"{fault} ({ATTEMPTS} attempts)")

    def clean(self, text: str) -> str:
        """Return ``text`` without the key, in one line, short enough to print."""
        for form in {self._secret, str(httpx.QueryParams({"k": self._secret}))[2:]} - {""}:
            text = text.replace(form, "•••")
        line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
        return line if len(line) <= _SHOWN else line[:_SHOWN] + "…"

    def _once(
        self, url: str, parameters: Mapping[str, str] | None, headers: Mapping[str, str] | None
    ) -> tuple[Answer | None, str]:
        """Send one request: an answer, or why it must be sent again (a number: the server names the seconds)."""
        if self._budget is not None and self.requests >= self._budget:
            raise BudgetError
        self._pace()
        self.requests += 1
        try:
            with self._stream(url, parameters, headers) as response:
                status, body = response.status_code, _body(response)
                wait = response.headers.get("Retry-After", "")
        except (httpx.InvalidURL, httpx.UnsupportedProtocol):
            raise FetchError(f"this address cannot be asked: {self.clean(url.partition('?')[0])}") from None
        except (httpx.TransportError, httpx.DecodingError) as error:
            return None, self.clean(f"{type(error).__name__}: {error}")
        except ValueError as error:
            return None, self.clean(str(error))
        if status in (_TOO_MANY, _TIMEOUT) or status >= _SERVER:
            if wait.isdecimal() and float(wait) > _LONGEST_PATIENCE:
                raise FetchError(f"the server asks to wait {wait} s (HTTP {status}): run the same command again then")
            return None, f"HTTP {status}" + (f", Retry-After {wait}" if wait.isdecimal() else "")
        return Answer(status, body), ""

    @contextmanager
    def _stream(
        self, url: str, parameters: Mapping[str, str] | None, headers: Mapping[str, str] | None
    ) -> Iterator[httpx.Response]:
        with self._client.stream("GET", url, params=dict(parameters) if parameters else None, headers=headers) as got:
            yield got

    def _pace(self) -> None:
        now = time.monotonic()
        if now < self._next:
            self._sleep(self._next - now)
        self._next = max(now, self._next) + self._gap

    @staticmethod
    def _wait(attempt: int, fault: str) -> float:
        named = fault.rpartition("Retry-After ")[2]
        return float(named) if named.isdecimal() else min(_FIRST_WAIT * 2 ** (attempt - 1), _LONGEST_WAIT)


def _body(response: httpx.Response) -> bytes:
    parts, total = [], 0
    for part in response.iter_bytes():
        total += len(part)
        if total > MAX_BODY:
            raise ValueError(f"the answer is longer than {MAX_BODY} bytes")
        parts.append(part)
    return b"".join(parts)


def read_object(answer: Answer) -> dict[str, Any]:
    """Return the JSON object that an answer holds.

    Raises:
        ValueError: it holds none: cut short, or not JSON.
    """
    try:
        value = json.loads(answer.body)
    except (ValueError, RecursionError):
        raise ValueError(f"HTTP {answer.status} with {len(answer.body)} bytes that are not whole JSON") from None
    if not isinstance(value, dict):
        raise ValueError(f"HTTP {answer.status} with JSON that is no object")
    return value
