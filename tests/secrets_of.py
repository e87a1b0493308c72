"""Which texts of a run's environment are secrets, and whether they show anywhere."""

import base64
import re
from urllib.parse import quote, unquote

from pydantic import SecretStr

from components.settings import Settings

SECRET = [name for name, field in Settings.model_fields.items() if field.annotation is SecretStr]

# Of these addresses the path is the secret.
BY_PATH = ("webhook_url", "heartbeat_url")


def secrets_in(environment) -> set[str]:
    """The secret texts among ``TREMOR_...`` variables, as they are and as they travel."""
    found = set()
    for name in SECRET:
        value = environment.get(f"TREMOR_{name.upper()}", "")
        if "://" not in value:
            found |= {value}
        elif name in BY_PATH:
            found |= set(re.split(r"[/?=&]", value.partition("://")[2].partition("/")[2]))
        else:
            # The password of an address that cannot be read is a secret all the same.
            user = value.partition("://")[2].rpartition("@")[0]
            found |= {user.partition(":")[2]}
    return forms(text for text in found if len(text) > 3)


def forms(texts) -> set[str]:
    """Each text plainly, with and without percent codes, and in base64."""
    plain = {form for text in texts for form in (text, unquote(text), quote(text, safe=""))}
    return plain | {base64.b64encode(text.encode()).decode().rstrip("=") for text in plain}
