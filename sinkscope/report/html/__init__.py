"""A run as one HTML file: words and numbers as text, charts that answer the pointer, every table whole.

The file is complete in itself. Libraries for tables (DataTables) and charts (plotly.js) are inside, compressed, and so
are the tables' numbers; a content policy forbids browsers to fetch anything, and to run any script but the three that
the file was made with, which it names by their hashes. It can be mailed, archived, or opened from a disk.
"""
