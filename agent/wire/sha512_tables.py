"""Constants of SHA-512, needed once: sha512.py keeps them in a form of its own.

They are computed from their definition, which takes half of their bytes."""


def _fraction(n, degree):
    """The first 64 bits after the point of the root of n, little-endian; by Newton's method."""
    n <<= 64 * degree
    root = 8 << 64  # more than any of them
    while True:
        nearer = ((degree - 1) * root + n // root ** (degree - 1)) // degree
        if nearer >= root:
            return (root & (1 << 64) - 1).to_bytes(8, "little")
        root = nearer


def _table():
    """The initial hash value, square roots of the first 8 primes (FIPS 180-4, 5.3.5), then the
    round constants, cube roots of the first 80 (4.2.3)."""
    table = bytearray(704)
    primes = []
    n = 2
    while len(primes) < 80:
        if all([n % prime for prime in primes]):
            at = 8 * len(primes)
            if at < 64:
                table[at : at + 8] = _fraction(n, 2)
            table[at + 64 : at + 72] = _fraction(n, 3)
            primes.append(n)
        n += 1
    return table


TABLE = _table()
