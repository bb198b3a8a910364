"""What changes on the province's page, sent to browsers as it happens (server-sent events)."""

from __future__ import annotations

import asyncio
import contextvars
import json
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import suppress

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse

from host_tools.common.errors import DesalinkError
from host_tools.common.i18n import set_reader_language
from host_tools.pages import wall
from host_tools.pages.serving import choose_language, secured, session_of
from host_tools.pages.site import PagesSite
from host_tools.pages.snapshot import Snapshot

_LOOK_S = 1.0
_SHARE = 5  # of the time looking may take one part in so many
_QUIET_S = 15.0  # a sign of life, for proxies; the session is asked for again
_MOST_READERS = 400
_MOST_OF_ACCOUNT = 100


class Live:
    """Looks for changes, and wakes those who wait for them."""

    def __init__(self, site: PagesSite) -> None:
        self._site = site
        self._changed = asyncio.Event()
        self._readers: Counter[int] = Counter()
        self._made: dict[str, tuple[int, dict[str, str]]] = {}

    async def watch(self) -> None:
        """Look for as long as the server runs."""
        loop = asyncio.get_running_loop()
        version = 0
        while True:
            began = loop.time()
            try:
                snapshot = await loop.run_in_executor(None, self._site.watcher.look)
            except DesalinkError:
                pass  # pages say it; the next look may succeed
            else:
                if snapshot.version != version:
                    version = snapshot.version
                    self._changed.set()
                    self._changed = asyncio.Event()
            await asyncio.sleep(max(_LOOK_S, _SHARE * (loop.time() - began)))

    def _parts(self, snapshot: Snapshot, language: str) -> dict[str, str]:
        """The parts in a language, made once for all readers."""
        made = self._made.get(language)
        if made is None or made[0] != snapshot.version:
            set_reader_language(language)
            made = self._made[language] = (snapshot.version, wall.parts(snapshot))
        return made[1]

    async def endpoint(self, request: Request) -> Response:
        """The stream of one reader."""
        return secured(await self._answer(request), self._site)

    async def _answer(self, request: Request) -> Response:
        reader = await self._reader(request)
        if reader is None:
            return PlainTextResponse("log in first", 401)
        if self._readers.total() >= _MOST_READERS or self._readers[reader] >= _MOST_OF_ACCOUNT:
            return PlainTextResponse("too many readers", 503)
        stream = self._stream(request, reader, choose_language(self._site, request))
        return StreamingResponse(stream, 200, {"x-accel-buffering": "no"}, "text/event-stream")

    async def _reader(self, request: Request) -> int | None:
        """The account that reads; None: its session has ended."""
        loop = asyncio.get_running_loop()
        _token, session = await loop.run_in_executor(
            self._site.pool, session_of, self._site, request
        )
        if session is None or session.account.must_change:
            return None
        return session.account.id

    async def _stream(self, request: Request, reader: int, language: str) -> AsyncIterator[str]:
        """The stream. `version` in the address: of the snapshot that the page shows."""
        loop = asyncio.get_running_loop()

        async def parts() -> tuple[int, dict[str, str], dict[str, str]]:
            context = contextvars.copy_context()
            snapshot = await loop.run_in_executor(None, self._site.watcher.newest)
            made = await loop.run_in_executor(
                self._site.pool, context.run, self._parts, snapshot, language
            )
            return snapshot.version, made, wall.dots(snapshot)

        self._readers[reader] += 1
        asked = loop.time()
        try:
            changed = self._changed
            version, before, dots_before = await parts()
            yield "retry: 3000\n\n"
            if str(version) != request.query_params.get("version"):
                # Something has changed since the page was made, or the server is a new one.
                yield _message(before, dots_before)
            while True:
                with suppress(TimeoutError):
                    await asyncio.wait_for(changed.wait(), _QUIET_S)
                if loop.time() - asked >= _QUIET_S:
                    if await self._reader(request) is None:
                        return
                    asked = loop.time()
                if not changed.is_set():
                    yield ": quiet\n\n"
                    continue
                changed = self._changed
                _version, now, dots = await parts()
                yield _message(
                    {id: text for id, text in now.items() if before.get(id) != text},
                    {id: its for id, its in dots.items() if dots_before.get(id) != its},
                )
                before, dots_before = now, dots
        finally:
            self._readers[reader] -= 1


def _message(parts: dict[str, str], dots: dict[str, str]) -> str:
    content = json.dumps({"parts": parts, "dots": dots}, ensure_ascii=False)
    return f"data: {content}\n\n"
