"""The Hugging Face Hub as seen from outside: what can be a name there, and what an unreachable Hub looks like."""

from huggingface_hub.errors import HfHubHTTPError

# Errors of the connection itself belong to the HTTP library, and which library that is changed between huggingface_hub
# releases. All of them derive from its base error, which is also the first base of the Hub's own HTTP error.
TransportError: type[Exception] = HfHubHTTPError.__bases__[0]


def looks_like_a_path(name: str) -> bool:
    """Whether `name` can only have been meant as a path: names on the Hub are `name` or `owner/name`."""
    return name.startswith((".", "/", "~")) or "\\" in name or name.count("/") > 1 or name.endswith("/")
