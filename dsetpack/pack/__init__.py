"""The pack in memory: its parts, its pairs, and how its file is read and written.

``pack.py`` has the class that users see, ``part.py`` what a part is, ``contents.py`` parts and space as one value,
``opened.py`` how a pack comes from its file, ``stored.py`` what goes into a file, ``decode.py`` one batch of pairs,
``arrays.py`` people's own arrays, and ``combine.py`` selections and merges.
"""
