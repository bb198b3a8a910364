"""Constants of SHA-512, needed once: sha512.py keeps them in a form of its own.

They are computed from their definition, which takes half of their bytes."""


def _number(n, k):
    """The first 64 bits after the point of the root of n, little-endian; by Newton's method."""
    n <<= 64 * k
    m = 8 << 64  # more than any of them
    while True:
        c = ((k - 1) * m + n // m ** (k - 1)) // k
        if c >= m:
            return (m & (1 << 64) - 1).to_bytes(8, "little")
        m = c


def _table():
    """The initial hash value, square roots of the first 8 primes (FIPS 180-4, 5.3.5), then the
    round constants, cube roots of the first 80 (4.2.3)."""
    table = bytearray(704)
    found = []
    n = 2
    while len(found) < 80:
        if all([n % other for other in found]):
            at = 8 * len(found)
            if at < 64:
                table[at : at + 8] = _number(n, 2)
            table[at + 64 : at + 72] = _number(n, 3)
            found.append(n)
        n += 1
    return table


TABLE = _table()
