"""What a command writes never replaces what it reads, and a command that kept nothing does not say that it did."""

from __future__ import annotations

from pathlib import Path

import pytest

import partscope.cli.output
from command_line import model_file, run
from partscope.errors import PartscopeError

Capture = pytest.CaptureFixture[str]


def test_fit_refuses_one_file_for_model_and_json(tiny_cub: Path, tmp_path: Path, capsys: Capture) -> None:
    out = tmp_path / "m"
    for other in (out, tmp_path / "." / "sub" / ".." / "m"):
        (tmp_path / "sub").mkdir(exist_ok=True)
        ran = run(capsys, "fit", tiny_cub, "--method", "prior", "--out", out, "--json", other)
        assert ran.code == 2
        assert "--out" in ran.error
        assert "--json" in ran.error
        assert not out.exists()


def test_evaluate_refuses_to_replace_the_model(tiny_cub: Path, capsys: Capture) -> None:
    model = model_file(tiny_cub, "--method", "prior")
    before = model.read_bytes()
    ran = run(capsys, "evaluate", model, tiny_cub, "--json", model)
    assert ran.code == 2
    assert str(model) in ran.error
    assert model.read_bytes() == before


def test_locate_refuses_to_replace_boxes_and_model(tiny_cub: Path, tmp_path: Path, capsys: Capture) -> None:
    model = model_file(tiny_cub, "--method", "prior", "--region", "box")
    boxes = tmp_path / "boxes.csv"
    text = "image,x,y,width,height\nbird_5.png,1,1,30,20\n"
    boxes.write_text(text)
    image = tiny_cub / "images" / "001.Red" / "bird_5.png"
    ran = run(capsys, "locate", model, image, "--boxes", boxes, "--out", boxes)
    assert ran.code == 2
    assert "--boxes" in ran.error
    assert boxes.read_text() == text
    named = model.rename(tmp_path / "model.json")
    before = named.read_bytes()
    assert run(capsys, "locate", named, image, "--boxes", boxes, "--out", named).code == 2
    assert named.read_bytes() == before


def test_a_hard_or_symbolic_link_is_the_same_file(tiny_cub: Path, tmp_path: Path, capsys: Capture) -> None:
    model = model_file(tiny_cub, "--method", "prior")
    link = tmp_path / "link"
    link.symlink_to(model)
    assert run(capsys, "evaluate", model, tiny_cub, "--json", link).code == 2


def test_an_error_before_anything_was_kept_is_one_line(
    tiny_cub: Path, tmp_path: Path, capsys: Capture
) -> None:
    """'Run the same command again' would be no remedy: it would fail in the same way."""
    model = model_file(tiny_cub, "--method", "prior")
    damaged = next((tiny_cub / "images").rglob("bird_11.png"))
    damaged.write_bytes(damaged.read_bytes()[:200])
    ran = run(capsys, "evaluate", model, tiny_cub)
    assert ran.code == 2
    assert "bird_11.png" in ran.error
    assert ran.err.strip() == ran.error


def test_evaluate_shows_its_table_where_the_json_cannot_be_written(
    tiny_cub: Path, capsys: Capture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = model_file(tiny_cub, "--method", "prior")

    def full(path: object, data: object) -> None:
        raise PartscopeError(f"{path}: the file cannot be written, because the disk is full.")

    monkeypatch.setattr("partscope.atomic.atomic_write", full)
    ran = run(capsys, "evaluate", model, tiny_cub, "--json", tmp_path / "result.json")
    assert ran.code == 2
    assert "the disk is full" in ran.error
    assert "Prior in the image" in ran.out


@pytest.mark.parametrize("json_out", [None, "-"])
def test_only_files_are_compared(json_out: str | None, tmp_path: Path) -> None:
    partscope.cli.output.check_distinct({"--out": tmp_path / "a", "--json": json_out, "--boxes": None})
