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
    goes_off,
    listed,
    may,
    may_be_assumed,
    may_by,
    policies,
    read_template,
    refused_to_all,
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
        "AlertFrom": "tremor@example.org",
        "AlertTo": "analyst@example.org",
        "AlertsPerYear": "12",
        "MeasuresQuery": "settings/payments.sql",
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
    """Bucket, queue and topic refuse whoever comes without TLS, whatever he wants, and only him."""
    bucket, queue = stack.arn("Bucket"), stack.arn("DeadLetters")
    asked = [
        *(("BucketPolicy", f"s3:{a}", bucket) for a in ("ListBucket", "GetBucketAcl")),
        *(
            ("BucketPolicy", f"s3:{a}Object", f"{bucket}/lake/raw/x")
            for a in ("Get", "Put", "Delete")
        ),
        *(("DeadLettersPolicy", f"sqs:{a}Message", queue) for a in ("Send", "Receive", "Delete")),
        ("TopicPolicy", "sns:Publish", stack.arn("Topic")),
    ]
    for name, action, resource in asked:
        if name not in stack.resources:
            yield f"no {name}"
            continue
        if not refused_to_all(stack, name, action, resource, aws_SecureTransport="false"):
            yield f"{name} lets plain HTTP in: {action}"
        if refused_to_all(stack, name, action, resource, aws_SecureTransport="true"):
            yield f"{name} keeps everybody out: {action}"
    tied = {
        "BucketPolicy": ("Bucket", stack.ref("Bucket")),
        "DeadLettersPolicy": ("Queues", [stack.ref("DeadLetters")]),
        "TopicPolicy": ("Topics", [stack.ref("Topic")]),
    }
    for name, (part, to) in tied.items():
        if name in stack.resources and stack.properties(name)[part] != to:
            yield f"{name} hangs elsewhere"


@in_every_world
def services_may_do_their_part(stack):
    """Alarms reach the encrypted topic; the log service keeps both groups; events write to one."""
    key, topic, ended = stack.arn("Key"), stack.arn("Topic"), stack.arn("EndedTasks")
    alarms, logs = "cloudwatch.amazonaws.com", f"logs.{REGION}.amazonaws.com"
    at_topic = {"kms_EncryptionContext_aws_sns_topicArn": topic}
    ours, others = {"aws_SourceAccount": ACCOUNT}, {"aws_SourceAccount": "210987654321"}
    asked = [
        *((True, "Key", alarms, f"kms:{a}", key, at_topic) for a in ("Decrypt", "GenerateDataKey")),
        (False, "Key", alarms, "kms:Decrypt", key, {}),
        (False, "Key", "s3.amazonaws.com", "kms:Decrypt", key, at_topic),
        (True, "TopicPolicy", alarms, "sns:Publish", topic, ours),
        (False, "TopicPolicy", alarms, "sns:Publish", topic, others),
        (True, "Key", f"arn:aws:iam::{ACCOUNT}:root", "kms:PutKeyPolicy", key, {}),
        (True, "Key", f"arn:aws:iam::{ACCOUNT}:root", "kms:GenerateDataKey", key, {}),
    ]
    for group in ("LogGroup", "EndedTasks"):
        arn = stack.arn(group).removesuffix(":*")
        for action in ("Encrypt", "Decrypt", "ReEncryptTo", "GenerateDataKey", "DescribeKey"):
            context = {"kms_EncryptionContext_aws_logs_arn": arn}
            asked.append((True, "Key", logs, f"kms:{action}", key, context))
            context = {"kms_EncryptionContext_aws_logs_arn": arn + "-other"}
            asked.append((False, "Key", logs, f"kms:{action}", key, context))
    stream = ended.removesuffix("*") + "log-stream:x"
    elsewhere = stack.arn("LogGroup").removesuffix("*") + "log-stream:x"
    for by in ("events.amazonaws.com", "delivery.logs.amazonaws.com"):
        asked.append((True, "EndedTasksPolicy", by, "logs:CreateLogStream", stream, {}))
        for rule in ("TaskFailedRule", "TaskPartialRule"):
            of = {"aws_SourceArn": stack.arn(rule)}
            asked.append((True, "EndedTasksPolicy", by, "logs:PutLogEvents", stream, of))
            asked.append((False, "EndedTasksPolicy", by, "logs:PutLogEvents", elsewhere, of))
        other = {"aws_SourceArn": stack.arn("TaskFailedRule") + "2"}
        asked.append((False, "EndedTasksPolicy", by, "logs:PutLogEvents", stream, other))
    for wanted, name, by, action, resource, context in asked:
        if may_by(stack, name, by, action, resource, **context) != wanted:
            yield f"{name}: {by} {action} {context}: wanted {wanted}"
    for rule in ("TaskFailedRule", "TaskPartialRule"):
        targets = [target["Arn"] for target in stack.properties(rule)["Targets"]]
        if targets != [ended.removesuffix(":*")]:
            yield f"{rule} writes elsewhere"


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
    # Feast's online store is none of the task's: what writes it is in no image. Nor is a broker:
    # a stream is no scheduled task; nor is the dashboard.
    wanted -= {"redis_url", "kafka_password", "dashboard_password_hash", "reader_url"}
    for stack in stacks(template):
        (container,) = stack.properties("TaskDefinition")["ContainerDefinitions"]
        wanted -= {s["Name"].removeprefix("TREMOR_").lower() for s in container["Secrets"]}
    yield from (f"{name} cannot be given" for name in wanted)


# Which parameter's secret, and which part of it, is each setting's.
FROM = {
    "TREMOR_SMTP_URL": ("SmtpUrlSecretArn", ""),
    "TREMOR_WEBHOOK_URL": ("WebhookUrlSecretArn", ""),
    "TREMOR_HEARTBEAT_URL": ("HeartbeatUrlSecretArn", ""),
    "TREMOR_POLYGON_API_KEY": ("PolygonApiKeySecretArn", ""),
    "TREMOR_POLYGON_FLAT_KEY": ("PolygonFlatSecretArn", ":key::"),
    "TREMOR_POLYGON_FLAT_SECRET": ("PolygonFlatSecretArn", ":secret::"),
    "TREMOR_SQL_URL": ("SqlUrlSecretArn", ""),
    "TREMOR_WAREHOUSE_URL": ("WarehouseUrlSecretArn", ""),
}


@in_every_world
def each_secret_is_its_own(stack):
    """Each secret setting comes from its own parameter's secret, whole or by its JSON key."""
    (container,) = stack.properties("TaskDefinition")["ContainerDefinitions"]
    given = {entry["Name"]: entry["ValueFrom"] for entry in container["Secrets"]}
    wanted = {
        name: stack.ref(parameter) + part
        for name, (parameter, part) in FROM.items()
        if stack.ref(parameter)
    }
    if stack.holds("MakesDatabase"):
        wanted["TREMOR_WAREHOUSE_PASSWORD"] = stack.arn("DatabaseSecret") + ":password::"
    for name in wanted.keys() | given.keys():
        if given.get(name) != wanted.get(name):
            yield f"{name} comes from {given.get(name)}, not from {wanted.get(name)}"


# Which parameter is each plain setting's, where it is set.
PLAIN = {
    "TREMOR_SOURCE": "Source",
    "TREMOR_SYMBOLS": "Symbols",
    "TREMOR_ALERTS_PER_YEAR": "AlertsPerYear",
    "TREMOR_ALERT_FROM": "AlertFrom",
    "TREMOR_ALERT_TO": "AlertTo",
}


@in_every_world
def each_setting_is_its_own(stack):
    """Each plain setting is its own parameter's value, and absent where that is empty."""
    (container,) = stack.properties("TaskDefinition")["ContainerDefinitions"]
    given = {entry["Name"]: entry["Value"] for entry in container["Environment"]}
    bucket = f"s3://{stack.ref('Bucket')}"
    wanted = {name: stack.ref(parameter) for name, parameter in PLAIN.items()}
    wanted["AWS_DEFAULT_REGION"] = REGION
    wanted["TREMOR_STATE_DIR"] = "/var/lib/tremor"
    query = stack.ref("MeasuresQuery")
    wanted["TREMOR_MEASURES_QUERY"] = f"{bucket}/{query}" if query else ""
    has_athena = stack.holds("HasAthena")
    wanted["TREMOR_ATHENA_DATABASE"] = stack.ref("AthenaDatabase")
    wanted["TREMOR_ATHENA_WORKGROUP"] = stack.ref("AthenaWorkgroup") if has_athena else ""
    wanted["TREMOR_ATHENA_OUTPUT"] = f"{bucket}/athena/" if has_athena else ""
    for name, value in wanted.items():
        if given.get(name, "") != value or (name in given and not value):
            yield f"{name} is {given.get(name)!r}, not {value!r}"


@in_every_world
def the_task_knows_its_database(stack):
    """User, password, name and port of the made database are those that the task is given."""
    if not stack.holds("MakesDatabase"):
        return
    (container,) = stack.properties("TaskDefinition")["ContainerDefinitions"]
    given = {entry["Name"]: entry["Value"] for entry in container["Environment"]}
    database, secret = stack.properties("Database"), stack.properties("DatabaseSecret")
    made = secret["GenerateSecretString"]
    user, name = database["MasterUsername"], database["DBName"]
    kept = f"{stack.arn('DatabaseSecret')}:SecretString:{made['GenerateStringKey']}"
    port = database.get("Port", "5432")
    wanted = {
        "its address": given.get("TREMOR_WAREHOUSE_URL")
        == f"postgresql://{user}@database.endpoint.address:database.endpoint.port/{name}"
        "?sslmode=require",
        "its user in the secret": json.loads(made["SecretStringTemplate"]) == {"username": user},
        "its password": database["MasterUserPassword"] == "{{resolve:secretsmanager:" + kept + "}}",
        "the password's key": made["GenerateStringKey"] == "password",
        # RDS takes no / @ " and no blank in a password.
        "a password that RDS takes": made.get("ExcludePunctuation") is True
        and not made.get("IncludeSpace")
        and 8 <= made["PasswordLength"] <= 128,
        "the port that is let in": str(port) == "5432",
    }
    yield from (f"the task lacks {what}" for what, holds in wanted.items() if not holds)


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
        (True, may(stack, role, "kms:Decrypt", key, **via), "check dead letters"),
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
        groups = ["taskgroup.groupid"]
        groups += ["databaseclientgroup.groupid"] if stack.holds("MakesDatabase") else []
        if network["SecurityGroups"] != groups:
            yield f"{name}: the task is in other groups"


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
    is_kms, has_query = stack.holds("HasBucketKey"), stack.holds("HasMeasuresQuery")
    (container,) = stack.properties("TaskDefinition")["ContainerDefinitions"]
    plain = {entry["Name"]: entry["Value"] for entry in container["Environment"]}
    lake = plain["TREMOR_LAKE_URL"].replace("s3://", "arn:aws:s3:::")
    listed_ = {"s3_prefix": lake.removeprefix(bucket + "/") + "/raw/"}
    query = plain.get("TREMOR_MEASURES_QUERY", f"s3://{stack.ref('Bucket')}/settings/x.sql")
    query = query.replace("s3://", "arn:aws:s3:::")
    task = [
        *(
            (True, f"s3:{a}", f"{lake}/{p}/x", {})
            for p in ("raw", "processed", "state", "runs")
            for a in ("PutObject", "GetObject", "AbortMultipartUpload")
        ),
        (True, "s3:ListBucket", bucket, listed_),
        (has_query, "s3:GetObject", query, {}),
        (False, "s3:PutObject", query, {}),
        (False, "s3:GetObject", f"{bucket}/settings/tremor.env", {}),
        (True, "s3:DeleteObject", f"{bucket}/lake/processed/x", {}),
        (True, "s3:DeleteObject", f"{bucket}/lake/state/x", {}),
        (True, "s3:ListBucket", bucket, in_lake),
        (is_kms, "kms:GenerateDataKey", key, by_s3),
        (is_kms, "kms:Decrypt", key, by_s3),
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
        *_athena(stack, bucket),
    ]
    for wanted, action, resource, context in task:
        if may(stack, "TaskRole", action, resource, **context) != wanted:
            yield f"TaskRole, {action} on {resource}: wanted {wanted}"
    given = {":".join(s["ValueFrom"].split(":")[:7]) for s in container["Secrets"]}
    starter = [
        *((True, "secretsmanager:GetSecretValue", secret, {}) for secret in given),
        (False, "secretsmanager:GetSecretValue", min(given) + "2", {}),
        (False, "secretsmanager:PutSecretValue", min(given), {}),
        (True, "kms:Decrypt", key, by_secrets),
        (False, "kms:Decrypt", key, {}),
        (True, "ecr:GetAuthorizationToken", "*", {}),
        *(
            (True, f"ecr:{action}", repository, {})
            for action in ("BatchGetImage", "GetDownloadUrlForLayer", "BatchCheckLayerAvailability")
            for repository in (stack.arn("Repository"), stack.ref("ImageRepositoryArn"))
            if repository
        ),
        (False, "ecr:BatchGetImage", stack.arn("Repository") + "2", {}),
        (False, "ecr:PutImage", stack.arn("Repository"), {}),
        *(
            (True, f"logs:{a}", stack.arn("LogGroup"), {})
            for a in ("CreateLogStream", "PutLogEvents")
        ),
        (False, "logs:PutLogEvents", stack.arn("EndedTasks"), {}),
        (False, "s3:GetObject", f"{bucket}/lake/raw/x", {}),
        (stack.holds("HasSettingsFile"), "s3:GetObject", f"{bucket}/settings/tremor.env", {}),
        (stack.holds("HasSettingsFile"), "s3:GetBucketLocation", bucket, {}),
    ]
    if stack.holds("HasSettingsFile"):
        starter.append((True, "kms:Decrypt", key, by_s3))
    if stack.holds("HasSecretsKey"):
        starter.append((True, "kms:Decrypt", stack.ref("SecretsKeyArn"), by_secrets))
    for wanted, action, resource, context in starter:
        if may(stack, "ExecutionRole", action, resource, **context) != wanted:
            yield f"ExecutionRole, {action} on {resource}: wanted {wanted}"


@in_every_world
def tasks_alone_take_the_roles(stack):
    """Tasks of this account may take both roles on, and find the settings file that is named."""
    (container,) = stack.properties("TaskDefinition")["ContainerDefinitions"]
    file = f"{stack.arn('Bucket')}/{stack.ref('SettingsFile')}"
    files = [{"Type": "s3", "Value": file}] if stack.holds("HasSettingsFile") else None
    if container.get("EnvironmentFiles") != files:
        yield "the settings file lies elsewhere"
    for role in ("TaskRole", "ExecutionRole"):
        tasks = {"aws_SourceAccount": ACCOUNT, "aws_SourceArn": f"arn:aws:ecs:{REGION}:{ACCOUNT}:t"}
        if not may_be_assumed(stack, role, "ecs-tasks.amazonaws.com", **tasks):
            yield f"{role}: no task may take it on"
        for key in tasks:
            if may_be_assumed(stack, role, "ecs-tasks.amazonaws.com", **{**tasks, key: "1"}):
                yield f"{role}: another account's task may take it on, by {key}"


def _athena(stack, bucket):
    """What a query needs, by the service's pages, and what it does not."""
    has = stack.holds("HasAthena")
    place, tables = f"{REGION}:{ACCOUNT}", "arn:aws:s3:::tables"
    group, glue = f"arn:aws:athena:{place}:workgroup/", f"arn:aws:glue:{place}:"
    verbs = "StartQueryExecution StopQueryExecution GetQueryExecution GetQueryResults GetWorkGroup"
    of_tables = ("GetTable", "GetTables", "GetPartition", "GetPartitions", "BatchGetPartition")
    yield from ((has, f"athena:{verb}", group + "primary", {}) for verb in verbs.split())
    for noun in ("catalog", "database/default", "database/shop"):
        yield has, "glue:GetDatabase", glue + noun, {}
    for noun in ("catalog", "database/shop", "table/shop/payments"):
        yield from ((has, f"glue:{verb}", glue + noun, {}) for verb in of_tables)
    yield has, "s3:GetObject", f"{tables}/2024/x", {}
    for each in (tables, bucket):
        yield has, "s3:GetBucketLocation", each, {}
    yield has, "s3:ListBucket", tables, {"s3_prefix": "2024/"}
    yield has, "s3:ListBucket", bucket, {"s3_prefix": "athena/x"}
    results = ("GetObject", "PutObject", "AbortMultipartUpload", "ListMultipartUploadParts")
    yield from ((has, f"s3:{verb}", f"{bucket}/athena/x", {}) for verb in results)
    yield False, "athena:StartQueryExecution", group + "other", {}
    yield False, "glue:GetTable", glue + "table/other/payments", {}
    yield False, "glue:DeleteTable", glue + "table/shop/payments", {}
    yield False, "s3:PutObject", f"{tables}/2024/x", {}


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
        {"SmtpUrlSecretArn": "arn"},
        {"SmtpUrlSecretArn": "arn", "AlertTo": "a@b.example"},
        {"Source": "polygon"},
        {"Source": "sql", "MeasuresQuery": "settings/x.sql"},
        {"Source": "sql", "SqlUrlSecretArn": "arn"},
        {"Source": "athena", "MeasuresQuery": "settings/x.sql"},
        {"Source": "athena", "AthenaDatabase": "shop", "AthenaTablesBucket": "tables"},
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
    yield from _when_they_go_off(stack, alarms)
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
        == '{ ($.event = "heartbeat") && (($.command = "run") || ($.command = "forecast")) }',
        "an alarm for each way a task ends badly": ended == rules and len(rules) == 2,
        "an alarm on dead letters": any(
            a["MetricName"] == "ApproximateNumberOfMessagesVisible"
            and a["Dimensions"][0]["Value"] == "deadletters.queuename"
            for a in alarms.values()
        ),
    }
    yield from (f"no {what}" for what, holds in wanted.items() if not holds)


def _when_they_go_off(stack, alarms):
    """Each alarm, played through: it rings for what it is there for, and is silent otherwise."""
    event = {"Namespace": "AWS/Events", "MetricName": "TriggeredRules", "Statistic": "Sum"}
    letters = {"Namespace": "AWS/SQS", "MetricName": "ApproximateNumberOfMessagesVisible"}
    beats = float(stack.properties("Heartbeats")["MetricTransformations"][0]["MetricValue"])
    if stack.properties("Heartbeats").get("LogGroupName") != stack.ref("LogGroup"):
        yield "heartbeats are counted elsewhere"
    by = {
        "TaskFailedAlarm": ("RuleName", stack.ref("TaskFailedRule")),
        "TaskPartialAlarm": ("RuleName", stack.ref("TaskPartialRule")),
        "DeadLettersAlarm": ("QueueName", "deadletters.queuename"),
    }
    for name, (dimension, value) in by.items():
        if alarms.get(name, {}).get("Dimensions") != [{"Name": dimension, "Value": value}]:
            yield f"{name} watches something else"
    nothing, no, once = [None] * 26, [0.0] * 26, [*[None] * 25, 1.0]
    plays = {
        "TaskFailedAlarm": (event, [once], [nothing, no]),
        "TaskPartialAlarm": (event, [once], [nothing, no]),
        "DeadLettersAlarm": ({**letters, "Statistic": "Maximum"}, [once], [nothing, no]),
        "HeartbeatAlarm": (
            {"Statistic": "Sum"},
            [nothing, no, [beats, *nothing]],
            # The oldest hour that counts: one run in it, or both.
            [[beats, *nothing[1:]], [2 * beats, *nothing[1:]]],
        ),
    }
    for name, (watched, rings, silent) in plays.items():
        alarm = alarms.get(name, {})
        if not alarm or {k: alarm.get(k) for k in watched} != watched:
            yield f"{name} is absent, or watches something else"
            continue
        if not all(goes_off(alarm, counted) for counted in rings):
            yield f"{name} stays silent"
        if any(goes_off(alarm, counted) for counted in silent):
            yield f"{name} rings for nothing"
        if name != "HeartbeatAlarm" and alarm["Period"] > 300:
            yield f"{name} comes late"


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
    """The task goes out by HTTPS and to mail servers, to databases where named: no less."""
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
        if name == "TaskGroup" and ports != allowed:
            yield f"{name} keeps in what must go out: {allowed - ports}"
        if ports - allowed or any(rule["FromPort"] != rule["ToPort"] for rule in tcp):
            yield f"{name} lets other ports out: {ports - allowed}"


@in_every_world
def every_subnet_has_its_way(stack):
    """Public subnets go out by the internet's gateway, private ones by the NAT or not at all."""
    tied = {
        a["SubnetId"]: a["RouteTableId"]
        for a in stack.of_type("AWS::EC2::SubnetRouteTableAssociation").values()
    }
    for side in ("public", "private"):
        if {tied.get(f"{side}subnet{x}") for x in "ab"} != {f"{side}routes"}:
            yield f"a {side} subnet has another way"
    out = {
        (r["RouteTableId"], r.get("GatewayId") or r.get("NatGatewayId"))
        for r in stack.of_type("AWS::EC2::Route").values()
        if r["DestinationCidrBlock"] == "0.0.0.0/0"
    }
    wanted = {("publicroutes", "internetgateway")}
    wanted |= {("privateroutes", "natgateway")} if stack.holds("UsesNat") else set()
    if out != wanted:
        yield f"other ways out: {out}"
    if stack.of_type("AWS::EC2::VPCGatewayAttachment") != {
        "InternetAttachment": {"VpcId": "vpc", "InternetGatewayId": "internetgateway"}
    }:
        yield "the internet is not attached"
    if any("public" not in n["SubnetId"] for n in stack.of_type("AWS::EC2::NatGateway").values()):
        yield "the NAT has no way out"


@in_every_world
def services_are_found_inside(stack):
    """Names are resolved; each endpoint answers to its service's name in every subnet."""
    vpc = stack.properties("Vpc")
    if vpc.get("EnableDnsSupport") is not True or vpc.get("EnableDnsHostnames") is not True:
        yield "no names are resolved"
    ends = stack.of_type("AWS::EC2::VPCEndpoint")
    services = {e["ServiceName"].removeprefix(f"com.amazonaws.{REGION}.") for e in ends.values()}
    inside = {"secretsmanager", "ecr.api", "ecr.dkr", "logs"}
    if services != {"s3"} | (inside if stack.holds("HasEndpoints") else set()):
        yield f"other endpoints: {services}"
    by_kind = {
        "Gateway": {"RouteTableIds": ["publicroutes", "privateroutes"]},
        "Interface": {
            "PrivateDnsEnabled": True,
            "SubnetIds": ["privatesubneta", "privatesubnetb"],
            "SecurityGroupIds": ["endpointgroup"],
        },
    }
    for name, end in ends.items():
        wanted = by_kind[end["VpcEndpointType"]]
        if {k: end.get(k) for k in wanted} != wanted:
            yield f"{name} is not found by its name"


@in_every_world
def doors_meet(stack):
    """Database and endpoints let the task in at their ports, and it goes out to the database."""
    groups = stack.of_type("AWS::EC2::SecurityGroup")
    for name, port in {"DatabaseGroup": 5432, "EndpointGroup": 443}.items():
        doors = groups[name].get("SecurityGroupIngress", []) if name in groups else None
        wanted = {
            "IpProtocol": "tcp",
            "FromPort": port,
            "ToPort": port,
            "SourceSecurityGroupId": "taskgroup.groupid",
        }
        if doors is not None and doors != [wanted]:
            yield f"{name}: its door is elsewhere"
    ways = groups.get("DatabaseClientGroup", {}).get("SecurityGroupEgress", [])
    wanted = {
        "IpProtocol": "tcp",
        "FromPort": 5432,
        "ToPort": 5432,
        "DestinationSecurityGroupId": "databasegroup.groupid",
    }
    if ways != ([wanted] if stack.holds("MakesDatabase") else []):
        yield "the task does not reach its database"


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
    """Bucket with its policy, key and database are kept; the logs do not grow for ever."""
    template = stack.template["Resources"]
    kept = dict.fromkeys(("Bucket", "BucketPolicy", "Key"), "Retain")
    for name, policy in {**kept, "Database": "Snapshot"}.items():
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


@in_every_world
def what_was_replaced_ends(stack):
    """Replaced versions, results of queries and unfinished uploads go in time, and cost no more."""
    found = {}
    for rule in stack.properties("Bucket")["LifecycleConfiguration"]["Rules"]:
        if rule["Status"] == "Enabled":
            days = rule.get("NoncurrentVersionExpiration", {}).get("NoncurrentDays")
            found[rule.get("Prefix", "")] = (rule.get("ExpirationInDays"), days and int(days))
            parts = rule.get("AbortIncompleteMultipartUpload", {}).get("DaysAfterInitiation")
            if "Prefix" not in rule and parts != 7:
                yield "unfinished uploads stay"
    wanted = {f"lake/{part}/": (None, 30) for part in ("processed", "runs")}
    wanted |= {
        "lake/state/": (None, 1),
        "athena/": (7, 1),
        "lake/raw/": (None, None),
        "": (None,) * 2,
    }
    if found != wanted:
        yield f"what ends is {found}"


@in_every_world
def raw_replies_get_cheaper(stack):
    """The raw layer, where the task keeps it, moves to cheaper classes that are read at once."""
    bucket = stack.properties("Bucket")
    (container,) = stack.properties("TaskDefinition")["ContainerDefinitions"]
    (lake,) = [e["Value"] for e in container["Environment"] if e["Name"] == "TREMOR_LAKE_URL"]
    prefix = lake.removeprefix(f"s3://{stack.ref('Bucket')}/") + "/raw/"
    moves = {
        rule.get("Prefix"): rule["Transitions"]
        for rule in bucket["LifecycleConfiguration"]["Rules"]
        if "Transitions" in rule and rule["Status"] == "Enabled"
    }
    if set(moves) != {prefix}:
        yield f"what gets cheaper is {set(moves)}, not the raw replies in {prefix}"
        return
    # A class that takes hours to read from would stop a rebuild.
    if [t["StorageClass"] for t in moves[prefix]] != ["STANDARD_IA", "GLACIER_IR"]:
        yield "raw replies cannot be read at once"
    days = [int(t["TransitionInDays"]) for t in moves[prefix]]
    if days != sorted(days) or days[-1] - days[0] < 30:
        yield "the archive comes before the cheaper class"


@in_every_world
def the_task_is_confined(stack):
    """The task is nobody, writes nowhere but to its state and /tmp, and its roles are two."""
    task = stack.properties("TaskDefinition")
    (container,) = task["ContainerDefinitions"]
    is_paid = "TREMOR_MEASURES_QUERY" in {e["Name"] for e in container["Environment"]}
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
        "the command of its source": container["Command"] == ["forecast" if is_paid else "run"],
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
        for run in stack.of_type("AWS::Scheduler::Schedule").values():
            network = run["Target"]["EcsParameters"]["NetworkConfiguration"]["AwsvpcConfiguration"]
            places = [f"[{','.join(network[name])}]" for name in ("Subnets", "SecurityGroups")]
            for place in (*places, f"assignPublicIp={network['AssignPublicIp']}"):
                if place not in outputs.get("RunCommand", ""):
                    yield f"the command runs the task elsewhere than the scheduler: {place}"


RULES = {
    rule.__name__: rule
    for rule in (
        no_wildcards,
        all_encrypted,
        only_by_tls,
        services_may_do_their_part,
        secrets_stay_secret,
        every_secret_has_a_way_in,
        each_secret_is_its_own,
        each_setting_is_its_own,
        the_task_knows_its_database,
        nothing_starts_the_task_again,
        the_scheduler_may_run_this_task_alone,
        schedules_run_the_task,
        runs_after_the_candle,
        roles_are_small,
        tasks_alone_take_the_roles,
        no_literals,
        settings_exist,
        parameters_are_told,
        sizes_are_those_of_fargate,
        alarms_are_heard,
        nothing_comes_in,
        little_goes_out,
        every_subnet_has_its_way,
        services_are_found_inside,
        doors_meet,
        the_database_is_private,
        data_outlives_the_stack,
        the_bucket_keeps_raw_replies,
        what_was_replaced_ends,
        raw_replies_get_cheaper,
        the_task_is_confined,
        the_operator_is_told,
    )
}
