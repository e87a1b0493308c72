"""The whole stack made, changed and deleted in emulated clouds, and the pipeline run against it.

A cloud may report a stack as complete and have skipped half of it, so every kind of resource is
asked for by the API of its own service.
"""

import json
import os
import re
import subprocess
import sys

import boto3
import pytest
from botocore.exceptions import ClientError

from components.warehouse import Warehouse
from tests.aws_servers import (
    REGION,
    clients,
    delete_stack,
    make_stack,
    ministack_server,
)
from tests.stack import PATH, Stack, may, read_template
from tests.terminal import ROOT, hurry
from tests.worlds import DAY, MORNING, history

BODY = PATH.read_text()
TEMPLATE = read_template()

# Everything on, but for what this cloud knows nothing of.
ALL = {
    "SmtpUrlSecretArn": f"arn:aws:secretsmanager:{REGION}:000000000000:secret:smtp-AbCdEf",
    "AlertTo": "analyst@example.org",
    "AlarmEmail": "operator@example.org",
    "AthenaDatabase": "shop",
    "AthenaTablesBucket": "tables",
    "InterfaceEndpoints": "true",
    "SettingsFile": "settings/tremor.env",
    "DatabaseDeletionProtection": "false",
}

# Made by moto, from this part of the template.
NETWORK = (
    "AWS::EC2::VPC",
    "AWS::EC2::InternetGateway",
    "AWS::EC2::VPCGatewayAttachment",
    "AWS::EC2::Subnet",
    "AWS::EC2::RouteTable",
    "AWS::EC2::Route",
    "AWS::EC2::SubnetRouteTableAssociation",
    "AWS::EC2::EIP",
    "AWS::EC2::NatGateway",
)
BY_MOTO = ("AWS::EC2::EIP", "AWS::EC2::NatGateway")

# Parts of resources that neither cloud makes. tests/test_template.py alone holds them.
UNMADE_PARTS = {
    "AWS::S3::Bucket": ("LifecycleConfiguration",),
    "AWS::Scheduler::Schedule": ("Target.EcsParameters.NetworkConfiguration",),
    "AWS::SecretsManager::Secret": ("GenerateSecretString.ExcludePunctuation",),
    "AWS::ECS::TaskDefinition": ("EnvironmentFiles", "LinuxParameters", "RuntimePlatform"),
}


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    """Clients of a cloud that makes nearly everything."""
    with ministack_server(tmp_path_factory.mktemp("cloud")) as url:
        yield clients(url)


@pytest.fixture(scope="module")
def made(client):
    """The stack with everything on."""
    return make_stack(client, "tremor", BODY, **ALL)


def bucket(made, name):
    s3 = made.client("s3")
    blocked = s3.get_public_access_block(Bucket=name)["PublicAccessBlockConfiguration"]
    assert set(blocked.values()) == {True}
    assert s3.get_bucket_versioning(Bucket=name)["Status"] == "Enabled"
    (rule,) = s3.get_bucket_ownership_controls(Bucket=name)["OwnershipControls"]["Rules"]
    assert rule["ObjectOwnership"] == "BucketOwnerEnforced"


def bucket_policy(made, _):
    found = made.client("s3").get_bucket_policy(Bucket=made.ids["Bucket"])["Policy"]
    (statement,) = json.loads(found)["Statement"]
    assert statement["Effect"] == "Deny"
    assert f"arn:aws:s3:::{made.ids['Bucket']}/*" in statement["Resource"]


def key(made, name):
    kms = made.client("kms")
    assert kms.get_key_rotation_status(KeyId=name)["KeyRotationEnabled"] is True
    found = json.loads(kms.get_key_policy(KeyId=name, PolicyName="default")["Policy"])
    assert len(found["Statement"]) == 3


def database(made, name):
    (found,) = made.client("rds").describe_db_instances(DBInstanceIdentifier=name)["DBInstances"]
    wanted = {
        "StorageEncrypted": True,
        "PubliclyAccessible": False,
        "BackupRetentionPeriod": 7,
        "EngineVersion": "18",
        "Engine": "postgres",
        "StorageType": "gp3",
        "DBName": "tremor",
    }
    assert {k: found[k] for k in wanted} == wanted
    assert found["KmsKeyId"].endswith(made.ids["Key"])
    (group,) = found["VpcSecurityGroups"]
    assert group["VpcSecurityGroupId"] == made.ids["DatabaseGroup"]
    assert found["Endpoint"]["Address"] == made.outputs["DatabaseEndpoint"]


def database_subnets(made, name):
    (found,) = made.client("rds").describe_db_subnet_groups(DBSubnetGroupName=name)[
        "DBSubnetGroups"
    ]
    private = {made.ids["PrivateSubnetA"], made.ids["PrivateSubnetB"]}
    assert {s["SubnetIdentifier"] for s in found["Subnets"]} == private


def secret(made, name):
    manager = made.client("secretsmanager")
    assert manager.describe_secret(SecretId=name)["KmsKeyId"].endswith(made.ids["Key"])
    found = json.loads(manager.get_secret_value(SecretId=name)["SecretString"])
    assert found["username"] == "tremor"
    assert len(found["password"]) == 40


def repository(made, name):
    (found,) = made.client("ecr").describe_repositories(repositoryNames=[name])["repositories"]
    assert found["imageTagMutability"] == "IMMUTABLE"
    assert found["imageScanningConfiguration"]["scanOnPush"] is True
    assert found["encryptionConfiguration"]["encryptionType"] == "KMS"
    assert found["repositoryUri"] == made.outputs["RepositoryUri"]
    policy = made.client("ecr").get_lifecycle_policy(repositoryName=name)["lifecyclePolicyText"]
    assert json.loads(policy)["rules"][0]["selection"]["countNumber"] == 10


def log_group(made, name):
    found = made.client("logs").describe_log_groups(logGroupNamePrefix=name)["logGroups"]
    (group,) = [g for g in found if g["logGroupName"] == name]
    assert group["retentionInDays"] == 90
    assert group["kmsKeyId"].endswith(made.ids["Key"])


def log_policy(made, _):
    found = made.client("logs").describe_resource_policies()["resourcePolicies"]
    (own,) = [each for each in found if each["policyName"] == f"{made.name}-ended-tasks"]
    statements = {s["Action"]: s for s in json.loads(own["policyDocument"])["Statement"]}
    assert set(statements) == {"logs:CreateLogStream", "logs:PutLogEvents"}
    for statement in statements.values():
        assert statement["Effect"] == "Allow"
        assert f":log-group:/aws/events/{made.name}" in statement["Resource"]
        services = statement["Principal"]["Service"]
        assert set(services) == {"events.amazonaws.com", "delivery.logs.amazonaws.com"}
    rules = ("TaskFailedRule", "TaskPartialRule")
    arns = [made.client("events").describe_rule(Name=made.ids[name])["Arn"] for name in rules]
    assert statements["logs:PutLogEvents"]["Condition"] == {"ArnEquals": {"aws:SourceArn": arns}}


def metric_filter(made, name):
    found = made.client("logs").describe_metric_filters(logGroupName=made.outputs["LogGroupName"])
    (each,) = found["metricFilters"]
    assert each["filterName"] == name
    assert each["metricTransformations"][0]["metricNamespace"] == f"Tremor/{made.name}"
    assert each["metricTransformations"][0]["metricValue"] == "1"


def cluster(made, name):
    (found,) = made.client("ecs").describe_clusters(clusters=[name])["clusters"]
    assert (found["status"], found["clusterName"]) == ("ACTIVE", made.name)


def task_definition(made, name):
    found = made.client("ecs").describe_task_definition(taskDefinition=name)["taskDefinition"]
    assert found["requiresCompatibilities"] == ["FARGATE"]
    assert (found["cpu"], found["memory"]) == ("1024", "2048")
    assert found["taskRoleArn"].endswith(made.ids["TaskRole"])
    assert found["executionRoleArn"].endswith(made.ids["ExecutionRole"])
    (container,) = found["containerDefinitions"]
    assert container["user"] == "10001"
    assert container["readonlyRootFilesystem"] is True
    assert container["image"] == made.outputs["RepositoryUri"] + ":1"
    given = {entry["name"]: entry["value"] for entry in container["environment"]}
    assert given["TREMOR_LAKE_URL"] == f"s3://{made.ids['Bucket']}/lake"
    address = made.outputs["DatabaseEndpoint"]
    assert given["TREMOR_WAREHOUSE_URL"] == (
        f"postgresql://tremor@{address}:5432/tremor?sslmode=require"
    )


def role(made, name):
    found = made.client("iam").get_role(RoleName=name)["Role"]["AssumeRolePolicyDocument"]
    service = found["Statement"][0]["Principal"]["Service"]
    is_scheduler = name == made.ids["SchedulerRole"]
    assert service == ("scheduler.amazonaws.com" if is_scheduler else "ecs-tasks.amazonaws.com")
    names = made.client("iam").list_role_policies(RoleName=name)["PolicyNames"]
    assert names


def policy(made, _):
    found = made.client("iam").get_role_policy(
        RoleName=made.ids["TaskRole"], PolicyName="payment-volumes"
    )
    assert "athena:StartQueryExecution" in found["PolicyDocument"]["Statement"][0]["Action"]


def schedule_group(made, name):
    found = made.client("scheduler").get_schedule_group(Name=name)
    assert found["State"] == "ACTIVE"


def schedule(made, name):
    found = made.client("scheduler").get_schedule(GroupName=made.name, Name=name)
    target = found["Target"]
    roles = made.client("iam").get_role(RoleName=made.ids["SchedulerRole"])["Role"]
    assert target["RoleArn"] == roles["Arn"]
    assert target["EcsParameters"]["TaskDefinitionArn"] == made.ids["TaskDefinition"]
    assert target["Arn"].endswith(f":cluster/{made.name}")
    assert target["DeadLetterConfig"]["Arn"].endswith(made.ids["DeadLetters"].rpartition("/")[2])
    assert target["RetryPolicy"] == {"MaximumRetryAttempts": 20, "MaximumEventAgeInSeconds": 7200}
    assert found["FlexibleTimeWindow"] == {"Mode": "FLEXIBLE", "MaximumWindowInMinutes": 15}
    assert (found["State"], found["ScheduleExpressionTimezone"]) == ("ENABLED", "UTC")
    hour = 6 if name == made.ids["MainRun"] else 12
    assert found["ScheduleExpression"] == f"cron(30 {hour} * * ? *)"


def queue(made, url):
    found = made.client("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=["All"])
    assert found["Attributes"]["KmsMasterKeyId"].endswith(made.ids["Key"])
    assert found["Attributes"]["MessageRetentionPeriod"] == "1209600"


def queue_policy(made, _):
    found = made.client("sqs").get_queue_attributes(
        QueueUrl=made.ids["DeadLetters"], AttributeNames=["Policy"]
    )
    assert json.loads(found["Attributes"]["Policy"])["Statement"][0]["Effect"] == "Deny"


def topic(made, arn):
    found = made.client("sns").get_topic_attributes(TopicArn=arn)["Attributes"]
    assert found["TopicArn"].endswith(f":{made.name}-alarms")


def topic_policy(made, _):
    found = made.client("sns").get_topic_attributes(TopicArn=made.ids["Topic"])["Attributes"]
    services = [s["Principal"] for s in json.loads(found["Policy"])["Statement"]]
    assert {"Service": "cloudwatch.amazonaws.com"} in services


def subscription(made, _):
    found = made.client("sns").list_subscriptions_by_topic(TopicArn=made.ids["Topic"])
    (each,) = found["Subscriptions"]
    assert (each["Protocol"], each["Endpoint"]) == ("email", "operator@example.org")


def rule(made, name):
    events = made.client("events")
    assert events.describe_rule(Name=name)["State"] == "ENABLED"
    (target,) = events.list_targets_by_rule(Rule=name)["Targets"]
    assert target["Arn"].endswith(f":log-group:/aws/events/{made.name}")


def alarm(made, name):
    (found,) = made.client("cloudwatch").describe_alarms(AlarmNames=[name])["MetricAlarms"]
    assert found["AlarmActions"] == [made.outputs["TopicArn"]]
    is_heartbeat = name == made.ids["HeartbeatAlarm"]
    assert found["Threshold"] == 1
    assert found["ComparisonOperator"] == (
        "LessThanThreshold" if is_heartbeat else "GreaterThanOrEqualToThreshold"
    )
    assert found["TreatMissingData"] == ("breaching" if is_heartbeat else "notBreaching")
    assert (found["Period"], found["EvaluationPeriods"]) == (
        (3600, 26) if is_heartbeat else (300, 1)
    )


def vpc(made, name):
    (found,) = made.client("ec2").describe_vpcs(VpcIds=[name])["Vpcs"]
    assert found["CidrBlock"] == "10.64.0.0/22"


def subnet(made, name):
    (found,) = made.client("ec2").describe_subnets(SubnetIds=[name])["Subnets"]
    assert found["VpcId"] == made.ids["Vpc"]
    assert found["CidrBlock"].startswith("10.64.0.")
    assert not found["MapPublicIpOnLaunch"]
    is_first = name in (made.ids["PublicSubnetA"], made.ids["PrivateSubnetA"])
    assert found["AvailabilityZone"] == REGION + ("a" if is_first else "b")


def gateway(made, _):
    found = made.client("ec2").describe_internet_gateways(
        InternetGatewayIds=[made.ids["InternetGateway"]]
    )
    assert found["InternetGateways"][0]["Attachments"][0]["VpcId"] == made.ids["Vpc"]


def route_table(made, _):
    found = made.client("ec2").describe_route_tables(
        RouteTableIds=[made.ids["PublicRoutes"], made.ids["PrivateRoutes"]]
    )
    public, private = sorted(
        found["RouteTables"], key=lambda t: t["RouteTableId"] != made.ids["PublicRoutes"]
    )
    gateways = [r.get("GatewayId") for r in public["Routes"]]
    assert made.ids["InternetGateway"] in gateways
    assert not {r.get("DestinationCidrBlock") for r in private["Routes"]} & {"0.0.0.0/0"}
    tied = {a["SubnetId"] for a in private["Associations"]}
    assert tied == {made.ids["PrivateSubnetA"], made.ids["PrivateSubnetB"]}


def endpoint(made, name):
    (found,) = made.client("ec2").describe_vpc_endpoints(VpcEndpointIds=[name])["VpcEndpoints"]
    assert found["VpcId"] == made.ids["Vpc"]
    assert found["ServiceName"].startswith(f"com.amazonaws.{REGION}.")


def security_group(made, name):
    (found,) = made.client("ec2").describe_security_groups(GroupIds=[name])["SecurityGroups"]
    sources = [pair["GroupId"] for r in found["IpPermissions"] for pair in r["UserIdGroupPairs"]]
    has_door = name in (made.ids["DatabaseGroup"], made.ids["EndpointGroup"])
    assert sources == ([made.ids["TaskGroup"]] if has_door else [])
    assert not any(r["IpRanges"] for r in found["IpPermissions"])
    ports = {r.get("FromPort") for r in found["IpPermissionsEgress"]}
    wanted = {"TaskGroup": {443, 465, 587}, "DatabaseClientGroup": {5432}}
    (own,) = [logical for logical, physical in made.ids.items() if physical == name]
    assert ports == wanted.get(own, {252})


# How each kind of resource is asked for, by its own service.
ASKED = {
    "AWS::CloudWatch::Alarm": alarm,
    "AWS::EC2::InternetGateway": gateway,
    "AWS::EC2::Route": route_table,
    "AWS::EC2::RouteTable": route_table,
    "AWS::EC2::SecurityGroup": security_group,
    "AWS::EC2::Subnet": subnet,
    "AWS::EC2::SubnetRouteTableAssociation": route_table,
    "AWS::EC2::VPC": vpc,
    "AWS::EC2::VPCEndpoint": endpoint,
    "AWS::EC2::VPCGatewayAttachment": gateway,
    "AWS::ECR::Repository": repository,
    "AWS::ECS::Cluster": cluster,
    "AWS::ECS::TaskDefinition": task_definition,
    "AWS::Events::Rule": rule,
    "AWS::IAM::Policy": policy,
    "AWS::IAM::Role": role,
    "AWS::KMS::Key": key,
    "AWS::Logs::LogGroup": log_group,
    "AWS::Logs::MetricFilter": metric_filter,
    "AWS::Logs::ResourcePolicy": log_policy,
    "AWS::RDS::DBInstance": database,
    "AWS::RDS::DBSubnetGroup": database_subnets,
    "AWS::S3::Bucket": bucket,
    "AWS::S3::BucketPolicy": bucket_policy,
    "AWS::SNS::Subscription": subscription,
    "AWS::SNS::Topic": topic,
    "AWS::SNS::TopicPolicy": topic_policy,
    "AWS::SQS::Queue": queue,
    "AWS::SQS::QueuePolicy": queue_policy,
    "AWS::Scheduler::Schedule": schedule,
    "AWS::Scheduler::ScheduleGroup": schedule_group,
    "AWS::SecretsManager::Secret": secret,
}


def named(kind):
    return [n for n, r in TEMPLATE["Resources"].items() if r["Type"] == kind]


def test_every_kind_of_resource_is_asked_for():
    """A kind outside of the tables could be skipped by a cloud and nobody would know."""
    kinds = {r["Type"] for r in TEMPLATE["Resources"].values()}
    assert kinds == set(ASKED) | set(BY_MOTO)
    for kind, parts in UNMADE_PARTS.items():
        for part in parts:
            assert f'"{part.rpartition(".")[2]}"' in json.dumps(
                [TEMPLATE["Resources"][n] for n in named(kind)]
            )


@pytest.mark.parametrize("kind", ASKED)
def test_the_stack_makes_it(made, kind):
    """Each resource of the stack is there and is what it should be, says its own service."""
    assert made.status == "CREATE_COMPLETE"
    assert named(kind)
    # A NAT's route is made by the other cloud.
    for name in set(named(kind)) - {"NatRoute"}:
        ASKED[kind](made, made.ids[name])


@pytest.mark.parametrize(
    ("failed", "in_part", "containers"),
    [
        (False, False, [{"name": "tremor", "exitCode": 0}]),
        (True, False, [{"name": "tremor", "exitCode": 1}]),
        (True, False, [{"name": "tremor", "exitCode": 2}]),
        (False, True, [{"name": "tremor", "exitCode": 3}]),
        (True, False, [{"name": "tremor", "exitCode": 137}]),
        (True, False, [{"name": "tremor"}]),
        (False, False, [{"name": "tremor", "exitCode": 0}, {"name": "guard", "exitCode": 137}]),
    ],
)
def test_each_bad_end_of_a_task_sets_off_its_alarm(made, failed, in_part, containers):
    """1, 2, a kill and a task that never began alarm; 3 warns; 0 is silent."""
    found = {}
    for name in ("TaskFailedRule", "TaskPartialRule"):
        pattern = made.client("events").describe_rule(Name=made.ids[name])["EventPattern"]
        for group, status in ((made.name, "STOPPED"), ("other", "STOPPED"), (made.name, "RUNNING")):
            event = {
                "id": "1",
                "account": "000000000000",
                "source": "aws.ecs",
                "time": "2024-03-13T06:31:00Z",
                "region": REGION,
                "resources": [],
                "detail-type": "ECS Task State Change",
                "detail": {
                    "clusterArn": json.loads(pattern)["detail"]["clusterArn"][0],
                    "group": f"family:{group}",
                    "lastStatus": status,
                    "containers": containers,
                },
            }
            asked = made.client("events").test_event_pattern(
                EventPattern=pattern, Event=json.dumps(event)
            )
            found[name, group, status] = asked["Result"]
    ours = (made.name, "STOPPED")
    assert found.pop(("TaskFailedRule", *ours)) is failed
    assert found.pop(("TaskPartialRule", *ours)) is in_part
    assert not any(found.values())


def test_sizes_that_fargate_lacks_are_refused(client):
    """The cloud itself refuses them, before anything is made."""
    with pytest.raises(ClientError, match="Fargate lacks this size"):
        make_stack(client, "odd", BODY, TaskCpu=256, TaskMemory=8192)


def test_an_update_changes_it_and_a_deletion_keeps_the_data(client):
    """A second stack in the same account; updated in place; gone but for bucket, key, snapshot."""
    before = make_stack(client, "second", BODY, DatabaseDeletionProtection="false")
    client("s3").put_object(Bucket=before.ids["Bucket"], Key="lake/raw/kept", Body=b"kept")
    after = make_stack(
        client,
        "second",
        BODY,
        "update",
        DatabaseDeletionProtection="false",
        LogDays=30,
        TaskMemory=4096,
        ScheduleState="DISABLED",
        AlarmEmail="operator@example.org",
    )
    assert (before.status, after.status) == ("CREATE_COMPLETE", "UPDATE_COMPLETE")
    for name in ("Bucket", "Key", "Database", "LogGroup", "Vpc"):
        assert before.ids[name] == after.ids[name]
    found = client("logs").describe_log_groups(logGroupNamePrefix="/tremor/second")["logGroups"]
    assert [group["retentionInDays"] for group in found] == [30]
    for name in ("MainRun", "CatchUpRun"):
        run = client("scheduler").get_schedule(GroupName="second", Name=after.ids[name])
        assert run["State"] == "DISABLED"
        assert run["Target"]["EcsParameters"]["TaskDefinitionArn"].endswith("/second:2")
    newest = client("ecs").describe_task_definition(taskDefinition="second")["taskDefinition"]
    assert newest["memory"] == "4096"

    assert delete_stack(after) == "DELETE_COMPLETE"
    kept = client("s3").get_object(Bucket=after.ids["Bucket"], Key="lake/raw/kept")
    assert kept["Body"].read() == b"kept"
    assert client("kms").describe_key(KeyId=after.ids["Key"])["KeyMetadata"]["Enabled"]
    snapshots = client("rds").describe_db_snapshots()["DBSnapshots"]
    assert after.ids["Database"] in {s["DBInstanceIdentifier"] for s in snapshots}
    databases = client("rds").describe_db_instances()["DBInstances"]
    assert after.ids["Database"] not in {d["DBInstanceIdentifier"] for d in databases}
    assert not client("logs").describe_log_groups(logGroupNamePrefix="/tremor/second")["logGroups"]
    with pytest.raises(ClientError):
        client("scheduler").get_schedule_group(Name="second")
    with pytest.raises(ClientError):
        client("iam").get_role(RoleName=after.ids["SchedulerRole"])


def literal(stack, names):
    """Some resources without conditions, their numbers put in: what the other cloud can read."""
    found = {}
    for name in names:
        each = json.loads(json.dumps(stack.template["Resources"][name]))
        each.pop("Condition", None)
        for part in ("CidrBlock", "AvailabilityZone"):
            if part in each.get("Properties", {}):
                each["Properties"][part] = stack.properties(name)[part]
        found[name] = each
    return json.dumps({"Resources": found})


def test_a_nat_gateway_is_made_where_it_is_asked_for(s3_server):
    """The private subnets go out by a NAT of the public ones, with an address that stays."""
    client = clients(s3_server)
    names = [n for kind in NETWORK for n in named(kind)]
    body = literal(Stack(TEMPLATE, {"Egress": "NatGateway"}), names)
    made = make_stack(client, "network", body)
    assert made.status == "CREATE_COMPLETE"
    (nat,) = client("ec2").describe_nat_gateways()["NatGateways"]
    (address,) = client("ec2").describe_addresses()["Addresses"]
    assert nat["SubnetId"] == made.ids["PublicSubnetA"]
    assert nat["NatGatewayAddresses"][0]["AllocationId"] == address["AllocationId"]
    tables = client("ec2").describe_route_tables(RouteTableIds=[made.ids["PrivateRoutes"]])
    routes = tables["RouteTables"][0]["Routes"]
    assert nat["NatGatewayId"] in {r.get("NatGatewayId") for r in routes}


@pytest.mark.parametrize("choice", ["aws:kms", "AES256"])
def test_the_bucket_encrypts_as_it_was_told(s3_server, choice):
    """With the stack's key, or with S3's; the first cloud takes no note of either."""
    stack = Stack(TEMPLATE, {"BucketEncryption": choice})
    client = clients(s3_server)
    body = json.dumps({"Resources": {"Bucket": stack.resources["Bucket"]}})
    made = make_stack(client, f"bucket-{len(choice)}", body)
    found = client("s3").get_bucket_encryption(Bucket=made.ids["Bucket"])
    (each,) = found["ServerSideEncryptionConfiguration"]["Rules"]
    encrypted = each["ApplyServerSideEncryptionByDefault"]
    assert encrypted["SSEAlgorithm"] == choice
    assert encrypted.get("KMSMasterKeyID") == (stack.arn("Key") if choice == "aws:kms" else None)


def test_the_topic_is_encrypted_by_the_stacks_key(s3_server):
    """The key that alarms may use; the first cloud makes the topic without it."""
    client, stack = clients(s3_server), Stack(TEMPLATE)
    body = json.dumps({"Resources": {"Topic": stack.resources["Topic"]}})
    made = make_stack(client, "topic", body)
    found = client("sns").get_topic_attributes(TopicArn=made.ids["Topic"])["Attributes"]
    assert found["KmsMasterKeyId"] == stack.arn("Key")


def test_the_task_takes_its_secrets_as_secrets(s3_server):
    """The first cloud loses them; the other one knows each by its name and its ARN."""
    arns = {name: each for name, each in ALL.items() if name.endswith("SecretArn")}
    stack = Stack(TEMPLATE, arns)
    client = clients(s3_server)
    body = json.dumps({"Resources": {"TaskDefinition": stack.resources["TaskDefinition"]}})
    make_stack(client, "task", body)
    found = client("ecs").describe_task_definition(taskDefinition="tremor")["taskDefinition"]
    given = {s["name"]: s["valueFrom"] for s in found["containerDefinitions"][0]["secrets"]}
    assert given == {
        "TREMOR_WAREHOUSE_PASSWORD": stack.arn("DatabaseSecret") + ":password::",
        "TREMOR_SMTP_URL": ALL["SmtpUrlSecretArn"],
    }
    assert [v["name"] for v in found["volumes"]] == ["state", "tmp"]


@pytest.fixture
def kept_secrets(client, postgres_url):
    """A secret that an operator made: the address of the database, in the cloud."""
    made = client("secretsmanager").create_secret(
        Name=f"warehouse-{os.getpid()}", SecretString=postgres_url
    )
    return {"WarehouseUrlSecretArn": made["ARN"]}


def environment_of(made, parameters):
    """What the container would be given: its definition in the cloud, and the secrets' values."""
    ecs, manager = made.client("ecs"), made.client("secretsmanager")
    task = ecs.describe_task_definition(taskDefinition=made.outputs["TaskDefinitionArn"])
    (container,) = task["taskDefinition"]["containerDefinitions"]
    given = {entry["name"]: entry["value"] for entry in container["environment"]}
    (planned,) = Stack(TEMPLATE, parameters).properties("TaskDefinition")["ContainerDefinitions"]
    for entry in planned["Secrets"]:
        found = manager.get_secret_value(SecretId=entry["ValueFrom"])
        given[entry["Name"]] = found["SecretString"]
    return given


def test_the_pipeline_runs_on_what_the_stack_made(client, postgres_server, kept_secrets, tmp_path):
    """Bucket, secret and environment of the stack are enough, and its alarm hears the heartbeat."""
    hurry(postgres_server)
    parameters = {"Source": "sample", "Symbols": "IBM", **kept_secrets}
    made = make_stack(client, "runs", BODY, **parameters)
    assert made.status == "CREATE_COMPLETE"
    assert "DatabaseEndpoint" not in made.outputs
    given = environment_of(made, parameters)
    assert given["TREMOR_LAKE_URL"] == made.outputs["LakeUrl"]
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("TREMOR_", "AWS_"))}
    done = subprocess.run(
        [sys.executable, str(ROOT / "main.py"), "run", "--as-of", "2013-02-20T12:00"],
        env={
            **kept,
            **given,
            # The one place of the image that this machine has not.
            "TREMOR_STATE_DIR": str(tmp_path / "state"),
            "AWS_ENDPOINT_URL": client("s3").meta.endpoint_url,
            "AWS_ACCESS_KEY_ID": "testing",
            "AWS_SECRET_ACCESS_KEY": "secret-of-the-tests",
        },
        cwd=tmp_path,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    listed = client("s3").list_objects_v2(Bucket=made.outputs["BucketName"])["Contents"]
    layers = {each["Key"].split("/")[1] for each in listed}
    assert layers == {"raw", "processed", "state", "runs"}
    with Warehouse(given["TREMOR_WAREHOUSE_URL"]) as warehouse:
        (run,) = warehouse.query("select * from runs").to_dict("records")
        assert warehouse.query("select distinct symbol from candles")["symbol"].tolist() == ["IBM"]
    assert (run["command"], run["exit_code"]) == ("run", 0)

    (counted,) = client("logs").describe_metric_filters(logGroupName=made.outputs["LogGroupName"])[
        "metricFilters"
    ]
    # No emulator counts by such a pattern, so it is read here: fields that must equal texts, of
    # which a field may have several.
    wanted = {}
    for name, text in re.findall(r'\$\.(\w+) = "(\w+)"', counted["filterPattern"]):
        wanted.setdefault(name, set()).add(text)
    assert wanted == {"event": {"heartbeat"}, "command": {"run", "forecast"}}
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    (heartbeat,) = [
        line for line in lines if all(line.get(name) in texts for name, texts in wanted.items())
    ]
    assert heartbeat["exit_code"] == 0


# What IAM is asked for each call of the program.
ACTIONS = {
    "AbortMultipartUpload": "s3:AbortMultipartUpload",
    "CompleteMultipartUpload": "s3:PutObject",
    "CreateMultipartUpload": "s3:PutObject",
    "DeleteObject": "s3:DeleteObject",
    "GetObject": "s3:GetObject",
    "HeadObject": "s3:GetObject",
    "ListObjectsV2": "s3:ListBucket",
    "PutObject": "s3:PutObject",
    "UploadPart": "s3:PutObject",
}


def test_the_tasks_role_is_enough_for_its_runs(world, s3_url, monkeypatch):
    """Each call that three days' runs make to S3 is one that the task's role allows."""
    calls = set()
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    boto3.setup_default_session()

    def noted(params, model, **_):
        calls.add((model.name, params["Bucket"], params.get("Key"), params.get("Prefix")))

    boto3.DEFAULT_SESSION.events.register("provide-client-params.s3", noted)
    bucket = s3_url.removeprefix("s3://").partition("/")[0]
    world.settings["lake_url"] = f"s3://{bucket}/lake"
    world.put("AAA", history("AAA", n_bars=300))
    for days in (2, 1, 0):
        world.run(MORNING - days * DAY)
    stack = Stack(TEMPLATE)
    assert {"PutObject", "GetObject", "ListObjectsV2", "DeleteObject"} <= {c[0] for c in calls}
    for name, used, key_, prefix in calls:
        assert used == bucket
        where = stack.arn("Bucket") + (f"/{key_}" if key_ else "")
        context = {} if prefix is None else {"s3_prefix": prefix}
        assert may(stack, "TaskRole", ACTIONS[name], where, **context), (name, key_, prefix)
