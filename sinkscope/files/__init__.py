"""What is on the disk: written whole or not at all, by one owner, and known by its content.

- `whole`: a file or folder is built beside its place and then takes it, in one step (`exchange`).
- `beside`: the hidden names of what is being built, and what becomes of them after a kill.
- `owner`: one process writes to a place at a time.
- `sealed`: what is kept for another process to go on with carries its hash, which is checked when it is read.
- `listed`: a folder's list of its own files; nothing else in it is ever replaced or removed.
- `renewed`: some files of a folder replaced, all at once.
- `failures`: what the system refuses, in one line.
"""

from sinkscope.files.beside import remove_leftovers
from sinkscope.files.failures import check_room, explained_failures
from sinkscope.files.whole import (
    building_file,
    building_folder,
    folder_beside,
    make_folders,
    move_into_place,
    remove_empty,
    write_json,
    write_text,
)

__all__ = [
    "building_file",
    "building_folder",
    "check_room",
    "explained_failures",
    "folder_beside",
    "make_folders",
    "move_into_place",
    "remove_empty",
    "remove_leftovers",
    "write_json",
    "write_text",
]
