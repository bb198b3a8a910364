"""The birth: what each connection tells the province of the device."""

from agent.wire import cbor, cose


class BirthMessage:
    """fields: those that stay the same while the agent runs (docs/wire.md); the rest is added."""

    def __init__(self, session, journal, clock, signer, fields):
        self._session = session
        self._journal = journal
        self._clock = clock
        self._signer = signer
        self._fields = fields
        session.greet.append(self._publish)

    async def _publish(self):
        fields = self._fields
        fields[1] = self._journal.stream
        fields[2] = self._journal.boot
        fields[3] = self._session.number
        fields[4] = self._clock.up()
        fields[5] = self._clock.now()
        fields[10] = self._journal.next_seq
        topic = self._session.base + "birth"
        message = await cose.sign1_async(self._signer, cbor.dumps(fields), topic.encode())
        await self._session.client.publish(topic, message, 1, True)
