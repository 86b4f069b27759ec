"""Which moments of a clip are used."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recon.capture.clip import choose_moments
from recon.capture.errors import CaptureError

CLIP = Path("clip.mp4")


def test_all_frames_of_a_moment_belong_together():
    times = [0.0, 0.5, 0.0, 1.0, 0.5, 0.00001]
    assert choose_moments(times, 9, None, CLIP) == [[0, 2, 5], [1, 4], [3]]


def test_moments_are_evenly_spaced_in_time_whatever_the_rate():
    times = [*(0.01 * i for i in range(100)), *(1 + 0.1 * i for i in range(11))]
    chosen = [times[moment[0]] for moment in choose_moments(times, 5, None, CLIP)]
    assert chosen == pytest.approx([0, 0.5, 1.0, 1.5, 2.0])


def test_a_part_can_be_cut_out():
    times = [i / 10 for i in range(30)]
    chosen = [times[moment[0]] for moment in choose_moments(times, 50, (0.5, 1.0), CLIP)]
    assert chosen == pytest.approx([0.5, 0.6, 0.7, 0.8, 0.9, 1.0])


@given(st.lists(st.floats(0, 100), min_size=2, max_size=60), st.integers(2, 20))
def test_never_more_than_asked_and_always_rising(times, count):
    try:
        moments = choose_moments(times, count, None, CLIP)
    except CaptureError:
        assert max(times) - min(times) <= 1e-2
        return
    begins = [times[moment[0]] for moment in moments]
    assert 2 <= len(moments) <= count
    assert begins == sorted(set(begins))


@pytest.mark.parametrize("within", [None, (5.0, 6.0)])
def test_what_stands_still_is_no_clip(within):
    with pytest.raises(CaptureError, match="at least two"):
        choose_moments([1.0, 1.0, 1.0], 5, within, CLIP)
