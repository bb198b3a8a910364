"""The ways of messages: e-mail by SMTP, signed JSON to a program, everything else by Apprise.

E-mail does not go by Apprise, because that gives each attempt another Message-ID: after a crash in
the middle of sending the same message must come again as the same one.
"""

from __future__ import annotations

import hashlib
import hmac
import http.client
import json
import logging
import smtplib
import ssl
import threading
from email.message import EmailMessage
from email.utils import formatdate
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

from host_tools.alerts.records import Outgoing
from host_tools.alerts.settings import AlertSettings, ChannelSettings, Smtp
from host_tools.common.errors import DesalinkError
from host_tools.common.i18n import _

_TIMEOUT_S = 20.0
# Of Apprise's ways, those that can carry a header: the receiver drops what it has.
_WITH_HEADERS = ("json", "jsons", "xml", "xmls", "form", "forms")
KEY_HEADER, SIGNATURE_HEADER = "Idempotency-Key", "Desalink-Signature"
_LEAST_SECRET = 16


class NotTaken(DesalinkError):
    """A message that the other side did not take; for_good: another attempt would not help."""

    def __init__(self, sentence: str, *, for_good: bool = False) -> None:
        super().__init__(sentence)
        self.for_good = for_good


class Sender(Protocol):
    """A way to send."""

    def send(self, message: Outgoing, identity: str, reply_to: str) -> None:
        """Hand a message over.

        Args:
            identity: the same at each attempt, and of no other message.
            reply_to: the identity of the first message of the alert, or ''.

        Raises:
            NotTaken: the other side did not take it.
        """


class MailSender:
    """E-mail to one address."""

    def __init__(self, smtp: Smtp, address: str, directory: Path) -> None:
        self._smtp = smtp
        self._address = address
        self._directory = directory

    def send(self, message: Outgoing, identity: str, reply_to: str) -> None:
        smtp = self._smtp
        domain = smtp.sender.partition("@")[2]
        mail = EmailMessage()
        mail["From"], mail["To"] = smtp.sender, self._address
        mail["Subject"] = message.subject
        mail["Date"] = formatdate(message.queued_at)
        mail["Message-ID"] = f"<{identity}@{domain}>"
        if reply_to:
            mail["In-Reply-To"] = mail["References"] = f"<{reply_to}@{domain}>"
        mail["Auto-Submitted"] = "auto-generated"
        mail.set_content(message.body + "\n")
        try:
            self._deliver(mail)
        except smtplib.SMTPRecipientsRefused as error:
            code, said = next(iter(error.recipients.values()))
            raise NotTaken(_said(code, said), for_good=code >= 500) from None
        except smtplib.SMTPResponseException as error:
            raise NotTaken(_said(error.smtp_code, error.smtp_error)) from None
        except (OSError, smtplib.SMTPException) as error:
            raise NotTaken(
                _("{host}, port {port}: {error}").format(
                    host=smtp.host, port=smtp.port, error=error
                )
            ) from None

    def _deliver(self, mail: EmailMessage) -> None:
        smtp = self._smtp
        context = ssl.create_default_context()
        server = (
            smtplib.SMTP_SSL(smtp.host, smtp.port, timeout=_TIMEOUT_S, context=context)
            if smtp.tls == "tls"
            else smtplib.SMTP(smtp.host, smtp.port, timeout=_TIMEOUT_S)
        )
        with server:
            if smtp.tls == "starttls":
                server.starttls(context=context)
            if smtp.user:
                server.login(smtp.user, first_line(self._directory / smtp.password_file))
            server.send_message(mail)


def _said(code: int, text: str | bytes) -> str:
    said = text.decode(errors="replace") if isinstance(text, bytes) else text
    return _("The mail server answers {code} {text}").format(code=code, text=said)


class AppriseSender:
    """One of the ways that Apprise knows: Telegram, WhatsApp, SMS gateways, web hooks."""

    def __init__(self, url: str) -> None:
        self._url = url

    def send(self, message: Outgoing, identity: str, reply_to: str) -> None:
        try:
            import apprise
        except ImportError:
            raise NotTaken(
                _("This channel needs Apprise; install it: pip install 'desalink[alerts]'.")
            ) from None
        url = self._url
        if url.partition("://")[0].lower() in _WITH_HEADERS:
            url += f"{'&' if '?' in url else '?'}+{KEY_HEADER}={identity}"
        way = apprise.Apprise.instantiate(url, suppress_exceptions=True)
        if way is None:
            raise NotTaken(_("Apprise does not know this address; correct it."), for_good=True)
        said = _Warnings()
        logging.getLogger("apprise").addHandler(said)
        try:
            taken = way.notify(
                title=message.subject,
                body=message.body,
                notify_type=apprise.NotifyType.WARNING,
                body_format=apprise.NotifyFormat.TEXT,
            )
        except Exception as error:  # noqa: BLE001 - of some hundred plug-ins
            raise NotTaken(
                _("Apprise failed: {error}").format(error=_without_secrets(repr(error)))
            ) from None
        finally:
            logging.getLogger("apprise").removeHandler(said)
        if not taken:
            reason = _without_secrets("\n".join(said.texts))
            raise NotTaken(reason or _("The other side did not take it."))


class _Warnings(logging.Handler):
    """What Apprise says in this thread; other channels are served at the same time."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.texts: list[str] = []
        self._thread = threading.get_ident()

    def emit(self, record: logging.LogRecord) -> None:
        if record.thread == self._thread:
            self.texts.append(record.getMessage())


class HookSender:
    """Signed JSON to a program. A redirect is not followed: the address is where it goes."""

    def __init__(self, address: str, secret: str) -> None:
        self._address = address
        self._secret = secret.encode()

    def send(self, message: Outgoing, identity: str, reply_to: str) -> None:
        if len(self._secret) < _LEAST_SECRET:
            raise NotTaken(
                _("The secret of this channel has less than {least} characters.").format(
                    least=_LEAST_SECRET
                )
            )
        # At each attempt the same bytes.
        body = json.dumps(
            {
                "id": identity,
                "reply_to": reply_to or None,
                "what": message.what,
                "alert": message.alert_id,
                "subject": message.subject,
                "text": message.body,
                "queued_at": message.queued_at,
            },
            ensure_ascii=False,
        ).encode()
        signature = hmac.digest(self._secret, body, hashlib.sha256).hex()
        headers = {
            "Content-Type": "application/json; charset=utf-8",
            "User-Agent": "desalink",
            KEY_HEADER: identity,
            SIGNATURE_HEADER: f"sha256={signature}",
        }
        try:
            status = self._post(body, headers)
        except (OSError, ValueError, http.client.HTTPException) as error:
            where = urlsplit(self._address).netloc
            raise NotTaken(f"{where}: {error or type(error).__name__}") from None
        if 300 <= status < 400:
            raise NotTaken(
                _("The other side answers {code}, a redirect; give its final address.").format(
                    code=status
                )
            )
        if not 200 <= status < 300:
            raise NotTaken(_("The other side answers {code}.").format(code=status))

    def _post(self, body: bytes, headers: dict[str, str]) -> int:
        parts = urlsplit(self._address)
        kind = (
            http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        )
        connection = kind(parts.hostname or "", parts.port, timeout=_TIMEOUT_S)
        try:
            path = parts.path or "/"
            connection.request(
                "POST", f"{path}?{parts.query}" if parts.query else path, body, headers
            )
            return connection.getresponse().status
        finally:
            connection.close()


def _without_secrets(text: str) -> str:
    # Apprise's warnings may repeat an address, which holds the token.
    return " ".join(word for word in text.split() if "://" not in word)[-300:]


def first_line(path: Path) -> str:
    """The first line of a file that holds a secret.

    Raises:
        NotTaken: it can't be read.
    """
    try:
        return path.read_text(encoding="utf-8").partition("\n")[0].strip()
    except (OSError, UnicodeDecodeError) as error:
        raise NotTaken(_("{path} can't be read: {error}").format(path=path, error=error)) from None


def make_sender(settings: AlertSettings, channel: str, directory: Path) -> Sender:
    """The way of a channel.

    Raises:
        NotTaken: there is no such channel (any more), or its file can't be read.
    """
    its: ChannelSettings | None = settings.channels.get(channel)
    if its is None:
        raise NotTaken(
            _("alerts.toml has no channel '{name}' any more.").format(name=channel), for_good=True
        )
    if its.mail:
        assert settings.smtp is not None
        return MailSender(settings.smtp, its.mail, directory)
    if its.hook:
        return HookSender(its.hook, first_line(directory / its.secret_file))
    return AppriseSender(its.url or first_line(directory / its.url_file))
