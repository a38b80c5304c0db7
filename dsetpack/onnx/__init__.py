"""Packs as ONNX models: one self-contained file that decodes pairs without torch and without dsetpack.

    dsetpack.onnx.export("x.dpk", "x.onnx")                   # or pack.to_onnx("x.onnx"); needs onnx, not torch
    pack = dsetpack.onnx.OnnxPack("x.onnx")                   # needs onnxruntime, neither torch nor onnx
    for x, y in pack.stream(batch_size=256, seed=0): ...      # numpy; the order of ``Pack.stream``

A model has the input ``index`` int64 [N] (pair_ids), if a part is a generator also ``noise`` float32 [N, z], and the
outputs ``image`` float32 [N, C, H, W] and ``label`` int64 [N], or float32 [N, classes]. N is free. ``export`` with
``decoder_only`` makes a model of the bank alone, with the inputs ``source`` float32 [N, ...] and ``decoder`` int64 [N]
(decoder_ids) and the output ``image``. If a pair or decoder does not exist, onnxruntime fails; no engine reads other
memory, because numbers are moved into the range before they are used.

Tensors keep the precision that the pack stores: codes and 16-bit floats go through Cast (codes then through Mul and
Add), and only the values asked for are widened. Codes of fewer bits take one byte each, as in the pack. The graph has
opset 17 and uses standard operators only, so every onnxruntime since 1.20 runs it, and onnxruntime-web does, too.
"""

from __future__ import annotations

import os
from typing import Literal

from dsetpack.formats.extras import need
from dsetpack.formats.presets import EncodingChoice
from dsetpack.formats.source import Readable
from dsetpack.onnx.exportable import Exportable
from dsetpack.onnx.runtime import OnnxPack, OnnxStream

__all__ = ["OnnxPack", "OnnxStream", "export"]


def export(
    pack: Exportable | Readable,
    path: str | os.PathLike[str],
    *,
    space: Literal["pack", "raw"] = "pack",
    decoder_only: bool = False,
    encoding: EncodingChoice | None = None,
    per_class: int | None = None,
    portable: bool = False,
    label_type: Literal["int64", "int32"] = "int64",
) -> int:
    """Write a pack as an ONNX model; an existing file is replaced completely or not at all.

    Args:
        pack: a ``.dpk`` (path, URL, bytes or file object), or a pack in memory.
        path: the ``.onnx`` file.
        space: the space of the images: ``pack`` leaves them as ``Pack.decode`` gives them; ``raw`` maps them back to
            [0, 1] (``Space.invert``; learned images may leave that range), except those that a decoder makes raw.
        decoder_only: export only the bank, without sources, labels and order; the pack must have one bank.
        encoding: as in ``Pack.save``, for packs in memory. By default, a pack that was opened from a path, URL or bytes
            is exported as it is stored there, and any other pack exactly.
        per_class: images per class and epoch of a ``generator`` part, instead of the card's number.
        portable: use only operators whose shapes follow from that of the input, for engines that cannot compile others.
            Decoders with weights of their own and packs of several parts take longer; numbers that do not exist give
            some image of the pack instead of an error.
        label_type: the type of hard labels: ``int32`` for engines without int64.

    Returns:
        the file's size in bytes.

    Raises:
        FormatError, IntegrityError, VersionError, LimitError: if the pack's file is not a sound pack.
        FormatError: if a space or a bank cannot be exported, if the pack was changed since it was opened, or if
            ``path`` is the pack itself.
        IntegrityError: if the pack's file is now another.
        LimitError: if the tensors take more than the 2 GiB that an ONNX file can hold.
        DsetpackError: if the package ``onnx`` is missing.
        OSError: if the pack's file cannot be read, or if ``path`` cannot be written.
    """
    need("onnx", "onnx")
    from dsetpack.formats.atomic import check_writable, write_atomically
    from dsetpack.formats.outputs import check_apart
    from dsetpack.onnx.exporter import model

    origin = getattr(pack, "origin", pack)
    check_apart(path, [origin] if isinstance(origin, str | os.PathLike) else [])
    check_writable(path)
    data = model(pack, space, decoder_only, encoding, per_class, portable, label_type)
    write_atomically(path, data)
    return len(data)
