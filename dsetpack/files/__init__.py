"""Files, folders and labels as people have them, read without torch; nothing in them is ever run."""
