"""JSON (RFC 8259) read as it comes, without holding more of it than one short value.

A router's list of clients may be larger than a device's free memory, and what is in it is nobody's
business: only what `found` asks for outlives a token. Bounded in depth and in the length of a
token (the rest of a longer one is dropped). Lenient where equipment is: a comma too many is
passed over.
"""

from agent.device.interpreter import const

_DEPTH = const(10)
_LONGEST = const(64)
_BETWEEN = const(0)
_TEXT = const(1)
_ESCAPE = const(2)
_BARE = const(3)

_WORDS = {b"true": True, b"false": False, b"null": None}


class Scanner:
    """Give it bytes with `feed`; `found(path, value)` is called for every value that is no
    container.

    `path` is a list of keys (bytes) and indices (int) that must not be kept; `value` is bytes,
    int, True, False or None. A number with a fraction stays bytes, escapes stay what follows the
    backslash. Raises ValueError on what is no JSON."""

    def __init__(self, found):
        self._found = found
        self._path = []
        self._mode = _BETWEEN
        self._token = bytearray()
        self._seen = False

    def feed(self, data):
        for byte in data:
            self._byte(byte)

    def finish(self):
        """Tell that this was all; ValueError if something is missing."""
        if self._mode == _BARE:
            self._word()
        if self._path or self._mode or not self._seen:
            raise ValueError

    def _byte(self, byte):
        mode = self._mode
        if mode == _TEXT:
            if byte == 0x22:
                self._mode = _BETWEEN
                self._value(bytes(self._token), True)
            elif byte == 0x5C:
                self._mode = _ESCAPE
            else:
                self._add(byte)
            return
        if mode == _ESCAPE:
            self._mode = _TEXT
            self._add(byte)
            return
        if mode == _BARE:
            if byte > 0x20 and byte not in b',:"[]{}':
                self._add(byte)
                return
            self._mode = _BETWEEN
            self._word()
        self._mark(byte)

    def _mark(self, byte):
        path = self._path
        if byte <= 0x20:
            pass
        elif byte in b"{[":
            self._place()
            if len(path) >= _DEPTH:
                raise ValueError
            # In an object the key is a bytes, None before it is known; in an array the index.
            path.append(None if byte == 0x7B else 0)
        elif byte in b"}]":
            if not path or isinstance(path[-1], int) != (byte == 0x5D):
                raise ValueError
            path.pop()
            self._seen = True
        elif byte == 0x2C:
            if not path:
                raise ValueError
            path[-1] = path[-1] + 1 if isinstance(path[-1], int) else None
        elif byte == 0x3A:
            if not path or not isinstance(path[-1], bytes):
                raise ValueError
        else:
            self._token = bytearray()
            if byte == 0x22:
                self._mode = _TEXT
            else:
                self._mode = _BARE
                self._token.append(byte)

    def _add(self, byte):
        if len(self._token) < _LONGEST:
            self._token.append(byte)

    def _word(self):
        token = bytes(self._token)
        digits = token[1:] if token[:1] == b"-" else token
        if digits.isdigit() and len(digits) < 20:
            self._value(int(token), False)
        elif token in _WORDS:
            self._value(_WORDS[token], False)
        elif digits[:1].isdigit():
            self._value(token, False)
        else:
            raise ValueError

    def _place(self):
        """A value begins here: is there room for one?"""
        if self._path and self._path[-1] is None or not self._path and self._seen:
            raise ValueError

    def _value(self, value, text):
        if self._path and self._path[-1] is None and text:
            self._path[-1] = value
            return
        self._place()
        self._seen = True
        self._found(self._path, value)
