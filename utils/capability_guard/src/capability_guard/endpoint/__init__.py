"""A model that is served: asked over HTTP, through the completions and chat interfaces that OpenAI's servers have and others speak.

``calls`` sends a request and tries again; ``dialect`` finds out what a server offers; ``echo`` reads the log-probabilities of a
prompt; ``questions`` asks one probe; ``served`` all of them, several at a time. torch is not needed for any of it.

    from capability_guard.endpoint import Endpoint, measure_endpoint

    after = measure_endpoint(Endpoint("http://localhost:8000", "my-model"), load_probes("my_probes.jsonl"))
"""

from capability_guard.endpoint.calls import Endpoint, EndpointError
from capability_guard.endpoint.served import measure_endpoint

__all__ = ["Endpoint", "EndpointError", "measure_endpoint"]
