"""Waiting for a socket."""

import asyncio
import socket

import pytest

from agent.device import interpreter


@pytest.mark.parametrize("turns", range(6))
def test_a_cancellation_that_comes_together_with_the_answer_is_not_lost(turns: int) -> None:
    async def scenario() -> None:
        near, far = socket.socketpair()
        with near, far:
            near.setblocking(False)

            async def wait() -> None:
                await interpreter.ready(near, False, 60_000)
                await asyncio.sleep(3600)

            task = asyncio.create_task(wait())
            await asyncio.sleep(0)
            far.send(b"x")
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            for _ in range(20):
                await asyncio.sleep(0)
            assert task.done() and task.cancelled()

    asyncio.run(scenario())


def test_a_socket_that_stays_silent_is_given_up() -> None:
    near, far = socket.socketpair()
    with near, far:
        near.setblocking(False)
        assert not asyncio.run(interpreter.ready(near, False, 20))
        far.send(b"x")
        assert asyncio.run(interpreter.ready(near, False, 60_000))
