"""A model served over HTTP in the words of several servers: what each takes, what it refuses, what it gives back.

Two models can be served: one that knows a handful of sentences by heart, which costs nothing, and one of transformers.
"""

from __future__ import annotations

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

STANDARD = {"model", "prompt", "messages", "max_tokens", "temperature", "seed", "top_p", "stream"}
PENALTIES = {"frequency_penalty", "presence_penalty", "n"}
OWN = {"top_k", "repetition_penalty", "repeat_penalty", "cache_prompt"}
ECHO = {"echo", "logprobs"}
# Which fields each takes, what it does with "echo", and which interfaces it has.
DIALECTS = {
    "vllm": {"takes": STANDARD | PENALTIES | OWN | ECHO, "echo": "with log-probabilities"},
    "llama.cpp": {"takes": STANDARD | PENALTIES | OWN | ECHO, "echo": "refused"},
    "ollama": {"takes": STANDARD | PENALTIES | OWN | ECHO, "echo": "ignored"},
    "tgi": {"takes": STANDARD | PENALTIES, "echo": "refused"},
    "transformers": {"takes": STANDARD | PENALTIES | ECHO, "echo": "ignored", "code": 422},
    "openai": {"takes": (STANDARD | PENALTIES) - {"max_tokens"} | {"max_completion_tokens"}, "echo": "refused"},
}


class Served:
    """A model behind a dialect, on a port of this machine, until ``close``.

    broken: called with each request; what it gives back, (code, headers, body), is sent in place of an answer.
    """

    def __init__(self, model, dialect: str, broken=lambda number: None) -> None:
        self.model, self.dialect = model, DIALECTS[dialect]
        self.models = (200, {"data": [{"id": "practice", "owned_by": "us"}]})
        self.broken, self.bodies, self.keys, self.under_way, self.most = broken, [], set(), 0, 0
        self.counting = threading.Lock()
        served = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def do_GET(self):
                self.give(*served.models)

            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                with served.counting:
                    served.bodies.append((self.path, body))
                    served.keys.add(self.headers.get("Authorization"))
                    number = len(served.bodies)
                    served.under_way += 1
                    served.most = max(served.most, served.under_way)
                try:
                    found = served.broken(number)
                    self.give(*(found or served.answer(self.path, body)))
                finally:
                    with served.counting:
                        served.under_way -= 1

            def give(self, code, body, headers=()):
                raw = body if isinstance(body, bytes) else json.dumps(body).encode()
                self.send_response(code)
                for name, value in headers:
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(raw)))
                self.end_headers()
                self.wfile.write(raw)

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.server.handle_error = lambda *_: None  # one who asked may be gone before the answer: no fault of a test's
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()

    def answer(self, path: str, body: dict) -> tuple[int, dict]:
        unknown = body.keys() - self.dialect["takes"]
        if path.endswith("/chat/completions"):
            unknown -= ECHO
        if unknown or (body.get("echo") and self.dialect["echo"] == "refused"):
            return self.dialect.get("code", 400), {
                "error": {"message": f"Unknown or unsupported: {', '.join(sorted(unknown)) or 'echo'}"}
            }
        time.sleep(0.002)  # so that requests meet
        room = body.get("max_tokens", body.get("max_completion_tokens"))
        if path.endswith("/chat/completions"):
            prompt = "".join(f"{turn['content']} " for turn in body["messages"]).strip()
            text, ended = self.model.say(prompt, room)
            message = {"role": "assistant", "content": text.strip()}
            return 200, {"choices": [{"message": message, "finish_reason": "stop" if ended else "length"}]}
        text, ended = self.model.say(body["prompt"], room)
        choice = {"text": text, "logprobs": None, "finish_reason": "stop" if ended else "length"}
        if body.get("echo") and self.dialect["echo"] == "with log-probabilities":
            choice |= {"text": body["prompt"] + text, "logprobs": self.model.echo(body["prompt"], text)}
        return 200, {"choices": [choice]}


class ByHeart:
    """Knows how some sentences go on; its tokens are letters."""

    def __init__(self, **sentences: str) -> None:
        self.sentences = [f"{prompt} {answer}" for prompt, answer in sentences.items()]

    def say(self, prompt: str, room: int) -> tuple[str, bool]:
        rest = next((one[len(prompt) :] for one in self.sentences if one.startswith(prompt)), "")
        return rest[:room], len(rest) < room

    def echo(self, prompt: str, text: str) -> dict:
        """As vLLM gives it, with a begin-of-text mark in front that is no part of the text."""
        values, tops = [], []
        for at, letter in enumerate(prompt):
            wanted = self.say(prompt[:at], 1)[0]
            values.append(-0.1 if letter == wanted else -5.0)
            tops.append({letter: -0.1} if letter == wanted else {letter: -5.0, wanted or "~": -0.05})
        return {
            "tokens": ["<s>", *prompt, text],
            "token_logprobs": [None, *values, -0.5],
            "top_logprobs": [None, *tops, None],
        }


class OfTransformers:
    """A model of transformers, which is asked by one request after the other."""

    def __init__(self, model, tokenizer) -> None:
        self.model, self.tokenizer, self.lock = model, tokenizer, threading.Lock()

    def say(self, prompt: str, room: int) -> tuple[str, bool]:
        import torch

        ids = self.tokenizer(prompt, return_tensors="pt").input_ids
        with self.lock, torch.inference_mode():
            mask = torch.ones_like(ids)
            out = self.model.generate(input_ids=ids, attention_mask=mask, max_new_tokens=room, do_sample=False)
        new = out[0, ids.shape[1] :]
        ended = bool((new == self.tokenizer.eos_token_id).any())
        return self.tokenizer.decode(new, skip_special_tokens=True), ended

    def echo(self, prompt: str, text: str) -> dict:
        import torch

        ids = self.tokenizer(prompt, return_tensors="pt").input_ids
        with self.lock, torch.inference_mode():
            logs = self.model(input_ids=ids).logits[0].log_softmax(-1)
        own = [None, *logs[:-1].gather(1, ids[0, 1:, None])[:, 0].tolist(), -0.5]
        pieces = [self.tokenizer.decode(token) for token in ids[0].tolist()]
        best = logs.max(-1)
        both = zip(best.indices.tolist(), best.values.tolist(), strict=True)
        tops = [{self.tokenizer.decode(token): value} for token, value in both]
        return {"tokens": [*pieces, text], "token_logprobs": own, "top_logprobs": [None, *tops]}
