"""Figures: what was measured, and how it stands to its goal."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True)
class Figure:
    """One figure: a value for each pair, of which the median is quoted.

    ``unit`` is "x" for a ratio to a limit or peer that was measured in the same pair. A goal is
    an upper bound, or a lower one with ``more_is_better``. ``basis`` says what stands behind the
    value, such as the two sides of a ratio.
    """

    name: str
    values: Sequence[float]
    unit: str = "x"
    goal: float | None = None
    basis: str = ""
    more_is_better: bool = False

    @property
    def median(self) -> float:
        return median(self.values)

    @property
    def verdict(self) -> str:
        if self.goal is None:
            return ""
        sign = -1 if self.more_is_better else 1
        if sign * self.median <= sign * self.goal:
            return "met"
        if min(sign * value for value in self.values) <= sign * self.goal:
            return "not distinguishable"  # some pairs lie on either side of the goal
        if self.goal == 0:
            return "missed"
        return f"missed by {abs(self.median / self.goal - 1):.0%}"

    def row(self) -> list[str]:
        """Return the cells of the figure's line in a table."""
        spread = f"{shown(min(self.values))}-{shown(max(self.values))}"
        bound = "≥" if self.more_is_better else "≤"
        goal = "" if self.goal is None else f"{bound} {_with_unit(f'{self.goal:g}', self.unit)}"
        value = f"{_with_unit(shown(self.median), self.unit)} ({spread})"
        return [self.name, value, goal, self.verdict, self.basis]


@dataclass(frozen=True)
class NotRun:
    """A figure that could not be measured, and why; an ``optional`` one is not missed."""

    name: str
    reason: str
    optional: bool = False

    def row(self) -> list[str]:
        return [self.name, f"not run: {self.reason}", "", "", ""]


HEADINGS = ["figure", "median (min-max)", "goal", "verdict", "basis"]


def ratio(
    name: str,
    ours: Sequence[float],
    limit: Sequence[float],
    *,
    goal: float | None = None,
    unit: str,
    against: str,
) -> Figure:
    """Make the figure of ours by limit, pair by pair; the sides are in ``unit``."""
    basis = (
        f"{_with_unit(shown(median(ours)), unit)} against {_with_unit(shown(median(limit)), unit)}"
    )
    pairs = [one / other for one, other in zip(ours, limit, strict=True)]
    return Figure(name, pairs, "x", goal, f"{basis}: {against}")


def speedup(
    name: str,
    ours: Sequence[float],
    peer: Sequence[float],
    *,
    goal: float | None = None,
    unit: str,
    against: str,
) -> Figure:
    """Make the figure of how many times faster ours is than the peer, pair by pair."""
    basis = (
        f"{_with_unit(shown(median(ours)), unit)} against {_with_unit(shown(median(peer)), unit)}"
    )
    pairs = [other / one for one, other in zip(ours, peer, strict=True)]
    return Figure(name, pairs, "x", goal, f"{basis}: {against}", more_is_better=True)


def sides(parts: Iterable[tuple[str, Sequence[float]]], unit: str) -> str:
    """Say what a sum consists of: ``receive 0.2 + hash 0.1 ms``."""
    return " + ".join(f"{name} {shown(median(values))}" for name, values in parts) + f" {unit}"


def shown(value: float) -> str:
    """Write a number with about three digits."""
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _with_unit(number: str, unit: str) -> str:
    return f"{number}x" if unit == "x" else f"{number} {unit}"
