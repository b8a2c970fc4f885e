"""Fifteen kinds of scene: a painter lays shape over shape, the farthest first, and leaves much to chance."""

from collections.abc import Callable

import numpy as np

from minigrad.data.painting import Canvas, between, dashes, fraction, tiles

PANES = ((0.6, 0.6), (0.6, 1.0), (1.0, 0.6))
"""Width and height of a tower's windows, in their cells: holes, stripes up or stripes across."""

# Props. They stand on `foot`, around `x`, and reach `half` to each side.


def sky(c: Canvas, tone: float) -> None:
    """Fill the picture with sky, and perhaps clouds."""
    c.fill(True, tone + c.pick(-0.3, 0.3) * (c.y - 0.3))
    if c.chance(0.6):
        clouds = c.fractal(3 * c.x, c.pick(5, 9) * c.y)
        c.fill(clouds > c.pick(0.5, 0.65), tone + (0.2 if tone < 0.7 else -0.2))


def room(c: Canvas, wall: float, floor: float) -> float:
    """Fill the picture with walls, floor and ceiling; return the y where the floor begins."""
    level, corner = c.pick(0.55, 0.75), c.pick(-0.3, 0.3)
    bend = c.pick(0.3, 0.8) * np.maximum(corner - c.x, 0)
    c.fill(True, wall + 0.1 * (c.x - 0.5))
    c.fill(c.x < corner, wall + (0.15 if wall < 0.5 else -0.15))
    c.fill(c.y > level + bend, floor + 0.2 * (c.y - level))
    c.fill(c.y < c.pick(-0.1, 0.15) - bend, c.pick(0.3, 1))
    return level


def frame(c: Canvas, x: float, y: float, half: float, high: float, tone: float, inside: float) -> None:
    """Draw a picture, a window or a screen around (x, y), `high` up and down."""
    c.fill(c.box(x, y - high, y + high, half), tone)
    c.fill(c.box(x, y - 0.75 * high, y + 0.75 * high, half - 0.25 * high), inside)


def block(c: Canvas, x: float, top: float, foot: float, half: float, tone: float) -> None:
    """Draw a piece of furniture, lit from above."""
    c.fill(c.box(x, top, foot, half), tone)
    c.fill(c.box(x, top, top + 0.025, half), tone + 0.15)
    c.fill(c.box(x, foot - 0.02, foot, half), tone - 0.2)


def lamp(c: Canvas, x: float, foot: float, height: float, tone: float) -> None:
    """Draw a lamp with a shade."""
    c.fill(c.box(x, foot - height, foot, 0.01), 1 - tone)
    c.fill(c.trapezoid(x, foot - height, foot - height + 0.1, 0.05, 0.1), tone)


def tree(c: Canvas, x: float, foot: float, height: float, tone: float) -> None:
    """Draw a tree with a ragged crown."""
    c.fill(c.box(x, foot - 0.6 * height, foot, 0.05 * height), 0.6 * tone)
    crown = c.disc(x, foot - 0.65 * height, 0.35 * height, 0.4 * height, ragged=0.7)
    c.fill(crown, tone + 0.4 * (c.grit - 0.5))


def car(c: Canvas, x: float, foot: float, half: float) -> None:
    """Draw a car from behind: wheels, roof, rear window and trunk."""
    tone = c.pick(0, 1)
    c.fill(c.box(x, foot - 0.2 * half, foot, 0.9 * half), 0.05)
    c.fill(c.box(x, foot - 1.5 * half, foot - 0.1 * half, 0.7 * half), tone)
    c.fill(c.box(x, foot - 1.4 * half, foot - 0.9 * half, 0.6 * half), 1 - tone)
    c.fill(c.box(x, foot - 0.9 * half, foot - 0.1 * half, half), tone)


def person(c: Canvas, x: float, foot: float, height: float) -> None:
    """Draw somebody standing: head, coat and legs."""
    c.fill(c.disc(x, foot - 0.9 * height, 0.09 * height), c.pick(0.3, 0.9))
    c.fill(c.box(x, foot - 0.8 * height, foot - 0.4 * height, 0.13 * height), c.pick(0, 1))
    c.fill(c.box(x, foot - 0.4 * height, foot, 0.1 * height), c.pick(0, 1))


# Home and work.


def bedroom(c: Canvas) -> None:
    """Paint a bed between two night tables."""
    wall, floor, wood, linen, cover, bright = c.palette(6)
    level = room(c, wall, floor)
    x, half, spread = c.pick(0.35, 0.65), c.pick(0.2, 0.28), c.pick(0.02, 0.15)
    head, foot = level - c.pick(0.05, 0.15), level + c.pick(0.15, 0.3)
    frame(c, x, 0.2, c.pick(0.06, 0.15), c.pick(0.06, 0.12), wood, bright)
    for side in (x - half - 0.1, x + half + 0.1):
        block(c, side, head + 0.02, head + 0.2, 0.08, wood)
        lamp(c, side, head + 0.02, c.pick(0.14, 0.2), bright)
    bed = c.trapezoid(x, head, foot, half, half + spread)
    c.fill(c.box(x, head - c.pick(0.1, 0.25), foot, half), wood)
    c.fill(bed, linen)
    c.fill(bed & (c.y > head + c.pick(0.1, 0.16)), cover)
    c.fill(c.box(x, foot, foot + c.pick(0.1, 0.2), half + spread), cover - 0.15)
    for pillow in (x - half / 2, x + half / 2):
        c.fill(c.disc(pillow, head + 0.02, 0.46 * half, 0.06), linen - 0.2)
        c.fill(c.disc(pillow, head + 0.01, 0.4 * half, 0.05), linen + 0.2)


def kitchen(c: Canvas) -> None:
    """Paint cabinets above and below a worktop, and a stove under its hood."""
    wall, floor, wood, worktop, steel, dark = c.palette(6)
    counter = room(c, wall, floor) - c.pick(0, 0.1)
    hung, foot = c.pick(0.2, 0.32), counter + c.pick(0.3, 0.4)
    doors = c.x * c.pick(4.5, 7.5) + c.pick(0, 1)
    c.fill(between(c.y, hung, counter) & tiles(16 * c.x, 16 * c.y, 0.85, 0.85), wall + 0.1)
    for top, bottom, knob in (-0.1, hung, hung - 0.06), (counter, foot, counter + 0.08):
        c.fill(between(c.y, top, bottom), wood - 0.25)
        c.fill(between(c.y, top + 0.02, bottom - 0.02) & dashes(doors, 0.88), wood)
        c.fill(between(c.y, knob - 0.025, knob + 0.025) & dashes(doors + 0.3, 0.12), dark)
    c.fill(between(c.y, counter - 0.04, counter), worktop)
    for _ in range(c.count(1, 4)):
        c.fill(c.box(c.pick(0, 1), counter - c.pick(0.08, 0.18), counter - 0.04, c.pick(0.015, 0.05)), c.pick(0, 1))
    x = c.pick(0.2, 0.8)
    block(c, x, counter - 0.03, foot, 0.13, steel)
    c.fill(c.box(x, counter + 0.02, counter + 0.05, 0.11) & dashes(20 * c.x), dark)
    c.fill(c.box(x, counter + 0.1, foot - 0.08, 0.1), dark)
    c.fill(c.box(x, 0, hung - 0.1, 0.1), steel)
    c.fill(c.trapezoid(x, hung - 0.1, hung + 0.06, 0.1, 0.16), steel)


def living_room(c: Canvas) -> None:
    """Paint a sofa behind a table, a lamp, pictures and perhaps a window."""
    wall, floor, sofa, wood, bright, rug = c.palette(6)
    level = room(c, wall, floor)
    for _ in range(c.count(1, 3)):
        frame(c, c.pick(0.05, 0.95), c.pick(0.15, 0.3), c.pick(0.05, 0.12), c.pick(0.05, 0.1), wood, c.pick(0, 1))
    if c.chance(0.5):
        x = c.pick(0.25, 0.75)
        frame(c, x, 0.28, 0.15, 0.16, wood, bright)
        c.fill(c.box(x, 0.08, 0.5, 0.2) & (abs(c.x - x) > 0.12), rug + 0.15 * dashes(30 * c.x))
    c.fill(c.disc(c.pick(0.4, 0.6), level + 0.28, c.pick(0.35, 0.5), c.pick(0.06, 0.1)), rug)
    lamp(c, c.pick(0, 1), level + 0.1, c.pick(0.4, 0.55), bright)
    x, half, seat = c.pick(0.35, 0.65), c.pick(0.28, 0.38), level + c.pick(0, 0.08)
    block(c, x, seat - 0.2, seat + 0.12, half, sofa)
    cushions = c.box(x, seat - 0.18, seat + 0.05, half) & dashes(c.count(2, 3) * (c.x - x + half) / (2 * half), 0.92)
    c.fill(cushions, sofa + 0.08)
    c.fill(cushions & (c.y > seat), sofa + 0.2)
    for arm in (x - half, x + half):
        block(c, arm, seat - 0.08, seat + 0.14, 0.05, sofa)
        c.fill(c.disc(arm, seat - 0.08, 0.06, 0.04), sofa + 0.15)
    for _ in range(c.count(0, 3)):
        c.fill(c.disc(x + c.pick(-0.7, 0.7) * half, seat - 0.05, 0.06), c.pick(0, 1))
    table, top = x + c.pick(-0.15, 0.15), seat + c.pick(0.2, 0.28)
    c.fill(c.box(table, top, top + 0.12, 0.16) & (abs(c.x - table) > 0.13), wood - 0.1)
    c.fill(c.disc(table, top, 0.22, c.pick(0.03, 0.06)), wood)


def office(c: Canvas) -> None:
    """Paint screens on a long desk, a chair before it, binders and blinds behind it."""
    wall, floor, desk, screen, metal, paper = c.palette(6)
    level = room(c, wall, floor)
    if c.chance(0.6):
        c.fill(c.box(c.pick(0.2, 0.8), 0.1, 0.45, 0.22), paper - 0.35 * dashes(24 * c.y, 0.4))
    shelf = c.box(c.pick(0.2, 0.8), 0.05, level - 0.1, 0.18)
    c.fill(shelf, desk - 0.2)
    c.fill(shelf & dashes(6 * c.y, 0.75), c.mosaic(40 * c.x, 6 * c.y))
    top, screens = level + c.pick(0, 0.08), c.count(1, 3)
    c.fill(c.trapezoid(0.5, top, top + 0.12, 0.6, 0.8), desk)
    c.fill(between(c.y, top + 0.12, top + 0.16), desk - 0.2)
    for k in range(screens):
        x, half, high = (k + c.pick(0.3, 0.7)) / screens, c.pick(0.11, 0.15), c.pick(0.09, 0.12)
        c.fill(c.box(x, top - 0.05, top + 0.04, 0.03), metal)
        frame(c, x, top - 0.03 - high, half, high, metal, screen)
        c.fill(c.box(x, top + 0.06, top + 0.1, 0.09), paper)
    x, seat = c.pick(0.1, 0.9), top + c.pick(0.14, 0.24)
    c.fill(c.box(x, seat, 1, 0.015), metal)
    c.fill(c.disc(x, seat, 0.13, 0.05), metal - 0.1)
    c.fill(c.trapezoid(x, seat - 0.25, seat - 0.05, 0.08, 0.11), metal - 0.2)


def store(c: Canvas) -> None:
    """Paint shelves full of goods, along an aisle or across the picture."""
    wall, floor, board, light = c.palette(4)
    c.fill(True, wall)
    if c.chance(0.6):
        horizon, vanishing = c.pick(0.35, 0.5), c.pick(0.25, 0.75)
        sideways, ahead = c.ground(horizon, vanishing)
        c.fill(tiles(2 * sideways, 2 * ahead), light)
        c.fill(c.y > horizon, floor)
        along, down = c.walls(horizon, vanishing)
        shelves = between(down, -c.pick(0.6, 1), c.pick(0.8, 1.1)) & (along < c.pick(8, 30))
    else:
        c.fill(c.y > 0.8, floor)
        along, down = c.x * c.pick(1.5, 2.5), c.y * c.pick(1.5, 2.5)
        shelves = between(c.y, c.pick(-0.1, 0.2), c.pick(0.75, 0.95))
    along, down = along * c.pick(5, 8), down * c.pick(3, 5)
    c.fill(shelves, board)
    c.fill(shelves & tiles(along, down, 0.85, 0.78), c.mosaic(along, down))
    for _ in range(c.count(0, 2)):
        person(c, c.pick(0.1, 0.9), c.pick(0.8, 0.95), c.pick(0.3, 0.5))


# Town.


def industrial(c: Canvas) -> None:
    """Paint smoking chimneys, halls with saw-tooth roofs, and tanks."""
    day, earth, brick, metal, glass, smoke = c.palette(6)
    sky(c, day)
    base = c.pick(0.7, 0.88)
    for _ in range(c.count(2, 3)):
        x, top, half, wind = c.pick(0.05, 0.95), c.pick(0.05, 0.35), c.pick(0.02, 0.04), c.pick(-0.06, 0.06)
        for k in range(4):
            c.fill(c.disc(x + wind * k * k, top - 0.06 * k, 0.05 + 0.04 * k, 0.04 + 0.03 * k, ragged=0.6), smoke)
        c.fill(c.trapezoid(x, top, base, half, 1.5 * half), brick + 3 * (c.x - x))
    for _ in range(c.count(1, 3)):
        x, half, roof, teeth = c.pick(0, 1), c.pick(0.15, 0.35), base - c.pick(0.15, 0.35), c.pick(6, 12)
        c.fill(c.box(x, 0, base, half) & (c.y > roof - 0.08 * fraction(teeth * c.x)), c.pick(0, 1))
        c.fill(c.box(x, roof + 0.06, roof + 0.12, half) & dashes(2 * teeth * c.x, 0.7), glass)
    for _ in range(c.count(0, 3)):
        x, top, half = c.pick(0.05, 0.95), base - c.pick(0.12, 0.3), c.pick(0.06, 0.13)
        c.fill(c.box(x, top, base, half), metal + 0.2 - 0.3 * (c.x - x) / half)
        c.fill(c.disc(x, top, half, half / 4), metal + 0.25)
    c.fill(c.y > base, earth + 0.1 * c.grit)


def inside_city(c: Canvas) -> None:
    """Paint a row of house fronts over shops, from across the street."""
    day, pavement, glass, trim = c.palette(4)
    sky(c, day)
    base, x = c.pick(0.78, 0.9), c.pick(-0.1, 0.1)
    while x < 1.2:
        half, roof, stone = c.pick(0.12, 0.3), c.pick(-0.2, 0.35), c.pick(0, 1)
        shop = base - c.pick(0.16, 0.24)
        u, v = c.count(2, 4) * (c.x - x + half) / (2 * half), (c.y - shop) / c.pick(0.13, 0.22)
        front = c.box(x, roof, base, half)
        upstairs = front & between(c.y, roof + 0.04, shop)
        c.fill(front, stone)
        c.fill(upstairs & tiles(u - 0.15, v + 0.3, 0.7, 0.8), trim)
        c.fill(upstairs & tiles(u - 0.25, v + 0.2, 0.5, 0.6), glass)
        c.fill(front & (c.y > shop + 0.05) & dashes(2 * u, 0.85), c.pick(0, 1))
        c.fill(c.box(x, shop, shop + 0.06, half), trim + 0.3 * dashes(20 * c.x))
        x += half + 0.2
    c.fill(c.y > base, pavement)
    for _ in range(c.count(0, 3)):
        person(c, c.pick(0, 1), base + c.pick(0.02, 0.1), c.pick(0.18, 0.28))
    if c.chance(0.4):
        car(c, c.pick(0.1, 0.9), base + 0.08, c.pick(0.1, 0.15))


def street(c: Canvas) -> None:
    """Paint a road between houses, down to the vanishing point."""
    day, road, stone, glass, kerb, line = c.palette(6)
    sky(c, day)
    horizon, vanishing = c.pick(0.45, 0.65), c.pick(0.3, 0.7)
    along, down = c.walls(horizon, vanishing)
    house, side = along * c.pick(0.4, 0.9), np.sign(c.x - vanishing)
    fronts = down > -0.6 - 1.4 * c.mosaic(house, side)
    c.fill(fronts, stone + 0.4 * (c.mosaic(house, side) - 0.5))
    c.fill(fronts & tiles(along * c.pick(2, 3), down * c.pick(3, 5), 0.5, 0.55), glass)
    sideways, ahead = c.ground(horizon, vanishing)
    near = c.y > horizon
    c.fill(near & (abs(sideways) < 1), kerb)
    c.fill(near & (abs(sideways) < 0.7), road)
    c.fill(near & (abs(sideways) < 0.03) & dashes(1.5 * ahead), line)
    for k in range(c.count(2, 4)):
        close = 0.05 + 0.1 * (k + 1) * c.pick(0.5, 1)
        car(c, vanishing + (0.5 if c.chance(0.5) else -0.5) * close, horizon + close, 0.28 * close)
    for _ in range(c.count(0, 2)):
        person(c, vanishing + c.pick(-0.4, 0.4), horizon + 0.3, 0.25)


def suburb(c: Canvas) -> None:
    """Paint a house with a gable on its lawn, and trees around it."""
    day, lawn, wall, roof, glass, leaf = c.palette(6)
    sky(c, day)
    base, x, half = c.pick(0.65, 0.78), c.pick(0.35, 0.65), c.pick(0.22, 0.32)
    eaves = base - c.pick(0.2, 0.28)
    for _ in range(c.count(0, 3)):
        tree(c, c.pick(0, 1), base, c.pick(0.4, 0.7), leaf)
    c.fill(c.y > base, lawn + 0.15 * (c.grit - 0.5))
    c.fill(c.box(x, eaves, base, half), wall - 0.06 * dashes(30 * c.y))
    c.fill(c.trapezoid(x, eaves - c.pick(0.12, 0.25), eaves, half - c.pick(0, 0.2), half + 0.05), roof)
    gable, wing = x + c.pick(-0.6, 0.6) * half, c.pick(0.1, 0.16)
    c.fill(c.box(gable, eaves - 0.02, base + 0.02, wing), wall + 0.1)
    c.fill(c.trapezoid(gable, eaves - 1.2 * wing, eaves, 0, wing + 0.04), roof - 0.15)
    c.fill(c.trapezoid(gable, eaves - 0.8 * wing, eaves, 0, wing - 0.02), wall + 0.1)
    for hole in (gable, x - half + 0.08, x + half - 0.08):
        frame(c, hole, eaves + 0.09, 0.06, 0.05, wall + 0.3, glass)
    door = x + c.pick(-0.6, 0.6) * half
    c.fill(c.box(door, base - 0.15, base, 0.03), roof)
    if c.chance(0.6):
        c.fill(c.trapezoid(door, base, 1, 0.05, 0.15), c.pick(0, 1))
    if c.chance(0.7):
        tree(c, c.pick(0, 1), base + c.pick(0.05, 0.15), c.pick(0.35, 0.6), leaf)


def tall_building(c: Canvas) -> None:
    """Paint towers seen from below, two sides of each."""
    sky(c, c.pick(0.1, 0.9))
    towers = c.count(1, 3)
    for k in range(towers):
        sunny, shady, glass = c.palette(3)
        apex, top = c.pick(-2.5, -0.6), c.pick(0, 0.35)
        away = (c.y - apex) / (top - apex)
        u, left = (c.x - 0.5) / away, (k + c.pick(0.2, 0.5)) / towers - 0.5
        right = left + c.pick(0.2, 0.4)
        edge, floors, (width, height) = c.pick(left + 0.05, right), c.pick(25, 45), PANES[c.count(0, 2)]
        front, flank = between(u, left, edge), between(u, edge, right)
        for side, tone, slant in (front, sunny, c.pick(-0.3, 0.3)), (flank, shady, c.pick(0.3, 0.8)):
            storey = (1 + slant * (u - edge)) / away
            face = side & (storey < 1)
            c.fill(face, tone)
            c.fill(face & tiles(u * c.pick(20, 32), floors * storey, width, height), glass)


# Open land.


def coast(c: Canvas) -> None:
    """Paint the sea under a low sun, with a cliff, a beach or a sail."""
    day, sea, foam, sand = c.palette(4)
    sky(c, day)
    horizon, sun = c.pick(0.25, 0.6), c.pick(0.1, 0.9)
    waves = c.noise(c.pick(3, 6) * c.x, c.pick(25, 45) * c.y)
    if c.chance(0.7):
        c.fill(c.disc(sun, horizon - c.pick(0, 0.2), c.pick(0.05, 0.1)), foam)
    c.fill(c.y > horizon, sea + 0.6 * (waves - 0.5))
    c.fill((waves > 0.5) & (abs(c.x - sun) < 0.05 + 0.2 * (c.y - horizon)) & (c.y > horizon), foam)
    if c.chance(0.4):
        x = c.pick(0.2, 0.8)
        cliff = horizon - c.pick(0.3, 1) * (c.x - x) * (0.6 + 0.6 * c.ridge(6))
        c.fill((c.x > x) & (c.y > cliff) & (c.y < horizon + 0.03), 1 - day + 0.2 * c.grit)
    if c.chance(0.5):
        shore = c.pick(0.75, 0.95) - c.pick(-0.5, 0.5) * (c.x - 0.5) + 0.1 * c.ridge(3)
        c.fill(c.y > shore - 0.03, foam)
        c.fill(c.y > shore, sand + 0.1 * c.grit)
    else:
        x, foot = c.pick(0.2, 0.8), horizon + c.pick(0.03, 0.2)
        c.fill(c.trapezoid(x, foot - 0.3, foot - 0.05, 0, 0.13) & (c.x > x), foam)
        c.fill(c.trapezoid(x, foot - 0.04, foot, 0.15, 0.1), sand)


def forest(c: Canvas) -> None:
    """Paint trunks before foliage, with light between the leaves."""
    light, leaf, bark, soil = c.palette(4)
    foliage, base = c.fractal(9 * c.x, 9 * c.y), c.pick(0.65, 0.9)
    c.fill(True, leaf + 0.6 * (foliage - 0.5))
    c.fill(c.noise(16 * c.x, 16 * c.y) > c.pick(0.65, 0.8), light)
    c.fill(c.y > base + 0.1 * (c.ridge(4) - 0.5), soil + 0.4 * (c.noise(20 * c.x, 40 * c.y) - 0.5))
    for _ in range(c.count(5, 12)):
        x, half = c.pick(-0.05, 1.05) + c.pick(-0.1, 0.1) * c.y, c.pick(0.015, 0.045)
        c.fill((abs(c.x - x) < half) & (c.y < base + 3 * half), bark + 3 * (half + c.x - x))
    c.fill(c.y < c.pick(0, 0.35) + 0.3 * (foliage - 0.5), leaf + 0.8 * (c.grit - 0.5))


def highway(c: Canvas) -> None:
    """Paint lanes that run to the horizon, with cars, perhaps a rail or a sign."""
    day, field, road, line, metal = c.palette(5)
    sky(c, day)
    horizon, vanishing = c.pick(0.35, 0.6), c.pick(0.25, 0.75)
    c.fill(c.y > horizon - c.pick(0, 0.2) * c.ridge(3), c.pick(0, 1))
    c.fill(c.y > horizon, field + 0.2 * (c.noise(10 * c.x, 30 * c.y) - 0.5))
    left, lane, lanes = c.pick(-1.5, -0.5), c.pick(0.4, 0.7), c.count(2, 4)
    sideways, ahead = c.ground(horizon, vanishing)
    across = (sideways - left) / lane
    tarmac = (c.y > horizon) & between(across, -0.2, lanes + 0.2)
    c.fill(tarmac, road)
    broken = dashes(ahead * c.pick(1, 2)) | ~between(across, 0.5, lanes - 0.5)
    c.fill(tarmac & broken & dashes(across + 0.06, 0.12), line)
    if c.chance(0.6):
        _, down = c.walls(horizon, vanishing)
        c.fill((c.x > vanishing) & between(down * (left + lane * lanes + 0.3), 0.62, 0.8), metal)
    if c.chance(0.4):
        frame(c, vanishing, horizon - c.pick(0.1, 0.25), 0.15, 0.06, metal, line)
    for k in range(c.count(2, 5)):
        close = 0.06 + 0.1 * (k + 1) * c.pick(0, 1)
        car(c, vanishing + (left + (c.count(1, lanes) - 0.5) * lane) * close, horizon + close, 0.4 * lane * close)


def mountain(c: Canvas) -> None:
    """Paint peaks before peaks, each with a sunny and a shady side, perhaps with snow."""
    day, snow, *rocks = c.palette(5)
    sky(c, day)
    crags, snowline = c.fractal(8 * c.x, 8 * c.y), c.pick(0, 0.4)
    for k in range(c.count(3, 5)):
        x, top = c.pick(0, 1), 0.02 + 0.1 * k + c.pick(0, 0.15)
        face = c.y > top + c.pick(0.5, 1.3) * abs(c.x - x) + 0.12 * c.ridge(6)
        shade = c.x > x + 0.2 * (c.noise(0 * c.x, 6 * c.y) - 0.5)
        relief = 0.4 * (crags - 0.5) - 0.2 * shade
        c.fill(face, rocks[k % 3] + relief)
        c.fill(face & (c.y < snowline + 0.3 * crags), snow + relief)


def open_country(c: Canvas) -> None:
    """Paint fields under a wide sky, with furrows, trees and bales of hay."""
    day, grass, far, leaf = c.palette(4)
    sky(c, day)
    horizon = c.pick(0.4, 0.7)
    c.fill(c.y > horizon - c.pick(0.03, 0.12) * c.ridge(2), far)
    c.fill(c.y > horizon, grass + 0.3 * (c.grit - 0.5))
    if c.chance(0.5):
        furrows, _ = c.ground(horizon - 0.02, c.pick(-0.5, 1.5))
        c.fill((c.y > horizon + 0.02) & dashes(furrows * c.pick(1.5, 3)), grass - 0.1)
    for _ in range(c.count(2, 7)):
        close = c.pick(0, 1) * c.pick(0, 1)
        tree(c, c.pick(0, 1), horizon + 0.01 + 0.2 * close, 0.1 + 0.25 * close, leaf)
    for _ in range(c.count(-4, 6)):  # in about half the pictures none
        close = c.pick(0.1, 0.9)
        c.fill(c.disc(c.pick(0, 1), horizon + 0.35 * close, 0.01 + 0.06 * close, 0.01 + 0.04 * close), far)


SCENES: dict[str, Callable[[Canvas], None]] = {
    "Bedroom": bedroom,
    "Coast": coast,
    "Forest": forest,
    "Highway": highway,
    "Industrial": industrial,
    "InsideCity": inside_city,
    "Kitchen": kitchen,
    "LivingRoom": living_room,
    "Mountain": mountain,
    "Office": office,
    "OpenCountry": open_country,
    "Store": store,
    "Street": street,
    "Suburb": suburb,
    "TallBuilding": tall_building,
}
