"""Translations: which ways a model goes, what they look like, how good they are, and folders of pictures."""
