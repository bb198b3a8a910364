"""Which certificate the device shows: a renewed one is tried before the old one goes.

docs/wire.md, "The certificate". What reads and writes certificates is in renewal.py.
"""

import gc
import os

from agent.device import heap, interpreter
from agent.device.interpreter import const
from agent.net.errors import NetError
from agent.province.backoff import is_refusal

_TRIES = const(3)
_DAY_S = const(86400)
_LOOK_MS = const(2000)


class Trial:
    """Of one renewed certificate; takes it for good or goes back."""

    def __init__(self, role, session, delivery, clock, birth):
        """role: the CertificateTopic, which knows the certificate in use."""
        self._role = role
        self._session = session
        self._delivery = delivery
        self._clock = clock
        self._birth = birth
        self._on = False  # is there one to be tried?
        self._shown = False  # is the one on trial shown? None: none is loaded
        self._shown_end = role.end
        self._first = self._number = 0  # of connections: when the trial began, at its last look
        self._tries = 0
        self._until = self._rest = 0  # seconds since start: end of a trial, of the time without
        self._pause = False  # for one attempt
        session.begin.append(self._choose)
        session.end.append(self._ended)
        session.work.append(self._prove)

    def restart(self):
        """Try what is stored as the new one, from the next connection on."""
        self._on = True
        self._rest = 0
        if self._shown:
            self._shown = None  # what is shown is not the one on trial any more

    def _over(self):
        """Whether the old certificate has ended, as far as that is known."""
        now = self._clock.now()
        return now is not None and now >= self._role.end

    def _choose(self):
        """Before each attempt to connect: load the certificate whose turn it is."""
        up = self._clock.up()
        wanted = self._on and not self._pause and (up >= self._rest or self._over())
        self._pause = False
        if wanted == self._shown:
            return
        self._shown = None
        client = self._session.client
        client.tls = None  # on an ESP32 there is no memory for two
        gc.collect()
        renewal = heap.seldom("agent.province.renewal")
        role = self._role
        path = role.folder + renewal.NEW if wanted else role.path
        try:
            found = renewal.fields(renewal.tls.certificate(path))
            client.tls = renewal.tls.tls_context(role.authority, path, role.key)
        except (OSError, ValueError) as e:
            self._rest = up + _DAY_S
            raise NetError("certificate %s: %s" % (path, e), "certificate") from None
        self._shown = wanted
        self._birth[13], _, self._shown_end, _ = found
        self._tries = 0
        self._first = self._number = self._session.number
        self._until = up + _DAY_S

    def _ended(self, error):
        """After each attempt or connection."""
        session = self._session
        if not self._shown:
            return
        # What ends before TLS says nothing of a certificate.
        if session.number != self._number or session.stage in ("tls", "mqtt"):
            self._number = session.number
            self._tries += 1
        up = self._clock.up()
        if self._tries >= _TRIES or up >= self._until or is_refusal(error):
            interpreter.log("certificate: back to the old one")
            self._pause = True
            self._rest = up + _DAY_S

    async def _prove(self):
        """While connected: take what is on trial for good when it has proved itself."""
        while self._shown:
            if self._delivery.proved > self._first:
                good = self._role.folder + "/certificate"
                os.rename(good + ".new", good)
                self._role.path = good
                self._role.end = self._shown_end
                self._on = self._shown = False
                return interpreter.log("certificate: the new one is in use")
            if self._clock.up() >= self._until:
                raise NetError("the new certificate: no report was stored in a day")
            await interpreter.sleep_ms(_LOOK_MS)
