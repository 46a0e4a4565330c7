"""What checks of whole programs share: made pictures, and how they tell what they found."""

import random
import sys

SIDE, CLASSES = 16, 4


def write(folder, **splits):
    """Pictures with a bright bar at the class's columns, so many of each split."""
    dice = random.Random(5)
    for split, count in splits.items():
        for n in range(count):
            label = n % CLASSES
            bright = range(label * 4, label * 4 + 4)
            pixels = bytes(dice.randrange(90) + (150 if at // 3 % SIDE in bright else 0)
                           for at in range(3 * SIDE * SIDE))
            place = folder / split / f"class{label}"
            place.mkdir(parents=True, exist_ok=True)
            (place / f"{n:03}.ppm").write_bytes(b"P6 %d %d 255\n" % (SIDE, SIDE) + pixels)


def check(condition, text, *shown):
    print(("ok    " if condition else "WRONG ") + text, flush=True)
    if not condition:
        print(*shown, sep="\n")
        sys.exit(1)
