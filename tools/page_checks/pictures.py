"""Pictures as browsers and servers read them, made without any package."""

import struct
import zlib


def pixels(width, height, seed):
    """Rows of RGB: a disc on a gradient, another one for each seed."""
    middle, radius = (width * (3 + seed % 5) / 10, height * (7 - seed % 4) / 10), min(
        width, height
    ) / 4
    colour = (37 * seed % 256, 91 * seed % 256, 173 * seed % 256)
    rows = []
    for y in range(height):
        row = bytearray()
        for x in range(width):
            inside = (x - middle[0]) ** 2 + (y - middle[1]) ** 2 < radius**2
            row += bytes(colour if inside else (255 * x // width, 255 * y // height, 128))
        rows.append(bytes(row))
    return rows


def png(width, height, seed=1):
    def chunk(kind, data):
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    packed = zlib.compress(b"".join(b"\0" + row for row in pixels(width, height, seed)))
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", packed) + chunk(b"IEND", b"")
    )


def tiff(width, height, seed=1):
    """One strip, not compressed."""
    data = b"".join(pixels(width, height, seed))
    entries = [
        (256, 3, 1, width),
        (257, 3, 1, height),
        (258, 3, 3, 8),
        (259, 3, 1, 1),
        (262, 3, 1, 2),
        (273, 4, 1, 0),
        (277, 3, 1, 3),
        (278, 3, 1, height),
        (279, 4, 1, len(data)),
    ]
    behind = 8 + 2 + 12 * len(entries) + 4
    found = {258: behind, 273: behind + 6}
    packed = [
        struct.pack("<HHII", tag, kind, n, found.get(tag, value)) for tag, kind, n, value in entries
    ]
    return (
        b"II*\0"
        + struct.pack("<IH", 8, len(entries))
        + b"".join(packed)
        + struct.pack("<I", 0)
        + struct.pack("<HHH", 8, 8, 8)
        + data
    )


def upload(name, data):
    """A file as Playwright gives it to a page."""
    end = name.rsplit(".", 1)[-1].lower()
    kind = {"png": "image/png", "tif": "image/tiff", "txt": "text/plain"}.get(end, "")
    return {"name": name, "mimeType": kind, "buffer": data}
