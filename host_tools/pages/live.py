"""What changes on the province's page, sent to browsers as it happens (server-sent events)."""

from __future__ import annotations

import asyncio
import contextvars
import json
from collections.abc import AsyncIterator

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse

from host_tools.common.errors import DesalinkError
from host_tools.common.i18n import set_reader_language
from host_tools.pages import wall
from host_tools.pages.serving import choose_language, session_of
from host_tools.pages.site import PagesSite
from host_tools.pages.snapshot import Snapshot

_LOOK_S = 1.0
_SHARE = 5  # of the time looking may take one part in so many
_QUIET_S = 15.0  # a sign of life, for proxies; the session is asked for again
_MOST_READERS = 400


class Live:
    """Looks for changes, and wakes those who wait for them."""

    def __init__(self, site: PagesSite) -> None:
        self._site = site
        self._changed = asyncio.Event()
        self._readers = 0
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
        if not await self._may_read(request):
            return PlainTextResponse("log in first", 401)
        if self._readers >= _MOST_READERS:
            return PlainTextResponse("too many readers", 503)
        headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
        seen = request.query_params.get("version", "")
        stream = self._stream(request, choose_language(self._site, request), seen)
        return StreamingResponse(stream, 200, headers, "text/event-stream")

    async def _may_read(self, request: Request) -> bool:
        loop = asyncio.get_running_loop()
        _token, session = await loop.run_in_executor(
            self._site.pool, session_of, self._site, request
        )
        return session is not None and not session.account.must_change

    async def _stream(self, request: Request, language: str, seen: str) -> AsyncIterator[str]:
        """Args: seen: the version of the snapshot that the page shows."""
        loop = asyncio.get_running_loop()

        async def parts() -> tuple[int, dict[str, str], dict[str, str]]:
            context = contextvars.copy_context()
            snapshot = await loop.run_in_executor(None, self._site.watcher.newest)
            made = await loop.run_in_executor(
                self._site.pool, context.run, self._parts, snapshot, language
            )
            return snapshot.version, made, wall.dots(snapshot)

        self._readers += 1
        try:
            changed = self._changed
            version, before, dots_before = await parts()
            yield "retry: 3000\n\n"
            if str(version) != seen:
                # Something has changed since the page was made, or the server is a new one.
                yield _message(before, dots_before)
            while True:
                try:
                    await asyncio.wait_for(changed.wait(), _QUIET_S)
                except TimeoutError:
                    if not await self._may_read(request):
                        return
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
            self._readers -= 1


def _message(parts: dict[str, str], dots: dict[str, str]) -> str:
    content = json.dumps({"parts": parts, "dots": dots}, ensure_ascii=False)
    return f"data: {content}\n\n"
