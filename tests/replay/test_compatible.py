"""Packs of other spaces: converted, expressed exactly, or refused."""

from __future__ import annotations

import pytest
import torch

import dsetpack
from dsetpack import FormatError, Normalized, Pack, Zca
from dsetpack.replay import ReplayMemory
from tests.support.replay_packs import arrays, haba, kfs, pack_of


class TestSpaces:
    normalized = Normalized(dsetpack.NormalizedSpace(mean=(0.3,), std=(0.4,)))

    def raw_of(self, pack):
        return pack.space.invert(pack.decode(range(len(pack)))[0])

    def test_images_are_converted_both_ways(self):
        x, y = arrays([0, 1], 4)
        raw = Pack.from_arrays(x, y, classes=4)
        zca = Zca.fit(torch.from_numpy(arrays([0], 200)[0]))
        for space in (self.normalized, zca):
            memory = ReplayMemory(space=space, encoding="exact")
            memory.add(raw)
            assert torch.allclose(self.raw_of(memory.pack), raw.decode(range(8))[0], atol=2e-5)
            back = ReplayMemory(space=dsetpack.Raw(), encoding="exact")
            back.add(memory.pack)
            assert torch.allclose(back.pack.decode(range(8))[0], raw.decode(range(8))[0], atol=2e-5)

    def test_decoders_of_raw_images_are_expressed_exactly(self):
        pack = kfs([0, 1])
        memory = ReplayMemory(space=self.normalized, encoding="exact")
        memory.add(pack)
        assert torch.equal(memory.pack.parts[0].sources, pack.parts[0].sources)
        assert torch.equal(memory.pack.decode(range(6))[0], self.normalized.apply(pack.decode(range(6))[0]))

    @pytest.mark.parametrize(("side", "fits"), [(12, True), (9, False)])
    def test_small_images_are_converted_unless_padding_is_cut_in(self, side, fits):
        pack = pack_of("upsample", {"factor": 2}, [0, 1], shape=(1, side, side), epoch_rule="paired")
        memory = ReplayMemory(space=self.normalized, encoding="exact")
        if not fits:
            with pytest.raises(FormatError, match="upsample"):
                memory.add(pack)
            assert not memory.tasks
            return
        memory.add(pack)
        found = memory.pack.decode(range(len(pack)))[0]
        assert torch.allclose(found, self.normalized.apply(pack.decode(range(len(pack)))[0]), atol=1e-5)

    def test_hallucinators_of_another_space_are_refused(self):
        memory = ReplayMemory(space=self.normalized)
        with pytest.raises(FormatError, match="part 0, haba, .* cannot be converted"):
            memory.add(haba([0, 1]))
