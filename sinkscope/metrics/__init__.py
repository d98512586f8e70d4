"""The definitions as pure functions of tensors and arrays. Beside Python's own, imports torch and numpy alone."""
