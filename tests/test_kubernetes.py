"""The manifests of Kubernetes: valid by its schemas, and every pod as closed as it can be."""

import copy
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from components.settings import Settings
from tests.manifests import (
    ANNOUNCED,
    KUBERNETES,
    ROOT,
    SECRETS,
    SETTINGS,
    commands,
    documents,
    pod_of,
)

# The oldest minor version that is still maintained, and the newest that the schemas know.
VERSIONS = ("1.33", "1.37")

PODS = [(path, body) for path, body in documents() if pod_of(body)]
every_pod = pytest.mark.parametrize(
    "body", [body for _, body in PODS], ids=lambda body: body["metadata"]["name"]
)


def faults(body):
    """What is open, unbounded or told in plain in the pod of an object: one line each."""
    pod = pod_of(body)
    found = [] if pod.get("automountServiceAccountToken") is False else ["token mounted"]
    context = pod.get("securityContext", {})
    if context.get("runAsNonRoot") is not True or context.get("runAsUser") != 10001:
        found.append("may be root")
    if context.get("seccompProfile") != {"type": "RuntimeDefault"}:
        found.append("no seccomp profile")
    if any(pod.get(name) for name in ("hostNetwork", "hostPID", "hostIPC")):
        found.append("shares the host")
    found += [
        f"volume {volume['name']} has no bound"
        for volume in pod["volumes"]
        if not volume.get("emptyDir", {}).get("sizeLimit")
    ]
    for container in pod["containers"]:
        found += [*_open(container), *_unbounded(container)]
        if body["kind"] == "Deployment":
            probes = ("startupProbe", "readinessProbe", "livenessProbe")
            found += [f"no {probe}" for probe in probes if probe not in container]
    if body["kind"] == "CronJob":
        found += _faults_of_job(body["spec"])
    return found


def _open(container):
    context = container.get("securityContext", {})
    if context.get("allowPrivilegeEscalation") is not False or context.get("privileged"):
        yield "may gain rights"
    if context.get("readOnlyRootFilesystem") is not True:
        yield "root file system can be written"
    if context.get("capabilities") != {"drop": ["ALL"]}:
        yield "keeps capabilities"
    if {"runAsUser", "runAsNonRoot"} & set(context):
        yield "overrides the pod's user"
    for each in container.get("env", ()):
        if each["name"] in SECRETS and each.get("value"):
            yield f"{each['name']} in plain"


def _unbounded(container):
    resources = container.get("resources", {})
    for kind in ("requests", "limits"):
        for what in ("cpu", "memory", "ephemeral-storage"):
            if what not in resources.get(kind, {}):
                yield f"no {kind} of {what}"
    if not re.search(r":(?!latest$)[\w.-]+$|@sha256:[0-9a-f]{64}$", container["image"]):
        yield "image of no fixed version"
    if sorted(m["mountPath"] for m in container["volumeMounts"]) != ["/tmp", "/var/lib/tremor"]:
        yield "the writable places are not the image's"


def _faults_of_job(spec):
    job = spec["jobTemplate"]["spec"]
    if spec.get("concurrencyPolicy") != "Forbid":
        yield "two at a time"
    if not spec.get("timeZone"):
        yield "no time zone"
    wanted = {"activeDeadlineSeconds", "backoffLimit", "ttlSecondsAfterFinished"}
    yield from (f"no {name}" for name in sorted(wanted - set(job)))
    if "startingDeadlineSeconds" not in spec:
        yield "no startingDeadlineSeconds"


@pytest.mark.parametrize("version", VERSIONS)
def test_every_manifest_is_valid_by_the_schemas_of_kubernetes(version):
    """Strictly: a property that Kubernetes does not know, a typing error, is refused."""
    files = {str(path) for path, _ in documents()}
    validate = [Path(sys.executable).with_name("kubernetes-validate"), "-k", version, "--strict"]
    done = subprocess.run([*validate, *files], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    said = done.stdout + done.stderr
    assert said.count("passed for resource") == len(list(documents()))


def test_a_misspelt_property_is_refused(tmp_path):
    """The validation above can fail."""
    path = tmp_path / "cronjob.yaml"
    text = (KUBERNETES / "base" / "cronjob.yaml").read_text()
    path.write_text(text.replace("readOnlyRootFilesystem", "readonlyRootFilesystem"))
    validate = [Path(sys.executable).with_name("kubernetes-validate"), "--strict", path]
    done = subprocess.run(validate, capture_output=True, text=True, check=False)
    assert done.returncode
    assert "readonlyRootFilesystem" in done.stdout + done.stderr


def test_every_file_is_part_of_what_is_applied():
    """A manifest that no kustomization names would be checked here and never reach a cluster."""
    for file in KUBERNETES.rglob("kustomization.yaml"):
        named = yaml.safe_load(file.read_text())["resources"]
        beside = {path.name for path in file.parent.glob("*.yaml")} - {"kustomization.yaml"}
        assert beside == {name for name in named if name.endswith(".yaml")}
        assert all((file.parent / name).exists() for name in named)
    base = yaml.safe_load((KUBERNETES / "base" / "kustomization.yaml").read_text())
    assert not any("announced" in name for name in base["resources"])


@every_pod
def test_every_pod_is_closed_and_bounded(body):
    """Non-root, read-only, no capability, no token, bounded, probed, no secret in plain."""
    assert faults(body) == []


def _pod(change):
    return lambda body: change(pod_of(body))


def _container(change):
    return lambda body: change(pod_of(body)["containers"][0])


# Each rule and a change that breaks it.
MUTATIONS = {
    "token mounted": _pod(lambda pod: pod.pop("automountServiceAccountToken")),
    "may be root": _pod(lambda pod: pod["securityContext"].update(runAsUser=0)),
    "no seccomp profile": _pod(lambda pod: pod["securityContext"].pop("seccompProfile")),
    "shares the host": _pod(lambda pod: pod.update(hostNetwork=True)),
    "volume state has no bound": _pod(lambda pod: pod["volumes"][0].update(emptyDir={})),
    "may gain rights": _container(lambda c: c["securityContext"].update(privileged=True)),
    "root file system can be written": _container(
        lambda c: c["securityContext"].pop("readOnlyRootFilesystem")
    ),
    "keeps capabilities": _container(
        lambda c: c["securityContext"]["capabilities"].update(add=["NET_ADMIN"])
    ),
    "overrides the pod's user": _container(lambda c: c["securityContext"].update(runAsUser=0)),
    "no limits of memory": _container(lambda c: c["resources"]["limits"].pop("memory")),
    "no requests of cpu": _container(lambda c: c["resources"]["requests"].pop("cpu")),
    "image of no fixed version": _container(lambda c: c.update(image="tremor:latest")),
    "the writable places are not the image's": _container(
        lambda c: c["volumeMounts"][0].update(mountPath="/app")
    ),
    "TREMOR_SMTP_URL in plain": _container(
        lambda c: c.update(env=[{"name": "TREMOR_SMTP_URL", "value": "smtps://a:b@c"}])
    ),
    "no startupProbe": _container(lambda c: c.pop("startupProbe", None)),
    "no readinessProbe": _container(lambda c: c.pop("readinessProbe", None)),
    "no livenessProbe": _container(lambda c: c.pop("livenessProbe", None)),
    "two at a time": lambda body: body["spec"].pop("concurrencyPolicy", None),
    "no time zone": lambda body: body["spec"].pop("timeZone", None),
    "no startingDeadlineSeconds": lambda body: body["spec"].pop("startingDeadlineSeconds", None),
    "no activeDeadlineSeconds": lambda body: (
        body["spec"].get("jobTemplate", {}).get("spec", {}).pop("activeDeadlineSeconds", None)
    ),
}

OF_ONE_KIND = {
    "CronJob": {"two at a time", "no time zone"}
    | {f"no {what}DeadlineSeconds" for what in ("starting", "active")},
    "Deployment": {f"no {what}Probe" for what in ("startup", "readiness", "liveness")},
}


@pytest.mark.parametrize("fault", MUTATIONS)
def test_each_rule_catches_what_breaks_it(fault):
    """A rule that finds nothing would hold nothing."""
    seen = 0
    for _, body in PODS:
        kinds = {kind for kind, rules in OF_ONE_KIND.items() if fault in rules}
        if kinds and body["kind"] not in kinds:
            continue
        broken = copy.deepcopy(body)
        MUTATIONS[fault](broken)
        assert fault in faults(broken)
        seen += 1
    assert seen


def test_every_image_is_this_version_of_the_program():
    """One name and version, so that an overlay replaces all by one line."""
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    images = {each["image"] for _, body in PODS for each in pod_of(body)["containers"]}
    assert images == {f"tremor:{version}"}


def test_every_container_runs_a_command_that_exists_or_is_announced():
    """And what is announced stands apart: built, its manifests must leave that corner."""
    known = commands()
    assert not ANNOUNCED & known, "built: move its manifests to the base"
    for path, body in PODS:
        for container in pod_of(body)["containers"]:
            assert "command" not in container, "the image's entry point is kept"
            allowed = ANNOUNCED if path.parent.name == "announced" else known
            assert container["args"][0] in allowed
    announced = [body for path, body in PODS if path.parent.name == "announced"]
    assert {pod_of(body)["containers"][0]["args"][0] for body in announced} == ANNOUNCED


def test_the_settings_exist_can_be_read_and_hold_no_secret(monkeypatch, tmp_path):
    """A misspelt setting would be ignored without a word."""
    data = next(b["data"] for _, b in documents() if b["kind"] == "ConfigMap")
    lines = (KUBERNETES / "secrets.example.env").read_text().splitlines()
    secrets = dict(line.split("=", 1) for line in lines if not line.startswith("#"))
    ours = {name for name in [*data, *secrets] if not name.startswith("AWS_")}
    assert ours <= SETTINGS
    assert not set(data) & SECRETS
    assert set(secrets) <= SECRETS
    assert not any(secrets.values()), "the example holds no value"
    for name, value in data.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    assert Settings().lake_root == data["TREMOR_LAKE_URL"]


def test_nothing_is_reached_unless_allowed():
    """All pods are closed both ways first; ports then are those of names, web, mail, warehouse."""
    policies = {b["metadata"]["name"]: b["spec"] for p, b in documents(KUBERNETES / "base")
                if b["kind"] == "NetworkPolicy"}  # fmt: skip
    closed = {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    assert policies.pop("nothing-unless-allowed") == closed
    ports = {
        each["port"]
        for spec in policies.values()
        for way in spec["egress"]
        for each in way["ports"]
    }
    assert ports == {53, 443, 465, 587, 5432}
    assert not any(spec.get("ingress") for spec in policies.values())
    blocks = [
        to["ipBlock"]
        for spec in policies.values()
        for way in spec["egress"]
        for to in way["to"]
        if "ipBlock" in to
    ]
    assert all("169.254.0.0/16" in block["except"] for block in blocks)


def test_the_namespace_refuses_what_is_less_closed():
    """The cluster itself then holds the rules above, also for pods that are not ours."""
    namespace = next(b for _, b in documents() if b["kind"] == "Namespace")
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"


def test_services_and_budgets_select_pods_that_exist():
    """By label and by the name of the port."""
    pods = {
        body["spec"]["template"]["metadata"]["labels"]["app.kubernetes.io/name"]: pod_of(body)
        for _, body in PODS
        if body["kind"] == "Deployment"
    }
    for _, body in documents():
        if body["kind"] == "Service":
            pod = pods[body["spec"]["selector"]["app.kubernetes.io/name"]]
            names = {port["name"] for port in pod["containers"][0]["ports"]}
            assert {port["targetPort"] for port in body["spec"]["ports"]} <= names
        if body["kind"] == "PodDisruptionBudget":
            assert body["spec"]["selector"]["matchLabels"]["app.kubernetes.io/name"] in pods
