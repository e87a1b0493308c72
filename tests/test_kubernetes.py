"""The manifests of Kubernetes: valid by its schemas, and every pod as closed as it can be."""

import copy
import ipaddress
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from components.settings import Settings
from tests.manifests import (
    KUBERNETES,
    ROOT,
    SECRETS,
    SERVED,
    SETTINGS,
    commands,
    documents,
    kustomizations,
    pod_of,
)

# The oldest minor version that is still maintained, and the newest that the schemas know.
VERSIONS = ("1.33", "1.37")

GUIDE = (ROOT / "docs" / "CONTAINERS.md").read_text()
EXAMPLE = (KUBERNETES / "secrets.example.env").read_text()

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
    assert not any("served" in name for name in base["resources"])


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


# The hours of template.yaml, both runs in one line; the zone under its full name.
HOURS = {"schedule": "30 6,12 * * *", "timeZone": "Etc/UTC"}
HOURS_APART = 6
NODES_OWN = "169.254.0.0/16"
ANYWHERE = {"ipBlock": {"cidr": "0.0.0.0/0", "except": [NODES_OWN]}}
DNS = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}}}
# What all pods may reach beside nothing: policy, peer, ports.
OUTWARD = {
    "names": (DNS, ["UDP 53", "TCP 53"]),
    "providers-mail-warehouse": (ANYWHERE, ["TCP 443", "TCP 465", "TCP 587", "TCP 5432"]),
}


# What some pods may reach or be reached by beside.
OF_SOME = ("gateway", "cache", "venue-cache-broker")


class Cluster:
    """All that is applied, and what in it names what."""

    def __init__(self):
        self.bodies = [body for _, body in documents()]
        self.kustomizations = kustomizations()

    def the(self, kind, name=None):
        """The object of a kind, or the one of that name."""
        return next(
            b for b in self.bodies
            if b["kind"] == kind and name in {None, b["metadata"]["name"]}
        )  # fmt: skip

    def names(self, kind):
        """The names of all objects of a kind."""
        return {b["metadata"]["name"] for b in self.bodies if b["kind"] == kind}

    def labels(self):
        """The labels of the pods of each object that makes some."""
        for body in self.bodies:
            if pod_of(body):
                spec = body["spec"].get("jobTemplate", body)["spec"]
                yield spec["template"]["metadata"]["labels"]

    def loose_ends(self):
        """What is named and is not there, or is not what was meant: one line each."""
        pods = [pod for pod in map(pod_of, self.bodies) if pod]
        for pod in pods:
            yield from self._unknown_names(pod)
        yield from self._faults_of_schedule()
        yield from self._faults_of_policies()
        namespace = self.the("Namespace")["metadata"]["name"]
        for folder, body in self.kustomizations.items():
            if body.get("namespace") != namespace:
                yield f"{folder} is applied to another namespace"
        if f"kubectl create namespace {namespace}\n" not in GUIDE:
            yield "the guide makes another namespace"

    def _unknown_names(self, pod):
        if pod.get("serviceAccountName") not in self.names("ServiceAccount"):
            yield "unknown service account"
        volumes = {each["name"] for each in pod["volumes"]}
        for container in pod["containers"]:
            if {each["name"] for each in container["volumeMounts"]} != volumes:
                yield "unknown volume"
            told = {
                kind: each["name"] for way in container["envFrom"] for kind, each in way.items()
            }
            if told.get("configMapRef") not in self.names("ConfigMap"):
                yield "unknown settings"
            # The user makes it, as the guide and the example say.
            make = f"create secret generic {told.get('secretRef')} --from-env-file=secrets.env\n"
            if make not in GUIDE or make not in EXAMPLE:
                yield "unknown secret"

    def _faults_of_schedule(self):
        spec = self.the("CronJob")["spec"]
        if {name: spec.get(name) for name in HOURS} != HOURS:
            yield "other hours"
        job = spec["jobTemplate"]["spec"]
        if not 5 * 3600 <= job["activeDeadlineSeconds"] < HOURS_APART * 3600:
            yield "cut off too early, or in the way of the next run"
        codes = {"containerName": "tremor", "operator": "In", "values": [2, 3]}
        if [c["name"] for c in job["template"]["spec"]["containers"]] != [codes["containerName"]]:
            yield "another container"
        ends, goes_on = job["podFailurePolicy"]["rules"]
        if ends != {"action": "FailJob", "onExitCodes": codes}:
            yield "other exit codes"
        moved = [{"type": "DisruptionTarget", "status": "True"}]
        if goes_on != {"action": "Ignore", "onPodConditions": moved}:
            yield "a node that went away counts as a failure"

    def _faults_of_policies(self):
        policies = {b["metadata"]["name"]: b["spec"] for b in self.bodies
                    if b["kind"] == "NetworkPolicy"}  # fmt: skip
        for name, spec in policies.items():
            if not any(_selects(spec["podSelector"], labels) for labels in self.labels()):
                yield f"{name} holds for nobody"
        if set(policies) != {"nothing-unless-allowed", *OUTWARD, *OF_SOME}:
            yield "policies that no rule here knows"
        closed = {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
        if policies.get("nothing-unless-allowed") != closed:
            yield "not closed both ways"
        for name, (peer, ports) in OUTWARD.items():
            yield from _faults_outward(name, policies[name], peer, ports)
        ways = [way for spec in policies.values() for way in spec.get("egress", ())]
        blocks = [to.get("ipBlock") for way in ways for to in way.get("to", [{"ipBlock": {}}])]
        if any(b is not None and NODES_OWN not in b.get("except", ()) for b in blocks):
            yield "the node's credentials can be asked for"


def _faults_outward(name, spec, peer, ports):
    if spec["podSelector"] or spec["policyTypes"] != ["Egress"] or "ingress" in spec:
        yield f"{name} is not for all pods, outward"
    (way,) = spec["egress"]
    if way.get("to") != [peer]:
        yield f"{name} leads elsewhere"
    if [f"{port['protocol']} {port['port']}" for port in way["ports"]] != ports:
        yield f"{name} has other ports"


def _selects(selector, labels):
    """Whether a selector of pods takes those labels."""
    pairs = selector.get("matchLabels", {}).items()
    assert all(each["operator"] == "In" for each in selector.get("matchExpressions", ()))
    return pairs <= labels.items() and all(
        labels.get(each["key"]) in each["values"] for each in selector.get("matchExpressions", ())
    )


def test_all_that_is_named_exists_and_is_what_is_meant():
    """Settings, secret, account, volumes, hours, exit codes, policies, the namespace."""
    assert list(Cluster().loose_ends()) == []


def _cron(change):
    return lambda cluster: change(cluster.the("CronJob")["spec"])


def _run(change):
    return _cron(lambda spec: change(spec["jobTemplate"]["spec"]["template"]["spec"]))


def _source(number, kind, name):
    return _run(lambda pod: pod["containers"][0]["envFrom"].__setitem__(number, {kind: name}))


def _policy(name, change):
    return lambda cluster: change(cluster.the("NetworkPolicy", name)["spec"])


def _rules(cluster):
    return cluster.the("CronJob")["spec"]["jobTemplate"]["spec"]["podFailurePolicy"]["rules"]


SOME = {"matchLabels": {"app.kubernetes.io/name": "api"}}
NOBODY = {"matchLabels": {"app.kubernetes.io/name": "nobody"}}
WEB, LOOKUP = "providers-mail-warehouse", "names"

LOOSE_ENDS = [
    ("unknown settings", _source(0, "configMapRef", {"name": "settings"})),
    ("unknown settings", lambda c: c.the("ConfigMap")["metadata"].update(name="other")),
    ("unknown secret", _source(1, "secretRef", {"name": "tremor-secret"})),
    ("unknown service account", _run(lambda pod: pod.update(serviceAccountName="tremors"))),
    ("unknown volume", _run(lambda pod: pod["volumes"][0].update(name="other"))),
    ("other hours", _cron(lambda spec: spec.update(schedule="5 0 * * *"))),
    ("other hours", _cron(lambda spec: spec.update(timeZone="Asia/Tokyo"))),
    (
        "cut off too early, or in the way of the next run",
        _cron(lambda spec: spec["jobTemplate"]["spec"].update(activeDeadlineSeconds=7200)),
    ),
    ("another container", _run(lambda pod: pod["containers"][0].update(name="run"))),
    ("other exit codes", lambda c: _rules(c)[0]["onExitCodes"].update(values=[1])),
    ("other exit codes", lambda c: _rules(c)[0]["onExitCodes"].update(containerName="other")),
    ("other exit codes", lambda c: _rules(c)[0].update(action="Ignore")),
    ("a node that went away counts as a failure", lambda c: _rules(c)[1].update(action="Count")),
    ("nothing-unless-allowed holds for nobody",
     _policy("nothing-unless-allowed", lambda s: s.update(podSelector=NOBODY))),
    ("not closed both ways",
     _policy("nothing-unless-allowed", lambda s: s.update(policyTypes=["Egress"]))),
    (f"{WEB} holds for nobody", _policy(WEB, lambda s: s.update(podSelector=NOBODY))),
    (f"{WEB} is not for all pods, outward",
     _policy(WEB, lambda s: s.update(podSelector=SOME))),
    (f"{WEB} is not for all pods, outward",
     _policy(WEB, lambda s: s.update(policyTypes=["Ingress"]))),
    (f"{WEB} leads elsewhere",
     _policy(WEB, lambda s: s["egress"][0]["to"][0]["ipBlock"].update(cidr="0.0.0.0/32"))),
    (f"{WEB} has other ports", _policy(WEB, lambda s: s["egress"][0]["ports"].pop())),
    (f"{WEB} has other ports",
     _policy(WEB, lambda s: s["egress"][0]["ports"].append({"protocol": "TCP", "port": 22}))),
    ("the node's credentials can be asked for",
     _policy(WEB, lambda s: s["egress"][0]["to"][0]["ipBlock"].pop("except"))),
    ("the node's credentials can be asked for",
     _policy("venue-cache-broker", lambda s: s["egress"][0].pop("to"))),
    (f"{LOOKUP} leads elsewhere",
     _policy(LOOKUP, lambda s: s["egress"][0]["to"][0]["namespaceSelector"].update(
         matchLabels={"kubernetes.io/metadata.name": "nowhere"}))),
    (f"{LOOKUP} holds for nobody", _policy(LOOKUP, lambda s: s.update(podSelector=NOBODY))),
    ("gateway holds for nobody", _policy("gateway", lambda s: s.update(podSelector=NOBODY))),
    ("policies that no rule here knows",
     lambda c: c.bodies.append(
         c.the("NetworkPolicy", WEB) | {"metadata": {"name": "one-more"}})),
    ("base is applied to another namespace",
     lambda c: c.kustomizations["base"].update(namespace="other")),
    ("served is applied to another namespace",
     lambda c: c.kustomizations["served"].pop("namespace")),
    ("venue-cache-broker holds for nobody",
     _policy("venue-cache-broker", lambda s: s.update(podSelector=NOBODY))),
    ("stream is applied to another namespace",
     lambda c: c.kustomizations["stream"].pop("namespace")),
    ("the guide makes another namespace",
     lambda c: c.the("Namespace")["metadata"].update(name="other")),
]  # fmt: skip


@pytest.mark.parametrize(("fault", "change"), LOOSE_ENDS)
def test_each_loose_end_is_found(fault, change):
    """Each was once broken on purpose, and passed all schemas."""
    cluster = Cluster()
    change(cluster)
    assert fault in list(cluster.loose_ends())


def test_the_hours_are_those_of_the_stack():
    """Whoever moves from one to the other gets the mail at the same time."""
    stack = (ROOT / "template.yaml").read_text()

    def default(name):
        return re.search(rf"\n  {name}:\n    Type: String\n    Default: (.*)\n", stack)[1]

    main, later = (default(name) for name in ("MainSchedule", "CatchUpSchedule"))
    minute, hours, *rest = HOURS["schedule"].split()
    first, second = hours.split(",")
    assert (main, later) == (f"cron({minute} {first} * * ? *)", f"cron({minute} {second} * * ? *)")
    assert rest == ["*", "*", "*"]
    assert HOURS["timeZone"].removeprefix("Etc/") == default("ScheduleTimeZone")
    assert int(second) - int(first) == HOURS_APART


def test_the_guides_own_policies_are_valid_and_open_what_the_base_keeps_closed(tmp_path):
    """What a reader copies for other clusters' names, credentials and servers."""
    blocks = re.findall(r"^```yaml\n(.*?)^```", GUIDE, re.MULTILINE | re.DOTALL)
    bodies = [b for text in blocks for b in yaml.safe_load_all(text) if "kind" in b]
    assert {b["metadata"]["name"] for b in bodies} == {
        "node-local-names",
        "pod-identity",
        "lake-of-ours",
    }
    path = tmp_path / "more.yaml"
    path.write_text(yaml.safe_dump_all(bodies))
    validate = [Path(sys.executable).with_name("kubernetes-validate"), "--strict", path]
    done = subprocess.run(validate, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for body in bodies:
        assert body["kind"] == "NetworkPolicy"
        assert body["spec"]["policyTypes"] == ["Egress"]
        for way in body["spec"]["egress"]:
            assert way["to"]
            assert way["ports"]
            for to in way["to"]:
                network = ipaddress.ip_network(to["ipBlock"]["cidr"])
                assert network.num_addresses == 1 or network.prefixlen >= 16


def test_every_image_is_this_version_of_the_program():
    """One name and version, so that an overlay replaces all by one line."""
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    images = {
        (path.parent.name == "served", each["image"])
        for path, body in PODS
        for each in pod_of(body)["containers"]
    }
    assert images == {(False, f"tremor:{version}"), (True, f"tremor-served:{version}")}


def test_every_container_runs_a_command_that_exists():
    """And what serves stands apart, with an image of its own, and listens beyond its pod."""
    known = commands()
    for _, body in PODS:
        for container in pod_of(body)["containers"]:
            assert "command" not in container, "the image's entry point is kept"
            assert container["args"][0] in known
            assert ("--address" in container["args"]) == (container["args"][0] in SERVED)
    served = [body for path, body in PODS if path.parent.name == "served"]
    assert {pod_of(body)["containers"][0]["args"][0] for body in served} == SERVED


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
