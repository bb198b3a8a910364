"""A renewed certificate that comes from the province (docs/wire.md, "The certificate").

It is rare, so this role only receives it. received.py checks and stores it, trial.py tries it;
both are loaded when they are needed.
"""

import binascii

from agent.device import heap, interpreter


class CertificateTopic:
    """Writes into `birth` (its fields) the serial number of the certificate that is shown."""

    def __init__(self, session, delivery, clock, settings, used, birth):
        """used: of the certificate in use, what renewal.present gives."""
        self.path, birth[13], self.end, on_trial = used
        self.authority = settings["broker.ca"]
        self.key = settings["broker.key"]
        self.folder = settings["state_dir"]
        self._parts = session, delivery, clock, birth
        self._seen = self._trial = None
        session.topics[session.base + "certificate"] = self._receive
        if on_trial:
            self._try()

    def _receive(self, payload, retain):
        # It is retained, so it comes with every connection.
        seen = binascii.crc32(payload)
        if not len(payload) or seen == self._seen:
            return
        self._seen = seen  # first: a lack of memory must not come again with each connection
        received = heap.seldom("agent.province.received")
        now = self._parts[2].now()
        try:
            if received.store(payload, self.path, self.folder, self.authority, now):
                interpreter.log("certificate: a new one is tried at the next connection")
                self._try()
        except (OSError, ValueError) as e:
            interpreter.log("certificate: refused:", e)

    def _try(self):
        if not self._trial:
            from agent.province.trial import Trial

            self._trial = Trial(self, *self._parts)
        self._trial.restart()
