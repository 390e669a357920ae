"""Frames on disk: info files, pictures and question/answer files of a split."""
