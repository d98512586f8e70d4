import importlib

from huggingface_hub import get_session
from huggingface_hub.errors import HfHubHTTPError
from upstream import moved

HOME = "hub"


def test_what_is_relied_on() -> None:
    from sinkscope.compat.hub import TransportError

    library = importlib.import_module(type(get_session()).__module__.partition(".")[0])
    refused = library.ConnectError("connection refused")
    what = "an error of the connection is not of the first base of HfHubHTTPError"
    assert isinstance(refused, TransportError), moved("huggingface_hub", what, HOME)
    assert TransportError not in (Exception, OSError), moved("huggingface_hub", what, HOME)
    assert issubclass(HfHubHTTPError, TransportError)
    assert not isinstance(refused, HfHubHTTPError)
