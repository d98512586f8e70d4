"""What an unreachable Hugging Face Hub looks like from outside."""

from huggingface_hub.errors import HfHubHTTPError

# Errors of the connection itself belong to the HTTP library, and which library that is changed between huggingface_hub
# releases. All of them derive from its base error, which is also the first base of the Hub's own HTTP error.
TransportError: type[Exception] = HfHubHTTPError.__bases__[0]
