"""Frames on disk: info files, images and question/answer files of a split."""
