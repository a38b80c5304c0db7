"""Plain files of images and labels as numpy arrays, without torch; nothing in them is ever run.

``names.py`` has the usual names of arrays and splits, ``limited.py`` the checks of sizes, ``arrays.py`` reads ``.npy``
and ``.npz``, ``pickles.py`` pickles of arrays, and ``cifar.py`` CIFAR's own files.
"""
