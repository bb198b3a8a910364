"""The constants of SHA-512 from their definition in FIPS 180-4, not by the agent's own method.

K are the first 64 bits of the fractional parts of the cube roots of the first 80 primes (4.2.3),
the initial hash value those of the square roots of the first eight (5.3.5). Little-endian words.
"""

MASK = 2**64 - 1


def primes(count):
    found = []
    n = 2
    while len(found) < count:
        if all(n % p for p in found):
            found.append(n)
        n += 1
    return found


def root(n, degree):
    """The largest integer whose `degree`-th power is at most n."""
    low, high = 0, 1 << (n.bit_length() // degree + 1)
    while high - low > 1:
        middle = (low + high) // 2
        if middle**degree <= n:
            low = middle
        else:
            high = middle
    return low


def round_constants():
    """640 bytes: 80 words, little-endian."""
    return b"".join((root(p << 192, 3) & MASK).to_bytes(8, "little") for p in primes(80))


def initial_value():
    """64 bytes: 8 words, little-endian."""
    return b"".join((root(p << 128, 2) & MASK).to_bytes(8, "little") for p in primes(8))


def table():
    """The initial hash value, then the round constants."""
    return initial_value() + round_constants()
