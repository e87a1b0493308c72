"""template.yaml as AWS would read it, and its policies as AWS would judge by them."""

import copy
import ipaddress
import json
import re
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import Path

from cfnlint.decode import decode

PATH = Path(__file__).parents[1] / "template.yaml"

ACCOUNT, REGION, NAME = "123456789012", "eu-central-1", "tremor"
PSEUDO = {
    "AWS::AccountId": ACCOUNT,
    "AWS::Region": REGION,
    "AWS::StackName": NAME,
    "AWS::Partition": "aws",
    "AWS::URLSuffix": "amazonaws.com",
}
NOTHING = object()

# Of these Ref gives the ARN; of all others a name.
REF_IS_ARN = ("AWS::ECS::TaskDefinition", "AWS::SNS::Topic", "AWS::SecretsManager::Secret")


def read_template():
    """The template as plain dictionaries, functions in their long form."""
    template, findings = decode(str(PATH))
    assert not findings
    return json.loads(json.dumps(template))


@dataclass
class Stack:
    """The template with its parameters put in: resources that would be made, values that would be.

    ``arn`` and ``ref`` of a resource are made up, but alike for all that speak of it.
    """

    template: dict
    parameters: dict = field(default_factory=dict)

    @cached_property
    def resources(self):
        """The resources that would be made, by name."""
        return {
            name: self.value(each)
            for name, each in self.template["Resources"].items()
            if "Condition" not in each or self.holds(each["Condition"])
        }

    def of_type(self, kind):
        """The properties of the resources of a type."""
        return {n: r["Properties"] for n, r in self.resources.items() if r["Type"] == kind}

    def properties(self, name):
        """The properties of one resource."""
        return self.value(self.template["Resources"][name].get("Properties", {}))

    def holds(self, name):
        """Whether a condition of the template holds."""
        return self._truth(self.template["Conditions"][name])

    def broken_rules(self):
        """What the section Rules refuses these parameters for."""
        return [
            assertion["AssertDescription"]
            for rule in self.template.get("Rules", {}).values()
            if self._truth(rule.get("RuleCondition", {"Fn::Equals": ["", ""]}))
            for assertion in rule["Assertions"]
            if not self._truth(assertion["Assert"])
        ]

    def arn(self, name):
        """The ARN of a resource."""
        kind = self.template["Resources"][name]["Type"]
        _, service, noun = kind.split("::")
        place = f"arn:aws:{service.lower()}:{REGION}:{ACCOUNT}:"
        # Asked one by one: some of them need the others.
        own = {
            "AWS::S3::Bucket": lambda: f"arn:aws:s3:::{name.lower()}",
            "AWS::IAM::Role": lambda: f"arn:aws:iam::{ACCOUNT}:role/{name.lower()}",
            "AWS::Logs::LogGroup": lambda: f"{place}log-group:{self.ref(name)}:*",
            "AWS::ECS::TaskDefinition": lambda: (
                f"{place}task-definition/{self.properties(name)['Family']}:1"
            ),
            "AWS::SNS::Topic": lambda: place + self.properties(name)["TopicName"],
            "AWS::SecretsManager::Secret": lambda: f"{place}secret:{name}-AbCdEf",
        }
        return own.get(kind, lambda: f"{place}{noun.lower()}/{self.ref(name)}")()

    def ref(self, name):
        """What ``Ref`` gives."""
        if name in PSEUDO:
            return PSEUDO[name]
        if name == "AWS::NoValue":
            return NOTHING
        if name in self.template["Parameters"]:
            return str(self.parameters.get(name, self.template["Parameters"][name]["Default"]))
        resource = self.template["Resources"][name]
        if resource["Type"] in REF_IS_ARN:
            return self.arn(name)
        properties = resource.get("Properties", {})
        named = [k for k in ("LogGroupName", "ClusterName", "Name") if k in properties]
        return self.value(properties[named[0]]) if named else name.lower()

    def value(self, node):
        """A node of the template with its functions done."""
        if isinstance(node, list):
            return [v for v in map(self.value, node) if v is not NOTHING]
        if not isinstance(node, dict):
            return node
        if len(node) == 1:
            ((name, argument),) = node.items()
            if name == "Ref":
                return self.ref(argument)
            if name.startswith("Fn::"):
                return getattr(self, "_" + name[4:].lower())(argument)
        found = {k: self.value(v) for k, v in node.items()}
        return {k: v for k, v in found.items() if v is not NOTHING}

    def _truth(self, node):
        ((name, argument),) = node.items()
        if name == "Condition":
            return self.holds(argument)
        if name == "Fn::Equals":
            return len({str(self.value(each)) for each in argument}) == 1
        if name == "Fn::Contains":
            return str(self.value(argument[1])) in argument[0]
        found = [self._truth(each) for each in argument]
        return {"Fn::Not": lambda x: not x[0], "Fn::Or": any, "Fn::And": all}[name](found)

    def _if(self, argument):
        condition, yes, no = argument
        return self.value(yes if self.holds(condition) else no)

    def _sub(self, argument):
        text, given = argument if isinstance(argument, list) else (argument, {})

        def put(match):
            name = match[1]
            if name in given:
                return str(self.value(given[name]))
            if name in self.template["Parameters"] or "." not in name:
                return str(self.ref(name))
            return str(self._getatt(name.split(".", 1)))

        return re.sub(r"\$\{([^}!]+)\}", put, text)

    def _getatt(self, argument):
        name, attribute = argument
        if attribute == "Arn":
            return self.arn(name)
        return f"{name.lower()}.{attribute.lower()}"

    def _select(self, argument):
        return self.value(argument[1])[int(argument[0])]

    def _getazs(self, _):
        return [REGION + "a", REGION + "b", REGION + "c"]

    def _cidr(self, argument):
        block, n, bits = argument
        blocks = ipaddress.ip_network(self.value(block)).subnets(new_prefix=32 - int(bits))
        # A block of a /22 for each: 64 addresses, of which AWS takes five.
        return [str(next(blocks)) for _ in range(int(n))]

    def _join(self, argument):
        return argument[0].join(self.value(argument[1]))


def listed(value):
    """A value that may stand alone, as a list."""
    return value if isinstance(value, list) else [value]


def policies(stack):
    """All statements of the stack's policies: where they stand, and each one."""
    for name, resource in stack.resources.items():
        properties = resource.get("Properties", {})
        documents = [p["PolicyDocument"] for p in properties.get("Policies", [])]
        keys = ("AssumeRolePolicyDocument", "PolicyDocument", "KeyPolicy", "RepositoryPolicyText")
        documents += [properties[key] for key in keys if key in properties]
        for document in documents:
            read = json.loads(document) if isinstance(document, str) else document
            for statement in listed(read["Statement"]):
                yield name, statement


def may(stack, role, action, resource, **context):
    """Whether a role's own policies let it do ``action`` on ``resource``."""
    own = [p["PolicyDocument"] for p in stack.properties(role).get("Policies", [])]
    others = stack.of_type("AWS::IAM::Policy").values()
    own += [p["PolicyDocument"] for p in others if role.lower() in p["Roles"]]
    statements = [s for document in own for s in listed(document["Statement"])]
    return _decided(statements, action, resource, context)


def may_be_assumed(stack, role, by, **context):
    """Whether the service ``by`` may take the role on."""
    trust = stack.properties(role)["AssumeRolePolicyDocument"]
    fitting = [
        s
        for s in listed(trust["Statement"])
        if s["Principal"] == "*" or by in listed(s["Principal"].get("Service", []))
    ]
    return _decided([{**s, "Resource": "*"} for s in fitting], "sts:AssumeRole", "*", context)


def may_by(stack, name, by, action, resource, **context):
    """Whether the policy that hangs on a resource lets the principal ``by`` do something.

    ``by`` is a service, or the ARN of an account. ``name`` is the key's or the policy's.
    """
    properties = stack.properties(name)
    document = properties.get("KeyPolicy", properties.get("PolicyDocument"))
    read = json.loads(document) if isinstance(document, str) else document
    fitting = [
        s
        for s in listed(read["Statement"])
        if s["Principal"] == "*" or by in [p for v in s["Principal"].values() for p in listed(v)]
    ]
    return _decided(fitting, action, resource, context)


def refused_to_all(stack, name, action, resource, **context):
    """Whether that policy denies it to everybody, whatever else allows it."""
    statements = [
        s
        for s in listed(stack.properties(name)["PolicyDocument"]["Statement"])
        if s["Effect"] == "Deny" and s["Principal"] == "*"
    ]
    return any(_fits(s, action, resource, context) for s in statements)


def goes_off(alarm, counted):
    """Whether an alarm rings over its last periods; ``None`` where nothing was counted."""
    compared = {
        "GreaterThanThreshold": lambda v, t: v > t,
        "GreaterThanOrEqualToThreshold": lambda v, t: v >= t,
        "LessThanThreshold": lambda v, t: v < t,
        "LessThanOrEqualToThreshold": lambda v, t: v <= t,
    }[alarm["ComparisonOperator"]]
    n = int(alarm["EvaluationPeriods"])
    bad = [
        alarm["TreatMissingData"] == "breaching" if v is None else compared(v, alarm["Threshold"])
        for v in counted[-n:]
    ]
    return sum(bad) >= int(alarm.get("DatapointsToAlarm", n))


def _decided(statements, action, resource, context):
    effects = {s["Effect"] for s in statements if _fits(s, action, resource, context)}
    return effects == {"Allow"}


def _fits(statement, action, resource, context):
    assert not {"NotAction", "NotResource", "NotPrincipal"} & set(statement), statement
    return (
        any(fnmatchcase(action.lower(), a.lower()) for a in listed(statement["Action"]))
        and any(_like(resource, r) for r in listed(statement["Resource"]))
        and all(
            _agrees(operator, context.get(_keyword(key)), listed(wanted))
            for operator, pairs in statement.get("Condition", {}).items()
            for key, wanted in pairs.items()
        )
    )


def _keyword(key):
    return re.sub(r"[:.-]", "_", key)


def _like(value, pattern):
    # IAM knows * and ?, and no brackets.
    return fnmatchcase(value, pattern.replace("[", "[[]"))


def _agrees(operator, value, wanted):
    # A key that the call does not bring never agrees: none of these ends in IfExists.
    if value is None:
        return False
    known = {
        "StringEquals": lambda w: value == w,
        "ArnEquals": lambda w: _like(value, w),
        "StringLike": lambda w: _like(value, w),
        "ArnLike": lambda w: _like(value, w),
        "Bool": lambda w: str(value).lower() == str(w).lower(),
    }
    return any(known[operator](w) for w in wanted)


def mutated(template, path, change):
    """A copy of the template with one place changed; ``None`` takes the place out."""
    found = copy.deepcopy(template)
    *steps, last = [int(p) if p.isdigit() else p for p in path.split("/")]
    at = found
    for step in steps:
        at = at[step]
    if change is None:
        del at[last]
    else:
        at[last] = change(at[last]) if callable(change) else change
    return found
