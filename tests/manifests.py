"""The pods of compose.yaml and deploy/kubernetes, as plain data, and the commands they run."""

from pathlib import Path

import yaml
from typer.main import get_command

from components.entrypoints.cli import app
from components.settings import Settings

ROOT = Path(__file__).parents[1]
KUBERNETES = ROOT / "deploy" / "kubernetes"

# What an image with more packages serves; their manifests stand in a folder, and a profile, of
# their own.
SERVED = {"serve", "dashboard"}

SECRETS = {
    "TREMOR_" + name.upper()
    for name, field in Settings.model_fields.items()
    if "SecretStr" in str(field.annotation)
} | {"AWS_SECRET_ACCESS_KEY"}
SETTINGS = {"TREMOR_" + name.upper() for name in Settings.model_fields}


def commands():
    """The commands that the command line has."""
    return set(get_command(app).commands)


def documents(folder=KUBERNETES):
    """All objects in the manifests below a folder, with the file that each stands in."""
    for path in sorted(folder.rglob("*.yaml")):
        for body in yaml.safe_load_all(path.read_text()):
            if body["kind"] != "Kustomization":
                yield path, body


def pod_of(body):
    """The pod's specification that an object makes, or None."""
    if body["kind"] == "CronJob":
        return body["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    return body["spec"]["template"]["spec"] if body["kind"] == "Deployment" else None


def kustomizations():
    """The kustomization of each folder, by the folder's name."""
    files = sorted(KUBERNETES.rglob("kustomization.yaml"))
    return {path.parent.name: yaml.safe_load(path.read_text()) for path in files}


def compose():
    """All of compose.yaml: its services, its volumes."""
    return yaml.safe_load((ROOT / "compose.yaml").read_text())
