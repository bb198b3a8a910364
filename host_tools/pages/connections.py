"""Bounds on what a connection may cost before anybody has logged in."""

from __future__ import annotations

import asyncio
import resource
from collections import Counter
from typing import Any, ClassVar

from uvicorn.protocols.http.h11_impl import H11Protocol

# A request's line and headers must be complete so soon, at the begin and after each answer.
_HEAD_S = 10.0
# An office behind one address has some dozens of readers, with up to six connections each.
_MOST_OF_ADDRESS = 200


class BoundedConnection(H11Protocol):
    """A connection that ends when no request comes; an address has only so many."""

    open_of_address: ClassVar[Counter[str]] = Counter()

    def __init__(self, *values: Any, **named: Any) -> None:
        super().__init__(*values, **named)
        self._address = ""
        self._deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._address = self.client[0] if self.client else ""
        self.open_of_address[self._address] += 1
        # All readers behind a proxy have its address: there the proxy counts.
        behind_proxy = self.config.proxy_headers
        if not behind_proxy and self.open_of_address[self._address] > _MOST_OF_ADDRESS:
            transport.abort()
            return
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self.open_of_address[self._address] -= 1
        if not self.open_of_address[self._address]:
            del self.open_of_address[self._address]
        if self._deadline is not None:
            self._deadline.cancel()
        super().connection_lost(exc)

    def on_response_complete(self) -> None:
        """Wait for the next request; uvicorn's own time begins anew with each byte."""
        super().on_response_complete()
        self._await_head()

    def _await_head(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        self._deadline = self.loop.call_later(_HEAD_S, self._end_if_unasked)

    def _end_if_unasked(self) -> None:
        if self.cycle is None or self.cycle.response_complete:
            self.transport.abort()


def allow_open_files(files: int) -> None:
    """Let the process have so many open files, or as many as the system allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(files, hard)), hard))
