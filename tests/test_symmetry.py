"""Left and right parts, told by their names."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cub_parts import CUB_PARTS
from partscope.errors import OptionError
from partscope.symmetry import mirrored_parts


def test_cub() -> None:
    mirror = mirrored_parts(CUB_PARTS)
    swapped = {CUB_PARTS[i]: CUB_PARTS[j] for i, j in enumerate(mirror) if i != j}
    assert swapped == {
        "left eye": "right eye",
        "left leg": "right leg",
        "left wing": "right wing",
        "right eye": "left eye",
        "right leg": "left leg",
        "right wing": "left wing",
    }


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("left ear", "right ear"),
        ("leftear", "rightear"),
        ("ear_l", "ear_r"),
        ("L_Ear", "R_Ear"),
        ("LeftEar", "RightEar"),
        ("earL", "earR"),
        ("ear-left", "ear-right"),
        ("earleft", "earright"),
        ("LEFT_EAR", "RIGHT_EAR"),
        ("front left paw", "front right paw"),
        ("left_eye_inner", "right_eye_inner"),
        ("left", "right"),
        ("L", "R"),
        ("l ear", "right ear"),
        ("oreille (left)", "oreille (right)"),
    ],
)
def test_ways_to_name_sides(left: str, right: str) -> None:
    assert mirrored_parts(["nose", right, "tail", left]).tolist() == [0, 3, 2, 1]


@pytest.mark.parametrize(
    "names",
    [
        ["left ear", "ear"],
        ["left ear", "right eye"],
        ["left ear", "left eye"],
        ["tail", "leg", "crown"],
        ["bright spot", "spot"],
        ["lear", "rear"],
    ],
)
def test_parts_without_a_partner_stay(names: list[str]) -> None:
    assert mirrored_parts(names).tolist() == list(range(len(names)))


def test_names_that_leave_the_partner_open_are_not_paired() -> None:
    assert mirrored_parts(["left ear", "left_ear", "right ear", "left eye", "right eye"]).tolist() == [
        0,
        1,
        2,
        4,
        3,
    ]


words = st.sampled_from(
    ["left", "right", "l", "r", "ear", "eye", "Left", "R", "leftear", "rightEye", "_", " ", "ü"]
)


@given(names=st.lists(st.lists(words, min_size=1, max_size=4).map("".join), max_size=12, unique=True))
def test_mirroring_twice_changes_nothing(names: list[str]) -> None:
    mirror = mirrored_parts(names)
    np.testing.assert_array_equal(mirror[mirror], np.arange(len(names)))


@given(names=st.permutations(CUB_PARTS))
def test_the_order_of_the_parts_does_not_matter(names: list[str]) -> None:
    partner = {CUB_PARTS[i]: CUB_PARTS[j] for i, j in enumerate(mirrored_parts(CUB_PARTS))}
    assert [names[j] for j in mirrored_parts(names)] == [partner[name] for name in names]


def test_given_pairs_replace_the_names() -> None:
    parts = ["left eye", "right eye", "fin a", "fin b"]
    assert mirrored_parts(parts, [("fin b", "fin a")]).tolist() == [0, 1, 3, 2]
    assert mirrored_parts(parts, []).tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("pairs", "match"),
    [
        ([("fin a", "fin c")], "unknown part 'fin c'; nearest parts: 'fin "),
        ([("fin a", "fin a")], "'fin a' stands in more than one"),
        ([("fin a", "fin b"), ("fin b", "nose")], "'fin b' stands in more than one"),
    ],
)
def test_pairs_that_do_not_fit(pairs: list[tuple[str, str]], match: str) -> None:
    with pytest.raises(OptionError, match=match):
        mirrored_parts(["fin a", "fin b", "nose"], pairs)
