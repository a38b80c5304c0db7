"""The numbering of pairs."""

import pickle

import numpy as np
import pytest
from hypothesis import given

from dsetpack.order.pairs import PairTable
from tests.support.order_cases import PARTS


@given(PARTS)
def test_locate_is_the_numbering_of_the_design(parts):
    table = PairTable(parts)
    expected = [(p, s, k) for p, (n, slots) in enumerate(parts) for s in range(n) for k in range(slots)]
    assert len(table) == len(expected)
    assert table.num_sources == sum(n for n, _ in parts)
    found = table.locate(np.arange(len(table)))
    assert list(zip(*(column.tolist() for column in found), strict=True)) == expected
    first = [sum(n for n, _ in parts[:p]) for p in range(len(parts))]
    sources = [first[p] + s for p, s, _ in expected]
    assert table.pairs(sources, [k for _, _, k in expected]).tolist() == list(range(len(table)))
    assert table.slots(sources).tolist() == [parts[p][1] for p, _, _ in expected]


def test_pair_table_refuses_numbers_out_of_range():
    table = PairTable([(2, 3), (4, 1)])
    for bad in ([10], [-1]):
        with pytest.raises(IndexError, match=r"0\.\.9"):
            table.locate(bad)
    with pytest.raises(IndexError, match="whole numbers"):
        table.locate([0.5])
    with pytest.raises(IndexError, match="slots must be"):
        table.pairs([2], [1])
    with pytest.raises(IndexError, match="source numbers"):
        table.slots([6])


def test_pair_table_is_a_value():
    table = PairTable([(2, 3)])
    assert pickle.loads(pickle.dumps(table)) == table == PairTable([[2, 3]])
    assert table != PairTable([(3, 2)])
    assert len({table, PairTable([(2, 3)])}) == 1
    assert eval(repr(table)) == table
    assert table.locate(np.array([[5]])) == (np.array([[0]]), np.array([[1]]), np.array([[2]]))
