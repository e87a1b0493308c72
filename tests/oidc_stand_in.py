"""A small provider of OpenID Connect on loopback: real discovery, codes, signed tokens, keys."""

import contextlib
import json
import secrets
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, quote, urlencode, urlsplit

from joserfc import jwk, jwt


class Provider:
    """Who may log in is who its page lists; ``people`` has each one's claims by his name there."""

    def __init__(self, people, port):
        self.people, self.url = people, f"http://127.0.0.1:{port}"
        self.client_id, self.client_secret = "tremor", secrets.token_hex(8)
        self._key = jwk.RSAKey.generate_key(2048, parameters={"kid": "one", "use": "sig"})
        self._codes = {}

    def described(self):
        """Where its parts are, for who has its address alone."""
        return {
            "issuer": self.url,
            "authorization_endpoint": f"{self.url}/authorize",
            "token_endpoint": f"{self.url}/token",
            "jwks_uri": f"{self.url}/keys",
            "response_types_supported": ["code"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["RS256"],
        }

    def keys(self):
        """The public key by which its tokens are checked."""
        return {"keys": [self._key.as_dict(private=False)]}

    def page(self, asked):
        """The page on which a person says who he is."""
        links = [
            f'<p><a href="/chosen?{urlencode({**asked, "who": name})}">{name}</a></p>'
            for name in self.people
        ]
        return f"<html lang=en><title>Provider</title><h1>Who are you?</h1>{''.join(links)}"

    def chosen(self, asked):
        """Where the browser goes back to, with a code."""
        code = secrets.token_hex(8)
        self._codes[code] = asked
        return f"{asked['redirect_uri']}?code={code}&state={quote(asked['state'])}"

    def token(self, code):
        """What a code is exchanged for, once."""
        asked, now = self._codes.pop(code), int(time.time())
        claims = {
            "iss": self.url,
            "aud": self.client_id,
            "sub": asked["who"],
            "iat": now,
            "exp": now + 600,
            **({"nonce": asked["nonce"]} if "nonce" in asked else {}),
            **self.people[asked["who"]],
        }
        signed = jwt.encode({"alg": "RS256", "kid": "one"}, claims, self._key)
        return {"access_token": "x", "token_type": "Bearer", "expires_in": 600, "id_token": signed}


@contextlib.contextmanager
def provider(people, port):
    """Serve a provider on a port of loopback until the end."""
    made = Provider(people, port)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            parts = urlsplit(self.path)
            asked = {name: values[0] for name, values in parse_qs(parts.query).items()}
            if parts.path == "/.well-known/openid-configuration":
                self._json(made.described())
            elif parts.path == "/keys":
                self._json(made.keys())
            elif parts.path == "/authorize":
                self._send(200, made.page(asked).encode(), "text/html")
            elif parts.path == "/chosen":
                self.send_response(302)
                self.send_header("Location", made.chosen(asked))
                self.end_headers()
            else:
                self._send(404, b"", "text/plain")

        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            asked = {name: values[0] for name, values in parse_qs(body).items()}
            self._json(made.token(asked["code"]))

        def _json(self, value):
            self._send(200, json.dumps(value).encode(), "application/json")

        def _send(self, status, body, kind):
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield made
    server.shutdown()
    server.server_close()
