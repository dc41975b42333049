"""Commands around encoded models: encode, decode, inspect."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.cli.long_work import progress_bar, told_in_one_line
from orchestrator.cli.options import AsJson, print_json

if TYPE_CHECKING:
    from workloads.dtdr.anchors import Anchor
    from workloads.dtdr.codec.recipe import Recipe
    from workloads.dtdr.files import EncodedModel, Encoding, Inspection, Progress
    from workloads.models import ModelRef

_Out = Annotated[Path, typer.Option("--out", metavar="DIR", help="A new folder.")]
_Force = Annotated[
    bool, typer.Option("--force", help="Replace a folder that encode or decode wrote.")
]
_TOLD_PADDING = 0.02
_MODEL = "A model folder, a hub id (org/name or org/name@revision), or embedded:llama."


def encode(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help=f"{_MODEL} Or a .pkl file, with --model.")
    ],
    out: _Out,
    transform: Annotated[
        str | None,
        typer.Option(
            "--transform",
            metavar="none|hadamard|dct|hadamard+dct",
            help="Of each row.",
            show_default="hadamard",
        ),
    ] = None,
    quantiser: Annotated[
        str | None,
        typer.Option(
            "--quantiser",
            metavar="none|row|block|minmax",
            help="What shares a scale: a row, 16 neighbours in it, or --block-rows rows.",
            show_default="row",
        ),
    ] = None,
    block_rows: Annotated[
        int | None,
        typer.Option(
            "--block-rows",
            metavar="N",
            help="Rows in a block, the unit of what is kept.",
            show_default="128 blocks in the largest tensor",
        ),
    ] = None,
    original: Annotated[
        str | None,
        typer.Option("--model", metavar="MODEL", help="The model that a .pkl file is of."),
    ] = None,
    force: _Force = False,
    as_json: AsJson = False,
) -> None:
    """A model as 8-bit codes of transformed weights, in a folder of safetensors and an index."""
    from workloads.dtdr.files import encode_model

    with told_in_one_line(out), progress_bar("encoding", as_json) as progress:
        if Path(model).suffix == ".pkl":
            _refuse_codec_of_pickle(transform, quantiser, block_rows)
            done = _imported(model, original, out, progress, force)
        else:
            if original is not None:
                from orchestrator.errors import UsageError

                raise UsageError("--model goes with a .pkl file; leave it out.")
            ref = _model(model)
            if ref.path is not None:
                _refuse_inside(out, ref.path)
            recipe = _recipe(ref, transform, quantiser, block_rows)
            done = encode_model(ref, recipe, out, progress, force=force)
    _say_encoded(done, as_json)


def decode(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="An encoded model.")],
    out: _Out,
    fraction: Annotated[float, typer.Option("--fraction", help="Share that is kept.")] = 1.0,
    domain: Annotated[
        str,
        typer.Option(
            "--domain",
            metavar="rows|leading|random|largest",
            help="What is kept: the first blocks of rows, or coefficients of each row.",
        ),
    ] = "rows",
    fill: Annotated[
        str,
        typer.Option(
            "--fill", metavar="zero|random|guided|matched", help="What stands for the rest."
        ),
    ] = "zero",
    scale: Annotated[
        float | None,
        typer.Option("--scale", help="Of the anchor.", show_default="0.15"),
    ] = None,
    anchor: Annotated[
        str | None,
        typer.Option(
            "--anchor",
            metavar="MODEL|DIR|FILE.pkl",
            help="Where guided and matched fills take values from: a model, an encoded folder, "
            "a .pkl file.",
        ),
    ] = None,
    shuffled: Annotated[
        bool, typer.Option("--shuffled", help="The anchor's values permuted in each tensor.")
    ] = False,
    noise: Annotated[
        float, typer.Option("--noise", help="On coefficients, in units of their mean square root.")
    ] = 0.0,
    draw: Annotated[int, typer.Option("--draw", help="Which random draw.")] = 0,
    dtype: Annotated[
        str | None,
        typer.Option(
            "--dtype",
            metavar="float64|float32|bfloat16|float16",
            help="Of all numbers.",
            show_default="as in the original",
        ),
    ] = None,
    damaged: Annotated[
        str,
        typer.Option(
            "--damaged",
            metavar="refuse|fill|keep",
            help="Stored blocks that are not what was written: an error, missing, or as they are.",
        ),
    ] = "refuse",
    force: _Force = False,
    as_json: AsJson = False,
) -> None:
    """An encoded model as a Hugging Face folder, whole or in part."""
    from workloads.dtdr.asking import asked
    from workloads.dtdr.files import EncodedModel, decode_model

    with told_in_one_line(out), progress_bar("decoding", as_json) as progress:
        given: dict[str, object] = {
            "fraction": fraction,
            "domain": domain,
            "fill": fill,
            "shuffled": shuffled,
            "noise": noise,
            "draw": draw,
        }
        point = asked(given if scale is None else {**given, "scale": scale})
        if fill not in ("guided", "matched"):
            options = {"--anchor": anchor, "--scale": scale, "--shuffled": shuffled or None}
            _refuse_unused(fill, options)
        _refuse_inside(out, folder)
        encoded = EncodedModel.open(folder)
        guide = None if anchor is None else _anchor(anchor, encoded)
        done = decode_model(
            encoded,
            out,
            point,
            guide,
            progress,
            damaged,  # type: ignore[arg-type]  # it is checked there
            dtype=dtype,
            force=force,
        )
    if as_json:
        print_json(done.to_json())
        return
    from orchestrator.report.rows import size_text

    typer.echo(
        f"{done.folder}: {done.tensors} tensors, {size_text(done.bytes)}, {done.mb_per_s:.3g} MB/s"
    )
    for name, blocks in done.damaged.items():
        verb = "filled" if damaged == "fill" else "kept"
        typer.echo(f"damaged and {verb}: {name}, {_blocks(len(blocks))}", err=True)
    for name, count in done.non_finite.items():
        typer.echo(f"NaN or infinite: {count:,} numbers of {name}", err=True)


def inspect(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="An encoded model.")],
    against: Annotated[
        str | None,
        typer.Option("--against", metavar="MODEL", help="The original: errors are of its weights."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Sizes, ratios and errors of an encoded model by tensor. Exit code 1 if it is damaged."""
    from workloads.dtdr.files import inspect_model

    with told_in_one_line(None), progress_bar("reading", as_json) as progress:
        original = None if against is None else _model(against)
        found = inspect_model(folder, original, progress)
    if as_json:
        print_json(found.to_json())
    else:
        _show(found)
    broken = bool(found.damaged_files) or any(tensor.damaged for tensor in found.tensors)
    raise typer.Exit(1 if broken else 0)


def _model(given: str) -> ModelRef:
    from workloads.models import resolve_model

    return resolve_model(given)


def _refuse_inside(out: Path, folder: Path) -> None:
    from workloads.errors import InputError

    if out.resolve().is_relative_to(folder.resolve()):
        raise InputError(f"--out {out} is inside {folder}, which is read; give another folder")


def _refuse_unused(fill: str, given: Mapping[str, object]) -> None:
    from workloads.errors import InputError

    unused = [name for name, value in given.items() if value is not None]
    if unused:
        raise InputError(
            f"{unused[0]} changes nothing with --fill {fill}; give --fill guided or matched, or "
            f"leave {unused[0]} out"
        )


def _recipe(
    ref: ModelRef, transform: str | None, quantiser: str | None, block_rows: int | None
) -> Recipe:
    from typing import get_args

    from workloads.dtdr.checking import block_rows_for
    from workloads.dtdr.codec.recipe import Quantiser, Recipe, Transform
    from workloads.dtdr.files.source import SourceModel
    from workloads.errors import InputError, did_you_mean

    chosen = {"transform": transform or "hadamard", "quantiser": quantiser or "row"}
    for name, valid in (("transform", get_args(Transform)), ("quantiser", get_args(Quantiser))):
        if chosen[name] not in valid:
            raise InputError(
                f"--{name} {chosen[name]!r} is not known; {did_you_mean(chosen[name], valid)}"
            )
    if block_rows is not None and block_rows < 1:
        raise InputError(f"--block-rows {block_rows} is no number of rows; valid: 1 and more")
    if block_rows is None:
        shapes = [place.shape for place in SourceModel.of(ref).tensors.values()]
        block_rows = block_rows_for(shapes)
    return Recipe(**chosen, block_rows=block_rows)  # type: ignore[arg-type]


def _refuse_codec_of_pickle(
    transform: str | None, quantiser: str | None, block_rows: int | None
) -> None:
    from workloads.errors import InputError

    if (transform, quantiser, block_rows) != (None, None, None):
        raise InputError(
            "a .pkl file is encoded already: --transform, --quantiser and --block-rows are what "
            "it has; leave them out"
        )


def _imported(
    path: str, original: str | None, out: Path, progress: Progress, force: bool
) -> Encoding:
    from workloads.dtdr.files import write_encoded
    from workloads.dtdr.pickles import import_pickle
    from workloads.errors import InputError

    if original is None:
        raise InputError(
            f"{path} holds weights alone; give the model that they are of with --model MODEL"
        )
    return write_encoded(import_pickle(Path(path), _model(original)), out, progress, force=force)


def _anchor(given: str, encoded: EncodedModel) -> Anchor:
    from workloads.dtdr.anchors import Anchor

    return Anchor.open(given, encoded)


def _say_encoded(done: Encoding, as_json: bool) -> None:
    if as_json:
        print_json(done.to_json())
        return
    from orchestrator.report.rows import size_text

    typer.echo(
        f"{done.folder}: {done.tensors} tensors ({done.plain} plain), "
        f"{size_text(done.original_bytes)} → {size_text(done.bytes)} ({done.ratio:.2f} times "
        f"smaller; {size_text(done.disk_bytes)} on disk with headers, index and copied files), "
        f"{done.mb_per_s:.3g} MB/s"
    )
    share = done.padding_bytes / max(1, done.bytes)
    if share >= _TOLD_PADDING:
        typer.echo(
            f"{share:.0%} of it stands for zeros: {done.recipe.transform} pads rows to a power of "
            "two; --transform dct needs none",
            err=True,
        )


def _blocks(count: int) -> str:
    return f"{count} block{'' if count == 1 else 's'} of rows"


def _show(found: Inspection) -> None:
    from rich.console import Console
    from rich.table import Table

    from orchestrator.report.rows import size_text
    from orchestrator.verdict.numbers import MISSING
    from workloads.dtdr.files.damage import listed

    def number(value: float | None, form: str = ".3g") -> str:
        return MISSING if value is None else format(value, form)

    table = Table(box=None, header_style="bold", pad_edge=False)
    for title in ("tensor", "shape", "type", "codec"):
        table.add_column(title)
    for title in ("blocks", "size", "ratio", "rel. L2", "max error", "cosine"):
        table.add_column(title, justify="right")
    for tensor in found.tensors:
        recipe, errors = tensor.recipe, tensor.to_json()
        table.add_row(
            tensor.name,
            "×".join(map(str, tensor.shape)),
            tensor.dtype,
            "plain" if recipe is None else f"{recipe.transform} {recipe.quantiser}",
            "" if recipe is None else str(tensor.blocks),
            size_text(tensor.bytes),
            number(errors["ratio"], ".2f"),
            number(errors["relative_l2"]),
            number(errors["max_error"]),
            number(errors["cosine"], ".6f"),
        )
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = 240  # a file or a pipe has no edge at which names would be cut
    console.print(table)
    whole = found.to_json()
    console.print(
        f"\n{found.recipe.transform} {found.recipe.quantiser}, {found.recipe.block_rows} rows a "
        f"block: {size_text(found.original_bytes)} → {size_text(found.bytes)}, ratio "
        f"{number(found.ratio, '.2f')} ({size_text(found.disk_bytes)} on disk with headers, index "
        f"and copied files); relative L2 error {number(whole['relative_l2'])}"
        + ("" if found.against else " (give --against MODEL)")
    )
    for alias, name in found.tied.items():
        console.print(f"{alias} is {name}")
    for tensor in found.tensors:
        if tensor.damaged:
            console.print(f"damaged: {tensor.name}, blocks {listed(tensor.damaged)}")
    for file in found.damaged_files:
        console.print(f"damaged: {file} is not what was written")
