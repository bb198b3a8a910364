"""What a browser sends with a form: within bounds of size and time, and from a page of ours."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from urllib.parse import parse_qsl, urlsplit

from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.types import Message

from host_tools.common.i18n import _
from host_tools.pages.visits import NotAllowed

_MOST_BODY = 64 * 1024
_MOST_FIELDS = 50
# A body has this time, and a second more for each so many bytes that it may have.
_BODY_S, _BODY_RATE = 20, 20_000


@dataclass(frozen=True)
class SentForm:
    """What a browser sent: fields, and a file; fields None: it can't be understood."""

    fields: dict[str, str] | None
    file: bytes = b""


async def receive(request: Request, file: int) -> SentForm:
    """The form of a request.

    Args:
        file: so many bytes may its file have.

    Raises:
        HTTPException: it is too large, or comes too slowly.
    """
    most = _MOST_BODY + file
    body = bytearray()
    try:
        async with asyncio.timeout(_BODY_S + most / _BODY_RATE):
            async for chunk in request.stream():
                body += chunk
                if len(body) > most:
                    raise HTTPException(413, "too large")
    except (TimeoutError, ClientDisconnect):
        raise HTTPException(408, "too slow") from None
    if request.headers.get("content-type", "").startswith("multipart/form-data"):
        return await _parts(request, bytes(body))
    return SentForm(_form(bytes(body)))


def _form(body: bytes) -> dict[str, str] | None:
    try:
        return dict(parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=_MOST_FIELDS))
    except ValueError:
        return None


async def _parts(request: Request, body: bytes) -> SentForm:
    """The fields and the file of a form with a file (RFC 7578). Its name is not used."""

    async def replay() -> Message:
        return {"type": "http.request", "body": body}

    try:
        async with Request(request.scope, replay).form(
            max_files=1, max_fields=_MOST_FIELDS, max_part_size=_MOST_BODY
        ) as form:
            fields, file = {}, b""
            for name, value in form.items():
                if isinstance(value, UploadFile):
                    file = await value.read()
                else:
                    fields[name] = value
            return SentForm(fields, file)
    except (HTTPException, ValueError, KeyError):
        return SentForm(None)


def check_origin(request: Request) -> None:
    """See that a form was sent by a page of ours; browsers say which one has sent it.

    Raises:
        NotAllowed: by another site's.
    """
    origin = request.headers.get("origin")
    foreign = origin is not None and urlsplit(origin).netloc != request.headers.get("host")
    if foreign or request.headers.get("sec-fetch-site", "same-origin") != "same-origin":
        raise NotAllowed(_("This form was sent by another site; open the page here."))
