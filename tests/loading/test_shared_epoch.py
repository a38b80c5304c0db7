"""``EpochBoard``: workers agree on the epoch that they run."""

import pytest

from dsetpack.loading.shared_epoch import EpochBoard
from tests.support.as_worker import AsWorker


def test_workers_that_missed_an_iteration_catch_up():
    board = EpochBoard()

    def begin(number, seed):
        with AsWorker(number, 3, seed):
            return board.begin()[0]

    assert [begin(w, 10) for w in (0, 1, 2)] == [0, 0, 0]
    assert begin(0, 11) == 1  # abandoned before workers 1 and 2 were up
    assert [begin(w, 12) for w in (2, 0, 1)] == [2, 2, 2]
    assert begin(0, 13) == 3
    assert begin(0, 14) == 4
    assert begin(1, 13) == 5  # a straggler of the abandoned iteration: nobody reads what it makes
    assert [begin(w, 14) for w in (1, 2)] == [4, 4]
    assert [begin(w, 14) for w in (0, 1, 2)] == [5, 5, 5]  # the same base seed: workers that live on
    assert board.begin() == (6, 0)


def test_another_number_of_workers_is_another_iteration_though_seeded_alike():
    board = EpochBoard()

    def begin(number, count):
        with AsWorker(number, count, seed=7):
            return board.begin()[0]

    assert begin(0, 1) == 0
    assert [begin(w, 2) for w in (1, 0)] == [1, 1]
    assert [begin(w, 3) for w in (2, 0, 1)] == [2, 2, 2]


def test_a_board_in_another_process():
    board = EpochBoard()
    board.set(3, 7)
    assert board.begin() == (3, 7)
    with AsWorker(0, 2, parent=1), pytest.warns(UserWarning, match="another process"):
        assert board.begin() == (3, 7)
    with AsWorker(2000, 2001), pytest.raises(ValueError, match="at most 1024"):
        board.begin()
    board._board[0] = 1  # as if this process had got it from another main process
    shared = board._board
    board.set(0, 0)
    assert (board.begin(), shared[1].item()) == ((0, 0), 3)
