"""The training record, as a model file gives it back."""

from __future__ import annotations

import numpy as np
import pytest

from partscope.linear.record import TrainingRecord


def record(images: int = 4, held: int = 2, width: int = 3) -> TrainingRecord:
    rng = np.random.default_rng(0)
    return TrainingRecord(
        tuple(f"{i}.png" for i in range(images)),
        rng.uniform(0, 50, (images, 5, 2)),
        np.ones((images, 5), dtype=np.bool_),
        np.full((images, 2), 60.0),
        np.full((images, 4), np.nan),
        np.arange(images) < held,
        rng.standard_normal((held, 5, 6, 7)).astype(np.float16),
        rng.standard_normal((held, 5, width)).astype(np.float16),
    )


def test_a_record_is_stored_to_the_last_bit() -> None:
    whole = record()
    again = TrainingRecord.from_arrays(whole.ids, whole.to_arrays())
    for name, array in whole.to_arrays().items():
        np.testing.assert_array_equal(again.to_arrays()[name], array, err_msg=name)


@pytest.mark.parametrize("name", ["points", "visible", "sizes", "boxes", "held", "evidence", "features"])
def test_a_stored_record_that_contradicts_itself_is_refused(name: str) -> None:
    arrays = record().to_arrays()
    for damaged in (arrays[name][:-1], arrays[name].reshape(1, -1)):
        with pytest.raises((ValueError, IndexError)):
            TrainingRecord.from_arrays(record().ids, {**arrays, name: damaged})


def test_flags_that_are_numbers_sizes_of_nothing_and_endless_evidence_are_refused() -> None:
    whole = record()
    arrays = whole.to_arrays()
    endless = np.full_like(whole.evidence, np.inf).view(np.int16)
    for name, damaged in (
        ("held", arrays["held"].astype(np.int64)),
        ("visible", arrays["visible"].astype(np.float64)),
        ("sizes", np.zeros((4, 2))),
        ("sizes", np.full((4, 2), np.nan)),
        ("evidence", endless),
    ):
        with pytest.raises(ValueError, match="of the training record"):
            TrainingRecord.from_arrays(whole.ids, {**arrays, name: damaged})
