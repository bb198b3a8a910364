"""A device's proof of possession of its key (docs/wire.md, "Enrolment")."""

from __future__ import annotations

import base64
import binascii
import subprocess
from collections.abc import Sequence
from pathlib import Path

from host_tools.common.errors import EnrolmentError
from host_tools.common.i18n import _
from host_tools.common.passphrase import scrubbed_environment
from host_tools.wire.envelope import byte_string_head, check_signature, hash8, signed_bytes, split
from host_tools.wire.payload import Enrolment, parse_enrolment
from host_tools.wire.reasons import Refused
from host_tools.wire.topics import enrol_topic

# The folder of the packages agent and host_tools.
ROOT = Path(__file__).resolve().parents[2]

_AGENT_TIMEOUT_S = 120
_MAX_PROOF = 4096


def verify_proof(proof: bytes, slot: str) -> Enrolment:
    """Verify a device's proof of possession for a slot.

    Raises:
        EnrolmentError: it is not an enrolment, is for another slot, or the key did not sign it.
    """
    aad = enrol_topic(slot).encode()
    try:
        kid, begin = split(proof)
        enrolment = parse_enrolment(proof[begin:-66])
    except Refused as refused:
        raise EnrolmentError(
            _("The device's proof for {slot} is not valid: {refused}; update its agent.").format(
                slot=slot, refused=refused
            )
        ) from None
    if enrolment.slot != slot:
        raise EnrolmentError(
            _(
                "The device's proof is for slot {slot} and not for {expected}; enrol it again."
            ).format(slot=repr(enrolment.slot)[1:-1], expected=slot)
        )
    if kid != hash8(enrolment.public_key):
        raise EnrolmentError(
            _("The key id in the device's proof for {slot} is not that of its key.").format(
                slot=slot
            )
        )
    signed = signed_bytes(proof, byte_string_head(len(aad)) + aad)
    if not check_signature(enrolment.public_key, signed):
        raise EnrolmentError(
            _(
                "The device's proof for {slot} is not signed by the key that it presents; enrol "
                "it again."
            ).format(slot=slot)
        )
    return enrolment


def ask_agent(command: Sequence[str], config: Path) -> bytes:
    """The agent's proof of possession; the agent makes its key if it has none.

    Args:
        command: the agent without its arguments, such as `python -m agent`.

    Raises:
        EnrolmentError: it did not start, or reported an error.
    """
    try:
        done = subprocess.run(
            [*command, "--enrol", str(config)],
            cwd=ROOT,
            env=scrubbed_environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_AGENT_TIMEOUT_S,
        )
    except OSError as error:
        raise EnrolmentError(
            _("{command} can't be started: {reason}; choose another --interpreter.").format(
                command=command[0], reason=(error.strerror or str(error)).lower()
            )
        ) from None
    except subprocess.TimeoutExpired:
        raise EnrolmentError(
            _("The agent did not make its proof within {seconds} s; try again.").format(
                seconds=_AGENT_TIMEOUT_S
            )
        ) from None
    said = done.stderr.decode(errors="replace").strip().splitlines()
    if done.returncode != 0:
        reason = (
            said[-1][:400].removeprefix("agent: ")
            if said
            else _("it ended with code {returncode}").format(returncode=done.returncode)
        )
        raise EnrolmentError(_("The agent reports: {reason}").format(reason=reason))
    lines = done.stdout.split()
    try:
        if len(lines) != 1 or len(lines[0]) > _MAX_PROOF:
            raise binascii.Error
        return base64.b64decode(lines[0], validate=True)
    except binascii.Error:
        raise EnrolmentError(
            _("The agent did not answer with a proof (it wrote {stdout!r}); update it.").format(
                stdout=done.stdout[:60]
            )
        ) from None
