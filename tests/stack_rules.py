"""What the stack promises, as rules over template.yaml.

Each rule gives its findings: least privilege, encryption, no secret in plain, and the like.
"""

import json
import re
from urllib.parse import urlsplit

from pydantic import SecretStr

from components.settings import Settings
from tests.stack import (
    ACCOUNT,
    NAME,
    REGION,
    Stack,
    listed,
    may,
    may_be_assumed,
    policies,
    read_template,
)

TEMPLATE = read_template()
SECRETS = tuple(p for p in TEMPLATE["Parameters"] if p.endswith("SecretArn"))

# The parameters under which every rule is tried.
WORLDS = {
    "as it comes": {},
    "all of it": {
        **{p: f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:{p}-AbCdEf" for p in SECRETS},
        "WarehouseUrlSecretArn": "",
        "SecretsKeyArn": f"arn:aws:kms:{REGION}:{ACCOUNT}:key/1",
        "ImageRepositoryArn": f"arn:aws:ecr:{REGION}:{ACCOUNT}:repository/other",
        "SettingsFile": "settings/tremor.env",
        "Symbols": "AAA,BBB",
        "AlertTo": "analyst@example.org",
        "AlarmEmail": "operator@example.org",
        "AthenaDatabase": "shop",
        "AthenaTablesBucket": "tables",
        "Egress": "NatGateway",
        "InterfaceEndpoints": "true",
    },
    "a database of yours": {
        "WarehouseUrlSecretArn": f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:db-AbCdEf",
        "BucketEncryption": "AES256",
    },
}

# Whoever may do these to every resource, and why there is no less.
ON_EVERYTHING = {
    ("ExecutionRole", "LogInToTheRegistry"): "the service knows no resource for it",
    ("Key", "TheAccountDecidesByItsPolicies"): "in a key's policy * is the key",
    ("Key", "TheLogServiceForTheseLogGroups"): "in a key's policy * is the key",
    ("Key", "AlarmsForTheTopic"): "in a key's policy * is the key",
}
# Every action of one service, and why.
EVERY_ACTION = {
    ("Key", "TheAccountDecidesByItsPolicies"): "without it nobody could ever change the key",
}

# How a resource that stores something tells that it is encrypted, by the stack's key.
ENCRYPTED = {
    "AWS::S3::Bucket": lambda p: (
        p["BucketEncryption"]["ServerSideEncryptionConfiguration"][0][
            "ServerSideEncryptionByDefault"
        ]["SSEAlgorithm"]
        in ("aws:kms", "AES256")
    ),
    "AWS::RDS::DBInstance": lambda p: p["StorageEncrypted"] is True and p["KmsKeyId"],
    "AWS::SecretsManager::Secret": lambda p: p["KmsKeyId"],
    "AWS::ECR::Repository": lambda p: (
        p["EncryptionConfiguration"]["EncryptionType"] == "KMS"
        and p["EncryptionConfiguration"]["KmsKey"]
    ),
    "AWS::Logs::LogGroup": lambda p: p["KmsKeyId"],
    "AWS::SQS::Queue": lambda p: p["KmsMasterKeyId"],
    "AWS::SNS::Topic": lambda p: p["KmsMasterKeyId"],
    "AWS::KMS::Key": lambda p: p["EnableKeyRotation"] is True,
}
# These store nothing of ours. A schedule holds the names of things, under a key of the service.
STORES_NOTHING = (
    r"AWS::EC2::|AWS::IAM::|AWS::ECS::|AWS::Events::Rule|AWS::Scheduler::|AWS::CloudWatch::Alarm"
    r"|AWS::RDS::DBSubnetGroup|AWS::Logs::(ResourcePolicy|MetricFilter)|AWS::SNS::Subscription"
    r"|AWS::(S3::Bucket|SQS::Queue|SNS::Topic)Policy"
)

# Fargate's CPU units and the MiB of memory that go with them, of those that are offered.
FARGATE = {
    256: (512, 1024, 2048),
    512: (1024, 2048, 3072, 4096),
    1024: (2048, 3072, 4096, 8192),
    2048: (4096, 8192, 16384),
    4096: (8192, 16384, 30720),
}


def stacks(template):
    return [Stack(template, parameters) for parameters in WORLDS.values()]


def in_every_world(rule):
    """A rule over one stack, tried under every set of parameters."""

    def over(template):
        return [finding for stack in stacks(template) for finding in rule(stack)]

    over.__name__, over.__doc__ = rule.__name__, rule.__doc__
    return over


@in_every_world
def no_wildcards(stack):
    """Nobody may do everything, nor anything to everything, but for the few that are named."""
    for name, statement in policies(stack):
        where = (name, statement.get("Sid", ""))
        if {"NotAction", "NotResource", "NotPrincipal"} & set(statement):
            yield f"{where} says what is not meant"
        if statement["Effect"] != "Allow":
            continue
        is_all = any(re.search(r"^\*|:\*$", a) for a in listed(statement["Action"]))
        if is_all and where not in EVERY_ACTION:
            yield f"{where} allows every action"
        if "*" in listed(statement.get("Resource", [])) and where not in ON_EVERYTHING:
            yield f"{where} allows it on everything"
        if "*" in str(statement.get("Principal", "")):
            yield f"{where} allows everybody"


@in_every_world
def all_encrypted(stack):
    """Whatever stores something is encrypted."""
    for name, resource in stack.resources.items():
        kind = resource["Type"]
        try:
            is_kept = ENCRYPTED[kind](resource["Properties"]) if kind in ENCRYPTED else None
        except KeyError:
            is_kept = False
        if is_kept is None and not re.match(STORES_NOTHING, kind):
            yield f"{name}: nobody said how a {kind} is encrypted"
        elif is_kept is not None and not is_kept:
            yield f"{name} is not encrypted"


@in_every_world
def only_by_tls(stack):
    """Bucket, queue and topic refuse whoever comes without TLS."""
    kinds = {"AWS::S3::BucketPolicy", "AWS::SQS::QueuePolicy", "AWS::SNS::TopicPolicy"}
    for kind in kinds:
        for name, properties in stack.of_type(kind).items():
            refused = [
                s
                for s in properties["PolicyDocument"]["Statement"]
                if s["Effect"] == "Deny"
                and s["Principal"] == "*"
                and s["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
            ]
            if not refused:
                yield f"{name} lets plain HTTP in"
    have = {r["Type"] for r in stack.resources.values()}
    yield from (f"no {kind}" for kind in kinds - have)


@in_every_world
def secrets_stay_secret(stack):
    """No secret setting stands in the task's plain environment, and no password in the template."""
    secret = {
        f"TREMOR_{name}".upper()
        for name, each in Settings.model_fields.items()
        if each.annotation is SecretStr
    }
    (container,) = stack.properties("TaskDefinition")["ContainerDefinitions"]
    for entry in container["Environment"]:
        url = urlsplit(entry["Value"])
        if entry["Name"] == "TREMOR_WAREHOUSE_URL":
            if url.password or url.query != "sslmode=require":
                yield "the warehouse's address holds a password, or asks for no encryption"
        elif entry["Name"] in secret:
            yield f"{entry['Name']} is plain"
        elif url.password:
            yield f"{entry['Name']} holds a password"
    given = {s["Name"] for s in container["Secrets"]}
    yield from (f"{name} is given as a secret and is none" for name in given - secret)
    for entry in container["Secrets"]:
        if not entry["ValueFrom"].startswith("arn:aws:secretsmanager:"):
            yield f"{entry['Name']} comes from elsewhere"
    for database in stack.of_type("AWS::RDS::DBInstance").values():
        if not database["MasterUserPassword"].startswith("{{resolve:secretsmanager:arn:"):
            yield "the database's password stands in the template"


def every_secret_has_a_way_in(template):
    """Each secret setting can be had from a secret, in one world or another."""
    wanted = {n for n, f in Settings.model_fields.items() if f.annotation is SecretStr}
    for stack in stacks(template):
        (container,) = stack.properties("TaskDefinition")["ContainerDefinitions"]
        wanted -= {s["Name"].removeprefix("TREMOR_").lower() for s in container["Secrets"]}
    yield from (f"{name} cannot be given" for name in wanted)


@in_every_world
def nothing_starts_the_task_again(stack):
    """A batch that has ended stays ended: there is no service, and one scheduler alone."""
    for name, resource in stack.resources.items():
        if resource["Type"] in ("AWS::ECS::Service", "AWS::ECS::TaskSet"):
            yield f"{name} would start the task for ever"
        targets = resource.get("Properties", {}).get("Targets", [])
        if resource["Type"] == "AWS::Events::Rule" and any(":ecs:" in t["Arn"] for t in targets):
            yield f"{name} starts the task by a rule"


@in_every_world
def the_scheduler_may_run_this_task_alone(stack):
    """The scheduler can take its role on, run this task, hand over its two roles; no more."""
    role = "SchedulerRole"
    group = f"arn:aws:scheduler:{REGION}:{ACCOUNT}:schedule-group/{NAME}"
    ours = {"aws_SourceAccount": ACCOUNT, "aws_SourceArn": group}
    task = f"arn:aws:ecs:{REGION}:{ACCOUNT}:task-definition/"
    cluster = {"ecs_cluster": stack.arn("Cluster")}
    passed = {"iam_PassedToService": "ecs-tasks.amazonaws.com"}
    queue, key = stack.arn("DeadLetters"), stack.arn("Key")
    via = {"kms_ViaService": f"sqs.{REGION}.amazonaws.com"}
    asked = [
        (True, may_be_assumed(stack, role, "scheduler.amazonaws.com", **ours), "assume"),
        (False, may_be_assumed(stack, role, "events.amazonaws.com", **ours), "events"),
        (False, may_be_assumed(stack, role, "ecs-tasks.amazonaws.com", **ours), "tasks"),
        (
            False,
            may_be_assumed(
                stack,
                role,
                "scheduler.amazonaws.com",
                aws_SourceAccount="210987654321",
                aws_SourceArn=group.replace(ACCOUNT, "210987654321"),
            ),
            "another account's schedule",
        ),
        (
            False,
            may_be_assumed(
                stack,
                role,
                "scheduler.amazonaws.com",
                aws_SourceAccount=ACCOUNT,
                aws_SourceArn=group + "-other",
            ),
            "another group",
        ),
        (True, may(stack, role, "ecs:RunTask", task + NAME + ":7", **cluster), "run"),
        (False, may(stack, role, "ecs:RunTask", task + "other:7", **cluster), "another task"),
        (
            False,
            may(
                stack,
                role,
                "ecs:RunTask",
                task + NAME + ":7",
                ecs_cluster=stack.arn("Cluster") + "2",
            ),
            "another cluster",
        ),
        (False, may(stack, role, "ecs:StopTask", task + NAME + ":7", **cluster), "stop"),
        (True, may(stack, role, "iam:PassRole", stack.arn("TaskRole"), **passed), "pass 1"),
        (True, may(stack, role, "iam:PassRole", stack.arn("ExecutionRole"), **passed), "pass 2"),
        (False, may(stack, role, "iam:PassRole", stack.arn(role), **passed), "pass its own"),
        (
            False,
            may(stack, role, "iam:PassRole", f"arn:aws:iam::{ACCOUNT}:role/admin", **passed),
            "pass another role",
        ),
        (
            False,
            may(
                stack,
                role,
                "iam:PassRole",
                stack.arn("TaskRole"),
                iam_PassedToService="ec2.amazonaws.com",
            ),
            "pass to another service",
        ),
        (True, may(stack, role, "sqs:SendMessage", queue), "dead letters"),
        (False, may(stack, role, "sqs:SendMessage", queue + "2"), "another queue"),
        (True, may(stack, role, "kms:GenerateDataKey", key, **via), "encrypt dead letters"),
        (False, may(stack, role, "kms:GenerateDataKey", key), "use the key elsewhere"),
    ]
    yield from (f"{what}: wanted {wanted}" for wanted, got, what in asked if wanted != got)


@in_every_world
def schedules_run_the_task(stack):
    """Two schedules run this very task by that role, try the call again, keep what failed."""
    schedules = stack.of_type("AWS::Scheduler::Schedule")
    if len({s["ScheduleExpression"] for s in schedules.values()}) != 2:
        yield "not two schedules"
    for name, schedule in schedules.items():
        target = schedule["Target"]
        wanted = {
            "the cluster": target["Arn"] == stack.arn("Cluster"),
            "its role": target["RoleArn"] == stack.arn("SchedulerRole"),
            "the task": target["EcsParameters"]["TaskDefinitionArn"] == stack.arn("TaskDefinition"),
            "Fargate": target["EcsParameters"]["LaunchType"] == "FARGATE",
            "a queue": target.get("DeadLetterConfig") == {"Arn": stack.arn("DeadLetters")},
            "tries": target.get("RetryPolicy", {}).get("MaximumRetryAttempts", 0) > 0,
            "a window": schedule["FlexibleTimeWindow"]["Mode"] == "FLEXIBLE",
            "a time zone": schedule["ScheduleExpressionTimezone"] == "UTC",
            "to be on": schedule["State"] == "ENABLED",
            "the group": schedule["GroupName"] == NAME,
        }
        yield from (f"{name} lacks {what}" for what, holds in wanted.items() if not holds)
        network = target["EcsParameters"]["NetworkConfiguration"]["AwsvpcConfiguration"]
        has_nat = stack.holds("UsesNat")
        if network["AssignPublicIp"] != ("DISABLED" if has_nat else "ENABLED"):
            yield f"{name}: the task could not reach its provider"
        if any(("private" in s) != has_nat for s in network["Subnets"]):
            yield f"{name}: the task runs in the wrong subnets"


def runs_after_the_candle(template):
    """The daily run begins hours after UTC midnight, and the second one hours after the first.

    Yahoo leaves the past UTC day out for hours after midnight; New York closed at 21:00 at the
    latest.
    """
    stack = Stack(template)
    found = [
        re.fullmatch(r"cron\((\d+) (\d+) \* \* \? \*\)", stack.ref(name))
        for name in ("MainSchedule", "CatchUpSchedule")
    ]
    if not all(found):
        yield "not every day at a time"
        return
    main, second = (int(m[2]) + int(m[1]) / 60 for m in found)
    if not 5 <= main <= 9:
        yield f"the daily run begins at {main} h UTC"
    if not main + 3 <= second <= 21:
        yield f"the second run begins at {second} h UTC"


@in_every_world
def roles_are_small(stack):
    """The program keeps its lake and deletes no raw reply; the starter reads its secrets alone."""
    bucket, key = stack.arn("Bucket"), stack.arn("Key")
    in_lake = {"s3_prefix": "lake/raw/yahoo/"}
    by_s3 = {"kms_ViaService": f"s3.{REGION}.amazonaws.com"}
    by_secrets = {"kms_ViaService": f"secretsmanager.{REGION}.amazonaws.com"}
    is_kms = stack.holds("HasBucketKey")
    task = [
        *(
            (True, "s3:PutObject", f"{bucket}/lake/{p}/x", {})
            for p in ("raw", "processed", "state")
        ),
        (True, "s3:PutObject", f"{bucket}/lake/runs/x/report.html", {}),
        (True, "s3:GetObject", f"{bucket}/lake/raw/x", {}),
        (True, "s3:DeleteObject", f"{bucket}/lake/processed/x", {}),
        (True, "s3:DeleteObject", f"{bucket}/lake/state/x", {}),
        (True, "s3:ListBucket", bucket, in_lake),
        (is_kms, "kms:GenerateDataKey", key, by_s3),
        (False, "kms:Decrypt", key, by_secrets),
        (False, "s3:ListBucket", bucket, {"s3_prefix": "settings/"}),
        (False, "s3:ListBucket", bucket, {}),
        (False, "s3:DeleteObject", f"{bucket}/lake/raw/x", {}),
        (False, "s3:DeleteObject", f"{bucket}/lake/runs/x", {}),
        (False, "s3:DeleteObjectVersion", f"{bucket}/lake/processed/x", {}),
        (False, "s3:PutObject", f"{bucket}/settings/tremor.env", {}),
        (False, "s3:GetObject", "arn:aws:s3:::other/lake/raw/x", {}),
        (False, "s3:PutBucketPolicy", bucket, {}),
        (False, "secretsmanager:GetSecretValue", f"arn:aws:secretsmanager:{REGION}:x", {}),
        (False, "iam:PassRole", stack.arn("TaskRole"), {}),
        (stack.holds("HasAthena"), "athena:StartQueryExecution", _workgroup("primary"), {}),
        (False, "athena:StartQueryExecution", _workgroup("other"), {}),
    ]
    for wanted, action, resource, context in task:
        if may(stack, "TaskRole", action, resource, **context) != wanted:
            yield f"TaskRole, {action} on {resource}: wanted {wanted}"
    (container,) = stack.properties("TaskDefinition")["ContainerDefinitions"]
    given = {":".join(s["ValueFrom"].split(":")[:7]) for s in container["Secrets"]}
    starter = [
        *((True, "secretsmanager:GetSecretValue", secret, {}) for secret in given),
        (False, "secretsmanager:GetSecretValue", min(given) + "2", {}),
        (False, "secretsmanager:PutSecretValue", min(given), {}),
        (True, "kms:Decrypt", key, by_secrets),
        (False, "kms:Decrypt", key, {}),
        (True, "ecr:GetAuthorizationToken", "*", {}),
        (True, "ecr:BatchGetImage", stack.arn("Repository"), {}),
        (False, "ecr:BatchGetImage", stack.arn("Repository") + "2", {}),
        (False, "ecr:PutImage", stack.arn("Repository"), {}),
        (True, "logs:PutLogEvents", stack.arn("LogGroup"), {}),
        (False, "logs:PutLogEvents", stack.arn("EndedTasks"), {}),
        (False, "s3:GetObject", f"{bucket}/lake/raw/x", {}),
        (stack.holds("HasSettingsFile"), "s3:GetObject", f"{bucket}/settings/tremor.env", {}),
    ]
    for wanted, action, resource, context in starter:
        if may(stack, "ExecutionRole", action, resource, **context) != wanted:
            yield f"ExecutionRole, {action} on {resource}: wanted {wanted}"
    for role in ("TaskRole", "ExecutionRole"):
        tasks = {"aws_SourceAccount": ACCOUNT, "aws_SourceArn": f"arn:aws:ecs:{REGION}:{ACCOUNT}:t"}
        if not may_be_assumed(stack, role, "ecs-tasks.amazonaws.com", **tasks):
            yield f"{role}: no task may take it on"
        if may_be_assumed(stack, role, "ecs-tasks.amazonaws.com", aws_SourceAccount="1"):
            yield f"{role}: another account's task may take it on"


def _workgroup(name):
    return f"arn:aws:athena:{REGION}:{ACCOUNT}:workgroup/{name}"


def no_literals(template):
    """No account, region, network, bucket, image or address of somebody stands in it."""
    defaults = {name: p["Default"] for name, p in template["Parameters"].items()}
    text = json.dumps([defaults, template["Resources"], template["Outputs"]])
    literals = (
        r"\b\d{12}\b|\b(us|eu|ap|sa|ca|af|me)-[a-z]+-\d\b|\b(vpc|subnet|sg|ami|igw|rtb)-[0-9a-f]{8,}"
        r"|dkr\.ecr\.[a-z]|s3://[a-z]|arn:aws:(?!logs|iam)|[\w.]+@[\w-]+\.[a-z]{2,}"
    )
    yield from (match[0] for match in re.finditer(literals, text))


@in_every_world
def settings_exist(stack):
    """The task is given settings that the program knows, each of them once."""
    (container,) = stack.properties("TaskDefinition")["ContainerDefinitions"]
    names = [e["Name"] for e in (*container["Environment"], *container["Secrets"])]
    known = {f"TREMOR_{name}".upper() for name in Settings.model_fields} | {"AWS_DEFAULT_REGION"}
    yield from (f"the program knows no {name}" for name in set(names) - known)
    yield from (f"{name} is given twice" for name in names if names.count(name) > 1)
    for needed in ("TREMOR_LAKE_URL", "TREMOR_WAREHOUSE_URL", "TREMOR_STATE_DIR"):
        if needed not in names:
            yield f"the task lacks {needed}"


def parameters_are_told(template):
    """Every parameter is used, bounded, described, grouped, and fits its own bounds unset."""
    text = json.dumps([template[k] for k in ("Conditions", "Resources", "Rules", "Outputs")])
    interface = template["Metadata"]["AWS::CloudFormation::Interface"]["ParameterGroups"]
    grouped = [name for group in interface for name in group["Parameters"]]
    for name, each in template["Parameters"].items():
        default = str(each.get("Default", ""))
        wanted = {
            "use": f'{{"Ref": "{name}"}}' in text or f"${{{name}}}" in text,
            "bounds": {"AllowedPattern", "AllowedValues", "MinValue"} & set(each),
            "default": "Default" in each,
            "description": each.get("Description"),
            "one group": grouped.count(name) == 1,
            "words for its pattern": "AllowedPattern" not in each
            or "ConstraintDescription" in each
            or each["AllowedPattern"].startswith("^["),
            "fitting default": re.search(each.get("AllowedPattern", ""), default)
            and default in map(str, each.get("AllowedValues", [default]))
            and ("MinValue" not in each or each["MinValue"] <= float(default) <= each["MaxValue"]),
        }
        yield from (f"{name} lacks {what}" for what, holds in wanted.items() if not holds)


def sizes_are_those_of_fargate(template):
    """CPU and memory are refused together, when Fargate has no such size."""
    parameters = template["Parameters"]
    for cpu in parameters["TaskCpu"]["AllowedValues"]:
        for memory in parameters["TaskMemory"]["AllowedValues"]:
            broken = Stack(template, {"TaskCpu": cpu, "TaskMemory": memory}).broken_rules()
            if bool(broken) == (memory in FARGATE[cpu]):
                yield f"{cpu} units with {memory} MiB"
    lacking = (
        {"AlertTo": "a@b.example"},
        {"Source": "polygon"},
        {"Source": "sql"},
        {"Source": "athena"},
    )
    yield from (f"{p} is accepted" for p in lacking if not Stack(template, p).broken_rules())


@in_every_world
def alarms_are_heard(stack):
    """Each alarm tells the topic, says what to do, and watches what is really counted."""
    alarms = stack.of_type("AWS::CloudWatch::Alarm")
    topic = stack.arn("Topic")
    for name, alarm in alarms.items():
        if alarm.get("AlarmActions") != [topic] or alarm.get("ActionsEnabled") is False:
            yield f"{name} tells nobody"
        if len(alarm.get("AlarmDescription", "")) < 80:
            yield f"{name} does not say what to do"
    heartbeat = alarms.get("HeartbeatAlarm", {})
    counted = stack.properties("Heartbeats")["MetricTransformations"][0]
    same = {k: heartbeat.get(k) for k in ("Namespace", "MetricName")}
    hours = float(heartbeat.get("EvaluationPeriods", 0)) * heartbeat.get("Period", 0) / 3600
    ended = {a["Dimensions"][0]["Value"] for a in alarms.values() if a["Namespace"] == "AWS/Events"}
    rules = set(map(str.lower, stack.of_type("AWS::Events::Rule")))
    wanted = {
        "a dead man's switch on the counted heartbeats": same
        == {"Namespace": counted["MetricNamespace"], "MetricName": counted["MetricName"]},
        "silence taken for an alarm": heartbeat.get("TreatMissingData") == "breaching",
        "26 hours": hours == 26 and heartbeat["Period"] >= 3600,
        "word of the switch's end": heartbeat.get("OKActions") == [topic],
        "heartbeats of runs alone": stack.properties("Heartbeats")["FilterPattern"]
        == '{ ($.event = "heartbeat") && ($.command = "run") }',
        "an alarm for each way a task ends badly": ended == rules and len(rules) == 2,
        "an alarm on dead letters": any(
            a["MetricName"] == "ApproximateNumberOfMessagesVisible"
            and a["Dimensions"][0]["Value"] == "deadletters.queuename"
            for a in alarms.values()
        ),
    }
    yield from (f"no {what}" for what, holds in wanted.items() if not holds)


@in_every_world
def nothing_comes_in(stack):
    """Nothing comes to the task; the database and the endpoints let in the task alone."""
    groups = stack.of_type("AWS::EC2::SecurityGroup")
    if "SecurityGroupIngress" in groups["TaskGroup"]:
        yield "something may come to the task"
    for name, group in groups.items():
        sources = {r.get("SourceSecurityGroupId") for r in group.get("SecurityGroupIngress", [])}
        if sources - {"taskgroup.groupid"}:
            yield f"{name} lets in others than the task"
    for name, subnet in stack.of_type("AWS::EC2::Subnet").items():
        if subnet.get("MapPublicIpOnLaunch"):
            yield f"{name} gives public addresses away"


@in_every_world
def little_goes_out(stack):
    """The task goes out by HTTPS and to mail servers, and to databases where some are named."""
    databases = {3306, 5432}
    for name, group in stack.of_type("AWS::EC2::SecurityGroup").items():
        rules = group.get("SecurityGroupEgress", [])
        if not rules:
            yield f"{name} lets everything out"
        tcp = [rule for rule in rules if rule["IpProtocol"] == "tcp"]
        if any(rule["IpProtocol"] == "-1" or "CidrIpv6" in rule for rule in rules):
            yield f"{name} lets more out than was thought of"
        ports = {int(p) for r in tcp for p in (r["FromPort"], r["ToPort"]) if "CidrIp" in r}
        allowed = {443, 465, 587} | (databases if stack.holds("ReachesDatabases") else set())
        if ports - allowed or any(rule["FromPort"] != rule["ToPort"] for rule in tcp):
            yield f"{name} lets other ports out: {ports - allowed}"


@in_every_world
def the_database_is_private(stack):
    """The database has no public address and lies in subnets that the internet does not reach."""
    private = {"privatesubneta", "privatesubnetb"}
    for subnets in stack.of_type("AWS::RDS::DBSubnetGroup").values():
        if set(subnets["SubnetIds"]) != private:
            yield "the database lies in a public subnet"
    routed = {
        a["SubnetId"]: a["RouteTableId"]
        for a in stack.of_type("AWS::EC2::SubnetRouteTableAssociation").values()
    }
    for name, route in stack.of_type("AWS::EC2::Route").items():
        if "GatewayId" in route and route["RouteTableId"] in {routed.get(p) for p in private}:
            yield f"{name} makes private subnets public"
    for name, database in stack.of_type("AWS::RDS::DBInstance").items():
        if database["PubliclyAccessible"] is not False:
            yield f"{name} has a public address"
        if database["VPCSecurityGroups"] != ["databasegroup.groupid"]:
            yield f"{name} lets in others"


@in_every_world
def data_outlives_the_stack(stack):
    """Bucket, key and database are kept, and the logs do not grow for ever."""
    template = stack.template["Resources"]
    for name, policy in {"Bucket": "Retain", "Key": "Retain", "Database": "Snapshot"}.items():
        for when in ("DeletionPolicy", "UpdateReplacePolicy"):
            if template[name].get(when) != policy:
                yield f"{name}: {when} is not {policy}"
    for database in stack.of_type("AWS::RDS::DBInstance").values():
        if int(database["BackupRetentionPeriod"]) < 1 or database["DeletionProtection"] != "true":
            yield "the database is not protected"
    for name, group in stack.of_type("AWS::Logs::LogGroup").items():
        if "RetentionInDays" not in group:
            yield f"{name} grows for ever"


@in_every_world
def the_bucket_keeps_raw_replies(stack):
    """The bucket is private and versioned; nothing of the raw layer ever expires."""
    bucket = stack.properties("Bucket")
    if bucket.get("VersioningConfiguration", {}).get("Status") != "Enabled":
        yield "what is deleted is gone"
    if set(bucket.get("PublicAccessBlockConfiguration", {}).values()) != {True}:
        yield "the bucket may become public"
    if len(bucket["PublicAccessBlockConfiguration"]) != 4:
        yield "the bucket may become public in a way"
    if bucket["OwnershipControls"]["Rules"] != [{"ObjectOwnership": "BucketOwnerEnforced"}]:
        yield "others may own objects"
    for rule in bucket["LifecycleConfiguration"]["Rules"]:
        ends = {"ExpirationInDays", "ExpirationDate", "NoncurrentVersionExpiration"} & set(rule)
        prefix = rule.get("Prefix", "")
        if ends and ("lake/raw/".startswith(prefix) or prefix.startswith("lake/raw/")):
            yield f"{rule['Id']} lets raw replies expire"
        if "ExpirationInDays" in rule and prefix != "athena/":
            yield f"{rule['Id']} lets {prefix} expire"
    days = [
        t["TransitionInDays"] for t in bucket["LifecycleConfiguration"]["Rules"][0]["Transitions"]
    ]
    if not int(days[0]) + 30 <= int(days[1]):
        yield "the archive comes before the cheaper class"


@in_every_world
def the_task_is_confined(stack):
    """The task is nobody, writes nowhere but to its state and /tmp, and its roles are two."""
    task = stack.properties("TaskDefinition")
    (container,) = task["ContainerDefinitions"]
    wanted = {
        "a user that is not root": container.get("User") == "10001",
        "a root file system that is read-only": container.get("ReadonlyRootFilesystem") is True,
        "no privileges": not container.get("Privileged"),
        "no capabilities": container["LinuxParameters"].get("Capabilities") == {"Drop": ["ALL"]},
        "an init": container["LinuxParameters"].get("InitProcessEnabled") is True,
        "its two writable places": {m["ContainerPath"] for m in container["MountPoints"]}
        == {"/var/lib/tremor", "/tmp"},
        "volumes for them": {m["SourceVolume"] for m in container["MountPoints"]}
        == {v["Name"] for v in task["Volumes"]},
        "two roles": task["TaskRoleArn"] != task["ExecutionRoleArn"],
        "the command that exists": container["Command"] == ["run"],
        "its log": container["LogConfiguration"]["Options"]["awslogs-group"] == f"/tremor/{NAME}",
    }
    yield from (f"the task lacks {what}" for what, holds in wanted.items() if not holds)
    repository = stack.properties("Repository")
    if not repository.get("ImageScanningConfiguration", {}).get("ScanOnPush"):
        yield "images are not scanned"
    if repository.get("ImageTagMutability") != "IMMUTABLE":
        yield "a tag may change under the task"


def the_operator_is_told(template):
    """The outputs hold what an operator needs, the command that runs the task among them."""
    for stack in stacks(template):
        outputs = {
            name: stack.value(output["Value"])
            for name, output in template["Outputs"].items()
            if "Condition" not in output or stack.holds(output["Condition"])
        }
        wanted = {
            "BucketName",
            "LakeUrl",
            "RepositoryUri",
            "PushCommands",
            "ClusterName",
            "TopicArn",
        }
        wanted |= {"TaskDefinitionArn", "RunCommand", "LogGroupName", "DeadLettersUrl"}
        wanted |= {"DatabaseEndpoint"} if stack.holds("MakesDatabase") else set()
        yield from (f"no output {name}" for name in wanted - set(outputs))
        network = stack.properties("MainRun")["Target"]["EcsParameters"]["NetworkConfiguration"]
        for name in ("Subnets", "SecurityGroups"):
            together = ",".join(network["AwsvpcConfiguration"][name])
            if f"[{together}]" not in outputs.get("RunCommand", ""):
                yield f"the command runs the task elsewhere than the scheduler: {name}"


RULES = {
    rule.__name__: rule
    for rule in (
        no_wildcards,
        all_encrypted,
        only_by_tls,
        secrets_stay_secret,
        every_secret_has_a_way_in,
        nothing_starts_the_task_again,
        the_scheduler_may_run_this_task_alone,
        schedules_run_the_task,
        runs_after_the_candle,
        roles_are_small,
        no_literals,
        settings_exist,
        parameters_are_told,
        sizes_are_those_of_fargate,
        alarms_are_heard,
        nothing_comes_in,
        little_goes_out,
        the_database_is_private,
        data_outlives_the_stack,
        the_bucket_keeps_raw_replies,
        the_task_is_confined,
        the_operator_is_told,
    )
}
