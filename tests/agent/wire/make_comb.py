"""Print agent/wire/comb.py, computed from RFC 8032's base point alone.

The table serves a signed comb with five teeth (bits i, i + 52, ..., i + 208 of a 260-bit scalar,
each standing for +1 or -1) in two halves of 26 columns. Entry j of half t is

    2^(26 t) * (2^208 + s3 2^156 + s2 2^104 + s1 2^52 + s0) B

with s_k = +1 if bit k of j is set, else -1, and is kept as its affine coordinates x and y, 32
bytes each, little-endian. A test compares the agent's file with this.

Why this one: with these 2 KB a signature of a 400-byte message takes 3.3 ms on a desktop's
MicroPython. 1 KB (one half of 52 columns) would take about 3.6 ms, 3 KB (y + x, y - x and 2 d x y
instead, for mixed additions) 3.05 ms; SHA-512 takes 1.85 ms of it anyway.
"""

P = 2**255 - 19
D = -121665 * pow(121666, -1, P) % P
BASE_Y = 4 * pow(5, -1, P) % P
TEETH = 5
SPACING = 52
COLUMNS = 26


def base_x():
    """The even square root of (y^2 - 1) / (d y^2 + 1)."""
    square = (BASE_Y**2 - 1) * pow(D * BASE_Y**2 + 1, -1, P) % P
    x = pow(square, (P + 3) // 8, P)
    if x * x % P != square:
        x = x * pow(2, (P - 1) // 4, P) % P
    return P - x if x & 1 else x


BASE = (base_x(), BASE_Y)


def add(a, b):
    """The sum of two affine points (RFC 8032, 5.1.4, before projective coordinates)."""
    (x1, y1), (x2, y2) = a, b
    k = D * x1 * x2 * y1 * y2 % P
    x = (x1 * y2 + x2 * y1) * pow(1 + k, -1, P) % P
    y = (y1 * y2 + x1 * x2) * pow(1 - k, -1, P) % P
    return x, y


def negate(point):
    return -point[0] % P, point[1]


def doubled(point, times):
    for _ in range(times):
        point = add(point, point)
    return point


def table():
    """2048 bytes: 2 halves of 16 entries of 2 field elements."""
    out = b""
    for half in range(2):
        teeth = [doubled(BASE, SPACING * k + COLUMNS * half) for k in range(TEETH)]
        for j in range(16):
            point = teeth[4]
            for k in range(4):
                point = add(point, teeth[k] if j >> k & 1 else negate(teeth[k]))
            for value in point:
                out += value.to_bytes(32, "little")
    return out


def literal(data, name, width=22):
    """`data` as the source of a bytes constant, `width` bytes to a line."""
    lines = [f"{name} = ("]
    for i in range(0, len(data), width):
        lines.append('    b"' + "".join(f"\\x{b:02x}" for b in data[i : i + width]) + '"')
    return "\n".join(lines) + "\n)"


def source():
    """The whole file."""
    return f'''"""Multiples of Ed25519's base point B for a comb. Made by make_comb.py.

Entry j of half t is 2^({COLUMNS} t) (2^208 + s3 2^156 + s2 2^104 + s1 2^52 + s0) B, where s_k
is +1 if bit k of j is set, else -1; as x and y, 32 bytes each, little-endian.
"""

TEETH = {TEETH}
COLUMNS = {COLUMNS}  # of each half
{literal(table(), "TABLE")}
'''


if __name__ == "__main__":
    print(source(), end="")
