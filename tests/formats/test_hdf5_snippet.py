"""The docs' few lines that read a pack with h5py run on every pack there is, and give what dsetpack reads."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest

from dsetpack.formats import Reader
from tests.support.document_runner import blocks
from tests.support.paths import DOCS, GOLDEN, PACKS, SAMPLE

FILES = [*sorted(GOLDEN.rglob("*.dpk")), *sorted(PACKS.glob("*.dpk")), SAMPLE]
[SNIPPET] = [block.code for block in blocks(DOCS / "format.md") if "import hdf5plugin" in block.code]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_snippet_reads_every_pack(path):
    seen: dict[str, Any] = {}
    names: dict[str, Any] = {"print": lambda name, *_: seen.update({name: names["values"]})}
    exec(SNIPPET.replace("demo.dpk", str(path)), names)
    with Reader(path) as reader:
        assert set(seen) == set(reader.manifest.datasets)
        shared = Counter(tensor.dataset for tensor in reader.manifest.tensors.values())
        compared = 0
        for name, tensor in reader.manifest.tensors.items():
            if shared[tensor.dataset] == 1 and all(_plain(step) for step in tensor.encodings):
                assert np.array_equal(seen[tensor.dataset].astype(tensor.dtype), reader.tensor(name)), name
                compared += 1
        assert compared or all(count > 1 for count in shared.values()) or "quantize" in path.stem or "cast" in path.stem


def _plain(step: Any) -> bool:
    """Whether the stored array says all: no scales elsewhere, and no bfloat16."""
    return "block" not in step.configuration and step.configuration.get("dtype") != "bfloat16"
