"""Prints the tides of the next days from a table of measured ones."""
import csv
import math
from dataclasses import dataclass
from pathlib import Path

PERIOD_H = 12.42


@dataclass
class Tide:
    hour: float
    metres: float


def load(path: Path) -> list[Tide]:
    with path.open(newline="") as f:
        return [Tide(float(r["hour"]), float(r["metres"])) for r in csv.DictReader(f)]


def fit(tides: list[Tide]) -> tuple[float, float, float]:
    """Mean, amplitude and phase of one wave through the measured points."""
    mean = sum(t.metres for t in tides) / len(tides)
    turn = 2 * math.pi / PERIOD_H
    s = sum((t.metres - mean) * math.sin(turn * t.hour) for t in tides) * 2 / len(tides)
    c = sum((t.metres - mean) * math.cos(turn * t.hour) for t in tides) * 2 / len(tides)
    return mean, math.hypot(s, c), math.atan2(c, s)


def main() -> None:
    mean, amplitude, phase = fit(load(Path(__file__).parent / "data" / "tides.csv"))
    for hour in range(0, 48, 3):
        metres = mean + amplitude * math.sin(2 * math.pi / PERIOD_H * hour + phase)
        print(f"{hour:3d} h  {metres:5.2f} m  {'~' * round(metres * 10)}")


if __name__ == "__main__":
    main()
