"""The application itself: help, version, exit codes, how errors and warnings look."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import typer

import partscope
import partscope.formats
from command_line import run
from partscope.cli.application import app
from partscope.cli.exits import handled, list_failures
from partscope.cli.output import Output, check_writable, json_ready
from partscope.dataset import Skipped
from partscope.errors import PartscopeError, PartscopeWarning

DOCS = Path(__file__).parents[1] / "docs" / "command-line.md"
Capture = pytest.CaptureFixture[str]


#: Makes `partscope` a package without its front door, which loads every network library.
BARE = (
    "import sys, types; package = types.ModuleType('partscope');"
    f"package.__path__ = [{str(Path(partscope.__file__).parent)!r}]; sys.modules['partscope'] = package\n"
)


#: A program of one command that prints half a megabyte, without the libraries that take seconds to load.
LONG_WINDED = (
    f"{BARE}from partscope.cli.exits import handled; from partscope.cli.output import Output; import typer\n"
    "@handled\n"
    "def command():\n"
    "    for _ in range(5000): Output().line('x' * 100)\n"
    "try: command()\n"
    "except typer.Exit as end: sys.exit(end.exit_code)\n"
)


def commands() -> dict[str, typer.core.TyperCommand]:
    """Return the commands by the words that call them."""
    found = {}
    for name, command in typer.main.get_command(app).commands.items():  # type: ignore[attr-defined]
        for inner, one in getattr(command, "commands", {"": command}).items():
            found[f"{name} {inner}".strip()] = one
    return found


def failing(capsys: Capture, error: BaseException) -> tuple[int, str]:
    """Return the exit code and standard error of a command that raises `error`."""

    @handled
    def command() -> None:
        raise error

    with pytest.raises(typer.Exit) as end:
        command()
    return end.value.exit_code, capsys.readouterr().err


def test_commands_are_those_of_the_contract() -> None:
    assert set(commands()) == {
        *(
            "convert",
            "download",
            "serve",
            "demo",
            "synth",
            "backbones",
            "channels",
            "fit",
            "discover",
            "locate",
            "merge",
            "evaluate",
            "explain",
        ),
        *("reproduce table1", "reproduce table2", "classify fit", "classify predict", "classify evaluate"),
    }


@pytest.mark.parametrize("option", ["--help", "-h"])
def test_every_command_has_help(capsys: Capture, option: str) -> None:
    for words in ["", *commands()]:
        ran = run(capsys, *words.split(), option)
        assert ran.code == 0
        assert "Usage:" in ran.out
        assert not ran.err


def test_docs_are_in_line_with_help() -> None:
    """Every command has its section in the docs, which names all its options and no other."""
    sections = dict(re.findall(r"^## ([a-z0-9 ]+)\n(.*?)(?=^## |\Z)", DOCS.read_text("utf-8"), re.M | re.S))
    for words, command in commands().items():
        text = sections[words]
        options = {name for param in command.params for name in param.opts if name.startswith("--")} - {
            "--help"
        }
        named = set(re.findall(r"(?<![\w-])--[A-Za-z][a-z-]*", text))
        assert named == options, words
        for param in command.params:
            if not param.opts[0].startswith("--") and param.metavar:
                assert param.metavar.strip("[].").rstrip(".") in text.replace("…", ""), (words, param.metavar)


def test_version(capsys: Capture) -> None:
    assert run(capsys, "--version") == (0, f"partscope {partscope.__version__}\n", "")


@pytest.mark.parametrize(
    "argv",
    [("fit", "data"), ("locate",), ("nonsense",), ("synth", "x", "--images", "many"), ("fit", "--what")],
)
def test_usage_errors_exit_with_2(capsys: Capture, argv: tuple[str, ...]) -> None:
    ran = run(capsys, *argv)
    assert ran.code == 2
    assert not ran.out
    assert "Error" in ran.err


def test_the_command_line_is_light_to_import() -> None:
    """Help and version load no network library: `import partscope.cli` alone, without the package's front door."""
    script = f"{BARE}import partscope.cli; print(*({{'torch', 'timm', 'sklearn', 'numpy', 'PIL'}} & set(sys.modules)))"
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert ran.stdout.split() == []


# -- errors and warnings ------------------------------------------------------------------------------------------
def test_an_error_is_one_line_and_exits_with_2(capsys: Capture) -> None:
    code, err = failing(capsys, PartscopeError("birds[1].jpg: the first\nand the second line; mend it."))
    assert code == 2
    assert err == "partscope: error: birds[1].jpg: the first and the second line; mend it.\n"


def test_a_fault_asks_for_a_report(capsys: Capture) -> None:
    code, err = failing(capsys, ZeroDivisionError("division by zero"))
    assert code == 70
    assert err.count("\n") == 1
    assert "ZeroDivisionError: division by zero" in err
    assert "report" in err
    assert "--debug" in err


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full on this system")
def test_a_full_disk_behind_standard_output_is_no_fault() -> None:
    with open("/dev/full", "w") as full:
        ran = subprocess.run(
            [sys.executable, "-c", LONG_WINDED], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert ran.returncode == 2
    (line,) = ran.stderr.splitlines()
    assert "disk that the output goes to is full" in line


def test_no_memory_is_said(capsys: Capture) -> None:
    code, err = failing(capsys, MemoryError())
    assert code == 2
    assert "memory" in err


@pytest.mark.parametrize("way", ["option", "variable"])
def test_debug_shows_the_traceback(
    capsys: Capture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    argv = ["fit", str(tmp_path / "none"), "--out", str(tmp_path / "m")]
    if way == "variable":
        monkeypatch.setenv("PARTSCOPE_DEBUG", "1")
    else:
        argv.insert(0, "--debug")
    ran = run(capsys, *argv)
    assert ran.code == 2
    assert "Traceback (most recent call last)" in ran.err
    assert "partscope: error: " in ran.err
    monkeypatch.delenv("PARTSCOPE_DEBUG", raising=False)
    assert "Traceback" not in run(capsys, *argv[-4:]).err


def test_ctrl_c_exits_with_130(capsys: Capture) -> None:
    code, err = failing(capsys, KeyboardInterrupt())
    assert code == 130
    assert err == "partscope: interrupted; run the same command again.\n"


def test_ctrl_c_during_the_imports_exits_with_130(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    """They take a second or more: Ctrl-C just after the command was typed must not end in a traceback."""

    class Interrupting:
        def find_spec(self, name: str, *rest: object) -> None:
            if name == "partscope.cli.application":
                raise KeyboardInterrupt

    monkeypatch.delitem(sys.modules, "partscope.cli.application", raising=False)
    monkeypatch.setattr(sys, "meta_path", [Interrupting(), *sys.meta_path])
    ran = run(capsys, "--version")
    assert ran.code == 130
    assert ran.err == "partscope: interrupted; run the same command again.\n"


def test_ctrl_c_before_a_command_exits_with_130(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*args: object, **options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("partscope.cli.application.app", interrupted)
    assert run(capsys, "--version").code == 130


def test_typers_own_endings_pass(capsys: Capture) -> None:
    @handled
    def command() -> None:
        raise typer.Exit(5)

    with pytest.raises(typer.Exit) as end:
        command()
    assert end.value.exit_code == 5


def test_a_command_may_return_its_code() -> None:
    @handled
    def command(code: int) -> int:
        return code

    command(0)
    with pytest.raises(typer.Exit) as end:
        command(1)
    assert end.value.exit_code == 1


@pytest.mark.skipif(os.name == "nt", reason="pipes end otherwise on Windows")
def test_a_closed_pipe_is_no_error() -> None:
    """`partscope backbones | head -1`: silence, and the code that a shell gives to SIGPIPE."""
    ran = subprocess.Popen(
        [sys.executable, "-c", LONG_WINDED], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert ran.stdout is not None
    ran.stdout.readline()
    ran.stdout.close()
    assert ran.stderr is not None
    assert ran.stderr.read() == ""
    assert ran.wait() == 141


def test_warnings_are_lines_and_come_once(capsys: Capture) -> None:
    @handled
    def command() -> None:
        for _ in range(2):
            warnings.warn("3 boxes [of 5] were clipped.", PartscopeWarning, stacklevel=1)
        with pytest.warns(UserWarning, match="of another package"):
            warnings.warn("of another package", UserWarning, stacklevel=1)

    command()
    assert capsys.readouterr().err == "partscope: warning: 3 boxes [of 5] were clipped.\n"


def test_failures_are_listed_and_counted(capsys: Capture) -> None:
    list_failures([Skipped("a.jpg", "x/a.jpg: empty."), Skipped("b.jpg", "no box.")], 7, "images")
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        "partscope: left out: x/a.jpg: empty.",
        "partscope: left out: b.jpg: no box.",
        "partscope: 2 of 7 images were left out, for the reasons above.",
    ]
    list_failures([], 7, "images")
    assert capsys.readouterr().err == ""


# -- what is shown ------------------------------------------------------------------------------------------------
def test_json_to_standard_output_is_alone_there(capsys: Capture) -> None:
    output = Output("-")
    output.line("for people")
    output.document({"a": (float("nan"), Path("x")), 3: None})
    output.table(["Part"], [["beak"]])
    out, err = capsys.readouterr()
    assert out == '{\n "a": [\n  null,\n  "x"\n ],\n "3": null\n}\n'
    assert "for people" in err
    assert "beak" in err


def test_json_to_a_file(tmp_path: Path, capsys: Capture) -> None:
    target = tmp_path / "out.json"
    output = Output(str(target))
    output.line("for people")
    output.document({"a": 1})
    assert target.read_text() == '{\n "a": 1\n}\n'
    assert capsys.readouterr().out == "for people\n"


@pytest.mark.parametrize("where", ["none/out.json", "."])
def test_a_target_that_cannot_be_written_is_said_at_once(tmp_path: Path, where: str) -> None:
    with pytest.raises(PartscopeError, match="folder"):
        Output(str(tmp_path / where))
    with pytest.raises(PartscopeError, match="folder"):
        check_writable(tmp_path / where)


def test_tables_show_names_as_they_are_and_do_not_fold(
    capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    long = "[red]part[/red] :bird: " + "x" * 120
    Output().table(["Part", "Cost"], [[long, "1.5e-05"], ["toe", "12"]], "Title [b]")
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "Title [b]"
    assert any(long in line for line in lines)
    assert next(line for line in lines if line.startswith("toe")).endswith("     12")


def test_json_ready_takes_numpy() -> None:
    numpy = pytest.importorskip("numpy")
    value = {"a": numpy.float64("nan"), "b": numpy.arange(2), "c": [numpy.bool_(True)]}
    assert json_ready(value) == {"a": None, "b": [0, 1], "c": [True]}


def test_a_file_name_that_is_no_text_can_be_said(
    capsysbinary: pytest.CaptureFixture[bytes], tmp_path: Path
) -> None:
    """A name with bytes that are no UTF-8 must not end in an encoding error while another error is being told."""
    from partscope.cli import main

    if os.name == "nt":
        pytest.skip("file names are text on Windows")
    name = os.fsdecode(b"\xff.partscope")
    assert main(["locate", name, str(tmp_path / name), "--out", str(tmp_path / "o.csv")]) == 2
    assert b"\\udcff.partscope" in capsysbinary.readouterr().err
