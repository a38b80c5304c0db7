"""``dsetpack info``: the description and contents of a pack, from its header and manifest alone."""

from __future__ import annotations

import json
from typing import Any

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from dsetpack.formats import Reader
from dsetpack.formats.manifest import Manifest
from dsetpack.formats.model import printable
from dsetpack.formats.parts import part_config
from dsetpack.formats.signature import signer
from dsetpack.formats.words import plural


@click.command("info")
@click.argument("file")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of tables.")
def command(file: str, as_json: bool) -> None:
    """Show the card and the tensors of FILE.

    FILE is a path or URL. Only its header and its manifest are read, not the tensors.
    """
    with Reader(file) as reader:
        facts = {
            "file": reader.name,
            "format": f"{reader.header.major}.{reader.header.minor}",
            "bytes": reader.header.file_length,
            "digest": reader.digest,
            "content_digest": reader.manifest.content_digest,
            "signed_by": signer(reader.header),
            "card": reader.manifest.card.model_dump(mode="json"),
            "parts": _parts(reader.manifest),
            "tensors": _tensors(reader.manifest, reader.header.file_length),
        }
    if as_json:
        click.echo(json.dumps(facts, indent=2))
    else:
        _show(facts)


def _parts(manifest: Manifest) -> list[dict[str, Any]]:
    rows = []
    for part in manifest.parts:
        config = part_config(part)
        decoders = len(part.class_decoders[0]) if part.class_decoders else config.bank_size()
        sources = part.sources or len(manifest.card.classes) * (manifest.card.per_class or 0)
        row = {"kind": part.kind, "sources": sources, "decoders": decoders, "images": sources * decoders}
        rows.append({**row, "stage": part.stage, "name": part.name, "config": part.config})
    return rows


def _tensors(manifest: Manifest, total: int) -> list[dict[str, Any]]:
    rows = []
    for name, tensor in manifest.tensors.items():
        steps = [*tensor.encodings, *(manifest.datasets[tensor.dataset].encodings if tensor.dataset else ())]
        stored = manifest.stored_bytes(name)
        rows.append(
            {
                "name": name,
                "shape": list(tensor.shape),
                "dtype": tensor.dtype,
                "encodings": [_spell(s.name, s.configuration) for s in steps],
                "stored_bytes": stored,
                "share": round(stored / total, 4),
            }
        )
    return rows


def _spell(name: str, configuration: dict[str, Any]) -> str:
    shown = {"quantize": ("bits",), "cast": ("dtype",)}.get(name, ())
    settings = ", ".join(str(configuration[key]) for key in shown if key in configuration)
    return f"{name}({settings})" if settings else name


def _show(facts: dict[str, Any]) -> None:
    console, card = Console(), facts["card"]
    if not console.is_terminal:
        console.width = 160  # rich assumes 80 columns for a pipe
    title = Text.assemble((printable(card["title"]), "bold"), "  ", printable(card["description"]))
    console.print(title, soft_wrap=True)
    for key, value in _summary(facts):
        console.print(Text.assemble((f"{printable(key):<12} ", "dim"), printable(value)), soft_wrap=True)
    tensors = Table("tensor", "shape", "dtype", "encodings", title_justify="left", box=None, header_style="dim")
    tensors.columns[0].overflow = "fold"
    tensors.add_column("bytes", justify="right")
    tensors.add_column("share", justify="right")
    for row in facts["tensors"]:
        shape, steps = "×".join(map(str, row["shape"])) or "scalar", " → ".join(row["encodings"])
        tensors.add_row(row["name"], shape, row["dtype"], steps, f"{row['stored_bytes']:,}", f"{row['share']:.1%}")
    console.print(tensors)


def _summary(facts: dict[str, Any]) -> list[tuple[str, str]]:
    card, parts = facts["card"], facts["parts"]
    rows = [
        ("file", f"{facts['file']}  ({facts['bytes']:,} bytes, format {facts['format']})"),
        ("digest", facts["digest"]),
        ("content", facts["content_digest"]),
        ("signed by", _signed(facts["signed_by"])),
        ("classes", f"{len(card['classes'])}: {', '.join(card['classes'][:12])}"),
        (
            "images",
            " + ".join(map(_made, parts))
            + f", {'×'.join(map(str, card['shape']))} (channels × height × width), {card['space']['kind']} space",
        ),
        ("recipe", _listed(card["recipe"])),
        ("augmentation", _listed(card["augmentation"])),
        ("license", " · ".join(filter(None, (card["license"], card["credit"])))),
        *((metric["name"], _measured(metric)) for metric in card["metrics"]),
    ]
    return [(key, value) for key, value in rows if value]


def _made(part: dict[str, Any]) -> str:
    if not part["images"]:
        return f"as many as --per-class asks for = {part['kind']}"
    return f"{part['images']} = {part['kind']} {part['sources']} × {part['decoders']}"


def _signed(key: str | None) -> str:
    return f"key {key} (not checked: dsetpack verify FILE --trusted KEY)" if key else ""


def _listed(settings: dict[str, Any] | None) -> str:
    """All settings in one line, including defaults, except those that are None."""
    return "; ".join(f"{key} {_word(value)}" for key, value in (settings or {}).items() if value is not None)


def _word(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(_word, value)) or "none"
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _measured(metric: dict[str, Any]) -> str:
    spread = "" if metric["std"] is None else f" ± {metric['std']:.2%}"
    width = "" if metric["width"] is None else f" of width {metric['width']}"
    recipe = "" if metric["protocol"] == "own" else f", {metric['protocol']} recipe"
    where = f"{metric['arch']}{width} on {metric['test_data']}, {plural(metric['seeds'], 'seed')}{recipe}"
    return f"{metric['value']:.2%}{spread} ({where})"
