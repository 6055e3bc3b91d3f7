"""The application: its global options, its commands, and the entry point `main`."""

from __future__ import annotations

import io
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from partscope.allocator import reuse_freed_memory
from partscope.cli.backbones import backbones
from partscope.cli.channels import channels
from partscope.cli.classify import fit as classify_fit
from partscope.cli.classify_evaluate import evaluate as classify_evaluate
from partscope.cli.classify_predict import predict as classify_predict
from partscope.cli.convert import convert
from partscope.cli.demo import demo
from partscope.cli.discover import discover
from partscope.cli.download import download
from partscope.cli.evaluate import evaluate
from partscope.cli.exits import BROKEN_PIPE, INTERRUPTED, discard_stdout, handled, say, set_debug
from partscope.cli.explain import explain
from partscope.cli.fit import fit
from partscope.cli.locate import locate
from partscope.cli.merge import merge
from partscope.cli.reproduce import table1
from partscope.cli.serve import serve
from partscope.cli.synth import synth
from partscope.cli.table2 import table2
from partscope.version import __version__

_SETTINGS = {"help_option_names": ["-h", "--help"]}

app = typer.Typer(
    name="partscope",
    help="Turn any pretrained CNN into a part detector.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings=_SETTINGS,
)
_reproduce = typer.Typer(
    help="Measure the paper's results on a data set.", no_args_is_help=True, context_settings=_SETTINGS
)
_classify = typer.Typer(
    help="Tell classes apart by features of the parts.", no_args_is_help=True, context_settings=_SETTINGS
)


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"partscope {__version__}")
        raise typer.Exit()


@app.callback()
def partscope(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit."),
    ] = False,
    debug: Annotated[
        bool,
        typer.Option("--debug", envvar="PARTSCOPE_DEBUG", help="Show the traceback of an error."),
    ] = False,
    device: Annotated[
        str,
        typer.Option(
            "--device",
            metavar="auto|cpu|cuda|cuda:N",
            help="Where networks run; auto takes a CUDA card where there is one.",
        ),
    ] = "auto",
    precision: Annotated[
        str,
        typer.Option(
            "--precision",
            metavar="float32|tf32|bfloat16",
            help="Of the networks' passes; model files do not depend on it.",
        ),
    ] = "float32",
) -> None:
    """Turn any pretrained CNN into a part detector."""
    set_debug(debug)
    handled(_choose_device)(device, precision)


def _choose_device(device: str, precision: str) -> None:
    if (device, precision) == ("auto", "float32") and "partscope.backbones.devices" not in sys.modules:
        return  # the default; PyTorch takes its time to load
    from partscope.backbones.devices import set_compute

    set_compute(device, precision)


app.command()(handled(demo))
app.command()(handled(synth))
app.command()(handled(backbones))
app.command()(handled(convert))
app.command()(handled(download))
app.command()(handled(channels))
app.command()(handled(fit))
app.command()(handled(discover))
app.command()(handled(locate))
app.command()(handled(merge))
app.command()(handled(evaluate))
app.command()(handled(explain))
app.command()(handled(serve))
_classify.command("fit")(handled(classify_fit))
_classify.command("predict")(handled(classify_predict))
_classify.command("evaluate")(handled(classify_evaluate))
app.add_typer(_classify, name="classify")
_reproduce.command("table1")(handled(table1))
_reproduce.command("table2")(handled(table2))
app.add_typer(_reproduce, name="reproduce")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code, for `sys.exit`.

    Parameters
    ----------
    argv: arguments after the program's name; those of the process by default.
    """
    reuse_freed_memory()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A file name need not be text, and a terminal need not know every sign.
            stream.reconfigure(errors="backslashreplace")
    try:
        app(args=None if argv is None else list(argv), prog_name="partscope")
    except SystemExit as end:
        code = end.code
    except KeyboardInterrupt:  # before a command has begun
        say("interrupted; run the same command again.")
        code = INTERRUPTED
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        discard_stdout()
        return BROKEN_PIPE
    return code if isinstance(code, int) else int(code is not None)
