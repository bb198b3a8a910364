"""SNMP version 3's user-based security (RFC 3412, 3414; HMAC-SHA-256: RFC 7860; AES: RFC 3826).

Loaded only if a user is configured. Authentication by SHA-256 works everywhere, by SHA-1 where the
interpreter has it. Privacy needs AES, which MicroPython has (cryptolib) and CPython has not.
"""

import hashlib
import os
import struct

from agent.device import interpreter
from agent.device.interpreter import const
from agent.net.errors import NetError
from agent.sources import ber
from agent.sources.hmac import hmac

_SIZES = {"sha1": 12, "sha256": 24}  # bytes of the digest that are sent
_REPORT = const(0xA8)
_NOT_IN_TIME = const(2)
_UNKNOWN_ENGINE = const(4)
_WINDOW_S = const(150)
# usmStats, by the last arc of their names (1.3.6.1.6.3.15.1.1.x.0)
_REPORTS = {
    1: "refuses this kind of security for the user",
    3: "knows no such user",
    5: "says that the authentication password is wrong",
    6: "says that the privacy password is wrong",
}


def password_key(digest, password):
    """The user's key from a password (RFC 3414, A.2): the digest of 1 MiB of its repetition."""
    text = password.encode() * 64
    state = digest()
    for _ in range(1048576 // len(text)):
        state.update(text)
    state.update(text[: 1048576 % len(text)])
    return state.digest()


def localized(digest, key, engine):
    """The user's key for one engine."""
    return digest(key + engine + key).digest()


class User:
    """Security of one user: an SnmpClient's `security`. Passwords may be given as the keys that
    were made of them. Raises ValueError."""

    lasts = "_engine", "_boots", "_time", "_at", "_id", "_salt"

    def __init__(self, name, auth, auth_password, priv_password):
        if auth not in _SIZES or not hasattr(hashlib, auth):
            raise ValueError("usage.snmp.auth: this interpreter has no %s: use sha256" % auth)
        if not auth_password:
            raise ValueError("usage.snmp.auth_password is missing: usage.snmp.user needs it")
        self._aes = None
        if priv_password:
            try:
                from cryptolib import aes  # type: ignore[import-not-found,unused-ignore]
            except ImportError:
                raise ValueError(
                    "usage.snmp.priv_password: this interpreter has no AES: leave it out (and let"
                    " the router accept the user without privacy), or use MicroPython"
                ) from None
            self._aes = aes
        self._name = name.encode()
        self._digest = getattr(hashlib, auth)
        self._size = _SIZES[auth]
        self.auth_key = self._key(auth_password)
        self.priv_key = self._key(priv_password) if priv_password else None
        self._engine = b""
        self._boots = self._time = self._at = 0
        self._id = 0
        self._salt = int.from_bytes(os.urandom(4), "big")

    def _key(self, password):
        return password_key(self._digest, password) if isinstance(password, str) else password

    async def ready(self, ask):
        """Find out the engine's identity."""
        if not self._engine:
            empty = ber.tlv(0xA0, ber.integer(0), ber.integer(0), ber.integer(0), ber.tlv(0x30))
            await ask(lambda: self._message(4, b"", empty), self._discovered)

    def doubt(self):
        # Some routers don't keep how often they have started, and what they say after a restart
        # looks played back. Believe the next word: an old one would lack the request's number.
        self._set(0, 0)

    def wrap(self, pdu):
        return self._message(7 if self._aes else 5, self._name, pdu)

    def unwrap(self, data):
        flags, engine, boots, time, name, start, body = self._open(data)
        if flags & 1:
            key = localized(self._digest, self.auth_key, self._engine)
            sent = data[start : start + self._size]
            blank = data[:start] + bytes(self._size) + data[start + self._size :]
            if engine != self._engine or hmac(key, blank, self._digest)[: self._size] != sent:
                raise ValueError
            if boots < self._boots or boots == self._boots and time < self._now() - _WINDOW_S:
                raise ValueError  # an answer of long ago, played back
            self._set(boots, time)
        if flags & 2 and self._aes:
            tag, at, end = ber.read(body[0], body[1], body[2], 4)
            body = self._cfb(data[at:end], boots, time, body[3], False), 0, end - at
        data, at, end = body[:3]
        _, at, end = ber.read(data, at, end, 0x30)
        _, _, at = ber.read(data, at, end, 4)
        _, _, at = ber.read(data, at, end, 4)
        if data[at] != _REPORT:
            if not flags & 1 or name != self._name or bool(self._aes) != bool(flags & 2):
                raise ValueError  # an answer that is less protected than the request
            return data, at, end
        reason = self._reason(data, at, end)
        if reason == _NOT_IN_TIME and flags & 1:
            return None  # its time is known now
        if reason == _UNKNOWN_ENGINE:
            self._meet(engine)  # it has forgotten who it was
            return None
        if reason in _REPORTS:
            raise NetError(_REPORTS[reason])
        raise ValueError

    def _discovered(self, data):
        self._meet(self._open(data)[1])
        return True

    def _meet(self, engine):
        if not 5 <= len(engine) <= 32:
            raise ValueError
        self._engine = bytes(engine)
        self._set(0, 0)  # this was not authenticated: what it answers to that is

    def _set(self, boots, time):
        self._boots = boots
        self._time = time
        self._at = interpreter.ticks_ms()

    def _now(self):
        # Below 0 after more than half of the ticks' period: then it says the right time itself.
        return self._time + max(0, interpreter.since(self._at)) // 1000

    def _message(self, flags, name, pdu):
        self._id = self._id + 1 & 0x7FFFFFFF
        boots = self._boots
        time = self._now()
        scoped = ber.tlv(0x30, ber.tlv(4, self._engine), ber.tlv(4), pdu)
        salt = b""
        if flags & 2:
            self._salt += 1
            salt = struct.pack(">II", boots, self._salt & 0xFFFFFFFF)
            scoped = ber.tlv(4, self._cfb(scoped, boots, time, salt, True))
        mark = bytes(self._size) if flags & 1 else b""
        end = ber.tlv(4, salt) + scoped
        parameters = ber.tlv(
            0x30,
            ber.tlv(4, self._engine),
            ber.integer(boots),
            ber.integer(time),
            ber.tlv(4, name),
            ber.tlv(4, mark),
            ber.tlv(4, salt),
        )
        header = ber.tlv(
            0x30,
            ber.integer(self._id),
            ber.integer(65507),
            ber.tlv(4, bytes((flags,))),
            ber.integer(3),
        )
        message = ber.tlv(0x30, ber.integer(3), header, ber.tlv(4, parameters), scoped)
        if flags & 1:
            key = localized(self._digest, self.auth_key, self._engine)
            at = len(message) - len(end) - self._size
            code = hmac(key, message, self._digest)[: self._size]
            message = message[:at] + code + message[at + self._size :]
        return message

    def _open(self, data):
        """(flags, engine, boots, time, user, where the digest is, (data, start, end, salt))"""
        _, at, end = ber.read(data, 0, len(data), 0x30)
        version, at = ber.value(data, at, end)
        _, head, at = ber.read(data, at, end, 0x30)
        number, head = ber.value(data, head, at)
        _, head = ber.value(data, head, at)
        _, flags, _ = ber.read(data, head, at, 4)
        if version != 3 or number != self._id:
            raise ValueError
        _, inner, at = ber.read(data, at, end, 4)
        body = at
        _, inner, at = ber.read(data, inner, at, 0x30)
        _, start, inner = ber.read(data, inner, at, 4)
        engine = data[start:inner]
        boots, inner = ber.value(data, inner, at)
        time, inner = ber.value(data, inner, at)
        _, start, inner = ber.read(data, inner, at, 4)
        name = data[start:inner]
        _, mark, inner = ber.read(data, inner, at, 4)
        if data[flags] & 1 and inner - mark != self._size:
            raise ValueError
        _, start, inner = ber.read(data, inner, at, 4)
        return data[flags], engine, boots, time, name, mark, (data, body, end, data[start:inner])

    def _reason(self, data, at, end):
        _, at, end = ber.read(data, at, end, _REPORT)
        for _ in range(3):
            _, at = ber.value(data, at, end)
        _, at, end = ber.read(data, at, end, 0x30)
        _, at, end = ber.read(data, at, end, 0x30)
        _, at, end = ber.read(data, at, end, 6)
        return data[end - 2]

    def _cfb(self, data, boots, time, salt, encrypt):
        """AES-128 in CFB mode, made of the block cipher: both interpreters' cryptolib lacks it."""
        key = localized(self._digest, self.priv_key, self._engine)[:16]
        cipher = self._aes(key, 1)
        if len(salt) != 8 or not 0 <= boots < 1 << 31 or not 0 <= time < 1 << 31:
            raise ValueError
        block = struct.pack(">II", boots, time) + salt
        out = bytearray()
        for at in range(0, len(data), 16):
            stream = cipher.encrypt(block)
            piece = data[at : at + 16]
            out.extend(bytes([a ^ b for a, b in zip(piece, stream)]))
            block = bytes(out[at : at + 16]) if encrypt else piece
        return bytes(out)
