"""The labelling rule: from an info file to scenes, questions and answers."""
