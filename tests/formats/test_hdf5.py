"""Several threads write HDF5 parts at once."""

import threading

from tests.support.format_packs import images


def test_several_threads_write_at_once():
    expected, found, start = images(), [], threading.Barrier(4)

    def save():
        start.wait()
        for _ in range(15):
            try:
                found.append(images() == expected)
            except Exception as error:
                found.append(error)

    threads = [threading.Thread(target=save) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [True] * 60
