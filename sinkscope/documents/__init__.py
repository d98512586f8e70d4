"""What is read from disk, checked before it is used: every kind of document is declared once, and read by one function.

`read` opens and limits a file, `check` holds what it says against its declaration, `complaint` makes one line of what
does not fit. `model_folder` declares the documents of a model, `vscale` that of V-scale, `state` what unfinished work
keeps. What other rooms declare for themselves is checked by the same functions: recipes (`training.recipe`), run.json
(`provenance.document`), tables (`tables.stored`).
"""
