"""Counts a TLS connection's bytes on a network interface, IP headers and all, by what they carry.

TLS hides the packets of MQTT but not the length of its records; with that, and its direction, each
is known (AEAD ciphers of TLS 1.2 add 29 bytes to it: head 5, nonce 8, tag 16).
"""

import select
import socket
import struct
import threading
import time

from tests.bench.relay import Counts

_RECORD_OVERHEAD = (29, 21)  # AES-GCM; ChaCha20-Poly1305
_ETHERTYPE_ALL = 3  # any other shows only what comes in
_MSS = 1448  # 1500 less IP, TCP and its timestamps


class Sniffer(Counts):
    """Counts TCP packets to and from `port` on `interface` while it is open.

    Attributes:
        bytes: bytes at the IP level by what they carried: `report`, `birth and state`, `puback`,
            `ack`, `ping`, `tcp ack` (nothing else in the packet), `connecting` (TCP and TLS
            handshakes, MQTT CONNECT to SUBACK, and farewells).
        packets: how many packets, in the same way.
    """

    def __init__(self, interface: str, port: int) -> None:
        super().__init__()
        self._port = port
        # IP packets without their Ethernet header, both directions.
        self._socket = socket.socket(
            socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(_ETHERTYPE_ALL)
        )
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
        self._socket.bind((interface, _ETHERTYPE_ALL))
        self._established = False
        self._running = True
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._running = False
        self._thread.join()
        self._socket.close()

    def _run(self) -> None:
        while self._running:
            if select.select([self._socket], [], [], 0.05)[0]:
                self._packet(self._socket.recv(65536))

    def _packet(self, packet: bytes) -> None:
        if len(packet) < 40 or packet[0] >> 4 != 4 or packet[9] != socket.IPPROTO_TCP:
            return
        ip = (packet[0] & 15) * 4
        source, target = struct.unpack_from(">HH", packet, ip)
        if self._port not in (source, target):
            return
        size = int.from_bytes(packet[2:4], "big")
        tcp = (packet[ip + 12] >> 4) * 4
        payload = packet[ip + tcp : size]
        # Veth hands over what a real card would cut into segments: count the heads of all.
        segments = max(1, -(-len(payload) // _MSS))
        with self._lock:
            self._last = time.monotonic()
            what = self._what(packet[ip + 13], payload, source == self._port)
            self.bytes[what] += size + (segments - 1) * (ip + tcp)
            self.packets[what] += segments

    def _what(self, flags: int, payload: bytes, from_broker: bool) -> str:
        if flags & 7:  # FIN, SYN, RST
            self._established = self._established and not flags & 2
            return "connecting"
        if not payload:
            return "tcp ack"
        kind = payload[0]
        if kind != 23:
            return "connecting"
        length = int.from_bytes(payload[3:5], "big") + 5
        plain = {length - overhead for overhead in _RECORD_OVERHEAD}
        if not self._established:
            # CONNECT, CONNACK, SUBSCRIBE, SUBACK; then the birth is the first long one.
            if from_broker or length < 200:
                return "connecting"
            self._established = True
            return "birth and state"
        if 2 in plain:
            return "ping"
        if from_broker:
            return "puback" if 4 in plain else "ack"
        return "report" if length > 200 else "birth and state"
