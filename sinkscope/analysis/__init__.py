"""`sinkscope.analyze`: a model and a text in, a run out.

The drivers make the passes over the text, and the journal keeps their state on disk, so that they can be interrupted.
"""
