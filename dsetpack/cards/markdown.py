"""A pack's card as Markdown, with the front matter that the Hugging Face Hub reads.

Field values are the Hub's: licences from its list, ``image-classification`` and ``multi-class-image-classification``
from its tasks, sizes from its categories by the number of images that the pack decodes to. A ``.dpk`` file is no table
that ``datasets`` and the Hub's viewer can read: they are told to read the preview and nothing else, and without one the
viewer is off. The text of the pack's card is shown as it is: markup in it has no effect.
"""

from __future__ import annotations

import json
import shlex
from typing import Any

from dsetpack.cards import text
from dsetpack.cards.edit import is_address
from dsetpack.cards.facts import Facts, PartFacts, Preview
from dsetpack.cards.licenses import hub_license
from dsetpack.formats.card import Card, Metric, NormalizedSpace, RawSpace, Recipe, ZcaSpace
from dsetpack.formats.words import plural

MARK = "<!-- dsetpack card of {name}: written anew by every push -->"
CLASSES = 200
"""The most classes that are named; the pack names all."""
_SIZES = ("n<1K", "1K<n<10K", "10K<n<100K", "100K<n<1M", "1M<n<10M", "10M<n<100M", "100M<n<1B", "1B<n<10B")


def markdown(found: Facts, repository: str | None = None, preview: Preview | None = None) -> str:
    """The card as Markdown.

    Args:
        found: the facts of the pack.
        repository: ``OWNER/NAME`` on the Hub, for the lines that fetch the file; if left out, there are none.
        preview: the table beside the pack that ``datasets`` and the Hub's viewer should read.
    """
    card = found.card
    sections = [
        _front_matter(found, preview),
        [mark(found.name), "", f"# {text.escape(card.title)}"],
        [text.paragraphs(card.description)] if card.description.strip() else [],
        _glance(found),
        ["## Use", "", *_use(found, repository), *_tables(found, repository, preview)],
        ["## Classes", "", *_classes(card.classes)],
        ["## Pixels", "", _pixels(card)],
        ["## Training on it", "", *_training(card)],
        ["## Measured", "", *_measured(card.metrics), *_claimed(card)],
        ["## Where it comes from", "", *_origin(card)],
        ["## What the file holds", "", *_contents(found)],
        ["## Digests", "", *_digests(found)],
    ]
    return "\n\n".join("\n".join(section) for section in sections if section) + "\n"


def mark(name: str) -> str:
    """The line by which a later push recognises the card of this file; it leaves a card without the line alone."""
    return MARK.format(name=json.dumps(text.line(name)).replace("--", "-\\u002d"))


def size_category(images: int) -> str:
    """The Hub's size category for a number of examples."""
    below = 1000
    for name in _SIZES:
        if images < below:
            return name
        below *= 10
    return "10B<n<100B" if images < 10**11 else "100B<n<1T" if images < 10**12 else "n>1T"


def _front_matter(found: Facts, preview: Preview | None) -> list[str]:
    card = found.card
    license_id = hub_license(card.license)
    lines = [f"pretty_name: {text.yaml(card.title)}", f"license: {license_id}"]
    if license_id == "other":
        lines.append(f"license_name: {text.yaml(str(card.license))}")
        if is_address(card.license):
            lines.append(f"license_link: {text.yaml(str(card.license))}")
    tags = ["image", "dataset-distillation", "dataset-condensation", "dsetpack", "hdf5"]
    tags += sorted({part.kind for part in found.parts} - {"images"})
    lists = {
        "task_categories": ["image-classification"],
        "task_ids": ["multi-class-image-classification"],
        "size_categories": [size_category(found.images)],
        "tags": tags,
    }
    for key, values in lists.items():
        lines += [f"{key}:", *(f"- {value}" for value in values)]
    return ["---", *lines, *_configs(preview), "---"]


def _configs(preview: Preview | None) -> list[str]:
    """What the viewer and ``datasets`` read: the preview. Without ``configs``, they would look for data themselves."""
    if preview is None:
        return ["viewer: false"]
    path = text.yaml(preview.name)
    return ["configs:", "- config_name: preview", "  data_files:", "  - split: train", f"    path: {path}"]


def _glance(found: Facts) -> list[str]:
    card = found.card
    rows = [
        ("images", _images(found)),
        ("one image", f"{_sizes(card.shape)} (channels × height × width), float32, {_space_name(card)}"),
        ("classes", f"{len(card.classes):,}"),
        ("labels", _labels(card)),
        ("an epoch", _epoch(card)),
        ("file", f"{text.code(found.name, cell=True)}, {found.size:,} bytes, dsetpack format {found.version}"),
        ("license", text.escape(card.license or "not stated")),
    ]
    if card.credit:
        rows.append(("credit", text.escape(card.credit)))
    if found.address:
        rows.append(("from", text.escape(found.address)))
    return text.table(("", ""), rows)


def _images(found: Facts) -> str:
    parts = [_part(part) for part in found.parts]
    if len(parts) == 1:
        return parts[0]
    return f"{found.images:,}: {'; '.join(parts)}"


def _part(part: PartFacts) -> str:
    called = [text.escape(part.name)] if part.name else []
    called += [f"stage {part.stage}"] if part.stage else []
    named = f" ({', '.join(called)})" if called else ""
    if not part.stored:
        drawn = f"{part.images:,} per epoch" if part.images else "as many as `per_class=` asks for"
        return f"{drawn}, drawn by a {part.kind}{named}"
    if part.decoders == 1:
        said = plural(part.images, "image") if part.kind == "images" else f"{part.images:,}, {part.kind}"
        return f"{said}{named}"
    sources = f"{plural(part.sources, 'source')} of {_sizes(part.source_shape)}"
    return f"{part.images:,} = {sources} × {plural(part.decoders, 'decoder')}, {part.kind}{named}"


def _labels(card: Card) -> str:
    if card.labels.kind == "hard":
        return "one class per image"
    kind = "centred scores" if card.labels.centred else "scores"
    return f"{kind}: one float32 per class and image"


def _epoch(card: Card) -> str:
    if card.epoch_rule == "paired":
        return "`paired`: every source once, with a decoder drawn for it"
    return "`product`: every pair of source and decoder once"


def _use(found: Facts, repository: str | None) -> list[str]:
    card, name = found.card, json.dumps(text.line(found.name), ensure_ascii=False)
    drawn = any(not part.stored and not part.images for part in found.parts)
    batch, shape = card.recipe.batch_size if card.recipe else 256, ", ".join(map(str, card.shape))
    lines = [
        "import dsetpack",
        "",
        f'pack = dsetpack.open({name}, digest="{found.digest}"{", per_class=10" if drawn else ""})',
        f"for x, y in pack.loader(batch_size={batch}, seed=0):",
        f"    ...  # x float32 [B, {shape}] in the pack's pixel space, y {_label_type(card)}",
    ]
    if card.recipe is not None:
        lines += ["", "from dsetpack.trainers.networks import network", "", f"model = {_network(card.recipe)}"]
        lines.append("pack.train(model, seed=0)  # by the recipe and the augmentation below")
    return [*_fetch(found, repository), "```python", *lines, "```"]


def _tables(found: Facts, repository: str | None, preview: Preview | None) -> list[str]:
    """What people get who use ``datasets``, or how they get something."""
    if preview is not None:
        loaded = "`datasets.load_dataset`" if repository is None else f'`datasets.load_dataset("{repository}")`'
        shown = f"{preview.images:,} of {found.images:,} images" if found.images else plural(preview.images, "image")
        shown = "all images" if preview.images == found.images else shown
        kept = f"8-bit PNG with labels ({text.code(preview.name)}), clipped to [0, 1]"
        return ["", f"{loaded} and the Hub's viewer read a preview: {shown} as {kept}. Only the pack has exact values."]
    if found.card.shape[0] not in (1, 3) or getattr(found.card.space, "storage", None) == "refit":
        return []
    command = text.code(f"dsetpack unpack {shlex.quote(text.line(found.name))} FOLDER --as hf")
    return ["", f"`datasets.load_dataset` cannot read a `.dpk` file; {command} writes a table that it reads."]


def _network(recipe: Recipe) -> str:
    name = json.dumps(text.line(recipe.arch), ensure_ascii=False)
    width = "" if recipe.width is None else f", width={recipe.width}"
    return f"network({name}, image=pack.card.shape, classes=len(pack.card.classes){width})"


def _fetch(found: Facts, repository: str | None) -> list[str]:
    if repository is None:
        return ["```sh", "pip install dsetpack", "```", ""]
    name = shlex.quote(text.line(found.name))
    pull = f"dsetpack pull {repository} {name} -o {name} --digest {found.digest}"
    return ["```sh", "pip install 'dsetpack[hub]'", pull, "```", ""]


def _label_type(card: Card) -> str:
    return "int64 [B]" if card.labels.kind == "hard" else f"float32 [B, {len(card.classes)}]"


def _classes(classes: tuple[str, ...]) -> list[str]:
    shown = ", ".join(f"{n} {text.escape(name)}" for n, name in enumerate(classes[:CLASSES]))
    more = len(classes) - CLASSES
    return [shown + (f", and {more:,} more: see `pack.card.classes`" if more > 0 else "")]


def _space_name(card: Card) -> str:
    match card.space:
        case RawSpace():
            return "raw values in [0, 1]"
        case NormalizedSpace():
            return "normalized by channel"
        case ZcaSpace(variant=variant):
            return f"ZCA-whitened ({variant})"


def _pixels(card: Card) -> str:
    apply = "Real test images, float [N, C, H, W] in [0, 1], go through `pack.space.apply` first"
    match card.space:
        case RawSpace():
            return "Raw values in [0, 1]: file values divided by 255. Real test images need nothing else."
        case NormalizedSpace(mean=mean, std=std):
            return f"(raw − mean) / std for each channel; mean {_numbers(mean)}, std {_numbers(std)}. {apply}."
        case ZcaSpace() as space:
            return f"{_whitened(space)} {apply}{_refit(space)}."


def _whitened(space: ZcaSpace) -> str:
    first = ""
    if space.channel_mean is not None and space.channel_std is not None:
        channels = f"mean {_numbers(space.channel_mean)}, std {_numbers(space.channel_std)}"
        first = f" after standardising channels ({channels})"
    fit = f"variant {space.variant}, epsilon {space.epsilon:g}, fitted on the images with digest"
    return f"ZCA whitening{first}: {fit} `{space.fitted_on}`."


def _refit(space: ZcaSpace) -> str:
    if space.storage == "embed":
        return " (mean and matrix are in the file)"
    return ", after `pack.with_space(dsetpack.Zca.refit(pack.card.space, images))` has fitted it on those images again"


def _training(card: Card) -> list[str]:
    if card.recipe is None and card.augmentation is None:
        return ["The card has no recipe: pass one as `pack.train(model, recipe=dsetpack.Recipe(...))`."]
    rows = []
    if card.recipe is not None:
        rows += [(f"`{key}`", _value(value)) for key, value in card.recipe if value is not None]
    if card.augmentation is not None:
        rows += [(f"augmentation: `{key}`", _value(value)) for key, value in card.augmentation]
    return text.table(("setting", "value"), rows)


def _measured(metrics: tuple[Metric, ...]) -> list[str]:
    if not metrics:
        return ["Nothing: the card has no measured results."]
    head = ("", "value", "seeds", "network", "test data", "protocol", "note")
    return text.table(head, [_metric(metric) for metric in metrics], right=(1, 2))


def _claimed(card: Card) -> list[str]:
    """The accuracies that a converted file records: its release's claim, never mixed with what was measured."""
    claimed = card.extra.get("claimed")
    found = [one for one in claimed if isinstance(one, dict)] if isinstance(claimed, list) else []
    lines = [f"- {text.escape(str(one.get('arch')))}: {_claim(one)}" for one in found]
    return ["", "Claimed by the files of its release, not measured on this pack:", "", *lines] if lines else []


def _claim(one: dict[str, Any]) -> str:
    value, spread, seeds = (one.get(key) for key in ("accuracy", "std", "seeds"))
    if not isinstance(value, float):
        return "unknown"
    spread = f" ± {spread:.2%}" if isinstance(spread, float) else ""
    return f"{value:.2%}{spread} ({text.escape(str(seeds))} seed{'' if seeds == 1 else 's'})"


def _metric(metric: Metric) -> tuple[str, ...]:
    spread = "" if metric.std is None else f" ± {metric.std:.2%}"
    width = "" if metric.width is None else f", width {metric.width}"
    digest = "" if metric.test_digest is None else f" (`{metric.test_digest[:19]}…`)"
    protocol = "the pack's own recipe" if metric.protocol == "own" else text.escape(metric.protocol)
    return (
        text.escape(metric.name),
        f"{metric.value:.2%}{spread}",
        f"{metric.seeds:,}",
        text.escape(metric.arch) + width,
        text.escape(metric.test_data) + digest,
        protocol,
        text.escape(metric.note or ""),
    )


def _origin(card: Card) -> list[str]:
    made = card.provenance
    rows = [
        ("real data", text.escape(made.dataset or "")),
        ("digest of its training images", f"`{made.dataset_digest}`" if made.dataset_digest else ""),
        ("method", text.escape(made.method or "")),
        ("budget", "" if made.budget_floats is None else plural(made.budget_floats, "float")),
        ("made with", ", ".join(text.escape(f"{k} {v}") for k, v in sorted(made.software.items()))),
        ("made on", text.escape(made.created or "")),
    ]
    rows = [row for row in rows if row[1]]
    lines = text.table(("", ""), rows) if rows else ["The card does not say."]
    return [*lines, "", *_settings(made.settings)] if made.settings else lines


def _settings(settings: dict[str, Any]) -> list[str]:
    rows = [(text.code(key, cell=True), _value(value)) for key, value in sorted(settings.items())]
    return ["Settings of the method:", "", *text.table(("setting", "value"), rows)]


def _contents(found: Facts) -> list[str]:
    rows = [
        (
            text.code(row.name, cell=True),
            _sizes(row.shape) or "scalar",
            row.dtype,
            text.escape(" → ".join(row.steps)) or "as it is",
            f"{row.stored:,}",
            f"{row.stored / found.size:.1%}",
        )
        for row in found.tensors
    ]
    return text.table(("tensor", "shape", "dtype", "stored as", "bytes", "of the file"), rows, right=(4, 5))


def _digests(found: Facts) -> list[str]:
    rows = [
        ("digest (pins every byte after the header)", f"`{found.digest}`"),
        ("content digest (of the tensors alone)", f"`{found.content_digest}`"),
        ("SHA-256 of the file", f"`{found.sha256}`"),
    ]
    return text.table(("", ""), rows)


def _sizes(shape: tuple[int, ...]) -> str:
    return "×".join(map(str, shape))


def _numbers(values: tuple[float, ...]) -> str:
    return ", ".join(f"{value:.6g}" for value in values)


def _value(value: Any) -> str:
    """A setting as code: numbers and words as they are, the rest as JSON."""
    if isinstance(value, tuple | list) and not any(isinstance(v, tuple | list | dict) for v in value):
        return ", ".join(_value(v) for v in value) or "none"
    if isinstance(value, bool) or value is None or isinstance(value, dict | tuple | list):
        return text.code(json.dumps(value, ensure_ascii=False), cell=True)
    return text.code(f"{value:.6g}" if isinstance(value, float) else str(value), cell=True)
