"""Bandwidth rules: numbers, and where Lepski's ladder stops."""

import numpy as np
import pytest

from causalweights.ustatistics._bandwidth import (
    Rung,
    lepski,
    lepski_ladder,
    rule_bandwidth,
)

IMAGES = np.zeros((3, 2))


def test_rules():
    assert rule_bandwidth("default", 400, IMAGES, IMAGES) == pytest.approx(0.05)
    assert rule_bandwidth("wide", 400, IMAGES, IMAGES) == pytest.approx(0.1)
    assert rule_bandwidth(0.3, 400, IMAGES, IMAGES) == 0.3
    assert rule_bandwidth(lambda U, V: len(U) / 30, 400, IMAGES, IMAGES) == 0.1
    for bad in (lambda U, V: np.nan, lambda U, V: 0.0):
        with pytest.raises(ValueError, match="positive number"):
            rule_bandwidth(bad, 400, IMAGES, IMAGES)


def test_ladder_doubles_below_its_end():
    ladder = lepski_ladder(500, 1)
    assert ladder[0] == pytest.approx(1 / 500)
    assert np.allclose(np.diff(np.log2(ladder)), 1.0)
    assert ladder[-1] < 0.6 <= 2 * ladder[-1]
    assert lepski_ladder(10, 8) == [10 ** (-1 / 8)]


@pytest.mark.parametrize(("jump_at", "size", "steps"), [(3, 1.51, 3), (3, 1.49, 5)])
def test_climbs_until_an_estimate_disagrees_with_a_narrower_one(jump_at, size, steps):
    # Weights of any two rungs differ by one in one row: an SD of 2 for variance 4.
    def fit(h):
        at = int(h)
        received = np.zeros(6)
        received[at] = np.sqrt(0.5)
        return Rung(h, 2 * size if at == jump_at else 0.0, received)

    climbed = lepski([0.0, 1.0, 2.0, 3.0, 4.0], fit, 4.0)
    assert [rung.bandwidth for rung in climbed] == list(range(steps))


def test_disagreement_with_any_narrower_rung_stops():
    # A slow drift: neighbors agree, the first and the third do not.
    received = np.eye(4) * np.sqrt(0.5)
    climbed = lepski([0.0, 1.0, 2.0], lambda h: Rung(h, 0.8 * h, received[int(h)]), 1.0)
    assert len(climbed) == 2
